/* client_connect_extended, session blocks, and ensure_user_space. */

#include "common.h"

static int mark, is_open, server_open, closes;
static struct libwebsocket *served;

static int callback_client(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)in, (void)len;
    if (is_poll_reason(reason) || reason == LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER)
        return 0;
    say("client: %s", reason_name(reason));
    CHECK(user == &mark);
    if (reason == LWS_CALLBACK_CLIENT_ESTABLISHED) {
        is_open = 1;
        CHECK(libwebsocket_ensure_user_space(wsi) == &mark);
    }
    closes += reason == LWS_CALLBACK_CLOSED;
    return 0;
}

static int callback_server(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)in, (void)len;
    if (reason == LWS_CALLBACK_ESTABLISHED) {
        say("server: ESTABLISHED, %s", user ? "a block" : "no block");
        CHECK(libwebsocket_ensure_user_space(wsi) == user);
        served = wsi;
        server_open++;
    }
    closes += reason == LWS_CALLBACK_CLOSED;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"none", callback_server, 0, NULL, 0, 0, 0},
    {"some", callback_server, 100, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};
static struct libwebsocket_protocols client_protocols[] = {
    {"none", callback_client, 50, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    int port = free_port(), fd;
    struct libwebsocket_context *connecting;

    server(port, protocols);
    connecting = client(client_protocols);
    CHECK(libwebsocket_client_connect_extended(connecting, "localhost", port, 0, "/", "h", NULL, "none", -1, &mark) != NULL);
    UNTIL(is_open && server_open == 1);
    libwebsocket_close_and_free_session(protocols[0].owning_server, served, LWS_CLOSE_STATUS_NORMAL);
    UNTIL(closes == 2);
    fd = peer_upgrade(port, "/", "some");
    UNTIL(server_open == 2);
    close(fd);
    UNTIL(closes == 3);
    return finish();
}
