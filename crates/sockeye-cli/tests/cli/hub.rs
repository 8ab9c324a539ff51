//! `sockeye serve --topics`.

use serde_json::{Value, json};

use crate::support::{BINARY, Client, Folder, Running, TEXT, failure, get, request};

const TOPICS: &str = "sockeye.topics.v1";

/// A message of a hub.
fn json_of(client: &mut Client) -> Value {
    let (opcode, payload) = client.frame();
    assert_eq!(opcode, TEXT);
    serde_json::from_slice(&payload).unwrap()
}

fn ask(client: &mut Client, what: &Value) -> Value {
    client.text(&what.to_string());
    json_of(client)
}

fn post(address: &str, path: &str, headers: &str, body: &str) -> (String, String) {
    let length = body.len();
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    let (head, body) = request(address, &text);
    (head.split(' ').nth(1).unwrap().to_owned(), String::from_utf8(body).unwrap())
}

#[test]
fn who_has_the_token_that_was_printed_publishes_and_anybody_subscribes() {
    let hub = Running::start(&["serve", "--topics", "--port", "0"]);
    let address = hub.address();
    let line = hub.line();
    let token = line.strip_prefix("token for publishing: ").unwrap_or_else(|| panic!("{line}"));
    assert!(token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    let mut reader = Client::speaking(&address, TOPICS);
    let subscribed = ask(&mut reader, &json!({"type": "subscribe", "id": 1, "topic": "a/b c"}));
    assert_eq!((&subscribed["type"], &subscribed["offset"]), (&json!("subscribed"), &json!(0)));
    let mut writer = Client::speaking(&address, TOPICS);
    let publish = json!({"type": "publish", "id": 2, "topic": "a/b c", "data": "one"});
    assert_eq!(ask(&mut writer, &publish)["code"], "denied");
    let authorize = |token: &str| json!({"type": "authorize", "id": 3, "token": token});
    assert_eq!(ask(&mut writer, &authorize("wrong"))["code"], "denied");
    assert_eq!(ask(&mut writer, &authorize(token))["type"], "authorized");
    assert_eq!(ask(&mut writer, &publish)["offset"], 1);
    let message = json_of(&mut reader);
    assert_eq!((&message["data"], &message["previous"], &message["offset"]), (&json!("one"), &json!(0), &json!(1)));

    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(post(&address, "/topics/a%2Fb%20c", "", "two").0, "401");
    assert_eq!(post(&address, "/topics/a%2Fb%20c", "Authorization: Bearer wrong\r\n", "two").0, "403");
    let (status, body) = post(&address, "/topics/a%2Fb%20c?key=k", &bearer, "two");
    assert_eq!((status.as_str(), serde_json::from_str::<Value>(&body).unwrap()["offset"].clone()), ("200", json!(2)));
    let message = json_of(&mut reader);
    assert_eq!((&message["data"], &message["key"]), (&json!("two"), &json!("k")));
    let octets = format!("{bearer}Content-Type: application/octet-stream\r\n");
    assert_eq!(post(&address, "/topics/a/b%20c", &octets, "three").0, "200");
    let (opcode, payload) = reader.frame();
    assert!(opcode == BINARY && payload.ends_with(b"a/b cthree"), "{payload:?}");
    // RFC 9110, section 8.3.1: "The type and subtype tokens are case-insensitive", and parameters may follow.
    let octets = format!("{bearer}Content-Type: Application/Octet-Stream; a=b\r\n");
    assert_eq!(post(&address, "/topics/a/b%20c", &octets, "three").0, "200");
    let (opcode, again) = reader.frame();
    assert!(opcode == BINARY && again.ends_with(b"a/b cthree"), "{again:?}");
    assert_eq!(post(&address, "/topics/", &bearer, "x").0, "400");
    assert_eq!(post(&address, &format!("/topics/{}", "n".repeat(256)), &bearer, "x").0, "400");
    assert_eq!(post(&address, "/topics/t", &bearer, &"x".repeat(70_000)).0, "413");
    assert!(get(&address, "/topics/t").0.starts_with("HTTP/1.1 405 "));

    // Who comes back goes on where it was.
    let since = json!({"epoch": subscribed["epoch"], "offset": 1});
    let mut again = Client::speaking(&address, TOPICS);
    let subscribe = json!({"type": "subscribe", "id": 9, "topic": "a/b c", "since": since});
    assert_eq!(ask(&mut again, &subscribe)["recovered"], true);
    assert_eq!(json_of(&mut again)["data"], "two");
    assert_eq!(again.frame(), (BINARY, payload));
}

#[test]
fn pages_of_other_sites_do_not_publish_even_where_anybody_may() {
    let hub = Running::start(&["serve", "--topics", "--open-publish", "--any-origin", "--port", "0"]);
    let address = hub.address();
    assert_eq!(post(&address, "/topics/t", "", "x").0, "200");
    assert_eq!(post(&address, "/topics/t", &format!("Origin: http://{address}\r\n"), "x").0, "200");
    for origin in ["http://evil.example", "null", "https://evil.example:1"] {
        assert_eq!(post(&address, "/topics/t", &format!("Origin: {origin}\r\n"), "x").0, "403", "{origin}");
    }
    let mut writer = Client::speaking(&address, TOPICS);
    let published = ask(&mut writer, &json!({"type": "publish", "id": 1, "topic": "t", "data": ""}));
    assert_eq!((&published["type"], &published["offset"]), (&json!("published"), &json!(3)));
    let (head, body) = get(&address, "/topics.html");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Security-Policy: default-src 'none'"),
        "{head}"
    );
    let page = String::from_utf8(body).unwrap();
    for part in ["topics.js", "topics.css"] {
        assert!(page.contains(part) && get(&address, &format!("/{part}")).0.starts_with("HTTP/1.1 200 "), "{part}");
    }
    assert!(get(&address, "/sockeye-topics.js").1.starts_with(b"//"));
}

