use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;
use serde_json::{Value, json};
use sockeye::messages::Message;
use sockeye::{Close, CloseCode};

use super::*;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn all(client: &mut Client, message: &Value) -> Vec<HubEvent<'static>> {
    let message = Message::from(message.to_string());
    client.received(&message).unwrap().map(owned).collect()
}

/// What of a text message borrows nothing.
fn owned(event: HubEvent<'_>) -> HubEvent<'static> {
    match event {
        HubEvent::Message { topic, offset, key, payload } => HubEvent::Message {
            topic: topic.into_owned().into(),
            offset,
            key: key.map(|key| key.into_owned().into()),
            payload: match payload {
                Message::Text(text) => text.into_owned().into(),
                Message::Binary(bytes) => bytes.into_owned().into(),
            },
        },
        HubEvent::Gap { topic, after, until } => HubEvent::Gap { topic: topic.into_owned().into(), after, until },
        HubEvent::Subscribed { topic, at, recovered } => {
            HubEvent::Subscribed { topic: topic.into_owned().into(), at, recovered }
        }
        HubEvent::Published { id, at } => HubEvent::Published { id, at },
        HubEvent::Unknown { id, reason } => HubEvent::Unknown { id, reason: reason.into_owned().into() },
        HubEvent::Authorized => HubEvent::Authorized,
        HubEvent::Refused { asked, code, reason } => {
            HubEvent::Refused { asked, code, reason: reason.into_owned().into() }
        }
        HubEvent::Unsubscribed { topic, at, reason } => {
            HubEvent::Unsubscribed { topic: topic.into_owned().into(), at, reason: reason.into_owned().into() }
        }
        HubEvent::Presence { topic, count, joined, left } => {
            HubEvent::Presence { topic: topic.into_owned().into(), count, joined, left }
        }
    }
}

fn place(epoch: &str, offset: u64) -> Bookmark {
    Bookmark::new(epoch, offset).unwrap()
}

/// One that is connected, and subscribed to `news` at `a:41`.
fn subscribed() -> Client {
    let mut client = Client::new();
    assert_eq!(client.subscribe("news", Subscribe::default()), Ok(None));
    let asked = client.opened();
    assert_eq!(asked.len(), 1);
    let events = all(&mut client, &json!({"type": "subscribed", "id": 1, "topic": "news", "epoch": "a", "offset": 41}));
    assert_eq!(events, [HubEvent::Subscribed { topic: "news".into(), at: place("a", 41), recovered: None }]);
    client
}

fn message(offset: u64, previous: u64) -> Value {
    json!({"type": "message", "topic": "news", "offset": offset, "previous": previous, "data": "x"})
}

fn told(offset: u64) -> HubEvent<'static> {
    HubEvent::Message { topic: "news".into(), offset, key: None, payload: "x".into() }
}

fn gap(after: Bookmark, until: Bookmark) -> HubEvent<'static> {
    HubEvent::Gap { topic: "news".into(), after, until }
}

#[test]
fn everything_wanted_is_asked_for_on_each_connection() {
    let mut client = Client::new();
    let wanted = Subscribe { since: Some(place("e\"", 5)), last: Some(7), presence: true };
    client.subscribe("b\n", wanted).unwrap();
    client.subscribe("a", Subscribe { last: Some(3), ..Subscribe::default() }).unwrap();
    assert_eq!(client.authorize("secret"), None);
    for round in 0..2 {
        let asked: Vec<_> = client.opened().iter().map(|text| json(text)).collect();
        let id = round * 3;
        assert_eq!(
            asked,
            [
                json!({"type": "authorize", "id": id + 1, "token": "secret"}),
                json!({"type": "subscribe", "id": id + 2, "topic": "a", "last": 3}),
                json!({"type": "subscribe", "id": id + 3, "topic": "b\n", "since": {"epoch": "e\"", "offset": 5}, "last": 7, "presence": true}),
            ]
        );
        assert_eq!(client.lost().count(), 0);
    }
}

