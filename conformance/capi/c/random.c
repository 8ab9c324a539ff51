/*
 * Random calls of 4.1.6, on our library only: each callback picks some that are legal, from a seed. Two contexts that connect to each
 * other, and peers that are sockets and send rubbish. `rules` says what must be true of any sequence of callbacks.
 *
 *     random FIRST COUNT
 */

#include <libwebsockets.h>

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIVES = 128, TIMERS = 4, PEERS = 3, VHOSTS = 2, PROTOCOLS = 3, PIECE = 70000 };

/* A connection, from the first callback that has it to WSI_DESTROY. */
struct life {
    struct lws *wsi;
    void *user;
    int is_client, is_open, is_closed, was_open, binds;
};

static struct life lives[LIVES];
static int lives_count, depth, broken, all_opened, all_destroyed, connects, writes, requests;
static struct lws_context *contexts[2];
static struct lws_vhost *vhosts[2][VHOSTS];
static int is_dead[2], begun[2], ended[2], ports[2][VHOSTS];
static lws_sorted_usec_list_t timers[2][TIMERS];
static int is_set[2][TIMERS];
static char path[] = "/tmp/sockeye-capi-random-XXXXXX";
static uint64_t state, seed;

#define RULE(condition) rule(!!(condition), #condition, __LINE__)

static void rule(int is_kept, const char *what, int line)
{
    if (is_kept)
        return;
    broken++;
    printf("seed %llu, line %d: %s\n", (unsigned long long)seed, line, what);
}

/* Below `limit`. xorshift64*. */
static unsigned pick(unsigned limit)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (unsigned)((state * 2685821657736338717u) >> 33) % limit;
}

static int which(struct lws_context *context)
{
    RULE(context && (context == contexts[0] || context == contexts[1]));
    return context == contexts[1];
}

static struct life *life_of(struct lws *wsi)
{
    int index;

    for (index = 0; index < lives_count; index++)
        if (lives[index].wsi == wsi)
            return &lives[index];
    return NULL;
}

static struct lws *any(int index)
{
    int begin, at;

    if (!lives_count)
        return NULL;
    begin = (int)pick((unsigned)lives_count);
    for (at = 0; at < lives_count; at++) {
        struct life *life = &lives[(begin + at) % lives_count];

        if (lws_get_context(life->wsi) == contexts[index])
            return life->wsi;
    }
    return NULL;
}

static struct life *begin_life(struct lws *wsi, int is_client)
{
    RULE(!life_of(wsi) && lives_count < LIVES);
    if (lives_count == LIVES)
        abort();
    lives[lives_count] = (struct life){.wsi = wsi, .is_client = is_client};
    return &lives[lives_count++];
}

/* These come from inside calls of the program: connects, answers that are complete, contexts that begin. */
static int may_be_inside(enum lws_callback_reasons reason)
{
    switch (reason) {
    case LWS_CALLBACK_PROTOCOL_INIT:
    case LWS_CALLBACK_CLIENT_HTTP_BIND_PROTOCOL:
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
    case LWS_CALLBACK_WSI_CREATE:
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
    case LWS_CALLBACK_WSI_DESTROY:
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_HTTP_BIND_PROTOCOL:
        return 1;
    default:
        return 0;
    }
}

/* What is of no connection. Returns whether it was. */
static int rules_of_context(struct lws *wsi, enum lws_callback_reasons reason)
{
    int index = which(lws_get_context(wsi));

    switch (reason) {
    case LWS_CALLBACK_PROTOCOL_INIT:
        RULE(!ended[index]);
        begun[index]++;
        return 1;
    case LWS_CALLBACK_PROTOCOL_DESTROY:
        RULE(is_dead[index] && !any(index));
        ended[index]++;
        return 1;
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        RULE(begun[index] && !ended[index]);
        return 1;
    default:
        RULE(begun[index] && !ended[index]);
        return 0;
    }
}

