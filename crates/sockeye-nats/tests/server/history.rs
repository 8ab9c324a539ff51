//! JetStream: what the stream keeps, and what a hub can be told of it.

use std::thread;
use std::time::Duration;

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{Backplane, BrokerError, Event, Loaded, Position};
use sockeye_nats::{History, Nats};

use crate::driver::{Client, Hub, text_of};
use crate::server::{JETSTREAM, Server};

fn nats(messages: u32) -> Nats {
    Nats::new("nats://127.0.0.1").unwrap().history(History::new(messages)).unwrap()
}

fn texts(loaded: &Loaded) -> Vec<String> {
    loaded.messages.iter().map(text_of).collect()
}

/// What is promised of every history: offsets grow from its base, and each message names the one before.
fn loaded(hub: &mut Hub, topic: &str, after: Option<Position>) -> Loaded {
    let loaded = hub.subscribe_after(topic, after).expect("a history");
    let mut last = loaded.base.offset;
    for message in &loaded.messages {
        assert_eq!(message.previous, last);
        assert!(message.offset > last);
        last = message.offset;
    }
    assert!(loaded.messages.is_empty() || loaded.offset == last);
    assert!(loaded.offset >= last);
    loaded
}

#[test]
fn three_hubs_get_everything_from_the_stream_in_one_order() {
    let server = Server::with_jetstream();
    let mut hubs = [0; 3].map(|_| Hub::connect(nats(1000), server.address));
    for hub in &mut hubs {
        let loaded = loaded(hub, "news", None);
        assert_eq!((loaded.base.offset, loaded.offset, loaded.is_complete, texts(&loaded)), (0, 0, true, vec![]));
    }
    let mut tickets = vec![Vec::new(); 3];
    for round in 0..50 {
        for (number, hub) in hubs.iter_mut().enumerate() {
            tickets[number].push(hub.text("news", &format!("{number} {round}")));
            hub.text("other", "x");
        }
    }
    let mut orders = Vec::new();
    for (hub, tickets) in hubs.iter_mut().zip(tickets) {
        let positions: Vec<Position> =
            tickets.into_iter().map(|ticket| hub.published(ticket).expect("a position")).collect();
        let mut last = 0;
        let mut order = Vec::new();
        for _ in 0..150 {
            let message = hub.message("news");
            assert_eq!(message.previous, last);
            last = message.offset;
            order.push((message.offset, text_of(&message)));
        }
        for (round, position) in positions.iter().enumerate() {
            assert!(
                order.iter().any(|(offset, text)| *offset == position.offset && text.ends_with(&format!(" {round}")))
            );
        }
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0], orders[2]);
    // One that comes later reads the same.
    let mut late = Hub::connect(nats(1000), server.address);
    let loaded = loaded(&mut late, "news", None);
    assert_eq!(loaded.base.offset, 0);
    let read: Vec<_> = loaded.messages.iter().map(|message| (message.offset, text_of(message))).collect();
    assert_eq!(read, orders[0]);
}

