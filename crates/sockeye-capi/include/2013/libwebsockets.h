/*
 * The C interface of Sockeye: the names, values and layouts that programs written for libwebsockets in January 2013 use.
 * docs/c.md says how to build with it, and what differs from the library of that time.
 *
 * One thread serves a context. "wsi" (struct libwebsocket) is one connection; its pointer stays where it is until its CLOSED
 * callback has returned. What is passed a wsi or context that has ended refuses, with a line in the log.
 */

#ifndef SOCKEYE_LIBWEBSOCKETS_2013_H
#define SOCKEYE_LIBWEBSOCKETS_2013_H

#include <assert.h>
#include <poll.h>
#include <stddef.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LWS_EXTERN extern

/* A port for libwebsocket_create_context: do not listen. */
#define CONTEXT_PORT_NO_LISTEN 0

#define MAX_MUX_RECURSION 2

/* Room that programs leave before and behind what they write. It is neither read nor written. */
#define LWS_SEND_BUFFER_PRE_PADDING (4 + 10 + (2 * MAX_MUX_RECURSION))
#define LWS_SEND_BUFFER_POST_PADDING 4

/* Opaque. */
struct libwebsocket;
struct libwebsocket_context;
struct libwebsocket_extension;

/*
 * Logging. One mask and one sink for the process. A text brings its own newline; at most 255 bytes of it are logged.
 */

enum lws_log_levels {
	LLL_ERR = 1 << 0,
	LLL_WARN = 1 << 1,
	LLL_NOTICE = 1 << 2,
	LLL_INFO = 1 << 3,
	LLL_DEBUG = 1 << 4,
	LLL_PARSER = 1 << 5,
	LLL_HEADER = 1 << 6,
	LLL_EXT = 1 << 7,
	LLL_CLIENT = 1 << 8,
	LLL_LATENCY = 1 << 9,

	/* How many there are. */
	LLL_COUNT = 10
};

LWS_EXTERN void _lws_log(int filter, const char *format, ...);

/* `level` is the mask; a NULL for `emit` leaves the sink as it is. The first sink writes to standard error. */
LWS_EXTERN void lws_set_log_level(int level, void (*emit)(int level, const char *line));

/* A sink: syslog(3), opened and closed by the program. */
LWS_EXTERN void lwsl_emit_syslog(int level, const char *line);

#define lwsl_err(...) _lws_log(LLL_ERR, __VA_ARGS__)
#define lwsl_warn(...) _lws_log(LLL_WARN, __VA_ARGS__)
#define lwsl_notice(...) _lws_log(LLL_NOTICE, __VA_ARGS__)

#ifdef _DEBUG

#define lwsl_info(...) _lws_log(LLL_INFO, __VA_ARGS__)
#define lwsl_debug(...) _lws_log(LLL_DEBUG, __VA_ARGS__)
#define lwsl_parser(...) _lws_log(LLL_PARSER, __VA_ARGS__)
#define lwsl_header(...) _lws_log(LLL_HEADER, __VA_ARGS__)
#define lwsl_ext(...) _lws_log(LLL_EXT, __VA_ARGS__)
#define lwsl_client(...) _lws_log(LLL_CLIENT, __VA_ARGS__)
#define lwsl_latency(...) _lws_log(LLL_LATENCY, __VA_ARGS__)

LWS_EXTERN void lwsl_hexdump(void *buf, size_t len);

#else

#define lwsl_info(...)
#define lwsl_debug(...)
#define lwsl_parser(...)
#define lwsl_header(...)
#define lwsl_ext(...)
#define lwsl_client(...)
#define lwsl_latency(...)
#define lwsl_hexdump(buf, len)

#endif

/*
 * Enumerations.
 */

/* Options of a context. */
enum libwebsocket_context_options {
	LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT = 2,
	LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME = 4
};

/*
 * Why a callback is called. Those marked (0) go to the first protocol of the context, the others to that of the connection.
 * A program returns 0 for reasons that it does not know.
 */