static void rules_of_life(struct life *life, enum lws_callback_reasons reason, void *user)
{
    RULE(life && (!life->is_closed || reason == LWS_CALLBACK_WSI_DESTROY));
    if (!life)
        return;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        RULE(!life->was_open && life->is_client == (reason == LWS_CALLBACK_CLIENT_ESTABLISHED));
        life->is_open = life->was_open = 1;
        life->user = user;
        all_opened++;
        break;
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_RECEIVE_PONG:
        RULE(!life->is_client);
        RULE(life->is_open && life->user == user);
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_CLIENT_WRITEABLE:
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        RULE(life->is_client);
        RULE(life->is_open && life->user == user);
        break;
    case LWS_CALLBACK_TIMER:
        RULE(life->is_open ? life->user == user : life->binds);
        break;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
    case LWS_CALLBACK_WS_CLIENT_DROP_PROTOCOL:
        RULE(life->is_open && life->user == user);
        break;
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLIENT_CLOSED:
        RULE(life->is_open && life->user == user && life->is_client == (reason == LWS_CALLBACK_CLIENT_CLOSED));
        life->is_open = 0;
        life->is_closed = 1;
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        RULE(life->is_client && !life->was_open);
        break;
    case LWS_CALLBACK_HTTP_BIND_PROTOCOL:
        RULE(!life->binds++);
        break;
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
        RULE(life->binds--);
        break;
    case LWS_CALLBACK_HTTP:
    case LWS_CALLBACK_HTTP_WRITEABLE:
        RULE(life->binds && !life->was_open && !life->is_client);
        break;
    case LWS_CALLBACK_WSI_DESTROY:
        RULE(!life->is_open);
        all_destroyed++;
        *life = lives[--lives_count];
        break;
    default:
        break;
    }
}

static void rules(struct lws *wsi, enum lws_callback_reasons reason, void *user)
{
    struct life *life = life_of(wsi);

    RULE(depth == 0 || may_be_inside(reason));
    RULE(lws_get_context(wsi) && lws_get_vhost(wsi) && lws_get_protocol(wsi));
    if (rules_of_context(wsi, reason))
        return;
    if (reason == LWS_CALLBACK_FILTER_NETWORK_CONNECTION) {
        RULE(!life);
        return;
    }
    if (!life && (reason == LWS_CALLBACK_WSI_CREATE || reason == LWS_CALLBACK_CLIENT_HTTP_BIND_PROTOCOL))
        life = begin_life(wsi, reason != LWS_CALLBACK_WSI_CREATE);
    rules_of_life(life, reason, user);
}

static void connect_one(int index)
{
    static const char *const NAMES[] = {"first", "second", "first,second", "none", NULL};
    static struct lws *places[16];
    struct lws_client_connect_info info = {
        .context = contexts[index],
        .address = "127.0.0.1",
        .port = pick(8) ? ports[pick(2)][pick(VHOSTS)] : 1,
        .path = pick(2) ? "/" : "/path?a=b",
        .host = "h",
        .origin = pick(2) ? "o" : NULL,
        .protocol = NAMES[pick(5)],
        .pwsi = pick(2) ? &places[connects % 16] : NULL,
    };
    struct lws *wsi;

    if (connects++ > 12)
        return;
    wsi = lws_client_connect_via_info(&info);
    RULE(!info.pwsi || *info.pwsi == wsi);
    if (wsi && pick(3) == 0)
        lws_callback_on_writable(wsi);
    if (wsi && pick(8) == 0)
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

static void write_one(struct lws *wsi)
{
    static const int KINDS[] = {LWS_WRITE_TEXT, LWS_WRITE_BINARY, LWS_WRITE_PING, LWS_WRITE_PONG, LWS_WRITE_BINARY | LWS_WRITE_NO_FIN,
                                LWS_WRITE_CONTINUATION, LWS_WRITE_CONTINUATION | LWS_WRITE_NO_FIN, LWS_WRITE_HTTP, LWS_WRITE_HTTP_FINAL};
    static const size_t SIZES[] = {0, 1, 5, 125, 126, 4096, 4097, PIECE};
    static unsigned char room[LWS_PRE + PIECE];
    int kind = KINDS[pick(pick(4) ? 4 : 9)], written;
    size_t size = SIZES[pick(pick(8) ? 4 : 8)];

    if (writes++ > 300)
        return;
    if ((kind == LWS_WRITE_PING || kind == LWS_WRITE_PONG) && size > 125)
        size = 2;
    memset(room + LWS_PRE, 'x', size);
    written = lws_write(wsi, room + LWS_PRE, size, (enum lws_write_protocol)kind);
    RULE(written == -1 || written == (int)size);
}

/* Looks at everything that there is to see. */
static void look_at(struct lws *wsi)
{
    char text[64];

    lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HOST);
    lws_hdr_copy_fragment(wsi, text, sizeof(text), WSI_TOKEN_HTTP_URI_ARGS, (int)pick(3));
    lws_get_urlarg_by_name(wsi, "a=", text, sizeof(text));
    lws_get_peer_simple(wsi, text, sizeof(text));
    lws_is_final_fragment(wsi), lws_is_first_fragment(wsi), lws_remaining_packet_payload(wsi);
    RULE(lws_frame_is_binary(wsi) >= 0 && lws_send_pipe_choked(wsi) >= 0);
    lws_get_socket_fd(wsi);
    RULE(lws_get_network_wsi(wsi) == wsi);
    RULE(lws_wsi_user(wsi) == lws_wsi_user(lws_get_network_wsi(wsi)));
}

