//! With history in streams.

use std::thread;
use std::time::Duration;

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{BrokerError, Event, Loaded, Position, Stored};
use sockeye_redis::{History, Redis};

use crate::driver::Hub;
use crate::redis::Server;

fn hub(server: &Server) -> Hub {
    with(server, History::new(100))
}

fn with(server: &Server, history: History) -> Hub {
    Hub::connected(redis(history), server)
}

fn redis(history: History) -> Redis {
    Redis::new("redis://localhost").expect("a URL").history(history).expect("a history")
}

fn texts(messages: &[Stored]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
}

/// Offsets that count up from behind `base` to `offset`.
fn check(loaded: &Loaded) {
    let mut at = loaded.base.offset;
    for message in &loaded.messages {
        assert_eq!((message.previous, message.offset), (at, at + 1));
        at += 1;
    }
    assert_eq!(at, loaded.offset);
}

#[test]
fn all_servers_see_the_same_messages_with_the_same_numbers() {
    const EACH: u64 = 500;
    let server = Server::start();
    let mut hubs = [hub(&server), hub(&server), hub(&server)];
    let mut epochs = Vec::new();
    for hub in &mut hubs {
        let loaded = hub.loaded("t", None);
        assert_eq!((loaded.base.offset, loaded.offset, loaded.messages.len(), loaded.is_complete), (0, 0, 0, true));
        epochs.push(loaded.base.epoch);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
    for number in 0..EACH {
        for (sender, hub) in hubs.iter_mut().enumerate() {
            hub.publish("t", &format!("{sender} {number}"));
        }
    }
    let mut seen = Vec::new();
    let mut all: [(Vec<Stored>, Vec<Position>); 3] = Default::default();
    // Acknowledgements first: what waits for them at one hub is a message for all.
    for is_enough in [
        |_: &[Stored], positions: &[Position]| positions.len() == EACH as usize,
        |messages: &[Stored], _: &[Position]| messages.len() == 3 * EACH as usize,
    ] {
        for (hub, (messages, positions)) in hubs.iter_mut().zip(&mut all) {
            while !is_enough(messages, positions) {
                match hub.event("messages and acknowledgements") {
                    Event::Message { message, .. } => messages.push(message),
                    Event::Published { position: Some(position), .. } => positions.push(position),
                    event => panic!("{event:?}"),
                }
            }
        }
    }
    for (messages, positions) in all {
        for (index, message) in messages.iter().enumerate() {
            assert_eq!((message.previous, message.offset), (index as u64, index as u64 + 1));
        }
        assert!(positions.is_sorted_by_key(|position| position.offset));
        assert!(positions.iter().all(|position| position.epoch == epochs[0]));
        seen.push(texts(&messages));
    }
    assert!(seen.iter().all(|texts| *texts == seen[0]));
}

#[test]
fn what_is_kept_is_loaded_with_kinds_and_keys() {
    let server = Server::start();
    let (mut one, mut two) = (with(&server, History::new(5)), with(&server, History::new(5)));
    for number in 1..=8 {
        let position = one.published("t", &number.to_string()).expect("a position");
        assert_eq!(position.offset, number);
    }
    let loaded = two.loaded("t", None);
    check(&loaded);
    assert_eq!((loaded.base.offset, loaded.offset, loaded.is_complete), (3, 8, true));
    assert_eq!(texts(&loaded.messages), ["4", "5", "6", "7", "8"]);
    one.try_publish("t", MessageKind::Binary, Some(b"\0key"), b"\xff\r\n").expect("room");
    let (_, message) = two.message();
    assert_eq!((message.offset, message.previous, message.kind), (9, 8, MessageKind::Binary));
    two.unsubscribe("t");
    let loaded = two.loaded("t", None);
    assert_eq!(loaded.messages.last(), Some(&message));
    assert_eq!((message.key.as_deref(), message.payload.as_slice()), (Some(&b"\0key"[..]), &b"\xff\r\n"[..]));
    let epoch = loaded.base.epoch;
    for (after, is_complete) in [
        (Position { epoch, offset: 3 }, false),
        (Position { epoch, offset: 4 }, true),
        (Position { epoch, offset: 9 }, true),
        (Position { epoch, offset: 10 }, false),
        (Position { epoch: epoch ^ 1, offset: 9 }, false),
        (Position { epoch, offset: 0 }, false),
    ] {
        // Subscribed already: it is loaded again.
        let loaded = two.loaded("t", Some(after));
        check(&loaded);
        assert_eq!((loaded.is_complete, loaded.base.offset), (is_complete, 4), "{after:?}");
    }
}

#[test]
fn nothing_is_lost_or_repeated_between_what_is_loaded_and_what_follows() {
    const ROUNDS: u64 = 60;
    const MANY: u64 = 20_000;
    let server = Server::start();
    let mut publisher = hub(&server);
    let mut reader = hub(&server);
    let flood = thread::spawn(move || {
        for number in 1..=MANY {
            publisher.publish("t", &number.to_string());
            if number % 100 == 0 {
                // Not too far ahead of the answers.
                for _ in 0..100 {
                    publisher.event("Published");
                }
            }
        }
    });
    let mut position = reader.loaded("t", None);
    for round in 0..ROUNDS {
        check(&position);
        let (epoch, mut at) = (position.base.epoch, position.offset);
        for _ in 0..round {
            if at == MANY {
                break;
            }
            let (_, message) = reader.message();
            assert_eq!((message.previous, message.offset), (at, at + 1));
            assert_eq!(texts(&[message]), [(at + 1).to_string()]);
            at += 1;
        }
        reader.unsubscribe("t");
        let asked = at;
        reader.subscribe("t", Some(Position { epoch, offset: asked }));
        position = loop {
            match reader.event("Subscribed") {
                Event::Subscribed { history: Some(loaded), .. } => break loaded,
                // Of the subscription before; it was on its way.
                Event::Message { message, .. } => at = message.offset,
                event => panic!("{event:?}"),
            }
        };
        assert!(position.offset >= at);
        assert_eq!(position.is_complete, position.base.offset <= asked);
    }
    flood.join().expect("a publisher");
}

#[test]
fn a_restart_without_what_was_kept_is_another_epoch() {
    let mut server = Server::start();
    let (mut one, mut two) = (hub(&server), hub(&server));
    let first = two.loaded("t", None).base.epoch;
    one.published("t", "1");
    one.published("t", "2");
    server.kill();
    one.expect_lost();
    two.expect_lost();
    server.restart();
    one.reconnect(&server);
    two.reconnect(&server);
    let loaded = two.loaded("t", Some(Position { epoch: first, offset: 2 }));
    assert_ne!(loaded.base.epoch, first);
    assert_eq!((loaded.base.offset, loaded.offset, loaded.messages.len(), loaded.is_complete), (0, 0, 0, false));
    assert_eq!(one.published("t", "3"), Some(Position { epoch: loaded.base.epoch, offset: 1 }));
    assert_eq!(two.text("t"), "3");
}

#[test]
fn a_restart_with_what_was_kept_is_another_epoch_that_goes_on() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (mut one, mut two) = (hub(&server), hub(&server));
    let first = two.loaded("t", None).base.epoch;
    one.published("t", "1");
    one.published("t", "2");
    server.kill();
    one.expect_lost();
    two.expect_lost();
    server.restart();
    one.reconnect(&server);
    two.reconnect(&server);
    // By a message this time, before anyone subscribes.
    let position = one.published("t", "3").expect("a position");
    assert_ne!(position.epoch, first);
    assert_eq!(position.offset, 3);
    let loaded = two.loaded("t", Some(Position { epoch: first, offset: 2 }));
    check(&loaded);
    assert_eq!((loaded.base.epoch, loaded.is_complete), (position.epoch, false));
    assert_eq!(texts(&loaded.messages), ["1", "2", "3"]);
    // Another server of the same start agrees.
    assert_eq!(hub(&server).loaded("t", Some(position)), Loaded { is_complete: true, ..loaded });
}