#[test]
fn with_a_connection_requests_are_sent_at_once() {
    let mut client = Client::new();
    assert_eq!(client.opened(), Vec::<String>::new());
    let asked = client.subscribe("a", Subscribe::default()).unwrap().unwrap();
    assert_eq!(json(&asked), json!({"type": "subscribe", "id": 1, "topic": "a"}));
    assert_eq!(client.subscribe("a", Subscribe::default()), Err(RequestError::AlreadySubscribed));
    assert_eq!(json(&client.authorize("t").unwrap()), json!({"type": "authorize", "id": 2, "token": "t"}));
    assert_eq!(all(&mut client, &json!({"type": "authorized", "id": 2})), [HubEvent::Authorized]);
    assert_eq!(all(&mut client, &json!({"type": "authorized", "id": 2})), [], "once");
    assert_eq!(json(&client.unsubscribe("a").unwrap()), json!({"type": "unsubscribe", "id": 3, "topic": "a"}));
    assert_eq!(client.unsubscribe("a"), None);
    assert_eq!(client.topics().count(), 0);
}

#[test]
fn names_and_keys_have_to_fit() {
    let mut client = Client::new();
    let long = "x".repeat(65_536);
    for name in ["", &long] {
        assert_eq!(client.subscribe(name, Subscribe::default()), Err(RequestError::Name));
        assert_eq!(client.publish(name, "x", None), Err(RequestError::Name));
    }
    assert_eq!(client.publish("a", "x", None), Err(RequestError::Closed));
    _ = client.opened();
    assert_eq!(client.publish("a", "x", Some(long.as_bytes())), Err(RequestError::Key));
    assert_eq!(client.publish("a", "x", Some(b"\xff")), Err(RequestError::Key), "a text with a key of bytes");
    assert!(client.publish("a", &b"x"[..], Some(b"\xff")).is_ok());
    assert!(client.publish(&long[1..], "x", Some(&long.as_bytes()[1..])).is_ok());
}

#[test]
fn a_hole_and_what_comes_again_are_seen_by_the_offset_before() {
    let mut client = subscribed();
    assert_eq!(all(&mut client, &message(43, 41)), [told(43)]);
    assert_eq!(all(&mut client, &message(43, 41)), [], "seen");
    assert_eq!(all(&mut client, &message(42, 41)), [], "seen, or never there");
    assert_eq!(all(&mut client, &message(50, 45)), [gap(place("a", 43), place("a", 45)), told(50)]);
    assert_eq!(client.bookmark("news"), Some(&place("a", 50)));
}

#[test]
fn a_new_connection_goes_on_where_the_old_one_was() {
    let mut client = subscribed();
    all(&mut client, &message(42, 41));
    assert_eq!(client.lost().count(), 0);
    assert_eq!(all(&mut client, &message(43, 42)), [], "nothing is subscribed to");
    let asked = client.opened();
    let since = json!({"type": "subscribe", "id": 2, "topic": "news", "since": {"epoch": "a", "offset": 42}});
    assert_eq!(json(&asked[0]), since);
    assert_eq!(all(&mut client, &message(43, 42)), [], "the answer comes first");
    let answer = json!({"type": "subscribed", "id": 2, "topic": "news", "epoch": "a", "offset": 42, "recovered": true});
    let event = HubEvent::Subscribed { topic: "news".into(), at: place("a", 42), recovered: Some(true) };
    assert_eq!(all(&mut client, &answer), [event]);
    assert_eq!(all(&mut client, &message(43, 42)), [told(43)]);
}

