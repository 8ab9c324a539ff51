//! Subjects, without history.

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{Backplane, BrokerError, Event, PublishError};
use sockeye_nats::{Credentials, Nats};

use crate::driver::{Client, Hub, text_of};
use crate::server::Server;

fn nats() -> Nats {
    Nats::new("nats://127.0.0.1").unwrap()
}

#[test]
fn three_hubs_hear_each_other_in_order_and_not_themselves() {
    let server = Server::start("");
    let mut hubs = [0; 3].map(|_| Hub::connect(nats(), server.address));
    for hub in &mut hubs {
        assert_eq!(hub.subscribe("news"), None);
    }
    let mut last = [0; 3];
    for round in 0..100 {
        for (number, hub) in hubs.iter_mut().enumerate() {
            last[number] = hub.text("news", &format!("{number} {round}"));
        }
    }
    // What waits for confirmations at one hub is a message for others.
    for (hub, ticket) in hubs.iter_mut().zip(last) {
        assert_eq!(hub.published(ticket), None);
    }
    for (number, hub) in hubs.iter_mut().enumerate() {
        let mut texts = hub.texts("news", 200);
        hub.settle();
        assert!(!hub.events.iter().any(|event| matches!(event, Event::Message { .. })), "{:?}", hub.events);
        assert_eq!(hub.events.len(), 99, "each of its own is confirmed, and the last one was waited for");
        // Each sender's in its order.
        texts.sort_by_key(|text| text.as_bytes()[0]);
        let others = (0..3).filter(|other| *other != number);
        let expected: Vec<String> =
            others.flat_map(|other| (0..100).map(move |round| format!("{other} {round}"))).collect();
        assert_eq!(texts, expected);
    }
}

#[test]
fn kinds_and_keys_arrive_and_plain_clients_take_part() {
    let server = Server::start("");
    let (mut a, mut b) = (Hub::connect(nats(), server.address), Hub::connect(nats(), server.address));
    let mut client = Client::connect(server.address);
    b.subscribe("t");
    client.send(b"SUB sockeye.t 2\r\nPING\r\n");
    client.wait("PONG\r\n");
    let keys: [Option<&[u8]>; 4] = [None, Some(b"k"), Some(b""), Some(b"a b\r\n\0\xff")];
    for kind in [MessageKind::Text, MessageKind::Binary] {
        for key in keys {
            for payload in [&b"words"[..], b""] {
                let ticket = a.send("t", kind, key, payload).unwrap();
                assert_eq!(a.published(ticket), None);
                let message = b.message("t");
                assert_eq!((message.kind, message.key.as_deref(), &message.payload[..]), (kind, key, payload));
                assert_eq!((message.offset, message.previous), (0, 0));
            }
        }
    }
    assert!(client.wait("words\r\n").ends_with("MSG sockeye.t 2 5\r\nwords\r\n"));
    client.publish("sockeye.t", "é".as_bytes());
    client.publish("sockeye.t", b"\xff");
    client.send(
        b"HPUB sockeye.t no.body 15 16\r\nNATS/1.0\r\nx\r\n\r\n1\r\nHPUB sockeye.t x..y 4 5\r\n\xff\xff\r\n2\r\n",
    );
    let messages: Vec<_> = (0..4).map(|_| b.message("t")).collect();
    assert_eq!(messages.iter().map(text_of).collect::<Vec<_>>(), ["é", "\u{fffd}", "1", "2"]);
    assert_eq!(messages[0].kind, MessageKind::Text);
    assert_eq!(messages[1].kind, MessageKind::Binary);
}

#[test]
fn messages_that_wait_for_an_answer_go_together() {
    let server = Server::start("");
    let (mut a, mut b) = (Hub::connect(nats(), server.address), Hub::connect(nats(), server.address));
    let mut client = Client::connect(server.address);
    b.subscribe("t");
    client.send(b"SUB sockeye.t 2\r\nPING\r\n");
    client.wait("PONG\r\n");
    let sent = [
        (MessageKind::Text, None, &b"1"[..]),
        (MessageKind::Text, Some(&b"k"[..]), "é".as_bytes()),
        (MessageKind::Binary, Some(b""), b"\xff\r\n"),
        (MessageKind::Binary, None, b""),
        // What is called text and is not UTF-8.
        (MessageKind::Text, None, b"\xff"),
    ];
    let last = sent.map(|(kind, key, payload)| a.send("t", kind, key, payload).unwrap())[4];
    assert_eq!(a.published(last), None);
    for (kind, key, payload) in sent {
        let message = b.message("t");
        let kind = if payload == b"\xff" { MessageKind::Binary } else { kind };
        assert_eq!((message.kind, message.key.as_deref(), &message.payload[..]), (kind, key, payload));
    }
    assert!(client.wait("Sockeye-Messages: 3\r\n").contains("MSG sockeye.t 2 1\r\n1\r\nHMSG sockeye.t 2 "));
    // Others may write anything.
    for (headers, payload) in [("Sockeye-Messages: 1", "x"), ("Sockeye-Messages: 0", "y"), ("Sockeye-Messages: z", "z")]
    {
        let block = format!("NATS/1.0\r\n{headers}\r\n\r\n");
        client.send(format!("HPUB sockeye.t {} {}\r\n{block}{payload}\r\n", block.len(), block.len() + 1).as_bytes());
        assert_eq!(text_of(&b.message("t")), payload);
    }
}