#[test]
fn a_history_that_is_deleted_is_reported() {
    let server = Server::start();
    let (mut one, mut two) = (hub(&server), hub(&server));
    let first = two.loaded("t", None).base.epoch;
    one.published("t", "1");
    assert_eq!(two.text("t"), "1");
    assert_eq!(server.command(&[b"FLUSHALL"]), "+OK");
    let position = one.published("t", "2").expect("a position");
    let loaded = two.reloaded("t");
    check(&loaded);
    assert_ne!(position.epoch, first);
    assert_eq!((loaded.base.epoch, loaded.is_complete), (position.epoch, false));
    assert_eq!(texts(&loaded.messages), ["2"]);
    one.published("t", "3");
    assert_eq!(two.text("t"), "3");
    // Only what counts, or only the messages.
    assert_eq!(server.command(&[b"DEL", b"sockeye:{t:t}meta"]), ":1");
    assert_eq!(one.published("t", "4").expect("a position").offset, 1);
    assert_eq!(texts(&two.reloaded("t").messages), ["4"]);
    assert_eq!(server.command(&[b"DEL", b"sockeye:{t:t}log"]), ":1");
    assert_eq!(one.published("t", "5").expect("a position").offset, 2);
    assert_eq!(two.text("t"), "5");
    let loaded = two.loaded("t", None);
    assert_eq!((loaded.base.offset, texts(&loaded.messages)), (1, vec!["5".to_owned()]));
}

