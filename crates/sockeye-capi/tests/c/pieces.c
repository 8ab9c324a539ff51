/* What RECEIVE gets: at most 4096 bytes of a frame at a time, cut nowhere else, with room around them. */

#include "common.h"

static int count, is_closed;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                    enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    unsigned char *bytes = in;
    size_t index;

    (void)context, (void)user;
    if (reason == LWS_CALLBACK_CLOSED)
        is_closed = 1;
    if (reason != LWS_CALLBACK_RECEIVE)
        return 0;
    count++;
    say("%zu, %zu remain, %s, %s, reserved %d", len, libwebsockets_remaining_packet_payload(wsi),
        libwebsocket_is_final_fragment(wsi) ? "final" : "not final", lws_frame_is_binary(wsi) ? "binary" : "text",
        libwebsocket_get_reserved_bits(wsi));
    CHECK(bytes[len] == '\0');
    for (index = 0; index < len; index++)
        CHECK(bytes[index] == 'x');
    /* All of it is ours. */
    memset(bytes - LWS_SEND_BUFFER_PRE_PADDING, '#', LWS_SEND_BUFFER_PRE_PADDING + len + 1);
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"pieces", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    static char data[9000];
    unsigned char masked[4 + 4 + 3000];
    int port = free_port(), fd;
    size_t index;

    memset(data, 'x', sizeof(data));
    server(port, protocols);
    fd = peer_upgrade(port, "/", "pieces");

    say("6000 bytes");
    peer_frame(fd, 0x82, data, 6000);
    UNTIL(count == 2);
    say("4096 bytes, and 4097");
    peer_frame(fd, 0x81, data, 4096);
    UNTIL(count == 3);
    peer_frame(fd, 0x81, data, 4097);
    UNTIL(count == 5);
    say("3000 bytes in three parts");
    memcpy(masked, "\x81\xfe\x0b\xb8\0\0\0\0", 8);
    memcpy(masked + 8, data, 3000);
    for (index = 0; index < sizeof(masked);) {
        size_t part = sizeof(masked) - index < 1100 ? sizeof(masked) - index : 1100;

        CHECK(count == 5);
        peer_send(fd, masked + index, part);
        index += part;
        turns(3);
    }
    UNTIL(count == 6);
    say("three frames at once, one after the other");
    for (index = 0; index < 3; index++)
        peer_frame(fd, 0x81, data, 10 + index);
    UNTIL(count == 9);
    say("a message of three frames, with a ping between");
    peer_frame(fd, 0x02, data, 5);
    peer_frame(fd, 0x00, data, 5000);
    peer_frame(fd, 0x89, "ping", 4);
    peer_frame(fd, 0x80, data, 6);
    say_frame(fd, "peer");
    UNTIL(count == 13);
    say("an empty message, and an empty end");
    peer_frame(fd, 0x81, data, 0);
    UNTIL(count == 14);
    peer_frame(fd, 0x01, data, 3);
    peer_frame(fd, 0x80, data, 0);
    UNTIL(count == 16);
    say("a frame that is not masked");
    peer_frame_plain(fd, 0x81, data, 3);
    say_frame(fd, "peer");
    peer_until_end(fd);
    UNTIL(is_closed);
    CHECK(count == 16);
    return finish();
}