/// What is said behind a position, and what is known of the hole.
#[test]
fn what_was_not_recovered_is_a_gap() {
    for (answer, at, next) in [
        (json!({"epoch": "a", "offset": 60, "recovered": false}), place("a", 60), (61, 60)),
        (json!({"epoch": "b", "offset": 3, "recovered": false}), place("b", 3), (4, 3)),
        // An offset of another epoch says nothing, a server that forgets to answer has not promised anything, and one that begins
        // behind what was seen has not recovered it.
        (json!({"epoch": "b", "offset": 3, "recovered": true}), place("b", 3), (4, 3)),
        (json!({"epoch": "a", "offset": 41}), place("a", 41), (42, 41)),
        (json!({"epoch": "a", "offset": 42, "recovered": true}), place("a", 42), (43, 42)),
    ] {
        let mut client = subscribed();
        _ = client.lost();
        _ = client.opened();
        let mut whole = json!({"type": "subscribed", "id": 2, "topic": "news"});
        whole.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
        let begun = HubEvent::Subscribed { topic: "news".into(), at: at.clone(), recovered: Some(false) };
        assert_eq!(all(&mut client, &whole), [begun, gap(place("a", 41), at)], "{answer}");
        assert_eq!(all(&mut client, &message(next.0, next.1)), [told(next.0)], "{answer}");
    }
}

#[test]
fn a_server_that_goes_back_repeats_nothing() {
    let mut client = subscribed();
    _ = client.lost();
    _ = client.opened();
    let answer = json!({"type": "subscribed", "id": 2, "topic": "news", "epoch": "a", "offset": 30, "recovered": true});
    assert_eq!(all(&mut client, &answer).len(), 1);
    assert_eq!(all(&mut client, &message(41, 30)), []);
    assert_eq!(all(&mut client, &message(42, 41)), [told(42)]);
    let back = json!({"type": "gap", "topic": "news", "epoch": "a", "offset": 10});
    assert_eq!(all(&mut client, &back), [gap(place("a", 42), place("a", 10))]);
    assert_eq!(all(&mut client, &message(42, 10)), []);
}

#[test]
fn a_gap_is_reported_and_what_follows_is_behind_it() {
    let mut client = subscribed();
    let lost = json!({"type": "gap", "topic": "news", "epoch": "b", "offset": 7});
    assert_eq!(all(&mut client, &lost), [gap(place("a", 41), place("b", 7))]);
    assert_eq!(all(&mut client, &message(8, 7)), [told(8)]);
}

#[test]
fn each_publish_has_one_end() {
    let mut client = subscribed();
    let mut publish = || client.publish("news", "it \"rains\"\u{1}", Some(b"k")).unwrap();
    let (first, text) = publish();
    let expected = json!({"type": "publish", "id": first, "topic": "news", "key": "k", "data": "it \"rains\"\u{1}"});
    assert_eq!(json(text.as_text().unwrap()), expected);
    let (second, third, fourth) = (publish().0, publish().0, publish().0);
    assert_eq!(client.unanswered(), 4);
    for (answer, event) in [
        (
            json!({"type": "published", "id": first, "epoch": "a", "offset": 9}),
            HubEvent::Published { id: first, at: Some(place("a", 9)) },
        ),
        (json!({"type": "unknown", "id": second, "reason": "r"}), HubEvent::Unknown { id: second, reason: "r".into() }),
        (
            json!({"type": "error", "id": third, "code": "too-large", "reason": "r"}),
            HubEvent::Refused { asked: Some(Asked::Publish(third)), code: ErrorCode::TooLarge, reason: "r".into() },
        ),
    ] {
        assert_eq!(all(&mut client, &answer), [event]);
        let again = all(&mut client, &answer);
        assert!(again.iter().all(|event| matches!(event, HubEvent::Refused { asked: None, .. })), "{again:?}");
    }
    assert_eq!(client.unanswered(), 1);
    let lost: Vec<_> = client.lost().collect();
    assert!(matches!(&lost[..], [HubEvent::Unknown { id, .. }] if *id == fourth), "{lost:?}");
    assert_eq!((client.unanswered(), client.lost().count()), (0, 0));
    _ = client.opened();
    assert_eq!(all(&mut client, &json!({"type": "published", "id": fourth})), [], "too late");
}

#[test]
fn publishes_without_answers_are_bounded() {
    let mut client = Client::new().most_publishes(2);
    _ = client.opened();
    let (id, _) = client.publish("a", "x", None).unwrap();
    client.publish("a", "x", None).unwrap();
    assert_eq!(client.publish("a", "x", None), Err(RequestError::TooManyPublishes));
    assert_eq!(all(&mut client, &json!({"type": "published", "id": id})), [HubEvent::Published { id, at: None }]);
    assert!(client.publish("a", "x", None).is_ok());
}