enum libwebsocket_callback_reasons {
	/* A client of ours has been answered with a 101. `user`: its zeroed session block. */
	LWS_CALLBACK_ESTABLISHED = 0,
	/* A connection that libwebsocket_client_connect began did not open. `in`, `len`: why. */
	LWS_CALLBACK_CLIENT_CONNECTION_ERROR = 1,
	LWS_CALLBACK_CLIENT_ESTABLISHED = 2,
	/* The end of a connection that was established; once, and nothing follows. */
	LWS_CALLBACK_CLOSED = 3,
	/* A piece of a message, of at most 4096 bytes: `in`, writable, with room for a NUL behind it; `len`. */
	LWS_CALLBACK_RECEIVE = 4,
	LWS_CALLBACK_CLIENT_RECEIVE = 5,
	LWS_CALLBACK_CLIENT_RECEIVE_PONG = 6,
	/* As libwebsocket_callback_on_writable asked. */
	LWS_CALLBACK_CLIENT_WRITEABLE = 7,
	LWS_CALLBACK_SERVER_WRITEABLE = 8,
	/* (0) A request that is not an upgrade. `in`: its path and query. */
	LWS_CALLBACK_HTTP = 9,
	/* (0) A file has been handed over. `in`: its path; `len`: its bytes. */
	LWS_CALLBACK_HTTP_FILE_COMPLETION = 10,
	/* Never. */
	LWS_CALLBACK_BROADCAST = 11,
	/* (0) Accepted, and nothing is read yet. `user`: the descriptor. Not 0: closed at once. */
	LWS_CALLBACK_FILTER_NETWORK_CONNECTION = 12,
	/* An upgrade for this protocol. `user`: an array of WSI_TOKEN_COUNT struct lws_tokens. Not 0: refused. */
	LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION = 13,
	LWS_CALLBACK_OPENSSL_LOAD_EXTRA_CLIENT_VERIFY_CERTS = 14,
	LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS = 15,
	LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION = 16,
	/* (0) A client's request is built. `in`: a char ** to advance behind "Name: value\r\n" lines; `len`: the room left. */
	LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER = 17,
	/* An extension is about to be accepted, or (0) offered. `in`: its name. Not 0: it is left out. */
	LWS_CALLBACK_CONFIRM_EXTENSION_OKAY = 18,
	LWS_CALLBACK_CLIENT_CONFIRM_EXTENSION_SUPPORTED = 19,
	/* (0) For a poll loop of the program. `user`: the descriptor; `len`: POLLIN, POLLOUT, or both. */
	LWS_CALLBACK_ADD_POLL_FD = 20,
	LWS_CALLBACK_DEL_POLL_FD = 21,
	LWS_CALLBACK_SET_MODE_POLL_FD = 22,
	LWS_CALLBACK_CLEAR_MODE_POLL_FD = 23
};

#ifndef LWS_NO_EXTENSIONS

enum libwebsocket_extension_callback_reasons {
	LWS_EXT_CALLBACK_SERVER_CONTEXT_CONSTRUCT = 0,
	LWS_EXT_CALLBACK_CLIENT_CONTEXT_CONSTRUCT = 1,
	LWS_EXT_CALLBACK_SERVER_CONTEXT_DESTRUCT = 2,
	LWS_EXT_CALLBACK_CLIENT_CONTEXT_DESTRUCT = 3,
	LWS_EXT_CALLBACK_CONSTRUCT = 4,
	LWS_EXT_CALLBACK_CLIENT_CONSTRUCT = 5,
	LWS_EXT_CALLBACK_CHECK_OK_TO_REALLY_CLOSE = 6,
	LWS_EXT_CALLBACK_CHECK_OK_TO_PROPOSE_EXTENSION = 7,
	LWS_EXT_CALLBACK_DESTROY = 8,
	LWS_EXT_CALLBACK_DESTROY_ANY_WSI_CLOSING = 9,
	LWS_EXT_CALLBACK_ANY_WSI_ESTABLISHED = 10,
	LWS_EXT_CALLBACK_PACKET_RX_PREPARSE = 11,
	LWS_EXT_CALLBACK_PACKET_TX_PRESEND = 12,
	LWS_EXT_CALLBACK_PACKET_TX_DO_SEND = 13,
	LWS_EXT_CALLBACK_HANDSHAKE_REPLY_TX = 14,
	LWS_EXT_CALLBACK_FLUSH_PENDING_TX = 15,
	LWS_EXT_CALLBACK_EXTENDED_PAYLOAD_RX = 16,
	LWS_EXT_CALLBACK_CAN_PROXY_CLIENT_CONNECTION = 17,
	LWS_EXT_CALLBACK_1HZ = 18,
	LWS_EXT_CALLBACK_REQUEST_ON_WRITEABLE = 19,
	LWS_EXT_CALLBACK_IS_WRITEABLE = 20,
	LWS_EXT_CALLBACK_PAYLOAD_TX = 21,
	LWS_EXT_CALLBACK_PAYLOAD_RX = 22
};

