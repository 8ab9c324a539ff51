//! Topics, from callbacks of both roles: who gets what, in which order with everything else, and what slow readers do to it.

use std::time::Duration;

use sockeye::protocol::{Fragmented, Tx};
use sockeye::sim::Faults;
use sockeye::topics::{Delivery, SlowReader, SubscribeError, TopicOptions};
use sockeye::{CloseCode, ConnId, Cx, Limits};

use super::World;

fn publish(cx: &mut Cx<'_>, topic: &str, text: &str) -> [u64; 3] {
    counts(cx.own_protocol().topic(topic).publish(text))
}

fn counts(Delivery { queued, dropped, closed, .. }: Delivery) -> [u64; 3] {
    [queued, dropped, closed]
}

fn subscribe(cx: &mut Cx<'_>, id: ConnId, topic: &str) {
    assert_eq!(cx.connection(id).unwrap().subscribe(topic), Ok(true));
}

/// What three connections of one side get from the other, whose connection 0 does what `script` says, in one callback. First the
/// server does it, then the client, which frames and masks for each connection.
fn both_roles(script: impl Fn(&mut Cx<'_>, [ConnId; 3]) + Copy + 'static, expected: [&str; 3]) {
    for of_client in [false, true] {
        let mut world = World::new(3);
        let (actor, other) = world.actor(of_client);
        let ids = [actor.id(0), actor.id(1), actor.id(2)];
        actor.on_message(move |cx| {
            script(cx, ids);
            Ok(())
        });
        World::go(if of_client { &mut world.server } else { &mut world.client }, 0);
        world.pass(Duration::from_millis(10));
        assert_eq!([other.text(0), other.text(1), other.text(2)], expected, "of a client: {of_client}");
    }
}

#[test]
fn subscribers_get_what_is_published_while_they_are_subscribed() {
    both_roles(
        |cx, [own, second, third]| {
            assert_eq!(publish(cx, "a", "nobody"), [0; 3]);
            subscribe(cx, own, "a");
            assert_eq!(cx.subscribe("a"), Ok(false));
            assert_eq!(publish(cx, "a", "1"), [1, 0, 0]);
            subscribe(cx, second, "a");
            subscribe(cx, second, "b");
            assert_eq!(publish(cx, "a", "2"), [2, 0, 0]);
            assert_eq!(publish(cx, "b", "3"), [1, 0, 0]);
            assert!(cx.unsubscribe("a") && !cx.unsubscribe("a"));
            assert_eq!(publish(cx, "a", "4"), [1, 0, 0]);
            subscribe(cx, own, "a");
            subscribe(cx, third, "a");
            assert_eq!(publish(cx, "a", "5"), [3, 0, 0]);
            assert_eq!(counts(cx.own_protocol().topic("a").publish_except(own, "6")), [2, 0, 0]);
            assert_eq!(counts(cx.own_protocol().topic("b").publish_except(own, "7")), [1, 0, 0]);
            assert_eq!(cx.connection(second).unwrap().topics(), ["a", "b"]);
            let mut protocol = cx.own_protocol();
            let a = protocol.topic("a");
            assert_eq!((a.name(), a.subscriber_count(), a.subscriber_ids()), ("a", 3, vec![own, second, third]));
        },
        ["1 2 5", "2 3 4 5 6 7", "5 6"],
    );
}

#[test]
fn topics_keep_the_order_of_all_that_is_published_and_pushed() {
    both_roles(
        |cx, [own, second, third]| {
            cx.own_protocol().publish_text("1");
            subscribe(cx, second, "a");
            publish(cx, "a", "2");
            cx.connection(second).unwrap().push("3").unwrap();
            cx.connection(third).unwrap().push("4").unwrap();
            subscribe(cx, third, "b");
            publish(cx, "b", "5");
            cx.own_protocol().publish_text("6");
            publish(cx, "a", "7");
            subscribe(cx, own, "b");
            publish(cx, "b", "8");
            cx.push("9").unwrap();
            cx.connection(second).unwrap().close(CloseCode::NORMAL);
            publish(cx, "a", "10");
            assert!(cx.connection(third).unwrap().unsubscribe("b"));
            cx.connection(third).unwrap().push("11").unwrap();
        },
        // A close is carried out after the callback.
        ["1 6 8 9", "1 2 3 6 7 10", "1 4 5 6 8 11"],
    );
}

#[test]
fn what_a_connection_sends_itself_comes_behind_its_topics() {
    for of_client in [false, true] {
        let mut world = World::new(2);
        let (actor, other) = world.actor(of_client);
        actor.on_message(|cx| {
            cx.subscribe("a").unwrap();
            publish(cx, "a", "1");
            cx.request_writable();
            Ok(())
        });
        actor.on_writable(|cx, tx| {
            let after = tx.idle().unwrap().text("2");
            publish(cx, "a", "3");
            let after = after.more().unwrap().text("4");
            publish(cx, "b", "not for it");
            publish(cx, "a", "6");
            _ = after.more().unwrap().begin_text("5a");
            cx.request_writable();
            Ok(())
        });
        actor.on_writable(|_, tx| {
            match tx {
                Tx::Mid(Fragmented::Text(fragments)) => _ = fragments.finish("5b"),
                _ => panic!("not what was begun"),
            }
            Ok(())
        });
        World::go(if of_client { &mut world.server } else { &mut world.client }, 0);
        world.pass(Duration::from_millis(10));
        assert_eq!(other.text(0), "1 2 3 4 6 5a5b");
    }
}

/// A server whose second client does not read, with something waiting for that client.
fn with_a_slow_reader(options: TopicOptions) -> World {
    let mut limits = Limits::default();
    (limits.output_low_water, limits.output_hard) = (1000, 20_000);
    let mut world = World::with(Faults::none().with_buffers(500, 500), limits, 2);
    let (first, slow) = (world.server.notes.id(0), world.server.notes.id(1));
    let reader = world.client.notes.id(1);
    world.client.control().connection(reader).unwrap().pause_reading();
    let mut control = world.server.control();
    control.connection(slow).unwrap().push("x".repeat(3000)).unwrap();
    for id in [first, slow] {
        control.connection(id).unwrap().subscribe("a").unwrap();
    }
    control.protocol_named("scripted").unwrap().topic("a").set_options(options).unwrap();
    world.pass(Duration::from_millis(10));
    world
}

impl World {
    fn publish_to_a(&mut self, text: &str) -> [u64; 3] {
        let delivery = self.server.control().protocol_named("scripted").unwrap().topic("a").publish(text);
        self.pass(Duration::from_millis(1));
        counts(delivery)
    }

    /// What both clients have received of the topic, once the slow one has read all there is.
    fn read_on(&mut self) -> [String; 2] {
        let reader = self.client.notes.id(1);
        self.client.control().connection(reader).unwrap().resume_reading();
        self.pass(Duration::from_secs(1));
        let slow = self.client.notes.text(1);
        [self.client.notes.text(0), slow.trim_start_matches('x').trim_start().to_owned()]
    }
}

#[test]
fn a_slow_reader_loses_what_its_topic_says_and_nobody_else_loses_anything() {
    let keep = |slow_reader| TopicOptions::default().with_slow_reader(slow_reader).with_waiting_messages(2);
    for (slow_reader, fate, left) in
        [(SlowReader::DropOldest, [1, 1, 0], "3 4"), (SlowReader::DropNewest, [1, 1, 0], "1 2")]
    {
        let mut world = with_a_slow_reader(keep(slow_reader));
        assert_eq!([world.publish_to_a("1"), world.publish_to_a("2")], [[2, 0, 0]; 2]);
        assert_eq!([world.publish_to_a("3"), world.publish_to_a("4")], [fate; 2]);
        assert_eq!(world.read_on(), ["1 2 3 4", left]);
        assert_eq!(world.publish_to_a("5"), [2, 0, 0], "it has caught up");
        assert_eq!(world.read_on(), ["1 2 3 4 5".to_owned(), format!("{left} 5")]);
        let topics = world.server.service.statistics().topics;
        assert_eq!([topics.published, topics.queued, topics.dropped, topics.closed], [5, 8, 2, 0]);
    }
    let mut world = with_a_slow_reader(keep(SlowReader::Close));
    assert_eq!([world.publish_to_a("1"), world.publish_to_a("2")], [[2, 0, 0]; 2]);
    assert_eq!([world.publish_to_a("3"), world.publish_to_a("4")], [[1, 0, 1], [1, 0, 0]]);
    let slow = world.server.notes.id(1);
    let again = world.server.control().connection(slow).map(|mut connection| connection.subscribe("a"));
    assert_eq!(again, Ok(Err(SubscribeError::NotOpen)));
    assert_eq!(world.read_on()[0], "1 2 3 4");
    assert_eq!(world.closed_codes(1), [1013, 1013]);
}

#[test]
fn of_each_key_the_latest_waits_for_a_slow_reader() {
    let options = TopicOptions::default().with_slow_reader(SlowReader::KeepLatest).with_waiting_messages(2);
    let mut world = with_a_slow_reader(options);
    for (key, text, fate) in
        [("a", "a1", [2, 0, 0]), ("b", "b1", [2, 0, 0]), ("a", "a2", [1, 1, 0]), ("b", "b2", [1, 1, 0])]
    {
        let mut control = world.server.control();
        let delivery = control.protocol_named("scripted").unwrap().topic("a").publish_latest(key, text);
        assert_eq!(counts(delivery), fate, "{text}");
        world.pass(Duration::from_millis(1));
    }
    assert_eq!(world.read_on(), ["a1 b1 a2 b2", "a2 b2"]);
}

/// What is published for all and pushed waits behind the topic's messages, and what is published before them goes before them.
#[test]
fn a_slow_reader_gets_everything_in_order() {
    let mut world = with_a_slow_reader(TopicOptions::default());
    let slow = world.server.notes.id(1);
    let mut control = world.server.control();
    let mut own = control.protocol_named("scripted").unwrap();
    own.publish_text("1");
    own.topic("a").publish("2");
    own.connection(slow).unwrap().push("3").unwrap();
    own.topic("a").publish("4");
    own.publish_text("5");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.publish_to_a("6"), [2, 0, 0]);
    world.server.control().connection(slow).unwrap().push("7").unwrap();
    world.pass(Duration::from_millis(1));
    assert_eq!(world.read_on(), ["1 2 4 5 6", "1 2 3 4 5 6 7"]);
}

