//! Dialogues with servers that say what they are told to say.

use std::collections::VecDeque;

use proptest::prelude::*;
use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{Event, Loaded, Security};

use super::*;

const QUEUE_BYTES: usize = 1 << 20;

/// What a server of version 7.0.15 says to HELLO.
const HELLO: &str = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:4\r\n\
    $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
const INFO: &str =
    "=93\r\ntxt:# Server\r\nredis_version:7.0.15\r\nrun_id:00112233445566778899aabbccddeeff00112233\r\nport:0\r\n\r\n";
const PUBLISH: &str = "$40\r\n0123456789012345678901234567890123456789\r\n";
const LOAD: &str = "$40\r\nabcdefabcdefabcdefabcdefabcdefabcdefabcd\r\n";

/// A hub whose broker is the test.
struct Dialogue {
    redis: Redis,
    out: Vec<u8>,
    events: Vec<Event>,
    ticket: u64,
    /// Answers arrive in pieces of so many bytes.
    piece: usize,
}

impl Dialogue {
    fn new(redis: Redis) -> Self {
        let mut dialogue = Self { redis, out: Vec::new(), events: Vec::new(), ticket: 0, piece: usize::MAX };
        dialogue.call(Redis::opened);
        dialogue
    }

    fn plain() -> Self {
        let mut dialogue = Self::new(Redis::new("redis://h").expect("a URL"));
        dialogue.hear(HELLO);
        dialogue.expect_ready();
        dialogue
    }

    fn with_history() -> Self {
        // So much that one topic is loaded after the other.
        let history = History::new(3).load_bytes(17 * 1024 * 1024);
        let redis = Redis::new("redis://h").expect("a URL").history(history).expect("a history");
        let mut dialogue = Self::new(redis);
        [HELLO, INFO, PUBLISH, LOAD].iter().for_each(|answer| dialogue.hear(answer));
        dialogue.expect_ready();
        dialogue
    }

    fn expect_ready(&mut self) {
        assert!(matches!(self.events.as_slice(), [Event::Ready { .. }]), "{:?}", self.events);
        self.events.clear();
        self.out.clear();
    }

    fn call<R>(&mut self, act: impl FnOnce(&mut Redis, &mut Io<'_>) -> R) -> R {
        act(&mut self.redis, &mut Io::new(&mut self.out, &mut self.events, QUEUE_BYTES))
    }

    fn try_hear(&mut self, bytes: &[u8]) -> Result<(), BrokerError> {
        let pieces = bytes.chunks(self.piece.min(bytes.len()).max(1));
        pieces.into_iter().try_for_each(|piece| self.call(|redis, io| redis.receive(piece, io)))
    }

    fn hear(&mut self, text: &str) {
        self.try_hear(text.as_bytes()).unwrap_or_else(|error| panic!("{error} after {text:?}"));
    }

    /// Why the connection ends after these bytes.
    fn refused(mut self, bytes: &[u8]) -> String {
        self.try_hear(bytes).expect_err("a refusal").to_string()
    }

    fn subscribe(&mut self, topic: &str, after: Option<Position>) {
        self.call(|redis, io| redis.subscribe(topic, after, io)).expect("a name");
    }

    fn unsubscribe(&mut self, topic: &str) {
        self.call(|redis, io| redis.unsubscribe(topic, io));
    }

    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<u64, PublishError> {
        self.ticket += 1;
        let message = Publish { ticket: self.ticket, topic, kind: MessageKind::Text, key: None, payload };
        self.call(|redis, io| redis.publish(message, io))?;
        Ok(self.ticket)
    }

    fn said(&mut self) -> String {
        let said = self.out.escape_ascii().to_string();
        self.out.clear();
        said
    }

    fn said_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn ping(&mut self) {
        self.call(Redis::ping);
    }
}

fn command(parts: &[&str]) -> String {
    let parts: String =
        parts.iter().map(|part| format!("${}\\r\\n{part}\\r\\n", part.len())).collect::<Vec<_>>().concat();
    let count = parts.matches('$').count();
    format!("*{count}\\r\\n{parts}")
}

fn numbered(offset: u64) -> String {
    let body = "\u{1}\0\0\0\0x";
    // The first byte of the envelope is no UTF-8, so it is put in afterwards.
    format!(">3\r\n$7\r\nmessage\r\n$9\r\nsockeye:t\r\n$42\r\n~SK\u{2}00000000000000aa{offset:016}{body}\r\n")
}

fn raw(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'~' { 0xff } else { byte }).collect()
}

