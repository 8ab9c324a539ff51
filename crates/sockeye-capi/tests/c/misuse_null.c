/* NULL, and pointers to what is none of the library's, for every function: each refuses. */

#include "common.h"

static void all(struct libwebsocket_context *context, struct libwebsocket *wsi, const char *what)
{
    char name[10] = "?", address[10] = "?";
    unsigned char buffer[40] = {0};
    struct pollfd unknown = {.fd = 0, .events = POLLIN, .revents = POLLIN};

    say("%s", what);
    CHECK(libwebsocket_write(wsi, buffer + 18, 4, LWS_WRITE_TEXT) < 0);
    CHECK(libwebsocket_write(wsi, NULL, 0, LWS_WRITE_TEXT) < 0);
    CHECK(libwebsocket_callback_on_writable(context, wsi) < 0);
    CHECK(libwebsocket_is_final_fragment(wsi) == 0);
    CHECK(libwebsockets_remaining_packet_payload(wsi) == 0);
    CHECK(libwebsocket_get_reserved_bits(wsi) == 0);
    CHECK(lws_frame_is_binary(wsi) == 0);
    CHECK(libwebsocket_ensure_user_space(wsi) == NULL);
    libwebsocket_rx_flow_control(wsi, 0);
    libwebsocket_rx_flow_control(wsi, 1);
    lws_send_pipe_choked(wsi);
    CHECK(libwebsocket_get_socket_fd(wsi) == -1);
    CHECK(libwebsockets_get_protocol(wsi) == NULL);
    libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
    libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NOSTATUS);
    CHECK(libwebsockets_serve_http_file(context, wsi, "/etc/passwd", "text/plain") != 0);
    CHECK(libwebsockets_serve_http_file(context, wsi, NULL, NULL) != 0);
    CHECK(libwebsockets_serve_http_file_fragment(context, wsi) != 0);
    CHECK(libwebsocket_read(context, wsi, buffer, 10) == -1);
    libwebsockets_get_peer_addresses(context, wsi, -1, name, sizeof(name), address, sizeof(address));
    CHECK(!name[0] && !address[0]);
    libwebsockets_get_peer_addresses(context, wsi, -1, NULL, 0, NULL, 0);

    libwebsocket_service_fd(context, &unknown);
    libwebsocket_service_fd(context, NULL);
    CHECK(libwebsocket_context_user(context) == NULL);
    libwebsocket_canonical_hostname(context);
    CHECK(libwebsocket_client_connect(context, "127.0.0.1", 1, 0, "/", "h", "o", "p", -1) == NULL);
    CHECK(libwebsocket_client_connect(context, NULL, 1, 0, NULL, NULL, NULL, NULL, -1) == NULL);
    CHECK(libwebsocket_client_connect_extended(context, "127.0.0.1", 1, 0, "/", "h", "o", "p", -1, NULL) == NULL);
}

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)reason, (void)user, (void)in, (void)len;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"null", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};
static struct libwebsocket_protocols none[] = {{NULL, NULL, 0, NULL, 0, 0, 0}};
/* P ends its array with nothing but a callback that is NULL. */
static struct libwebsocket_protocols unnamed[] = {
    {NULL, callback_all, 0, NULL, 0, 0, 0},
    {"end", NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    static char ours[4096], other[4096];
    struct libwebsocket_context *context;
    char text[4];

    lws_set_log_level(0, quiet);
    all(NULL, NULL, "NULL");
    all((struct libwebsocket_context *)ours, (struct libwebsocket *)other, "memory of the program");
    CHECK(libwebsocket_service(NULL, 0) == 1);
    CHECK(libwebsocket_service((struct libwebsocket_context *)ours, 0) != 0);
    libwebsocket_context_destroy(NULL);
    libwebsocket_context_destroy((struct libwebsocket_context *)ours);
    libwebsockets_hangup_on_client(NULL, -1);
    libwebsocket_callback_on_writable_all_protocol(NULL);
    libwebsocket_callback_on_writable_all_protocol(protocols);
    CHECK(lws_b64_encode_string("x", 1, text, 0) == -1);
    CHECK(lws_b64_decode_string("eA==", text, 0) == -1);
    CHECK(lws_b64_encode_string(NULL, 0, NULL, 0) == -1);
    CHECK(lws_b64_decode_string(NULL, NULL, 0) == -1);
    CHECK(lws_b64_encode_string("x", -1, text, 4) <= 0);
    _lws_log(0x3ff, NULL);
    lwsl_emit_syslog(LLL_DEBUG, NULL);
    CHECK(libwebsockets_get_random(NULL, NULL, 4) <= 0);

    CHECK(libwebsocket_create_context(0, NULL, NULL, NULL, NULL, NULL, NULL, -1, -1, 0, NULL) == NULL);
    context = libwebsocket_create_context(0, NULL, none, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    libwebsocket_context_destroy(context);
    context = libwebsocket_create_context(0, NULL, unnamed, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    CHECK(context != NULL);
    libwebsocket_context_destroy(context);
    CHECK(libwebsocket_create_context(-1, NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL) == NULL);
    CHECK(libwebsocket_create_context(70000, NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL) == NULL);

    context = libwebsocket_create_context(0, NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    CHECK(context != NULL);
    all(context, NULL, "a context, and no wsi");
    libwebsockets_get_random(context, NULL, 4);
    libwebsockets_get_random(context, text, -4);
    libwebsockets_hangup_on_client(context, -1);
    CHECK(libwebsocket_service(context, 0) == 0);
    libwebsocket_context_destroy(context);
    all(context, NULL, "a context that is gone");
    CHECK(libwebsocket_service(context, 0) != 0);
    libwebsocket_context_destroy(context);
    return finish();
}