#[test]
fn bytes_go_as_bytes() {
    let mut client = subscribed();
    let (id, sent) = client.publish("né", &b"\0\xff"[..], Some(b"key")).unwrap();
    let mut expected = vec![1, 0, 3, 0, 3];
    expected.extend(id.to_be_bytes());
    expected.extend("nékey\0".as_bytes());
    expected.push(0xff);
    assert_eq!(sent.as_bytes(), expected);
    assert_eq!(sent.as_text(), None);

    let arriving = |key: &str, offset: u64, previous: u64| {
        let mut bytes = vec![2, 0, 4, 0, key.len() as u8];
        bytes.extend(offset.to_be_bytes());
        bytes.extend(previous.to_be_bytes());
        bytes.extend(["news", key].concat().as_bytes());
        bytes.push(0xff);
        Message::from(bytes)
    };
    let message = |offset, key: Option<&'static str>| HubEvent::Message {
        topic: "news".into(),
        offset,
        key: key.map(|key| key.as_bytes().into()),
        payload: vec![0xff].into(),
    };
    let first = arriving("", 42, 41);
    assert_eq!(client.received(&first).unwrap().collect::<Vec<_>>(), [message(42, None)]);
    let second = arriving("k", 50, 43);
    let both = [gap(place("a", 42), place("a", 43)), message(50, Some("k"))];
    assert_eq!(client.received(&second).unwrap().collect::<Vec<_>>(), both);
    // A broker may have told the client more than its new server knew: nothing is missing.
    let third = arriving("", 52, 44);
    assert_eq!(client.received(&third).unwrap().collect::<Vec<_>>(), [message(52, None)]);
    // Cut anywhere before its payload, it is refused.
    for end in 1..second.as_bytes().len() - 1 {
        let cut = Message::from(&second.as_bytes()[..end]);
        assert!(client.received(&cut).is_err(), "{end}");
    }
    for other in [&[][..], &[1, 2], &[3], &[255; 40]] {
        assert_eq!(client.received(&other.into()).unwrap().count(), 0, "{other:?}");
    }
}

