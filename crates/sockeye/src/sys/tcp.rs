//! What the system does by itself to notice that a TCP peer is gone, and the options of both sides that ask for it.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// How to listen.
///
/// ```
/// use sockeye::sys::ListenOptions;
/// use sockeye::{Service, messages};
///
/// let mut options = ListenOptions::default();
/// options.unsent_bytes = Some(16 * 1024); // for a feed: the newest value does not wait behind many old ones
/// let builder = Service::builder().protocol(messages::echo("echo")).listen_with("127.0.0.1:0", options);
/// # drop(builder);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Connections the system queues until they are accepted; the system may have a lower limit of its own. At least 1,
    /// default 4096.
    pub backlog: u32,
    /// Lets several sockets listen on one address, each with a share of the connections. Default off.
    pub reuse_port: bool,
    /// Together with `reuse_port`: the address must be free, even of sockets that share. For the first of the sockets of one
    /// program, so that two programs do not share an address unawares. Default off.
    pub claim: bool,
    /// An IPv6 listener takes no IPv4 connections. Default off. It is always set, so the system's default does not matter.
    pub ipv6_only: bool,
    /// Mode of the file of a Unix socket, such as `0o660`: 1 to `0o777`, and some user must be allowed to write, since that is
    /// what connecting asks for. The file never has a wider mode, even with a wide umask. Default: what the umask leaves of
    /// `0o777`. An abstract socket has no file, and is refused with a mode; other sockets take no notice.
    pub unix_mode: Option<u32>,
    /// Of accepted TCP connections: has the system look whether a silent peer is still there. Default off: the
    /// service pings, which also shows whether the peer's program lives.
    pub keepalive: Option<TcpKeepalive>,
    /// Of accepted TCP connections: how long sent bytes may stay unacknowledged before the system gives the connection up
    /// (`TCP_USER_TIMEOUT`, RFC 5482), 1 ms to 24 days. Only on Linux. Default: the system's, about 15 minutes.
    pub user_timeout: Option<Duration>,
    /// Of accepted TCP connections: how many bytes of output the system keeps until the peer acknowledges them
    /// (`SO_SNDBUF`), 2 KiB to 1 GiB. Linux doubles it for its own bookkeeping, and lowers what exceeds
    /// `net.core.wmem_max`. Default: the system's, which grows with the connection, to 4 MiB and more.
    ///
    /// A value bounds the throughput: at most so much is on its way in one round trip. Where only
    /// [`unsent_bytes`](Self::unsent_bytes) is set, the buffer still grows as a fast connection needs.
    pub send_buffer_bytes: Option<u32>,
    /// Of accepted TCP connections: the socket takes output while fewer bytes than this have not been sent to the network
    /// (`TCP_NOTSENT_LOWAT`), 1 byte to 1 GiB. Only on Linux. Default: none beside the size of the
    /// send buffer.
    ///
    /// For feeds whose newest value wins. A writable callback comes when the socket takes output; what it then sends waits
    /// behind everything that the system holds already. For a peer that reads slowly that is megabytes of old values by
    /// default, and about as much as this with a small value such as 16 KiB. Bytes on their way to the peer, or in its
    /// receive buffer, do not count.
    ///
    /// ```
    /// use sockeye::sys::ListenOptions;
    /// use sockeye::{Service, messages};
    ///
    /// # fn main() -> Result<(), sockeye::Error> {
    /// let mut options = ListenOptions::default();
    /// # #[cfg(target_os = "linux")]
    /// # {
    /// options.unsent_bytes = Some(16 * 1024);
    /// # }
    /// let service = Service::builder().protocol(messages::echo("feed")).listen_with("127.0.0.1:0", options).build()?;
    /// # let _ = service;
    /// # Ok(()) }
    /// ```
    pub unsent_bytes: Option<u32>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_port: false,
            claim: false,
            ipv6_only: false,
            unix_mode: None,
            keepalive: None,
            user_timeout: None,
            send_buffer_bytes: None,
            unsent_bytes: None,
        }
    }
}

