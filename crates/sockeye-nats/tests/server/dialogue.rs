//! Dialogues without a server: cut at every byte, and hostile.

use proptest::prelude::*;
use sockeye_hub::backplane::{Backplane, BrokerError, Event, Position, PublishError};
use sockeye_nats::{History, Nats};

use crate::scripted::{INFO, SIZES, Scripted, nats, places, reading, ready, ready_with_history, republished, stream};

#[test]
fn a_connection_begins() {
    for size in SIZES {
        let mut scripted = Scripted::new(Nats::new("nats://u:p%22@h").unwrap(), size);
        assert_eq!(scripted.said(), "");
        scripted.hears(INFO).unwrap();
        let said = scripted.said();
        let json = said.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix("\r\nPING\r\n")).unwrap();
        for part in [r#""user":"u""#, r#""pass":"p\"""#, r#""echo":false"#, r#""headers":true"#, r#""verbose":false"#] {
            assert!(json.contains(part), "{json}");
        }
        scripted.hears(b"PING\r\nPONG\r\n").unwrap();
        assert_eq!(scripted.said(), "PONG\r\n");
        assert!(matches!(scripted.happened()[..], [Event::Ready { most_bytes }] if most_bytes < 1000));
    }
}

#[test]
fn tls_begins_behind_the_first_line_and_nothing_may_follow_it() {
    let offer = b"INFO {\"headers\":true,\"max_payload\":1000,\"tls_available\":true}\r\n";
    let demand = b"INFO {\"headers\":true,\"max_payload\":1000,\"tls_required\":true}\r\n";
    for (url, info) in [("tls://h", &offer[..]), ("tls://h", demand), ("nats://u:secret@h", demand)] {
        for size in SIZES {
            let mut scripted = Scripted::new(Nats::new(url).unwrap(), size);
            scripted.hears(info).unwrap();
            assert!(scripted.wants_tls);
            assert_eq!(scripted.said(), "");
            scripted.act(|nats, io| nats.secured(io));
            assert!(scripted.said().contains(r#""tls_required":true"#));
            scripted.hears(b"PONG\r\n").unwrap();
            assert_eq!(scripted.happened().len(), 1);
            for more in ["PONG\r\n", "P", "PING\r\n"] {
                let mut scripted = Scripted::new(Nats::new(url).unwrap(), size);
                let error = scripted.hears(&[info, more.as_bytes()].concat());
                assert!(matches!(error, Err(BrokerError::Protocol(_))) || more == "P" && size < 10, "{more} {size}");
                assert_eq!(scripted.said(), "");
            }
        }
    }
    let mut scripted = Scripted::new(nats(), 7);
    scripted.hears(offer).unwrap();
    assert!(!scripted.wants_tls);
}

#[test]
fn a_conversation_is_the_same_wherever_it_is_cut() {
    let talk = |size| {
        let mut scripted = ready(nats(), size);
        scripted.happened();
        scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
        scripted.publish(1, "t", b"one").unwrap();
        scripted.publish(2, "u", b"two").unwrap();
        assert!(scripted.said().ends_with("SUB sockeye.t 1\r\nPING\r\nPUB sockeye.t 3\r\none\r\nPING\r\n"));
        scripted.hears(b"PONG\r\n").unwrap();
        assert_eq!(scripted.said(), "PUB sockeye.u 3\r\ntwo\r\nPING\r\n");
        scripted
            .hears(b"PONG\r\n-ERR 'Permissions Violation for Publish to \"sockeye.u\"'\r\nPONG\r\nMSG sockeye.t 1 2\r\nhi\r\n")
            .unwrap();
        scripted.act(|nats, io| nats.unsubscribe("t", io));
        assert_eq!(scripted.said(), "UNSUB 1\r\n");
        scripted.hears(b"MSG sockeye.t 1 2\r\nhi\r\n").unwrap();
        scripted.happened()
    };
    let expected = talk(10_000);
    assert!(
        matches!(
            &expected[..],
            [
                Event::Subscribed { .. },
                Event::Published { ticket: 1, .. },
                Event::Refused { ticket: 2, .. },
                Event::Message { .. }
            ]
        ),
        "{expected:?}"
    );
    for size in 1..60 {
        assert_eq!(talk(size), expected, "pieces of {size} bytes");
    }
}

#[test]
fn a_message_may_come_before_the_confirmation_of_its_subscription() {
    let mut scripted = ready(nats(), 10_000);
    scripted.happened();
    scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
    scripted.hears(b"MSG sockeye.t 1 2\r\nhi\r\nPONG\r\n").unwrap();
    assert!(matches!(scripted.happened()[..], [Event::Subscribed { .. }, Event::Message { .. }]));
}

#[test]
fn what_ends_a_connection_is_told() {
    for (line, words) in [
        ("-ERR 'Slow Consumer'\r\n", "Slow Consumer"),
        ("-ERR 'Stale \x1b Connection'\r\n", "Stale \\u{1b} Connection"),
        ("-ERR 'Permissions Violation for Publish to \"elsewhere\"'\r\n", "elsewhere"),
        ("-ERR 'Permissions Violation for Subscription to \"_INBOX.x\"'\r\n", "_INBOX.x"),
        ("-ERR\r\n", ""),
    ] {
        let error = ready(nats(), 3).hears(line.as_bytes()).unwrap_err();
        assert!(matches!(&error, BrokerError::Refused(text) if text.contains(words)), "{error}");
    }
    for line in ["PONG\r\n", "HELLO\r\n", "INFO {}\r\n", "MSG a 1 1\r\nab\r\n"] {
        assert!(matches!(ready(nats(), 3).hears(line.as_bytes()), Err(BrokerError::Protocol(_))), "{line}");
    }
    for line in ["PING\r\n", "MSG a 1 1\r\na\r\n", "SSH-2.0-x\r\n", "\r\n"] {
        assert!(matches!(Scripted::new(nats(), 3).hears(line.as_bytes()), Err(BrokerError::Protocol(_))), "{line}");
    }
    let old = b"INFO {\"max_payload\":1000}\r\n";
    assert!(matches!(Scripted::new(nats(), 3).hears(old), Err(BrokerError::Refused(_))));
}

#[test]
fn errors_that_name_no_message_clearly_leave_all_unknown() {
    let mut scripted = ready(nats(), 100);
    scripted.happened();
    scripted.publish(1, "t", b"").unwrap();
    scripted.hears(b"PONG\r\n").unwrap();
    scripted.publish(2, "t", b"").unwrap();
    scripted.publish(3, "t", b"").unwrap();
    let first = scripted.hears(b"-ERR 'Permissions Violation for Publish to \"sockeye.t\"'\r\nPONG\r\n");
    // The PING of ticket 2 covers it alone, so it is clear that this one was refused.
    first.unwrap();
    assert!(matches!(scripted.happened()[..], [Event::Published { ticket: 1, .. }, Event::Refused { ticket: 2, .. }]));
    for ticket in 4..=6 {
        scripted.publish(ticket, "t", b"").unwrap();
    }
    scripted.hears(b"PONG\r\nPONG\r\n").unwrap();
    assert!(matches!(
        scripted.happened()[..],
        [Event::Published { ticket: 3, .. }, Event::Published { ticket: 4, .. }]
    ));
    let error = "-ERR 'Permissions Violation for Publish to \"sockeye.t\"'\r\n";
    // Those that went together are refused together.
    scripted.hears(format!("{error}PONG\r\n").as_bytes()).unwrap();
    assert!(matches!(scripted.happened()[..], [Event::Refused { ticket: 5, .. }, Event::Refused { ticket: 6, .. }]));
    scripted.publish(7, "t", b"").unwrap();
    let unclear = scripted.hears(format!("{error}{error}PONG\r\n").as_bytes());
    assert!(matches!(unclear, Err(BrokerError::Refused(_))));
}

#[test]
fn a_full_queue_has_what_waits_wait_on() {
    let mut scripted = ready(nats(), 100);
    scripted.happened();
    scripted.said();
    for ticket in 1..=4 {
        scripted.publish(ticket, "t", b"x").unwrap();
    }
    assert_eq!(scripted.said(), "PUB sockeye.t 1\r\nx\r\nPING\r\n".repeat(2));
    scripted.room = 0;
    scripted.hears(b"PONG\r\nPONG\r\n").unwrap();
    assert_eq!(scripted.said(), "PING\r\n");
    scripted.room = 5000;
    // It does not overtake them, though less than two PINGs are under way.
    scripted.publish(5, "t", b"x").unwrap();
    assert_eq!(scripted.said(), "");
    scripted.hears(b"PONG\r\n").unwrap();
    assert!(scripted.said().contains("Sockeye-Messages: 3\r\n"));
    scripted.hears(b"PONG\r\n").unwrap();
    assert_eq!(scripted.happened().len(), 5);
}

#[test]
fn the_maximum_may_change() {
    let mut scripted = ready(nats(), 100);
    scripted.publish(1, "t", &[0; 900]).unwrap();
    scripted.hears(b"INFO {\"headers\":true,\"max_payload\":800,\"ldm\":true}\r\n").unwrap();
    assert_eq!(scripted.publish(2, "t", &[0; 900]), Err(PublishError::TooLarge { most: 800 }));
    scripted.publish(3, "t", &[0; 800]).unwrap();
}

#[test]
fn what_waits_keeps_to_a_maximum_that_has_changed() {
    let mut scripted = ready(nats(), 100);
    scripted.happened();
    for ticket in 1..=5 {
        scripted.publish(ticket, "t", &[b'x'; 200]).unwrap();
    }
    scripted.publish(6, "t", &[b'x'; 50]).unwrap();
    scripted.said();
    scripted.hears(b"INFO {\"headers\":true,\"max_payload\":220}\r\nPONG\r\nPONG\r\n").unwrap();
    let said = scripted.said();
    assert_eq!((said.matches("PUB sockeye.t 200").count(), said.matches("PUB sockeye.t 50").count()), (3, 1), "{said}");
    scripted.hears(b"PONG\r\n").unwrap();
    for ticket in 7..=8 {
        scripted.publish(ticket, "u", b"x").unwrap();
    }
    scripted.publish(9, "t", &[b'x'; 60]).unwrap();
    assert_eq!(scripted.said(), "PUB sockeye.u 1\r\nx\r\nPING\r\n".repeat(2));
    scripted.hears(b"INFO {\"headers\":true,\"max_payload\":50}\r\nPONG\r\nPONG\r\n").unwrap();
    assert!(!scripted.said().contains("PUB"));
    let happened = scripted.happened();
    assert!(happened.iter().any(|event| matches!(event, Event::Refused { ticket: 9, .. })), "{happened:?}");
    let published = happened.iter().filter(|event| matches!(event, Event::Published { .. })).count();
    assert_eq!((published, happened.len()), (8, 9), "{happened:?}");
}

#[test]
fn what_waits_for_many_topics_keeps_within_the_queue() {
    const ROOM: usize = 20_000;
    for name in ["", &"é".repeat(120)] {
        let mut scripted = ready(nats(), 100);
        scripted.room = ROOM;
        let topic = |ticket: u64| format!("{ticket}{name}");
        let sent = (0..100_000).take_while(|ticket| scripted.publish(*ticket, &topic(*ticket), b"x").is_ok()).count();
        assert!(sent > 10, "{sent}");
        scripted.hears(b"PONG\r\nPONG\r\n").unwrap();
        assert!(scripted.out.len() <= ROOM + 1000, "{sent} messages: {} bytes", scripted.out.len());
    }
}

#[test]
fn a_slow_broker_fills_the_queue_and_no_more() {
    let mut scripted = ready(nats(), 100);
    scripted.room = 5000;
    scripted.out.clear();
    let sent = (0..100).take_while(|ticket| scripted.publish(*ticket, "t", &[b'x'; 500]).is_ok()).count();
    assert!((9..=10).contains(&sent), "{sent}");
    assert_eq!(scripted.publish(100, "t", b""), Err(PublishError::QueueFull));
    assert!(scripted.out.len() < 6000);
    scripted.out.clear();
    scripted.publish(100, "t", b"").unwrap();
    // It takes all and confirms nothing.
    let mut taken = 0;
    while scripted.publish(1000 + taken, "t", b"").is_ok() {
        scripted.out.clear();
        taken += 1;
        assert!(taken < 100_000, "as many messages as wanted are open");
    }
    assert!(taken > 60_000);
}

#[test]
fn a_broker_that_asks_and_does_not_read_is_left() {
    let mut scripted = ready(nats(), 10_000);
    scripted.room = 5000;
    let most = (0..1000).find(|_| scripted.hears(&b"PING\r\n".repeat(1000)).is_err());
    assert!(most.is_some() && scripted.out.len() < 2 << 20, "{most:?} {}", scripted.out.len());
}

#[test]
fn one_ping_is_open_at_most() {
    let mut scripted = ready(nats(), 100);
    scripted.said();
    for _ in 0..5 {
        scripted.act(|nats, io| nats.ping(io));
    }
    assert_eq!(scripted.said(), "PING\r\n");
    scripted.hears(b"PONG\r\n").unwrap();
    assert_eq!(scripted.said(), "");
}

#[test]
fn jetstream_that_does_not_answer_is_noticed() {
    let mut scripted = ready_with_history(100);
    scripted.publish(1, "t", b"").unwrap();
    scripted.ticks(19);
    assert!(!scripted.said().contains("PING"));
    scripted.ticks(1);
    assert_eq!(scripted.said(), "PING\r\n");
    let error = scripted.hears(b"PONG\r\n").unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    // So is a batch of a history.
    let mut scripted = reading(100);
    // For the topic, and for its past.
    scripted.hears(b"PONG\r\nPONG\r\n").unwrap();
    scripted.said();
    scripted.ticks(20);
    assert_eq!(scripted.said(), "PING\r\n");
    assert!(scripted.hears(b"PONG\r\n").is_err());
    // What is answered is not waited for.
    let mut scripted = ready_with_history(100);
    for ticket in 0..5 {
        scripted.publish(ticket, "t", b"").unwrap();
        scripted.ticks(10);
        scripted.answers("", &format!(r#"{{"stream":"SOCKEYE","seq":{}}}"#, ticket + 1)).unwrap();
    }
    scripted.said();
    scripted.ticks(100);
    assert_eq!(scripted.said(), "");
}

#[test]
fn a_message_that_another_stream_has_taken_has_no_position() {
    let mut scripted = ready(nats().history(History::new(3)).unwrap(), 100);
    scripted.answers("", &stream(r#""last_seq":9"#)).unwrap();
    scripted.happened();
    scripted.publish(1, "t", b"").unwrap();
    scripted.publish(2, "t", b"").unwrap();
    scripted.answers("", r#"{"stream":"SOCKEYE","seq":10}"#).unwrap();
    scripted.publish(3, "t", b"").unwrap();
    assert!(scripted.answers("", r#"{"stream":"SOCKEYE","seq":4}"#).is_err());
    let events = scripted.happened();
    assert!(
        matches!(
            &events[..],
            [
                Event::Published { ticket: 2, position: Some(Position { epoch: 5, offset: 10 }) },
                Event::Published { ticket: 3, position: None },
            ]
        ),
        "{events:?}"
    );
}

#[test]
fn a_history_is_read_and_what_comes_meanwhile_follows_it() {
    for size in SIZES {
        let mut scripted = reading(size);
        assert!(scripted.said().contains("$JS.API.CONSUMER.MSG.NEXT.SOCKEYE.c "));
        // A copy that is counted already, one that is not, and the past.
        for (sequence, last) in [(8, 4), (12, 8)] {
            scripted.hears(republished(2, sequence, last, "live").as_bytes()).unwrap();
        }
        assert_eq!(scripted.happened(), []);
        scripted.hears(b"MSG sockeye.in.t 3 $JS.ACK.SOCKEYE.c.1.4.1.17.1 1\r\na\r\n").unwrap();
        scripted.hears(b"MSG sockeye.in.t 3 $JS.ACK.SOCKEYE.c.1.8.2.17.0 1\r\nb\r\n").unwrap();
        assert!(scripted.said().contains("$JS.API.CONSUMER.DELETE.SOCKEYE.c "));
        let events = scripted.happened();
        let [Event::Subscribed { history: Some(loaded), .. }, Event::Message { message, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((loaded.base, loaded.offset, loaded.is_complete), (Position { epoch: 5, offset: 0 }, 8, true));
        assert_eq!((message.offset, message.previous), (12, 8));
        // A late copy is looked into, and is none.
        scripted.hears(republished(2, 8, 4, "late").as_bytes()).unwrap();
        scripted.hears(republished(2, 13, 12, "next").as_bytes()).unwrap();
        assert_eq!(scripted.happened(), []);
        scripted.answers("", &stream(r#""first_seq":1,"last_seq":13"#)).unwrap();
        assert!(matches!(&scripted.happened()[..], [Event::Message { message, .. }] if message.previous == 12));
    }
}

#[test]
fn a_consumer_is_on_as_many_servers_as_its_stream() {
    // nats-server 2.9 gives a consumer of one server to one that has died a moment before, and nothing answers then.
    let on_three = |state| stream(state).replace("\"max_age\":0", "\"max_age\":0,\"num_replicas\":3");
    let mut scripted = ready(nats().history(History::new(3)).unwrap(), 100);
    scripted.answers("", &on_three("")).unwrap();
    scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
    scripted.answers("", &on_three(r#""first_seq":1,"last_seq":9,"subjects":{"sockeye.in.t":2}"#)).unwrap();
    let said = scripted.said();
    assert!(said.contains("$JS.API.CONSUMER.CREATE.SOCKEYE ") && said.contains(r#""num_replicas":3"#), "{said}");
}

#[test]
fn of_messages_that_vanish_while_they_are_read_those_count_that_follow_one_that_is_there() {
    const VANISHED: &str = r#"{"error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
    let begin = || {
        let mut scripted = reading(100);
        scripted.said();
        scripted.hears(b"MSG sockeye.in.t 3 $JS.ACK.SOCKEYE.c.1.8.1.17.0 1\r\nb\r\n").unwrap();
        assert_eq!(scripted.happened(), []);
        let said = String::from_utf8_lossy(&scripted.out).into_owned();
        assert!(said.contains("$JS.API.STREAM.MSG.GET.SOCKEYE ") && said.ends_with("{\"seq\":8}\r\n"), "{said}");
        scripted
    };
    // As long as a message, which an answer never is.
    for message in [r#"{"message":{"seq":8}}"#.to_owned(), "x".repeat(300_000)] {
        let mut scripted = begin();
        scripted.size = 100_000;
        scripted.answers("", &message).unwrap();
        let events = scripted.happened();
        let [Event::Subscribed { history: Some(loaded), .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((loaded.base.offset, loaded.offset, loaded.messages.len(), loaded.is_complete), (7, 8, 1, false));
        scripted.hears(republished(2, 10, 8, "live").as_bytes()).unwrap();
        assert_eq!(places(&scripted.happened()), [(10, 8)]);
    }
    let mut scripted = begin();
    scripted.answers("", r#"{"error":{"code":503,"err_code":10008,"description":"busy"}}"#).unwrap();
    assert!(matches!(&scripted.happened()[..], [Event::Unsubscribed { reason, .. }] if reason.contains("busy")));
    let mut scripted = begin();
    scripted.answers("", VANISHED).unwrap();
    let events = scripted.happened();
    let [Event::Subscribed { history: Some(loaded), .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((loaded.base.offset, loaded.offset, loaded.messages.len(), loaded.is_complete), (9, 9, 0, false));
    scripted.hears(republished(2, 10, 8, "live").as_bytes()).unwrap();
    assert!(matches!(&scripted.happened()[..], [Event::Message { message, .. }] if message.previous == 9));
}

#[test]
fn lost_messages_show_in_the_next() {
    let mut scripted = ready_with_history(100);
    scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
    scripted.answers("", &stream(r#""first_seq":0,"last_seq":0"#)).unwrap();
    scripted.hears(republished(2, 1, 0, "a").as_bytes()).unwrap();
    scripted.hears(republished(2, 5, 3, "b").as_bytes()).unwrap();
    assert_eq!(scripted.happened().len(), 2);
    // It is waited for, then looked for in the stream, which has dropped it.
    for _ in 0..65 {
        assert!(!scripted.out.windows(15).any(|words| words == b"CONSUMER.CREATE"));
        scripted.answers("", &stream(r#""first_seq":1,"last_seq":9,"subjects":{"sockeye.in.t":3}"#)).unwrap();
    }
    scripted.answers("", r#"{"name":"c"}"#).unwrap();
    for (sequence, count, pending) in [(5, 1, 2), (7, 2, 1), (9, 3, 0)] {
        scripted
            .hears(
                format!("MSG sockeye.in.t 3 $JS.ACK.SOCKEYE.c.1.{sequence}.{count}.17.{pending} 1\r\nb\r\n").as_bytes(),
            )
            .unwrap();
    }
    scripted.answers("", r#"{"message":{"seq":5}}"#).unwrap();
    scripted.hears(republished(2, 11, 9, "c").as_bytes()).unwrap();
    assert_eq!(places(&scripted.happened()), [(5, 4), (7, 5), (9, 7), (11, 9)]);
}

#[test]
fn what_is_missing_is_read_from_the_last_message_that_is_known() {
    let mut scripted = ready_with_history(100);
    scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
    scripted.answers("", &stream(r#""first_seq":0,"last_seq":0"#)).unwrap();
    scripted.hears(republished(2, 4, 0, "a").as_bytes()).unwrap();
    scripted.hears(republished(2, 8, 6, "b").as_bytes()).unwrap();
    scripted.happened();
    for _ in 0..65 {
        scripted.answers("", &stream(r#""first_seq":1,"last_seq":9,"subjects":{"sockeye.in.t":3}"#)).unwrap();
    }
    let said = String::from_utf8_lossy(&scripted.out).into_owned();
    assert!(said.contains(r#""deliver_policy":"by_start_sequence""#), "{said}");
    assert!(said.contains(r#""opt_start_seq":4"#), "{said}");
    scripted.answers("", r#"{"name":"c"}"#).unwrap();
    for (sequence, count, pending) in [(4, 1, 2), (6, 2, 1), (8, 3, 0)] {
        scripted
            .hears(
                format!("MSG sockeye.in.t 3 $JS.ACK.SOCKEYE.c.1.{sequence}.{count}.17.{pending} 1\r\nb\r\n").as_bytes(),
            )
            .unwrap();
    }
    scripted.answers("", r#"{"message":{"seq":4}}"#).unwrap();
    assert_eq!(places(&scripted.happened()), [(6, 4), (8, 6)]);
}

#[test]
fn messages_that_overtake_each_other_are_put_in_order() {
    // nats-server 2.9 publishes again outside of its lock: what two clients publish at once may change places.
    let mut scripted = ready_with_history(100);
    scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
    scripted.answers("", &stream(r#""first_seq":0,"last_seq":0"#)).unwrap();
    scripted.happened();
    for (sequence, last) in [(1, 0), (6, 3), (3, 1), (7, 6)] {
        scripted.hears(republished(2, sequence, last, "x").as_bytes()).unwrap();
    }
    assert_eq!(places(&scripted.happened()), [(1, 0)]);
    scripted.answers("", &stream(r#""first_seq":1,"last_seq":7,"subjects":{"sockeye.in.t":3}"#)).unwrap();
    assert_eq!(places(&scripted.happened()), [(3, 1), (6, 3), (7, 6)]);
    scripted.hears(republished(2, 8, 7, "x").as_bytes()).unwrap();
    assert_eq!(places(&scripted.happened()), [(8, 7)]);
}

#[test]
fn another_stream_of_the_same_name_ends_the_connection() {
    for (sequence, last) in [(1, 0), (7, 0)] {
        let mut scripted = ready_with_history(100);
        scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
        scripted.answers("", &stream(r#""first_seq":0,"last_seq":0"#)).unwrap();
        scripted.hears(republished(2, 4, 0, "a").as_bytes()).unwrap();
        scripted.happened();
        scripted.hears(republished(2, sequence, last, "b").as_bytes()).unwrap();
        let other = stream(r#""first_seq":1,"last_seq":9"#).replace("000005Z", "000006Z");
        let error = scripted.answers("", &other).unwrap_err();
        assert!(error.to_string().contains("SOCKEYE was deleted"), "{error}");
        assert_eq!(scripted.happened(), []);
    }
}

#[test]
fn answers_that_are_none_end_the_connection() {
    for json in ["", "{", "[]", "{}", r#"{"error":{}}"#, r#"{"error":{"err_code":1,"description":"no \u001b"}}"#] {
        let mut scripted = ready(nats().history(History::new(3)).unwrap(), 100);
        let error = scripted.answers("", json).unwrap_err();
        assert!(!error.to_string().contains('\x1b'), "{error}");
    }
    for json in ["x", "{}", r#"{"name":""}"#, r#"{"name":"a b"}"#, r#"{"name":"a.>"}"#] {
        let mut scripted = ready_with_history(100);
        scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
        scripted.answers("", &stream(r#""first_seq":1,"last_seq":9,"subjects":{"sockeye.in.t":2}"#)).unwrap();
        assert!(matches!(scripted.answers("", json), Err(BrokerError::Protocol(_))), "{json}");
    }
    let mut scripted = ready_with_history(100);
    scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
    scripted.answers("", r#"{"error":{"err_code":10008,"description":"busy"}}"#).unwrap();
    assert!(matches!(&scripted.happened()[..], [Event::Unsubscribed { reason, .. }] if reason.contains("busy")));
}

/// Lines that a broker might say, with some of their words changed.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![0..12_u64, Just(u64::MAX), any::<u64>()];
    prop_oneof![
        Just(b"PING\r\n".to_vec()),
        Just(b"PONG\r\n".to_vec()),
        Just(INFO.to_vec()),
        (number(), number(), number())
            .prop_map(|(sid, sequence, last)| republished(sid, sequence, last, "x").into_bytes()),
        (number(), number(), number(), number()).prop_map(|(sid, sequence, count, pending)| {
            format!("MSG sockeye.in.t {sid} $JS.ACK.S.c.1.{sequence}.{count}.17.{pending} 1\r\nb\r\n").into_bytes()
        }),
        (number(), number(), "(404 |503 |409 Batch Completed|409 Exceeded MaxRequestBatch of )").prop_map(
            |(sid, most, status)| {
                let headers = format!("NATS/1.0 {status}{most}\r\n\r\n");
                format!("HMSG a {sid} {0} {0}\r\n{headers}\r\n", headers.len()).into_bytes()
            }
        ),
        (number(), number()).prop_map(|(sid, total)| format!("HMSG a {sid} 3 {total}\r\nabc\r\n").into_bytes()),
        "(-ERR '[a-z ]*'|-ERR 'Permissions Violation for (Publish|Subscription) to \"sockeye.(in|out).t\"')\r\n"
            .prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_words_of_a_broker_make_it_panic(
        words in proptest::collection::vec((lines(), 0..8_u8), 0..20),
        size in 1..50_usize,
        with_history: bool,
    ) {
        let mut scripted = if with_history { reading(size) } else { ready(nats(), size) };
        for (ticket, (words, act)) in words.into_iter().enumerate() {
            if scripted.hears(&words).is_err() {
                scripted.act(|nats, _| nats.lost());
                scripted = if with_history { reading(size) } else { ready(nats(), size) };
            }
            match act {
                0 => drop(scripted.act(|nats, io| nats.subscribe("t", None, io))),
                1 => scripted.act(|nats, io| nats.unsubscribe("t", io)),
                2 => drop(scripted.publish(ticket as u64, "t", b"x")),
                3 => scripted.act(|nats, io| nats.ping(io)),
                4 => scripted.act(|nats, io| nats.secured(io)),
                _ => {}
            }
            // Each piece is answered by a bounded number of events.
            prop_assert!(scripted.happened().len() < 1000);
        }
    }
}
