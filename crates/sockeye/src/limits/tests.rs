//! Each limit at its least and at its most, and one beyond both; the document that is made from the table.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use super::limit::{Amount, Limit};
use super::table::{FIELDS, Field, OTHERS};
use super::*;
use crate::client::{ConnectError, Reconnect, Timeouts};
use crate::sim::{Faults, Network, Turn};
use crate::{Connect, Service, messages};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn below(amount: Amount) -> Option<Amount> {
    match amount {
        Amount::Number(number) => number.checked_sub(1).map(Amount::Number),
        Amount::Time(time) => time.checked_sub(Duration::from_nanos(1)).map(Amount::Time),
    }
}

fn above(amount: Amount) -> Amount {
    match amount {
        Amount::Number(number) => Amount::Number(number + 1),
        Amount::Time(time) => Amount::Time(time + Duration::from_nanos(1)),
    }
}

/// Values that a limit must refuse.
fn wrong(limit: &Limit) -> Vec<Amount> {
    let zero = match limit.least {
        Amount::Number(_) => Amount::Number(0),
        Amount::Time(_) => Amount::Time(Duration::ZERO),
    };
    let huge = match limit.least {
        Amount::Number(_) => vec![Amount::Number(1 << 63), Amount::Number(i64::MAX as u64), Amount::Number(u64::MAX)],
        Amount::Time(_) => vec![Amount::Time(Duration::MAX), Amount::Time(Duration::from_nanos(u64::MAX))],
    };
    let small = below(limit.least).map(|below| [below, zero]).into_iter().flatten();
    small.chain([above(limit.most)]).chain(huge).collect()
}

fn built(limits: Limits) -> Result<Service, crate::Error> {
    let network = Network::with_faults(1, Faults::none());
    Service::builder().limits(limits).build_with(network.sys())
}

/// `Limits` with one value, if the field's type can hold it.
fn with(field: &Field, amount: Amount) -> Option<Limits> {
    let mut limits = Limits::default();
    // So that a low `output_hard` contradicts nothing.
    if field.limit.name == "Limits::output_hard" {
        limits.output_low_water = 1;
    }
    if field.limit.name == "Limits::output_low_water" {
        limits.output_hard = 1 << 40;
    }
    (field.write)(&mut limits, amount).map(|()| limits)
}

#[test]
fn each_field_is_taken_at_both_ends_and_refused_beyond() {
    for field in FIELDS {
        let limit = &field.limit;
        for amount in [limit.least, limit.most] {
            let Some(limits) = with(field, amount) else { continue };
            assert_eq!((field.read)(&limits), Some(amount));
            assert!(built(limits).is_ok(), "{} at {}", limit.name, limit.show(amount));
        }
        for amount in wrong(limit) {
            let Some(limits) = with(field, amount) else { continue };
            let error = built(limits).expect_err(limit.name);
            let known = error.as_limit().expect("a limit");
            let bound = if amount < limit.least { ("least", limit.least) } else { ("most", limit.most) };
            assert_eq!(known.is_too_small(), amount < limit.least);
            let text =
                format!("{} is {}, and the {} is {}", limit.name, limit.show(amount), bound.0, limit.show(bound.1));
            assert_eq!((known.name(), error.to_string()), (limit.name, text));
        }
    }
}

#[test]
fn defaults_are_those_of_the_table() {
    for field in FIELDS {
        assert_eq!((field.read)(&Limits::default()), field.limit.default, "{}", field.limit.name);
    }
    for limit in FIELDS.iter().map(|field| &field.limit).chain(OTHERS.iter().copied()) {
        assert!(limit.default.is_none_or(|default| limit.check(default).is_ok()), "{}", limit.name);
        assert!(limit.least < limit.most, "{}", limit.name);
    }
}

#[test]
fn every_field_is_in_the_table() {
    // A field that the table lacks is one that `Debug` shows and no row names.
    let shown = format!("{:#?}", Limits::default());
    let fields = shown.lines().filter_map(|line| line.trim().split_once(':')).map(|(name, _)| name);
    for name in fields.filter(|name| *name != "protocol") {
        let mut rows = FIELDS.iter().map(|field| field.limit.name.rsplit("::").next().unwrap());
        assert!(rows.any(|row| row == name), "{name} has no row");
    }
}

/// Sets one limit of a connect.
fn set(limit: &Limit, amount: Amount) -> Result<(), ConnectError> {
    let connect = Connect::new("ws://localhost/")?;
    let (mut timeouts, policy) = (Timeouts::default(), Reconnect::new());
    let (time, number) = match amount {
        Amount::Time(time) => (time, 0),
        Amount::Number(number) => (Duration::ZERO, number),
    };
    let policy = match limit.name {
        "Connect::timeout" => return connect.timeout(time).map(drop),
        "Reconnect::initial" => policy.initial(time),
        "Reconnect::cap" => policy.cap(time),
        "Reconnect::stable" => policy.stable(time),
        "Reconnect::max_retry_after" => policy.max_retry_after(time),
        "Reconnect::attempts" => policy.attempts(u32::try_from(number).ok()),
        name => {
            *match name {
                "Timeouts::resolve" => &mut timeouts.resolve,
                "Timeouts::connect" => &mut timeouts.connect,
                "Timeouts::head_start" => &mut timeouts.head_start,
                "Timeouts::proxy" => &mut timeouts.proxy,
                "Timeouts::tls" => &mut timeouts.tls,
                "Timeouts::handshake" => &mut timeouts.handshake,
                _ => panic!("{name} is not tested"),
            } = time;
            return connect.timeouts(timeouts).map(drop);
        }
    };
    connect.reconnect(policy).map(drop)
}