#[test]
fn scripts_that_are_forgotten_are_sent_again() {
    let server = Server::start();
    let mut hub = hub(&server);
    hub.loaded("t", None);
    assert_eq!(server.command(&[b"SCRIPT", b"FLUSH"]), "+OK");
    let sent = hub.publish("t", "lost");
    let event = hub.event("Refused");
    assert!(
        matches!(&event, Event::Refused { ticket, reason } if *ticket == sent && reason.starts_with("NOSCRIPT")),
        "{event:?}"
    );
    assert_eq!(hub.published("u", "kept").expect("a position").offset, 1);
    assert_eq!(server.command(&[b"SCRIPT", b"FLUSH"]), "+OK");
    assert_eq!(texts(&hub.loaded("u", None).messages), ["kept"]);
    assert_eq!(hub.published("t", "kept").expect("a position").offset, 1);
    assert_eq!(hub.text("t"), "kept");
}

#[test]
fn messages_that_are_too_old_are_neither_loaded_nor_kept() {
    let server = Server::start();
    let mut hub = with(&server, History::new(100).age(Duration::from_secs(3600)));
    let first = hub.published("t", "1").expect("a position");
    let (meta, log) = (&b"sockeye:{t:t}meta"[..], &b"sockeye:{t:t}log"[..]);
    // As if this one had been published long ago.
    assert_eq!(server.command(&[b"HSET", meta, b"offset", b"2"]), ":0");
    assert_eq!(server.command(&[b"XADD", log, b"2-0", b"t", b"1 0", b"m", b"\x01\xff\xff\xff\xffold"]), "2-0");
    assert_eq!(server.command(&[b"XDEL", log, b"1-0"]), ":1");
    assert_eq!(hub.published("t", "3").expect("a position").offset, 3);
    assert_eq!(server.command(&[b"XLEN", log]), ":1");
    let loaded = hub.loaded("t", Some(first));
    check(&loaded);
    assert_eq!((loaded.base.offset, loaded.is_complete, texts(&loaded.messages)), (2, false, vec!["3".to_owned()]));
    assert_eq!(server.command(&[b"HSET", meta, b"offset", b"4"]), ":0");
    assert_eq!(server.command(&[b"XADD", log, b"4-0", b"t", b"1 0", b"m", b"\x01\xff\xff\xff\xffold"]), "4-0");
    let loaded = hub.loaded("t", None);
    assert_eq!((loaded.base.offset, loaded.offset, loaded.messages.len()), (4, 4, 0));
    let ttl = |key| server.command(&[b"PTTL", key]).trim_start_matches(':').parse::<i64>().expect("a number");
    assert!((3_500_000..=3_600_000).contains(&ttl(log)), "{}", ttl(log));
    assert!((89_900_000..=90_000_000).contains(&ttl(meta)), "{}", ttl(meta));
    let mut other = with(&server, History::new(100));
    other.loaded("t", None);
    assert_eq!((ttl(log), ttl(meta)), (-1, -1));
    hub.published("t", "5");
    assert!(ttl(log) > 0 && ttl(meta) > 0);
    other.published("t", "6");
    assert_eq!((ttl(log), ttl(meta)), (-1, -1));
    // Only what comes first is looked at; what is behind a younger message is left, and not loaded.
    assert_eq!(texts(&with(&server, History::new(100)).loaded("t", None).messages), ["3", "old", "5", "6"]);
    let aged = History::new(100).age(Duration::from_secs(3600));
    assert_eq!(texts(&with(&server, aged).loaded("t", None).messages), ["5", "6"]);
}

