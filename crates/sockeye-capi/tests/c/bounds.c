/* What a peer may ask of the library, and what a program may ask it to hold for a peer: both have bounds. */

#include "common.h"

#include <limits.h>

enum { PART = 1 << 20, BOUND = 64 * PART };

static struct libwebsocket *only;
static int closes;
static size_t received, remaining;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)user, (void)in;
    if (reason == LWS_CALLBACK_ESTABLISHED)
        only = wsi;
    if (reason == LWS_CALLBACK_RECEIVE) {
        received += len;
        remaining = libwebsockets_remaining_packet_payload(wsi);
    }
    closes += reason == LWS_CALLBACK_CLOSED;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"bounds", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

/* More than 64 MiB that wait end the connection. What the system takes does not wait. */
static void what_waits(int port)
{
    unsigned char *part = malloc(LWS_SEND_BUFFER_PRE_PADDING + PART + LWS_SEND_BUFFER_POST_PADDING);
    int fd = peer_upgrade(port, "/", "bounds");
    size_t accepted = 0;

    UNTIL(only);
    memset(part, 'x', LWS_SEND_BUFFER_PRE_PADDING + PART + LWS_SEND_BUFFER_POST_PADDING);
    while (accepted < 2u * BOUND && !libwebsocket_write(only, part + LWS_SEND_BUFFER_PRE_PADDING, PART, LWS_WRITE_BINARY))
        accepted += PART;
    free(part);
    say("accepted: %s", accepted == BOUND - PART ? "less than 64 MiB" : accepted < 2u * BOUND ? "another bound" : "no bound");
    UNTIL(closes == 1);
    say("the connection is closed");
    close(fd);
    only = NULL;
}

/* A message of any length comes in pieces. */
static void length(int port)
{
    static const unsigned char HEAD[] = {0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static char piece[4096];
    int fd = peer_upgrade(port, "/", "bounds");

    UNTIL(only);
    peer_send(fd, HEAD, sizeof(HEAD));
    peer_send(fd, piece, sizeof(piece));
    UNTIL(received == sizeof(piece));
    say("a message of a tebibyte: %zu bytes, and %s", received, remaining == (size_t)(1ull << 40) - 4096 ? "the rest remains" : "wrong");
    close(fd);
    UNTIL(closes == 2);
    only = NULL;
}

static void refused(int port, const char *what, int first, size_t len)
{
    static const char payload[200];
    int before = closes, fd = peer_upgrade(port, "/", "bounds");

    peer_frame(fd, first, payload, len);
    say_frame(fd, what);
    close(fd);
    UNTIL(closes == before + 1);
}

int main(void)
{
    int port = free_port(), fd, index;
    char head[4096];

    server(port, protocols);
    what_waits(port);
    length(port);
    refused(port, "a ping of 126 bytes", 0x89, 126);
    refused(port, "an opcode that is none", 0x83, 1);
    refused(port, "a bit of an extension", 0xc1, 1);
    refused(port, "a continuation of nothing", 0x80, 1);
    fd = peer_upgrade(port, "/", "bounds");
    peer_frame_plain(fd, 0x81, "x", 1);
    say_frame(fd, "a frame without a mask");
    close(fd);

    fd = peer_connect(port);
    peer_text(fd, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (index = 0; index < 200; index++)
        peer_text(fd, "X-%d: y\r\n", index);
    say("200 fields: %d", peer_head(fd, head, sizeof(head)));
    close(fd);
    fd = peer_connect(port);
    peer_text(fd, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    for (index = 0; index < 20; index++)
        peer_text(fd, "%01000d", 0);
    say("a field of 20,000 bytes: %d", peer_head(fd, head, sizeof(head)));
    close(fd);
    UNTIL(closes == 7);
    return finish();
}
