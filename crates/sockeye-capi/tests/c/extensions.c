/* Extensions: the library brings none, agrees to none, and does not call those of a program. */

#include "common.h"

static int calls, received;

static int extend(struct libwebsocket_context *context, struct libwebsocket_extension *extension, struct libwebsocket *wsi,
                  enum libwebsocket_extension_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)extension, (void)wsi, (void)reason, (void)user, (void)in, (void)len;
    calls++;
    return 0;
}

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)user, (void)in, (void)len;
    CHECK(reason != LWS_CALLBACK_CLIENT_CONFIRM_EXTENSION_SUPPORTED && reason != LWS_CALLBACK_CONFIRM_EXTENSION_OKAY);
    received += reason == LWS_CALLBACK_RECEIVE;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"extensions", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static struct libwebsocket_extension extensions[] = {
    {"permessage-deflate", extend, 8, NULL},
    {"x-webkit-deflate-frame", extend, 8, NULL},
    {NULL, NULL, 0, NULL},
};

int main(void)
{
    struct libwebsocket_context *context;
    int port = free_port(), fd;
    char head[4096];

    CHECK(!libwebsocket_internal_extensions[0].callback);
    CHECK(server(free_port(), protocols));
    context = libwebsocket_create_context(port, NULL, protocols, extensions, NULL, NULL, NULL, -1, -1, 0, NULL);
    CHECK(context);
    fd = peer_connect(port);
    peer_text(fd, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: extensions\r\n"
                  "Sec-WebSocket-Extensions: permessage-deflate, x-webkit-deflate-frame\r\n\r\n");
    UNTIL((CHECK(libwebsocket_service(context, 1) == 0), recv(fd, head, 1, MSG_PEEK) == 1));
    CHECK(peer_head(fd, head, sizeof(head)) == 101);
    say("the answer %s extensions", strcasestr(head, "sec-websocket-extensions") ? "has" : "has no");
    peer_frame(fd, 0x81, "x", 1);
    UNTIL((CHECK(libwebsocket_service(context, 1) == 0), received == 1));
    close(fd);
    libwebsocket_context_destroy(context);
    say("%d received, %d calls of extensions", received, calls);
    return finish();
}
