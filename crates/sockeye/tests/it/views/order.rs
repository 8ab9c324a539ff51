//! Nothing overtakes a published message: what is sent, pushed or closed after it arrives after it, at every connection of the
//! protocol.

use std::rc::Rc;
use std::time::Duration;

use sockeye::protocol::Tx;
use sockeye::sim::Faults;
use sockeye::{Close, CloseCode, ConnId, Cx, Limits};

use super::{Notes, World};

/// What two connections of one side received from the other side, whose connection 0 had `script` to do. First the server
/// does it, then the client, with frames of its own for each connection.
fn both_roles(script: impl Fn(&Rc<Notes>, [ConnId; 2]), expected: [&str; 2]) -> [World; 2] {
    [false, true].map(|of_client| {
        let mut world = World::new(2);
        let (actor, other) = world.actor(of_client);
        script(&actor, [actor.id(0), actor.id(1)]);
        World::go(if of_client { &mut world.server } else { &mut world.client }, 0);
        world.pass(Duration::from_millis(10));
        assert_eq!([other.text(0), other.text(1)], expected, "of a client: {of_client}");
        world
    })
}

fn publish(cx: &mut Cx<'_>, text: &str) {
    cx.own_protocol().publish_text(text);
}

fn send(tx: Tx<'_>, text: &str) -> Result<(), Close> {
    tx.idle().expect("no message is unfinished").text(text);
    Ok(())
}

#[test]
fn it_arrives_before_the_close_of_another() {
    let worlds = both_roles(
        |notes, [_, other]| {
            notes.on_message(move |cx| {
                publish(cx, "1");
                cx.connection(other).unwrap().close(CloseCode::POLICY);
                publish(cx, "2");
                Ok(())
            });
        },
        ["1 2", "1 2"],
    );
    for world in worlds {
        assert_eq!(world.closed_codes(1), [1008, 1008]);
    }
}

#[test]
fn it_arrives_before_a_close_of_ones_own() {
    for by_return in [false, true] {
        let worlds = both_roles(
            move |notes, _| {
                notes.on_message(move |cx| {
                    publish(cx, "1");
                    if by_return {
                        return Err(CloseCode::NORMAL.into());
                    }
                    cx.close(CloseCode::NORMAL);
                    Ok(())
                });
            },
            ["1", "1"],
        );
        for world in worlds {
            assert_eq!(world.closed_codes(0), [1000, 1000]);
        }
    }
}

#[test]
fn it_arrives_before_what_the_writable_callback_sends() {
    both_roles(
        |notes, [own, other]| {
            notes.on_message(move |cx| {
                publish(cx, "1");
                for id in [own, other] {
                    cx.connection(id).unwrap().request_writable();
                }
                Ok(())
            });
            notes.on_writable(|cx, tx| {
                send(tx, "2")?;
                publish(cx, "3");
                Ok(())
            });
            notes.on_writable(|_, tx| send(tx, "4"));
        },
        ["1 2 3", "1 3 4"],
    );
}

#[test]
fn it_arrives_before_what_the_same_callback_sends_after_it() {
    both_roles(
        |notes, _| {
            notes.on_message(|cx| {
                cx.request_writable();
                Ok(())
            });
            notes.on_writable(|cx, tx| {
                let after = tx.idle().unwrap().text("1");
                publish(cx, "2");
                let after = after.more().unwrap().text("3");
                publish(cx, "4");
                after.more().unwrap().begin_text("5").more().unwrap().finish("6");
                Ok(())
            });
        },
        ["1 2 3 4 56", "2 4"],
    );
}

/// It waits for the end of the message, and is the next one then.
#[test]
fn it_arrives_right_behind_a_fragmented_message_that_had_begun() {
    both_roles(
        |notes, [_, other]| {
            notes.on_message(move |cx| {
                cx.connection(other).unwrap().request_writable();
                Ok(())
            });
            notes.on_writable(move |cx, tx| {
                publish(cx, "0");
                tx.idle().unwrap().begin_text("a");
                publish(cx, "1");
                cx.set_timer(Duration::from_millis(1));
                cx.request_writable();
                Ok(())
            });
            notes.on_writable(|cx, tx| {
                // The turn may be another: it is held by now, or about to be.
                publish(cx, "2");
                let Tx::Mid(sockeye::protocol::Fragmented::Text(fragments)) = tx else { panic!("it is unfinished") };
                let after = fragments.fragment("b").more().unwrap().finish("c");
                after.more().unwrap().text("3");
                publish(cx, "4");
                Ok(())
            });
        },
        ["0 1 2 4", "0 abc 1 2 3 4"],
    );
}

