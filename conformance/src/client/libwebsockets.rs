//! The counter and the mirror of libwebsockets' own test server.

use std::time::{Duration, Instant};

use sockeye::Connect;
use sockeye::proto::close::{Cause, Initiator};

use crate::checks::{Checks, ensure, equal};
use crate::echo::{SIZES, leave};
use crate::link::{Event, Link, Piece, Way};

const COUNTER: &str = "dumb-increment-protocol";
const MIRROR: &str = "lws-mirror-protocol";
const STATUS: &str = "lws-status";

/// How long 16 MiB may take.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run(checks: &mut Checks, url: &str) {
    let name = "libwebsockets-test-server";
    checks.check(&format!("{name}: the counter counts"), || {
        let mut link = speaking(url, COUNTER)?;
        counts(&mut link, 0, 100)?;
        leave_amid(link)
    });
    checks.check(&format!("{name}: the counter begins again on a reset"), || {
        let mut link = speaking(url, COUNTER)?;
        counts(&mut link, 0, 20)?;
        link.say(Piece::Text("reset\n".to_owned()));
        // What was on its way goes on from 20.
        let mut last = 19;
        loop {
            let number: u32 = link.text()?.parse().map_err(|_| "not a number")?;
            if number == 0 {
                break;
            }
            equal(number, last + 1)?;
            ensure(number < 100, || "the reset was not heard".to_owned())?;
            last = number;
        }
        counts(&mut link, 1, 20)?;
        leave_amid(link)
    });
    checks.check(&format!("{name}: it closes with 1001 and a reason when it is asked to"), || {
        let mut link = speaking(url, COUNTER)?;
        link.say(Piece::Text("closeme\n".to_owned()));
        loop {
            match link.next()? {
                Event::Message(_) => {}
                Event::Closed(closed) => {
                    equal((closed.initiator, closed.cause), (Initiator::Peer, Cause::Handshake))?;
                    let close = closed.received.unwrap_or_default();
                    return equal((close.code().map(|code| code.get()), close.reason()), (Some(1001), "seeya"));
                }
                other => return Err(format!("{other:?}, not the end")),
            }
        }
    });
    // Empty ones it may keep to itself.
    checks.check(&format!("{name}: an empty message harms nothing"), || {
        let mut link = speaking(url, MIRROR)?;
        link.say(Piece::Text(String::new()));
        link.say(Piece::Text("c".to_owned()));
        let first = link.text()?;
        let next = if first.is_empty() { link.text()? } else { first };
        equal(next.as_str(), "c")?;
        leave(link)
    });
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        checks.check(&format!("{name}: {size} bytes are mirrored, to another client too"), || mirrored(url, size));
    }
    checks.check(&format!("{name}: our pings are answered"), || {
        let mut link = speaking(url, MIRROR)?;
        for size in [1, 125] {
            let payload = vec![b'p'; size];
            link.say(Piece::Ping(payload.clone()));
            match link.next()? {
                Event::Pong(pong) => equal(pong, payload)?,
                other => return Err(format!("{other:?}, not a pong")),
            }
        }
        leave(link)
    });
}

/// What it compresses: the list of who is connected, which everybody gets anew whenever somebody comes.
pub(crate) fn status(checks: &mut Checks, url: &str) {
    let list = |link: &mut Link| {
        let text = link.text()?;
        ensure(text.starts_with(r#"{ "version":""#) && text.ends_with("]}"), || format!("not a list: {text}"))?;
        Ok::<_, String>(text.matches(r#""peer""#).count())
    };
    checks.check("libwebsockets-test-server: lists of 1 to 20 connections come compressed", || {
        let mut links = Vec::new();
        for count in 1..=20 {
            links.push(speaking(url, STATUS)?);
            for link in &mut links {
                equal(list(link)?, count)?;
            }
        }
        for (at, link) in links.iter().enumerate() {
            equal(link.compressed(), 20 - at as u64)?;
        }
        // Each time a list is made anew: it would begin one in the middle of another, so all are read first.
        while let Some(link) = links.pop() {
            leave_amid(link)?;
            let count = links.len();
            links.iter_mut().try_for_each(|link| equal(list(link)?, count))?;
        }
        Ok(())
    });
}

fn speaking(url: &str, subprotocol: &str) -> Result<Link, String> {
    let connect: Connect = Way::Direct.connect(url)?.subprotocol(subprotocol).map_err(|error| error.to_string())?;
    let link = Link::open(connect)?;
    equal(link.subprotocol.as_deref(), Some(subprotocol))?;
    Ok(link)
}

fn counts(link: &mut Link, from: u32, count: u32) -> Result<(), String> {
    (from..from + count).try_for_each(|number| equal(link.text()?, number.to_string()))
}

/// Closes while the server goes on sending: what comes before its answer is left aside.
fn leave_amid(mut link: Link) -> Result<(), String> {
    link.close(sockeye::CloseCode::NORMAL.into())?;
    let closed = link.closed()?;
    ensure(closed.cause == Cause::Handshake && closed.code_seen() == 1000, || format!("{closed:?}"))
}

/// The mirror sends on what it reads, piece by piece: only all of it together has to be what was sent.
fn mirrored(url: &str, size: usize) -> Result<(), String> {
    let mut draws = speaking(url, MIRROR)?;
    let mut sees = speaking(url, MIRROR)?;
    // It cuts anywhere and sends texts, so that only ASCII stays text.
    let sent: String = (0..size).map(|at| char::from(b'!' + (at % 89) as u8)).collect();
    draws.say(Piece::Text(sent.clone()));
    // Both are read in turns: the mirror waits for the slowest.
    let (mut came, mut seen) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + LIMIT;
    while came.len() < size || seen.len() < size {
        ensure(Instant::now() < deadline, || format!("{} and {} bytes came within {LIMIT:?}", came.len(), seen.len()))?;
        for (link, bytes) in [(&mut draws, &mut came), (&mut sees, &mut seen)] {
            match link.poll(Duration::from_millis(1))? {
                Some(Event::Message(whole)) => bytes.extend(whole.bytes),
                Some(other) => return Err(format!("{other:?}, not a message")),
                None => {}
            }
        }
    }
    ensure(came == sent.as_bytes(), || format!("{} other bytes came back for {size}", came.len()))?;
    ensure(seen == sent.as_bytes(), || format!("another client saw {} other bytes for {size}", seen.len()))?;
    leave(draws)?;
    leave(sees)
}
