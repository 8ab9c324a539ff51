/*
 * An echo for libwebsockets 4.1.6, to be run on one library and on another: `cargo xtask bench capi`.
 *
 * What is received is written at once, inside RECEIVE, as soon as a message is whole. Prints where it listens.
 */

#include <libwebsockets.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t is_ending;
static struct lws_context *context;

/* A message in pieces. */
struct session {
    unsigned char *buffer;
    size_t length, room;
};

static int add(struct session *session, const void *in, size_t len)
{
    if (session->length + len > session->room) {
        size_t room = (session->length + len) * 2;
        unsigned char *larger = realloc(session->buffer, LWS_PRE + room);

        if (!larger)
            return -1;
        session->buffer = larger;
        session->room = room;
    }
    memcpy(session->buffer + LWS_PRE + session->length, in, len);
    session->length += len;
    return 0;
}

static int on_echo(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    static unsigned char whole[LWS_PRE + 4096];
    enum lws_write_protocol kind;
    struct session *session = user;
    int written;

    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        kind = lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
        if (!session->length && lws_is_final_fragment(wsi) && len <= sizeof(whole) - LWS_PRE) {
            memcpy(whole + LWS_PRE, in, len);
            return lws_write(wsi, whole + LWS_PRE, len, kind) < (int)len ? -1 : 0;
        }
        if (add(session, in, len))
            return -1;
        if (!lws_is_final_fragment(wsi))
            return 0;
        written = lws_write(wsi, session->buffer + LWS_PRE, session->length, kind);
        session->length = 0;
        return written < 0 ? -1 : 0;
    case LWS_CALLBACK_CLOSED:
        free(session->buffer);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {{"echo", on_echo, sizeof(struct session), 0, 0, NULL, 0}, {0}};

static void end(int number)
{
    (void)number;
    is_ending = 1;
    /* Or a signal just before it waits would be missed. */
    lws_cancel_service(context);
}

int main(void)
{
    struct lws_context_creation_info info = {.iface = "127.0.0.1", .protocols = protocols};
    struct lws_vhost *vhost;

    lws_set_log_level(LLL_ERR | LLL_WARN, NULL);
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    context = lws_create_context(&info);
    if (!context)
        return 1;
    signal(SIGINT, end);
    signal(SIGTERM, end);
    info.options = LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND | LWS_SERVER_OPTION_DISABLE_IPV6;
    vhost = lws_create_vhost(context, &info);
    if (!vhost)
        return 1;
    printf("listening on ws://127.0.0.1:%d/\n", lws_get_vhost_listen_port(vhost));
    fflush(stdout);
    while (!is_ending && lws_service(context, 1000) >= 0)
        ;
    lws_context_destroy(context);
    return 0;
}