#[test]
fn a_refused_subscription_is_over_unless_it_may_be_asked_for_again() {
    let mut client = Client::new();
    client.subscribe("a", Subscribe::default()).unwrap();
    client.subscribe("b", Subscribe::default()).unwrap();
    _ = client.opened();
    for (id, topic, code, is_over) in [(1, "a", "denied", true), (2, "b", "unavailable", false)] {
        let events = all(&mut client, &json!({"type": "error", "id": id, "code": code, "reason": "r"}));
        let [HubEvent::Refused { asked: Some(Asked::Subscribe(found)), code, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((found.as_str(), code.is_temporary()), (topic, !is_over));
    }
    assert_eq!(client.topics().collect::<Vec<_>>(), ["b"]);
    let again = client.retry();
    assert_eq!(json(&again[0]), json!({"type": "subscribe", "id": 3, "topic": "b"}));
    assert_eq!((again.len(), client.retry().len()), (1, 0));
    assert_eq!(client.opened().len(), 1);
}

#[test]
fn a_token_that_was_refused_is_not_shown_again() {
    let mut client = Client::new();
    client.authorize("t");
    assert_eq!(client.opened().len(), 1);
    let busy = json!({"type": "error", "id": 1, "code": "busy", "reason": "r"});
    assert!(matches!(all(&mut client, &busy)[..], [HubEvent::Refused { asked: Some(Asked::Authorize), .. }]));
    _ = client.lost();
    assert_eq!(client.opened().len(), 1);
    all(&mut client, &json!({"type": "error", "id": 2, "code": "denied", "reason": "r"}));
    _ = client.lost();
    assert_eq!(client.opened().len(), 0);
}

#[test]
fn the_server_may_end_a_subscription() {
    let mut client = subscribed();
    let answer = json!({"type": "unsubscribed", "id": 9, "topic": "news"});
    assert_eq!(all(&mut client, &answer), [], "an answer, and nothing was asked");
    let ended = json!({"type": "unsubscribed", "topic": "news", "reason": "r"});
    let event = HubEvent::Unsubscribed { topic: "news".into(), at: Some(place("a", 41)), reason: "r".into() };
    assert_eq!(all(&mut client, &ended), [event]);
    assert_eq!(all(&mut client, &ended), []);
    assert_eq!(all(&mut client, &message(42, 41)), []);
    // One on its way when the topic was subscribed to again ends the one before.
    let again = client.subscribe("news", Subscribe::default()).unwrap();
    assert_eq!(all(&mut client, &ended), []);
    assert!(again.is_some() && client.topics().eq(["news"]));
}

#[test]
fn nothing_of_an_old_subscription_is_reported() {
    let mut client = subscribed();
    client.unsubscribe("news");
    assert_eq!(all(&mut client, &message(42, 41)), []);
    client.subscribe("news", Subscribe::default()).unwrap();
    assert_eq!(all(&mut client, &message(43, 42)), []);
    let of_old = json!({"type": "subscribed", "id": 1, "topic": "news", "epoch": "a", "offset": 43});
    assert_eq!(all(&mut client, &of_old), []);
    let answer = json!({"type": "subscribed", "id": 3, "topic": "news", "epoch": "a", "offset": 43});
    assert_eq!(all(&mut client, &answer).len(), 1);
    assert_eq!(all(&mut client, &message(44, 43)), [told(44)]);
}

#[test]
fn presence_is_for_those_who_asked() {
    let mut client = subscribed();
    let mut presence = json!({"type": "presence", "topic": "news", "count": 5, "joined": 2, "left": 1});
    assert_eq!(all(&mut client, &presence), []);
    client.subscribe("room", Subscribe { presence: true, ..Subscribe::default() }).unwrap();
    presence["topic"] = "room".into();
    let event = HubEvent::Presence { topic: "room".into(), count: 5, joined: 2, left: 1 };
    assert_eq!(all(&mut client, &presence), [event]);
}

#[test]
fn what_is_unknown_is_ignored_and_what_is_broken_ends_the_connection() {
    let mut client = subscribed();
    for fine in [
        "{\"type\":\"later\",\"id\":[]}",
        "{\"type\":\"presence\",\"topic\":\"x\",\"count\":1,\"joined\":0,\"left\":0,\"more\":{}}",
    ] {
        assert_eq!(client.received(&fine.into()).unwrap().count(), 0, "{fine}");
    }
    let deep = "[".repeat(100_000);
    for broken in [
        "",
        "[]",
        "{}",
        "{\"type\":1}",
        "{\"type\":\"message\"}",
        &deep,
        &message(1 << 53, 41).to_string(),
        &message(42, 42).to_string(),
        &message(42, 41).to_string().replace("42", "42.5"),
        &message(42, 41).to_string().replace("42", "-1"),
        &message(42, 41).to_string().replace("\"x\"", "[]"),
        "{\"type\":\"gap\",\"topic\":\"news\",\"epoch\":\"\",\"offset\":1}",
        &json!({"type": "gap", "topic": "news", "epoch": "e".repeat(257), "offset": 1}).to_string(),
        "{\"type\":\"error\",\"id\":\"1\",\"code\":\"x\"}",
    ] {
        let text = broken.into();
        let malformed = client.received(&text).expect_err(broken);
        assert!(malformed.to_string().contains("sockeye.topics.v1"));
        assert_eq!(Close::from(malformed).code(), Some(CloseCode::PROTOCOL_ERROR));
    }
    assert_eq!(client.bookmark("news"), Some(&place("a", 41)));
}

#[test]
fn codes_have_names() {
    for name in ["bad-request", "denied", "name", "too-many", "too-large", "busy", "unavailable", "of-2030"] {
        let code = ErrorCode::parse(name.to_owned());
        assert_eq!((code.as_str(), code.to_string().as_str()), (name, name));
        assert_eq!(matches!(code, ErrorCode::Other(_)), name == "of-2030");
        assert_eq!(code.is_temporary(), ["busy", "unavailable"].contains(&name));
    }
}

#[test]
fn a_place_is_a_text() {
    for text in ["a:0", "a:b:17", "x:9007199254740991"] {
        assert_eq!(text.parse::<Bookmark>().unwrap().to_string(), text);
    }
    for wrong in ["", "a", ":1", "a:", "a:-1", "a:+1", "a:1x", "a:9007199254740992", &format!("{}:1", "e".repeat(257))]
    {
        assert_eq!(wrong.parse::<Bookmark>(), Err(InvalidBookmark), "{wrong}");
    }
}

/// A hub of one topic, and a network that cuts. Messages carry their numbers, which go on for ever.
struct Server {
    epoch: u32,
    /// Of the epoch: the offset of each message that is kept, and its number. The first one is only a position.
    log: Vec<(u64, u64)>,
    /// On its way to the client.
    wire: VecDeque<Message<'static>>,
    /// The index in `log` of the last message that was sent to the client, if it is subscribed.
    sent: Option<usize>,
    /// The number at each position there ever was.
    numbers: HashMap<Bookmark, u64>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Somebody publishes; offsets grow by so much.
    Publish(u64),
    /// So many of the messages on their way arrive.
    Arrive(usize),
    /// The connection breaks, and there is another.
    Cut,
    /// The hub loses its history and begins a new epoch.
    Restart,
    /// The hub keeps so many messages.
    Trim(usize),
    /// The client is slow: so many messages are not sent to it.
    Skip(usize),
    /// The same, and the hub says so.
    Gap(usize),
    /// Something is sent again.
    Repeat(usize),
    /// The client publishes, and the answer is one of these.
    Ask(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..5_u64).prop_map(Step::Publish),
        6 => (1..6_usize).prop_map(Step::Arrive),
        2 => Just(Step::Cut),
        1 => Just(Step::Restart),
        1 => (0..4_usize).prop_map(Step::Trim),
        1 => (1..4_usize).prop_map(Step::Skip),
        1 => (1..4_usize).prop_map(Step::Gap),
        1 => (0..9_usize).prop_map(Step::Repeat),
        2 => (0..4_u8).prop_map(Step::Ask),
    ]
}

impl Server {
    fn new() -> Self {
        let mut server =
            Self { epoch: 0, log: vec![(0, 0)], wire: VecDeque::new(), sent: None, numbers: HashMap::new() };
        server.note();
        server
    }

    fn last(&self) -> (u64, u64) {
        self.log[self.log.len() - 1]
    }

    fn place(&self, offset: u64) -> Bookmark {
        place(&format!("e{}", self.epoch), offset)
    }

    fn note(&mut self) {
        let (offset, number) = self.last();
        self.numbers.insert(self.place(offset), number);
    }

    fn publish(&mut self, step: u64) {
        let (offset, number) = self.last();
        self.log.push((offset + step, number + 1));
        self.note();
        self.send();
    }

    /// Sends what was not sent.
    fn send(&mut self) {
        let Some(mut sent) = self.sent else { return };
        while sent + 1 < self.log.len() {
            sent += 1;
            self.wire.push_back(self.message(sent));
        }
        self.sent = Some(sent);
    }

    fn message(&self, index: usize) -> Message<'static> {
        let ((previous, _), (offset, number)) = (self.log[index - 1], self.log[index]);
        if number % 2 == 0 {
            let data = number.to_string();
            return json!({"type": "message", "topic": "t", "offset": offset, "previous": previous, "data": data})
                .to_string()
                .into();
        }
        let mut bytes = vec![2, 0, 1, 0, 0];
        bytes.extend(offset.to_be_bytes());
        bytes.extend(previous.to_be_bytes());
        bytes.extend(format!("t{number}").as_bytes());
        bytes.into()
    }

    fn skip(&mut self, count: usize, says_so: bool) {
        let Some(sent) = self.sent else { return };
        // The newest ones, which are published now.
        let (offset, number) = self.last();
        for more in 1..=count as u64 {
            self.log.push((offset + more, number + more));
            self.note();
        }
        self.sent = Some(sent + count);
        if says_so {
            let at = self.place(offset + count as u64);
            let gap = json!({"type": "gap", "topic": "t", "epoch": at.epoch(), "offset": at.offset()});
            self.wire.push_back(gap.to_string().into());
        }
    }

    /// Answers a subscription.
    fn subscribe(&mut self, request: &Value) {
        let epoch = format!("e{}", self.epoch);
        let since =
            request.get("since").map(|since| (since["epoch"].as_str().unwrap(), since["offset"].as_u64().unwrap()));
        let (at, recovered) = match since {
            None => (self.log.len() - 1, None),
            Some((asked, offset)) if asked == epoch => match self.log.iter().position(|(kept, _)| *kept == offset) {
                Some(index) => (index, Some(true)),
                None => (0, Some(false)),
            },
            Some(_) => (self.log.len() - 1, Some(false)),
        };
        let mut answer =
            json!({"type": "subscribed", "id": request["id"], "topic": "t", "epoch": epoch, "offset": self.log[at].0});
        if let Some(recovered) = recovered {
            answer["recovered"] = recovered.into();
        }
        self.wire.push_back(answer.to_string().into());
        self.sent = Some(at);
        self.send();
    }
}