impl ListenOptions {
    /// Whether each value can be meant.
    ///
    /// # Errors
    /// `InvalidInput`, with the option, its value and its limits.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.backlog == 0 {
            return Err(invalid("ListenOptions::backlog is 0: the least is 1".to_owned()));
        }
        if let Some(mode) = self.unix_mode {
            if mode > 0o777 {
                return Err(invalid(format!("ListenOptions::unix_mode is {mode:#o}: 0o777 is the most")));
            }
            if mode & 0o222 == 0 {
                let text = "no user could connect, which takes the right to write";
                return Err(invalid(format!("ListenOptions::unix_mode is {mode:#o}: {text}")));
            }
        }
        check(self.keepalive.as_ref(), self.user_timeout)?;
        check_output(self.send_buffer_bytes, self.unsent_bytes)
    }
}

/// How to connect.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// As [`ListenOptions::keepalive`], of this connection.
    pub keepalive: Option<TcpKeepalive>,
    /// As [`ListenOptions::user_timeout`], of this connection; it limits connecting, too.
    pub user_timeout: Option<Duration>,
    /// As [`ListenOptions::send_buffer_bytes`], of this connection.
    pub send_buffer_bytes: Option<u32>,
    /// As [`ListenOptions::unsent_bytes`], of this connection.
    pub unsent_bytes: Option<u32>,
    /// The address of this host that the connection comes from, with a port that the system picks. Default: the system
    /// picks both. An attempt to an IP address of the other family fails; other sockets take no notice.
    pub source: Option<IpAddr>,
}

impl ConnectOptions {
    /// As [`ListenOptions::check`].
    pub(crate) fn check(&self) -> io::Result<()> {
        check(self.keepalive.as_ref(), self.user_timeout)?;
        check_output(self.send_buffer_bytes, self.unsent_bytes)
    }
}

/// When the system looks whether a silent TCP peer is still there (RFC 9293 section 3.8.4).
///
/// A peer that answers none of the probes is given up after `idle + interval * probes`. Both times are whole seconds, from 1 to
/// 32,767 (nine hours), and there are 1 to 127 probes: the limits of Linux.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TcpKeepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between two probes.
    pub interval: Duration,
    /// Probes without an answer after which the connection is over.
    pub probes: u32,
}

impl TcpKeepalive {
    /// The first probe after `idle` of silence, then one each `interval`, and the end after `probes` of them.
    #[must_use]
    pub const fn new(idle: Duration, interval: Duration, probes: u32) -> Self {
        Self { idle, interval, probes }
    }
}

/// Whether a connection can come from `source` and go to `to`.
///
/// # Errors
/// `AddrNotAvailable`, as the system says of an address that is not its own.
pub(crate) fn check_family(source: IpAddr, to: IpAddr) -> io::Result<()> {
    if source.is_ipv4() == to.is_ipv4() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::AddrNotAvailable, format!("it cannot be reached from {source}")))
}

