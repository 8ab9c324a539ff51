/* The contract of a poll loop of the program: exact announcements, wishes from main, deadlines without service_fd(NULL). */

#include "poll_loop.h"

static struct libwebsocket *only;
static int opened, closes, received, writeables;

static int callback_first(struct libwebsocket_context *context, struct libwebsocket *wsi,
                          enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)in;
    if (!poll_reason(reason, user, len))
        CHECK(reason == LWS_CALLBACK_FILTER_NETWORK_CONNECTION);
    return 0;
}

static int callback_second(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)user, (void)in;
    CHECK(!is_poll_reason(reason));
    if (reason == LWS_CALLBACK_ESTABLISHED) {
        only = wsi;
        opened++;
    }
    closes += reason == LWS_CALLBACK_CLOSED;
    received += reason == LWS_CALLBACK_RECEIVE ? (int)len : 0;
    if (reason == LWS_CALLBACK_SERVER_WRITEABLE) {
        writeables++;
        CHECK(write_text(wsi, "hello") == 0);
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"first", callback_first, 0, NULL, 0, 0, 0},
    {"second", callback_second, 8, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Protocol: second\r\n\r\n";

int main(void)
{
    int port = free_port(), fd, silent, quiet_rounds = 0, index;
    struct libwebsocket_context *context;
    char bytes[4096];
    double begin;

    lws_set_log_level(LLL_ERR, quiet);
    context = libwebsocket_create_context(port, NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    CHECK(context != NULL && table_count >= 1);

    fd = peer_connect(port);
    send(fd, REQUEST, sizeof(REQUEST) - 1, MSG_NOSIGNAL);
    POLL_UNTIL(context, opened == 1);
    CHECK(place[libwebsocket_get_socket_fd(only)] != 0);
    say("established");

    for (index = 0; index < 10; index++)
        quiet_rounds += poll_round(context, 0) == 0;
    CHECK(quiet_rounds >= 5);
    say("an idle loop is quiet");

    CHECK(libwebsocket_callback_on_writable_all_protocol(&protocols[1]) == 0);
    begin = seconds();
    CHECK(poll(table, (nfds_t)table_count, 20000) > 0);
    CHECK(seconds() - begin < 10);
    POLL_UNTIL(context, writeables == 1);
    say("a wish from main makes poll return");

    CHECK(libwebsocket_rx_flow_control(only, 0) == 0);
    for (index = 0; index < 3; index++)
        poll_round(context, 0);
    peer_frame(fd, 0x81, "later", 5);
    for (quiet_rounds = 0, index = 0; index < 10; index++)
        quiet_rounds += poll_round(context, 0) == 0;
    CHECK(received == 0 && quiet_rounds >= 5);
    say("a connection that is stopped is not reported");
    CHECK(libwebsocket_rx_flow_control(only, 1) == 0);
    POLL_UNTIL(context, received == 5);

    silent = peer_connect(port);
    begin = seconds();
    for (;;) {
        ssize_t got;

        poll_round(context, 50);
        got = recv(silent, bytes, sizeof(bytes), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            break;
        gave_up(begin, "the deadline", __LINE__);
    }
    say("a peer that says nothing is closed, without service_fd(NULL)");
    close(silent);
    CHECK(libwebsocket_service_fd(context, NULL) == 0);
    {
        struct pollfd unknown = {.fd = fd, .events = POLLIN, .revents = POLLIN};

        CHECK(libwebsocket_service_fd(context, &unknown) == 0);
    }

    close(fd);
    POLL_UNTIL(context, closes == 1);
    say("closed");
    libwebsocket_context_destroy(context);
    CHECK(table_adds == table_deletes && table_count == 0);
    return finish();
}