#[test]
fn it_arrives_before_what_a_later_turn_sends_behind_a_held_message() {
    for of_client in [false, true] {
        let mut world = World::new(2);
        let (actor, other) = world.actor(of_client);
        let id = actor.id(1);
        actor.on_writable(|_, tx| {
            tx.idle().unwrap().begin_text("a");
            Ok(())
        });
        world.control_of(of_client).connection(id).unwrap().request_writable();
        world.pass(Duration::from_millis(1));
        for text in ["1", "2"] {
            world.control_of(of_client).protocol_named("scripted").unwrap().publish_text(text);
            world.pass(Duration::from_millis(1));
        }
        assert_eq!([other.text(0), other.text(1)], ["1 2", ""]);
        actor.on_writable(|_, tx| {
            let Tx::Mid(sockeye::protocol::Fragmented::Text(fragments)) = tx else { panic!("it is unfinished") };
            fragments.finish("b").more().unwrap().text("3");
            Ok(())
        });
        let mut control = world.control_of(of_client);
        control.protocol_named("scripted").unwrap().publish_text("4");
        control.connection(id).unwrap().request_writable();
        world.pass(Duration::from_millis(1));
        assert_eq!([other.text(0), other.text(1)], ["1 2 4", "ab 1 2 4 3"]);
    }
}

/// By the program between turns, in the order in which it was asked.
#[test]
fn it_arrives_before_what_is_asked_for_from_outside() {
    for of_client in [false, true] {
        let mut world = World::new(2);
        let (actor, other) = world.actor(of_client);
        actor.on_writable(|_, tx| send(tx, "2"));
        let ids = [actor.id(0), actor.id(1)];
        let mut control = world.control_of(of_client);
        control.protocol_named("scripted").unwrap().publish_text("1");
        control.connection(ids[0]).unwrap().request_writable();
        control.connection(ids[1]).unwrap().close(CloseCode::NORMAL);
        control.protocol_named("scripted").unwrap().publish_text("3");
        world.pass(Duration::from_millis(10));
        assert_eq!([other.text(0), other.text(1)], ["1 3 2", "1 3"]);
        assert_eq!(world.closed_codes(1), [1000, 1000]);
    }
}

/// With more than leaves in one piece, to peers that take little at a time.
#[test]
fn the_order_holds_for_many_bytes_and_slow_peers() {
    for of_client in [false, true] {
        let faults = Faults::none().with_buffers(10_000, 10_000).with_segment(1_000);
        let mut world = World::with(faults, Limits::default(), 2);
        let (actor, other) = world.actor(of_client);
        let ids = [actor.id(0), actor.id(1)];
        let long = |text: &str| text.repeat(40_000);
        actor.on_message(move |cx| {
            for text in ["a", "b", "c", "d"] {
                publish(cx, &long(text));
                cx.connection(ids[0]).unwrap().request_writable();
            }
            cx.connection(ids[1]).unwrap().close(CloseCode::NORMAL);
            publish(cx, "e");
            Ok(())
        });
        actor.on_writable(|_, tx| send(tx, "f"));
        World::go(if of_client { &mut world.server } else { &mut world.client }, 0);
        world.until(|_| other.closed.borrow().len() == 1 && other.text(0).ends_with('f'));
        let short: Vec<String> = [0, 1].map(|index| short(&other.text(index))).into();
        assert_eq!(short, ["abcdef", "abcde"]);
    }
}

/// Each letter once, instead of as often as it is repeated.
fn short(text: &str) -> String {
    let mut letters: Vec<char> = text.chars().filter(|letter| *letter != ' ').collect();
    letters.dedup();
    letters.into_iter().collect()
}

#[test]
fn what_was_published_is_framed_once_in_a_turn() {
    let mut world = World::new(2);
    world.pass(Duration::from_millis(1));
    let before = world.server.service.statistics().clone();
    let handle = world.server.handle;
    for text in ["1", "2", "3"] {
        world.server.control().protocol(handle).unwrap().publish_text(text);
    }
    world.pass(Duration::from_millis(1));
    let statistics = world.server.service.statistics();
    assert_eq!(statistics.work.publishes - before.work.publishes, 1);
    assert_eq!(statistics.sent.messages - before.sent.messages, 6);
}