#[test]
fn of_messages_that_are_too_old_one_more_is_deleted_than_comes_in() {
    let server = Server::start();
    let mut hub = with(&server, History::new(100).age(Duration::from_secs(3600)));
    hub.published("t", "1");
    let (meta, log) = (&b"sockeye:{t:t}meta"[..], &b"sockeye:{t:t}log"[..]);
    let old = |id: &[u8]| server.command(&[b"XADD", log, id, b"t", b"1 0", b"m", b"\x01\xff\xff\xff\xffold"]);
    let kept = || server.command(&[b"XLEN", log]);
    // Nothing is too old behind a younger one. It is not looked at, since it may be long.
    assert_eq!(server.command(&[b"HSET", meta, b"offset", b"4"]), ":0");
    assert_eq!([old(b"2-0"), old(b"3-0"), old(b"4-0")], ["2-0", "3-0", "4-0"]);
    hub.published("t", "5");
    assert_eq!(kept(), ":5");
    assert_eq!(server.command(&[b"XDEL", log, b"1-0"]), ":1");
    for (text, expected) in [("6", ":3"), ("7", ":3"), ("8", ":4")] {
        hub.published("t", text);
        assert_eq!(kept(), expected, "{text}");
    }
}

#[test]
fn loading_is_limited_in_bytes() {
    let server = Server::start();
    let mut hub = with(&server, History::new(1000).load_bytes(4096));
    for number in 0..100 {
        hub.published("t", &format!("{number:0100}"));
    }
    let loaded = hub.loaded("t", None);
    check(&loaded);
    assert_eq!((loaded.offset, loaded.messages.len()), (100, 4096 / (5 + 100 + 32)));
    let large = vec![b'x'; 16 * 1024 * 1024];
    let mut hub = with(&server, History::new(1000).load_bytes(17 * 1024 * 1024));
    for offset in 1..=3 {
        hub.try_publish("large", MessageKind::Binary, None, &large).expect("room");
        let event = hub.event("Published");
        assert!(matches!(event, Event::Published { position: Some(at), .. } if at.offset == offset), "{event:?}");
    }
    let loaded = hub.loaded("large", None);
    check(&loaded);
    assert!(loaded.messages.len() == 1 && loaded.messages[0].payload == large);
    let loaded = with(&server, History::new(1000)).loaded("large", None);
    assert_eq!((loaded.base.offset, loaded.offset, loaded.messages.len()), (3, 3, 0));
}

