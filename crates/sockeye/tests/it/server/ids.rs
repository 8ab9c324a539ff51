//! Names of connections, and what other threads may do.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sockeye::protocol::UnknownProtocol;
use sockeye::raw::{Raw, RawClose, RawCx};
use sockeye::service::RemoteError;
use sockeye::sim::{Faults, Network};
use sockeye::{CloseCode, ConnId, Service, messages};
use sockeye_proto::close::Close;
use sockeye_proto::conn::ControlPayload;
use sockeye_testing::server::Bench;

#[test]
fn a_stale_id_is_gone_when_its_slot_is_used_again() {
    let mut bench = Bench::new();
    let first = bench.open();
    let old = bench.hub.id_of(first).unwrap();
    bench.close(first);
    let second = bench.open();
    let new = bench.hub.id_of(second).unwrap();
    let slot = |id: ConnId| id.to_string().split('.').nth(1).map(str::to_owned);
    assert_eq!(slot(old), slot(new));
    assert_ne!(old, new);
    // From outside the callbacks, and (by the machine's command) from inside.
    let mut control = bench.service.control();
    assert!(control.connection(old).is_err());
    bench.clients[second].text("!stale");
    bench.pass(Duration::from_secs(1));
    assert_eq!((bench.closed(second), bench.notes(second).received.len()), (None, 1));
    // The present id still works, and is served though nothing else happens.
    bench.hub.asked(second);
    bench.hub.of(second, |notes| notes.pokes = 1);
    bench.service.control().connection(new).unwrap().request_writable();
    assert_eq!(bench.until(|bench| bench.replies(second) == 1), Duration::ZERO);
    bench.close(second);
    bench.finish();
}

/// One ends and another comes in the same batch of events, and what was still to be said of the first is not said of the second.
#[test]
fn a_descriptor_that_is_used_again_in_the_same_batch_is_another_connection() {
    for (killed, reset) in [(false, true), (true, false), (true, true)] {
        let mut bench = Bench::new();
        let (killer, old) = (bench.open(), bench.open());
        let (handles, name) = (bench.host.open_handles(), bench.hub.id_of(old).unwrap());
        if killed {
            bench.clients[killer].text(&format!("!kill {old}"));
        }
        bench.clients[old].text("late");
        if reset {
            bench.clients[old].reset();
        }
        let new = bench.connect();
        bench.clients[new].handshake(&format!("/{new}/plain"), "machine");
        bench.clients[new].assume_open(bench.network.now());
        bench.clients[new].text("mine");
        bench.until(|bench| bench.replies(new) == 1 && bench.closed(old).is_some());
        assert_eq!(bench.host.open_handles(), handles, "the place of the old one is taken");
        assert_ne!(bench.hub.id_of(new), Some(name));
        assert_eq!(bench.notes(new).received.len(), 1);
        assert_eq!(bench.closed(new), None);
        bench.close(new);
        bench.finish();
    }
}

#[test]
fn what_the_protocol_forbids_cannot_be_made() {
    assert!(ControlPayload::new(&[0; 125]).is_ok());
    assert!(ControlPayload::new(&[0; 126]).is_err());
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        assert_eq!(CloseCode::new(code), None, "{code}");
    }
    assert!(Close::with_reason(CloseCode::NORMAL, "x".repeat(124)).is_err());
}

#[test]
fn jobs_of_other_threads_run_in_order_and_wake_the_loop() {
    let mut bench = Bench::new();
    let client = bench.open();
    let remote = bench.service.remote();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let sender = remote.clone();
    let thread = thread::spawn(move || {
        for number in 0..1000 {
            let noted = noted.clone();
            sender
                .run(move |control| {
                    noted.lock().unwrap().push(number);
                    control.protocol_named("machine").unwrap().publish_text("from afar");
                })
                .unwrap();
        }
    });
    thread.join().unwrap();
    bench.until(|bench| bench.replies(client) == 1000);
    assert_eq!(*seen.lock().unwrap(), (0..1000).collect::<Vec<_>>());
    bench.close(client);
    bench.finish();
    assert_eq!(remote.run(|_| ()), Err(RemoteError::Gone));
}

struct Mute;

impl Raw for Mute {
    type Session = ();

    fn name(&self) -> &'static str {
        "mute"
    }

    fn open(&mut self, _: &mut RawCx<'_>) {}

    fn receive(&mut self, _: &mut RawCx<'_>, (): &mut (), _: &[u8]) -> Result<(), RawClose> {
        Ok(())
    }
}

#[test]
fn a_handle_is_good_in_its_own_service_only() {
    let network = Network::with_faults(1, Faults::none());
    let build = |name: &str| {
        let mut builder = Service::builder();
        let first = builder.add_fallback(messages::echo("first"));
        let raw = builder.add_raw(Mute);
        let second = builder.add_protocol(messages::echo(name.to_owned()));
        (first, raw, second, builder.build_with(network.sys()).unwrap())
    };
    let (first, raw, second, mut service) = build("second");
    let (other_first, other_raw, other_second, mut other) = build("other");
    assert!(first != other_first && second != other_second && raw != other_raw);
    let mut control = service.control();
    assert_eq!(control.protocol(first).unwrap().name(), "first");
    assert_eq!(control.protocol(second).unwrap().name(), "second");
    assert_eq!(control.endpoint(raw).unwrap().name(), "mute");
    assert_eq!(control.protocol(other_second).err(), Some(UnknownProtocol::Handle));
    assert_eq!(control.endpoint(other_raw).err(), Some(UnknownProtocol::Handle));
    assert_eq!(other.control().protocol(other_second).unwrap().name(), "other");
    assert_eq!(other.control().protocol(second).err(), Some(UnknownProtocol::Handle));
}
