/*
 * Random calls: each callback picks some that are legal, from a seed. Two contexts that connect to each other, and peers that are
 * sockets and send rubbish. The rules must hold.
 *
 *     random [FIRST [COUNT]]
 */

#include "rules.h"

#include <stdint.h>

static struct libwebsocket_context *contexts[2];
static char path[] = "/tmp/sockeye-capi-random-XXXXXX";
static int port, is_dead[2], connects, writes, all_closed;
static uint64_t state;

/* Below `limit`. xorshift64*. */
static unsigned pick(unsigned limit)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (unsigned)((state * 2685821657736338717u) >> 33) % limit;
}

/* Of one of its contexts: a wsi belongs to one. */
static struct libwebsocket *any(struct libwebsocket_context *context)
{
    unsigned begin, index;

    if (!known_count)
        return NULL;
    begin = pick((unsigned)known_count);
    for (index = 0; index < (unsigned)known_count; index++) {
        struct libwebsocket *wsi = known[(begin + index) % (unsigned)known_count].wsi;
        const struct libwebsocket_protocols *protocol = libwebsockets_get_protocol(wsi);

        if (protocol && protocol->owning_server == context)
            return wsi;
    }
    return NULL;
}

static void connect_one(struct libwebsocket_context *context)
{
    static const char *const PROTOCOLS[] = {"first", "second", "none", NULL};
    struct libwebsocket *wsi;

    if (connects++ > 12)
        return;
    wsi = libwebsocket_client_connect(context, "127.0.0.1", pick(8) ? port : 1, 0, pick(2) ? "/" : "/path", "h",
                                      pick(2) ? "o" : NULL, PROTOCOLS[pick(4)], -1);
    if (wsi && pick(3) == 0)
        libwebsocket_callback_on_writable(context, wsi);
    if (wsi && pick(8) == 0)
        libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NOSTATUS);
}

static void write_one(struct libwebsocket *wsi)
{
    static const int KINDS[] = {LWS_WRITE_TEXT, LWS_WRITE_BINARY, LWS_WRITE_PING, LWS_WRITE_PONG,
                                LWS_WRITE_BINARY | LWS_WRITE_NO_FIN, LWS_WRITE_CONTINUATION,
                                LWS_WRITE_CONTINUATION | LWS_WRITE_NO_FIN, LWS_WRITE_CLOSE};
    static const size_t SIZES[] = {0, 1, 5, 125, 126, 4096, 4097, 70000};
    static unsigned char buffer[18 + 70000 + 4];
    int kind = KINDS[pick(pick(4) ? 4 : 8)];
    size_t size = SIZES[pick(pick(8) ? 4 : 8)];

    if (writes++ > 300)
        return;
    if (kind >= LWS_WRITE_CLOSE && kind <= LWS_WRITE_PONG && size > 125)
        size = 2;
    if (kind == LWS_WRITE_CLOSE)
        size = 0;
    memset(buffer + 18, 'x', size);
    libwebsocket_write(wsi, buffer + 18, size, (enum libwebsocket_write_protocol)kind);
}

static void call_one(struct libwebsocket_context *context)
{
    static const int STATUSES[] = {LWS_CLOSE_STATUS_NOSTATUS, LWS_CLOSE_STATUS_NORMAL, LWS_CLOSE_STATUS_GOINGAWAY, 4000};
    struct libwebsocket *wsi = any(context);
    char name[40], address[40];

    switch (pick(18)) {
    case 0:
        connect_one(context);
        return;
    case 1:
        if (wsi)
            libwebsocket_callback_on_writable_all_protocol(libwebsockets_get_protocol(wsi));
        return;
    default:
        break;
    }
    if (!wsi)
        return;
    switch (pick(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        write_one(wsi);
        break;
    case 4:
    case 5:
    case 6:
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case 7:
        if (pick(3) == 0)
            libwebsocket_close_and_free_session(context, wsi, (enum lws_close_status)STATUSES[pick(4)]);
        break;
    case 8:
        libwebsocket_rx_flow_control(wsi, 0);
        break;
    case 9:
    case 10:
        libwebsocket_rx_flow_control(wsi, 1);
        break;
    case 11:
        if (pick(6) == 0)
            libwebsockets_hangup_on_client(context, libwebsocket_get_socket_fd(wsi));
        break;
    case 12:
        lws_send_pipe_choked(wsi);
        RULE(libwebsocket_get_socket_fd(wsi) >= 0);
        break;
    case 13:
        libwebsockets_get_peer_addresses(context, wsi, libwebsocket_get_socket_fd(wsi), name, sizeof(name), address,
                                         sizeof(address));
        break;
    case 14:
        libwebsocket_ensure_user_space(wsi);
        libwebsocket_is_final_fragment(wsi);
        libwebsockets_remaining_packet_payload(wsi);
        break;
    default:
        if (pick(40) == 0) {
            is_dead[context == contexts[1]] = 1;
            libwebsocket_context_destroy(context);
        }
        break;
    }
}

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    int result = 0;

    (void)in, (void)len;
    rules(wsi, reason, user);
    if (is_poll_reason(reason) || reason == LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER || !contexts[0] || !contexts[1])
        return leave(0);
    if (reason == LWS_CALLBACK_HTTP && pick(2))
        result = libwebsockets_serve_http_file(context, wsi, path, "text/plain") < 0;
    else if (reason == LWS_CALLBACK_RECEIVE || reason == LWS_CALLBACK_CLIENT_RECEIVE)
        memset(in, 'y', len);
    while (!is_dead[context == contexts[1]] && pick(3))
        call_one(context);
    if (pick(30) == 0)
        result = 1;
    return leave(result);
}

