/* What libwebsocket_write makes of its kinds, and that it leaves the caller's buffer alone. */

#include "common.h"

#include <stdint.h>

static struct libwebsocket *only;
static int is_closed;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                    enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)user, (void)in, (void)len;
    if (reason == LWS_CALLBACK_ESTABLISHED)
        only = wsi;
    if (reason == LWS_CALLBACK_CLOSED)
        is_closed = 1;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"writes", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static int write_as(const char *text, int kind)
{
    unsigned char buffer[18 + 100 + 4], before[18 + 100 + 4];
    int result;

    memset(buffer, '#', sizeof(buffer));
    memcpy(buffer + 18, text, strlen(text));
    memcpy(before, buffer, sizeof(buffer));
    result = libwebsocket_write(only, buffer + 18, strlen(text), (enum libwebsocket_write_protocol)kind);
    CHECK(!memcmp(buffer, before, sizeof(buffer)));
    return result;
}

static void see_end(int fd)
{
    static struct frame frame;

    say_frame(fd, "peer");
    is_closed = 0;
    if (peer_receive(fd, &frame) && frame.opcode == 8) {
        say("peer: close %d", frame.len >= 2 ? frame.data[0] << 8 | frame.data[1] : 0);
        peer_frame(fd, 0x88, frame.data, frame.len);
    }
    UNTIL(is_closed);
    CHECK(write_as("late", LWS_WRITE_TEXT) < 0);
    close(fd);
}

int main(void)
{
    static const char zeros[126];
    unsigned char *long_one = padded(zeros, sizeof(zeros));
    int port = free_port(), fd;
    struct libwebsocket_context *context = server(port, protocols);

    fd = peer_upgrade(port, "/", "writes");
    UNTIL(only);
    CHECK(write_as("text", LWS_WRITE_TEXT) == 0);
    say_frame(fd, "peer");
    CHECK(write_as("binary", LWS_WRITE_BINARY) == 0);
    say_frame(fd, "peer");
    CHECK(write_as("", LWS_WRITE_TEXT) == 0);
    say_frame(fd, "peer");
    CHECK(write_as("one", LWS_WRITE_TEXT | LWS_WRITE_NO_FIN) == 0);
    CHECK(write_as("two", LWS_WRITE_CONTINUATION | LWS_WRITE_NO_FIN) == 0);
    CHECK(write_as("between", LWS_WRITE_PING) == 0);
    CHECK(write_as("three", LWS_WRITE_CONTINUATION) == 0);
    say_frame(fd, "peer");
    say_frame(fd, "peer");
    say_frame(fd, "peer");
    say_frame(fd, "peer");
    CHECK(write_as("\xff\xfe is not UTF-8", LWS_WRITE_BINARY) == 0);
    say_frame(fd, "peer");
    CHECK(write_as("unasked", LWS_WRITE_PONG) == 0);
    say_frame(fd, "peer");
    CHECK(write_as("ignored flag", LWS_WRITE_TEXT | LWS_WRITE_CLIENT_IGNORE_XOR_MASK) == 0);
    say_frame(fd, "peer");
    errors = 0;
    CHECK(write_as("what", 99) < 0);
    CHECK(libwebsocket_write(only, long_one, SIZE_MAX, LWS_WRITE_TEXT) < 0);
    CHECK(libwebsocket_write(only, long_one, 126, LWS_WRITE_PING) < 0);
    CHECK(libwebsocket_write(only, long_one, 126, LWS_WRITE_PONG) < 0);
    CHECK(errors == 4);
    /* What was accepted before the end is sent before it. */
    CHECK(write_as("last words", LWS_WRITE_TEXT) == 0);
    CHECK(write_as("", LWS_WRITE_CLOSE) == 0);
    see_end(fd);
    say("the other way to close");
    only = NULL;
    fd = peer_upgrade(port, "/", "writes");
    UNTIL(only);
    CHECK(write_as("last words", LWS_WRITE_TEXT) == 0);
    libwebsocket_close_and_free_session(context, only, LWS_CLOSE_STATUS_NORMAL);
    see_end(fd);
    return finish();
}