/// What the program on top of the client was told.
#[derive(Default)]
struct Program {
    /// The number of the message behind which the client is.
    number: Option<u64>,
    /// The number of the last message.
    seen: u64,
    published: Vec<u64>,
    ended: Vec<u64>,
}

impl Program {
    fn told(&mut self, server: &Server, event: &HubEvent<'_>) {
        match event {
            HubEvent::Subscribed { at, recovered: None, .. } => self.number = Some(server.numbers[at]),
            HubEvent::Subscribed { .. } => {}
            HubEvent::Gap { after, until, .. } => {
                assert_eq!(self.number, Some(server.numbers[after]), "the hole begins behind what was seen");
                self.number = Some(server.numbers[until]);
            }
            HubEvent::Message { payload, .. } => {
                let number: u64 = std::str::from_utf8(payload.as_bytes()).unwrap().parse().unwrap();
                assert_eq!(Some(number - 1), self.number, "nothing is missed silently");
                assert!(number > self.seen, "never twice, and in order");
                (self.number, self.seen) = (Some(number), number);
            }
            HubEvent::Published { id, .. } | HubEvent::Unknown { id, .. } => self.ended.push(*id),
            HubEvent::Refused { asked: Some(Asked::Publish(id)), .. } => self.ended.push(*id),
            other => panic!("{other:?}"),
        }
    }
}