#[test]
fn a_plain_dialogue_is_the_same_however_it_is_cut() {
    let channel = "$9\r\nsockeye:t\r\n";
    let origin = "~SK\u{1}AAAAAAAAAAAAAAAA\u{1}\0\0\0\u{1}kx";
    let answers = format!(
        ">3\r\n$9\r\nsubscribe\r\n{channel}:1\r\n:0\r\n>3\r\n$7\r\nmessage\r\n{channel}${}\r\n{origin}\r\n+PONG\r\n\
         -OOM no memory\r\n>3\r\n$7\r\nmessage\r\n{channel}$4\r\n\r\n\r\n\r\n>3\r\n$11\r\nunsubscribe\r\n{channel}:0\r\n",
        origin.len()
    );
    let mut seen = Vec::new();
    for piece in 1..=answers.len() {
        let mut dialogue = Dialogue::plain();
        dialogue.piece = piece;
        dialogue.subscribe("t", None);
        dialogue.publish("t", b"one").expect("room");
        dialogue.ping();
        dialogue.publish("t", b"two").expect("room");
        dialogue.try_hear(&raw(&answers)).expect("answers");
        seen.push(dialogue.events());
    }
    assert!(seen.iter().all(|events| *events == seen[0]));
    let [subscribed, published, first, refused, second, ended] = seen[0].as_slice() else { panic!("{:?}", seen[0]) };
    assert_eq!(*subscribed, Event::Subscribed { topic: "t".to_owned(), history: None });
    assert_eq!(*published, Event::Published { ticket: 1, position: None });
    assert!(
        matches!(first, Event::Message { message, .. } if message.key.as_deref() == Some(b"k") && message.payload == b"x")
    );
    assert_eq!(*refused, Event::Refused { ticket: 2, reason: "OOM no memory".to_owned() });
    assert!(matches!(second, Event::Message { message, .. } if message.payload == b"\r\n\r\n"));
    assert!(matches!(ended, Event::Unsubscribed { topic, .. } if topic == "t"));
}

#[test]
fn a_dialogue_with_history_is_the_same_however_it_is_cut() {
    let answers = format!(
        ">3\r\n$9\r\nsubscribe\r\n$9\r\nsockeye:t\r\n:1\r\n{}*4\r\n$16\r\n00000000000000aa\r\n$1\r\n7\r\n$6\r\n\u{1}~~~~7\r\n$6\r\n\0~~~~6\r\n{}{}\
         *2\r\n$16\r\n00000000000000aa\r\n$1\r\n8\r\n{}",
        numbered(7),
        numbered(7),
        numbered(8),
        numbered(11)
    );
    let mut seen = Vec::new();
    for piece in 1..=answers.len() {
        let mut dialogue = Dialogue::with_history();
        dialogue.piece = piece;
        dialogue.subscribe("t", Some(Position { epoch: 0xaa, offset: 4 }));
        dialogue.publish("t", b"x").expect("room");
        dialogue.try_hear(&raw(&answers)).expect("answers");
        seen.push(dialogue.events());
    }
    assert!(seen.iter().all(|events| *events == seen[0]));
    let [Event::Subscribed { history: Some(loaded), .. }, eight, published, eleven] = seen[0].as_slice() else {
        panic!("{:?}", seen[0]);
    };
    let Loaded { base, messages, offset, is_complete } = loaded;
    assert_eq!((base.epoch, base.offset, *offset, *is_complete), (0xaa, 5, 7, false));
    let kinds: Vec<_> = messages.iter().map(|message| (message.offset, message.kind)).collect();
    assert_eq!(kinds, [(6, MessageKind::Binary), (7, MessageKind::Text)]);
    assert!(matches!(eight, Event::Message { message, .. } if (message.previous, message.offset) == (7, 8)));
    assert_eq!(*published, Event::Published { ticket: 1, position: Some(Position { epoch: 0xaa, offset: 8 }) });
    assert!(matches!(eleven, Event::Message { message, .. } if (message.previous, message.offset) == (10, 11)));
}