#[test]
fn who_leaves_or_ends_gets_nothing_of_what_waited() {
    let mut world = with_a_slow_reader(TopicOptions::default());
    assert_eq!(world.publish_to_a("1"), [2, 0, 0]);
    let slow = world.server.notes.id(1);
    assert!(world.server.control().connection(slow).unwrap().unsubscribe("a"));
    assert_eq!(world.publish_to_a("2"), [1, 0, 0]);
    world.server.control().connection(slow).unwrap().subscribe("a").unwrap();
    assert_eq!(world.publish_to_a("3"), [2, 0, 0]);
    let held = world.server.service.statistics().held_bytes;
    assert_eq!(world.read_on(), ["1 2 3", "3"]);
    world.server.control().connection(slow).unwrap().abort();
    world.pass(Duration::from_millis(10));
    assert_eq!(world.publish_to_a("4"), [1, 0, 0]);
    let statistics = world.server.service.statistics();
    assert_eq!((statistics.topics_now, statistics.subscriptions_now), (1, 1));
    assert!(held > 2000 && statistics.held_bytes < 1000, "{held}, then {}", statistics.held_bytes);
}

/// Closing it from the server sends what waits before the Close frame.
#[test]
fn what_waits_goes_before_a_close() {
    let mut world = with_a_slow_reader(TopicOptions::default());
    let slow = world.server.notes.id(1);
    for text in ["1", "2"] {
        world.publish_to_a(text);
    }
    world.server.control().connection(slow).unwrap().close(CloseCode::NORMAL);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.read_on(), ["1 2", "1 2"]);
    assert_eq!(world.closed_codes(1), [1000, 1000]);
}