fn play(steps: &[Step]) {
    let mut client = Client::new();
    client.subscribe("t", Subscribe::default()).unwrap();
    let (mut server, mut program) = (Server::new(), Program::default());
    let connect = |client: &mut Client, server: &mut Server, program: &mut Program| {
        server.wire.clear();
        server.sent = None;
        client.lost().for_each(|event| program.told(server, &event));
        client.opened().iter().for_each(|request| server.subscribe(&json(request)));
    };
    let arrive = |client: &mut Client, server: &mut Server, program: &mut Program, count: usize| {
        for _ in 0..count {
            let Some(message) = server.wire.pop_front() else { return };
            client.received(&message).unwrap().for_each(|event| program.told(server, &event));
        }
    };
    connect(&mut client, &mut server, &mut program);
    for step in steps {
        match step {
            Step::Publish(growth) => server.publish(*growth),
            Step::Arrive(count) => arrive(&mut client, &mut server, &mut program, *count),
            Step::Cut => connect(&mut client, &mut server, &mut program),
            Step::Restart => {
                let (_, number) = server.last();
                (server.epoch, server.log) = (server.epoch + 1, vec![(0, number)]);
                server.note();
                connect(&mut client, &mut server, &mut program);
            }
            Step::Trim(keep) => {
                // A connected client has been sent everything.
                let gone = server.log.len().saturating_sub(keep + 1);
                server.log.drain(..gone);
                server.sent = server.sent.map(|sent| sent - gone);
            }
            Step::Skip(count) => server.skip(*count, false),
            Step::Gap(count) => server.skip(*count, true),
            Step::Repeat(back) => {
                if let Some(index) = server.log.len().checked_sub(back + 1).filter(|index| *index > 0) {
                    let again = server.message(index);
                    server.wire.push_back(again);
                }
            }
            Step::Ask(answer) => {
                let (id, _) = client.publish("t", "x", None).unwrap();
                program.published.push(id);
                let answer = match answer {
                    0 => json!({"type": "published", "id": id}),
                    1 => json!({"type": "unknown", "id": id, "reason": "r"}),
                    2 => json!({"type": "error", "id": id, "code": "denied", "reason": "r"}),
                    _ => json!({"type": "none"}),
                };
                server.wire.push_back(answer.to_string().into());
            }
        }
    }
    connect(&mut client, &mut server, &mut program);
    arrive(&mut client, &mut server, &mut program, usize::MAX);
    assert_eq!(program.number, Some(server.last().1), "all of it arrived, or is covered by a gap");
    client.lost().for_each(|event| program.told(&server, &event));
    program.ended.sort_unstable();
    assert_eq!(program.ended, program.published, "each has one end");
}