/// Redis disconnects a subscriber for which 32 MiB wait, and would do so each time that it comes back.
#[test]
fn many_long_histories_are_loaded_one_after_another() {
    const TOPICS: usize = 40;
    let server = Server::start();
    let mut writer = hub(&server);
    let large = vec![b'x'; 1024 * 1024];
    for topic in 0..TOPICS {
        for _ in 0..3 {
            writer.try_publish(&topic.to_string(), MessageKind::Binary, None, &large).expect("room");
            writer.event("Published");
        }
    }
    let mut reader = hub(&server);
    // Without reading: what the server says waits there.
    for topic in 0..TOPICS {
        reader.subscribe(&topic.to_string(), None);
    }
    reader.unsubscribe("20");
    reader.unsubscribe("30");
    reader.subscribe("30", None);
    writer.published("39", "before it is loaded");
    for topic in (0..TOPICS).filter(|topic| *topic != 20) {
        let loaded = reader.reloaded(&topic.to_string());
        check(&loaded);
        assert!(loaded.messages.iter().filter(|message| message.payload == large).count() == 3);
    }
    writer.published("20", "to nobody");
    writer.published("30", "text");
    assert_eq!(reader.text("30"), "text");
    assert_eq!(texts(&reader.loaded("20", None).messages)[3..], ["to nobody"]);
}

/// Each with its number and so many bytes, all published at once.
fn flood(hub: &mut Hub, topic: &str, count: u64, bytes: usize) {
    for number in 1..=count {
        hub.publish(topic, &format!("{number:0bytes$}"));
    }
    for number in 1..=count {
        let event = hub.event("Published");
        assert!(matches!(event, Event::Published { position: Some(at), .. } if at.offset == number), "{event:?}");
    }
}

#[test]
fn of_messages_that_were_published_together_those_are_loaded_that_are_wanted() {
    let server = Server::start();
    let length = || server.command(&[b"XLEN", b"sockeye:{t:t}log"]);
    flood(&mut with(&server, History::new(1000)), "t", 302, 100);
    assert_eq!(length(), ":4", "two alone, as many as fit into a batch, and the rest");
    let entry = 5 + 100 + 4 + 32;
    let loads = [
        // The last batch, a part of it, one of it, and none.
        (History::new(44), 44),
        (History::new(7), 7),
        (History::new(1), 1),
        (History::new(1000).load_bytes(10 * entry + 5), 10),
        (History::new(1000).load_bytes(1024), 1024 / entry),
        // All of the last batch, and a byte less than that.
        (History::new(1000).load_bytes(44 * entry + 5), 44),
        (History::new(1000).load_bytes(44 * entry + 4), 43),
        // More than the last batch, and all.
        (History::new(45), 45),
        (History::new(300), 300),
        (History::new(301), 301),
        (History::new(1000), 302),
    ];
    for (history, expected) in loads {
        let loaded = with(&server, history).loaded("t", None);
        check(&loaded);
        assert_eq!((loaded.offset, loaded.messages.len()), (302, expected), "{history:?}");
        let texts = texts(&loaded.messages);
        assert_eq!(texts.last(), Some(&format!("{:0100}", 302)));
    }
    // A broken one ends what is known.
    let empty = b"\0\0\0\x05\0\xff\xff\xff\xff".repeat(257);
    let too_many = [&b"\x02\0\0\x01\x01"[..], &empty].concat();
    let broken: [&[u8]; 6] =
        [b"", b"\x02", b"\x02\0\0\0\0", b"\x02\0\0\0\x02\0\0", b"\x02\xff\xff\xff\xff\0\0\0\x01x", &too_many];
    for (at, body) in broken.iter().enumerate() {
        let offset = 303 + at;
        let (meta, log) = (&b"sockeye:{t:t}meta"[..], &b"sockeye:{t:t}log"[..]);
        let (number, id) = (offset.to_string(), format!("{offset}-0"));
        assert_eq!(server.command(&[b"HSET", meta, b"offset", number.as_bytes()]), ":0");
        assert_eq!(server.command(&[b"XADD", log, id.as_bytes(), b"t", b"1 0", b"m", body]), id);
        for history in [History::new(1000), History::new(1)] {
            let loaded = with(&server, history).loaded("t", None);
            check(&loaded);
            assert_eq!((loaded.offset, loaded.messages.len()), (offset as u64, 0), "{}", body.escape_ascii());
        }
    }
}

