//! Which pages may talk to a server of the command, which names it answers to, and which files it keeps to itself.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::support::{Folder, PATIENCE, Running, failure, request};

/// A server, and `127.0.0.1:PORT`.
fn server(arguments: &[&str]) -> (Running, String) {
    let running = Running::start(arguments);
    let address = running.address();
    (running, address)
}

fn started(arguments: &[&str]) -> (Running, String) {
    server(&[arguments, &["--port", "0"]].concat())
}

/// A client that waits for a client.
fn listening(options: &[&str]) -> (Running, String) {
    let running = Running::start(&[&["connect", "--listen", "0", "--hold"], options].concat());
    let line = running.log_line("listening on ws://");
    let address = line.split("ws://").nth(1).unwrap().trim_end_matches('/').to_owned();
    (running, address)
}

fn upgrade(host: &str, origin: Option<&str>) -> String {
    let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
    format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{origin}\r\n"
    )
}

fn plain(path: &str, host: &str, origin: Option<&str>) -> String {
    let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{origin}\r\n")
}

/// Status and body of what is refused; 101 and nothing of what is not.
fn answer(address: &str, text: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    answer_on(&mut stream, text)
}

fn answer_on(stream: &mut (impl Read + Write), text: &str) -> (u16, String) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"));
    let mut body = Vec::new();
    if status != 101 {
        stream.read_to_end(&mut body).unwrap();
    }
    (status, String::from_utf8(body).unwrap())
}

/// Each kind of server that the command has, by the options that start it.
fn kinds() -> Vec<(Running, String)> {
    vec![
        started(&["serve"]),
        started(&["serve", "."]),
        started(&["serve", "--threads", "2"]),
        started(&["echo"]),
        started(&["fraggle"]),
        listening(&["--reconnect"]),
    ]
}

#[test]
fn pages_of_other_sites_are_refused_and_those_of_the_server_are_not() {
    for (_running, address) in kinds() {
        let port = address.rsplit(':').next().unwrap();
        for foreign in [
            "http://evil.example".to_owned(),
            format!("http://evil.example:{port}"),
            format!("http://{address}.evil.example"),
            "http://127.0.0.1:1".to_owned(),
            "http://127.0.0.1".to_owned(),
            format!("http://localhost:{port}"),
            format!("http://{address}/"),
            format!("app://{address}"),
            "null".to_owned(),
            "file://".to_owned(),
            "*".to_owned(),
            format!("http://{address}\r\nOrigin: http://evil.example"),
        ] {
            let (status, body) = answer(&address, &upgrade(&address, Some(&foreign)));
            assert_eq!(status, 403, "{address} {foreign}");
            assert!(body.contains("--origin") && body.contains("--any-origin"), "{body}");
            let (status, _) = answer(&address, &plain("/", &address, Some(&foreign)));
            assert_eq!(status, 403, "{address} {foreign}, not a WebSocket");
        }
    }
    for (_running, address) in kinds() {
        let (status, body) = answer(&address, &upgrade(&address, Some(&format!("http://{address}"))));
        assert_eq!(status, 101, "{body}");
    }
    for (_running, address) in kinds() {
        assert_eq!(answer(&address, &upgrade(&address, None)).0, 101, "a program");
    }
}

#[test]
fn a_page_is_of_the_server_by_each_name_that_the_server_has() {
    let (_running, address) = started(&["echo", "--host", "box.example"]);
    let port = address.rsplit(':').next().unwrap();
    for host in ["localhost", "app.localhost", "[::1]", "192.0.2.7", "box.example"] {
        let here = format!("{host}:{port}");
        assert_eq!(answer(&address, &upgrade(&here, Some(&format!("http://{here}")))).0, 101, "{host}");
        // A proxy in front ended TLS, and gave the host on.
        assert_eq!(answer(&address, &upgrade(host, Some(&format!("https://{host}")))).0, 101, "{host}");
        assert_eq!(answer(&address, &upgrade(&here, Some(&format!("http://{host}")))).0, 403, "{host}, other port");
    }
}

