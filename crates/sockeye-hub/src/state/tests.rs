//! The state with an outlet and a backplane that write down what they are called for, and are full when a test says so.

use std::sync::{Arc, Mutex};

use super::*;
use crate::backplane::{BrokerError, Event, Io, Loaded, Security, Stored};
use crate::history::History;
use sockeye::ConnId;

#[derive(Default)]
struct Out {
    is_full: bool,
    log: Vec<String>,
}

impl Out {
    fn say(&mut self, what: String) -> Result<(), Busy> {
        if self.is_full {
            return Err(Busy);
        }
        self.log.push(what);
        Ok(())
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

impl Outlet for Out {
    fn deliver(&mut self, topic: &str, _: Option<&str>, frame: &reply::Frame) -> Result<(), Busy> {
        let reply::Frame::Text(text) = frame else { panic!("all is text") };
        self.say(format!("{topic}: {text}"))
    }

    fn tell_all(&mut self, topic: &str, text: &str) -> Result<(), Busy> {
        self.say(format!("{topic}: {text}"))
    }

    fn join(&mut self, _: Place, joining: Joining) -> Result<Joined, Busy> {
        self.say(format!("join {}", joining.name)).map(|()| Joined::Later)
    }

    fn wake(&mut self, place: Place) -> Result<(), Busy> {
        self.say(format!("wake {}", place.thread))
    }

    fn wake_request(&mut self, thread: usize, _: RequestId) -> Result<(), Busy> {
        self.say(format!("wake request {thread}"))
    }

    fn tell(&mut self, place: Place, text: &str) -> Result<(), Busy> {
        self.say(format!("tell {} {text}", place.thread))
    }

    fn wake_link(&mut self) -> Result<(), Busy> {
        Ok(())
    }
}

/// What a backplane was called for, and what it is to report.
#[derive(Clone, Default)]
struct Broker(Arc<Mutex<Vec<String>>>, bool);

impl Broker {
    fn say(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Backplane for Broker {
    fn name(&self) -> &'static str {
        "test"
    }

    fn place(&self) -> crate::backplane::Place {
        crate::backplane::Place { host: "localhost".into(), port: 1, security: Security::Plain }
    }

    fn keeps_history(&self) -> bool {
        self.1
    }

    fn opened(&mut self, _: &mut Io<'_>) {}

    fn receive(&mut self, _: &[u8], _: &mut Io<'_>) -> Result<(), BrokerError> {
        Ok(())
    }

    fn waiting_bytes(&self) -> usize {
        WAITING
    }

    fn lost(&mut self) {}

    fn ping(&mut self, _: &mut Io<'_>) {}

    fn subscribe(&mut self, topic: &str, after: Option<Position>, io: &mut Io<'_>) -> Result<(), PublishError> {
        self.say(format!("subscribe {topic} {:?}", after.map(|after| after.offset)));
        io.out().extend_from_slice(topic.as_bytes());
        Ok(())
    }

    fn unsubscribe(&mut self, topic: &str, io: &mut Io<'_>) {
        self.say(format!("unsubscribe {topic}"));
        io.out().extend_from_slice(topic.as_bytes());
    }

    fn publish(&mut self, message: Publish<'_>, _: &mut Io<'_>) -> Result<(), PublishError> {
        self.say(format!("publish {} {}", message.topic, message.ticket));
        Ok(())
    }
}

/// What the backplane says that waits in it.
const WAITING: usize = 7;

const NOW: Duration = Duration::from_secs(1);

fn place(thread: usize) -> Place {
    Place { thread, id: ConnId::default() }
}

struct World {
    state: State,
    out: Out,
    broker: Broker,
}

impl World {
    fn new(keeps: bool, config: Config) -> Self {
        let broker = Broker(Arc::default(), keeps);
        let state = State::new(config, 100, Some(Box::new(broker.clone())));
        let mut world = Self { state, out: Out::default(), broker };
        world.event(Event::Ready { most_bytes: 1000 });
        world
    }

    fn event(&mut self, event: Event) {
        self.state.link.as_mut().unwrap().with(|_, io| io.event(event));
        self.state.apply_events(NOW, &mut self.out);
    }

    fn subscribe(&mut self, thread: usize, name: &str) -> Result<Subscribing, Refusal> {
        self.state.subscribe(place(thread), name, (Begin::default(), false), NOW, &mut self.out)
    }

    fn begin(&mut self, thread: usize, name: &str) -> Result<Subscribing, Refusal> {
        self.state.begin(place(thread), name, (Begin::default(), false), &mut self.out)
    }

    fn leave(&mut self, thread: usize, name: &str) {
        self.state.leave(place(thread), name, false, NOW);
    }

    fn subscribed(&mut self, name: &str, history: Option<Loaded>) {
        self.event(Event::Subscribed { topic: name.into(), history });
    }

    fn tick(&mut self) {
        self.state.tick(NOW, &mut self.out);
    }
}

fn stored(offset: u64, previous: u64, bytes: usize) -> Stored {
    Stored { kind: MessageKind::Text, key: None, payload: vec![b'x'; bytes], offset, previous }
}

fn loaded(messages: Vec<Stored>) -> Option<Loaded> {
    let offset = messages.last().map_or(0, |last| last.offset);
    Some(Loaded { base: Position { epoch: 7, offset: 0 }, messages, offset, is_complete: true })
}

fn few_topics() -> Config {
    Config { topics: 2, ..Config::default() }
}

fn history() -> Config {
    Config { history: History::of_messages(10), ..Config::default() }
}

#[test]
fn who_waits_for_the_broker_is_woken_also_when_the_queue_of_its_thread_was_full() {
    let mut world = World::new(true, history());
    assert_eq!(world.subscribe(1, "t"), Ok(Subscribing::Waits));
    world.out.is_full = true;
    world.subscribed("t", loaded(vec![]));
    world.tick();
    world.out.is_full = false;
    world.tick();
    assert_eq!(world.out.take(), ["wake 1"]);
    world.tick();
    assert!(world.out.take().is_empty(), "once");
}

#[test]
fn an_answer_is_told_also_when_the_queue_of_its_thread_was_full() {
    let mut world = World::new(true, history());
    let from = Some(Asker::Client(place(1), 5));
    let message = ToPublish { topic: "t", key: None, kind: MessageKind::Text, payload: b"x", from };
    assert_eq!(world.state.publish(message, NOW, &mut world.out), Ok(Receipt::Pending(0)));
    world.out.is_full = true;
    world.event(Event::Published { ticket: 0, position: None });
    world.tick();
    world.out.is_full = false;
    world.tick();
    assert_eq!(world.out.take(), [r#"tell 1 {"type":"published","id":5}"#]);
}

#[test]
fn who_waits_when_the_broker_is_lost_and_back_waits_again() {
    let mut world = World::new(true, history());
    assert_eq!(world.subscribe(1, "t"), Ok(Subscribing::Waits));
    world.state.lose_link("lost", &mut world.out);
    world.event(Event::Ready { most_bytes: 1000 });
    // Another one asks before the first was woken.
    assert_eq!(world.subscribe(2, "t"), Ok(Subscribing::Waits));
    assert_eq!(world.begin(1, "t"), Ok(Subscribing::Waits));
    world.out.take();
    world.subscribed("t", loaded(vec![]));
    assert_eq!(world.out.take(), ["wake 1", "wake 2"]);
}

#[test]
fn the_broker_is_told_of_a_topic_that_goes_to_make_room() {
    let mut world = World::new(true, few_topics());
    for name in ["a", "b", "c"] {
        world.subscribe(0, name).unwrap();
        world.subscribed(name, loaded(vec![]));
        world.leave(0, name);
    }
    assert_eq!(world.broker.take(), ["subscribe a None", "subscribe b None", "unsubscribe a", "subscribe c None"]);
}

#[test]
fn a_broker_that_is_not_ready_is_not_told_of_topics_that_go() {
    let mut world = World::new(false, few_topics());
    world.subscribe(0, "a").unwrap();
    world.leave(0, "a");
    world.state.lose_link("lost", &mut world.out);
    world.broker.take();
    world.state.tick(NOW + Duration::from_secs(100), &mut world.out);
    assert_eq!(world.state.topics.len(), 0);
    for name in ["b", "c", "d"] {
        world.subscribe(0, name).unwrap();
        world.leave(0, name);
    }
    assert!(world.broker.take().is_empty());
    assert!(!world.state.link.as_ref().unwrap().has_bytes());
}

#[test]
fn a_broker_that_reads_slowly_bounds_what_subscriptions_queue() {
    let config = Config { topics: 2, broker_queue_bytes: 1000, ..Config::default() };
    let mut world = World::new(true, config);
    let mut refused = 0;
    for number in 0..10_000 {
        let name = format!("{number:0100}");
        match world.subscribe(0, &name) {
            Ok(_) => world.leave(0, &name),
            Err(refusal) => {
                assert_eq!(refusal.code, Code::Busy);
                refused += 1;
            }
        }
    }
    let queued = world.state.link.as_ref().unwrap().status().queued_bytes;
    assert!(queued < 3000 && refused > 9000, "{queued} bytes, {refused} refused");
}

#[test]
fn what_waits_in_the_backplane_counts_as_queued() {
    let mut world = World::new(true, history());
    let queued = |world: &World| world.state.statistics().broker.unwrap().queued_bytes;
    assert_eq!(queued(&world), WAITING);
    world.subscribe(0, "topic").unwrap();
    assert_eq!(queued(&world), WAITING + "topic".len());
}

#[test]
fn a_topic_that_the_broker_ended_is_asked_for_again_by_the_next_subscriber() {
    for keeps in [true, false] {
        let mut world = World::new(keeps, history());
        world.subscribe(0, "t").unwrap();
        world.subscribed("t", if keeps { loaded(vec![]) } else { None });
        world.leave(0, "t");
        world.broker.take();
        let before = world.state.topics.get("t").unwrap().at;
        world.event(Event::Unsubscribed { topic: "t".into(), reason: "no".into() });
        assert_eq!(world.subscribe(1, "t"), Ok(Subscribing::Waits), "{keeps}");
        assert_eq!(world.broker.take(), ["subscribe t None"]);
        world.subscribed("t", if keeps { loaded(vec![]) } else { None });
        let since = crate::wire::request::Since { epoch: Some(before.epoch), offset: before.offset };
        let start = world.state.topics.get("t").unwrap().start(Begin { since: Some(since), last: 0 }, keeps);
        // Where the broker keeps messages, it was asked what there is.
        assert_eq!(start.recovered, Some(keeps), "what was published in between is missing");
    }
}

#[test]
fn what_is_to_be_mended_is_noted_once() {
    let mut world = World::new(false, history());
    world.subscribe(0, "t").unwrap();
    world.subscribed("t", None);
    world.out.is_full = true;
    for _ in 0..1000 {
        world.event(Event::Message { topic: "t".into(), message: stored(0, 0, 1) });
    }
    assert_eq!(world.state.troubled.len(), 1);
    world.tick();
    assert_eq!(world.state.troubled.len(), 1);
    world.out.is_full = false;
    world.out.take();
    world.tick();
    assert_eq!(world.out.take().len(), 1, "one gap");
    assert_eq!(world.state.troubled.len(), 0);
}

#[test]
fn a_message_of_the_broker_that_is_too_long_is_a_gap_wherever_it_comes_from() {
    let mut world = World::new(true, Config { message_bytes: 10, ..history() });
    world.subscribe(0, "t").unwrap();
    world.subscribed("t", loaded(vec![stored(1, 0, 1), stored(2, 1, 11), stored(3, 2, 1)]));
    let topic = world.state.topics.get("t").unwrap();
    assert_eq!(topic.start(Begin { since: None, last: 100 }, true).at.offset, 2, "what is behind it is left");
    world.begin(0, "t").unwrap();
    world.out.take();
    world.event(Event::Message { topic: "t".into(), message: stored(4, 3, 11) });
    world.event(Event::Message { topic: "t".into(), message: stored(5, 4, 1) });
    let gap = r#"tt: {"type":"gap","topic":"t","epoch":"0000000000000007","offset":4}"#;
    assert_eq!(world.out.take()[0], gap);
}

#[test]
fn who_joins_after_reading_is_told_how_many_there_are_now() {
    let mut world = World::new(true, history());
    let how = (Begin { since: None, last: 10 }, true);
    world.state.subscribe(place(0), "t", how, NOW, &mut world.out).unwrap();
    world.subscribed("t", loaded(vec![stored(1, 0, 1)]));
    let Ok(Subscribing::Begins { start, is_joined: false }) = world.state.begin(place(0), "t", how, &mut world.out)
    else {
        panic!("it has a message to read")
    };
    assert_eq!(start.at.offset, 0);
    world.subscribe(1, "t").unwrap();
    // It is told to those who are subscribed in the loop, which the reader is not yet.
    world.state.tell_presence(&mut world.out);
    world.out.take();
    let at = Position { offset: 1, ..start.at };
    assert_eq!(world.state.read(place(0), "t", at, true, &mut world.out), Reading::Joined);
    world.state.tell_presence(&mut world.out);
    let expected = r#"pt: {"type":"presence","topic":"t","count":2,"joined":0,"left":0}"#;
    assert_eq!(world.out.take(), ["join t", expected]);
}

/// Counts what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::atomic::AtomicUsize>);

impl Lines {
    fn of(&self, act: impl FnOnce()) -> usize {
        let before = self.0.load(std::sync::atomic::Ordering::Relaxed);
        tracing::subscriber::with_default(self.clone(), act);
        self.0.load(std::sync::atomic::Ordering::Relaxed) - before
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn what_the_broker_refuses_again_and_again_is_logged_once() {
    let lines = Lines::default();
    let refused = || Event::Unsubscribed { topic: "t".into(), reason: "no".into() };
    let mut world = World::new(false, Config::default());
    world.subscribe(0, "t").unwrap();
    world.subscribed("t", None);
    let logged = lines.of(|| {
        for _ in 0..100 {
            world.event(refused());
            world.tick();
        }
    });
    assert_eq!((logged, world.state.counts.refused), (1, 100));
    assert_eq!(lines.of(|| world.subscribed("t", None)), 1, "it is taken at last");
    let logged = lines.of(|| {
        world.event(refused());
        for number in 0..50 {
            let name = format!("topic {number}");
            world.subscribe(0, &name).unwrap();
            world.event(Event::Unsubscribed { topic: name, reason: "no".into() });
        }
    });
    assert_eq!(logged, 0, "clients choose the topics, and a minute has one line");

    let mut world = World::new(true, Config { message_bytes: 10, ..history() });
    world.subscribe(0, "t").unwrap();
    world.subscribed("t", loaded(vec![]));
    let logged = lines.of(|| {
        for offset in 1..100 {
            let message = ToPublish { topic: "t", key: None, kind: MessageKind::Text, payload: b"x", from: None };
            let Ok(Receipt::Pending(ticket)) = world.state.publish(message, NOW, &mut world.out) else { panic!() };
            world.event(Event::Refused { ticket, reason: "no".into() });
            world.event(Event::Message { topic: "t".into(), message: stored(offset, offset - 1, 11) });
        }
    });
    assert_eq!((logged, world.state.counts.refused), (2, 198), "one of each kind");
}

#[test]
fn only_who_has_ended_is_not_told() {
    let mut world = World::new(true, history());
    let mut tickets = Vec::new();
    for id in 0..3 {
        let from = Some(Asker::Client(place(1), id));
        let message = ToPublish { topic: "t", key: None, kind: MessageKind::Text, payload: b"x", from };
        let Ok(Receipt::Pending(ticket)) = world.state.publish(message, NOW, &mut world.out) else { panic!() };
        tickets.push(ticket);
    }
    world.state.link.as_mut().unwrap().forget(tickets[1]);
    for ticket in tickets {
        world.event(Event::Published { ticket, position: None });
    }
    assert_eq!(world.out.take(), [0, 2].map(|id| format!(r#"tell 1 {{"type":"published","id":{id}}}"#)));
    world.state.link.as_mut().unwrap().forget(1); // it has had its answer
    assert_eq!(world.state.link.as_ref().unwrap().status().unconfirmed, 0);
}

#[test]
fn presence_counts_who_came_and_left_once() {
    let mut world = World::new(false, history());
    let how = (Begin::default(), true);
    for thread in 0..3 {
        world.state.subscribe(place(thread), "t", how, NOW, &mut world.out).unwrap();
    }
    world.state.leave(place(1), "t", true, NOW);
    let said = |world: &mut World| {
        world.out.take();
        world.state.tell_presence(&mut world.out);
        world.out.take()
    };
    let of = |count: u64, joined: u64, left: u64| {
        [format!(r#"pt: {{"type":"presence","topic":"t","count":{count},"joined":{joined},"left":{left}}}"#)]
    };
    assert_eq!(said(&mut world), of(2, 3, 1));
    assert!(said(&mut world).is_empty(), "nothing has changed");
    world.state.subscribe(place(3), "t", how, NOW, &mut world.out).unwrap();
    assert_eq!(said(&mut world), of(3, 1, 0));
    world.state.leave(place(0), "t", true, NOW);
    assert_eq!(said(&mut world), of(2, 0, 1));
}

#[test]
fn a_message_that_the_broker_repeats_is_delivered_once() {
    let mut world = World::new(true, history());
    world.subscribe(0, "t").unwrap();
    world.subscribed("t", loaded(vec![stored(1, 0, 1)]));
    world.out.take();
    for (offset, previous) in [(1, 0), (2, 1), (2, 1), (3, 2), (2, 1)] {
        world.event(Event::Message { topic: "t".into(), message: stored(offset, previous, 1) });
    }
    let offsets: Vec<bool> = [2, 3]
        .map(|offset| format!(r#""offset":{offset},"#))
        .iter()
        .zip(&world.out.log)
        .map(|(part, said)| said.contains(part))
        .collect();
    assert_eq!((world.out.log.len(), offsets), (2, vec![true; 2]), "{:?}", world.out.log);
    let at = world.state.topics.get("t").unwrap().at;
    assert_eq!(at.offset, 3);
}
