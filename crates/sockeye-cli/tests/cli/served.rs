//! What `serve` and `echo` do for their clients.

use crate::support::{BINARY, CLOSE, Client, PING, PONG, Running, TEXT, get};
use rustix::process::{Resource, Signal, getrlimit};

const COUNTER: &str = "dumb-increment-protocol";
const MIRROR: &str = "lws-mirror-protocol";

fn running(arguments: &[&str]) -> (Running, String) {
    let (subcommand, rest) = arguments.split_first().unwrap();
    let running = Running::start(&[&[*subcommand, "--port", "0"], rest].concat());
    let address = running.address();
    (running, address)
}

/// What `serve` prints is clicked: a browser opens it. The others are for WebSocket clients.
#[test]
fn an_address_is_one_to_open() {
    for (subcommand, scheme) in [("serve", "http"), ("echo", "ws"), ("fraggle", "ws")] {
        let line = Running::start(&[subcommand, "--port", "0"]).line();
        assert!(line.starts_with(&format!("listening on {scheme}://127.0.0.1:")) && line.ends_with('/'), "{line}");
    }
}

/// A table that grows while connections come makes the loop stand still.
#[test]
fn the_table_of_descriptors_does_not_grow() {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    for (arguments, least) in [(&["echo"][..], 65_536), (&["echo", "--max-connections", "5000"], 5064)] {
        let (running, address) = running(arguments);
        Client::open(&address, "").unwrap();
        let size = running.table_size();
        assert!((least.min(limit)..=131_072).contains(&size), "room for {size} descriptors, {least} may be open");
    }
}