#[test]
fn origins_that_are_named_may_connect_beside_the_servers_own() {
    for subcommand in ["serve", "echo"] {
        let (_running, address) = started(&[subcommand, "--origin", "https://a.example"]);
        for (origin, status) in [
            (Some("https://a.example"), 101),
            (Some("http://a.example"), 403),
            (Some(&*format!("http://{address}")), 101),
            (None, 101),
        ] {
            assert_eq!(answer(&address, &upgrade(&address, origin)).0, status, "{subcommand} {origin:?}");
        }
        let (_running, address) = started(&[subcommand, "--any-origin"]);
        for origin in [Some("http://evil.example"), Some("null"), None] {
            assert_eq!(answer(&address, &upgrade(&address, origin)).0, 101, "{subcommand} {origin:?}");
        }
        assert_eq!(answer(&address, &upgrade("evil.example", None)).0, 421, "any origin is not any host");
        let (_running, address) = started(&[subcommand, "--require-origin"]);
        assert_eq!(answer(&address, &upgrade(&address, None)).0, 403, "{subcommand}");
        assert_eq!(answer(&address, &upgrade(&address, Some(&format!("http://{address}")))).0, 101, "{subcommand}");
        assert_ne!(answer(&address, &plain("/", &address, None)).0, 403, "a page is loaded without an origin");
    }
}

#[test]
fn a_client_that_listens_admits_the_origin_that_it_is_given() {
    let evil = upgrade("localhost", Some("http://a.example"));
    for options in [&["--origin", "http://a.example"][..], &["--any-origin"]] {
        let (_running, address) = listening(options);
        assert_eq!(answer(&address, &evil).0, 101, "{options:?}");
    }
    let (_running, address) = listening(&["--any-host"]);
    assert_eq!(answer(&address, &upgrade("a.example", None)).0, 101);
}

#[test]
fn names_that_others_could_have_are_misdirected_unless_they_are_given() {
    let wrong = [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evillocalhost",
        "2130706433",
        "box.example.evil.example",
    ];
    for (_running, address) in kinds() {
        let port = address.rsplit(':').next().unwrap();
        for host in wrong.map(|host| format!("{host}:{port}")) {
            // What a page whose name was made to resolve here sends: its origin is that of the host.
            for text in [
                upgrade(&host, Some(&format!("http://{host}"))),
                upgrade(&host, None),
                plain("/", &host, None),
                plain(&format!("http://{host}/"), &address, None),
            ] {
                let (status, body) = answer(&address, &text);
                assert_eq!(status, 421, "{text}");
                assert!(body.contains("--host") && body.contains("--any-host"), "{body}");
            }
        }
    }
    for subcommand in ["serve", "echo"] {
        let (_running, address) = started(&[subcommand, "--host", "box.example", "--host", "other.example:80"]);
        for (host, is_served) in [
            ("box.example", true),
            ("BOX.example:1", true),
            ("other.example:80", true),
            ("other.example:81", false),
            ("sub.box.example", false),
            ("localhost", true),
        ] {
            assert_eq!(answer(&address, &upgrade(host, None)).0 == 101, is_served, "{subcommand} {host}");
        }
        let (_running, address) = started(&[subcommand, "--any-host"]);
        assert_eq!(answer(&address, &upgrade("evil.example", None)).0, 101);
        assert_eq!(answer(&address, &upgrade("evil.example", Some("http://a.example"))).0, 403);
        // A balancer that asks in HTTP/1.0 how it goes names no host.
        let (head, _) = request(&address, "GET / HTTP/1.0\r\n\r\n");
        assert!(!head.contains(" 421 "), "{head}");
    }
}

