/* A callback that returns 1, and -1, for each reason in turn: what it was about may end, and the loop goes on. */

#include "common.h"

static int refused = -1, value, came, is_served, is_open, has_failed;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user, (void)len;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        is_open++;
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        write_text(wsi, "ping");
        libwebsocket_write(wsi, padded("p", 1), 1, LWS_WRITE_PING);
        break;
    case LWS_CALLBACK_RECEIVE:
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        write_text(wsi, "pong");
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        is_served++;
        if (refused < 0 || refused == LWS_CALLBACK_CLOSED || came)
            libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
        break;
    case LWS_CALLBACK_CLOSED:
        is_open--;
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        has_failed++;
        break;
    case LWS_CALLBACK_HTTP:
        libwebsockets_serve_http_file(context, wsi, in && strstr(in, "missing") ? "/missing" : "/etc/hostname", "text/plain");
        break;
    default:
        break;
    }
    came += (int)reason == refused;
    return (int)reason == refused ? value : 0;
}

static struct libwebsocket_protocols of_server[] = {{"returns", callback_all, 8, NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}};
static struct libwebsocket_protocols of_client[] = {{"returns", callback_all, 8, NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}};

int main(void)
{
    int port = free_port(), reason, values[] = {1, -1}, at;
    struct libwebsocket_context *from;

    server(port, of_server);
    from = client(of_client);
    for (reason = 0; reason <= LWS_CALLBACK_CLEAR_MODE_POLL_FD; reason++) {
        int all = 0;

        for (at = 0; at < 2; at++) {
            char data[4096];
            int fd, before;

            refused = reason;
            value = values[at];
            came = is_open = has_failed = 0;
            libwebsocket_client_connect(from, "127.0.0.1", port, 0, "/", "h", "o", "returns", -1);
            libwebsocket_client_connect(from, "127.0.0.1", port, 0, "/", "h", "o", "nobody", -1);
            fd = peer_connect(port);
            peer_text(fd, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            peer_rest(fd, data, sizeof(data));
            close(fd);
            turns(20);
            all += came > 0;

            refused = -1;
            before = is_served;
            CHECK(libwebsocket_client_connect(from, "127.0.0.1", port, 0, "/", "h", "o", "returns", -1) != NULL);
            UNTIL(is_served > before);
            turns(20);
        }
        say("%s: %s", reason_name(reason), all == 2 ? "came, and the loop goes on" : "never came");
    }
    return finish();
}
