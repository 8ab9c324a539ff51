/* close_and_free_session, hangup and what callbacks return: CLOSED once, never inside the call, and what the peer sees. */

#include "common.h"

static struct libwebsocket *wsis[16];
static int opened, closes, is_inside, close_in = -1, return_in = -1, is_twice;
static int status = LWS_CLOSE_STATUS_NORMAL;

static void close_it(struct libwebsocket_context *context, struct libwebsocket *wsi)
{
    is_inside = 1;
    libwebsocket_close_and_free_session(context, wsi, (enum lws_close_status)status);
    if (is_twice)
        libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_GOINGAWAY);
    is_inside = 0;
}

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user, (void)in, (void)len;
    if (reason == LWS_CALLBACK_ESTABLISHED)
        wsis[opened++] = wsi;
    if (reason == LWS_CALLBACK_CLOSED) {
        CHECK(!is_inside);
        closes++;
        return 0;
    }
    if (close_in == (int)reason)
        close_it(context, wsi);
    return return_in == (int)reason;
}

static struct libwebsocket_protocols protocols[] = {
    {"closing", callback_all, 4, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static struct libwebsocket_context *context;
static int port;

static int open_one(void)
{
    int before = opened, fd = peer_upgrade(port, "/", "closing");

    UNTIL(opened > before);
    return fd;
}

/* What the peer gets; it answers a Close frame. */
static void see(int fd, const char *what)
{
    static struct frame frame;
    int before = closes;

    if (peer_receive(fd, &frame)) {
        say("%s: opcode %d, %d", what, frame.opcode, frame.len >= 2 ? frame.data[0] << 8 | frame.data[1] : 0);
        CHECK(closes == before);
        peer_frame(fd, 0x88, frame.data, frame.len);
    } else {
        say("%s: end of stream", what);
    }
    peer_until_end(fd);
    UNTIL(closes == opened);
    turns(3);
    CHECK(closes == opened);
}

int main(void)
{
    int fd, reason;
    double begin;

    port = free_port();
    context = server(port, protocols);

    fd = open_one();
    is_twice = 1;
    close_it(context, wsis[opened - 1]);
    CHECK(closes == 0);
    see(fd, "from main, twice");
    is_twice = 0;

    fd = open_one();
    status = LWS_CLOSE_STATUS_NOSTATUS;
    close_it(context, wsis[opened - 1]);
    see(fd, "from main, without a status");
    status = LWS_CLOSE_STATUS_POLICY_VIOLATION;

    for (reason = LWS_CALLBACK_RECEIVE; reason <= LWS_CALLBACK_SERVER_WRITEABLE; reason += 4) {
        close_in = reason;
        fd = open_one();
        if (reason == LWS_CALLBACK_RECEIVE)
            peer_frame(fd, 0x81, "x", 1);
        else
            libwebsocket_callback_on_writable(context, wsis[opened - 1]);
        see(fd, reason_name(reason));
        close_in = -1;

        return_in = reason;
        fd = open_one();
        if (reason == LWS_CALLBACK_RECEIVE)
            peer_frame(fd, 0x81, "x", 1);
        else
            libwebsocket_callback_on_writable(context, wsis[opened - 1]);
        {
            int before = closes;

            peer_until_end(fd);
            UNTIL(closes > before);
        }
        say("%s, by what it returns", reason_name(reason));
        return_in = -1;
    }

    return_in = LWS_CALLBACK_ESTABLISHED;
    fd = peer_upgrade(port, "/", "closing");
    peer_until_end(fd);
    UNTIL(closes == opened);
    say("ESTABLISHED, by what it returns");
    return_in = -1;

    fd = open_one();
    libwebsockets_hangup_on_client(context, libwebsocket_get_socket_fd(wsis[opened - 1]));
    see(fd, "hangup");

    fd = open_one();
    close_it(context, wsis[opened - 1]);
    begin = seconds();
    UNTIL(closes == opened);
    say("a peer that does not answer: closed within %s", seconds() - begin < 10 ? "seconds" : "ages");
    close(fd);

    say("opened %d, closed %d", opened, closes);
    return finish();
}