#[test]
fn a_proxy_gives_host_and_origin_on_and_a_unix_socket_has_any_name() {
    let folder = Folder::new("admission");
    let path = folder.path("socket");
    let socket = format!("unix:{path}");
    let options = ["--proxy-protocol", "127.0.0.1", "--host", "site.example"];
    let (running, address) =
        server(&[&["echo", "--port", "0", "--interface", "127.0.0.1", "--interface", &socket][..], &options].concat());
    assert_eq!(running.line(), format!("listening on {socket}"));
    for (host, origin, status) in [
        ("site.example", Some("https://site.example"), 101),
        ("site.example", Some("https://evil.example"), 403),
        ("localhost", Some("https://site.example"), 403),
        ("localhost", None, 101),
        ("other.example", None, 421),
    ] {
        let text = upgrade(host, origin);
        let through = format!("PROXY TCP4 192.0.2.7 203.0.113.1 56244 443\r\n{text}");
        assert_eq!(answer(&address, &through).0, status, "{host} {origin:?}, through a proxy");
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // No browser can be led there; a program may call it as it likes.
        let status = if status == 421 { 101 } else { status };
        assert_eq!(answer_on(&mut stream, &text).0, status, "{host} {origin:?}, over a Unix socket");
    }
}

#[test]
fn files_whose_name_begins_with_a_dot_are_kept_unless_asked_for() {
    let folder = Folder::new("admission");
    for (name, text) in [
        (".env", "secret"),
        (".git/config", "secret"),
        ("sub/.htpasswd", "secret"),
        (".well-known/security.txt", "public"),
        ("page.txt", "public"),
    ] {
        let path = folder.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let files = |options: &[&str]| started(&[&["serve", folder.0.to_str().unwrap()], options].concat());
    let (_running, address) = files(&[]);
    for path in ["/.env", "/.git/config", "/.git", "/.git/", "/%2eenv", "/sub/.htpasswd", "/x/../.env", "/.nothing"] {
        assert_eq!(answer(&address, &plain(path, &address, None)).0, 404, "{path}");
    }
    for path in ["/.well-known/security.txt", "/page.txt"] {
        assert_eq!(answer(&address, &plain(path, &address, None)), (200, "public".to_owned()), "{path}");
    }
    let (_running, address) = files(&["--dot-files"]);
    for path in ["/.env", "/.git/config", "/sub/.htpasswd"] {
        assert_eq!(answer(&address, &plain(path, &address, None)), (200, "secret".to_owned()), "{path}");
    }
}

/// A page can have files of another site in a script or picture without that anything names its origin.
#[test]
fn browsers_are_told_that_files_are_for_pages_of_the_same_site() {
    let files = |options: &[&str]| {
        let (_running, address) = started(&[&["serve", "."], options].concat());
        request(&address, &plain("/Cargo.toml", &address, None)).0
    };
    assert!(files(&[]).contains("\r\nCross-Origin-Resource-Policy: same-site\r\n"));
    for options in [&["--any-origin"][..], &["--origin", "https://a.example"]] {
        assert!(!files(options).contains("Cross-Origin-Resource-Policy"), "{options:?}");
    }
}

#[test]
fn the_first_refusal_is_a_warning() {
    let (running, address) = started(&["echo"]);
    answer(&address, &upgrade(&address, Some("http://evil.example")));
    let line = running.log_line("this origin may not connect");
    assert!(line.contains("level=warn") && line.contains("origin=http://evil.example"), "{line}");
    answer(&address, &upgrade("evil.example", None));
    let line = running.log_line("this host is not served here");
    assert!(line.contains("level=warn") && line.contains("host=evil.example") && line.contains("--host"), "{line}");
}

#[test]
fn hosts_and_origins_that_cannot_be_are_named() {
    for (arguments, word) in [
        (&["serve", "--host", "http://a.example/"][..], "such as example.com"),
        (&["echo", "--host", "*.example.com"], "--any-host"),
        (&["echo", "--origin", "*"], "--any-origin"),
        (&["echo", "--origin", "example.com"], "scheme://host"),
        (&["serve", "--any-origin", "--origin", "http://a.example"], "cannot be used with"),
        (&["serve", "--any-origin", "--require-origin"], "cannot be used with"),
        (&["serve", "--any-host", "--host", "a.example"], "cannot be used with"),
        (&["serve", "--dot-files"], "<DIR>"),
        (&["connect", "ws://a/", "--any-host"], "cannot be used with"),
        (&["fraggle", "ws://a/", "--any-origin"], "cannot be used with"),
    ] {
        let (code, error) = failure(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
}
