#include "common.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>

/* Long on a slow machine below valgrind; what does not come is a fault. */
static const double PATIENCE = 60;

static const int TURN_MS = 2;

static struct libwebsocket_context *served[8];
static int failures;

int errors;

void say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

void check(int is_true, const char *what, int line)
{
    if (is_true)
        return;
    failures++;
    say("FAILED in line %d: %s", line, what);
}

int finish(void)
{
    destroy_all();
    say("%s", failures ? "FAILED" : "end");
    return failures ? 1 : 0;
}

const char *reason_name(int reason)
{
    static const char *const NAMES[] = {
        "ESTABLISHED", "CLIENT_CONNECTION_ERROR", "CLIENT_ESTABLISHED", "CLOSED", "RECEIVE", "CLIENT_RECEIVE",
        "CLIENT_RECEIVE_PONG", "CLIENT_WRITEABLE", "SERVER_WRITEABLE", "HTTP", "HTTP_FILE_COMPLETION", "BROADCAST",
        "FILTER_NETWORK_CONNECTION", "FILTER_PROTOCOL_CONNECTION", "OPENSSL_LOAD_EXTRA_CLIENT_VERIFY_CERTS",
        "OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS", "OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION",
        "CLIENT_APPEND_HANDSHAKE_HEADER", "CONFIRM_EXTENSION_OKAY", "CLIENT_CONFIRM_EXTENSION_SUPPORTED",
        "ADD_POLL_FD", "DEL_POLL_FD", "SET_MODE_POLL_FD", "CLEAR_MODE_POLL_FD"};

    return reason >= 0 && reason < (int)(sizeof(NAMES) / sizeof(NAMES[0])) ? NAMES[reason] : "?";
}

int is_poll_reason(int reason)
{
    return reason >= LWS_CALLBACK_ADD_POLL_FD && reason <= LWS_CALLBACK_CLEAR_MODE_POLL_FD;
}

void quiet(int level, const char *line)
{
    if (level == LLL_ERR)
        errors++;
    fprintf(stderr, "[%d] %s", level, line);
}

int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0), port;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
        getsockname(fd, (struct sockaddr *)&address, &length))
        abort();
    port = ntohs(address.sin_port);
    close(fd);
    return port;
}

struct libwebsocket_context *serve(struct libwebsocket_context *context)
{
    size_t index;

    if (!context) {
        say("no context");
        exit(3);
    }
    for (index = 0; index < sizeof(served) / sizeof(served[0]); index++)
        if (!served[index]) {
            served[index] = context;
            return context;
        }
    abort();
}

static struct libwebsocket_context *create(int port, struct libwebsocket_protocols *protocols)
{
    lws_set_log_level(LLL_ERR | LLL_WARN, quiet);
    return serve(libwebsocket_create_context(port, NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL));
}

struct libwebsocket_context *server(int port, struct libwebsocket_protocols *protocols)
{
    return create(port, protocols);
}

struct libwebsocket_context *client(struct libwebsocket_protocols *protocols)
{
    return create(CONTEXT_PORT_NO_LISTEN, protocols);
}

void destroy_all(void)
{
    size_t index;

    for (index = 0; index < sizeof(served) / sizeof(served[0]); index++) {
        struct libwebsocket_context *context = served[index];

        served[index] = NULL;
        if (context)
            libwebsocket_context_destroy(context);
    }
}

void turn(void)
{
    size_t index;
    int count = 0;

    for (index = 0; index < sizeof(served) / sizeof(served[0]); index++)
        if (served[index]) {
            count++;
            CHECK(libwebsocket_service(served[index], TURN_MS) == 0);
        }
    if (!count)
        poll(NULL, 0, TURN_MS);
}

void turns(int count)
{
    while (count--)
        turn();
}

double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

void gave_up(double begin, const char *what, int line)
{
    if (seconds() - begin < PATIENCE)
        return;
    say("GAVE UP in line %d: %s", line, what);
    exit(3);
}

unsigned char *padded(const void *data, size_t len)
{
    static unsigned char *buffer;

    free(buffer);
    buffer = malloc(LWS_SEND_BUFFER_PRE_PADDING + len + LWS_SEND_BUFFER_POST_PADDING);
    if (!buffer)
        abort();
    if (len)
        memcpy(buffer + LWS_SEND_BUFFER_PRE_PADDING, data, len);
    return buffer + LWS_SEND_BUFFER_PRE_PADDING;
}

