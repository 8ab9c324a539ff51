/* Connections and upgrades that are refused, and which protocol an upgrade gets. */

#include "common.h"

static int refuse_network, refuse_protocol, closes;

static int handle(int protocol, enum libwebsocket_callback_reasons reason)
{
    if (is_poll_reason(reason))
        return 0;
    say("[%d] %s", protocol, reason_name(reason));
    closes += reason == LWS_CALLBACK_CLOSED;
    return (reason == LWS_CALLBACK_FILTER_NETWORK_CONNECTION && refuse_network) ||
           (reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION && refuse_protocol);
}

static int callback_first(struct libwebsocket_context *context, struct libwebsocket *wsi,
                          enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)user, (void)in, (void)len;
    return handle(0, reason);
}

static int callback_second(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)user, (void)in, (void)len;
    return handle(1, reason);
}

static struct libwebsocket_protocols protocols[] = {
    {"first", callback_first, 0, NULL, 0, 0, 0},
    {"second", callback_second, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static int port;

/* How an upgrade with this offer is answered; the connection is ended. */
static int upgrade(const char *offer, char *head, size_t size)
{
    int fd = peer_connect(port), status;

    peer_text(fd, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", offer);
    status = peer_head(fd, head, size);
    if (status == 101) {
        int before = closes;

        peer_frame(fd, 0x88, "\3\350", 2);
        UNTIL(closes > before);
    }
    peer_until_end(fd);
    return status;
}

int main(void)
{
    char head[4096];
    int fd;

    port = free_port();
    server(port, protocols);

    say("a connection that is not wanted");
    refuse_network = 1;
    fd = peer_connect(port);
    peer_until_end(fd);
    refuse_network = 0;

    say("an upgrade that is not wanted");
    refuse_protocol = 1;
    CHECK(upgrade("Sec-WebSocket-Protocol: second\r\n", head, sizeof(head)) >= 400);
    refuse_protocol = 0;

    say("no protocol");
    CHECK(upgrade("", head, sizeof(head)) == 101);
    CHECK(!strcasestr(head, "Sec-WebSocket-Protocol"));
    say("a list");
    CHECK(upgrade("Sec-WebSocket-Protocol: other, second, first\r\n", head, sizeof(head)) == 101);
    CHECK(strcasestr(head, "\r\nSec-WebSocket-Protocol: second\r\n"));
    say("a protocol that is not there");
    CHECK(upgrade("Sec-WebSocket-Protocol: third\r\n", head, sizeof(head)) >= 400);
    return finish();
}
