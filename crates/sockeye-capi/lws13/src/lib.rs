//! `libwebsockets.so.1`: what a program of January 2013 links with. The functions that wait, fork or take a variable number of
//! arguments are in C, in `crates/sockeye-capi/shim`.

use std::ffi::{c_char, c_int, c_uchar, c_uint, c_void};
use std::ptr::{null, null_mut};

use sockeye_capi::face13::calls;
use sockeye_capi::face13::tables::{Extension, Protocols};
use sockeye_capi::{Context, Emit, Wsi};

/// The extensions that programs pass on: none, since those of 2013 are dead names.
#[unsafe(no_mangle)]
pub static libwebsocket_internal_extensions: [Extension; 1] = [Extension::END];

sockeye_capi::export! {
    /// Makes a context.
    fn libwebsocket_create_context(
        port: c_int, interf: *const c_char, protocols: *mut Protocols, extensions: *mut Extension, cert: *const c_char,
        key: *const c_char, ca: *const c_char, gid: c_int, uid: c_int, options: c_uint, user: *mut c_void,
    ) -> *mut Context = calls::create_context, else null_mut();
    /// Ends a context.
    fn libwebsocket_context_destroy(context: *mut Context) = calls::context_destroy, else ();
    /// Serves one descriptor of the program's own loop.
    fn libwebsocket_service_fd(context: *mut Context, entry: *mut libc::pollfd) -> c_int = calls::service_fd, else -1;
    /// The program's pointer.
    fn libwebsocket_context_user(context: *mut Context) -> *mut c_void = calls::context_user, else null_mut();
    /// Writes a frame.
    fn libwebsocket_write(wsi: *mut Wsi, buffer: *mut c_uchar, len: usize, protocol: c_uint) -> c_int = calls::write_frame, else -1;
    /// Asks for a writeable callback.
    fn libwebsocket_callback_on_writable(context: *mut Context, wsi: *mut Wsi) -> c_int = calls::callback_on_writable, else -1;
    /// Asks for it, for all connections of a protocol.
    fn libwebsocket_callback_on_writable_all_protocol(protocol: *const Protocols) -> c_int =
        calls::callback_on_writable_all_protocol, else -1;
    /// Whether a message ends with this piece.
    fn libwebsocket_is_final_fragment(wsi: *mut Wsi) -> c_int = calls::is_final_fragment, else 0;
    /// Bytes of the frame behind this piece.
    fn libwebsockets_remaining_packet_payload(wsi: *mut Wsi) -> usize = calls::remaining_packet_payload, else 0;
    /// Reserved bits of the frame.
    fn libwebsocket_get_reserved_bits(wsi: *mut Wsi) -> c_uchar = calls::get_reserved_bits, else 0;
    /// Whether the message is binary.
    fn lws_frame_is_binary(wsi: *mut Wsi) -> c_int = calls::frame_is_binary, else 0;
    /// The block of a connection.
    fn libwebsocket_ensure_user_space(wsi: *mut Wsi) -> *mut c_void = calls::ensure_user_space, else null_mut();
    /// Stops reading, or goes on.
    fn libwebsocket_rx_flow_control(wsi: *mut Wsi, enable: c_int) -> c_int = calls::rx_flow_control, else -1;
    /// Whether a write would wait.
    fn lws_send_pipe_choked(wsi: *mut Wsi) -> c_int = calls::send_pipe_choked, else 1;
    /// The descriptor of a connection.
    fn libwebsocket_get_socket_fd(wsi: *mut Wsi) -> c_int = calls::get_socket_fd, else -1;
    /// The protocol of a connection.
    fn libwebsockets_get_protocol(wsi: *mut Wsi) -> *const Protocols = calls::get_protocol, else null();
    /// Connects.
    fn libwebsocket_client_connect(
        context: *mut Context, address: *const c_char, port: c_int, ssl: c_int, path: *const c_char, host: *const c_char,
        origin: *const c_char, protocol: *const c_char, version: c_int,
    ) -> *mut Wsi = calls::client_connect, else null_mut();
    /// Connects, with a block of the program's.
    fn libwebsocket_client_connect_extended(
        context: *mut Context, address: *const c_char, port: c_int, ssl: c_int, path: *const c_char, host: *const c_char,
        origin: *const c_char, protocol: *const c_char, version: c_int, user: *mut c_void,
    ) -> *mut Wsi = calls::client_connect_extended, else null_mut();
    /// Closes a connection.
    fn libwebsocket_close_and_free_session(context: *mut Context, wsi: *mut Wsi, status: c_uint) =
        calls::close_and_free_session, else ();
    /// Closes the connection of a descriptor.
    fn libwebsockets_hangup_on_client(context: *mut Context, fd: c_int) = calls::hangup_on_client, else ();
    /// Name and address of a peer.
    fn libwebsockets_get_peer_addresses(
        context: *mut Context, wsi: *mut Wsi, fd: c_int, name: *mut c_char, name_len: c_int, rip: *mut c_char, rip_len: c_int,
    ) = calls::get_peer_addresses, else ();
    /// The name of this host.
    fn libwebsocket_canonical_hostname(context: *mut Context) -> *const c_char = calls::canonical_hostname, else null();
    /// Answers a request with a file.
    fn libwebsockets_serve_http_file(context: *mut Context, wsi: *mut Wsi, file: *const c_char, content_type: *const c_char) -> c_int =
        calls::serve_http_file, else -1;
    /// Goes on with it.
    fn libwebsockets_serve_http_file_fragment(context: *mut Context, wsi: *mut Wsi) -> c_int = calls::serve_http_file_fragment, else -1;
    /// Random bytes.
    fn libwebsockets_get_random(context: *mut Context, buffer: *mut c_void, len: c_int) -> c_int = calls::get_random, else 0;
    /// What is logged, and where.
    fn lws_set_log_level(level: c_int, emit: Option<Emit>) = calls::set_log_level, else ();
    /// Base64.
    fn lws_b64_encode_string(input: *const c_char, in_len: c_int, output: *mut c_char, out_size: c_int) -> c_int =
        calls::b64_encode_string, else -1;
    /// Base64.
    fn lws_b64_decode_string(input: *const c_char, output: *mut c_char, out_size: c_int) -> c_int = calls::b64_decode_string, else -1;
    /// Feeds bytes: refused.
    fn libwebsocket_read(context: *mut Context, wsi: *mut Wsi, buffer: *mut c_uchar, len: usize) -> c_int = calls::read, else -1;

    /// For the C side: begins a turn.
    fn sockeye_wait_begin(context: *mut Context, timeout: c_int, fds: *mut libc::pollfd, count: *mut c_int) -> c_int =
        calls::wait_begin, else c_int::MIN;
    /// For the C side: does a turn.
    fn sockeye_wait_end(context: *mut Context, polled: c_int) -> c_int = calls::wait_end, else -1;
    /// For the C side: whether a line is wanted.
    fn sockeye_log_wanted(level: c_int) -> c_int = calls::log_wanted, else 0;
    /// For the C side: logs a line.
    fn sockeye_log_line(level: c_int, line: *const c_char) = calls::log_line, else ();
    /// For the C side: how many contexts there are.
    fn sockeye_contexts() -> c_int = calls::contexts, else 0;
}
