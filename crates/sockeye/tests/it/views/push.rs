//! Messages to one connection, within its bounds, and how much waits for it.

use std::time::Duration;

use sockeye::messages::{self, Message};
use sockeye::proto::event::Payload;
use sockeye::protocol::PushError;
use sockeye::raw::{Raw, RawClose, RawCx};
use sockeye::sim::Faults;
use sockeye::{CloseCode, Limits, Service};

use super::World;

#[test]
fn a_message_reaches_one_connection_and_keeps_the_order_of_all() {
    for of_client in [false, true] {
        let mut world = World::new(3);
        let (actor, other) = world.actor(of_client);
        let (first, second) = (actor.id(0), actor.id(1));
        // The same from a callback and from outside.
        actor.on_message(move |cx| {
            cx.own_protocol().publish_text("1");
            cx.connection(second).unwrap().push("2").unwrap();
            cx.push("own").unwrap();
            cx.own_protocol().publish_text("3");
            cx.connection(second).unwrap().push(Payload::Binary(b"4")).unwrap();
            Ok(())
        });
        World::go(if of_client { &mut world.server } else { &mut world.client }, 0);
        world.pass(Duration::from_millis(10));
        assert_eq!([other.text(0), other.text(1), other.text(2)], ["1 own 3", "1 2 3 4", "1 3"]);
        let mut control = world.control_of(of_client);
        control.connection(first).unwrap().push(String::from("5")).unwrap();
        control.connection(first).unwrap().push(Message::from("6")).unwrap();
        control.connection(second).unwrap().push(&b"7"[..]).unwrap();
        world.pass(Duration::from_millis(10));
        assert_eq!([other.text(0), other.text(1), other.text(2)], ["1 own 3 5 6", "1 2 3 4 7", "1 3"]);
    }
}

#[test]
fn it_arrives_before_a_close_and_before_what_the_connection_sends_itself() {
    for of_client in [false, true] {
        let mut world = World::new(2);
        let (actor, other) = world.actor(of_client);
        let (first, second) = (actor.id(0), actor.id(1));
        actor.on_writable(|_, tx| {
            tx.idle().unwrap().text("2");
            Ok(())
        });
        let mut control = world.control_of(of_client);
        control.connection(first).unwrap().push("1").unwrap();
        control.connection(first).unwrap().request_writable();
        control.connection(second).unwrap().push("bye").unwrap();
        control.connection(second).unwrap().close(CloseCode::NORMAL);
        world.pass(Duration::from_millis(10));
        assert_eq!([other.text(0), other.text(1)], ["1 2", "bye"]);
        assert_eq!(world.closed_codes(1), [1000, 1000]);
    }
}

#[test]
fn it_waits_for_the_end_of_a_fragmented_message() {
    for of_client in [false, true] {
        let mut world = World::new(1);
        let (actor, other) = world.actor(of_client);
        let id = actor.id(0);
        for of_end in [false, true] {
            actor.on_writable(move |_, tx| {
                match tx {
                    sockeye::Tx::Idle(writable) => _ = writable.begin_text("a"),
                    sockeye::Tx::Mid(sockeye::protocol::Fragmented::Text(fragments)) if of_end => {
                        _ = fragments.finish("b")
                    }
                    _ => panic!("not what was begun"),
                }
                Ok(())
            });
            let mut control = world.control_of(of_client);
            let mut connection = control.connection(id).unwrap();
            connection.request_writable();
            if !of_end {
                world.pass(Duration::from_millis(1));
                let mut control = world.control_of(of_client);
                control.connection(id).unwrap().push("1").unwrap();
                control.protocol_named("scripted").unwrap().publish_text("2");
                control.connection(id).unwrap().push("3").unwrap();
            }
            world.pass(Duration::from_millis(1));
        }
        assert_eq!(other.text(0), "ab 1 2 3");
    }
}