#[test]
fn the_limits_of_topics_are_kept() {
    let mut limits = Limits::default();
    (limits.topics_per_connection, limits.topic_name_bytes, limits.topics) = (2, 3, 3);
    let mut world = World::with(Faults::none(), limits, 2);
    let (first, second) = (world.server.notes.id(0), world.server.notes.id(1));
    let mut control = world.server.control();
    let mut subscribe = |id, topic: &str| control.connection(id).unwrap().subscribe(topic);
    assert_eq!([subscribe(first, "a"), subscribe(first, "öb")], [Ok(true); 2]);
    assert_eq!(subscribe(first, "c"), Err(SubscribeError::TooManyForConnection));
    assert_eq!([subscribe(first, "a"), subscribe(second, "c")], [Ok(false), Ok(true)]);
    assert_eq!(subscribe(second, "d"), Err(SubscribeError::TooManyTopics));
    assert_eq!([subscribe(second, ""), subscribe(second, "four")], [Err(SubscribeError::Name); 2]);
    let mut own = control.protocol_named("scripted").unwrap();
    assert_eq!(own.topic("e").set_options(TopicOptions::default()), Err(SubscribeError::TooManyTopics));
    assert_eq!(own.topic("four").set_options(TopicOptions::default()), Err(SubscribeError::Name));
    assert!(control.connection(first).unwrap().unsubscribe("öb"));
    assert_eq!(control.connection(second).unwrap().subscribe("d"), Ok(true));
    world.pass(Duration::from_millis(1));
    let limits = world.server.service.statistics().limits;
    assert_eq!([limits.topics_per_connection, limits.topics, limits.topic_name_bytes], [1, 1, 2]);
    assert_eq!(world.server.service.statistics().topics_now, 3);
}

