//! The chat and its members, as two services in one simulated network.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::sim::{Network, seeds};
use sockeye::{Connect, Failure, protocol::ProtocolMut};
use sockeye_testing::turns::{Together, Turns};

use super::*;

/// What each member saw, by the order of their connects.
type Seen = Rc<RefCell<Vec<(ConnId, String)>>>;

/// An answer of one visitor: who, after which line, with which; `bye` leaves.
type Answer = (usize, &'static str, &'static str);

/// Notes what it receives, and answers by a list.
struct Visitor {
    seen: Seen,
    ids: Rc<RefCell<Vec<ConnId>>>,
    answers: Vec<Answer>,
}

impl Handler for Visitor {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        let text = message.as_text().expect("the chat sends text").to_owned();
        self.seen.borrow_mut().push((cx.id(), text.clone()));
        let who = self.ids.borrow().iter().position(|id| *id == cx.id());
        if let Some(index) = self.answers.iter().position(|(own, after, _)| Some(*own) == who && *after == text) {
            let (.., line) = self.answers.remove(index);
            if line == "bye" {
                return Err(CloseCode::NORMAL.into());
            }
            cx.push(line).expect("an empty outbox has room");
        }
        Ok(())
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, id: ConnId, failure: Failure) {
        self.seen.borrow_mut().push((id, failure.to_string()));
    }
}

struct Evening {
    both: Together<2>,
    seen: Seen,
    ids: Rc<RefCell<Vec<ConnId>>>,
}

impl Evening {
    fn new(seed: u64, answers: &[Answer]) -> Self {
        let network = Network::new(seed);
        let chat = messages::with("chat", Chat(HashMap::new()));
        let server = Service::builder().protocol(chat).listen("10.0.0.1:80").build_with(network.sys()).unwrap();
        let (seen, ids) = (Seen::default(), Rc::default());
        let visitor = Visitor { seen: seen.clone(), ids: Rc::clone(&ids), answers: answers.to_vec() };
        let visitors = Service::builder().protocol(messages::with("visitor", visitor));
        let visitors = visitors.build_with(network.sys()).unwrap();
        Self { both: Together { network, services: [server, visitors] }, seen, ids }
    }

    fn connect(&mut self, target: &str) -> ConnId {
        let connect = Connect::new(&format!("ws://10.0.0.1{target}")).unwrap();
        let id = self.both.services[1].control().protocol_named("visitor").unwrap().connect(connect);
        self.ids.borrow_mut().push(id);
        id
    }

    /// Turns until the visitor has seen this.
    fn until(&mut self, visitor: ConnId, line: &str) {
        let seen = self.seen.clone();
        let (done, _) = self.both.turn_until(Duration::from_secs(60), |_| {
            seen.borrow().iter().any(|entry| *entry == (visitor, line.to_owned()))
        });
        assert!(done, "{visitor} has not seen {line:?} but {:?}", self.of(visitor));
    }

    fn of(&self, visitor: ConnId) -> Vec<String> {
        self.seen.borrow().iter().filter(|(id, _)| *id == visitor).map(|(_, line)| line.clone()).collect()
    }
}

#[test]
fn members_of_a_room_hear_each_other_and_whispers_reach_one() {
    for seed in seeds(50) {
        let mut evening = Evening::new(
            seed,
            &[(0, "bob is here", "hello"), (2, "ann: hello", "/to ann psst"), (0, "bob whispers: psst", "bye")],
        );
        let ann = evening.connect("/rooms/lobby?token=secret-of-ann");
        evening.until(ann, "ann is here");
        let eve = evening.connect("/rooms/attic?token=secret-of-eve");
        evening.until(eve, "eve is here");
        let bob = evening.connect("/rooms/lobby?token=secret-of-bob");
        evening.until(bob, "ann has left");
        assert_eq!(evening.of(ann), ["ann is here", "bob is here", "ann: hello", "bob whispers: psst"], "seed {seed}");
        assert_eq!(evening.of(bob), ["ann is here", "bob is here", "ann: hello", "ann has left"], "seed {seed}");
        assert_eq!(evening.of(eve), ["eve is here"], "seed {seed}");
    }
}

#[test]
fn who_has_no_token_or_names_no_room_is_refused() {
    let mut evening = Evening::new(1, &[]);
    for (target, status) in [
        ("/rooms/lobby", "401"),
        ("/rooms/lobby?token=guess", "401"),
        ("/rooms/?token=secret-of-ann", "404"),
        ("/", "404"),
    ] {
        let visitor = evening.connect(target);
        let seen = evening.seen.clone();
        evening.both.turn_until(Duration::from_secs(60), |_| seen.borrow().iter().any(|(id, _)| *id == visitor));
        let said = evening.of(visitor);
        assert!(said.len() == 1 && said[0].contains(status), "{target}: {said:?}");
    }
}

#[test]
fn a_room_keeps_the_last_lines_and_goes_with_its_last_member() {
    let mut commands = Service::builder().build_with(Network::new(1).sys()).unwrap();
    let mut room = Room::default();
    for line in 0..HISTORY + 7 {
        room.say(&mut commands.control(), line.to_string());
    }
    assert_eq!(room.history.len(), HISTORY);
    assert_eq!((room.history.front().unwrap().as_str(), room.history.back().unwrap().as_str()), ("56", "7"));

    let mut evening = Evening::new(2, &[(0, "ann is here", "bye"), (1, "bob is here", "bye")]);
    for name in ["ann", "bob"] {
        let visitor = evening.connect(&format!("/rooms/lobby?token=secret-of-{name}"));
        evening.until(visitor, &format!("{name} is here"));
        evening.both.turn_for(Duration::from_secs(10));
        assert_eq!(evening.of(visitor), [format!("{name} is here")], "nothing is left of the room before");
    }
}
