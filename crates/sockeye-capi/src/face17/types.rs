//! The structs of the 4.1.6 interface as Debian 12 compiles them (x86-64), each field with its offset.
//!
//! A program fills these and hands in their address, so a field that moved would be read from the wrong place without any
//! error. The offsets are checked when this compiles, and `tests/c/layout17.c` checks the same numbers against the installed
//! header.

use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_long;
use std::ffi::c_uint;
use std::ffi::c_void;

/// What a program's protocol is called with: connection, reason, session block, and bytes that depend on the reason.
pub type Callback = unsafe extern "C" fn(*mut c_void, c_int, *mut c_void, *mut c_void, usize) -> c_int;

/// What a timer calls, with its own node.
pub type SulCallback = unsafe extern "C" fn(*mut Sul);

/// Declares a struct of the interface with the offset of every field.
macro_rules! layout {
    ($(#[$doc:meta])* $name:ident: $size:literal { $($at:literal $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        #[allow(clippy::exhaustive_structs, reason = "the layout is fixed for as long as the soname is")]
        pub struct $name {
            $(#[doc = concat!("At offset ", stringify!($at), ".")] pub $field: $type,)*
        }

        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(std::mem::offset_of!($name, $field) == $at);)*
        };
    };
}

layout! {
    /// `struct lws_context_creation_info`: what `lws_create_context` and `lws_create_vhost` read.
    CreationInfo: 672 {
        0 iface: *const c_char,
        8 protocols: *const Protocols,
        16 extensions: *const Extension,
        24 token_limits: *const c_void,
        32 http_proxy_address: *const c_char,
        40 headers: *const VhostOption,
        48 reject_service_keywords: *const VhostOption,
        56 pvo: *const VhostOption,
        64 log_filepath: *const c_char,
        72 mounts: *const Mount,
        80 server_string: *const c_char,
        88 error_document_404: *const c_char,
        96 port: c_int,
        100 http_proxy_port: c_uint,
        104 max_http_header_data2: c_uint,
        108 max_http_header_pool2: c_uint,
        112 keepalive_timeout: c_int,
        116 http2_settings: [u32; 7],
        144 max_http_header_data: u16,
        146 max_http_header_pool: u16,
        152 ssl_private_key_password: *const c_char,
        160 ssl_cert_filepath: *const c_char,
        168 ssl_private_key_filepath: *const c_char,
        176 ssl_ca_filepath: *const c_char,
        184 ssl_cipher_list: *const c_char,
        192 ecdh_curve: *const c_char,
        200 tls1_3_plus_cipher_list: *const c_char,
        208 server_ssl_cert_mem: *const c_void,
        216 server_ssl_private_key_mem: *const c_void,
        224 server_ssl_ca_mem: *const c_void,
        232 ssl_options_set: c_long,
        240 ssl_options_clear: c_long,
        248 simultaneous_ssl_restriction: c_int,
        252 ssl_info_event_mask: c_int,
        256 server_ssl_cert_mem_len: c_uint,
        260 server_ssl_private_key_mem_len: c_uint,
        264 server_ssl_ca_mem_len: c_uint,
        272 alpn: *const c_char,
        280 client_ssl_private_key_password: *const c_char,
        288 client_ssl_cert_filepath: *const c_char,
        296 client_ssl_cert_mem: *const c_void,
        304 client_ssl_cert_mem_len: c_uint,
        312 client_ssl_private_key_filepath: *const c_char,
        320 client_ssl_key_mem: *const c_void,
        328 client_ssl_ca_filepath: *const c_char,
        336 client_ssl_ca_mem: *const c_void,
        344 client_ssl_cipher_list: *const c_char,
        352 client_tls_1_3_plus_cipher_list: *const c_char,
        360 ssl_client_options_set: c_long,
        368 ssl_client_options_clear: c_long,
        376 client_ssl_ca_mem_len: c_uint,
        380 client_ssl_key_mem_len: c_uint,
        384 provided_client_ssl_ctx: *mut c_void,
        392 ka_time: c_int,
        396 ka_probes: c_int,
        400 ka_interval: c_int,
        404 timeout_secs: c_uint,
        408 connect_timeout_secs: c_uint,
        412 bind_iface: c_int,
        416 timeout_secs_ah_idle: c_uint,
        420 gid: c_uint,
        424 uid: c_uint,
        432 options: u64,
        440 user: *mut c_void,
        448 count_threads: c_uint,
        452 fd_limit_per_thread: c_uint,
        456 vhost_name: *const c_char,
        464 external_baggage_free_on_destroy: *mut c_void,
        472 pt_serv_buf_size: c_uint,
        480 fops: *const c_void,
        488 caps: [c_int; 4],
        504 count_caps: c_char,
        512 foreign_loops: *mut *mut c_void,
        520 signal_cb: *mut c_void,
        528 pcontext: *mut *mut c_void,
        536 finalize: *mut c_void,
        544 finalize_arg: *mut c_void,
        552 listen_accept_role: *const c_char,
        560 listen_accept_protocol: *const c_char,
        568 pprotocols: *const *const Protocols,
        576 username: *const c_char,
        584 groupname: *const c_char,
        592 unix_socket_perms: *const c_char,
        600 system_ops: *const c_void,
        608 retry_and_idle_policy: *const RetryPolicy,
        616 register_notifier_list: *const *const c_void,
        624 rlimit_nofile: c_int,
        628 udp_loss_sim_tx_pc: u8,
        629 udp_loss_sim_rx_pc: u8,
        632 early_smd_cb: *mut c_void,
        640 early_smd_opaque: *mut c_void,
        648 early_smd_class_filter: u32,
        656 unused: [*mut c_void; 2],
    }
}

