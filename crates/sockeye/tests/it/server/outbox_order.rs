//! What a program did first arrives first: messages of an outbox, published ones, and ones that are pushed through a looked-up
//! connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::proto::close::Cause;
use sockeye::protocol::PushError;
use sockeye::sim::Faults;
use sockeye::{Close, CloseCode, Closed, ClosedCx, Handshake, Limits};

use super::messages::World;

/// Does what scripts say, with messages that are numbered in the order in which they are given away.
#[derive(Default)]
struct Scribe {
    number: u32,
    /// What the next writable callbacks do.
    writable: VecDeque<String>,
    timer: String,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Default)]
struct Seen {
    full: Option<PushError>,
    closed: Option<Closed>,
}

impl Scribe {
    /// `p` pushes, `P` publishes, and `c` pushes through the connection that it looks up; `+` makes the message before it long.
    fn run(&mut self, cx: &mut MessageCx<'_, '_>, script: &str) {
        let mut steps = script.chars().peekable();
        while let Some(step) = steps.next() {
            self.number += 1;
            let width = if steps.next_if_eq(&'+').is_some() { 10_000 } else { 1 };
            let text = format!("{:>width$}", self.number);
            match step {
                'p' => cx.push(text).unwrap(),
                'P' => cx.own_protocol().publish_text(&text),
                'c' => {
                    let id = cx.id();
                    let pushed = cx.connection(id).unwrap().push(text.as_str());
                    self.seen.borrow_mut().full = pushed.err();
                }
                other => panic!("{other}"),
            }
        }
    }
}

impl Handler for Scribe {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        if self.number == 0 {
            self.run(cx, "pPpcPp");
        }
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        let text = message.as_text().unwrap();
        match text.split_at(1) {
            ("w", script) => {
                self.writable.push_back(script.to_owned());
                cx.request_writable();
            }
            ("t", script) => {
                script.clone_into(&mut self.timer);
                cx.set_timer(Duration::from_millis(1));
            }
            ("e", script) => {
                self.run(cx, script);
                return Err(CloseCode::NORMAL.into());
            }
            _ => self.run(cx, text),
        }
        Ok(())
    }

    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut ()) -> Result<(), Close> {
        if let Some(script) = self.writable.pop_front() {
            self.run(cx, &script);
        }
        Ok(())
    }

    fn timer(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut ()) -> Result<(), Close> {
        let script = std::mem::take(&mut self.timer);
        self.run(cx, &script);
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), closed: Closed) {
        self.seen.borrow_mut().closed = Some(closed);
    }
}

/// Sockets that take everything, little at a time, and next to nothing.
fn networks() -> [Faults; 3] {
    let (slow, slowest) = (Faults::none().with_buffers(5_000, 5_000), Faults::none().with_buffers(64, 64));
    [Faults::none(), slow.with_segment(1_000), slowest.with_segment(8)]
}

fn numbers(world: &World, client: usize) -> Vec<u32> {
    world.texts(client).iter().map(|text| text.trim().parse().unwrap()).collect()
}

/// Whatever the callback, whether the messages wait in the outbox or leave at once.
#[test]
fn what_a_program_did_first_arrives_first() {
    let scripts = ["pP", "Pp", "pPpPp", "pcPpcPp", "Pcp", "p+Pp", "P+pc", "c+pP+pP", "p+p+P+pcp+P", "ppPPccpp"];
    for faults in networks() {
        for (index, script) in scripts.iter().enumerate() {
            let mut world = World::new(faults.clone(), messages::with("test", Scribe::default()), 2);
            let again = scripts[(index + 3) % scripts.len()];
            let texts = [script.to_string(), format!("w{script}"), format!("t{script}"), again.to_string()];
            for text in texts.iter().chain([&format!("w{again}"), &format!("e{script}")]) {
                world.clients[0].text(text);
            }
            world.until(|world| world.clients[0].end().is_some());
            let (own, other) = (numbers(&world, 0), numbers(&world, 1));
            let all: Vec<u32> = (1..=own.len() as u32).collect();
            assert_eq!(own, all, "{script} {faults:?}");
            assert!(own.len() >= 6 + 3 * script.matches(['p', 'P', 'c']).count());
            assert!(other.is_sorted() && other.len() > 3, "{other:?}");
            assert_eq!(world.clients[0].close_heard(), Some(Some(1000)));
        }
    }
}

