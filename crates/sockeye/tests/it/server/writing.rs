//! What is asked for again and again, and what goes between fragments.

use std::time::Duration;

use sockeye::proto::conn::ControlPayload;
use sockeye::protocol::Fragmented;
use sockeye::sim::{Faults, Network};
use sockeye::{Close, Cx, Fragment, Handshake, Protocol, Service, Tx};
use sockeye_testing::server::{Bench, echo, upgrade};

#[test]
fn asking_again_for_what_waits_for_the_socket_does_not_spin() {
    let mut bench = Bench::with(Faults::none().with_buffers(1000, 1000), sockeye::Limits::default());
    let client = bench.open_echo();
    bench.clients[client].peer.as_ref().unwrap().set_window(0);
    bench.deaf.push(client);
    bench.clients[client].binary(&[7; 100_000]);
    bench.pass(Duration::from_secs(1));
    let (id, _) = bench.hub.open_ids()[0];
    for asked in 0..10 {
        let mut control = bench.service.control();
        control.connection(id).unwrap().request_writable();
        control.connection(id).unwrap().resume_reading();
        // The first time it is looked at once.
        let now = bench.network.now();
        assert!(asked == 0 || bench.service.next_deadline() > Some(now), "it would not wait");
        let steps = bench.service.statistics().work.steps;
        bench.turn();
        assert!(asked == 0 || bench.service.statistics().work.steps == steps, "a step for nothing");
        bench.service.control().protocol_named(echo::NAME).unwrap().request_writable();
        bench.turn();
        assert!(bench.service.next_deadline() > Some(now), "it would not wait");
    }
    // And it comes as soon as there is room.
    bench.deaf.clear();
    bench.clients[client].peer.as_ref().unwrap().set_window(usize::MAX);
    bench.until(|bench| bench.replies(client) == 1);
    bench.close(client);
    bench.finish();
}

/// Says "abc" in three fragments with a ping behind each of the first two, in one callback or in one for each.
struct Slow {
    at_once: bool,
    binary: bool,
}

impl Protocol for Slow {
    type Session = usize;

    fn name(&self) -> &'static str {
        "slow"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) -> usize {
        cx.request_writable();
        0
    }

    fn receive(&mut self, _: &mut Cx<'_>, _: &mut usize, _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, step: &mut usize, tx: Tx<'_>) -> Result<(), Close> {
        let payload = |step: usize| ControlPayload::new(&[b'0' + step as u8]).unwrap();
        if self.at_once {
            let writable = tx.idle().unwrap();
            if self.binary {
                let mut fragments = writable.begin_binary(b"a").more().unwrap();
                fragments.ping(payload(0));
                let mut fragments = fragments.fragment(b"b").more().unwrap();
                fragments.ping(payload(1));
                fragments.finish(b"c");
            } else {
                let mut fragments = writable.begin_text("a").more().unwrap();
                fragments.ping(payload(0));
                let mut fragments = fragments.fragment("b").more().unwrap();
                fragments.ping(payload(1));
                fragments.finish("c");
            }
            return Ok(());
        }
        match tx {
            Tx::Idle(writable) if self.binary => drop(writable.begin_binary(b"a")),
            Tx::Idle(writable) => drop(writable.begin_text("a")),
            Tx::Mid(mut fragmented) => {
                fragmented.ping(payload(*step - 1));
                match (fragmented, *step) {
                    (Fragmented::Text(fragments), 1) => drop(fragments.fragment("b")),
                    (Fragmented::Binary(fragments), 1) => drop(fragments.fragment(b"b")),
                    (Fragmented::Text(fragments), _) => drop(fragments.finish("c")),
                    (Fragmented::Binary(fragments), _) => drop(fragments.finish(b"c")),
                    _ => {}
                }
            }
            _ => {}
        }
        *step += 1;
        if *step < 3 {
            cx.request_writable();
        }
        Ok(())
    }
}

#[test]
fn pings_of_ones_own_go_between_fragments() {
    for (at_once, binary) in [(false, false), (false, true), (true, false), (true, true)] {
        let network = Network::with_faults(1, Faults::none());
        let builder = Service::builder().protocol(Slow { at_once, binary }).listen("127.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        peer.send(&upgrade(""));
        let mut heard = Vec::new();
        for _ in 0..9 {
            service.run_once(Some(Duration::ZERO)).unwrap();
            heard.extend(peer.recv());
        }
        let end = heard.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |at| at + 4);
        let first = if binary { 0x02 } else { 0x01 };
        let frames = [&[first][..], b"\x01a\x89\x010\x00\x01b\x89\x011\x80\x01c"].concat();
        assert_eq!(heard[end..], frames, "at once {at_once}, binary {binary}");
    }
}

/// Answers the first message with the beginning of a fragmented one, as each that asks for it, and goes on in its writable
/// callback.
struct Eager;

impl Protocol for Eager {
    type Session = Vec<String>;

    fn name(&self) -> &'static str {
        "eager"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> Vec<String> {
        Vec::new()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, waiting: &mut Vec<String>, message: Fragment<'_>) -> Result<(), Close> {
        let text = String::from_utf8_lossy(message.payload.as_bytes()).into_owned();
        if waiting.is_empty() && cx.can_answer() {
            cx.answer(|permission| _ = permission.begin_text(&text));
            assert!(!cx.can_answer(), "the rest of it goes first");
            cx.answer(|_| panic!("there is no permission"));
        } else {
            waiting.push(text);
        }
        cx.request_writable();
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, waiting: &mut Vec<String>, tx: Tx<'_>) -> Result<(), Close> {
        let Tx::Mid(Fragmented::Text(fragments)) = tx else { return Ok(()) };
        let mut permission = fragments.finish("!").more();
        for text in waiting.drain(..) {
            permission = permission.and_then(|writable| writable.text(&text).more());
        }
        Ok(())
    }
}

#[test]
fn an_answer_may_begin_a_fragmented_message_and_the_next_one_goes_behind_it() {
    let network = Network::with_faults(1, Faults::none());
    let builder = Service::builder().protocol(Eager).listen("127.0.0.1:80");
    let mut service = builder.build_with(network.sys()).unwrap();
    let peer = network.connect(&service.local_addresses()[0]).unwrap();
    peer.send(&[&upgrade("")[..], b"\x81\x81\0\0\0\0a\x81\x81\0\0\0\0b\x81\x81\0\0\0\0c"].concat());
    let mut heard = Vec::new();
    for _ in 0..9 {
        service.run_once(Some(Duration::ZERO)).unwrap();
        heard.extend(peer.recv());
    }
    assert!(heard.ends_with(b"\r\n\r\n\x01\x01a\x80\x01!\x81\x01b\x81\x01c"), "{}", heard.escape_ascii());
}
