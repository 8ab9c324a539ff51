/*
 * Pointers to connections that have ended, a million times, while their records are used again: none of these calls reaches a connection
 * that is open. Words: how many connections, and how many calls after each.
 */

#include "common.h"

enum { KEPT = 64 };

static struct libwebsocket *open_one, *ended[KEPT];
static unsigned long refusals, texts, writables;

static void count(int level, const char *line)
{
    if (level == LLL_ERR)
        refusals++;
    else
        quiet(level, line);
}

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)user, (void)in;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        CHECK(!open_one);
        open_one = wsi;
        break;
    case LWS_CALLBACK_RECEIVE:
        CHECK(wsi == open_one && len == 4);
        texts++;
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        writables++;
        break;
    case LWS_CALLBACK_CLOSED:
        CHECK(wsi == open_one);
        open_one = NULL;
        break;
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"stale", callback_all, 16, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

/* One of the calls that would be heard of: a frame, a callback, which are refused aloud; an end, of which there may be two, a pause. */
static int use(struct libwebsocket_context *context, struct libwebsocket *wsi, int number)
{
    switch (number % 4) {
    case 0:
        CHECK(libwebsocket_write(wsi, padded("old", 3), 3, LWS_WRITE_TEXT) < 0);
        return 1;
    case 1:
        CHECK(libwebsocket_callback_on_writable(context, wsi) < 0);
        return 1;
    case 2:
        libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
        return 0;
    default:
        CHECK(libwebsocket_rx_flow_control(wsi, 0) < 0);
        return 0;
    }
}

int main(int argc, char **argv)
{
    static struct frame frame;
    unsigned long connections = strtoul(argc > 1 ? argv[1] : "100", NULL, 10), number, used = 0, aloud = 0, again = 0;
    int calls = atoi(argc > 2 ? argv[2] : "100"), call, port = free_port(), fd;
    struct libwebsocket_context *context = server(port, protocols);
    struct libwebsocket *first = NULL;

    lws_set_log_level(LLL_ERR | LLL_WARN, count);
    for (number = 0; number < connections; number++) {
        fd = peer_upgrade(port, "/", "stale");
        UNTIL(open_one);
        first = first ? first : open_one;
        again += number > 0 && first == open_one;
        for (call = 0; call < calls; call++)
            if (ended[call % KEPT] && ended[call % KEPT] != open_one) {
                aloud += use(context, ended[call % KEPT], call / KEPT + call);
                used++;
            }
        /* It is as if nothing had been: it hears its peer, and its peer hears it and nothing else. */
        peer_frame(fd, 0x81, "here", 4);
        UNTIL(texts == number + 1);
        CHECK(write_text(open_one, "only") == 0);
        CHECK(peer_receive(fd, &frame) && frame.len == 4 && !memcmp(frame.data, "only", 4));
        ended[number % KEPT] = open_one;
        close(fd);
        UNTIL(!open_one);
    }
    CHECK(writables == 0);
    fprintf(stderr, "%lu calls, %lu refusals; the first record %lu times again\n", used, refusals, again);
    CHECK(refusals == aloud && used >= (connections - KEPT) * calls);
    /* What is used again is not used again soon. */
    CHECK(again <= connections / KEPT);
    CHECK(connections < 2000 || again > 0);
    return finish();
}