int write_text(struct libwebsocket *wsi, const char *text)
{
    return libwebsocket_write(wsi, padded(text, strlen(text)), strlen(text), LWS_WRITE_TEXT);
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    return address;
}

/* What is sent leaves at once, and nothing blocks. */
static void prepare(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

int peer_connect(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        say("peer: %s", strerror(errno));
        exit(3);
    }
    prepare(fd);
    return fd;
}

void peer_send(int fd, const void *data, size_t len)
{
    const char *at = data;
    double begin = seconds();

    while (len) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);

        if (sent > 0) {
            at += sent;
            len -= (size_t)sent;
            continue;
        }
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return;
        gave_up(begin, "send", __LINE__);
        turn();
    }
}

void peer_text(int fd, const char *format, ...)
{
    char text[8192];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    peer_send(fd, text, (size_t)length);
}

/* Exactly `len` bytes; 0 if the stream ends before. */
static int receive_all(int fd, void *data, size_t len)
{
    char *at = data;
    double begin = seconds();

    while (len) {
        ssize_t got = recv(fd, at, len, 0);

        if (got > 0) {
            at += got;
            len -= (size_t)got;
            continue;
        }
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return 0;
        gave_up(begin, "recv", __LINE__);
        turn();
    }
    return 1;
}

int peer_head(int fd, char *head, size_t size)
{
    size_t length = 0;

    while (length + 1 < size && receive_all(fd, head + length, 1)) {
        length++;
        head[length] = '\0';
        if (length > 3 && !strcmp(head + length - 4, "\r\n\r\n"))
            return length > 12 ? atoi(head + 9) : 0;
    }
    return 0;
}

size_t peer_rest(int fd, char *data, size_t size)
{
    size_t length = 0;
    char byte;

    while (receive_all(fd, &byte, 1))
        if (length < size)
            data[length++] = byte;
    return length;
}

int peer_upgrade(int port, const char *path, const char *protocol)
{
    char head[4096];
    int fd = peer_connect(port);

    peer_text(fd, "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", path);
    peer_text(fd, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n");
    if (protocol)
        peer_text(fd, "Sec-WebSocket-Protocol: %s\r\n", protocol);
    peer_text(fd, "\r\n");
    CHECK(peer_head(fd, head, sizeof(head)) == 101);
    CHECK(strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    return fd;
}

static size_t frame_head(unsigned char *head, int first, size_t len)
{
    head[0] = (unsigned char)first;
    if (len < 126) {
        head[1] = (unsigned char)len;
        return 2;
    }
    if (len < 65536) {
        head[1] = 126;
        head[2] = (unsigned char)(len >> 8);
        head[3] = (unsigned char)len;
        return 4;
    }
    head[1] = 127;
    memset(head + 2, 0, 4);
    head[6] = (unsigned char)(len >> 24);
    head[7] = (unsigned char)(len >> 16);
    head[8] = (unsigned char)(len >> 8);
    head[9] = (unsigned char)len;
    return 10;
}

void peer_frame(int fd, int first, const void *data, size_t len)
{
    static const unsigned char MASK[4] = {1, 2, 3, 4};
    unsigned char *bytes = malloc(len + 14);
    size_t head = frame_head(bytes, first, len), index;

    bytes[1] |= 0x80;
    memcpy(bytes + head, MASK, 4);
    for (index = 0; index < len; index++)
        bytes[head + 4 + index] = ((const unsigned char *)data)[index] ^ MASK[index & 3];
    peer_send(fd, bytes, head + 4 + len);
    free(bytes);
}

void peer_frame_plain(int fd, int first, const void *data, size_t len)
{
    unsigned char head[10];

    peer_send(fd, head, frame_head(head, first, len));
    peer_send(fd, data, len);
}

int peer_receive(int fd, struct frame *frame)
{
    unsigned char head[2], length[8], mask[4] = {0};
    size_t index, bytes;

    if (!receive_all(fd, head, 2))
        return 0;
    frame->fin = head[0] >> 7;
    frame->rsv = head[0] >> 4 & 7;
    frame->opcode = head[0] & 15;
    frame->is_masked = head[1] >> 7;
    frame->len = head[1] & 127;
    bytes = frame->len == 126 ? 2 : frame->len == 127 ? 8 : 0;
    if (bytes) {
        if (!receive_all(fd, length, bytes))
            return 0;
        for (frame->len = 0, index = 0; index < bytes; index++)
            frame->len = frame->len << 8 | length[index];
    }
    if (frame->len > sizeof(frame->data))
        return 0;
    if ((frame->is_masked && !receive_all(fd, mask, 4)) || !receive_all(fd, frame->data, frame->len))
        return 0;
    for (index = 0; index < frame->len; index++)
        frame->data[index] ^= mask[index & 3];
    return 1;
}

void say_frame(int fd, const char *who)
{
    static const char *const NAMES[] = {"continuation", "text", "binary", "?", "?", "?", "?", "?", "close", "ping", "pong"};
    static struct frame frame;

    if (!peer_receive(fd, &frame)) {
        say("%s: end of stream", who);
        return;
    }
    if (frame.opcode == 8 && frame.len >= 2)
        say("%s: close %d '%.*s'", who, frame.data[0] << 8 | frame.data[1], (int)frame.len - 2, frame.data + 2);
    else
        say("%s: %s%s %zu '%.*s'", who, frame.opcode < 11 ? NAMES[frame.opcode] : "?", frame.fin ? "" : " (more follows)",
            frame.len, (int)(frame.len < 80 ? frame.len : 80), frame.data);
    if (frame.rsv)
        say("%s: reserved bits %d", who, frame.rsv);
}

void peer_until_end(int fd)
{
    char byte;

    while (receive_all(fd, &byte, 1))
        ;
    close(fd);
}

int peer_listen(int *port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 8) ||
        getsockname(fd, (struct sockaddr *)&address, &length))
        abort();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    *port = ntohs(address.sin_port);
    return fd;
}