layout! {
    /// `struct lws_client_connect_info`: what `lws_client_connect_via_info` reads. All texts are copied.
    ConnectInfo: 232 {
        0 context: *mut c_void,
        8 address: *const c_char,
        16 port: c_int,
        20 ssl_connection: c_int,
        24 path: *const c_char,
        32 host: *const c_char,
        40 origin: *const c_char,
        48 protocol: *const c_char,
        56 ietf_version_or_minus_one: c_int,
        64 userdata: *mut c_void,
        72 client_exts: *const c_void,
        80 method: *const c_char,
        88 parent_wsi: *mut c_void,
        96 uri_replace_from: *const c_char,
        104 uri_replace_to: *const c_char,
        112 vhost: *mut c_void,
        120 pwsi: *mut *mut c_void,
        128 iface: *const c_char,
        136 local_protocol_name: *const c_char,
        144 alpn: *const c_char,
        152 seq: *mut c_void,
        160 opaque_user_data: *mut c_void,
        168 retry_and_idle_policy: *const RetryPolicy,
        176 manual_initial_tx_credit: c_int,
        180 sys_tls_client_cert: u8,
        184 mqtt_cp: *const c_void,
        192 keep_warm_secs: u16,
        200 unused: [*mut c_void; 4],
    }
}

layout! {
    /// `struct lws_protocols`. A list of them ends with one that has neither name nor callback.
    Protocols: 56 {
        0 name: *const c_char,
        8 callback: Option<Callback>,
        16 per_session_data_size: usize,
        24 rx_buffer_size: usize,
        32 id: c_uint,
        40 user: *mut c_void,
        48 tx_packet_size: usize,
    }
}

impl Protocols {
    /// Its memory, word by word.
    #[must_use]
    pub fn words(&self) -> [usize; 7] {
        let callback = self.callback.map_or(0, |callback| callback as usize);
        let (name, user) = (self.name.expose_provenance(), self.user.expose_provenance());
        [name, callback, self.per_session_data_size, self.rx_buffer_size, self.id as usize, user, self.tx_packet_size]
    }
}

layout! {
    /// `struct lws_http_mount`: a part of the tree of URLs, and where its answers come from.
    Mount: 104 {
        0 mount_next: *const Self,
        8 mountpoint: *const c_char,
        16 origin: *const c_char,
        24 def: *const c_char,
        32 protocol: *const c_char,
        40 cgienv: *const VhostOption,
        48 extra_mimetypes: *const VhostOption,
        56 interpret: *const VhostOption,
        64 cgi_timeout: c_int,
        68 cache_max_age: c_int,
        72 auth_mask: c_uint,
        76 cache_flags: u8,
        77 origin_protocol: u8,
        78 mountpoint_len: u8,
        80 basic_auth_login_file: *const c_char,
        88 unused: [*mut c_void; 2],
    }
}

layout! {
    /// `struct lws_protocol_vhost_options`: a list of pairs, each of which may have a list below it.
    VhostOption: 32 {
        0 next: *const Self,
        8 options: *const Self,
        16 name: *const c_char,
        24 value: *const c_char,
    }
}

layout! {
    /// `struct lws_dll2`: a link of a doubly linked list. `owner` is NULL while it is in none.
    Dll2: 24 {
        0 prev: *mut Self,
        8 next: *mut Self,
        16 owner: *mut Dll2Owner,
    }
}

layout! {
    /// `struct lws_dll2_owner`: the ends of such a list.
    Dll2Owner: 24 {
        0 tail: *mut Dll2,
        8 head: *mut Dll2,
        16 count: u32,
    }
}

layout! {
    /// `lws_sorted_usec_list_t`: a timer in the program's own memory.
    Sul: 48 {
        0 list: Dll2,
        24 us: i64,
        32 cb: Option<SulCallback>,
        40 latency_us: u32,
    }
}

layout! {
    /// `struct lws_extension`.
    Extension: 24 {
        0 name: *const c_char,
        8 callback: *mut c_void,
        16 client_offer: *const c_char,
    }
}

layout! {
    /// `lws_retry_bo_t`: delays between attempts, and how long a connection may be silent.
    RetryPolicy: 24 {
        0 retry_ms_table: *const u32,
        8 retry_ms_table_count: u16,
        10 conceal_count: u16,
        12 secs_since_valid_ping: u16,
        14 secs_since_valid_hangup: u16,
        16 jitter_percent: u8,
    }
}

layout! {
    /// `struct lws_pollargs`.
    PollArgs: 12 {
        0 fd: c_int,
        4 events: c_int,
        8 prev_events: c_int,
    }
}

layout! {
    /// `struct lws_process_html_args`: where `LWS_CALLBACK_ADD_HEADERS` may append.
    HtmlArgs: 24 {
        0 p: *mut c_char,
        8 len: c_int,
        12 max_len: c_int,
        16 last: c_int,
        20 chunked: c_int,
    }
}

layout! {
    /// `lws_humanize_unit_t`: a line of the tables `humanize_schema_*`.
    HumanizeUnit: 16 {
        0 name: *const c_char,
        8 factor: u64,
    }
}
