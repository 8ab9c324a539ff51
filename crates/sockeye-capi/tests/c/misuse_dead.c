/* A wsi that has ended, for every function, from main and from callbacks of others: each refuses and says so. */

#include "common.h"

static struct libwebsocket *first, *second;
static int closes, tried;

static void all(struct libwebsocket_context *context, struct libwebsocket *dead)
{
    unsigned char buffer[40] = {0};
    char name[50], address[50];

    errors = 0;
    CHECK(libwebsocket_write(dead, buffer + 18, 4, LWS_WRITE_TEXT) < 0);
    CHECK(errors > 0);
    CHECK(libwebsocket_callback_on_writable(context, dead) < 0);
    libwebsocket_rx_flow_control(dead, 0);
    libwebsocket_rx_flow_control(dead, 1);
    lws_send_pipe_choked(dead);
    libwebsocket_close_and_free_session(context, dead, LWS_CLOSE_STATUS_NORMAL);
    libwebsocket_close_and_free_session(context, dead, LWS_CLOSE_STATUS_NOSTATUS);
    CHECK(libwebsocket_is_final_fragment(dead) == 0 && libwebsockets_remaining_packet_payload(dead) == 0);
    CHECK(libwebsocket_get_reserved_bits(dead) == 0 && lws_frame_is_binary(dead) == 0);
    CHECK(libwebsocket_ensure_user_space(dead) == NULL);
    CHECK(libwebsocket_get_socket_fd(dead) == -1);
    CHECK(libwebsockets_get_protocol(dead) == NULL);
    CHECK(libwebsockets_serve_http_file(context, dead, "/etc/passwd", "text/plain") != 0);
    CHECK(libwebsockets_serve_http_file_fragment(context, dead) != 0);
    CHECK(libwebsocket_read(context, dead, buffer, 4) == -1);
    libwebsockets_get_peer_addresses(context, dead, -1, name, sizeof(name), address, sizeof(address));
    tried++;
}

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user, (void)in, (void)len;
    if (reason == LWS_CALLBACK_ESTABLISHED) {
        if (!first)
            first = wsi;
        else
            second = wsi;
    }
    if (reason == LWS_CALLBACK_CLOSED) {
        closes++;
        say("CLOSED of the %s", wsi == first ? "first" : "second");
    }
    if (wsi == second && first && (reason == LWS_CALLBACK_RECEIVE || reason == LWS_CALLBACK_CLOSED))
        all(context, first);
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"dead", callback_all, 16, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    int port = free_port(), one, two;
    struct libwebsocket_context *context = server(port, protocols);

    one = peer_upgrade(port, "/", "dead");
    UNTIL(first);
    two = peer_upgrade(port, "/", "dead");
    UNTIL(second);
    close(one);
    UNTIL(closes == 1);
    all(context, first);
    turns(3);
    all(context, first);
    peer_frame(two, 0x81, "x", 1);
    UNTIL(tried == 3);
    close(two);
    UNTIL(closes == 2);
    all(context, second);
    destroy_all();
    all(context, second);
    all(NULL, first);
    say("tried %d times", tried);
    return finish();
}