#[test]
fn all_threads_have_one_hub() {
    let hub =
        Running::start(&["serve", "--topics", "--open-publish", "--threads", "3", "--history", "2", "--port", "0"]);
    let address = hub.address();
    // The kernel chooses the threads: among so many connections each has some.
    let mut clients: Vec<Client> = (0..24).map(|_| Client::speaking(&address, TOPICS)).collect();
    for client in &mut clients {
        assert_eq!(ask(client, &json!({"type": "subscribe", "id": 1, "topic": "t"}))["type"], "subscribed");
    }
    for number in 1..=5 {
        clients[number]
            .text(&json!({"type": "publish", "id": 2, "topic": "t", "data": number.to_string()}).to_string());
        for (index, client) in clients.iter_mut().enumerate() {
            let mut offsets = Vec::new();
            for _ in 0..if index == number { 2 } else { 1 } {
                offsets.push(json_of(client)["offset"].clone());
            }
            assert!(offsets.iter().all(|offset| *offset == number), "{index}: {offsets:?}");
        }
    }
    let mut late = Client::speaking(&address, TOPICS);
    let subscribed = ask(&mut late, &json!({"type": "subscribe", "id": 1, "topic": "t", "last": 10}));
    assert_eq!(subscribed["offset"], 3);
    assert_eq!([json_of(&mut late)["data"].clone(), json_of(&mut late)["data"].clone()], ["4", "5"]);
}

#[test]
fn what_cannot_be_used_is_said_before_anything_is_opened() {
    let folder = Folder::new("hub");
    let empty = folder.path("empty");
    std::fs::write(&empty, "\n").unwrap();
    let of_topics = |more: &[&str]| failure(&[&["serve", "--topics", "--port", "0"], more].concat());
    for (more, words) in [
        (&["--backplane", "http://127.0.0.1"][..], "write redis://HOST"),
        (&["--backplane", "redis://"], "--backplane: "),
        (&["--backplane", "nats://:0"], "--backplane: "),
        (&["--publish-token", ""], "the token for publishing is empty"),
        (&["--publish-token-file", &empty], "the token for publishing is empty"),
        (&["--publish-token-file", "/nonexistent"], "--publish-token-file /nonexistent"),
        (&["--publish-token", "x", "--open-publish"], "cannot be used with"),
        (&["--topic-message-bytes", "257K"], "at most 256K"),
        (&["--slow-reader", "wait"], "possible values: close, drop-oldest, drop-newest, keep-latest"),
        (&["--waiting-messages", "0"], "--waiting-messages"),
    ] {
        let (code, error) = of_topics(more);
        assert_eq!(code, Some(2), "{more:?}: {error}");
        assert!(error.contains(words), "{more:?}: {error}");
    }
    assert_eq!(failure(&["serve", "--history", "1"]).0, Some(2));
    assert_eq!(failure(&["serve", "--slow-reader", "close"]).0, Some(2));
}