/// What waits behind an outbox is bounded like what waits for the socket, and goes with the connection.
#[test]
fn what_waits_behind_an_outbox_is_bounded() {
    let mut limits = Limits::default();
    (limits.output_low_water, limits.output_hard) = (1_000, 50_000);
    let scribe = Scribe::default();
    let seen = Rc::clone(&scribe.seen);
    let faults = Faults::none().with_buffers(5_000, 5_000);
    let mut world = World::with_limits(faults, messages::with("test", scribe), limits, 2);
    world.clients[0].peer.as_ref().unwrap().set_window(0);
    // The second one stays in the outbox, since the socket has not taken the first.
    world.clients[0].text("p+p+");
    let mut pushed = 0;
    while seen.borrow().full.is_none() {
        world.clients[0].text("c+");
        world.pass(Duration::from_millis(1));
        pushed += 1;
        assert!(pushed < 10, "nothing bounds it");
    }
    assert_eq!((seen.borrow().full, seen.borrow().closed.is_none()), (Some(PushError::Full), true));
    world.clients[1].text("P+");
    world.until(|_| seen.borrow().closed.is_some());
    assert_eq!(seen.borrow().closed.as_ref().unwrap().cause, Cause::Overflow);
}

/// Messages of all sizes, owned, borrowed and parts of the input, in any mixture, through a socket that takes little.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn messages_of_all_sizes_keep_their_order_and_bytes() {
    use sockeye::Service;
    use sockeye::sim::Network;
    use sockeye_testing::server::upgrade;

    const SIZES: [usize; 8] = [0, 1, 4095, 4096, 60_000, 128 * 1024 - 1, 128 * 1024, 200_000];
    for seed in 1..12u64 {
        let expected = Rc::new(RefCell::new(Vec::<Vec<u8>>::new()));
        let noted = expected.clone();
        let (mut number, mut state) = (0u8, seed);
        let handler = messages::on("mix", move |cx: &mut MessageCx<'_, '_>, message: Message<'_>| {
            for _ in 0..3 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let size = SIZES[(state >> 40) as usize % SIZES.len()];
                number = number.wrapping_add(1);
                let bytes = vec![number; size];
                match (state >> 50) % 3 {
                    0 => {
                        cx.push(bytes.clone()).unwrap();
                        noted.borrow_mut().push(bytes);
                    }
                    1 => {
                        cx.push(&bytes[..]).unwrap();
                        noted.borrow_mut().push(bytes);
                    }
                    _ => {
                        let part = message.as_bytes().len() / 2;
                        let part = &message.as_bytes()[part..];
                        cx.push(part).unwrap();
                        noted.borrow_mut().push(part.to_vec());
                    }
                }
            }
            Ok(())
        });
        let faults = if seed % 2 == 0 {
            Faults::none().with_buffers(5_000, 5_000).with_segment(1_000)
        } else {
            Faults::none().with_buffers(300_000, 70_000)
        };
        let network = Network::with_faults(seed, faults);
        let builder = Service::builder().protocol(handler).listen("127.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        peer.send(&upgrade(""));
        for index in 0..20u8 {
            let size = SIZES[index as usize % 5];
            let mut frame = vec![0x82, 0xff];
            frame.extend_from_slice(&(size as u64).to_be_bytes());
            if size < 126 {
                frame = vec![0x82, 0x80 | size as u8];
            } else if size < 65536 {
                frame = vec![0x82, 0xfe];
                frame.extend_from_slice(&(size as u16).to_be_bytes());
            }
            frame.extend_from_slice(&[0; 4]);
            frame.extend(std::iter::repeat_n(index, size));
            peer.send(&frame);
        }
        let (mut heard, mut idle) = (Vec::new(), 0);
        while idle < 200 {
            service.run_once(Some(Duration::ZERO)).unwrap();
            network.advance(Duration::from_millis(1));
            let more = peer.recv();
            idle = if more.is_empty() { idle + 1 } else { 0 };
            heard.extend(more);
        }
        let begin = heard.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let (mut at, mut count) = (begin, 0);
        let expected = expected.borrow();
        while at < heard.len() {
            let (len, head) = match heard[at + 1] {
                126 => (u16::from_be_bytes([heard[at + 2], heard[at + 3]]) as usize, 4),
                127 => (u64::from_be_bytes(heard[at + 2..at + 10].try_into().unwrap()) as usize, 10),
                len => (len as usize, 2),
            };
            assert_eq!(heard[at], 0x82, "seed {seed}, message {count}");
            assert!(heard[at + head..at + head + len] == expected[count][..], "seed {seed}, message {count}");
            at += head + len;
            count += 1;
        }
        assert_eq!((count, expected.len()), (60, 60), "seed {seed}");
    }
}
