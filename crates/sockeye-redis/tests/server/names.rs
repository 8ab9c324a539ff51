//! Names of topics that could be wildcards, separators or commands.

use crate::driver::hub;
use crate::redis::Server;

/// All of them are subscribed at once, and each is published to: none gets what is for another.
fn names() -> Vec<String> {
    let fixed = [
        "*",
        "?",
        "a?",
        "a*",
        "[a-z]",
        "a[^b]",
        "\\*",
        ">",
        "a.>",
        "a..b",
        ".",
        "",
        " ",
        " a ",
        "a b",
        "a\tb",
        "a\r\nb",
        "\r\n",
        "\n",
        "\0",
        "a\0b",
        "a\r\nPUBLISH sockeye:a x\r\n",
        "*1\r\n$8\r\nFLUSHALL\r\n",
        "$-1\r\n",
        "$1\r\na\r\n",
        "{a}",
        "}",
        "{}",
        "}{",
        "a}b{c",
        "sockeye:a",
        ":",
        "a",
        "ab",
        "b",
        "A",
        "größer",
        "gro\u{308}ßer",
        "\u{202e}a",
        "\u{feff}a",
        "🦀",
        "%00",
        "%2a",
        "__keyspace@0__:a",
        "__redis__:invalidate",
        "\"",
        "'",
        "a\\r\\nb",
        "-",
        "+OK",
        "subscribe",
        "{t:a}meta",
        "a}meta",
    ];
    let mut names: Vec<String> = fixed.iter().map(|name| (*name).to_owned()).collect();
    names.extend(["x".repeat(255), "x".repeat(256), "é*".repeat(300), "\r\n".repeat(1000), "y".repeat(64 * 1024)]);
    names
}

#[test]
fn a_name_is_never_more_than_a_name() {
    let server = Server::start();
    let (mut one, mut two) = (hub(&server), hub(&server));
    let names = names();
    names.iter().for_each(|name| two.subscribed(name));
    for (number, name) in names.iter().enumerate() {
        one.published(name, &number.to_string());
    }
    for (number, name) in names.iter().enumerate() {
        assert_eq!(two.text(name), number.to_string(), "{name:?}");
    }
    for name in &names {
        two.unsubscribe(name);
    }
    two.subscribed("last");
    for name in &names {
        one.published(name, "to nobody");
    }
    one.published("last", "one");
    assert_eq!(two.text("last"), "one");
}

#[test]
fn a_name_is_never_more_than_a_name_with_history() {
    let server = Server::start();
    let connect = || {
        let redis = sockeye_redis::Redis::new("redis://localhost").expect("a URL");
        let redis = redis.history(sockeye_redis::History::new(3)).expect("a history");
        crate::driver::Hub::connected(redis, &server)
    };
    let (mut one, mut two) = (connect(), connect());
    let names = names();
    for (number, name) in names.iter().enumerate() {
        assert_eq!(one.published(name, &number.to_string()).expect("a position").offset, 1, "{name:?}");
    }
    for (number, name) in names.iter().enumerate() {
        let loaded = two.loaded(name, None);
        let payloads: Vec<&[u8]> = loaded.messages.iter().map(|message| message.payload.as_slice()).collect();
        assert_eq!(payloads, [number.to_string().as_bytes()], "{name:?}");
    }
    for name in &names {
        one.published(name, "live");
        assert_eq!(two.text(name), "live", "{name:?}");
    }
}

#[test]
fn prefixes_are_apart() {
    let server = Server::start();
    let of = |prefix: &str| {
        let redis = sockeye_redis::Redis::new("redis://localhost").expect("a URL");
        crate::driver::Hub::connected(redis.prefix(prefix).expect("a prefix"), &server)
    };
    let (mut one, mut two, mut three) = (of("a:"), of("a:"), of(""));
    two.subscribed("t");
    three.subscribed("t");
    three.subscribed("a:t");
    one.published("t", "one");
    assert_eq!(two.text("t"), "one");
    assert_eq!(three.text("a:t"), "one");
    assert!(sockeye_redis::Redis::new("redis://localhost").expect("a URL").prefix("{a}").is_err());
}