fn numbers(last: u64) -> String {
    format!("*2\r\n$16\r\n00000000000000aa\r\n${}\r\n{last}\r\n", last.to_string().len())
}

fn published(ticket: u64, offset: u64) -> Event {
    Event::Published { ticket, position: Some(Position { epoch: 0xaa, offset }) }
}

#[test]
fn messages_that_wait_are_numbered_by_one_run_of_the_script() {
    let mut dialogue = Dialogue::with_history();
    for _ in 0..6 {
        dialogue.publish("t", b"x").expect("room");
    }
    dialogue.publish("u", b"x").expect("room");
    // Those that nothing was before, and that of another topic.
    let messages = |dialogue: &mut Dialogue| {
        let commands = commands(&dialogue.said_bytes());
        commands.iter().map(|command| (command[9].clone(), command[10..].to_vec())).collect::<Vec<_>>()
    };
    let one = "\u{1}\u{fffd}\u{fffd}\u{fffd}\u{fffd}x".to_owned();
    let run = |topic: &str, count: u8| {
        let several = format!("\u{2}\0\0\0{}{}", char::from(count), format!("\0\0\0\u{6}{one}").repeat(count.into()));
        (format!("sockeye:{topic}"), vec!["MINID".to_owned(), if count == 1 { one.clone() } else { several }])
    };
    assert_eq!(messages(&mut dialogue), [run("t", 1), run("t", 1), run("u", 1)]);
    dialogue.hear(&numbers(7));
    assert_eq!(dialogue.events(), [published(1, 7)]);
    assert_eq!(messages(&mut dialogue), [run("t", 4)]);
    [8, 1, 12].iter().for_each(|last| dialogue.hear(&numbers(*last)));
    let (others, own) = ([published(2, 8), published(7, 1)], (3..=6).map(|ticket| published(ticket, ticket + 6)));
    assert_eq!(dialogue.events(), others.into_iter().chain(own).collect::<Vec<_>>());
    dialogue.publish("t", b"x").expect("room");
    assert_eq!(messages(&mut dialogue), [run("t", 1)]);
}

#[test]
fn messages_that_wait_are_entries_of_their_own_before_redis_6_2() {
    for (version, entries) in [("6.2.0", 1), ("6.1.9", 3), ("10.0.1", 1), ("6", 3), ("x", 3)] {
        let redis = Redis::new("redis://h").expect("a URL").history(History::new(3)).expect("a history");
        let mut dialogue = Dialogue::new(redis);
        let info =
            format!("# Server\r\nredis_version:{version}\r\nrun_id:00112233445566778899aabbccddeeff00112233\r\n");
        let info = format!("${}\r\n{info}\r\n", info.len());
        [HELLO, &info, PUBLISH, LOAD].iter().for_each(|answer| dialogue.hear(answer));
        dialogue.expect_ready();
        for _ in 0..5 {
            dialogue.publish("t", b"x").expect("room");
        }
        dialogue.said();
        dialogue.hear(&numbers(1));
        let said = commands(&dialogue.said_bytes());
        let trim = if entries == 1 { "MINID" } else { "MAXLEN" };
        assert_eq!((said[0][10].as_str(), said[0].len() - 11), (trim, entries), "{version}");
    }
}