/// The peer takes nothing. What waits stays under the bound, the connection stays open, and goes on when the peer reads.
#[test]
fn more_than_may_wait_is_refused_and_nothing_is_closed() {
    let mut limits = Limits::default();
    (limits.output_low_water, limits.output_hard) = (1000, 10_000);
    let mut world = World::with(Faults::none().with_buffers(100, 100), limits, 2);
    let id = world.server.notes.id(0);
    let peer = world.client.notes.id(0);
    world.client.control().connection(peer).unwrap().pause_reading();
    let mut accepted = 0;
    for round in 0..50 {
        let mut control = world.server.control();
        let mut connection = control.connection(id).unwrap();
        let queued = connection.queued_bytes();
        match connection.push("x".repeat(700)) {
            Ok(()) => {
                accepted += 1;
                assert!(connection.queued_bytes() >= queued + 700);
            }
            Err(error) => {
                assert_eq!((error, connection.queued_bytes()), (PushError::Full, queued));
                assert!(queued + 700 > 10_000);
                assert!(round > 10);
            }
        }
        world.pass(Duration::from_millis(1));
    }
    assert!((10..20).contains(&accepted), "{accepted}");
    assert!(world.server.notes.low.borrow().is_empty() && world.server.notes.closed(0).is_none());
    world.client.control().connection(peer).unwrap().resume_reading();
    let notes = world.client.notes.clone();
    world.until(|_| notes.received.borrow().get(&peer).is_some_and(|messages| messages.len() == accepted));
    // Once below the mark, which is said once.
    assert_eq!(*world.server.notes.low.borrow(), [id]);
    let mut control = world.server.control();
    let mut connection = control.connection(id).unwrap();
    assert_eq!((connection.queued_bytes(), connection.push("again")), (0, Ok(())));
}

#[test]
fn low_water_is_told_of_published_messages_too() {
    let mut limits = Limits::default();
    limits.output_low_water = 1000;
    let mut world = World::with(Faults::none().with_buffers(100, 100), limits, 1);
    let (id, handle) = (world.server.notes.id(0), world.server.handle);
    for times in 1..=2 {
        world.server.control().protocol(handle).unwrap().publish_text(&"x".repeat(50_000));
        world.pass(Duration::from_millis(100));
        world.until(|world| world.client.notes.received.borrow().values().flatten().count() == times);
        assert_eq!(*world.server.notes.low.borrow(), vec![id; times]);
    }
}

struct Mute;

impl Raw for Mute {
    type Session = ();

    fn name(&self) -> &'static str {
        "mute"
    }

    fn open(&mut self, cx: &mut RawCx<'_>) {
        assert_eq!(cx.push("no frames here"), Err(PushError::NotOpen));
        assert_eq!(cx.protocol_name(), Some("mute"));
    }

    fn receive(&mut self, _: &mut RawCx<'_>, (): &mut (), _: &[u8]) -> Result<(), RawClose> {
        Ok(())
    }
}

#[test]
fn a_connection_that_speaks_no_websocket_takes_no_message() {
    let network = sockeye::sim::Network::with_faults(1, Faults::none());
    let mut builder = Service::builder();
    let raw = builder.add_raw(Mute);
    let echo = builder.add_protocol(messages::echo("echo"));
    let mut service = builder.listen_raw("10.0.0.1:81", raw).build_with(network.host().sys()).unwrap();
    let connect = sockeye::Connect::new("ws://10.0.0.9/").unwrap();
    let id = service.control().protocol(echo).unwrap().connect(connect);
    let mut control = service.control();
    let mut connection = control.connection(id).unwrap();
    assert_eq!(connection.push("too early"), Err(PushError::NotOpen));
    assert_eq!((connection.is_open(id), connection.protocol_name()), (false, Some("echo")));
    let peer = network.connect(&service.local_addresses()[0]).unwrap();
    network.run(|| {
        service.run_once(Some(Duration::ZERO)).unwrap();
        match service.control().endpoint(raw).unwrap().connection_ids().len() {
            0 => sockeye::sim::Turn::Sleep(service.next_deadline()),
            _ => sockeye::sim::Turn::Done,
        }
    });
    let ids = service.control().endpoint(raw).unwrap().connection_ids();
    assert_eq!((ids.len(), service.control().connection_ids()), (1, ids));
    drop(peer);
}

#[test]
fn a_protocol_lists_its_open_connections() {
    let mut world = World::new(3);
    let handle = world.server.handle;
    let open = world.server.notes.open.borrow().clone();
    let mut control = world.server.control();
    assert_eq!(control.protocol(handle).unwrap().connection_ids(), open);
    for id in control.connection_ids() {
        control.connection(id).unwrap().close(CloseCode::GOING_AWAY);
    }
    world.pass(Duration::from_millis(10));
    assert!(world.server.control().connection_ids().is_empty());
    assert_eq!(world.server.notes.closed.borrow().len(), 3);
}