#endif

/* What libwebsocket_write writes. */
enum libwebsocket_write_protocol {
	LWS_WRITE_TEXT = 0,
	LWS_WRITE_BINARY = 1,
	LWS_WRITE_CONTINUATION = 2,
	/* The bytes as they are, no frame. */
	LWS_WRITE_HTTP = 3,
	LWS_WRITE_CLOSE = 4,
	LWS_WRITE_PING = 5,
	LWS_WRITE_PONG = 6,

	/* To be combined with these: more of the message follows. */
	LWS_WRITE_NO_FIN = 0x40,
	/* Accepted, and without effect: clients mask what they send. */
	LWS_WRITE_CLIENT_IGNORE_XOR_MASK = 0x80
};

/* Headers, by their places in the array of LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION. */
enum lws_token_indexes {
	WSI_TOKEN_GET_URI = 0,
	WSI_TOKEN_HOST = 1,
	WSI_TOKEN_CONNECTION = 2,
	WSI_TOKEN_KEY1 = 3,
	WSI_TOKEN_KEY2 = 4,
	WSI_TOKEN_PROTOCOL = 5,
	WSI_TOKEN_UPGRADE = 6,
	WSI_TOKEN_ORIGIN = 7,
	WSI_TOKEN_DRAFT = 8,
	WSI_TOKEN_CHALLENGE = 9,
	WSI_TOKEN_KEY = 10,
	WSI_TOKEN_VERSION = 11,
	WSI_TOKEN_SWORIGIN = 12,
	WSI_TOKEN_EXTENSIONS = 13,
	WSI_TOKEN_ACCEPT = 14,
	WSI_TOKEN_NONCE = 15,
	WSI_TOKEN_HTTP = 16,
	WSI_TOKEN_MUXURL = 17,

	WSI_TOKEN_COUNT = 18,

	/* Not headers. */
	WSI_TOKEN_NAME_PART = 19,
	WSI_TOKEN_SKIPPING = 20,
	WSI_TOKEN_SKIPPING_SAW_CR = 21,
	WSI_PARSING_COMPLETE = 22,
	WSI_INIT_TOKEN_MUXURL = 23
};

enum lws_close_status {
	/* For libwebsocket_close_and_free_session: no Close frame. */
	LWS_CLOSE_STATUS_NOSTATUS = 0,
	LWS_CLOSE_STATUS_NORMAL = 1000,
	LWS_CLOSE_STATUS_GOINGAWAY = 1001,
	LWS_CLOSE_STATUS_PROTOCOL_ERR = 1002,
	LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE = 1003,
	LWS_CLOSE_STATUS_RESERVED = 1004,
	LWS_CLOSE_STATUS_NO_STATUS = 1005,
	LWS_CLOSE_STATUS_ABNORMAL_CLOSE = 1006,
	LWS_CLOSE_STATUS_INVALID_PAYLOAD = 1007,
	LWS_CLOSE_STATUS_POLICY_VIOLATION = 1008,
	LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE = 1009,
	LWS_CLOSE_STATUS_EXTENSION_REQUIRED = 1010,
	LWS_CLOSE_STATUS_UNEXPECTED_CONDITION = 1011,
	LWS_CLOSE_STATUS_TLS_FAILURE = 1015
};

/*
 * Structures. They belong to the program.
 */

/* A header that is absent has a NULL `token`; one that is there ends with a NUL. */
struct lws_tokens {
	char *token;
	int token_len;
};

/* The type of a protocol's function. `callback` only shows it: there is no such function. */
typedef int callback_function(struct libwebsocket_context *context, struct libwebsocket *wsi,
			      enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len);