#[test]
fn a_flood_of_several_topics_arrives_in_order() {
    const EACH: usize = 3000;
    let server = Server::start("max_payload: 5000");
    let (mut a, mut b) = (Hub::connect(nats(), server.address), Hub::connect(nats(), server.address));
    let topics = ["t", "u", "v"];
    topics.iter().for_each(|topic| drop(b.subscribe(topic)));
    let text = |number: usize| format!("{number} {}", "x".repeat(number % 500));
    for number in 0..EACH {
        for topic in topics {
            a.text(topic, &text(number));
        }
    }
    a.published(3 * EACH as u64);
    for topic in topics {
        for number in 0..EACH {
            assert_eq!(text_of(&b.message(topic)), text(number));
        }
    }
}

#[test]
fn names_cannot_be_wildcards_or_commands() {
    let server = Server::start("");
    let (mut a, mut b) = (Hub::connect(nats(), server.address), Hub::connect(nats(), server.address));
    let long = "é".repeat(600);
    let names = [
        "*",
        ">",
        ".",
        "a.b",
        "a.*",
        "a.>",
        "a..b",
        ".a",
        "a.",
        "",
        " ",
        "a b",
        "\t",
        "a\r\nPUB sockeye.x 1\r\ny\r\n",
        "\r",
        "\n",
        "\0",
        "é",
        "🐟",
        &long,
        "$SYS.>",
        "$JS.API.>",
        "_INBOX.>",
        "=",
        "=2A",
        "A",
        "a",
        "x",
    ];
    for name in names {
        b.subscribe(name);
    }
    let last = names.map(|name| a.text(name, name));
    a.published(last[names.len() - 1]);
    for name in names {
        assert_eq!(text_of(&b.message(name)), name);
    }
    b.settle();
    assert_eq!(b.events, [], "each topic gets its own message and no other");
    let too_long = "é".repeat(700);
    assert_eq!(a.send(&too_long, MessageKind::Text, None, b""), Err(PublishError::Name));
    assert_eq!(a.act(|nats, io| nats.subscribe(&too_long, None, io)), Err(PublishError::Name));
}

#[test]
fn what_is_unsubscribed_is_not_reported() {
    let server = Server::start("");
    let (mut a, mut b) = (Hub::connect(nats(), server.address), Hub::connect(nats(), server.address));
    b.subscribe("t");
    b.subscribe("t");
    a.publish("t", "1");
    assert_eq!(b.texts("t", 1), ["1"]);
    b.act(|nats, io| nats.unsubscribe("t", io));
    b.settle();
    a.publish("t", "2");
    b.settle();
    assert_eq!(b.events, []);
}

#[test]
fn a_message_over_the_brokers_maximum_is_an_error() {
    let server = Server::start("max_payload: 1000");
    let (mut a, mut b) = (Hub::connect(nats(), server.address), Hub::connect(nats(), server.address));
    b.subscribe("t");
    assert!(a.most_bytes < 1000);
    let bytes = vec![b'x'; 1001];
    assert_eq!(a.send("t", MessageKind::Text, None, &bytes), Err(PublishError::TooLarge { most: 1000 }));
    let ticket = a.send("t", MessageKind::Binary, None, &bytes[..a.most_bytes]).unwrap();
    a.published(ticket);
    assert_eq!(b.message("t").payload.len(), a.most_bytes);
    let error = a.send("t", MessageKind::Binary, None, &bytes[..a.most_bytes + 1]);
    assert_eq!(error, Err(PublishError::TooLarge { most: a.most_bytes }));
    assert!(matches!(a.send("t", MessageKind::Text, Some(&bytes), b""), Err(PublishError::TooLarge { .. })));
    let ticket = a.text("t", &"x".repeat(1000));
    a.published(ticket);
    assert_eq!(b.message("t").payload.len(), 1000);
}

