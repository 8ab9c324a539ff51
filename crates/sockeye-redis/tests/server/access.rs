//! Passwords, users and their rights, and servers that are of no use.

use std::time::Duration;

use sockeye_hub::backplane::{BrokerError, Event};
use sockeye_redis::{History, Redis};

use crate::driver::Hub;
use crate::redis::Server;

fn attempt(server: &Server, url: &str) -> Result<Hub, String> {
    match Hub::refused_or_connected(Redis::new(url).expect("a URL"), server) {
        Ok(hub) => Ok(hub),
        Err(BrokerError::Refused(why)) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_password_is_asked_for_and_checked() {
    let server = Server::with(&["--requirepass", "s3cret word"]);
    let refused = |url: &str| attempt(&server, url).err().expect("a refusal");
    let none = refused("redis://localhost");
    assert!(none.contains("redis://:password@host"), "{none}");
    let wrong = refused("redis://:wr0ng@localhost");
    assert!(wrong.starts_with("WRONGPASS") && !wrong.contains("wr0ng"), "{wrong}");
    assert!(refused("redis://nobody:s3cret%20word@localhost").starts_with("WRONGPASS"));
    assert!(attempt(&server, "redis://:s3cret%20word@localhost").is_ok());
    assert!(attempt(&server, "redis://default:s3cret%20word@localhost/5").is_ok());
    let database = refused("redis://:s3cret%20word@localhost/99");
    assert!(database.contains("out of range"), "{database}");
}

#[test]
fn a_user_needs_no_more_rights_than_the_readme_gives() {
    let server = Server::start();
    let readme = include_str!("../../README.md");
    let rule = readme.lines().find(|line| line.starts_with("ACL SETUSER chat ")).expect("a rule for a user");
    let words: Vec<&[u8]> = rule.split(' ').map(str::as_bytes).collect();
    assert_eq!(server.command(&words), "+OK");
    let connect = || attempt(&server, "redis://chat:secret@localhost").unwrap_or_else(|why| panic!("{why}"));
    let (mut one, mut two) = (connect(), connect());
    one.event("Ready");
    two.event("Ready");
    two.subscribed("t");
    one.published("t", "text");
    assert_eq!(two.text("t"), "text");
    two.ping();
    two.unsubscribe("t");
    two.subscribed("t");
}

#[test]
fn nor_does_one_with_history() {
    let server = Server::start();
    let readme = include_str!("../../README.md");
    let rules = readme.lines().filter(|line| line.starts_with("ACL SETUSER chat "));
    for rule in rules {
        let words: Vec<&[u8]> = rule.split(' ').map(str::as_bytes).collect();
        assert_eq!(server.command(&words), "+OK");
    }
    let connect = || {
        let redis = Redis::new("redis://chat:secret@localhost/3").expect("a URL");
        let history = History::new(2).age(Duration::from_secs(60));
        Hub::connected(redis.history(history).expect("a history"), &server)
    };
    let (mut one, mut two) = (connect(), connect());
    one.published("t", "1");
    assert_eq!(two.loaded("t", None).offset, 1);
    one.published("t", "2");
    assert_eq!(two.text("t"), "2");
    // Every command that a script may come to.
    assert_eq!(server.command(&[b"FLUSHALL"]), "+OK");
    one.published("t", "3");
    assert_eq!(two.reloaded("t").offset, 1);
    let redis = Redis::new("redis://chat:secret@localhost/3").expect("a URL");
    let mut three = Hub::connected(redis.history(History::new(2)).expect("a history"), &server);
    three.published("t", "4");
    three.loaded("t", None);
    assert_eq!(server.command(&[b"SCRIPT", b"FLUSH"]), "+OK");
    two.unsubscribe("t");
    two.loaded("t", None);
}

#[test]
fn rights_that_a_history_lacks_are_named() {
    let server = Server::start();
    let rule = b"ACL SETUSER chat on >secret ~* &* +@all -script";
    let words: Vec<&[u8]> = rule.split(|byte| *byte == b' ').collect();
    assert_eq!(server.command(&words), "+OK");
    let redis =
        Redis::new("redis://chat:secret@localhost").expect("a URL").history(History::new(2)).expect("a history");
    let why = Hub::refused_or_connected(redis, &server).err().expect("a refusal").to_string();
    assert!(why.contains("NOPERM") && why.contains("script") && why.contains("README"), "{why}");
}

#[test]
fn what_a_user_may_not_do_is_reported() {
    let server = Server::start();
    let rule = b"ACL SETUSER chat on >secret resetchannels &sockeye:open +@all";
    let words: Vec<&[u8]> = rule.split(|byte| *byte == b' ').collect();
    assert_eq!(server.command(&words), "+OK");
    let mut hub = attempt(&server, "redis://chat:secret@localhost").unwrap_or_else(|why| panic!("{why}"));
    hub.event("Ready");
    hub.subscribe("closed", None);
    let event = hub.event("Unsubscribed");
    assert!(
        matches!(&event, Event::Unsubscribed { topic, reason } if topic == "closed" && reason.starts_with("NOPERM")),
        "{event:?}"
    );
    let sent = hub.publish("closed", "text");
    let event = hub.event("Refused");
    assert!(
        matches!(&event, Event::Refused { ticket, reason } if *ticket == sent && reason.starts_with("NOPERM")),
        "{event:?}"
    );
    hub.subscribed("open");
    hub.published("open", "text");
}

#[test]
fn what_a_user_may_not_publish_is_refused_together_and_not_kept() {
    const MANY: u64 = 100;
    let server = Server::start();
    let rule = |channels: &str| {
        let rule = format!("ACL SETUSER chat on >secret resetchannels {channels} ~* +@all");
        let words: Vec<&[u8]> = rule.as_bytes().split(|byte| *byte == b' ').collect();
        assert_eq!(server.command(&words), "+OK");
    };
    rule("&sockeye:open");
    let redis = Redis::new("redis://chat:secret@localhost").expect("a URL");
    let mut hub = Hub::connected(redis.history(History::new(200)).expect("a history"), &server);
    let sent: Vec<u64> = (0..MANY).map(|_| hub.publish("closed", "text")).collect();
    for ticket in sent {
        let event = hub.event("Refused");
        assert!(
            matches!(&event, Event::Refused { ticket: refused, reason } if *refused == ticket && reason.contains("can't publish")),
            "{event:?}"
        );
    }
    rule("&*");
    let sent: Vec<u64> = (0..MANY).map(|_| hub.publish("closed", "text")).collect();
    for (index, ticket) in sent.into_iter().enumerate() {
        let event = hub.event("Published");
        let Event::Published { ticket: published, position: Some(position) } = event else { panic!("{event:?}") };
        // The numbers of what was refused are not used again.
        assert_eq!((published, position.offset), (ticket, MANY + 1 + index as u64));
    }
    let loaded = hub.loaded("closed", None);
    assert_eq!((loaded.messages.len() as u64, loaded.is_complete), (MANY, true));
}

#[test]
fn what_has_been_published_is_not_refused_for_what_comes_after() {
    for command in ["xrange", "xdel", "pexpire"] {
        let server = Server::start();
        let rule = format!("ACL SETUSER chat on >secret &* ~* +@all -{command}");
        let words: Vec<&[u8]> = rule.as_bytes().split(|byte| *byte == b' ').collect();
        assert_eq!(server.command(&words), "+OK");
        let history = || History::new(9).age(Duration::from_secs(60));
        let redis = |url: &str| Redis::new(url).expect("a URL").history(history()).expect("a history");
        let mut reader = Hub::connected(redis("redis://localhost"), &server);
        let mut writer = Hub::connected(redis("redis://chat:secret@localhost"), &server);
        reader.published("t", "1");
        // As if it were long ago.
        let (meta, log) = (&b"sockeye:{t:t}meta"[..], &b"sockeye:{t:t}log"[..]);
        assert_eq!(server.command(&[b"HSET", meta, b"offset", b"2"]), ":0");
        assert_eq!(server.command(&[b"XDEL", log, b"1-0"]), ":1");
        assert_eq!(server.command(&[b"XADD", log, b"2-0", b"t", b"1 0", b"m", b"\x01\xff\xff\xff\xffold"]), "2-0");
        reader.loaded("t", None);
        assert_eq!(writer.published("t", "3").expect("a position").offset, 3, "without {command}");
        assert_eq!(reader.text("t"), "3");
    }
}

#[test]
fn a_replica_is_refused() {
    let primary = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", "1"]);
    assert!(attempt(&primary, "redis://localhost").is_ok());
    let why = attempt(&replica, "redis://localhost").err().expect("a refusal");
    assert!(why.contains("name the primary"), "{why}");
}
