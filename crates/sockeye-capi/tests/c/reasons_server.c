/* The reasons of a server's connection, in their order, with what comes with them. */

#include "common.h"

struct session {
    int number;
    char rest[60];
};

static struct libwebsocket *only;
static void *block;
static int is_closed, received;

static void say_tokens(const struct lws_tokens *tokens)
{
    static const char *const NAMES[] = {"GET_URI", "HOST", "CONNECTION", "KEY1", "KEY2", "PROTOCOL", "UPGRADE", "ORIGIN", "DRAFT",
                                        "CHALLENGE", "KEY", "VERSION", "SWORIGIN", "EXTENSIONS", "ACCEPT", "NONCE", "HTTP",
                                        "MUXURL"};
    int index;

    for (index = 0; index < WSI_TOKEN_COUNT; index++) {
        if (!tokens[index].token) {
            CHECK(tokens[index].token_len == 0);
            continue;
        }
        CHECK(strlen(tokens[index].token) == (size_t)tokens[index].token_len);
        say("    %s = %s", NAMES[index], tokens[index].token);
    }
}

static int handle(int protocol, struct libwebsocket_context *context, struct libwebsocket *wsi,
                  enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    static const struct session EMPTY;

    if (is_poll_reason(reason))
        return 0;
    say("[%d] %s", protocol, reason_name(reason));
    CHECK(!is_closed);
    switch (reason) {
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        CHECK(fcntl((int)(long)user, F_GETFD) >= 0 && wsi != NULL);
        CHECK(in == NULL && len == 0);
        break;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        say_tokens(user);
        only = wsi;
        break;
    case LWS_CALLBACK_ESTABLISHED:
        CHECK(!memcmp(user, &EMPTY, sizeof(EMPTY)));
        CHECK(wsi == only);
        CHECK((size_t)user % 16 == 0);
        block = user;
        memset(user, 7, sizeof(struct session));
        CHECK(libwebsockets_get_protocol(wsi)->protocol_index == protocol);
        CHECK(libwebsockets_get_protocol(wsi)->owning_server == context);
        CHECK(libwebsocket_callback_on_writable(context, wsi) == 1);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        CHECK(write_text(wsi, "hello") == 0);
        CHECK(wsi == only && user == block && in == NULL && len == 0);
        break;
    case LWS_CALLBACK_RECEIVE:
        CHECK(wsi == only && user == block);
        say("    '%s' %zu", (char *)in, len);
        received++;
        break;
    case LWS_CALLBACK_CLOSED:
        CHECK(wsi == only && user == block && ((struct session *)user)->rest[59] == 7);
        is_closed = 1;
        break;
    default:
        break;
    }
    return 0;
}

static int callback_http(struct libwebsocket_context *context, struct libwebsocket *wsi,
                         enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    return handle(0, context, wsi, reason, user, in, len);
}

static int callback_second(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    return handle(1, context, wsi, reason, user, in, len);
}

static struct libwebsocket_protocols protocols[] = {
    {"http-only", callback_http, 0, NULL, 0, 0, 0},
    {"second", callback_second, sizeof(struct session), NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    int port = free_port(), fd;
    char head[4096];

    server(port, protocols);
    fd = peer_connect(port);
    peer_text(fd, "GET /path?query HTTP/1.1\r\nHost: here:1\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://here\r\n"
                  "Sec-WebSocket-Protocol: second\r\nX-Other: 1\r\n\r\n");
    CHECK(peer_head(fd, head, sizeof(head)) == 101);
    CHECK(strcasestr(head, "\r\nSec-WebSocket-Protocol: second\r\n"));
    say_frame(fd, "peer");
    peer_frame(fd, 0x81, "message", 7);
    UNTIL(received);
    peer_frame(fd, 0x88, "\3\350bye", 5);
    say_frame(fd, "peer");
    peer_until_end(fd);
    UNTIL(is_closed);
    turns(5);
    return finish();
}
