/* Handshakes that fail after the call has returned: CLIENT_CONNECTION_ERROR with a text, and nothing else. */

#include "common.h"

static struct libwebsocket *only;
static int failures_told;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)user;
    if (is_poll_reason(reason) || reason == LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER)
        return 0;
    say("%s", reason_name(reason));
    if (reason == LWS_CALLBACK_CLIENT_CONNECTION_ERROR) {
        CHECK(wsi == only);
        CHECK(in && len && strlen(in) == len);
        failures_told++;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"errors", callback_all, 8, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    static const char *const ANSWERS[] = {
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        "this is not HTTP\r\n\r\n",
        "",
    };
    struct libwebsocket_context *context = client(protocols);
    int port, listener = peer_listen(&port);
    size_t index;

    for (index = 0; index < sizeof(ANSWERS) / sizeof(ANSWERS[0]); index++) {
        char head[4096];
        int fd, before = failures_told;

        only = libwebsocket_client_connect(context, "127.0.0.1", port, 0, "/", "h", "o", "errors", -1);
        CHECK(only != NULL);
        fd = peer_accept(listener);
        peer_head(fd, head, sizeof(head));
        peer_send(fd, ANSWERS[index], strlen(ANSWERS[index]));
        if (!*ANSWERS[index])
            shutdown(fd, SHUT_WR);
        UNTIL(failures_told > before);
        peer_until_end(fd);
        turns(3);
        CHECK(failures_told == before + 1);
    }
    close(listener);
    return finish();
}
