//! `libwebsockets.so.17`: what programs were linked with that Debian 12 has. The functions that wait, and those that take a variable
//! number of arguments, are in C, in `crates/sockeye-capi/shim`; the functions of `exports/lws17-unimplemented.txt` end the program.

use std::ffi::{c_char, c_int, c_uchar, c_uint, c_ulong, c_void};
use std::ptr::{null, null_mut};

use sockeye_capi::face13::calls as common;
use sockeye_capi::face17::ring::{Destroy, Ring};
use sockeye_capi::face17::types::{ConnectInfo, CreationInfo, Dll2, Protocols, Sul, SulCallback};
use sockeye_capi::face17::{calls, connect, headers, helpers, http, info, service};
use sockeye_capi::{Context, Emit, Vhost, Wsi, log};

sockeye_capi::export! {
    /// Makes a context.
    fn lws_create_context(info: *const CreationInfo) -> *mut Context = info::create_context, else null_mut();
    /// Makes a vhost.
    fn lws_create_vhost(context: *mut Context, info: *const CreationInfo) -> *mut Vhost = info::create_vhost, else null_mut();
    /// Ends a context.
    fn lws_context_destroy(context: *mut Context) = service::context_destroy, else ();
    /// Serves one descriptor.
    fn lws_service_fd(context: *mut Context, entry: *mut libc::pollfd) -> c_int = service::service_fd, else -1;
    /// Wakes a wait.
    fn lws_cancel_service(context: *mut Context) = service::cancel, else ();
    /// Wakes the wait that serves a connection.
    fn lws_cancel_service_pt(wsi: *mut Wsi) = service::cancel_of, else ();
    /// The program's pointer.
    fn lws_context_user(context: *mut Context) -> *mut c_void = service::context_user, else null_mut();
    /// The name of this host.
    fn lws_canonical_hostname(context: *mut Context) -> *const c_char = common::canonical_hostname, else null();
    /// What there is to do before the first turn.
    fn lws_finalize_startup(context: *mut Context) -> c_int = calls::finalize_startup, else -1;
    /// How many threads serve.
    fn lws_get_count_threads(context: *mut Context) -> c_int = calls::count_threads, else 1;
    /// What is logged, and where.
    fn lws_set_log_level(level: c_int, emit: Option<Emit>) = common::set_log_level, else ();

    /// Connects.
    fn lws_client_connect_via_info(info: *const ConnectInfo) -> *mut Wsi = connect::connect_via_info, else null_mut();
    /// Writes.
    fn lws_write(wsi: *mut Wsi, buffer: *mut c_uchar, length: usize, kind: c_int) -> c_int = calls::write_bytes, else -1;
    /// Asks for a writeable callback.
    fn lws_callback_on_writable(wsi: *mut Wsi) -> c_int = calls::callback_on_writable, else -1;
    /// Asks for it, for all connections of a protocol.
    fn lws_callback_on_writable_all_protocol(context: *const Context, protocol: *const Protocols) -> c_int =
        calls::callback_on_writable_all_protocol, else -1;
    /// The same in a vhost.
    fn lws_callback_on_writable_all_protocol_vhost(vhost: *const Vhost, protocol: *const Protocols) -> c_int =
        calls::callback_on_writable_all_protocol_vhost, else -1;
    /// The context of a connection.
    fn lws_get_context(wsi: *const Wsi) -> *mut Context = calls::context_of, else null_mut();
    /// Its protocol.
    fn lws_get_protocol(wsi: *mut Wsi) -> *const Protocols = calls::protocol_of, else null();
    /// Its protocol.
    fn lws_protocol_get(wsi: *mut Wsi) -> *const Protocols = calls::protocol_of, else null();
    /// Its vhost.
    fn lws_get_vhost(wsi: *mut Wsi) -> *mut Vhost = calls::vhost_of, else null_mut();
    /// What carries it.
    fn lws_get_network_wsi(wsi: *mut Wsi) -> *mut Wsi = calls::network_of, else null_mut();
    /// What is above it.
    fn lws_get_parent(wsi: *const Wsi) -> *mut Wsi = calls::no_relative, else null_mut();
    /// What is below it.
    fn lws_get_child(wsi: *const Wsi) -> *mut Wsi = calls::no_relative, else null_mut();
    /// Its descriptor.
    fn lws_get_socket_fd(wsi: *mut Wsi) -> c_int = common::get_socket_fd, else -1;
    /// OpenSSL's object.
    fn lws_get_ssl(wsi: *mut Wsi) -> *mut c_void = calls::ssl_of, else null_mut();
    /// Whether it is encrypted.
    fn lws_is_ssl(wsi: *mut Wsi) -> c_int = http::is_ssl, else 0;
    /// The peer's address.
    fn lws_get_peer_simple(wsi: *mut Wsi, name: *mut c_char, size: usize) -> *const c_char = calls::peer_simple, else null();
    /// How much the peer takes.
    fn lws_get_peer_write_allowance(wsi: *mut Wsi) -> i64 = calls::write_allowance, else -1;
    /// Whether a write would wait.
    fn lws_send_pipe_choked(wsi: *mut Wsi) -> c_int = common::send_pipe_choked, else 1;
    /// Whether output waits.
    fn lws_partial_buffered(wsi: *mut Wsi) -> c_int = calls::partial_buffered, else 0;
    /// Whether a message begins with this piece.
    fn lws_is_first_fragment(wsi: *mut Wsi) -> c_int = calls::is_first_fragment, else 0;
    /// Whether a message ends with this piece.
    fn lws_is_final_fragment(wsi: *mut Wsi) -> c_int = calls::is_final_fragment, else 0;
    /// Whether the message is binary.
    fn lws_frame_is_binary(wsi: *mut Wsi) -> c_int = common::frame_is_binary, else 0;
    /// Bytes of the frame behind this piece.
    fn lws_remaining_packet_payload(wsi: *mut Wsi) -> usize = common::remaining_packet_payload, else 0;
    /// Stops reading, or goes on.
    fn lws_rx_flow_control(wsi: *mut Wsi, enable: c_int) -> c_int = common::rx_flow_control, else -1;
    /// What the Close frame says.
    fn lws_close_reason(wsi: *mut Wsi, status: c_int, reason: *mut c_uchar, length: usize) = calls::close_reason, else ();
    /// Of the peer's Close frame.
    fn lws_get_close_length(wsi: *mut Wsi) -> c_int = calls::close_length, else 0;
    /// Of the peer's Close frame.
    fn lws_get_close_payload(wsi: *mut Wsi) -> *mut c_uchar = calls::close_payload, else null_mut();
    /// The peer is alive.
    fn lws_validity_confirmed(wsi: *mut Wsi) = calls::validity_confirmed, else ();
    /// Ends it later.
    fn lws_set_timeout(wsi: *mut Wsi, reason: c_int, seconds: c_int) = calls::set_timeout, else ();
    /// A callback later.
    fn lws_set_timer_usecs(wsi: *mut Wsi, after: i64) = calls::set_timer, else ();
    /// Its block.
    fn lws_wsi_user(wsi: *mut Wsi) -> *mut c_void = calls::user_of, else null_mut();
    /// Its block.
    fn lws_set_wsi_user(wsi: *mut Wsi, user: *mut c_void) = calls::set_user, else ();
    /// Its other pointer.
    fn lws_get_opaque_user_data(wsi: *const Wsi) -> *mut c_void = calls::opaque_of, else null_mut();
    /// Its other pointer.
    fn lws_set_opaque_user_data(wsi: *mut Wsi, data: *mut c_void) = calls::set_opaque, else ();
    /// The thread that serves it.
    fn lws_wsi_tsi(wsi: *mut Wsi) -> c_int = calls::thread_of, else 0;
    /// The thread that serves it.
    fn lws_get_tsi(wsi: *mut Wsi) -> c_int = calls::thread_of, else 0;

    /// The port of a vhost.
    fn lws_get_vhost_listen_port(vhost: *mut Vhost) -> c_int = calls::vhost_port, else -1;
    /// The port of a vhost.
    fn lws_get_vhost_port(vhost: *mut Vhost) -> c_int = calls::vhost_port, else -1;
    /// Its name.
    fn lws_get_vhost_name(vhost: *mut Vhost) -> *const c_char = calls::vhost_name, else null();
    /// Its pointer.
    fn lws_get_vhost_user(vhost: *mut Vhost) -> *mut c_void = calls::vhost_user, else null_mut();
    /// Its pointer.
    fn lws_vhost_user(vhost: *mut Vhost) -> *mut c_void = calls::vhost_user, else null_mut();
    /// The vhost of a name.
    fn lws_get_vhost_by_name(context: *mut Context, name: *const c_char) -> *mut Vhost = calls::vhost_by_name, else null_mut();
    /// The protocol of a name.
    fn lws_vhost_name_to_protocol(vhost: *mut Vhost, name: *const c_char) -> *const Protocols = calls::protocol_by_name, else null();
    /// A block for a protocol of a vhost.
    fn lws_protocol_vh_priv_zalloc(vhost: *mut Vhost, protocol: *const Protocols, size: c_int) -> *mut c_void =
        calls::private_zalloc, else null_mut();
    /// That block.
    fn lws_protocol_vh_priv_get(vhost: *mut Vhost, protocol: *const Protocols) -> *mut c_void = calls::private_get, else null_mut();
    /// Only its address counts.
    fn lws_extension_callback_pm_deflate() -> c_int = calls::pm_deflate, else 0;

    /// A timer.
    fn lws_sul_schedule(context: *mut Context, tsi: c_int, node: *mut Sul, callback: Option<SulCallback>, after: i64) =
        service::sul_schedule, else ();
    /// Takes it out.
    fn lws_sul_cancel(node: *mut Sul) = service::sul_cancel, else ();
    /// Takes a link out of its list.
    fn lws_dll2_remove(link: *mut Dll2) = service::remove, else ();

    /// The length of a part of the head.
    fn lws_hdr_total_length(wsi: *mut Wsi, token: c_int) -> c_int = headers::total_length, else 0;
    /// The length of one of its lines.
    fn lws_hdr_fragment_length(wsi: *mut Wsi, token: c_int, index: c_int) -> c_int = headers::fragment_length, else 0;
    /// A part of the head.
    fn lws_hdr_copy(wsi: *mut Wsi, to: *mut c_char, size: c_int, token: c_int) -> c_int = headers::hdr_copy, else -1;
    /// One of its lines.
    fn lws_hdr_copy_fragment(wsi: *mut Wsi, to: *mut c_char, size: c_int, token: c_int, index: c_int) -> c_int =
        headers::hdr_copy_fragment, else -1;
    /// The length of a field by its name.
    fn lws_hdr_custom_length(wsi: *mut Wsi, name: *const c_char, length: c_int) -> c_int = headers::custom_length, else -1;
    /// A field by its name.
    fn lws_hdr_custom_copy(wsi: *mut Wsi, to: *mut c_char, size: c_int, name: *const c_char, length: c_int) -> c_int =
        headers::custom_copy, else -1;
    /// The value of an argument.
    fn lws_get_urlarg_by_name(wsi: *mut Wsi, name: *const c_char, to: *mut c_char, size: c_int) -> *const c_char =
        headers::urlarg, else null();

    /// Answers with a page.
    fn lws_return_http_status(wsi: *mut Wsi, code: c_uint, body: *const c_char) -> c_int = http::return_status, else -1;
    /// Appends a status line.
    fn lws_add_http_header_status(wsi: *mut Wsi, code: c_uint, at: *mut *mut c_uchar, end: *mut c_uchar) -> c_int =
        http::add_status, else 1;
    /// Appends a field.
    fn lws_add_http_header_by_token(
        wsi: *mut Wsi, token: c_int, value: *const c_uchar, length: c_int, at: *mut *mut c_uchar, end: *mut c_uchar,
    ) -> c_int = http::add_by_token, else 1;
    /// Appends a field.
    fn lws_add_http_header_by_name(
        wsi: *mut Wsi, name: *const c_uchar, value: *const c_uchar, length: c_int, at: *mut *mut c_uchar, end: *mut c_uchar,
    ) -> c_int = http::add_by_name, else 1;
    /// Appends the length.
    fn lws_add_http_header_content_length(wsi: *mut Wsi, length: u64, at: *mut *mut c_uchar, end: *mut c_uchar) -> c_int =
        http::add_content_length, else 1;
    /// Appends status, type and length.
    fn lws_add_http_common_headers(
        wsi: *mut Wsi, code: c_uint, media_type: *const c_char, length: u64, at: *mut *mut c_uchar, end: *mut c_uchar,
    ) -> c_int = http::add_common, else 1;
    /// Appends the end of the head.
    fn lws_finalize_http_header(wsi: *mut Wsi, at: *mut *mut c_uchar, end: *mut c_uchar) -> c_int = http::finalize, else 1;
    /// Appends it, and writes the head.
    fn lws_finalize_write_http_header(wsi: *mut Wsi, start: *mut c_uchar, at: *mut *mut c_uchar, end: *mut c_uchar) -> c_int =
        http::finalize_write, else 1;
    /// The answer is complete.
    fn lws_http_transaction_completed(wsi: *mut Wsi) -> c_int = http::transaction_completed, else 1;
    /// Answers with a file.
    fn lws_serve_http_file(
        wsi: *mut Wsi, file: *const c_char, media_type: *const c_char, lines: *const c_char, length: c_int,
    ) -> c_int = http::serve_file, else -1;
    /// What programs fall through to.
    fn lws_callback_http_dummy(wsi: *mut Wsi, reason: c_int, user: *mut c_void, input: *mut c_void, length: usize) -> c_int =
        http::dummy, else -1;

    /// Makes a ring.
    fn lws_ring_create(element: usize, count: usize, destroy: Option<Destroy>) -> *mut Ring = helpers::ring_create, else null_mut();
    /// Ends it.
    fn lws_ring_destroy(ring: *mut Ring) = helpers::ring_destroy, else ();
    /// Copies elements in.
    fn lws_ring_insert(ring: *mut Ring, from: *const c_void, count: usize) -> usize = helpers::ring_insert, else 0;
    /// Copies elements out.
    fn lws_ring_consume(ring: *mut Ring, tail: *mut u32, to: *mut c_void, count: usize) -> usize = helpers::ring_consume, else 0;
    /// The element of a tail.
    fn lws_ring_get_element(ring: *mut Ring, tail: *mut u32) -> *const c_void = helpers::ring_element, else null();
    /// The tail of the slowest.
    fn lws_ring_get_oldest_tail(ring: *mut Ring) -> u32 = helpers::ring_oldest_tail, else 0;
    /// Moves it.
    fn lws_ring_update_oldest_tail(ring: *mut Ring, tail: u32) = helpers::ring_update_oldest_tail, else ();
    /// How many elements wait.
    fn lws_ring_get_count_waiting_elements(ring: *mut Ring, tail: *mut u32) -> usize = helpers::ring_waiting, else 0;
    /// How many there is room for.
    fn lws_ring_get_count_free_elements(ring: *mut Ring) -> usize = helpers::ring_free, else 0;

    /// Copies a text.
    fn lws_strncpy(to: *mut c_char, from: *const c_char, size: usize) -> *mut c_char = helpers::strncpy, else null_mut();
    /// Base64.
    fn lws_b64_encode_string(from: *const c_char, length: c_int, to: *mut c_char, size: c_int) -> c_int = helpers::b64_encode, else -1;
    /// Base64 for URLs.
    fn lws_b64_encode_string_url(from: *const c_char, length: c_int, to: *mut c_char, size: c_int) -> c_int =
        helpers::b64_encode_url, else -1;
    /// Base64.
    fn lws_b64_decode_string(from: *const c_char, to: *mut c_char, size: c_int) -> c_int = helpers::b64_decode, else -1;
    /// Base64.
    fn lws_b64_decode_string_len(from: *const c_char, length: c_int, to: *mut c_char, size: c_int) -> c_int =
        helpers::b64_decode_len, else -1;
    /// Escapes.
    fn lws_urlencode(to: *mut c_char, from: *const c_char, size: c_int) -> *const c_char = helpers::urlencode, else null();
    /// Escapes.
    fn lws_urldecode(to: *mut c_char, from: *const c_char, size: c_int) -> c_int = helpers::urldecode, else -1;
    /// The parts of a URL.
    fn lws_parse_uri(
        text: *mut c_char, scheme: *mut *const c_char, host: *mut *const c_char, port: *mut c_int, path: *mut *const c_char,
    ) -> c_int = helpers::parse_uri, else 1;
    /// The address of an interface.
    fn lws_interface_to_sa(ipv6: c_int, name: *const c_char, to: *mut c_void, size: usize) -> c_int = helpers::interface_to_sa, else -1;
    /// The text of a token.
    fn lws_token_to_string(token: c_int) -> *const u8 = helpers::token_to_string, else null();
    /// The version.
    fn lws_get_library_version() -> *const c_char = helpers::version, else null();
    /// Seconds since 1970.
    fn lws_now_secs() -> c_ulong = helpers::now_secs, else 0;
    /// Microseconds.
    fn lws_now_usecs() -> i64 = helpers::now_usecs, else 0;
    /// Compares.
    fn lws_timingsafe_bcmp(one: *const c_void, other: *const c_void, length: u32) -> c_int = helpers::timingsafe_bcmp, else 1;
    /// Overwrites.
    fn lws_explicit_bzero(to: *mut c_void, length: usize) = helpers::explicit_bzero, else ();
    /// Finds a text in another.
    fn lws_nstrstr(text: *const c_char, length: usize, name: *const c_char, name_length: usize) -> *const c_char =
        helpers::nstrstr, else null();
    /// Reads hexadecimal.
    fn lws_hex_to_byte_array(from: *const c_char, to: *mut u8, size: c_int) -> c_int = helpers::hex_to_bytes, else -1;

    /// For the C side: begins a turn.
    fn sockeye_wait_begin(context: *mut Context, timeout: c_int, fds: *mut libc::pollfd, count: *mut c_int) -> c_int =
        service::wait_begin, else c_int::MIN;
    /// For the C side: does a turn.
    fn sockeye_wait_end(context: *mut Context, polled: c_int) -> c_int = service::wait_end, else -1;
    /// For the C side: whether a line is wanted.
    fn sockeye_log_wanted(level: c_int) -> c_int = common::log_wanted, else 0;
    /// For the C side: logs a line.
    fn sockeye_log_line(level: c_int, line: *const c_char) = common::log_line, else ();
    /// For the C side: who gets lines by default.
    fn sockeye_log_default(function: Emit) = log::set_default, else ();
}