#[test]
fn the_page_and_its_parts() {
    let (_running, address) = running(&["serve"]);
    for (path, media_type, text) in [
        ("/", "text/html", "id=\"canvas\""),
        ("/app.js", "text/javascript", "lws-mirror-protocol"),
        ("/style.css", "text/css", "prefers-color-scheme"),
        ("/favicon.svg", "image/svg+xml", "<svg"),
    ] {
        let (head, body) = get(&address, path);
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {media_type}")), "{path}: {head}");
        assert!(head.contains("content-security-policy: default-src 'none'"), "{path}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
        assert!(String::from_utf8(body).unwrap().contains(text), "{path}");
    }
    assert!(get(&address, "/nothing").0.starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_folder_is_served_beside_the_protocols() {
    let folder = std::env::temp_dir().join(format!("sockeye-served-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("hello.txt"), "hello").unwrap();
    let (_running, address) = running(&["serve", folder.to_str().unwrap()]);
    assert_eq!(get(&address, "/hello.txt").1, b"hello");
    assert!(get(&address, "/app.js").0.starts_with("HTTP/1.1 404 "));
    Client::speaking(&address, COUNTER).expect("0");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_counter_counts_and_is_reset() {
    let (_running, address) = running(&["serve"]);
    let mut client = Client::speaking(&address, COUNTER);
    for number in 0..5 {
        client.expect(&number.to_string());
    }
    client.text("reset\n");
    loop {
        let (opcode, text) = client.frame();
        assert_eq!(opcode, TEXT);
        if text == b"0" {
            break;
        }
    }
    client.expect("1");
}

#[test]
fn a_close_test_counts_to_49_and_closes() {
    let (_running, address) = running(&["serve", "--close-test"]);
    let mut counter = Client::speaking(&address, COUNTER);
    let mut mirror = Client::speaking(&address, MIRROR);
    mirror.text("c #ffffff 1 2 3;");
    for number in 0..50 {
        counter.expect(&number.to_string());
    }
    assert_eq!(counter.closed(), 1000);
    mirror.send(PING, b"x");
    assert_eq!(mirror.frame(), (PONG, b"x".to_vec()), "and nothing was mirrored");
}

#[test]
fn the_mirror_sends_everything_to_everybody_as_text() {
    let (running, address) = running(&["serve"]);
    let mut writer = Client::speaking(&address, MIRROR);
    let mut reader = Client::speaking(&address, MIRROR);
    writer.text("d #000000 1 2 3 4;");
    writer.send(BINARY, b"c #ffffff 1 2 3;");
    writer.send(BINARY, b"\xff\xfe");
    writer.text("last");
    for client in [&mut writer, &mut reader] {
        client.expect("d #000000 1 2 3 4;");
        client.expect("c #ffffff 1 2 3;");
        client.expect("last");
    }
    running.log_line("not UTF-8");
}

/// Far more than the ring and all socket buffers hold: the writers are held back, and nobody misses anything.
/// In two threads, since pages count over all of them.
#[test]
fn pages_hear_how_many_they_are_and_no_peer_can_say_that() {
    let running = Running::start(&["serve", "--port", "0", "--threads", "2"]);
    let address = running.address();
    let page = || Client::open_at(&address, "/?canvas", &format!("Sec-WebSocket-Protocol: {MIRROR}\r\n")).unwrap();
    let mut first = page();
    assert_eq!(first.frame(), (BINARY, b"pages 1".to_vec()));
    let mut second = page();
    assert_eq!(second.frame(), (BINARY, b"pages 2".to_vec()));
    assert_eq!(first.frame(), (BINARY, b"pages 2".to_vec()));
    let mut program = Client::speaking(&address, MIRROR);
    program.send(BINARY, b"pages 99");
    for client in [&mut program, &mut first, &mut second] {
        client.expect("pages 99");
    }
    drop(second);
    assert_eq!(first.frame(), (BINARY, b"pages 1".to_vec()));
}

#[test]
fn a_slow_reader_of_the_mirror_loses_nothing() {
    const MESSAGES: usize = 4_000;
    let (running, address) = running(&["serve", "--log-level", "info"]);
    let mut slow = Client::speaking(&address, MIRROR);
    let mut others = [Client::speaking(&address, MIRROR), Client::speaking(&address, MIRROR)];
    // An answer shows that each of them is one of the readers.
    for (number, client) in others.iter_mut().enumerate() {
        client.send(PING, b"");
        assert_eq!(client.frame(), (PONG, Vec::new()), "{number}");
    }
    let threads: Vec<_> = others
        .into_iter()
        .enumerate()
        .flat_map(|(writer, mut client)| {
            let mut own = client.reader();
            let padding = "x".repeat(8_000);
            let reading = move || (0..MESSAGES).for_each(|_| _ = own.frame());
            let writing =
                move || (0..MESSAGES / 2).for_each(|number| client.text(&format!("{writer} {number} {padding}")));
            [std::thread::spawn(reading), std::thread::spawn(writing)]
        })
        .collect();
    running.log_line("stops reading until");
    let mut next = [0; 2];
    for _ in 0..MESSAGES {
        let text = String::from_utf8(slow.frame().1).unwrap();
        let mut words = text.split(' ');
        let writer: usize = words.next().unwrap().parse().unwrap();
        assert_eq!(words.next().unwrap().parse(), Ok(next[writer]));
        next[writer] += 1;
    }
    assert_eq!(next, [MESSAGES / 2; 2]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// The one that reads nothing is closed; until then the others wait, and then they go on.
#[test]
fn a_dead_reader_of_the_mirror_does_not_stop_the_others() {
    const MESSAGES: usize = 4_000;
    let (running, address) = running(&["serve"]);
    let mut dead = Client::speaking(&address, MIRROR);
    let mut alive = Client::speaking(&address, MIRROR);
    let mut writer = alive.reader();
    let writing = std::thread::spawn(move || (0..MESSAGES).for_each(|_| writer.text(&"x".repeat(8_000))));
    let reading = std::thread::spawn(move || (0..MESSAGES).for_each(|_| _ = alive.frame()));
    running.log_line("read too slowly");
    assert_eq!(dead.closed(), 1008);
    writing.join().unwrap();
    reading.join().unwrap();
}

#[test]
fn only_listed_origins_may_connect() {
    let (_running, address) =
        running(&["serve", "--origin", "https://example.com", "--origin", "http://other.test:8080"]);
    let origin = |origin: &str| Client::open(&address, &format!("Origin: {origin}\r\n"));
    for allowed in ["https://example.com", "https://EXAMPLE.com:443", "http://other.test:8080"] {
        assert!(origin(allowed).is_ok(), "{allowed}");
    }
    for refused in [
        "http://example.com",
        "https://example.com.evil.test",
        "null",
        "http://other.test",
        "https://x\r\nOrigin: https://example.com",
    ] {
        let answer = origin(refused).err().unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{refused}: {answer}");
    }
    assert!(Client::open(&address, "").is_ok(), "not a browser");
}

#[test]
fn an_origin_may_be_required() {
    let (_running, address) = running(&["serve", "--origin", "https://example.com", "--require-origin"]);
    assert!(Client::open(&address, "").err().unwrap().starts_with("HTTP/1.1 403 "));
}

#[test]
fn echo_returns_messages_with_their_kind() {
    let (running, address) = running(&["echo"]);
    let mut client = Client::open(&address, "").unwrap();
    client.text("grüß");
    client.send(BINARY, b"\xff\x00");
    client.send(BINARY, b"");
    client.text("");
    client.expect("grüß");
    assert_eq!(client.frame(), (BINARY, b"\xff\x00".to_vec()));
    assert_eq!(client.frame(), (BINARY, b"".to_vec()));
    client.expect("");
    client.send(0, b"");
    assert_eq!(client.closed(), 1002, "a continuation of nothing");
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn echo_takes_the_first_subprotocol() {
    let (_running, address) = running(&["echo"]);
    let mut client = Client::speaking(&address, "chat, superchat");
    client.text("x");
    client.expect("x");
}

#[test]
fn echo_broadcasts_what_begins_with_the_prefix() {
    let (_running, address) = running(&["echo", "--broadcast", "all:"]);
    let mut one = Client::open(&address, "").unwrap();
    let mut two = Client::open(&address, "").unwrap();
    two.text("here");
    two.expect("here");
    one.text("mine");
    one.text("all:ours");
    one.expect("mine");
    one.expect("all:ours");
    two.expect("all:ours");
}

#[test]
fn echo_refuses_a_longer_message_than_allowed() {
    let (_running, address) = running(&["echo", "--max-message", "1k"]);
    let mut client = Client::open(&address, "").unwrap();
    client.send(BINARY, &[7; 1024]);
    assert_eq!(client.frame(), (BINARY, vec![7; 1024]));
    client.send(BINARY, &[7; 1025]);
    assert_eq!(client.closed(), 1009);
}

#[test]
fn no_more_connections_than_allowed() {
    let (_running, address) = running(&["echo", "--max-connections", "1"]);
    let mut first = Client::open(&address, "").unwrap();
    let waiting = std::thread::spawn(move || Client::open(&address, "").unwrap().text("x"));
    first.text("x");
    first.expect("x");
    assert!(!waiting.is_finished());
    drop(first);
    waiting.join().unwrap();
}

#[test]
fn metrics_are_off_by_default_and_served_where_they_are_asked_for() {
    for arguments in [&["serve"][..], &["echo"]] {
        let (_running, address) = running(arguments);
        assert!(!get(&address, "/metrics").0.starts_with("HTTP/1.1 200 "), "{arguments:?}");
        let (_running, address) = running(&[arguments, &["--metrics", "/metrics"]].concat());
        assert!(get(&address, "/nothing").0.starts_with("HTTP/1.1 404 "));
        let root = if arguments == ["echo"] { "HTTP/1.1 426 " } else { "HTTP/1.1 200 " };
        assert!(get(&address, "/").0.starts_with(root));
        let mut client = Client::open(&address, "").unwrap();
        client.send(PING, b"x");
        client.frame();
        let (head, page) = get(&address, "/metrics");
        assert!(
            head.to_lowercase().contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{head}"
        );
        let page = String::from_utf8(page).unwrap();
        for line in [
            "# TYPE sockeye_connections gauge",
            "sockeye_websockets 1",
            "sockeye_received_frames_total{kind=\"ping\"} 1",
            "sockeye_sent_frames_total{kind=\"pong\"} 1",
            "sockeye_http_responses_total{status=\"404\"} 1",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}: {page}");
        }
    }
    let (_running, address) = running(&["serve"]);
    assert!(get(&address, "/metrics").0.starts_with("HTTP/1.1 404 "));
}

/// A figure is a field, so that a program can ask for it.
#[test]
fn statistics_are_fields() {
    let (running, address) = running(&["echo", "--log-format", "json"]);
    drop(Client::open(&address, "").unwrap());
    running.signal(Signal::USR1);
    let object = |message: &str| {
        let line = running.log_line(&format!(r#""message":"{message}""#));
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    };
    let connections = object("connections");
    assert_eq!((&connections["accepted"], &connections["peak"]), (&1.into(), &1.into()), "{connections}");
    let status = object("responses by status");
    assert_eq!((&status["name"], &status["count"]), (&"101".into(), &1.into()), "{status}");
}

#[test]
fn what_was_done_is_logged_at_the_end() {
    for subcommand in ["serve", "echo"] {
        let (running, address) = running(&[subcommand, "--log-format", "human"]);
        let mut client = Client::open(&address, "").unwrap();
        client.send(PING, b"x");
        client.frame();
        running.signal(Signal::TERM);
        assert_eq!(client.closed(), 1001);
        client.send(CLOSE, &1001_u16.to_be_bytes());
        let line = running.log_line("websockets ");
        assert!(line.contains(" NOTICE "), "{line}");
        assert!(line.ends_with("websockets now=0 peak=1 opened_by_peers=1 opened_by_us=0 closed=1"), "{line}");
        assert!(running.log_line("received ").contains(" pings=1 pongs=0 closes=1"));
        assert!(running.log_line("loop ").contains(" turns="));
        assert!(running.log_line("stalls ").contains(" longest_turn_us="));
        assert!(running.log_line("closed by cause").ends_with("closed by cause name=handshake count=1"));
        assert!(running.log_line("responses by status").ends_with("responses by status name=101 count=1"));
        assert!(running.ended().success());
    }
}
