//! The numbers of the 4.1.6 interface, but for reasons ([`Reason`](crate::reason::Reason)) and tokens.

use std::ffi::c_int;

/// Declares numbers, with the ends of their names in the header.
macro_rules! numbers {
    ($(#[$doc:meta])* $module:ident { $($name:ident = $value:literal,)* }) => {
        $(#[$doc])*
        pub(crate) mod $module {
            $(pub(crate) const $name: std::ffi::c_int = $value;)*
        }
    };
}

numbers! {
    /// What `lws_write` may be given with bytes: `LWS_WRITE_…`.
    write {
        TEXT = 0,
        BINARY = 1,
        CONTINUATION = 2,
        HTTP = 3,
        PING = 5,
        PONG = 6,
        HTTP_FINAL = 7,
        HTTP_HEADERS = 8,
        HTTP_HEADERS_CONTINUATION = 9,
        NO_FIN = 0x40,
        H2_STREAM_END = 0x80,
    }
}

numbers! {
    /// Where the answers of a mount come from: `LWSMPRO_…`, without 0, 1 and 3 (other servers and CGI), which are not supported.
    mount {
        FILE = 2,
        REDIR_HTTP = 4,
        REDIR_HTTPS = 5,
        CALLBACK = 6,
    }
}

numbers! {
    /// How a client connects: `LCCSCF_…`.
    client {
        USE_SSL = 1,
        ALLOW_SELFSIGNED = 2,
        SKIP_SERVER_CERT_HOSTNAME_CHECK = 4,
        ALLOW_EXPIRED = 8,
        ALLOW_INSECURE = 16,
    }
}

/// Bits of `options`: `LWS_SERVER_OPTION_…`, as far as they mean something here.
pub(crate) mod option {
    /// Clients need a certificate,
    pub(crate) const REQUIRE_VALID_CLIENT_CERT: u64 = 1 << 1;
    /// or may go without.
    pub(crate) const PEER_CERT_NOT_REQUIRED: u64 = 1 << 7;
    /// The authorities of the system are not trusted.
    pub(crate) const DISABLE_OS_CA_CERTS: u64 = 1 << 6;
    /// The loop of libev, which is refused.
    pub(crate) const LIBEV: u64 = 1 << 4;
    /// No listener of this vhost uses IPv6.
    pub(crate) const DISABLE_IPV6: u64 = 1 << 5;
    /// The loop of libuv, which is refused.
    pub(crate) const LIBUV: u64 = 1 << 10;
    /// The context has no vhost of its own: the program makes them.
    pub(crate) const EXPLICIT_VHOSTS: u64 = 1 << 13;
    /// `iface` is the path of a Unix socket.
    pub(crate) const UNIX_SOCK: u64 = 1 << 14;
    /// The loop of libevent, which is refused.
    pub(crate) const LIBEVENT: u64 = 1 << 21;
    /// A vhost whose port is taken is a failure.
    pub(crate) const FAIL_UPON_UNABLE_TO_BIND: u64 = 1 << 30;
    /// The loop of GLib, which is refused.
    pub(crate) const GLIB: u64 = 1 << 33;
}

/// `port` of a context that only connects.
pub(crate) const PORT_NO_LISTEN: c_int = -1;

/// `port` of a vhost that serves what others accept.
pub(crate) const PORT_NO_LISTEN_SERVER: c_int = -2;

/// When a connection that was silent is sent a ping, in seconds, unless a policy says otherwise.
pub(crate) const PING_SECONDS: u16 = 300;
/// When it is hung up.
pub(crate) const HANG_UP_SECONDS: u16 = 310;