#[test]
fn the_limits_of_a_connect_are_taken_at_both_ends_and_refused_beyond() {
    for &limit in OTHERS.iter().filter(|limit| !limit.name.starts_with("Messages::")) {
        assert_eq!((set(limit, limit.least), set(limit, limit.most)), (Ok(()), Ok(())), "{}", limit.name);
        // More attempts than a u32 cannot be asked for.
        let can_be_set = |amount: &Amount| !matches!(*amount, Amount::Number(number) if number > u64::from(u32::MAX));
        for amount in wrong(limit).into_iter().filter(can_be_set) {
            let Err(ConnectError::Limit(error)) = set(limit, amount) else { panic!("{}: {amount:?}", limit.name) };
            assert_eq!(error.name(), limit.name);
        }
    }
}

#[test]
fn the_bounds_of_an_outbox_are_checked_by_the_builder() {
    let built = |echo: messages::Messages<_>| {
        let network = Network::with_faults(1, Faults::none());
        Service::builder().protocol(echo).build_with(network.sys())
    };
    let build = |bytes| built(messages::echo("echo").outbox_bytes(bytes));
    let (least, most) = (table::OUTBOX_BYTES.least, table::OUTBOX_BYTES.most);
    assert_eq!((least, most), (Amount::Number(128), Amount::Number(1 << 62)));
    assert!(build(128).is_ok() && build(1 << 62).is_ok());
    for wrong in [0, 127, (1 << 62) + 1, usize::MAX] {
        assert_eq!(build(wrong).unwrap_err().as_limit().unwrap().name(), "Messages::outbox_bytes");
    }
    let build = |bytes| built(messages::echo("echo").outbox_low_water(bytes));
    let (least, most) = (table::OUTBOX_LOW_WATER.least, table::OUTBOX_LOW_WATER.most);
    assert_eq!((least, most), (Amount::Number(0), Amount::Number(1 << 62)));
    assert!(build(0).is_ok() && build(1 << 62).is_ok());
    for wrong in [(1 << 62) + 1, usize::MAX] {
        assert_eq!(build(wrong).unwrap_err().as_limit().unwrap().name(), "Messages::outbox_low_water");
    }
}

/// A service with these limits echoes two messages.
fn assert_echoes(limits: Limits, outbox_bytes: usize, what: &str) {
    let network = Network::with_faults(1, Faults::none());
    let echo = messages::echo("echo").outbox_bytes(outbox_bytes);
    let builder = Service::builder().limits(limits).protocol(echo).listen("127.0.0.1:80");
    let mut service = builder.build_with(network.sys()).unwrap();
    let peer = network.connect(&service.local_addresses()[0]).unwrap();
    peer.send(UPGRADE);
    let (mut got, mut turns, mut asked) = (Vec::new(), 0, false);
    network.run(|| {
        service.run_once(Some(Duration::ZERO)).unwrap();
        got.extend(peer.recv());
        if !asked && got.ends_with(b"\r\n\r\n") {
            got.clear();
            peer.send(b"\x81\x81\0\0\0\0a\x82\x81\0\0\0\0b");
            asked = true;
        }
        turns += 1;
        assert!(turns < 10_000, "{what}: no echo, but {got:?}");
        if got.ends_with(b"\x82\x01b") { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
    });
    // A short `ping_after` puts pings between them.
    let is_echo = |wanted: &[u8]| got.windows(3).any(|window| window == wanted);
    assert!(is_echo(b"\x81\x01a") && is_echo(b"\x82\x01b"), "{what}: {got:?}");
}

#[test]
fn a_service_works_with_every_limit_at_its_least_and_at_its_most() {
    for field in FIELDS {
        for amount in [field.limit.least, field.limit.most] {
            let Some(limits) = with(field, amount) else { continue };
            assert_echoes(limits, 1024, &format!("{} at {}", field.limit.name, field.limit.show(amount)));
        }
    }
    let all = |end: fn(&Limit) -> Amount| {
        let mut limits = Limits::default();
        for field in FIELDS {
            (field.write)(&mut limits, end(&field.limit));
        }
        limits
    };
    assert_echoes(all(|limit| limit.least), 128, "all at their least");
    assert_echoes(all(|limit| limit.most), 1 << 62, "all at their most");
}

#[test]
fn the_document_has_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    // A package of this crate alone has no documents.
    let Ok(text) = fs::read_to_string(&path) else { return };
    let (before, rest) = text.split_once(BEGIN).expect("the document has the mark where the table begins");
    let (_, behind) = rest.split_once(END).expect("the document has the mark where the table ends");
    let fresh = [before, BEGIN, &table(), END, behind].concat();
    if env::var_os("SOCKEYE_WRITE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    let remedy = "SOCKEYE_WRITE=1 cargo test -p sockeye --lib limits:: writes it";
    assert!(fresh == written, "docs/limits.md does not have the table of limits/table.rs: {remedy}");
}

fn table() -> String {
    let mut out =
        String::from("\n| limit | default | least | most | what it bounds | beyond it |\n|---|---|---|---|---|---|\n");
    for limit in FIELDS.iter().map(|field| &field.limit).chain(OTHERS.iter().copied()) {
        let default = limit.default.map_or_else(|| "none".to_owned(), |amount| limit.show(amount).to_string());
        let Limit { name, bounds, beyond, .. } = limit;
        let (least, most) = (limit.show(limit.least), limit.show(limit.most));
        out += &format!("| `{name}` | {default} | {least} | {most} | {bounds} | {beyond} |\n");
    }
    out
}

const BEGIN: &str = "<!-- the table of limits/table.rs -->\n";
const END: &str = "\n<!-- its end -->\n";
