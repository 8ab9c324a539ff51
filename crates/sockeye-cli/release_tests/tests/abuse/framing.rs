//! SM: where one request ends and the next begins.

use super::support::{Case, Request, Row, Server, TempDir, refused, rows};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Quick:
            sm01_a_length_beside_chunks_is_refused,
            sm02_bad_lengths_are_refused,
            sm03_malformed_fields_are_refused,
            sm04_bad_chunks_are_refused;
    ]
}

/// Each way to ask: the same rules hold for all.
fn kinds() -> [(&'static str, Request); 3] {
    [
        ("GET", Request::get("/canary.txt")),
        ("POST", Request::get("/canary.txt").method("POST")),
        ("upgrade", Request::upgrade("/")),
    ]
}

/// Runs `abuse` beside a server of files.
fn on_files(abuse: impl FnOnce(&Server)) {
    let folder = TempDir::new();
    let mut server = Server::serve(folder.path());
    let row = Row::begin_serve(&server, folder.path());
    abuse(&server);
    row.end(&mut server);
}

fn sm01_a_length_beside_chunks_is_refused() {
    on_files(|server| {
        for (what, request) in kinds() {
            let body = "0\r\n\r\nGET /canary.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let both = request.clone().add("Content-Length", "5").add("Transfer-Encoding", "chunked").body(body);
            refused(server, what, both.bytes(), &[400]);
            let turned = request.add("Transfer-Encoding", "chunked").add("Content-Length", "5").body(body);
            refused(server, what, turned.bytes(), &[400]);
        }
    });
}

fn sm02_bad_lengths_are_refused() {
    on_files(|server| {
        let whole = Request::get("/canary.txt").add("Content-Length", "-999").bytes().len();
        let less = format!("-{whole}");
        let lengths = [
            "-1",
            "+5",
            "0x5",
            "5 5",
            "5, 6",
            "",
            "9223372036854775808",
            "18446744073709551616",
            &less,
            "5,",
            ",5",
            "5;",
            "\u{b2}",
            "1e1",
            "0000000000000000000000000000000000000000000000000000018446744073709551616",
        ];
        for (kind, request) in kinds() {
            for length in lengths {
                let what = format!("{kind}, Content-Length: {length:?}");
                refused(server, &what, request.clone().add("Content-Length", length).body("12345").bytes(), &[400]);
            }
            let two = request.add("Content-Length", "5").add("Content-Length", "6").body("123456");
            refused(server, &format!("{kind}, two lengths"), two.bytes(), &[400]);
        }
    });
}

fn sm03_malformed_fields_are_refused() {
    let lines: [&[u8]; 24] = [
        b"X-Name : value\r\n",
        b"X-Name\t: value\r\n",
        b"X-Name: one\r\n two\r\n",
        b"X-Name: one\r\n\ttwo\r\n",
        b" X-Name: first\r\n",
        b"X-Name: a\0b\r\n",
        b"X-Name: a\rb\r\n",
        b"X-Name: a\x01b\r\n",
        b"X-Name: a\x7fb\r\n",
        b"X-Name: a\x1bb\r\n",
        b"X-\0Name: a\r\n",
        b"X-Name\0: a\r\n",
        b"X-\x01Name: a\r\n",
        b"X-\rName: a\r\n",
        b": no name\r\n",
        b"X-\x80: a\r\n",
        b"X Name: a\r\n",
        b"X(Name): a\r\n",
        b"no colon\r\n",
        b"X-Name: bare line feed\n",
        b"X-Name: a\nY: b\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ];
    on_files(|server| {
        for (kind, request) in kinds() {
            for line in lines {
                let mut bytes = request.bytes();
                bytes.truncate(bytes.len() - 2);
                bytes.extend_from_slice(line);
                bytes.extend_from_slice(b"\r\n");
                refused(server, &format!("{kind}, {:?}", String::from_utf8_lossy(line)), bytes, &[400]);
            }
            let text = String::from_utf8(request.bytes()).expect("ASCII");
            refused(server, &format!("{kind}, bare line feeds"), text.replace("\r\n", "\n"), &[400]);
            let old = request.version("HTTP/1.0").add("Transfer-Encoding", "chunked").body("0\r\n\r\n");
            // Row HS06 lets an upgrade in HTTP/1.0 end with 505 too.
            let statuses: &[u16] = if kind == "upgrade" { &[400, 505] } else { &[400] };
            refused(server, &format!("{kind}, chunks in HTTP/1.0"), old.bytes(), statuses);
        }
    });
}

fn sm04_bad_chunks_are_refused() {
    let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let trailers: String = (0..10_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let trailers = format!("1\r\na\r\n0\r\n{trailers}\r\n");
    let bodies = [
        "ffffffffffffffff\r\na",
        "fffffffffffffffe\r\na",
        "fffffffffffffffff\r\na",
        "00000000000000001\r\na\r\n0\r\n\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        extension.as_str(),
        trailers.as_str(),
    ];
    on_files(|server| {
        // A file takes no POST, which the head decides already.
        for (method, statuses) in [("POST", &[405][..]), ("GET", &[400, 413])] {
            let request = Request::get("/canary.txt").method(method).add("Transfer-Encoding", "chunked");
            for body in bodies {
                let what = format!("{method}, chunks {:?}", &body[..body.len().min(40)]);
                refused(server, &what, request.clone().body(body).bytes(), statuses);
            }
        }
    });
}
