//! A handshake that holds the loop up is named.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use sockeye::Limits;
use sockeye::sim::Network;
use sockeye::statistics::Culprit;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::server::{Bench, Client, quiet};
use super::{VERSIONS, certified};

const LONG: Duration = Duration::from_millis(300);

thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// Time passes while it is told of a receive that failed, which is in the middle of a handshake here.
struct Slow;

impl Subscriber for Slow {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        if text.0.contains("receive failed") {
            NETWORK.with_borrow(|network| network.as_ref().unwrap().advance(LONG));
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{value:?} ");
    }
}

#[test]
fn a_handshake_is_measured_by_itself() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    NETWORK.set(Some(bench.network.clone()));
    let mut clients: Vec<Client> = (0..3).map(|_| Client::new(&bench, &certified)).collect();
    for client in &mut clients {
        let hello = client.sealed();
        client.peer.send(&hello[..hello.len() / 2]);
    }
    bench.until(|service| service.statistics().tls.started == 3);
    // All in one turn: without a measure of each it was one of three steps.
    clients.iter().for_each(|client| client.peer.reset());
    tracing::subscriber::with_default(Slow, || bench.until(|service| service.statistics().connections.closed == 3));
    let stalls = bench.service.statistics().stalls.clone();
    let worst = stalls.worst.unwrap();
    assert_eq!((stalls.count, worst.culprit, worst.duration), (3, Culprit::TlsHandshake, LONG));
    assert!(worst.connection.is_some());
    assert!(worst.to_string().starts_with("300ms in a TLS handshake, connection "), "{worst}");
}
