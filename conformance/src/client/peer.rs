//! What is demanded of a server in `conformance/interop/peers`. It knows these paths:
//!
//! * `/` echoes every message; with `?cut=N` in fragments of N bytes, or about that.
//! * `/close?code=N&reason=TEXT` closes at once, with N and TEXT, or without them.
//! * `/drop` ends the TCP connection without a close frame.
//! * `/request` says what was asked for: the target, and the fields `Host`, `Origin`, `Authorization` and `X-Sockeye`, each on a
//!   line, `-` for one that is missing.
//! * `/refuse` answers 403 with the body `go away`, `/moved` 302 with `Location: /request`.
//! * `/ping` pings with 0, 1 and 125 bytes, and says `pongs: 3` when the answers came.
//! * With `ticket=T` in the query the server remembers how that connection was closed: `/seen?ticket=T` says so as soon as it
//!   is, as `MESSAGES CODE REASON`, with the number of messages that had come.
//!
//! It speaks `superchat`, when that is offered.

use sockeye::proto::close::{Cause, Initiator};
use sockeye::proto::wire::MessageKind;
use sockeye::{Close, CloseCode, Closed, Connect};

use crate::checks::{Checks, ensure, equal};
use crate::echo::{self, Cut, SIZES, bytes, echoes, leave, step};
use crate::link::{Event, Link, Piece, Way};

/// Every code that may be sent and that all servers know.
const CODES: [u16; 15] = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999];

const REASON: &str = "until later, née “x”";
const REASON_ENCODED: &str = "until%20later,%20n%C3%A9e%20%E2%80%9Cx%E2%80%9D";

pub(crate) fn run(checks: &mut Checks, name: &str, url: &str, way: &Way) {
    let url = url.trim_end_matches('/');
    echo::run(checks, name, url, way);
    let server = &Server { url, way };
    for size in SIZES {
        checks.check(&format!("{name}: {size} bytes come back in fragments"), || fragments(server, size));
    }
    for code in CODES {
        checks.check(&format!("{name}: we close with {code}, and both know it"), || we_close(server, code));
        checks
            .check(&format!("{name}: the server closes with {code}, and both know it"), || server_closes(server, code));
    }
    checks.check(&format!("{name}: we close without a code"), || {
        let mut link = server.open("/?ticket=none")?;
        link.close(Close::empty())?;
        equal(link.closed()?.code_seen(), 1005)?;
        equal(server.seen("none")?, "0 1005 ".to_owned())
    });
    checks.check(&format!("{name}: the server closes without a code"), || {
        let closed = server.open("/close?ticket=nothing")?.closed()?;
        equal((closed.initiator, closed.code_seen()), (Initiator::Peer, 1005))?;
        equal(server.seen("nothing")?, "0 1005 ".to_owned())
    });
    checks.check(&format!("{name}: what we say right before the close arrives before it"), || {
        let mut link = server.open("/?ticket=hundred")?;
        (0..100).for_each(|number: u32| link.say(Piece::Text(number.to_string())));
        leave(link)?;
        equal(server.seen("hundred")?, "100 1000 ".to_owned())
    });
    checks.check(&format!("{name}: one byte over the limit is refused with 1009"), || over_the_limit(server));
    checks.check(&format!("{name}: a server that vanishes is noticed"), || {
        let closed = server.open("/drop")?.closed()?;
        let vanished = matches!(closed.cause, Cause::Eof | Cause::Reset) && closed.code_seen() == 1006;
        ensure(vanished, || format!("{closed:?}"))
    });
    handshakes(checks, name, server);
    checks.check(&format!("{name}: our pings are answered"), || {
        let mut link = server.open("/")?;
        for size in [0, 1, 125] {
            link.say(Piece::Ping(bytes(size)));
            match link.next()? {
                Event::Pong(payload) => equal(payload, bytes(size))?,
                other => return Err(format!("{other:?}, not a pong")),
            }
        }
        leave(link)
    });
    checks.check(&format!("{name}: the server's pings are answered"), || {
        let mut link = server.open("/ping")?;
        equal(link.text()?, "pongs: 3".to_owned())?;
        leave(link)
    });
    subprotocols(checks, name, server);
    checks.check(&format!("{name}: a hundred connections one after the other"), || {
        (0..100).try_for_each(|size| {
            let mut link = server.open("/")?;
            echoes(&mut link, MessageKind::Binary, size, Cut::Whole)?;
            leave(link)
        })
    });
}

/// A server, and the way to it.
struct Server<'s> {
    /// Without a slash at its end.
    url: &'s str,
    way: &'s Way,
}

impl Server<'_> {
    fn connect(&self, target: &str) -> Result<Connect, String> {
        self.way.connect(&format!("{}{target}", self.url))
    }

    fn open(&self, target: &str) -> Result<Link, String> {
        Link::open(self.connect(target)?)
    }

    /// What the server saw of the end of a connection.
    fn seen(&self, ticket: &str) -> Result<String, String> {
        let mut link = self.open(&format!("/seen?ticket={ticket}"))?;
        let seen = link.text()?;
        leave(link)?;
        Ok(seen)
    }
}