#[test]
fn messages_without_history_that_wait_go_together() {
    let mut dialogue = Dialogue::plain();
    for _ in 0..4 {
        dialogue.publish("t", b"x").expect("room");
    }
    dialogue.publish("u", b"x").expect("room");
    let sent =
        |dialogue: &mut Dialogue| commands(&dialogue.said_bytes()).iter().map(|c| c[1].clone()).collect::<Vec<_>>();
    assert_eq!(sent(&mut dialogue), ["sockeye:t", "sockeye:t", "sockeye:u"]);
    dialogue.hear(":1\r\n");
    let command = dialogue.said_bytes();
    assert!(command.ends_with(b"\x02\0\0\0\x02\0\0\0\x06\x01\xff\xff\xff\xffx\0\0\0\x06\x01\xff\xff\xff\xffx\r\n"));
    [":1\r\n", ":1\r\n", "-OOM no memory\r\n"].iter().for_each(|answer| dialogue.hear(answer));
    let published = |ticket| Event::Published { ticket, position: None };
    let refused = |ticket| Event::Refused { ticket, reason: "OOM no memory".to_owned() };
    assert_eq!(dialogue.events(), [published(1), published(2), published(5), refused(3), refused(4)]);
}

#[test]
fn messages_that_wait_are_refused_together() {
    let mut dialogue = Dialogue::with_history();
    for _ in 0..5 {
        dialogue.publish("t", b"x").expect("room");
    }
    [numbers(1), numbers(2)].iter().for_each(|answer| dialogue.hear(answer));
    dialogue.events();
    dialogue.hear("-OOM no memory\r\n");
    let refused = |ticket| Event::Refused { ticket, reason: "OOM no memory".to_owned() };
    assert_eq!(dialogue.events(), [refused(3), refused(4), refused(5)]);
    // An answer whose numbers begin before the first there is.
    for _ in 0..5 {
        dialogue.publish("t", b"x").expect("room");
    }
    [numbers(1), numbers(1)].iter().for_each(|answer| dialogue.hear(answer));
    assert!(dialogue.refused(numbers(2).as_bytes()).contains("unknown form"));
}

#[test]
fn messages_that_wait_have_their_room_in_the_queue() {
    let mut dialogue = Dialogue::with_history();
    let large = vec![b'x'; 60 * 1024];
    while dialogue.publish("t", &large).is_ok() {}
    let queued = dialogue.out.len();
    // One more is in none of them, but waits.
    assert!((QUEUE_BYTES - 3 * large.len()..=QUEUE_BYTES).contains(&queued), "{queued}");
    // With the queue empty the next ones wait, and count.
    dialogue.out.clear();
    let waiting = dialogue.redis.waiting_bytes();
    dialogue.publish("t", b"x").expect("room");
    assert!((1..1000).contains(&(dialogue.redis.waiting_bytes() - waiting)));
    assert!(dialogue.out.is_empty());
    let Err(PublishError::QueueFull) = dialogue.publish("t", &vec![b'x'; QUEUE_BYTES - 1000]) else {
        panic!("it has room")
    };
    dialogue.redis.lost();
    assert_eq!(dialogue.redis.waiting_bytes(), 0);
}

#[test]
fn a_connection_begins_with_what_the_url_says() {
    let hello = |url: &str| Dialogue::new(Redis::new(url).expect(url)).said();
    let name = "sockeye-redis";
    assert_eq!(hello("redis://h"), command(&["HELLO", "3", "SETNAME", name]));
    assert_eq!(hello("redis://:p w@h"), command(&["HELLO", "3", "AUTH", "default", "p w", "SETNAME", name]));
    assert_eq!(
        hello("redis://u:p@h/3"),
        command(&["HELLO", "3", "AUTH", "u", "p", "SETNAME", name]) + &command(&["SELECT", "3"])
    );
    let mut dialogue = Dialogue::new(Redis::new("redis://h/3").expect("a URL"));
    dialogue.hear(HELLO);
    assert!(dialogue.events.is_empty());
    dialogue.hear("+OK\r\n");
    dialogue.expect_ready();
    let redis = Redis::new("rediss://h").expect("a URL");
    assert_eq!(redis.place(), Place { host: "h".to_owned(), port: 6379, security: Security::Tls });
    assert!(!format!("{:?}", Redis::new("redis://u:secret@h").expect("a URL")).contains("secret"));
}

