//! The options of a listener: its addresses and their socket options.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use sockeye::sys::{Address, ListenOptions, TcpKeepalive};

use crate::failure::Failure;
use crate::interface::{self, Interface};
use crate::units::{parse_some_time, whole};

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Listening {
    /// Address, interface name or unix:PATH to listen on (repeatable) [default: 127.0.0.1]
    ///
    /// An interface name means all its addresses except link-local ones; localhost means 127.0.0.1
    /// and ::1. 0.0.0.0 listens on every interface; so does ::, for IPv4 as well unless --ipv6-only
    /// is given. A link-local address needs its interface: fe80::1%eth0. unix:@NAME is an abstract
    /// Unix socket (Linux): it has no file, and every local process may connect.
    #[arg(long = "interface", value_name = "ADDR|NAME|unix:PATH",
          value_parser = OsStringValueParser::new().try_map(parse_interface))]
    pub(crate) interfaces: Vec<Interface>,

    /// Use IPv6 only: :: does not accept IPv4, and an interface name means its IPv6 addresses
    #[arg(long)]
    pub(crate) ipv6_only: bool,

    /// Permissions of the Unix socket's file, in octal, such as 660 [default: 777 minus the umask]
    ///
    /// Connecting requires write permission. The file never has more permissions than these, not even for a moment.
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    pub(crate) unix_mode: Option<u32>,

    /// Connections that the kernel queues until they are accepted [default: 4096]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=2_147_483_647))]
    pub(crate) backlog: Option<u32>,

    /// Probe a silent TCP peer after TIME, such as 60s, then every INTERVAL, up to COUNT times [defaults: off, 10s, 6]
    ///
    /// The server pings silent WebSockets anyway, which tests more. This is for plain HTTP
    /// connections, and for middleboxes that forget idle connections.
    #[arg(long = "tcp-keepalive", value_name = "TIME[,INTERVAL,COUNT]", value_parser = parse_keepalive)]
    pub(crate) keepalive: Option<TcpKeepalive>,

    /// Close a TCP connection whose data stays unacknowledged for TIME, such as 30s [default: the
    /// kernel's, about 15 minutes]
    #[arg(long = "tcp-user-timeout", value_name = "TIME", value_parser = parse_user_timeout)]
    pub(crate) user_timeout: Option<Duration>,
}

impl Listening {
    /// Listening there, with nothing else asked for.
    pub(crate) fn at(interfaces: Vec<Interface>) -> Self {
        Self { interfaces, ..Self::default() }
    }

    /// Each address to listen on, and how.
    ///
    /// # Errors
    /// An interface that does not exist, and options that none of the addresses has a use for: exit code 2.
    pub(crate) fn addresses(&self, port: u16) -> Result<Vec<(Address, ListenOptions)>, Failure> {
        let standard = [Interface::Ip([127, 0, 0, 1].into())];
        let interfaces = if self.interfaces.is_empty() { &standard[..] } else { &self.interfaces };
        let mut addresses = interface::resolve(interfaces, port, interface::local)
            .map_err(|error| Failure::usage(format!("--interface: {error}")))?;
        if self.ipv6_only {
            if let Some(Interface::Ip(ip)) =
                self.interfaces.iter().find(|one| matches!(one, Interface::Ip(ip) if ip.is_ipv4()))
            {
                let text = format!("--ipv6-only: --interface {ip} is IPv4; omit one of the two");
                return Err(Failure::usage(text));
            }
            addresses.retain(|address| !is_ipv4(address));
            if !addresses.iter().any(|address| matches!(address, Address::Ip(_))) {
                let text = "--ipv6-only: no --interface has an IPv6 address; give one, such as --interface ::";
                return Err(Failure::usage(text.to_owned()));
            }
        }
        let has = |kind: fn(&Address) -> bool| addresses.iter().any(kind);
        if self.unix_mode.is_some() && !has(|address| matches!(address, Address::Unix(_))) {
            let text = "--unix-mode: no --interface is a Unix socket with a file; give one, such as --interface unix:/run/x.sock";
            return Err(Failure::usage(text.to_owned()));
        }
        if let Some((backlog, most)) = self.backlog.zip(most_queued()).filter(|(backlog, most)| backlog > most) {
            tracing::warn!(
                backlog,
                most,
                "the kernel queues fewer connections than --backlog requests; see net.core.somaxconn"
            );
        }
        // `::` takes IPv4 connections too, unless IPv4 is asked for by itself: then the two would
        // be in each other's way.
        let mut options = self.options();
        options.ipv6_only |= has(is_ipv4);
        let with_options = |address: Address| {
            // An abstract socket is refused with a mode, which is meant for the files beside it.
            let unix_mode = self.unix_mode.filter(|_| matches!(address, Address::Unix(_)));
            let mut options = options;
            options.unix_mode = unix_mode;
            (address, options)
        };
        Ok(addresses.into_iter().map(with_options).collect())
    }

