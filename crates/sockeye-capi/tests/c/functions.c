/* Every function of the library is there, with the type of the header. */

/* For lwsl_hexdump. */
#define _DEBUG
#include "common.h"

int main(void)
{
    struct libwebsocket_context *(*create)(int, const char *, struct libwebsocket_protocols *, struct libwebsocket_extension *,
                                           const char *, const char *, const char *, int, int, unsigned int, void *) =
        libwebsocket_create_context;
    void (*destroy)(struct libwebsocket_context *) = libwebsocket_context_destroy;
    int (*service)(struct libwebsocket_context *, int) = libwebsocket_service;
    int (*service_fd)(struct libwebsocket_context *, struct pollfd *) = libwebsocket_service_fd;
    void *(*user)(struct libwebsocket_context *) = libwebsocket_context_user;
    int (*write)(struct libwebsocket *, unsigned char *, size_t, enum libwebsocket_write_protocol) = libwebsocket_write;
    int (*wish)(struct libwebsocket_context *, struct libwebsocket *) = libwebsocket_callback_on_writable;
    int (*wish_all)(const struct libwebsocket_protocols *) = libwebsocket_callback_on_writable_all_protocol;
    size_t (*remaining)(struct libwebsocket *) = libwebsockets_remaining_packet_payload;
    unsigned char (*reserved)(struct libwebsocket *) = libwebsocket_get_reserved_bits;
    void *(*space)(struct libwebsocket *) = libwebsocket_ensure_user_space;
    int (*flow)(struct libwebsocket *, int) = libwebsocket_rx_flow_control;
    int (*of_wsi[])(struct libwebsocket *) = {libwebsocket_is_final_fragment, lws_frame_is_binary, lws_send_pipe_choked,
                                              libwebsocket_get_socket_fd};
    const struct libwebsocket_protocols *(*protocol)(struct libwebsocket *) = libwebsockets_get_protocol;
    struct libwebsocket *(*connect)(struct libwebsocket_context *, const char *, int, int, const char *, const char *,
                                    const char *, const char *, int) = libwebsocket_client_connect;
    struct libwebsocket *(*connect_extended)(struct libwebsocket_context *, const char *, int, int, const char *, const char *,
                                             const char *, const char *, int, void *) = libwebsocket_client_connect_extended;
    void (*close)(struct libwebsocket_context *, struct libwebsocket *, enum lws_close_status) =
        libwebsocket_close_and_free_session;
    void (*hangup)(struct libwebsocket_context *, int) = libwebsockets_hangup_on_client;
    void (*addresses)(struct libwebsocket_context *, struct libwebsocket *, int, char *, int, char *, int) =
        libwebsockets_get_peer_addresses;
    const char *(*hostname)(struct libwebsocket_context *) = libwebsocket_canonical_hostname;
    int (*file)(struct libwebsocket_context *, struct libwebsocket *, const char *, const char *) =
        libwebsockets_serve_http_file;
    int (*file_fragment)(struct libwebsocket_context *, struct libwebsocket *) = libwebsockets_serve_http_file_fragment;
    int (*randomness)(struct libwebsocket_context *, void *, int) = libwebsockets_get_random;
    int (*daemonize)(const char *) = lws_daemonize;
    void (*set_level)(int, void (*)(int, const char *)) = lws_set_log_level;
    void (*emit)(int, const char *) = lwsl_emit_syslog;
    void (*log)(int, const char *, ...) = _lws_log;
    void (*dump)(void *, size_t) = lwsl_hexdump;
    int (*encode)(const char *, int, char *, int) = lws_b64_encode_string;
    int (*decode)(const char *, char *, int) = lws_b64_decode_string;
    int (*feed)(struct libwebsocket_context *, struct libwebsocket *, unsigned char *, size_t) = libwebsocket_read;

    CHECK(create && destroy && service && service_fd && user && write && wish && wish_all && remaining && reserved && space);
    CHECK(flow && of_wsi[0] && protocol && connect && connect_extended && close && hangup && addresses && hostname && file);
    CHECK(file_fragment && randomness && daemonize && set_level && emit && log && dump && encode && decode && feed);
    CHECK(libwebsocket_internal_extensions[0].callback == NULL);
    return finish();
}
