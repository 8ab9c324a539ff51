//! What `serve` and `echo` share: listen, say where, run, and stop in good order.

mod signals;
mod usage;

use std::fmt::Write as _;
use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use sockeye::http::Routes;
use sockeye::sys::{Address, ListenOptions};
use sockeye::{Builder, Error, Limits, Service, Statistics};

pub(crate) use self::signals::{signals, stop_on};
use self::usage::Usage;
use crate::args::Common;
use crate::background::{self, Background};
use crate::failure::Failure;
use crate::interface::{self, Interface};
use crate::log;

/// The library's limits, with what the command line says about them.
pub(crate) fn limits(common: &Common) -> Limits {
    let mut limits = Limits::default();
    limits.connections = common.max_connections.map(NonZeroUsize::get);
    limits
}

/// Runs the service until a signal ends it.
pub(crate) fn run(builder: Builder, port: u16, common: &Common, background: &mut Background) -> Result<(), Failure> {
    // First of all: a signal that comes early is to end the service in good order too.
    let signals = signals::all()?;
    let identity = background::identity(&common.standing)?;
    // Before the service, so that it is there until the service is gone; and the reason is clearer than a port in use.
    let pid_file = background::pid_file(&common.standing)?;
    let mut service = listen(builder, &common.interfaces, port, "--port")?;
    signals::serve_on(signals, service.remote(), service.max_connections())?;
    if let Some(wanted) = common.max_connections.filter(|wanted| wanted.get() > service.max_connections()) {
        let used = service.max_connections();
        tracing::warn!(
            wanted,
            used,
            "the limit of open descriptors allows fewer connections than --max-connections asks for; `ulimit -n` raises it"
        );
    }
    let usage = Usage::now();
    tracing::info!(
        connections = service.max_connections(),
        descriptor_limit = usage.limit,
        descriptors = usage.descriptors,
        "the most connections there can be at one time"
    );
    if let Some(identity) = identity {
        background::assume(&identity)?;
    }
    // A turn shows that it works, before anybody is told that it does.
    service.run_once(Some(Duration::ZERO)).map_err(|error| Failure::general(error.to_string()))?;
    if let Some(file) = &pid_file {
        let failed = |error| Failure::general(format!("cannot write {}: {error}", file.path().display()));
        file.write().map_err(failed)?;
    }
    background.ready(announcement(service.local_addresses()))?;
    let result = service.run().map_err(|error| Failure::general(error.to_string()));
    print_statistics(service.statistics());
    result
}

/// Logs what a service has done, at notice level: at its end, and when it is asked for.
pub(crate) fn print_statistics(statistics: &Statistics) {
    for line in statistics.to_string().lines() {
        tracing::info!("{line}");
    }
}

/// The page for Prometheus, if one is asked for, beside the others.
pub(crate) fn with_metrics(routes: Routes, common: &Common) -> Routes {
    match &common.metrics {
        Some(path) => routes.metrics(path),
        None => routes,
    }
}

/// Builds the service, with its listeners. `option` is the one that gave the port.
pub(crate) fn listen(
    mut builder: Builder,
    interfaces: &[Interface],
    port: u16,
    option: &str,
) -> Result<Service, Failure> {
    let addresses = interface::resolve(interfaces, port, interface::local)
        .map_err(|error| Failure::usage(format!("--interface: {error}")))?;
    let mut options = ListenOptions::default();
    options.ipv6_only = names_ipv4(&addresses);
    for address in addresses {
        builder = builder.listen_with(address, options);
    }
    builder.build().map_err(|error| failed_to_start(&error, option))
}

/// `::` takes IPv4 connections too, unless IPv4 is asked for by itself: then the two would be in each other's way.
fn names_ipv4(addresses: &[Address]) -> bool {
    addresses.iter().any(|address| matches!(address, Address::Ip(ip) if ip.is_ipv4()))
}

/// A listener that cannot be had is the command line's to change: exit code 2, and how.
fn failed_to_start(error: &Error, option: &str) -> Failure {
    let Some(system) = error.io_error().filter(|_| error.is_listen()) else {
        return Failure::general(error.to_string());
    };
    // The seam's own text names the address already.
    let mut text = system.to_string();
    if !text.starts_with("cannot listen") {
        text = error.to_string();
    }
    let unix = text.contains("unix:");
    text.push_str(&match system.kind() {
        io::ErrorKind::AddrInUse if unix => "; another server listens there: give another path".to_owned(),
        io::ErrorKind::AddrInUse => {
            format!("; another program listens there: choose another port with {option}, 0 takes a free one")
        }
        io::ErrorKind::PermissionDenied if !unix => {
            format!("; ports under 1024 are for privileged users: choose another with {option}")
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: choose another with --interface".to_owned()
        }
        _ => String::new(),
    });
    Failure::usage(text)
}

/// A line for each listener.
fn announcement(addresses: &[Address]) -> String {
    let mut lines = String::new();
    for address in addresses {
        lines.push_str("listening on ");
        describe(&mut lines, address);
        lines.push('\n');
    }
    lines
}

/// As a URL, or as it was written.
pub(crate) fn describe(out: &mut String, address: &Address) {
    match address {
        // The `Display` of a socket address brackets IPv6. Writing to a `String` cannot fail.
        Address::Ip(address) => _ = write!(out, "ws://{address}/"),
        other => log::escape(out, &other.to_string(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_leaves_ipv4_to_its_own_listener() {
        let address = |text: &str| Address::Ip(text.parse().unwrap());
        assert!(names_ipv4(&[address("[::]:1"), address("0.0.0.0:1")]));
        assert!(!names_ipv4(&[address("[::]:1"), Address::Unix("x".into())]));
    }

    #[test]
    fn addresses_are_shown_as_urls_and_without_surprises() {
        let shown = |address: Address| {
            let mut text = String::new();
            describe(&mut text, &address);
            text
        };
        assert_eq!(shown(Address::Ip("127.0.0.1:80".parse().unwrap())), "ws://127.0.0.1:80/");
        assert_eq!(shown(Address::Ip("[::1]:80".parse().unwrap())), "ws://[::1]:80/");
        assert_eq!(shown(Address::Unix("/run/a\nb".into())), "unix:/run/a\\nb");
    }
}