#[test]
fn a_ping_before_the_connection_is_accepted_delays_nothing() {
    let mut dialogue = Dialogue::new(Redis::new("redis://h").expect("a URL"));
    dialogue.ping();
    dialogue.ping();
    dialogue.hear(HELLO);
    dialogue.expect_ready();
    dialogue.hear("+PONG\r\n");
    dialogue.ping();
    assert_eq!(dialogue.said(), command(&["PING"]));
}

#[test]
fn refusals_say_what_to_do_and_no_password() {
    let plain = || Dialogue::new(Redis::new("redis://u:secret@h").expect("a URL"));
    let history =
        || Dialogue::new(Redis::new("redis://h").expect("a URL").history(History::new(3)).expect("a history"));
    let old = b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `u`, `secret`, \r\n";
    assert!(plain().refused(old).contains("version 6"));
    let echo = plain().refused(b"-ERR odd secret here\r\n");
    assert!(echo.contains("ERR") && !echo.contains("secret"), "{echo}");
    assert!(plain().refused(b"-NOPROTO unsupported protocol version\r\n").contains("RESP3"));
    assert!(
        plain()
            .refused(b"-NOAUTH HELLO must be called with the client already authenticated\r\n")
            .contains("redis://user:password@host")
    );
    assert!(
        plain().refused(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n").contains("WRONGPASS")
    );
    assert!(plain().refused(b"-ERR max number of clients reached\r\n").contains("max number of clients"));
    assert!(plain().refused(HELLO.replace("$10\r\nstandalone", "$8\r\nsentinel").as_bytes()).contains("sentinel"));
    assert!(plain().refused(HELLO.replace("$6\r\nmaster", "$7\r\nreplica").as_bytes()).contains("name the primary"));
    let cluster = HELLO.replace("$10\r\nstandalone", "$7\r\ncluster");
    assert!(history().refused(cluster.as_bytes()).contains("cluster"));
    let mut accepted = plain();
    accepted.hear(&cluster);
    accepted.expect_ready();
    let no_run = format!("{HELLO}$9\r\n# Server\n\r\n");
    assert!(history().refused(no_run.as_bytes()).contains("run_id"));
    let loading = format!("{HELLO}{INFO}-LOADING Redis is loading the dataset in memory\r\n");
    assert!(history().refused(loading.as_bytes()).contains("reading its data"));
    let unfit = format!("{HELLO}{INFO}$3\r\nabc\r\n");
    assert!(history().refused(unfit.as_bytes()).contains("SCRIPT LOAD"));
    for strange in ["+OK\r\n", "*0\r\n", "HTTP/1.1 400 Bad Request\r\n", "\u{15}\u{3}\u{1}\0\u{2}\u{2}\n"] {
        let why = plain().refused(strange.as_bytes());
        assert!(why.starts_with("the broker does not speak its protocol"), "{why}");
    }
}

#[test]
fn messages_that_a_server_refuses_for_good_end_the_connection() {
    for (error, why) in [
        ("-MOVED 3999 127.0.0.1:6381", "cluster"),
        ("-READONLY You can't write against a read only replica.", "replica"),
        ("-LOADING Redis is loading the dataset in memory", "reading its data"),
        ("-CLUSTERDOWN Hash slot not served", "cluster"),
        ("-NOAUTH Authentication required.", "password has changed"),
    ] {
        let mut dialogue = Dialogue::with_history();
        let ticket = dialogue.publish("t", b"x").expect("room");
        let result = dialogue.try_hear(format!("{error}\r\n").as_bytes());
        let shown = result.expect_err(error).to_string();
        assert!(shown.contains(why), "{shown}");
        assert!(matches!(dialogue.events.as_slice(), [Event::Refused { ticket: refused, .. }] if *refused == ticket));
    }
    let mut dialogue = Dialogue::with_history();
    dialogue.publish("t", b"x").expect("room");
    dialogue.hear("-MISCONF Redis is configured to save RDB snapshots\r\n");
    assert!(matches!(dialogue.events.as_slice(), [Event::Refused { reason, .. }] if reason.starts_with("MISCONF")));
}

#[test]
fn a_server_that_never_answers_is_given_only_so_much() {
    let mut dialogue = Dialogue::plain();
    let mut taken = 0;
    while taken < 100_000 && dialogue.publish("t", b"x").is_ok() {
        dialogue.out.clear();
        taken += 1;
    }
    assert_eq!(taken, 65_536);
    assert_eq!(dialogue.publish("t", b"x"), Err(PublishError::QueueFull));
    dialogue.hear(":1\r\n");
    dialogue.publish("t", b"x").expect("room for one");
    let mut dialogue = Dialogue::with_history();
    dialogue.subscribe("t", None);
    let first = dialogue.said();
    for _ in 0..1000 {
        dialogue.unsubscribe("t");
        dialogue.subscribe("t", None);
        dialogue.ping();
    }
    assert_eq!(dialogue.said(), command(&["PING"]), "after {first}");
}

#[test]
fn the_queue_to_the_server_is_bounded() {
    let mut dialogue = Dialogue::plain();
    let large = vec![b'x'; QUEUE_BYTES / 2];
    dialogue.publish("t", &large).expect("room");
    assert_eq!(dialogue.publish("t", &large), Err(PublishError::QueueFull));
    assert!(dialogue.out.len() <= QUEUE_BYTES);
    dialogue.out.clear();
    let Err(PublishError::TooLarge { most }) = dialogue.publish("t", &vec![b'x'; QUEUE_BYTES]) else {
        panic!("it has room")
    };
    dialogue.publish("t", &vec![b'x'; most]).expect("what was said to be the most");
    assert!(dialogue.out.len() <= QUEUE_BYTES);
    let mut dialogue = Dialogue::with_history();
    let Err(PublishError::TooLarge { most }) = dialogue.publish("t", &vec![b'x'; QUEUE_BYTES]) else {
        panic!("it has room")
    };
    dialogue.publish("t", &vec![b'x'; most]).expect("what was said to be the most");
    assert!(dialogue.out.len() <= QUEUE_BYTES);
}

#[test]
fn a_script_that_stays_unknown_ends_the_subscription() {
    let mut dialogue = Dialogue::with_history();
    dialogue.subscribe("t", None);
    dialogue.said();
    dialogue.hear(">3\r\n$9\r\nsubscribe\r\n$9\r\nsockeye:t\r\n:1\r\n-NOSCRIPT No matching script.\r\n");
    assert_eq!(dialogue.said().matches("SCRIPT").count(), 2);
    dialogue.hear(PUBLISH);
    dialogue.hear(LOAD);
    dialogue.hear("-NOSCRIPT No matching script.\r\n");
    assert_eq!(dialogue.said(), command(&["UNSUBSCRIBE", "sockeye:t"]));
    assert!(matches!(dialogue.events.as_slice(), [Event::Unsubscribed { .. }]), "{:?}", dialogue.events);
}

#[test]
fn answers_to_nothing_and_of_unknown_form_end_the_connection() {
    for answer in [":1\r\n", ">3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n", "-ERR unasked\r\n"] {
        Dialogue::plain().refused(answer.as_bytes());
    }
    for answer in [
        ":1\r\n",
        "*1\r\n:1\r\n",
        "*2\r\n$16\r\n00000000000000zz\r\n$1\r\n1\r\n",
        "*2\r\n$16\r\n00000000000000aa\r\n$1\r\n-\r\n",
    ] {
        let mut dialogue = Dialogue::with_history();
        dialogue.subscribe("t", None);
        dialogue.hear(">3\r\n$9\r\nsubscribe\r\n$9\r\nsockeye:t\r\n:1\r\n");
        dialogue.refused(answer.as_bytes());
    }
    // More messages than offsets.
    let mut dialogue = Dialogue::with_history();
    dialogue.subscribe("t", None);
    let start = ">3\r\n$9\r\nsubscribe\r\n$9\r\nsockeye:t\r\n:1\r\n*4\r\n$16\r\n00000000000000aa\r\n$1\r\n1\r\n";
    dialogue.refused(&raw(&format!("{start}$5\r\n\0~~~~\r\n$5\r\n\0~~~~\r\n")));
}

/// Takes commands apart. No argument of these tests has a dollar sign or ends a line.
fn commands(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut lines = text.split("\r\n");
    while let Some(line) = lines.next() {
        if line.starts_with('*') {
            commands.push(Vec::new());
        } else if line.starts_with('$') {
            let argument = lines.next().expect("an argument").to_owned();
            commands.last_mut().expect("a command").push(argument);
        }
    }
    commands
}

/// What a server says to a command.
fn answer(command: &[String], is_well: bool) -> Vec<u8> {
    let channel = command.get(1).map_or("", String::as_str);
    let push = |kind: &str| format!(">3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n:1\r\n", kind.len(), channel.len());
    let text = match (command[0].as_str(), is_well) {
        ("HELLO", true) => HELLO.to_owned(),
        ("INFO", true) => INFO.to_owned(),
        ("SCRIPT", true) => PUBLISH.to_owned(),
        ("SUBSCRIBE", true) => push("subscribe"),
        ("UNSUBSCRIBE", _) => push("unsubscribe"),
        ("PUBLISH", true) => ":1\r\n".to_owned(),
        ("EVALSHA", true) => "*2\r\n$16\r\n00000000000000aa\r\n$2\r\n99\r\n".to_owned(),
        ("PING", _) => "+PONG\r\n".to_owned(),
        ("EVALSHA", false) => "-NOSCRIPT x\r\n".to_owned(),
        _ => "-NOPERM x\r\n".to_owned(),
    };
    text.into_bytes()
}

#[derive(Clone, Debug)]
enum Act {
    /// What a server says to the oldest command: that all is well, or not.
    Answer(bool),
    Hear(Vec<u8>),
    Subscribe(u8),
    Unsubscribe(u8),
    Publish(u8),
    Ping,
    Reopen,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let answers = [
        HELLO.as_bytes().to_vec(),
        INFO.as_bytes().to_vec(),
        PUBLISH.as_bytes().to_vec(),
        LOAD.as_bytes().to_vec(),
        b"+OK\r\n".to_vec(),
        b"+PONG\r\n".to_vec(),
        b":1\r\n".to_vec(),
        b"_\r\n".to_vec(),
        b"*0\r\n".to_vec(),
        b"-NOSCRIPT x\r\n".to_vec(),
        b"-NOPERM x\r\n".to_vec(),
        b"-OOM x\r\n".to_vec(),
        b">3\r\n$9\r\nsubscribe\r\n$9\r\nsockeye:0\r\n:1\r\n".to_vec(),
        b">3\r\n$9\r\nsubscribe\r\n$9\r\nsockeye:1\r\n:1\r\n".to_vec(),
        b">3\r\n$11\r\nunsubscribe\r\n$9\r\nsockeye:0\r\n:1\r\n".to_vec(),
        b">1\r\n$10\r\ninvalidate\r\n".to_vec(),
        b">0\r\n".to_vec(),
        b">3\r\n$7\r\nmessage\r\n$9\r\nsockeye:0\r\n$2\r\nhi\r\n".to_vec(),
        b">2\r\n$7\r\nmessage\r\n$9\r\nsockeye:0\r\n".to_vec(),
        raw(&numbered(1).replace(":t", ":0")),
        raw(&numbered(2).replace(":t", ":0")),
        b"*2\r\n$16\r\n00000000000000aa\r\n$1\r\n1\r\n".to_vec(),
        b"*2\r\n$16\r\n00000000000000ab\r\n$1\r\n9\r\n".to_vec(),
        raw("*3\r\n$16\r\n00000000000000aa\r\n$1\r\n1\r\n$6\r\n\u{1}~~~~x\r\n"),
    ];
    let act = prop_oneof![
        12 => prop::bool::weighted(0.9).prop_map(Act::Answer),
        3 => prop::sample::select(answers.to_vec()).prop_map(Act::Hear),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Act::Hear),
        2 => (0..2_u8).prop_map(Act::Subscribe),
        1 => (0..2_u8).prop_map(Act::Unsubscribe),
        2 => (0..2_u8).prop_map(Act::Publish),
        1 => Just(Act::Ping),
        1 => Just(Act::Reopen),
    ];
    prop::collection::vec(act, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// No bytes of a server cause a panic, an answer to a message that was not sent, or a message of a topic that is not wanted.
    #[test]
    fn a_server_may_say_anything(keeps_history: bool, begun: bool, acts in acts()) {
        let mut dialogue = match (begun, keeps_history) {
            (true, true) => Dialogue::with_history(),
            (true, false) => Dialogue::plain(),
            (false, _) => Dialogue::new(Redis::new("redis://h").expect("a URL")),
        };
        let (mut is_ready, mut wanted, mut open) = (begun, [false; 2], Vec::new());
        let mut pending = VecDeque::new();
        for act in acts {
            let mut is_lost = false;
            pending.extend(commands(&dialogue.said_bytes()));
            match act {
                Act::Answer(is_well) => {
                    let bytes = pending.pop_front().map(|command| answer(&command, is_well)).unwrap_or_default();
                    is_lost = dialogue.try_hear(&bytes).is_err();
                }
                Act::Hear(bytes) => is_lost = dialogue.try_hear(&bytes).is_err(),
                Act::Subscribe(topic) if is_ready => {
                    dialogue.subscribe(&topic.to_string(), None);
                    wanted[usize::from(topic)] = true;
                }
                Act::Unsubscribe(topic) if is_ready => {
                    dialogue.unsubscribe(&topic.to_string());
                    wanted[usize::from(topic)] = false;
                }
                Act::Publish(topic) if is_ready => {
                    open.extend(dialogue.publish(&topic.to_string(), b"x").map(|ticket| (ticket, topic)));
                }
                Act::Ping => dialogue.ping(),
                Act::Reopen => is_lost = true,
                _ => {}
            }
            for event in dialogue.events() {
                match event {
                    Event::Ready { .. } => {
                        prop_assert!(!is_ready);
                        is_ready = true;
                    }
                    Event::Published { ticket, .. } | Event::Refused { ticket, .. } => {
                        // Those of a topic are answered in order.
                        let topic = |open: &(u64, u8)| open.1;
                        let at = open.iter().position(|open| open.0 == ticket);
                        let before = at.map(|at| open[..at].iter().map(topic).filter(|topic| *topic == open[at].1).count());
                        prop_assert_eq!(before, Some(0));
                        open.retain(|open| open.0 != ticket);
                    }
                    Event::Subscribed { topic, .. } | Event::Message { topic, .. } | Event::Missed { topic } => {
                        prop_assert!(wanted[topic.parse::<usize>().expect("a topic")]);
                    }
                    Event::Unsubscribed { topic, .. } => {
                        let wanted = &mut wanted[topic.parse::<usize>().expect("a topic")];
                        prop_assert!(*wanted);
                        *wanted = false;
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            if is_lost {
                dialogue.redis.lost();
                dialogue.out.clear();
                pending.clear();
                dialogue.call(Redis::opened);
                (is_ready, wanted) = (false, [false; 2]);
                open.clear();
            }
        }
    }
}