#[test]
fn a_message_that_is_too_long_for_us_is_missed() {
    let server = Server::start("");
    let mut hub = Hub::connect(nats().message_bytes(100), server.address);
    assert_eq!(hub.most_bytes, 100);
    hub.subscribe("t");
    let mut client = Client::connect(server.address);
    client.publish("sockeye.t", &[b'x'; 101]);
    client.publish("sockeye.t", &[b'y'; 100]);
    hub.wait("a missed message", |event| (*event == Event::Missed { topic: "t".to_owned() }).then_some(()));
    assert_eq!(hub.message("t").payload, [b'y'; 100]);
}

const USERS: &str = r#"authorization { users = [
    {user: hub, password: "s:e@c"},
    {user: less, password: less, permissions: {publish: {deny: "sockeye.dark"}, subscribe: {deny: "sockeye.dark"}}}
] }"#;

#[test]
fn credentials_are_those_of_the_url_or_given() {
    let server = Server::start(USERS);
    let url = |user: &str| Nats::new(&format!("nats://{user}127.0.0.1")).unwrap();
    Hub::connect(url("hub:s%3Ae%40c@"), server.address);
    let credentials = Credentials::Password { user: "hub".to_owned(), password: "s:e@c".to_owned() };
    Hub::connect(url("a:b@").credentials(credentials), server.address);
    for user in ["hub:wrong@", "token@", ""] {
        let error = Hub::try_connect(url(user), server.address).map(|_| ()).unwrap_err();
        assert!(matches!(&error, BrokerError::Refused(text) if text.contains("Authorization Violation")), "{error}");
        assert_eq!(error.to_string().contains("nats://USER:PASSWORD@HOST"), user.is_empty(), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    let server = Server::start("authorization { token: \"t k\" }");
    Hub::connect(url("t%20k@"), server.address);
}

#[test]
fn missing_rights_refuse_messages_and_subscriptions() {
    let server = Server::start(USERS);
    let mut hub = Hub::connect(Nats::new("nats://less:less@127.0.0.1").unwrap(), server.address);
    let tickets: Vec<u64> = ["light", "dark", "light", "dark"].iter().map(|topic| hub.text(topic, "x")).collect();
    for (at, ticket) in tickets.iter().enumerate() {
        if at % 2 == 0 {
            hub.published(*ticket);
        } else {
            assert!(hub.refused(*ticket).contains("Permissions Violation for Publish to \"sockeye.dark\""));
        }
    }
    hub.act(|nats, io| nats.subscribe("dark", None, io)).unwrap();
    hub.subscribe("light");
    let reason = hub.wait("the end of the subscription", |event| match event {
        Event::Unsubscribed { topic, reason } if topic == "dark" => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("Permissions Violation for Subscription"), "{reason}");
    hub.settle();
    assert_eq!(hub.events, []);
}

#[test]
fn more_subscriptions_than_the_broker_has_are_told() {
    let server = Server::start("max_subscriptions: 5");
    let mut hub = Hub::connect(nats(), server.address);
    for topic in ["1", "2", "3", "4", "5"] {
        hub.subscribe(topic);
    }
    for topic in ["6", "7"] {
        hub.act(|nats, io| nats.subscribe(topic, None, io)).unwrap();
    }
    for topic in ["6", "7"] {
        hub.wait("the end of a subscription", |event| match event {
            Event::Unsubscribed { topic: of, .. } => (of == topic).then_some(()),
            _ => None,
        });
    }
    hub.act(|nats, io| nats.unsubscribe("1", io));
    assert_eq!(hub.subscribe("8"), None);
    assert_eq!(hub.events, []);
}

#[test]
fn tls_that_is_demanded_and_not_there_is_refused() {
    let server = Server::start("");
    let error = Hub::try_connect(Nats::new("tls://127.0.0.1").unwrap(), server.address).map(|_| ()).unwrap_err();
    assert!(matches!(&error, BrokerError::Refused(text) if text.contains("no TLS")), "{error}");
}

#[test]
fn a_broker_that_was_killed_is_used_again() {
    let server = Server::start("");
    let (mut a, mut b) = (Hub::connect(nats(), server.address), Hub::connect(nats(), server.address));
    b.subscribe("t");
    let server = server.crash_and_restart();
    b.wait_for_end();
    (a, b) = (a.reconnect(server.address), b.reconnect(server.address));
    b.subscribe("t");
    a.publish("t", "again");
    assert_eq!(b.texts("t", 1), ["again"]);
}

#[test]
fn many_messages_have_few_pings() {
    let server = Server::start("");
    let mut hub = Hub::connect(nats(), server.address);
    let tickets: Vec<u64> = (0..10_000).map(|number| hub.text("t", &number.to_string())).collect();
    for ticket in tickets {
        hub.published(ticket);
    }
    assert_eq!(hub.events, []);
}