LWS_EXTERN callback_function callback;

/* An element of the array for libwebsocket_create_context; the last one has no callback. It outlives the context. */
struct libwebsocket_protocols {
	const char *name;
	callback_function *callback;
	/* Bytes of the zeroed block that each connection gets. */
	size_t per_session_data_size;

	/* Written by the library. */
	struct libwebsocket_context *owning_server;
	int broadcast_socket_port;
	int broadcast_socket_user_fd;
	int protocol_index;
};

#ifndef LWS_NO_EXTENSIONS

typedef int extension_callback_function(struct libwebsocket_context *context, struct libwebsocket_extension *ext,
					struct libwebsocket *wsi, enum libwebsocket_extension_callback_reasons reason,
					void *user, void *in, size_t len);

LWS_EXTERN extension_callback_function extension_callback;

struct libwebsocket_extension {
	const char *name;
	extension_callback_function *callback;
	size_t per_session_data_size;
	void *per_context_private_data;
};

/* What the library brings, for libwebsocket_create_context. The last one has no callback. */
LWS_EXTERN struct libwebsocket_extension libwebsocket_internal_extensions[];

#endif

/*
 * Contexts.
 */

/*
 * NULL when it fails; the reason is logged. `port` 0: no listening. `interf`: the name of an interface, or NULL for all. TLS if
 * there are a certificate and a key. `gid` and `uid` -1: as they are. The listening socket is announced by ADD_POLL_FD from inside.
 */
LWS_EXTERN struct libwebsocket_context *
libwebsocket_create_context(int port, const char *interf, struct libwebsocket_protocols *protocols,
			    struct libwebsocket_extension *extensions, const char *ssl_cert_filepath,
			    const char *ssl_private_key_filepath, const char *ssl_ca_filepath, int gid, int uid,
			    unsigned int options, void *user);

/* Every connection is closed, with 1001, and gets its CLOSED callback. */
LWS_EXTERN void libwebsocket_context_destroy(struct libwebsocket_context *context);

/*
 * One turn; it waits for at most `timeout_ms`, negative: as long as nothing happens. 0, or -1 when a signal came or the context
 * cannot go on; 1 without a context.
 */
LWS_EXTERN int libwebsocket_service(struct libwebsocket_context *context, int timeout_ms);

/* Serves one descriptor that a poll loop of the program found ready; `pollfd` NULL: only what is due. Negative: it cannot go on. */
LWS_EXTERN int libwebsocket_service_fd(struct libwebsocket_context *context, struct pollfd *pollfd);

/* The `user` of its creation. */
LWS_EXTERN void *libwebsocket_context_user(struct libwebsocket_context *context);

/* Lives as long as the context. */
LWS_EXTERN const char *libwebsocket_canonical_hostname(struct libwebsocket_context *context);

/*
 * Becomes a daemon and returns 0 in it; the process that called ends, with 0 once the daemon has the lock. Not 0: it could not
 * begin. To be called before there is a context, and before there are threads.
 */
LWS_EXTERN int lws_daemonize(const char *lock_path);

/*
 * Sending.
 */

/* One frame, or bytes of HTTP. 0, or negative: an error. What was accepted is sent whole. */
LWS_EXTERN int libwebsocket_write(struct libwebsocket *wsi, unsigned char *buf, size_t len,
				  enum libwebsocket_write_protocol protocol);

/* Asks for one WRITEABLE callback, in a later turn. 1, or -1. */
LWS_EXTERN int libwebsocket_callback_on_writable(struct libwebsocket_context *context, struct libwebsocket *wsi);

/* The same for each connection of a protocol. 0. */
LWS_EXTERN int libwebsocket_callback_on_writable_all_protocol(const struct libwebsocket_protocols *protocol);

/* 1: what is written now would wait in the library, 0: it would leave at once. */
LWS_EXTERN int lws_send_pipe_choked(struct libwebsocket *wsi);

/*
 * Receiving. The first four are about the piece that is being delivered.
 */

/* Whether it ends the message. */
LWS_EXTERN int libwebsocket_is_final_fragment(struct libwebsocket *wsi);