static void fire(lws_sorted_usec_list_t *timer)
{
    int index = timer >= timers[1], at = (int)(timer - timers[index]);

    RULE(depth == 0 && is_set[index][at] && !is_dead[index]);
    is_set[index][at] = 0;
}

static void time_one(int index)
{
    int at = (int)pick(TIMERS);

    is_set[index][at] = pick(4) != 0;
    if (is_set[index][at])
        lws_sul_schedule(contexts[index], 0, &timers[index][at], fire, (lws_usec_t)pick(3000));
    else
        lws_sul_cancel(&timers[index][at]);
}

static void destroy(int index)
{
    is_dead[index] = 1;
    memset(is_set[index], 0, sizeof(is_set[index]));
    lws_context_destroy(contexts[index]);
}

static void call_with(struct lws *wsi, int index)
{
    switch (pick(20)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        write_one(wsi);
        break;
    case 5:
    case 6:
    case 7:
        lws_callback_on_writable(wsi);
        break;
    case 8:
        lws_callback_on_writable_all_protocol(contexts[index], lws_get_protocol(wsi));
        break;
    case 9:
        lws_callback_on_writable_all_protocol_vhost(lws_get_vhost(wsi), lws_get_protocol(wsi));
        break;
    case 10:
        lws_rx_flow_control(wsi, 0);
        break;
    case 11:
    case 12:
        lws_rx_flow_control(wsi, 1);
        break;
    case 13:
        lws_close_reason(wsi, pick(2) ? LWS_CLOSE_STATUS_NORMAL : LWS_CLOSE_STATUS_POLICY_VIOLATION, (unsigned char *)"why", pick(4));
        break;
    case 14:
        if (pick(4) == 0)
            lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, pick(2) ? LWS_TO_KILL_ASYNC : LWS_TO_KILL_SYNC);
        else
            lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, (int)pick(2));
        break;
    case 15:
        lws_set_timer_usecs(wsi, pick(3) ? (lws_usec_t)pick(2000) : LWS_SET_TIMER_USEC_CANCEL);
        break;
    case 16:
        lws_validity_confirmed(wsi);
        break;
    case 17:
    case 18:
        look_at(wsi);
        break;
    default:
        if (pick(40) == 0)
            destroy(index);
        break;
    }
}

static void call_one(int index)
{
    struct lws *wsi = any(index);

    switch (pick(12)) {
    case 0:
        connect_one(index);
        return;
    case 1:
        time_one(index);
        return;
    case 2:
        lws_cancel_service(contexts[index]);
        return;
    default:
        if (wsi)
            call_with(wsi, index);
        return;
    }
}

/* Answers a request in one of many ways, or not now. */
static int answer(struct lws *wsi)
{
    unsigned char room[LWS_PRE + 512], *start = room + LWS_PRE, *at = start, *end = room + sizeof(room);

    requests++;
    switch (pick(6)) {
    case 0:
        return lws_return_http_status(wsi, 404, NULL) || lws_http_transaction_completed(wsi);
    case 1:
        return lws_serve_http_file(wsi, path, "text/plain", NULL, 0) < 0;
    case 2:
        return lws_callback_http_dummy(wsi, LWS_CALLBACK_HTTP, NULL, NULL, 0);
    case 3:
        return -1;
    case 4:
        if (lws_add_http_common_headers(wsi, 200, "text/plain", pick(2) ? 4 : LWS_ILLEGAL_HTTP_CONTENT_LEN, &at, end) ||
            lws_finalize_write_http_header(wsi, start, &at, end))
            return -1;
        lws_callback_on_writable(wsi);
        return 0;
    default:
        return 0;
    }
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    static const char *line = "X-Own: 1\r\n";
    int result = 0, index;

    rules(wsi, reason, user);
    index = which(lws_get_context(wsi));
    if (reason == LWS_CALLBACK_RECEIVE || reason == LWS_CALLBACK_CLIENT_RECEIVE)
        memset(in, 'y', len);
    if (reason == LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER && pick(2)) {
        memcpy(*(char **)in, line, strlen(line));
        *(char **)in += strlen(line);
    }
    if (depth > 0 || reason == LWS_CALLBACK_WSI_DESTROY || reason == LWS_CALLBACK_PROTOCOL_DESTROY)
        return 0;
    depth++;
    if (reason == LWS_CALLBACK_HTTP)
        result = answer(wsi);
    while (!is_dead[index] && pick(3))
        call_one(index);
    if (reason == LWS_CALLBACK_HTTP_WRITEABLE && pick(2))
        result = lws_write(wsi, (unsigned char *)"text", 4, LWS_WRITE_HTTP_FINAL) != 4 || lws_http_transaction_completed(wsi);
    depth--;
    return result ? -1 : pick(30) ? 0 : -1;
}