#[test]
fn what_many_publish_at_once_arrives_in_order() {
    const HUBS: usize = 4;
    const EACH: usize = 2000;
    let server = Server::with_jetstream();
    let mut reader = Hub::connect(nats(10_000), server.address);
    loaded(&mut reader, "t", None);
    let address = server.address;
    let threads: Vec<_> = (0..HUBS)
        .map(|number| {
            thread::spawn(move || {
                let mut hub = Hub::connect(nats(10_000), address);
                let tickets: Vec<u64> = (0..EACH).map(|round| hub.text("t", &format!("{number} {round}"))).collect();
                for ticket in tickets {
                    hub.published(ticket);
                }
            })
        })
        .collect();
    let (mut last, mut next) = (0, [0; HUBS]);
    for _ in 0..HUBS * EACH {
        let message = reader.message("t");
        assert_eq!(message.previous, last);
        last = message.offset;
        let text = text_of(&message);
        let (number, round) = text.split_once(' ').unwrap();
        let (number, round): (usize, usize) = (number.parse().unwrap(), round.parse().unwrap());
        assert_eq!(round, next[number], "each hub's in its order");
        next[number] += 1;
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(reader.events, []);
}

#[test]
fn kinds_keys_and_odd_names_are_kept() {
    let server = Server::with_jetstream();
    let mut hub = Hub::connect(nats(10), server.address);
    for topic in ["*", ">", "a.b", "a..b", "", "a b", "a\r\nPUB x 1\r\n", "\0", "é🐟", "in", "out", &"é".repeat(600)]
    {
        let ticket = hub.send(topic, MessageKind::Binary, Some(b"k\r\n"), topic.as_bytes()).unwrap();
        hub.published(ticket);
        hub.publish(topic, topic);
        let loaded = loaded(&mut hub, topic, None);
        assert_eq!(texts(&loaded), [topic, topic]);
        assert_eq!(
            (loaded.messages[0].kind, loaded.messages[0].key.as_deref()),
            (MessageKind::Binary, Some(&b"k\r\n"[..]))
        );
        assert_eq!((loaded.messages[1].kind, loaded.messages[1].key.as_deref()), (MessageKind::Text, None));
        hub.publish(topic, "live");
        assert_eq!(hub.texts(topic, 1), ["live"]);
    }
    hub.settle();
    assert_eq!(hub.events, []);
}

#[test]
fn only_the_newest_messages_are_kept_and_what_is_missing_is_told() {
    let server = Server::with_jetstream();
    let mut hub = Hub::connect(nats(3), server.address);
    let positions: Vec<Position> = (0..5).map(|number| hub.publish("t", &number.to_string()).unwrap()).collect();
    let zero = Position { epoch: positions[0].epoch, offset: 0 };
    for (after, is_complete) in [
        (None, true),
        (Some(zero), false),
        (Some(positions[0]), false),
        (Some(positions[1]), true),
        (Some(positions[4]), true),
        (Some(Position { epoch: zero.epoch + 1, ..positions[4] }), false),
    ] {
        let loaded = loaded(&mut hub, "t", after);
        assert_eq!((texts(&loaded), loaded.is_complete), (vec!["2".into(), "3".into(), "4".into()], is_complete));
        assert_eq!((loaded.offset, loaded.base.epoch), (positions[4].offset, zero.epoch));
    }
    // A topic that has had few messages is known from its beginning.
    hub.publish("few", "1");
    let loaded = loaded(&mut hub, "few", Some(zero));
    assert_eq!((loaded.base.offset, loaded.is_complete, texts(&loaded)), (0, true, vec!["1".to_owned()]));
}

#[test]
fn long_histories_come_in_batches() {
    let server = Server::with_jetstream();
    let mut hub = Hub::connect(nats(2000), server.address);
    let tickets: Vec<u64> = (0..2500).map(|number| hub.text("t", &number.to_string())).collect();
    for ticket in tickets {
        hub.published(ticket);
    }
    let loaded = loaded(&mut hub, "t", None);
    assert_eq!(texts(&loaded), (500..2500).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_long_history_is_loaded_while_the_topic_is_busy() {
    const KEPT: u32 = 5000;
    const END: u32 = 20_000;
    let server = Server::with_jetstream();
    let mut publisher = Hub::connect(nats(KEPT), server.address);
    let publish = |publisher: &mut Hub, numbers: std::ops::Range<u32>| {
        let tickets: Vec<u64> = numbers.map(|number| publisher.text("t", &number.to_string())).collect();
        for ticket in tickets {
            publisher.published(ticket);
        }
    };
    // From here on each message drops one.
    publish(&mut publisher, 0..KEPT);
    thread::scope(|scope| {
        scope.spawn(|| (KEPT..END).step_by(500).for_each(|at| publish(&mut publisher, at..at + 500)));
        let mut last = 0;
        while last + 1 < END {
            let mut reader = Hub::connect(nats(KEPT), server.address);
            let loaded = loaded(&mut reader, "t", None);
            let numbers: Vec<u32> = texts(&loaded).iter().map(|text| text.parse().unwrap()).collect();
            // However fast it is dropped: what is left has no hole.
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a hole that is not told");
            // Nothing is left if as many followed meanwhile as are kept.
            last = numbers.last().copied().unwrap_or_else(|| text_of(&reader.message("t")).parse().unwrap());
            for _ in 0..200.min(END - 1 - last) {
                last += 1;
                assert_eq!(text_of(&reader.message("t")), last.to_string());
            }
        }
    });
}

#[test]
fn histories_of_many_bytes_are_cut_at_their_beginning() {
    let server = Server::with_jetstream();
    let mut hub = Hub::connect(nats(100), server.address);
    let text = "x".repeat(1_000_000);
    for _ in 0..24 {
        hub.publish("t", &text);
    }
    let loaded = loaded(&mut hub, "t", None);
    assert_eq!(loaded.messages.len(), 16);
    assert_eq!(loaded.base.offset, 8);
    hub.publish("t", "live");
    assert_eq!(hub.message("t").previous, loaded.offset);
}

#[test]
fn many_topics_are_loaded_while_others_publish() {
    let server = Server::with_jetstream();
    let (mut a, mut b) = (Hub::connect(nats(5), server.address), Hub::connect(nats(5), server.address));
    let names: Vec<String> = (0..60).map(|number| format!("topic {number}")).collect();
    for round in 0..4 {
        for name in &names {
            a.text(name, &round.to_string());
        }
    }
    for name in &names {
        b.act(|nats, io| nats.subscribe(name, None, io)).unwrap();
    }
    for round in 4..40 {
        for name in &names {
            a.text(name, &round.to_string());
        }
    }
    for name in &names {
        let loaded = b.wait("a history", |event| match event {
            Event::Subscribed { topic, history } if topic == name => history.clone(),
            _ => None,
        });
        let (mut last, mut text) = (loaded.offset, loaded.messages.last().map(text_of));
        while text.as_deref() != Some("39") {
            let message = b.message(name);
            assert_eq!(message.previous, last, "{name}");
            if let Some(text) = &text {
                assert_eq!(text_of(&message).parse::<u32>().unwrap(), text.parse::<u32>().unwrap() + 1, "{name}");
            }
            (last, text) = (message.offset, Some(text_of(&message)));
        }
    }
}

#[test]
fn the_latest_value_of_a_busy_topic_is_followed() {
    let server = Server::with_jetstream();
    let (mut a, mut b) = (Hub::connect(nats(1), server.address), Hub::connect(nats(1), server.address));
    for round in 0..20 {
        for number in 0..50 {
            a.text("t", &format!("{}", round * 50 + number));
        }
        let loaded = loaded(&mut b, "t", None);
        let ticket = a.text("t", "end");
        let mut last = loaded.offset;
        loop {
            let message = b.message("t");
            assert_eq!(message.previous, last);
            last = message.offset;
            if text_of(&message) == "end" {
                break;
            }
        }
        a.published(ticket);
    }
}

#[test]
fn a_broker_that_was_killed_keeps_what_it_has_confirmed() {
    let server = Server::with_jetstream();
    let (mut a, mut b) = (Hub::connect(nats(10), server.address), Hub::connect(nats(10), server.address));
    let first = loaded(&mut b, "t", None);
    for number in 0..3 {
        a.publish("t", &number.to_string());
    }
    let seen = b.message("t");
    let at = Position { epoch: first.base.epoch, offset: seen.offset };
    let server = server.crash_and_restart();
    b.wait_for_end();
    (a, b) = (a.reconnect(server.address), b.reconnect(server.address));
    let again = loaded(&mut b, "t", Some(at));
    assert_eq!(again.base.epoch, at.epoch);
    assert!(again.is_complete);
    assert_eq!(texts(&again), ["0", "1", "2"]);
    let position = a.publish("t", "3").unwrap();
    let message = b.message("t");
    assert_eq!((message.offset, message.previous), (position.offset, again.offset));
}

#[test]
fn a_stream_that_was_made_anew_is_a_new_epoch() {
    let server = Server::with_jetstream();
    let (mut a, mut b) = (Hub::connect(nats(10), server.address), Hub::connect(nats(10), server.address));
    for topic in ["t", "idle"] {
        loaded(&mut b, topic, None);
        for text in ["1", "2"] {
            a.publish(topic, text);
        }
        b.texts(topic, 2);
    }
    let before = a.publish("t", "3").unwrap();
    b.texts("t", 1);
    let mut client = Client::connect(server.address);
    client.ask("STREAM.DELETE.SOCKEYE", "");
    // The publisher is told, and makes it anew with its next connection.
    let ticket = a.text("t", "4");
    assert!(a.refused_then_ended(ticket).contains("deleted"));
    a = a.reconnect(server.address);
    for _ in 0..10 {
        a.text("t", "many");
    }
    let after = a.publish("idle", "5").unwrap();
    assert_ne!(before.epoch, after.epoch);
    // The other one notices by what it gets, and reports none of it as if it belonged to the old.
    assert!(b.wait_for_end().to_string().contains("deleted"));
    let left: Vec<_> = b.events.iter().filter(|event| matches!(event, Event::Message { .. })).collect();
    assert!(left.is_empty(), "{left:?}");
    b = b.reconnect(server.address);
    let again = loaded(&mut b, "t", Some(before));
    assert_eq!((again.base.epoch, again.is_complete, again.messages.len()), (after.epoch, false, 10));
}

#[test]
fn what_expires_is_no_loss_to_those_who_saw_it() {
    let server = Server::with_jetstream();
    let history = History::new(10).age(Duration::from_millis(100));
    let mut hub = Hub::connect(Nats::new("nats://h").unwrap().history(history).unwrap(), server.address);
    let mut client = Client::connect(server.address);
    loaded(&mut hub, "t", None);
    let first = hub.publish("t", "1").unwrap();
    assert_eq!(hub.message("t").previous, 0);
    // The same as time does, without waiting for it.
    client.ask("STREAM.PURGE.SOCKEYE", "");
    hub.publish("t", "2");
    hub.publish("t", "3");
    let second = hub.message("t");
    assert_eq!((text_of(&second), second.previous), ("2".to_owned(), first.offset));
    assert_eq!(hub.message("t").previous, second.offset);
    client.ask("STREAM.PURGE.SOCKEYE", "");
    let gone = loaded(&mut hub, "t", Some(first));
    assert_eq!((gone.base.offset, gone.offset, gone.is_complete), (3, 3, false));
    let mut other = Hub::connect(
        Nats::new("nats://h").unwrap().history(History::new(10).age(Duration::from_millis(100))).unwrap(),
        server.address,
    );
    let still = loaded(&mut other, "t", Some(Position { offset: 3, ..first }));
    assert!(still.is_complete);
    hub.publish("t", "4");
    assert_eq!(hub.message("t").previous, 3);
}

#[test]
fn numbers_of_others_are_not_believed() {
    let server = Server::with_jetstream();
    let mut hub = Hub::connect(nats(10), server.address);
    loaded(&mut hub, "t", None);
    let mut client = Client::connect(server.address);
    // Straight to the subject of the stream's copies, and to the stream with a number of its own.
    client.publish("sockeye.out.t", b"no copy");
    let headers = "NATS/1.0\r\nNats-Stream: SOCKEYE\r\nNats-Sequence: 99\r\nNats-Last-Sequence: 98\r\n\r\n";
    let line = format!("HPUB sockeye.in.t {} {}\r\n{headers}forged\r\nPING\r\n", headers.len(), headers.len() + 6);
    client.send(line.as_bytes());
    client.wait("PONG\r\n");
    let message = hub.message("t");
    assert_eq!((text_of(&message), message.offset, message.previous), ("forged".to_owned(), 1, 0));
    let again = loaded(&mut hub, "t", None);
    assert_eq!((again.messages[0].offset, again.messages.len()), (1, 1));
}

#[test]
fn the_longest_message_goes_through_the_stream() {
    let server = Server::start(&format!("max_payload: 10000\n{JETSTREAM}"));
    let mut hub = Hub::connect(nats(10), server.address);
    loaded(&mut hub, "t", None);
    let payload = vec![b'x'; hub.most_bytes];
    let ticket = hub.send("t", MessageKind::Binary, None, &payload).unwrap();
    hub.published(ticket);
    assert_eq!(hub.message("t").payload, payload);
    assert_eq!(loaded(&mut hub, "t", None).messages[0].payload, payload);
}

#[test]
fn a_message_that_is_too_long_for_us_is_a_hole() {
    let server = Server::with_jetstream();
    let mut big = Hub::connect(nats(10), server.address);
    let mut small = Hub::connect(nats(10).message_bytes(100), server.address);
    loaded(&mut small, "t", None);
    let positions: Vec<u64> =
        ["1", &"x".repeat(101), "3"].iter().map(|text| big.publish("t", text).unwrap().offset).collect();
    assert_eq!(small.message("t").offset, positions[0]);
    small.wait("a missed message", |event| matches!(event, Event::Missed { .. }).then_some(()));
    let third = small.message("t");
    assert_eq!((third.offset, third.previous), (positions[2], positions[1]));
    let loaded = loaded(&mut small, "t", None);
    assert_eq!((loaded.base.offset, texts(&loaded)), (positions[1], vec!["3".to_owned()]));
}

#[test]
fn a_stream_that_does_not_fit_is_refused_with_what_to_change() {
    let server = Server::with_jetstream();
    Hub::connect(nats(10), server.address);
    // The same again, and one with another number.
    Hub::connect(nats(10), server.address);
    let error = Hub::try_connect(nats(11), server.address).map(|_| ()).unwrap_err();
    let text = "max_msgs_per_subject is 10 and has to be 11";
    assert!(matches!(&error, BrokerError::Refused(refused) if refused.contains(text)), "{error}");
    // Another prefix has another stream.
    let mut other = Hub::connect(nats(11).prefix("other").unwrap(), server.address);
    other.publish("t", "x");
    // A stream cannot have the subjects of another.
    let history = History::new(10).stream("SECOND");
    let second = Nats::new("nats://h").unwrap().history(history).unwrap();
    let error = Hub::try_connect(second, server.address).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
}

#[test]
fn a_broker_without_jetstream_is_refused() {
    let server = Server::start("");
    let error = Hub::try_connect(nats(10), server.address).map(|_| ()).unwrap_err();
    assert!(matches!(&error, BrokerError::Refused(text) if text.contains("start nats-server with -js")), "{error}");
}

#[test]
fn a_message_without_rights_is_refused() {
    let users = r#"authorization { users = [{user: a, password: a, permissions: {publish: {deny: "sockeye.in.dark"}, subscribe: {deny: "sockeye.out.dark"}}}] }"#;
    let server = Server::start(&format!("{JETSTREAM}\n{users}"));
    let nats = Nats::new("nats://a:a@127.0.0.1").unwrap().history(History::new(10)).unwrap();
    let mut hub = Hub::connect(nats, server.address);
    let tickets = ["dark", "dark", "light"].map(|topic| hub.text(topic, "x"));
    assert!(hub.refused(tickets[0]).contains("Permissions Violation"));
    assert!(hub.refused(tickets[1]).contains("Permissions Violation"));
    hub.published(tickets[2]);
    hub.act(|nats, io| nats.subscribe("dark", None, io)).unwrap();
    hub.wait("the end of the subscription", |event| matches!(event, Event::Unsubscribed { .. }).then_some(()));
    assert_eq!(texts(&loaded(&mut hub, "light", None)), ["x"]);
}

#[test]
fn no_consumer_stays_behind() {
    let server = Server::with_jetstream();
    let mut hub = Hub::connect(nats(10), server.address);
    for number in 0..40 {
        hub.publish(&number.to_string(), "x");
    }
    for number in 0..40 {
        let name = number.to_string();
        hub.act(|nats, io| nats.subscribe(&name, None, io)).unwrap();
        // Some are not wanted any more before they are read.
        if number % 3 == 0 {
            hub.act(|nats, io| nats.unsubscribe(&name, io));
        }
    }
    for number in (0..40).filter(|number| number % 3 != 0) {
        let name = number.to_string();
        hub.wait("a history", |event| match event {
            Event::Subscribed { topic, .. } => (*topic == name).then_some(()),
            _ => None,
        });
    }
    hub.settle();
    let mut client = Client::connect(server.address);
    let answer = client.ask("CONSUMER.NAMES.SOCKEYE", "");
    assert!(answer.contains("\"total\":0"), "{answer}");
}
