/* A peer that does not read: the pipe is choked, and what was accepted arrives whole once it does. */

#include "common.h"

enum { PART = 4000, PARTS = 1500 };

static struct libwebsocket *only;
static int sent, was_choked, is_closed, is_flooding;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user, (void)in, (void)len;
    if (reason == LWS_CALLBACK_ESTABLISHED)
        only = wsi;
    if (reason == LWS_CALLBACK_CLOSED)
        is_closed = 1;
    if (reason != LWS_CALLBACK_SERVER_WRITEABLE || !is_flooding)
        return 0;
    do {
        char data[PART];

        memset(data, 'a' + sent % 26, sizeof(data));
        CHECK(libwebsocket_write(wsi, padded(data, PART), PART, LWS_WRITE_BINARY) == 0);
        sent++;
    } while (sent < PARTS && !lws_send_pipe_choked(wsi));
    if (lws_send_pipe_choked(wsi))
        was_choked = 1;
    if (sent < PARTS)
        libwebsocket_callback_on_writable(context, wsi);
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"choked", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    static struct frame frame;
    int port = free_port(), fd, got, before, wrong = 0;
    struct libwebsocket_context *context = server(port, protocols);

    fd = peer_upgrade(port, "/", "choked");
    UNTIL(only);
    CHECK(lws_send_pipe_choked(only) == 0);
    is_flooding = 1;
    libwebsocket_callback_on_writable(context, only);
    UNTIL(was_choked);
    /* The system's own buffers grow for a while. */
    do {
        before = sent;
        turns(50);
    } while (sent > before && sent < PARTS);
    CHECK(sent < PARTS);
    say("choked, and not called while it is");
    for (got = 0; got < PARTS; got++) {
        if (!peer_receive(fd, &frame))
            break;
        wrong += frame.len != PART || frame.data[0] != 'a' + got % 26 || frame.data[PART - 1] != 'a' + got % 26;
    }
    say("%d of %d, %d wrong", got, PARTS, wrong);
    turns(3);
    CHECK(lws_send_pipe_choked(only) == 0);
    close(fd);
    UNTIL(is_closed);
    return finish();
}
