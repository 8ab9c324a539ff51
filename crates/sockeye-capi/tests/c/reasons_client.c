/* The reasons of a client's connection, in their order, with what comes with them. */

#include "common.h"

struct session {
    int number;
    char rest[28];
};

static struct libwebsocket *only;
static void *block;
static int is_closed, is_connecting, received;

static int handle(int protocol, struct libwebsocket_context *context, struct libwebsocket *wsi,
                  enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    static const struct session EMPTY;

    if (is_poll_reason(reason))
        return 0;
    say("[%d] %s%s", protocol, reason_name(reason), is_connecting ? ", inside the call" : "");
    CHECK(!is_closed);
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        CHECK(user == NULL && len >= 256);
        *(char **)in += sprintf(*(char **)in, "X-Mine: 1\r\nX-Other: two words\r\n");
        break;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        CHECK(wsi == only && !memcmp(user, &EMPTY, sizeof(EMPTY)));
        block = user;
        ((struct session *)user)->number = 5;
        CHECK(libwebsockets_get_protocol(wsi)->protocol_index == 1);
        CHECK(libwebsocket_callback_on_writable(context, wsi) == 1);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        CHECK(wsi == only && user == block && in == NULL && len == 0);
        CHECK(write_text(wsi, "from the client") == 0);
        CHECK(libwebsocket_write(wsi, padded("payload", 7), 7,
                                 (enum libwebsocket_write_protocol)(LWS_WRITE_PING | LWS_WRITE_CLIENT_IGNORE_XOR_MASK)) == 0);
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        CHECK(wsi == only && user == block);
        say("    '%.*s' %zu", (int)len, (char *)in, len);
        received++;
        if (reason == LWS_CALLBACK_CLIENT_RECEIVE)
            CHECK(((char *)in)[len] == '\0');
        break;
    case LWS_CALLBACK_CLOSED:
        CHECK(wsi == only && user == block && ((struct session *)user)->number == 5);
        is_closed = 1;
        break;
    default:
        break;
    }
    return 0;
}

static int callback_first(struct libwebsocket_context *context, struct libwebsocket *wsi,
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
    {"first", callback_first, 0, NULL, 0, 0, 0},
    {"second", callback_second, sizeof(struct session), NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void say_head(char *head)
{
    static const char *const WANTED[] = {"GET ", "Host: ", "Upgrade: ", "Connection: ", "Origin: ", "Sec-WebSocket-Version: ",
                                         "Sec-WebSocket-Protocol: ", "X-Mine: ", "X-Other: "};
    size_t index;

    for (index = 0; index < sizeof(WANTED) / sizeof(WANTED[0]); index++) {
        char *line = index ? strcasestr(head, WANTED[index]) : head;

        if (!line)
            continue;
        line += strlen(WANTED[index]);
        /* A host may have its port behind it. */
        say("    %s%.*s", WANTED[index], (int)strcspn(line, index == 1 ? ":\r" : "\r"), line);
    }
}

int main(void)
{
    struct libwebsocket_context *context = client(protocols);
    int port, listener = peer_listen(&port), fd, refused = free_port();
    char head[4096], name[100], address[100];

    CHECK(libwebsocket_client_connect(context, "127.0.0.1", refused, 0, "/", "h", "o", "second", -1) == NULL);
    say("refused, no callback");

    is_connecting = 1;
    only = libwebsocket_client_connect(context, "127.0.0.1", port, 0, "/path?query", "some.host", "origin", "second", -1);
    is_connecting = 0;
    CHECK(only != NULL);
    CHECK(fcntl(libwebsocket_get_socket_fd(only), F_GETFD) >= 0);
    libwebsockets_get_peer_addresses(context, only, libwebsocket_get_socket_fd(only), name, sizeof(name), address,
                                     sizeof(address));
    CHECK(name[0] && !strcmp(address, "127.0.0.1"));
    /* Before there is an answer: it is kept. */
    CHECK(libwebsocket_callback_on_writable(context, only) == 1);
    fd = peer_accept(listener);
    CHECK(peer_head(fd, head, sizeof(head)) == 0 || head[0]);
    say("the request");
    say_head(head);
    turns(5);
    peer_answer(fd, head, "second");
    say_frame(fd, "peer");
    say_frame(fd, "peer");
    peer_frame_plain(fd, 0x8a, "payload", 7);
    peer_frame_plain(fd, 0x81, "from the peer", 13);
    UNTIL(received == 2);
    libwebsocket_close_and_free_session(context, only, LWS_CLOSE_STATUS_NORMAL);
    say("the call has returned");
    say_frame(fd, "peer");
    CHECK(!is_closed);
    peer_frame_plain(fd, 0x88, "\3\350", 2);
    UNTIL(is_closed);
    peer_until_end(fd);
    turns(5);
    close(listener);
    return finish();
}