/// Something that a server might have meant: the right members, with any values.
fn anything() -> impl Strategy<Value = String> {
    let number = prop_oneof![0..6_u64, Just(u64::MAX), Just(1 << 53), any::<u64>()].prop_map(Value::from);
    let text = prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("busy".to_owned()), "\\PC{0,20}"];
    let value = prop_oneof![4 => number, 3 => text.prop_map(Value::from), 1 => Just(Value::Null), 1 => Just(json!([{}])), 1 => Just(json!(true))];
    let name = prop::sample::select(vec![
        "id",
        "topic",
        "epoch",
        "offset",
        "previous",
        "data",
        "key",
        "recovered",
        "reason",
        "code",
        "count",
        "joined",
        "left",
    ]);
    let kind = prop::sample::select(vec![
        "subscribed",
        "message",
        "gap",
        "published",
        "unknown",
        "unsubscribed",
        "presence",
        "authorized",
        "error",
        "x",
    ]);
    (kind, prop::collection::btree_map(name, value, 0..13)).prop_map(|(kind, members)| {
        let mut object = json!(members);
        object["type"] = kind.into();
        if let Some(topic) = object.get_mut("topic") {
            *topic = "a".into();
        }
        object.to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nothing_twice_nothing_out_of_order_nothing_missed_silently(steps in prop::collection::vec(step(), 1..120)) {
        play(&steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A server that says anything: no panic, and no more is kept than before.
    #[test]
    fn no_server_hurts(
        texts in prop::collection::vec(prop_oneof![4 => anything(), 1 => "\\PC{0,20}"], 1..30),
        bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..10),
    ) {
        let mut client = Client::new().most_publishes(4);
        client.subscribe("a", Subscribe { presence: true, ..Subscribe::default() }).unwrap();
        client.subscribe("b", Subscribe::default()).unwrap();
        client.authorize("t");
        let mut offset = 0;
        let mut epoch = String::new();
        for chunk in texts.chunks(20) {
            _ = client.opened();
            _ = client.publish("a", "x", None);
            for text in chunk {
                for event in client.received(&text.into()).into_iter().flatten() {
                    if let HubEvent::Message { offset: next, .. } = event {
                        prop_assert!(next > offset, "{next} behind {offset}");
                        offset = next;
                    }
                }
                // Elsewhere offsets begin anew.
                let now = client.bookmark("a").map(|at| at.epoch().to_owned()).unwrap_or_default();
                if now != epoch {
                    (epoch, offset) = (now, 0);
                }
                prop_assert!(client.unanswered() <= 4 && client.topics().count() <= 2);
                prop_assert!(client.requests.len() <= 4 + 2 + 1);
            }
            for bytes in &bytes {
                _ = client.received(&bytes[..].into()).map(Iterator::count);
            }
            let unanswered = client.unanswered();
            prop_assert_eq!(client.lost().count(), unanswered);
        }
    }
}