/// What the writable callback sends goes behind what waits for the slow reader by then, of whichever kind.
#[test]
fn what_a_slow_reader_is_sent_keeps_the_order_too() {
    for is_pushed in [false, true] {
        let mut world = with_a_slow_reader(TopicOptions::default());
        assert_eq!(world.publish_to_a("1"), [2, 0, 0]);
        let slow = world.server.notes.id(1);
        world.server.notes.on_writable(move |cx, tx| {
            if is_pushed {
                cx.push("2").unwrap();
            } else {
                cx.own_protocol().publish_text("2");
            }
            publish(cx, "a", "3");
            let after = tx.idle().unwrap().text("4");
            publish(cx, "a", "5");
            _ = after.more().unwrap().text("6");
            Ok(())
        });
        world.server.control().connection(slow).unwrap().request_writable();
        world.pass(Duration::from_millis(1));
        assert_eq!(world.read_on()[1], "1 2 3 4 5 6");
    }
}

#[test]
fn a_topic_waits_for_the_end_of_a_fragmented_message_and_goes_before_the_next() {
    let mut world = World::new(1);
    let id = world.server.notes.id(0);
    world.server.notes.on_writable(|_, tx| {
        _ = tx.idle().unwrap().begin_text("1a");
        Ok(())
    });
    let mut control = world.server.control();
    control.connection(id).unwrap().subscribe("a").unwrap();
    control.connection(id).unwrap().request_writable();
    world.pass(Duration::from_millis(1));
    world.server.control().protocol_named("scripted").unwrap().publish_text("2");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.publish_to_a("3"), [1, 0, 0]);
    world.server.notes.on_writable(|_, tx| {
        let Tx::Mid(Fragmented::Text(fragments)) = tx else { panic!("not what was begun") };
        _ = fragments.finish("1b").more().unwrap().text("4");
        Ok(())
    });
    world.server.control().connection(id).unwrap().request_writable();
    world.pass(Duration::from_millis(1));
    assert_eq!(world.client.notes.text(0), "1a1b 2 3 4");
}

/// A message that would overtake what has no room beside it is lost, and nothing grows beyond its bound.
#[test]
fn what_waits_for_a_slow_reader_is_bounded_and_in_order() {
    let options = TopicOptions::default().with_slow_reader(SlowReader::DropNewest);
    let mut world = with_a_slow_reader(options);
    let slow = world.server.notes.id(1);
    assert_eq!(world.publish_to_a(&"1".repeat(6000)), [2, 0, 0]);
    assert_eq!(world.publish_to_a(&"2".repeat(6000)), [1, 1, 0], "half of the bound is for others");
    let mut control = world.server.control();
    assert!(control.connection(slow).unwrap().queued_bytes() > 6000);
    control.connection(slow).unwrap().push("3".repeat(9000)).unwrap();
    assert!(control.connection(slow).unwrap().push("4".repeat(9000)).is_err());
    assert_eq!(counts(control.protocol_named("scripted").unwrap().topic("a").publish("5")), [1, 1, 0]);
    world.pass(Duration::from_millis(1));
    let text = world.read_on()[1].clone();
    assert_eq!(text.split(' ').map(|message| &message[..1]).collect::<String>(), "13", "{text:.20}");
}

/// Subscriptions are bounded by limits of their own: no connection could be shed for them.
#[test]
fn many_subscriptions_do_not_hold_the_loop_up() {
    let mut limits = Limits::default();
    limits.total_bytes = Some(1 << 20);
    let mut world = World::with(Faults::none(), limits, 3);
    for client in 0..3 {
        let id = world.server.notes.id(client);
        let mut control = world.server.control();
        for number in 0..1024 {
            let name = format!("{client} {number:0>240}");
            control.connection(id).unwrap().subscribe(&name).unwrap();
        }
    }
    world.pass(Duration::from_secs(1));
    assert_eq!(world.server.service.statistics().subscriptions_now, 3 * 1024);
    assert_eq!(world.server.service.statistics().limits.total_bytes, 0);
}