static const struct lws_protocols protocols[2][PROTOCOLS + 1] = {
    {{.name = "http", .callback = callback, .per_session_data_size = 8},
     {.name = "first", .callback = callback},
     {.name = "second", .callback = callback, .per_session_data_size = 24},
     {.name = NULL}},
    {{.name = "other", .callback = callback},
     {.name = "first", .callback = callback, .per_session_data_size = 40, .rx_buffer_size = 100},
     {.name = "second", .callback = callback},
     {.name = NULL}},
};

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
        abort();
    return fd;
}

/* Something that a stranger sends. */
static void disturb(int *peers)
{
    static const struct {
        const char *bytes;
        size_t len;
    } TEXTS[] = {
#define TEXT(text) {text, sizeof(text) - 1}
        TEXT("GET /file HTTP/1.1\r\nHost: h\r\n\r\n"),
        TEXT("GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"),
        TEXT("POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde"),
        TEXT("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
             "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: second\r\n\r\n"),
        TEXT("rubbish\r\n\r\n"),
        TEXT("GET / HTTP/1.1\r\nHo"),
        TEXT("\x81\x85\0\0\0\0hello"),
        TEXT("\x81\xfe\x10"),
        TEXT("\x88\x80\0\0\0\0"),
        TEXT("\xff\xff\xff\xff"),
    };
    unsigned at = pick(PEERS), text = pick(sizeof(TEXTS) / sizeof(TEXTS[0]));

    if (peers[at] < 0)
        peers[at] = connect_to(ports[0][pick(VHOSTS)]);
    if (pick(5) == 0) {
        close(peers[at]);
        peers[at] = -1;
        return;
    }
    send(peers[at], TEXTS[text].bytes, TEXTS[text].len, MSG_NOSIGNAL);
}

static void make(int index)
{
    struct lws_context_creation_info info = {.iface = "127.0.0.1", .port = CONTEXT_PORT_NO_LISTEN_SERVER};
    int at;

    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    contexts[index] = lws_create_context(&info);
    RULE(contexts[index]);
    for (at = 0; at < VHOSTS; at++) {
        info.protocols = protocols[at];
        info.vhost_name = at ? "one" : "two";
        info.port = 0;
        vhosts[index][at] = lws_create_vhost(contexts[index], &info);
        RULE(vhosts[index][at]);
        ports[index][at] = lws_get_vhost_listen_port(vhosts[index][at]);
        RULE(ports[index][at] > 0);
    }
}

static void sequence(void)
{
    int peers[PEERS] = {-1, -1, -1}, index, count;

    state = seed * 0x9e3779b97f4a7c15u + 1;
    connects = writes = 0;
    memset(is_dead, 0, sizeof(is_dead));
    memset(begun, 0, sizeof(begun));
    memset(ended, 0, sizeof(ended));
    memset(timers, 0, sizeof(timers));
    memset(is_set, 0, sizeof(is_set));
    for (index = 0; index < 2; index++)
        make(index);
    for (count = 5 + (int)pick(30); count > 0; count--) {
        for (index = 0; index < 2; index++)
            if (!is_dead[index]) {
                int result = lws_service(contexts[index], -1);

                RULE(is_dead[index] ? result < 0 : result == 0);
            }
        if (!is_dead[1] && pick(4) == 0)
            connect_one(1);
        if (!is_dead[0] && pick(3) == 0)
            disturb(peers);
        index = (int)pick(2);
        if (!is_dead[index] && pick(3) == 0)
            call_one(index);
    }
    for (index = 0; index < 2; index++) {
        if (!is_dead[index])
            destroy(index);
        RULE(begun[index] == 0 || begun[index] == VHOSTS * PROTOCOLS);
        RULE(ended[index] == begun[index]);
    }
    for (index = 0; index < PEERS; index++)
        if (peers[index] >= 0)
            close(peers[index]);
    RULE(lives_count == 0 && depth == 0);
    lives_count = depth = 0;
}

int main(int argc, char **words)
{
    uint64_t first, count;
    int fd = mkstemp(path);

    if (argc != 3 || fd < 0 || write(fd, "content\n", 8) != 8)
        return 2;
    close(fd);
    setvbuf(stdout, NULL, _IOLBF, 0);
    lws_set_log_level(0, NULL);
    first = strtoull(words[1], NULL, 10);
    count = strtoull(words[2], NULL, 10);
    for (seed = first; seed < first + count && broken < 20; seed++)
        sequence();
    unlink(path);
    fprintf(stderr, "%d connections opened, %d ended, %d requests, in %llu sequences\n", all_opened, all_destroyed, requests,
            (unsigned long long)count);
    RULE((uint64_t)all_opened > count / 2 && requests > 0);
    printf("%s\n", broken ? "FAILED" : "end");
    return broken ? 1 : 0;
}
