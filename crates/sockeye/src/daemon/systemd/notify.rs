//! Reports to the service manager, by the protocol of `sd_notify(3)`.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::time::{ClockId, clock_gettime};
use rustix::net::{self, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::daemon::systemd::environment;

/// A socket for reports to the service manager. Sending never waits: a report that cannot be sent at once is lost, and the
/// first loss is logged as a warning.
#[derive(Debug)]
pub struct Notify {
    socket: OwnedFd,
    address: SocketAddrUnix,
    failed: AtomicBool,
}

impl Notify {
    /// Reports to the address in `NOTIFY_SOCKET`; `None` without that variable: no manager wants reports.
    ///
    /// # Errors
    /// As [`to`](Self::to).
    pub fn from_env() -> io::Result<Option<Self>> {
        environment("NOTIFY_SOCKET").map(|address| Self::to(&address)).transpose()
    }

    /// Reports to this address: an absolute path, or an abstract name of Linux after an `@`.
    ///
    /// # Errors
    /// `InvalidInput`: another kind of address, such as `vsock:`, or one that is too long; the system's, when it has no
    /// descriptor left.
    pub fn to(address: &OsStr) -> io::Result<Self> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidInput, format!("NOTIFY_SOCKET is {address:?}: {what}"));
        let name = match address.as_bytes() {
            [b'/', ..] => SocketAddrUnix::new(address),
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] if !name.is_empty() => SocketAddrUnix::new_abstract_name(name),
            _ => return Err(wrong("it must be an absolute path, or @ and a name")),
        };
        let name = name.map_err(|_| wrong("it is too long for a socket address"))?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        Ok(Self { socket, address: name, failed: AtomicBool::new(false) })
    }

    /// Reports that the service is ready; or ready again, after [`reloading`](Self::reloading). `status` is a line for
    /// people, and may be empty.
    pub fn ready(&self, status: &str) {
        self.tell(format_args!("READY=1\n{}", Status(status)));
    }

    /// As [`ready`](Self::ready), from a process that the service manager did not start: a daemon after
    /// [`detach`](crate::daemon::detach). The unit must allow it (`NotifyAccess=all`).
    pub fn ready_as_main(&self, status: &str) {
        self.tell(format_args!("MAINPID={}\nREADY=1\n{}", process::id(), Status(status)));
    }

    /// Reports that the service is reloading its configuration; [`ready`](Self::ready) reports the end of that.
    pub fn reloading(&self) {
        // For `Type=notify-reload`: tells the manager that this follows its latest signal and not an older one.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from).unwrap_or_default();
        self.tell(format_args!("RELOADING=1\nMONOTONIC_USEC={}\n", now.as_micros()));
    }

    /// Reports that the service is stopping. `status` is as for [`ready`](Self::ready).
    pub fn stopping(&self, status: &str) {
        self.tell(format_args!("STOPPING=1\n{}", Status(status)));
    }

    /// Reports a line for people: what the service is doing. An empty one sends nothing.
    pub fn status(&self, status: &str) {
        self.tell(format_args!("{}", Status(status)));
    }

    /// Sends a watchdog ping; [`Watchdog`](super::Watchdog) does that when all loops are alive.
    pub fn watchdog(&self) {
        self.tell(format_args!("WATCHDOG=1\n"));
    }

    /// Sends other reports: lines of `NAME=VALUE`.
    ///
    /// # Errors
    /// There is no receiver, or it has no room now.
    pub fn send(&self, lines: &str) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        net::sendto(&self.socket, lines.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &self.address)?;
        Ok(())
    }

    fn tell(&self, lines: fmt::Arguments<'_>) {
        let Err(error) = self.send(&lines.to_string()) else { return };
        if !self.failed.swap(true, Ordering::Relaxed) {
            let socket = environment("NOTIFY_SOCKET").unwrap_or_default();
            tracing::warn!(%error, socket = %socket.to_string_lossy(), "cannot notify the service manager");
        }
    }
}

/// A status as one line: control characters become spaces.
struct Status<'a>(&'a str);

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        writeln!(f, "STATUS={}", self.0.replace(char::is_control, " "))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn each_word_is_a_datagram() {
        let path = std::env::temp_dir().join(format!("sockeye-notify-{}", process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(path.as_os_str()).unwrap();
        notify.ready("serving on\nREADY=0");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=serving on READY=0\n");
        notify.ready("");
        assert_eq!(heard(&socket), "READY=1\n");
        notify.ready_as_main("x");
        assert_eq!(heard(&socket), format!("MAINPID={}\nREADY=1\nSTATUS=x\n", process::id()));
        notify.reloading();
        let said = heard(&socket);
        let micros = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end().parse::<u64>().unwrap();
        assert!(micros > 0);
        notify.status("");
        notify.watchdog();
        assert_eq!(heard(&socket), "WATCHDOG=1\n");
        notify.stopping("bye");
        assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=bye\n");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(notify.send("READY=1").unwrap_err().kind(), io::ErrorKind::NotFound);
        notify.watchdog();
        assert!(notify.failed.load(Ordering::Relaxed));
    }

    /// A manager that reads nothing costs the service no time.
    #[test]
    fn nobody_waits_for_a_manager_that_does_not_listen() {
        let path = std::env::temp_dir().join(format!("sockeye-notify-full-{}", process::id()));
        let _socket = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(path.as_os_str()).unwrap();
        let error = (0..1_000_000).find_map(|_| notify.send("WATCHDOG=1").err()).expect("its queue has an end");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        std::fs::remove_file(&path).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_is_an_address_too() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("sockeye-notify-{}", process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Notify::to(format!("@{name}").as_ref()).unwrap().ready("");
        assert_eq!(heard(&socket), "READY=1\n");
    }

    #[test]
    fn other_addresses_are_refused() {
        let long = format!("/{}", "x".repeat(200));
        for address in ["", "@", "run/notify", "vsock:2:1234", &long] {
            let error = Notify::to(address.as_ref()).unwrap_err();
            assert!(
                error.kind() == io::ErrorKind::InvalidInput && error.to_string().contains("NOTIFY_SOCKET is"),
                "{error}"
            );
        }
    }
}
