//! An id means one connection, of one service, once; and everything that is alive can be ended by it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use sockeye::proto::close::{Cause, Initiator};
use sockeye::{CloseCode, ConnId, Connect, Service, http, messages};

use super::World;

#[test]
fn the_id_of_another_service_is_gone() {
    let mut world = World::new(2);
    let (here, there) = (world.server.notes.id(0), world.client.notes.id(0));
    assert_ne!(here, there);
    for (side, own, foreign) in [(&mut world.server, here, there), (&mut world.client, there, here)] {
        let mut control = side.service.control();
        assert!(control.connection(own).is_ok() && control.is_open(own));
        for id in [foreign, ConnId::default()] {
            assert!(control.connection(id).is_err());
            assert!(!control.is_open(id));
        }
    }
    // From inside a callback too, where a connection's own id is known by other means.
    world.server.notes.on_message(move |cx| {
        for id in [there, ConnId::default()] {
            assert!(cx.connection(id).is_err());
        }
        assert!(cx.connection(here).is_ok());
        Ok(())
    });
    World::go(&mut world.client, 0);
    world.until(|world| world.server.notes.text(0) == "go");
}

#[test]
fn services_of_two_threads_give_out_different_ids() {
    let both = Arc::new(Barrier::new(2));
    let threads = [both.clone(), both].map(|both| {
        thread::spawn(move || {
            let mut service = page();
            both.wait();
            let ids: Vec<_> = (0..3).map(|_| serve(&mut service).0).collect();
            both.wait();
            ids
        })
    });
    let ids: BTreeSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ids.len(), 6);
}

fn serve(service: &mut Service) -> (ConnId, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (service.control().serve(theirs).unwrap(), ours)
}

const ROUTE: &str = "/page";

fn page() -> Service {
    let routes = http::Routes::new().get(ROUTE, |_| http::Response::text("a page"));
    Service::builder().protocol(messages::echo("echo")).routes(routes).build().unwrap()
}

fn turns(service: &mut Service) {
    for _ in 0..3 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
}

/// Before its first byte, within its head, between two requests.
#[test]
fn a_served_connection_can_be_ended_before_its_handshake_is_through() {
    for abort in [false, true] {
        for sent in ["", "GET / HT", "GET /page HTTP/1.1\r\nHost: x\r\n\r\n"] {
            let mut service = page();
            let (id, mut peer) = serve(&mut service);
            peer.write_all(sent.as_bytes()).unwrap();
            turns(&mut service);
            let mut answer = [0; 1000];
            assert_eq!(peer.read(&mut answer).is_ok(), sent.contains(ROUTE));
            assert_eq!(service.connections(), 1);
            let mut control = service.control();
            let mut connection = control.connection(id).expect("it is alive");
            if abort {
                connection.abort();
            } else {
                connection.close(CloseCode::NORMAL);
            }
            turns(&mut service);
            assert_eq!(peer.read(&mut answer).ok(), Some(0), "it was closed");
            assert_eq!((service.connections(), service.control().connection(id).is_err()), (0, true));
        }
    }
}

#[test]
fn an_answer_that_has_begun_is_finished_before_a_close() {
    let routes = http::Routes::new().get("/long", |_| http::Response::text("x".repeat(4 << 20)));
    let mut service = Service::builder().routes(routes).build().unwrap();
    let (id, mut peer) = serve(&mut service);
    peer.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    turns(&mut service);
    service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    let (mut got, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        service.run_once(Some(Duration::ZERO)).unwrap();
        match peer.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    assert!(got > 4 << 20, "{got} bytes");
}

#[test]
fn an_aborted_connection_ends_at_once_and_says_so() {
    // By another, and by itself, from a callback that has written something; of a server and of a client.
    for (own, of_client) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut world = World::new(2);
        let (actor, other) = if of_client { (&world.client, &world.server) } else { (&world.server, &world.client) };
        let (actor, other) = (actor.notes.clone(), other.notes.clone());
        let target = actor.id(usize::from(!own));
        actor.on_message(move |cx| {
            cx.connection(target).unwrap().abort();
            cx.connection(target).unwrap().close(CloseCode::NORMAL); // which comes too late
            Ok(())
        });
        World::go(if of_client { &mut world.server } else { &mut world.client }, 0);
        world.until(|_| actor.closed.borrow().contains_key(&target) && !other.closed.borrow().is_empty());
        let closed = actor.closed.borrow()[&target].clone();
        assert_eq!((closed.cause, closed.initiator, closed.sent), (Cause::Aborted, Initiator::Neither, None));
        let seen = other.closed.borrow().values().next().unwrap().clone();
        assert_eq!((seen.cause, seen.code_seen()), (Cause::Reset, 1006));
        assert_eq!((actor.closed.borrow().len(), other.closed.borrow().len()), (1, 1));
    }
}

#[test]
fn nothing_is_delivered_to_a_callback_that_aborted() {
    let mut world = World::new(1);
    world.server.notes.on_message(|cx| {
        cx.abort();
        Ok(())
    });
    world.client.notes.on_writable(|_, tx| {
        tx.idle().unwrap().text("first").more().unwrap().text("second");
        Ok(())
    });
    let id = world.client.notes.id(0);
    world.client.control().connection(id).unwrap().request_writable();
    world.until(|world| world.server.notes.closed(0).is_some());
    assert_eq!(world.server.notes.text(0), "first");
}

#[test]
fn an_aborted_connect_fails_once() {
    let mut world = World::new(0);
    let connect = Connect::new("ws://10.0.0.1/").unwrap();
    let handle = world.client.handle;
    let id = world.client.control().protocol(handle).unwrap().connect(connect);
    world.client.control().connection(id).unwrap().abort();
    assert!(world.client.notes.failed.borrow().is_empty(), "not before the loop runs");
    world.until(|world| !world.client.notes.failed.borrow().is_empty());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.client.notes.failed.borrow().len(), 1);
    assert!(world.client.notes.open.borrow().is_empty());
}