    /// What does not depend on the address.
    pub(crate) fn options(&self) -> ListenOptions {
        let mut options = ListenOptions::default();
        options.backlog = self.backlog.unwrap_or(options.backlog);
        options.ipv6_only = self.ipv6_only;
        options.keepalive = self.keepalive;
        options.user_timeout = self.user_timeout;
        options
    }
}

fn is_ipv4(address: &Address) -> bool {
    matches!(address, Address::Ip(ip) if ip.is_ipv4())
}

/// The bound of the system on what waits to be accepted, where there is one to be read.
fn most_queued() -> Option<u32> {
    fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

fn parse_interface(text: OsString) -> Result<Interface, &'static str> {
    Interface::parse(&text)
}

fn parse_mode(text: &str) -> Result<u32, &'static str> {
    const HELP: &str = "write it in octal, at most 777, such as 660";
    let digits = text.strip_prefix("0o").unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)) {
        return Err(HELP);
    }
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777).ok_or(HELP)?;
    if mode & 0o222 == 0 {
        return Err("connecting requires write permission; 600, 660 and 666 are common");
    }
    Ok(mode)
}

fn parse_keepalive(text: &str) -> Result<TcpKeepalive, &'static str> {
    const HELP: &str = "write TIME or TIME,INTERVAL,COUNT with times of 1 to 32767 whole seconds and a count of 1 to 127, \
        such as 60s or 60,10,6";
    let seconds = |text: &str| {
        let time = parse_some_time(text).ok()?;
        (time.subsec_nanos() == 0 && (1..=SECONDS).contains(&time.as_secs())).then_some(time)
    };
    let count =
        |text: &str| text.parse::<u32>().ok().filter(|number| (1..=COUNT).contains(number) && !text.starts_with('+'));
    let parts: Vec<_> = text.split(',').collect();
    let found = match parts[..] {
        [idle] => seconds(idle).map(|idle| TcpKeepalive::new(idle, Duration::from_secs(10), 6)),
        [idle, interval, probes] => seconds(idle)
            .zip(seconds(interval))
            .zip(count(probes))
            .map(|((idle, interval), probes)| TcpKeepalive::new(idle, interval, probes)),
        _ => None,
    };
    found.ok_or(HELP)
}

fn parse_user_timeout(text: &str) -> Result<Duration, String> {
    let time = parse_some_time(text)?;
    if (1..=u128::from(2_147_483_647_u32)).contains(&time.as_millis()) {
        return Ok(time);
    }
    Err("use 1 ms to 24 days".to_owned())
}