static struct libwebsocket_protocols protocols[2][3] = {
    {{"first", callback_all, 0, NULL, 0, 0, 0}, {"second", callback_all, 24, NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}},
    {{"first", callback_all, 8, NULL, 0, 0, 0}, {"second", callback_all, 0, NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}},
};

/* Something that a stranger sends. */
static void disturb(int *peers, int count)
{
    static const char *const TEXTS[] = {
        "GET /file HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
        "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: second\r\n\r\n",
        "rubbish\r\n\r\n",
        "GET / HTTP/1.1\r\nHo",
        "\x81\x85\0\0\0\0hello",
        "\x81\xfe\x10",
        "\x88\x80\0\0\0\0",
        "\xff\xff\xff\xff",
    };
    int index = (int)pick((unsigned)count);
    const char *text = TEXTS[pick(8)];

    if (peers[index] < 0)
        peers[index] = peer_connect(port);
    if (pick(5) == 0) {
        close(peers[index]);
        peers[index] = -1;
        return;
    }
    /* Zeros in a frame: its length is known. */
    send(peers[index], text, text[0] == '\x81' && text[1] == '\x85' ? 11 : text[0] == '\x88' ? 6 : strlen(text), MSG_NOSIGNAL);
}

static void sequence(uint64_t seed)
{
    int peers[3] = {-1, -1, -1}, index, count;

    state = seed * 0x9e3779b97f4a7c15u + 1;
    connects = writes = 0;
    memset(is_dead, 0, sizeof(is_dead));
    contexts[0] = contexts[1] = NULL;
    port = free_port();
    for (index = 0; index < 2; index++)
        contexts[index] = libwebsocket_create_context(index ? 0 : port, NULL, protocols[index], NULL, NULL, NULL, NULL, -1, -1, 0,
                                                      NULL);
    RULE(contexts[0] && contexts[1]);
    for (count = 5 + (int)pick(30); count > 0; count--) {
        for (index = 0; index < 2; index++)
            if (!is_dead[index]) {
                int result = libwebsocket_service(contexts[index], 0);

                RULE(result == (is_dead[index] ? -1 : 0));
            }
        if (!is_dead[1] && pick(4) == 0)
            connect_one(contexts[1]);
        if (!is_dead[0] && pick(3) == 0)
            disturb(peers, 3);
        index = (int)pick(2);
        if (!is_dead[index] && pick(3) == 0)
            call_one(contexts[index]);
    }
    for (index = 0; index < 2; index++)
        if (!is_dead[index]) {
            is_dead[index] = 1;
            libwebsocket_context_destroy(contexts[index]);
        }
    for (index = 0; index < 3; index++)
        if (peers[index] >= 0)
            close(peers[index]);
    all_closed += closed;
    rules_at_end();
}

int main(int argc, char **argv)
{
    long first = argc > 1 ? atol(argv[1]) : 1, count = argc > 2 ? atol(argv[2]) : 100, seed;
    int fd = mkstemp(path);

    RULE(fd >= 0 && write(fd, "content\n", 8) == 8);
    close(fd);
    lws_set_log_level(0, quiet);
    for (seed = first; seed < first + count && broken < 20; seed++) {
        int before = broken;

        sequence((uint64_t)seed);
        if (broken > before)
            say("in seed %ld", seed);
    }
    fprintf(stderr, "%d connections in %ld sequences\n", all_closed, count);
    RULE(all_closed > count / 2);
    unlink(path);
    return finish();
}