#[test]
fn old_entries_are_dropped_by_the_offsets_of_their_messages() {
    let server = Server::start();
    let mut hub = with(&server, History::new(300));
    flood(&mut hub, "t", 10_000, 100);
    // Batches of 256 take a node of the stream each, which is dropped when the last of its messages is not wanted.
    let length: u64 =
        server.command(&[b"XLEN", b"sockeye:{t:t}log"]).trim_start_matches(':').parse().expect("a number");
    assert!((2..=4).contains(&length), "{length}");
    let loaded = hub.loaded("t", None);
    check(&loaded);
    assert_eq!((loaded.base.offset, loaded.messages.len()), (9_700, 300));
}

#[test]
fn hubs_of_an_old_server_and_a_new_one_understand_each_other() {
    let server = Server::start();
    let mut old = Hub::connected_as_old(redis(History::new(100)), &server);
    let mut new = with(&server, History::new(100));
    new.loaded("t", None);
    flood(&mut old, "t", 500, 10);
    for number in 1..=500 {
        assert_eq!(new.text("t"), format!("{number:010}"));
    }
    let length: u64 =
        server.command(&[b"XLEN", b"sockeye:{t:t}log"]).trim_start_matches(':').parse().expect("a number");
    assert!((100..=200).contains(&length), "each has an entry: {length}");
    let tickets: Vec<u64> = (0..500).map(|number| new.publish("t", &number.to_string())).collect();
    let (mut published, mut seen) = (Vec::new(), Vec::new());
    while published.len() < tickets.len() || seen.len() < tickets.len() {
        match new.event("messages and acknowledgements") {
            Event::Published { ticket, .. } => published.push(ticket),
            Event::Message { message, .. } => seen.push(message),
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(published, tickets);
    let loaded = old.loaded("t", None);
    check(&loaded);
    assert_eq!(loaded.messages, seen[400..]);
}

#[test]
fn a_full_history_is_loaded_whole() {
    const MANY: u64 = 20_000;
    let server = Server::start();
    let mut hub = with(&server, History::new(15_000));
    for number in 1..=MANY {
        hub.publish("t", &number.to_string());
    }
    for number in 1..=MANY {
        let event = hub.event("Published");
        assert!(matches!(event, Event::Published { position: Some(at), .. } if at.offset == number), "{event:?}");
    }
    let loaded = hub.loaded("t", None);
    check(&loaded);
    assert_eq!((loaded.base.offset, loaded.messages.len()), (5_000, 15_000));
    assert_eq!(texts(&loaded.messages[..1]), ["5001"]);
}

#[test]
fn a_message_without_memory_for_it_leaves_no_trace() {
    let server = Server::start();
    let mut hub = hub(&server);
    hub.loaded("t", None);
    hub.published("t", "1");
    assert_eq!(hub.text("t"), "1");
    assert_eq!(server.command(&[b"CONFIG", b"SET", b"maxmemory", b"1"]), "+OK");
    let sent = hub.publish("t", "2");
    let event = hub.event("Refused");
    assert!(
        matches!(&event, Event::Refused { ticket, reason } if *ticket == sent && reason.starts_with("OOM")),
        "{event:?}"
    );
    hub.subscribe("new", None);
    let event = hub.event("Unsubscribed");
    assert!(
        matches!(&event, Event::Unsubscribed { topic, reason } if topic == "new" && reason.starts_with("OOM")),
        "{event:?}"
    );
    assert_eq!(server.command(&[b"CONFIG", b"SET", b"maxmemory", b"0"]), "+OK");
    assert_eq!(hub.published("t", "3").expect("a position").offset, 2);
    assert_eq!(hub.text("t"), "3");
    assert_eq!(hub.loaded("new", None).offset, 0);
}

#[test]
fn a_message_that_may_not_be_sent_is_not_kept() {
    let server = Server::start();
    let rule = b"ACL SETUSER chat on >secret ~* resetchannels &other +@all";
    let words: Vec<&[u8]> = rule.split(|byte| *byte == b' ').collect();
    assert_eq!(server.command(&words), "+OK");
    let redis =
        Redis::new("redis://chat:secret@localhost").expect("a URL").history(History::new(9)).expect("a history");
    let (mut one, mut two) = (Hub::connected(redis, &server), hub(&server));
    two.published("t", "1");
    two.loaded("t", None);
    let sent = one.publish("t", "2");
    let event = one.event("Refused");
    assert!(matches!(&event, Event::Refused { ticket, .. } if *ticket == sent), "{event:?}");
    two.published("t", "3");
    let (_, message) = two.message();
    // The offset is gone, and that is a hole.
    assert_eq!((message.previous, message.offset), (2, 3));
    let loaded = two.loaded("t", None);
    check(&loaded);
    assert_eq!((loaded.base.offset, texts(&loaded.messages)), (2, vec!["3".to_owned()]));
}

#[test]
fn what_others_put_there_is_not_taken_for_messages() {
    let server = Server::start();
    let mut hub = hub(&server);
    hub.published("t", "1");
    hub.loaded("t", None);
    let foreign: [&[u8]; 4] = [b"plain", b"\xffSK\x01 a plain message of another server", b"\xffSK\x02", b""];
    for payload in foreign {
        assert_eq!(server.command(&[b"PUBLISH", b"sockeye:t", payload]), ":1");
    }
    hub.published("t", "2");
    assert_eq!(hub.text("t"), "2");
    let log = b"sockeye:{t:t}log";
    assert_eq!(server.command(&[b"HSET", b"sockeye:{t:t}meta", b"offset", b"3"]), ":0");
    assert_eq!(server.command(&[b"XADD", log, b"3-0", b"x", b"y"]), "3-0");
    hub.published("t", "4");
    let (_, message) = hub.message();
    assert_eq!((message.previous, message.offset), (3, 4));
    let loaded = hub.loaded("t", None);
    assert_eq!((loaded.base.offset, texts(&loaded.messages)), (3, vec!["4".to_owned()]));
    // A key of another kind.
    assert_eq!(server.command(&[b"SET", b"sockeye:{t:u}log", b"x"]), "+OK");
    assert_eq!(hub.published("u", "x").expect("a position").offset, 1);
    assert_eq!(server.command(&[b"SET", b"sockeye:{t:v}meta", b"x"]), "+OK");
    hub.publish("v", "x");
    let event = hub.event("Refused");
    assert!(matches!(&event, Event::Refused { reason, .. } if reason.contains("WRONGTYPE")), "{event:?}");
    hub.subscribe("v", None);
    let event = hub.event("Unsubscribed");
    assert!(matches!(&event, Event::Unsubscribed { reason, .. } if reason.contains("WRONGTYPE")), "{event:?}");
}

#[test]
fn a_server_that_becomes_a_replica_is_left() {
    let server = Server::start();
    let mut hub = hub(&server);
    hub.published("t", "1");
    assert_eq!(server.command(&[b"REPLICAOF", b"127.0.0.1", b"1"]), "+OK");
    hub.publish("t", "2");
    let error = hub.error("READONLY");
    assert!(matches!(&error, BrokerError::Refused(why) if why.contains("replica")), "{error}");
    assert!(matches!(hub.event("Refused"), Event::Refused { ticket: 2, .. }));
}