/// The bounds of Linux, as [`TcpKeepalive`] has them.
const SECONDS: u64 = 32_767;
const COUNT: u32 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_let_somebody_connect() {
        for (text, mode) in [("660", 0o660), ("0600", 0o600), ("0o777", 0o777), ("2", 0o2)] {
            assert_eq!(parse_mode(text), Ok(mode), "{text}");
        }
        for text in ["", "0o", "668", "1660", "rw-rw----", "-660", "+660", "77777777777777777777"] {
            assert!(parse_mode(text).unwrap_err().contains("octal"), "{text}");
        }
        for text in ["0", "444", "555"] {
            assert!(parse_mode(text).unwrap_err().contains("connecting requires write permission"), "{text}");
        }
    }

    #[test]
    fn a_keepalive_is_one_number_or_three() {
        let keepalive = |idle, interval, probes| {
            TcpKeepalive::new(Duration::from_secs(idle), Duration::from_secs(interval), probes)
        };
        assert_eq!(parse_keepalive("60"), Ok(keepalive(60, 10, 6)));
        assert_eq!(parse_keepalive("60s"), Ok(keepalive(60, 10, 6)));
        assert_eq!(parse_keepalive("2m,10s,6"), Ok(keepalive(120, 10, 6)));
        assert_eq!(parse_keepalive("32767,32767,127"), Ok(keepalive(32_767, 32_767, 127)));
        for text in [
            "",
            "0",
            "32768",
            "60,",
            "60,10",
            "60,10,",
            "60,10,6,",
            "60,0,6",
            "60,10,128",
            "60,10,0",
            "1500ms",
            "0.5",
            "60,10,6s",
            "10h",
            "+60",
            " 60",
        ] {
            assert!(parse_keepalive(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_that_is_said_reaches_the_listener() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            listening: Listening,
        }
        let line = "x --interface ::1 --ipv6-only --backlog 17 --tcp-keepalive 77,11,7 --tcp-user-timeout 12345ms";
        let listening = <Line as clap::Parser>::try_parse_from(line.split(' ')).unwrap().listening;
        let mut wanted = ListenOptions::default();
        (wanted.ipv6_only, wanted.backlog) = (true, 17);
        wanted.keepalive = Some(TcpKeepalive::new(Duration::from_secs(77), Duration::from_secs(11), 7));
        wanted.user_timeout = Some(Duration::from_millis(12_345));
        assert_eq!(listening.addresses(80).unwrap(), [(Address::Ip("[::1]:80".parse().unwrap()), wanted)]);
    }

    #[test]
    fn a_user_timeout_is_one_that_the_system_takes() {
        assert_eq!(parse_user_timeout("30s"), Ok(Duration::from_secs(30)));
        for text in ["0", "0.0001", "25000h", "soon"] {
            assert!(parse_user_timeout(text).is_err(), "{text}");
        }
    }

    fn addresses(listening: Listening, interfaces: &[&str]) -> Result<Vec<(Address, ListenOptions)>, Failure> {
        let interfaces = interfaces.iter().map(|text| Interface::parse(text.as_ref()).unwrap()).collect();
        Listening { interfaces, ..listening }.addresses(1)
    }

    #[test]
    fn ipv6_leaves_ipv4_to_its_own_listener() {
        let only = |interfaces: &[&str], ipv6_only| {
            let found = addresses(Listening { ipv6_only, ..Listening::default() }, interfaces).unwrap();
            found.iter().all(|(_, options)| options.ipv6_only)
        };
        assert!(only(&["::", "0.0.0.0"], false) && only(&["::"], true));
        assert!(!only(&["::", "unix:x"], false));
    }

    #[test]
    fn ipv6_alone_is_what_it_says() {
        let only = |interfaces: &[&str]| addresses(Listening { ipv6_only: true, ..Listening::default() }, interfaces);
        // Where the machine has IPv6.
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            let found = only(&["lo", "unix:x"]).unwrap();
            let shown: Vec<_> = found.iter().map(|(address, _)| address.to_string()).collect();
            assert_eq!(shown, ["[::1]:1", "unix:x"]);
        }
        for (interfaces, text) in [
            (&["::", "127.0.0.1"][..], "--ipv6-only: --interface 127.0.0.1 is IPv4"),
            (&[], "--ipv6-only: no --interface has an IPv6 address"),
            (&["unix:x"], "--ipv6-only: no --interface has an IPv6 address"),
        ] {
            let failure = only(interfaces).unwrap_err();
            assert!(failure.code == 2 && failure.message.starts_with(text), "{}", failure.message);
        }
    }

    #[test]
    fn a_mode_is_for_files() {
        let mode = || Listening { unix_mode: Some(0o660), ..Listening::default() };
        let found = addresses(mode(), &["unix:x", "unix:@x", "::1"]).unwrap();
        let modes: Vec<_> = found.iter().map(|(_, options)| options.unix_mode).collect();
        assert_eq!(modes, [Some(0o660), None, None]);
        for none in [&["unix:@x"][..], &[]] {
            let failure = addresses(mode(), none).unwrap_err();
            assert!(failure.code == 2 && failure.message.starts_with("--unix-mode: "), "{}", failure.message);
        }
    }

    #[test]
    fn without_a_word_it_is_this_machine_alone() {
        let found = Listening::default().addresses(80).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, Address::Ip(([127, 0, 0, 1], 80).into()));
    }
}