/* Bytes of its frame that follow. */
LWS_EXTERN size_t libwebsockets_remaining_packet_payload(struct libwebsocket *wsi);

LWS_EXTERN unsigned char libwebsocket_get_reserved_bits(struct libwebsocket *wsi);

LWS_EXTERN int lws_frame_is_binary(struct libwebsocket *wsi);

/* 0 stops receiving, 1 goes on. Any connection, at any time. 0. */
LWS_EXTERN int libwebsocket_rx_flow_control(struct libwebsocket *wsi, int enable);

/* Bytes as if they had been received. Refused, with -1. */
LWS_EXTERN int libwebsocket_read(struct libwebsocket_context *context, struct libwebsocket *wsi, unsigned char *buf,
				 size_t len);

/*
 * Connections.
 */

/* An element of the program's array. */
LWS_EXTERN const struct libwebsocket_protocols *libwebsockets_get_protocol(struct libwebsocket *wsi);

LWS_EXTERN int libwebsocket_get_socket_fd(struct libwebsocket *wsi);

/* Its session block; NULL if its protocol wants none. */
LWS_EXTERN void *libwebsocket_ensure_user_space(struct libwebsocket *wsi);

/*
 * Resolves and connects before it returns; NULL when that fails. The handshake follows in service. `ssl_connection` 0: none,
 * 1: TLS, 2: TLS that trusts a self-signed certificate. `origin` may be NULL; `protocol`: a list with commas, or NULL.
 */
LWS_EXTERN struct libwebsocket *libwebsocket_client_connect(struct libwebsocket_context *context, const char *address,
							    int port, int ssl_connection, const char *path,
							    const char *host, const char *origin, const char *protocol,
							    int ietf_version_or_minus_one);

/* The same; `userdata` is the `user` of its callbacks. */
LWS_EXTERN struct libwebsocket *
libwebsocket_client_connect_extended(struct libwebsocket_context *context, const char *address, int port,
				     int ssl_connection, const char *path, const char *host, const char *origin,
				     const char *protocol, int ietf_version_or_minus_one, void *userdata);

/* Closes with a Close frame, or without if `status` is 0. CLOSED is called later, from service. */
LWS_EXTERN void libwebsocket_close_and_free_session(struct libwebsocket_context *context, struct libwebsocket *wsi,
						    enum lws_close_status status);

/* Ends the connection on a descriptor, without a Close frame. */
LWS_EXTERN void libwebsockets_hangup_on_client(struct libwebsocket_context *context, int fd);

/* The name of the peer, if it has one, else its address; and its address. Both empty if it is not known. */
LWS_EXTERN void libwebsockets_get_peer_addresses(struct libwebsocket_context *context, struct libwebsocket *wsi, int fd,
						 char *name, int name_len, char *rip, int rip_len);

/*
 * HTTP.
 */

/* From inside HTTP: answers with a file. 0: done or under way; else it could not, and has answered so. */
LWS_EXTERN int libwebsockets_serve_http_file(struct libwebsocket_context *context, struct libwebsocket *wsi,
					     const char *file, const char *content_type);

LWS_EXTERN int libwebsockets_serve_http_file_fragment(struct libwebsocket_context *context, struct libwebsocket *wsi);

/*
 * Utilities.
 */

/* Fills `buf` with randomness; how many bytes. */
LWS_EXTERN int libwebsockets_get_random(struct libwebsocket_context *context, void *buf, int len);

/* Base64: the length without the NUL that is added, or -1 when it does not fit or cannot be decoded. */
LWS_EXTERN int lws_b64_encode_string(const char *in, int in_len, char *out, int out_size);
LWS_EXTERN int lws_b64_decode_string(const char *in, char *out, int out_size);

/* Declared as they were then, and not there. */
LWS_EXTERN int libwebsockets_broadcast(const struct libwebsocket_protocols *protocol, unsigned char *buf, size_t len);
LWS_EXTERN int libwebsockets_broadcast_foreign(struct libwebsocket_protocols *protocol, unsigned char *buf, size_t len);
LWS_EXTERN unsigned char *libwebsockets_SHA1(const unsigned char *d, size_t n, unsigned char *md);

#ifdef __cplusplus
}
#endif

#endif
