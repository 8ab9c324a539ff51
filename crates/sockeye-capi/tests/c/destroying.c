/* libwebsocket_context_destroy with connections in every state: CLOSED for those that were established, 1001 for their peers. */

#include "common.h"

static int opened, closes, adds, deletes, errors_of_client;

static int handle(enum libwebsocket_callback_reasons reason)
{
    opened += reason == LWS_CALLBACK_ESTABLISHED || reason == LWS_CALLBACK_CLIENT_ESTABLISHED;
    closes += reason == LWS_CALLBACK_CLOSED;
    adds += reason == LWS_CALLBACK_ADD_POLL_FD;
    deletes += reason == LWS_CALLBACK_DEL_POLL_FD;
    errors_of_client += reason == LWS_CALLBACK_CLIENT_CONNECTION_ERROR;
    return 0;
}

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)user, (void)in, (void)len;
    return handle(reason);
}

static struct libwebsocket_protocols protocols[] = {
    {"destroying", callback_all, 40, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};
static struct libwebsocket_protocols client_protocols[] = {
    {"destroying", callback_all, 40, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    int port = free_port(), silent_port, established, silent, half, listener, accepted;
    struct libwebsocket_context *connecting;

    server(port, protocols);
    connecting = client(client_protocols);
    established = peer_upgrade(port, "/", "destroying");
    silent = peer_connect(port);
    half = peer_connect(port);
    peer_text(half, "GET / HTTP/1.1\r\nHost: h\r\n");
    CHECK(libwebsocket_client_connect(connecting, "127.0.0.1", port, 0, "/", "h", "http://h", "destroying", -1) != NULL);
    UNTIL(opened == 3);
    listener = peer_listen(&silent_port);
    CHECK(libwebsocket_client_connect(connecting, "127.0.0.1", silent_port, 0, "/", "h", NULL, NULL, -1) != NULL);
    accepted = peer_accept(listener);
    turns(5);
    destroy_all();
    say("opened %d, closed %d", opened, closes);
    CHECK(adds == deletes);
    say_frame(established, "peer");
    peer_until_end(established);
    peer_until_end(silent);
    peer_until_end(half);
    peer_until_end(accepted);
    close(listener);
    return finish();
}