fn check(keepalive: Option<&TcpKeepalive>, user_timeout: Option<Duration>) -> io::Result<()> {
    if let Some(TcpKeepalive { idle, interval, probes }) = keepalive {
        for (what, time) in [("idle", idle), ("interval", interval)] {
            if time.subsec_nanos() != 0 || !(1..=KEEPALIVE_SECONDS).contains(&time.as_secs()) {
                let text = format!("TcpKeepalive::{what} is {time:?}: whole seconds, 1 to {KEEPALIVE_SECONDS}");
                return Err(invalid(text));
            }
        }
        if !(1..=KEEPALIVE_PROBES).contains(probes) {
            return Err(invalid(format!("TcpKeepalive::probes is {probes}: 1 to {KEEPALIVE_PROBES}")));
        }
    }
    if let Some(time) = user_timeout {
        if !(1..=USER_TIMEOUT_MILLIS).contains(&time.as_millis()) {
            return Err(invalid(format!("user_timeout is {time:?}: 1 ms to {USER_TIMEOUT_MILLIS} ms (24 days)")));
        }
        if !cfg!(target_os = "linux") {
            let text = "user_timeout is TCP_USER_TIMEOUT of Linux, which this system does not have";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
    }
    Ok(())
}

fn check_output(send_buffer_bytes: Option<u32>, unsent_bytes: Option<u32>) -> io::Result<()> {
    for (what, bytes, least) in
        [("send_buffer_bytes", send_buffer_bytes, SEND_BUFFER_BYTES), ("unsent_bytes", unsent_bytes, 1)]
    {
        if bytes.is_some_and(|bytes| !(least..=OUTPUT_BYTES).contains(&bytes)) {
            let bytes = bytes.unwrap_or_default();
            return Err(invalid(format!("{what} is {bytes}: {least} to {OUTPUT_BYTES} (1 GiB)")));
        }
    }
    if unsent_bytes.is_some() && !cfg!(target_os = "linux") {
        let text = "unsent_bytes is TCP_NOTSENT_LOWAT of Linux, which this system does not have";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok(())
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL` of Linux.
const KEEPALIVE_SECONDS: u64 = 32_767;

/// `MAX_TCP_KEEPCNT` of Linux.
const KEEPALIVE_PROBES: u32 = 127;

/// Linux has a least of its own, about twice this after doubling.
const SEND_BUFFER_BYTES: u32 = 2048;

/// Linux doubles it, and takes an `int`.
const OUTPUT_BYTES: u32 = 1 << 30;

/// Linux takes an `int`.
const USER_TIMEOUT_MILLIS: u128 = i32::MAX as u128;

#[cfg(test)]
mod tests {
    use super::*;

    fn keepalive(idle: u64, interval: u64, probes: u32) -> ListenOptions {
        let keepalive = TcpKeepalive::new(Duration::from_secs(idle), Duration::from_secs(interval), probes);
        ListenOptions { keepalive: Some(keepalive), ..ListenOptions::default() }
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused_by_name() {
        let default = ListenOptions::default;
        let half = TcpKeepalive::new(Duration::from_millis(500), Duration::from_secs(1), 1);
        for (options, text) in [
            (ListenOptions { backlog: 0, ..default() }, "backlog is 0"),
            (ListenOptions { unix_mode: Some(0), ..default() }, "unix_mode is 0o0"),
            (ListenOptions { unix_mode: Some(0o444), ..default() }, "unix_mode is 0o444"),
            (ListenOptions { unix_mode: Some(0o1666), ..default() }, "unix_mode is 0o1666"),
            (ListenOptions { keepalive: Some(half), ..default() }, "idle is 500ms"),
            (keepalive(0, 1, 1), "idle is 0ns"),
            (keepalive(32_768, 1, 1), "idle is 32768s"),
            (keepalive(1, 0, 1), "interval is 0ns"),
            (keepalive(1, 1, 0), "probes is 0"),
            (keepalive(1, 1, 128), "probes is 128"),
            (ListenOptions { user_timeout: Some(Duration::from_micros(999)), ..default() }, "user_timeout is 999µs"),
            (ListenOptions { user_timeout: Some(Duration::MAX), ..default() }, "user_timeout is"),
            (ListenOptions { send_buffer_bytes: Some(2047), ..default() }, "send_buffer_bytes is 2047: 2048 to"),
            (ListenOptions { send_buffer_bytes: Some((1 << 30) + 1), ..default() }, "send_buffer_bytes is 1073741825"),
            (ListenOptions { unsent_bytes: Some(0), ..default() }, "unsent_bytes is 0: 1 to"),
            (ListenOptions { unsent_bytes: Some(u32::MAX), ..default() }, "unsent_bytes is 4294967295"),
        ] {
            let error = options.check().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(text), "{error}");
        }
        assert!(keepalive(32_767, 32_767, 127).check().is_ok() && keepalive(1, 1, 1).check().is_ok());
        assert!(ListenOptions { unix_mode: Some(0o200), ..default() }.check().is_ok());
        let most = Duration::from_millis(i32::MAX as u64);
        assert!(ConnectOptions { user_timeout: Some(most), ..ConnectOptions::default() }.check().is_ok());
        for (send_buffer_bytes, unsent_bytes) in [(2048, 1), (1 << 30, 1 << 30)] {
            let (send_buffer_bytes, unsent_bytes) = (Some(send_buffer_bytes), Some(unsent_bytes));
            assert!(ListenOptions { send_buffer_bytes, unsent_bytes, ..default() }.check().is_ok());
            assert!(ConnectOptions { send_buffer_bytes, unsent_bytes, ..ConnectOptions::default() }.check().is_ok());
        }
    }
}