fn fragments(server: &Server<'_>, size: usize) -> Result<(), String> {
    let mut link = server.open(&format!("/?cut={}", step(size)))?;
    for kind in [MessageKind::Binary, MessageKind::Text] {
        let frames = echoes(&mut link, kind, size, Cut::Fragments)?;
        // A text's frames may end inside code points, which hides them here.
        let fragmented = kind == MessageKind::Text || size < 2 || frames > 1;
        ensure(fragmented, || format!("the server sent it whole, in {frames} frame"))?;
    }
    leave(link)
}

fn we_close(server: &Server<'_>, code: u16) -> Result<(), String> {
    let mut link = server.open(&format!("/?ticket=we{code}"))?;
    let close = close(code, REASON)?;
    link.close(close.clone())?;
    let closed = link.closed()?;
    ends(&closed, Initiator::Local, code)?;
    equal(closed.sent, Some(close))?;
    equal(server.seen(&format!("we{code}"))?, format!("0 {code} {REASON}"))
}

fn server_closes(server: &Server<'_>, code: u16) -> Result<(), String> {
    let query = format!("code={code}&reason={REASON_ENCODED}&ticket=server{code}");
    let closed = server.open(&format!("/close?{query}"))?.closed()?;
    ends(&closed, Initiator::Peer, code)?;
    equal(closed.received, Some(close(code, REASON)?))?;
    // The server is told its own code; a reason need not come back.
    let seen = server.seen(&format!("server{code}"))?;
    ensure(seen.starts_with(&format!("0 {code} ")), || format!("the server was told {seen}"))
}

fn over_the_limit(server: &Server<'_>) -> Result<(), String> {
    let mut link = server.open("/?ticket=big")?;
    let most = SIZES[SIZES.len() - 1];
    link.say(Piece::Binary(bytes(most + 1)));
    let closed = link.closed()?;
    let code = closed.sent.as_ref().and_then(Close::code);
    ensure(code == Some(CloseCode::TOO_BIG) && closed.initiator == Initiator::Local, || format!("{closed:?}"))?;
    let seen = server.seen("big")?;
    ensure(seen.starts_with("1 1009 "), || format!("the server saw {seen}"))
}

fn handshakes(checks: &mut Checks, name: &str, server: &Server<'_>) {
    let (scheme, host) = server.url.split_once("://").unwrap_or(("ws", server.url));
    checks.check(&format!("{name}: what a handshake says arrives"), || {
        let url = format!("{scheme}://joe:s%40cret@{host}/request?from=7&to=%20x");
        let connect =
            server.way.connect(&url)?.origin("http://example.com").and_then(|it| it.header("X-Sockeye", "a, b"));
        let mut link = Link::open(connect.map_err(|error| error.to_string())?)?;
        let basic = "Basic am9lOnNAY3JldA==";
        let said = ["/request?from=7&to=%20x", host, "http://example.com", basic, "a, b"];
        equal(link.text()?, said.join("\n"))?;
        leave(link)
    });
    checks.check(&format!("{name}: a refusal is told with its status and its body"), || {
        let failure = Link::failure(server.connect("/refuse")?)?;
        let refusal = failure.refusal().ok_or_else(|| failure.to_string())?;
        equal((refusal.status(), String::from_utf8_lossy(refusal.body()).trim()), (403, "go away"))
    });
    checks.check(&format!("{name}: a redirect is told, or followed when that is asked for"), || {
        let failure = Link::failure(server.connect("/moved")?)?;
        let refusal = failure.refusal().ok_or_else(|| failure.to_string())?;
        equal((refusal.status(), refusal.location()), (302, Some("/request")))?;
        let mut link = Link::open_behind(1, server.connect("/moved")?)?;
        equal(link.text()?, ["/request", host, "-", "-", "-"].join("\n"))?;
        leave(link)
    });
}

fn ends(closed: &Closed, initiator: Initiator, code: u16) -> Result<(), String> {
    let good = closed.initiator == initiator && closed.cause == Cause::Handshake && closed.code_seen() == code;
    ensure(good, || format!("{closed:?}"))
}

fn close(code: u16, reason: &'static str) -> Result<Close, String> {
    let code = CloseCode::new(code).ok_or("not a code that may be sent")?;
    Close::with_reason(code, reason).map_err(|error| error.to_string())
}

fn subprotocols(checks: &mut Checks, name: &str, server: &Server<'_>) {
    let offers: [(&[&str], Option<&str>); 4] = [
        (&[], None),
        (&["superchat"], Some("superchat")),
        (&["chat.example", "superchat"], Some("superchat")),
        (&["unknown.example"], None),
    ];
    for (offered, chosen) in offers {
        let what = chosen.map_or_else(|| "none is chosen".to_owned(), |chosen| format!("{chosen} is chosen"));
        checks.check(&format!("{name}: of the subprotocols {offered:?} {what}"), || {
            let mut connect = server.connect("/")?;
            for subprotocol in offered {
                connect = connect.subprotocol(*subprotocol).map_err(|error| error.to_string())?;
            }
            let link = Link::open(connect)?;
            equal(link.subprotocol.as_deref(), chosen)?;
            leave(link)
        });
    }
}
