/* What must be true of any sequence of callbacks, whatever the program does: `rules` looks at each. */

#ifndef RULES_H
#define RULES_H

#include "common.h"

enum { KNOWN = 256 };

/* Connections that are established, by their pointers. */
static struct {
    struct libwebsocket *wsi;
    void *user;
} known[KNOWN];

static int known_count, depth, established, closed, poll_adds, poll_deletes, broken;

#define RULE(condition)                                                                                                         \
    do {                                                                                                                       \
        if (!(condition)) {                                                                                                    \
            broken++;                                                                                                          \
            CHECK(condition);                                                                                                  \
        }                                                                                                                      \
    } while (0)

static int known_index(struct libwebsocket *wsi)
{
    int index;

    for (index = 0; index < known_count; index++)
        if (known[index].wsi == wsi)
            return index;
    return -1;
}

/* These may be called from inside other calls of the library. */
static int may_be_inside(enum libwebsocket_callback_reasons reason)
{
    return is_poll_reason(reason) || reason == LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER ||
           reason == LWS_CALLBACK_CLIENT_CONFIRM_EXTENSION_SUPPORTED || reason == LWS_CALLBACK_HTTP_FILE_COMPLETION;
}

/* At the begin of a callback. */
static void rules(struct libwebsocket *wsi, enum libwebsocket_callback_reasons reason, void *user)
{
    int index = known_index(wsi);

    RULE(depth == 0 || may_be_inside(reason));
    depth++;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        RULE(index < 0 && known_count < KNOWN);
        known[known_count].wsi = wsi;
        known[known_count++].user = user;
        established++;
        break;
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        RULE(index >= 0 && known[index].user == user);
        break;
    case LWS_CALLBACK_CLOSED:
        RULE(index >= 0 && known[index].user == user);
        closed++;
        if (index >= 0)
            known[index] = known[--known_count];
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_HTTP:
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        RULE(index < 0);
        break;
    case LWS_CALLBACK_ADD_POLL_FD:
        poll_adds++;
        break;
    case LWS_CALLBACK_DEL_POLL_FD:
        poll_deletes++;
        break;
    default:
        break;
    }
}

/* At its end. */
static int leave(int result)
{
    depth--;
    return result;
}

/* Once all contexts are gone. */
static void rules_at_end(void)
{
    RULE(depth == 0);
    RULE(known_count == 0);
    RULE(established == closed);
    RULE(poll_adds == poll_deletes);
    depth = known_count = established = closed = poll_adds = poll_deletes = 0;
}

#endif