int peer_accept(int listener)
{
    double begin = seconds();
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) {
        gave_up(begin, "accept", __LINE__);
        turn();
    }
    prepare(fd);
    return fd;
}

static uint32_t rotate(uint32_t word, int bits)
{
    return word << bits | word >> (32 - bits);
}

/* FIPS 180-4, section 6.1, for less than 119 bytes. */
static void sha1(const char *text, unsigned char digest[20])
{
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char block[128] = {0};
    size_t length = strlen(text), size = length < 56 ? 64 : 128, begin;
    int index;

    memcpy(block, text, length);
    block[length] = 0x80;
    block[size - 2] = (unsigned char)(length * 8 >> 8);
    block[size - 1] = (unsigned char)(length * 8);
    for (begin = 0; begin < size; begin += 64) {
        uint32_t words[80], a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];

        for (index = 0; index < 80; index++) {
            const unsigned char *at = block + begin + 4 * (index < 16 ? index : 0);
            uint32_t f, k, next;

            words[index] = index < 16 ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]
                                      : rotate(words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], 1);
            if (index < 20)
                f = (b & c) | (~b & d), k = 0x5a827999;
            else if (index < 40)
                f = b ^ c ^ d, k = 0x6ed9eba1;
            else if (index < 60)
                f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
            else
                f = b ^ c ^ d, k = 0xca62c1d6;
            next = rotate(a, 5) + f + e + k + words[index];
            e = d, d = c, c = rotate(b, 30), b = a, a = next;
        }
        hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d, hash[4] += e;
    }
    for (index = 0; index < 20; index++)
        digest[index] = (unsigned char)(hash[index / 4] >> (24 - 8 * (index % 4)));
}

void peer_answer(int fd, const char *head, const char *protocol)
{
    char text[119], accept[40];
    unsigned char digest[20];
    const char *key = strcasestr(head, "\r\nSec-WebSocket-Key: ");

    if (!key) {
        say("a request without a key");
        exit(3);
    }
    snprintf(text, sizeof(text), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + strlen("\r\nSec-WebSocket-Key: "));
    sha1(text, digest);
    CHECK(lws_b64_encode_string((const char *)digest, 20, accept, sizeof(accept)) == 28);
    peer_text(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
              accept);
    if (protocol)
        peer_text(fd, "Sec-WebSocket-Protocol: %s\r\n", protocol);
    peer_text(fd, "\r\n");
}
