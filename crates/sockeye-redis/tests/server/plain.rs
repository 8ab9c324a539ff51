//! Without history.

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{Event, PublishError};

use crate::driver::hub;
use crate::redis::Server;

#[test]
fn each_server_gets_the_messages_of_the_others_in_order() {
    const EACH: usize = 1000;
    let server = Server::start();
    let mut hubs = [hub(&server), hub(&server), hub(&server)];
    hubs.iter_mut().for_each(|hub| hub.subscribed("news"));
    for number in 0..EACH {
        for (sender, hub) in hubs.iter_mut().enumerate() {
            hub.publish("news", &format!("{sender} {number}"));
        }
    }
    let mut all: [(usize, [usize; 3]); 3] = Default::default();
    // Acknowledgements first: what waits for them at one hub is a message for others.
    for is_enough in [
        |published: usize, _: [usize; 3]| published == EACH,
        |_: usize, counts: [usize; 3]| counts.iter().sum::<usize>() == 2 * EACH,
    ] {
        for (receiver, (hub, (published, counts))) in hubs.iter_mut().zip(&mut all).enumerate() {
            while !is_enough(*published, *counts) {
                match hub.event("messages and acknowledgements") {
                    Event::Published { ticket, position: None } => {
                        *published += 1;
                        assert_eq!(ticket, *published as u64);
                    }
                    Event::Message { topic, message } => {
                        let text = String::from_utf8(message.payload).expect("a text");
                        let (sender, number) = text.split_once(' ').expect("two numbers");
                        let sender: usize = sender.parse().expect("a number");
                        assert_eq!((topic.as_str(), message.offset, message.previous), ("news", 0, 0));
                        assert_ne!(sender, receiver, "a server's own message");
                        assert_eq!(number, counts[sender].to_string());
                        counts[sender] += 1;
                    }
                    event => panic!("{event:?}"),
                }
            }
        }
    }
}

#[test]
fn kinds_and_keys_arrive_as_they_were_sent() {
    let server = Server::start();
    let (mut one, mut two) = (hub(&server), hub(&server));
    two.subscribed("t");
    let sent = [
        (MessageKind::Text, None, &b"text"[..]),
        (MessageKind::Text, Some(&b"key"[..]), "größer".as_bytes()),
        (MessageKind::Text, Some(b""), b""),
        (MessageKind::Binary, None, b"text"),
        (MessageKind::Binary, Some(b"\r\n\0"), b"\0\r\n\xff"),
        (MessageKind::Binary, None, b""),
        (MessageKind::Binary, None, b"\xffSK\x01"),
    ];
    for (kind, key, payload) in sent {
        one.try_publish("t", kind, key, payload).expect("room");
        one.event("Published");
        let (_, message) = two.message();
        assert_eq!((message.kind, message.key.as_deref(), message.payload.as_slice()), (kind, key, payload));
    }
}

#[test]
fn what_others_publish_is_text_or_bytes() {
    let server = Server::start();
    let mut hub = hub(&server);
    hub.subscribed("t");
    let foreign: [&[u8]; 6] = [b"plain", b"", b"\xff\xfe", b"\xffSK\x01too short", b"\xffSK\x02", b"\xffSK"];
    for payload in foreign {
        assert_eq!(server.command(&[b"PUBLISH", b"sockeye:t", payload]), ":1");
        let (_, message) = hub.message();
        let kind = if payload.first() == Some(&0xff) { MessageKind::Binary } else { MessageKind::Text };
        assert_eq!((message.kind, message.key, message.payload.as_slice()), (kind, None, payload));
    }
}

#[test]
fn a_subscription_ends_and_begins_again() {
    let server = Server::start();
    let (mut one, mut two) = (hub(&server), hub(&server));
    two.subscribed("a");
    two.subscribed("b");
    two.unsubscribe("a");
    two.subscribe("a", None);
    two.unsubscribe("a");
    two.unsubscribe("never");
    two.published("x", "after which nothing is under way");
    assert_eq!(server.command(&[b"PUBLISH", b"sockeye:a", b"to nobody"]), ":0");
    one.published("a", "unseen");
    one.published("b", "seen");
    assert_eq!(two.text("b"), "seen");
    two.subscribed("a");
    one.published("a", "seen again");
    assert_eq!(two.text("a"), "seen again");
    assert_eq!(server.command(&[b"PUBLISH", b"sockeye:never", b""]), ":0");
    two.unsubscribe("a");
    two.subscribe("a", None);
    assert_eq!(two.event("Subscribed"), Event::Subscribed { topic: "a".to_owned(), history: None });
}

#[test]
fn a_restart_is_survived() {
    let mut server = Server::start();
    let (mut one, mut two) = (hub(&server), hub(&server));
    two.subscribed("t");
    one.published("t", "before");
    assert_eq!(two.text("t"), "before");
    server.kill();
    one.publish("t", "into the void");
    one.expect_lost();
    two.expect_lost();
    server.restart();
    one.reconnect(&server);
    two.reconnect(&server);
    one.published("t", "to nobody");
    two.subscribed("t");
    one.published("t", "after");
    assert_eq!(two.text("t"), "after");
    two.ping();
    two.ping();
    two.published("t", "own");
}

#[test]
fn sizes_are_limited() {
    let server = Server::start();
    let (mut one, mut two) = (hub(&server), hub(&server));
    two.subscribed("t");
    let most = 16 * 1024 * 1024;
    let large = vec![b'x'; most + 1];
    let result = one.try_publish("t", MessageKind::Binary, None, &large);
    assert_eq!(result, Err(PublishError::TooLarge { most }));
    let result = one.try_publish("t", MessageKind::Binary, Some(b"key"), &large[..most]);
    assert_eq!(result, Err(PublishError::TooLarge { most: most - 3 }));
    one.try_publish("t", MessageKind::Binary, None, &large[..most]).expect("room");
    let (_, message) = two.message();
    assert!(message.payload == large[..most]);
    let name = "n".repeat(64 * 1024 + 1);
    assert_eq!(one.try_publish(&name, MessageKind::Binary, None, b""), Err(PublishError::Name));
}
