//! Messages of all sizes, whole and in fragments, against a server that sends each back.

use sockeye::proto::wire::MessageKind;

use crate::checks::{Checks, ensure, equal};
use crate::link::{Link, Piece, Way};

/// The borders of the three forms of a length, and the longest message that the library takes by default.
pub(crate) const SIZES: [usize; 7] = [0, 1, 125, 126, 65_535, 65_536, 16 << 20];

/// Every size, text and binary, each on a connection of its own.
pub(crate) fn run(checks: &mut Checks, name: &str, url: &str, way: &Way) {
    for size in SIZES {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let what = if kind == MessageKind::Text { "text" } else { "binary" };
            checks.check(&format!("{name}: {what} of {size} bytes"), || {
                let mut link = Link::open(way.connect(url)?)?;
                echoes(&mut link, kind, size, Cut::Whole)?;
                leave(link)
            });
            checks.check(&format!("{name}: {what} of {size} bytes in fragments"), || {
                let mut link = Link::open(way.connect(url)?)?;
                echoes(&mut link, kind, size, Cut::Fragments)?;
                leave(link)
            });
        }
    }
    checks.check(&format!("{name}: a thousand messages in flight come back in order"), || {
        let mut link = Link::open(way.connect(url)?)?;
        let message = |number: usize| format!("{number} {}", "x".repeat(number % 300));
        (0..1000).for_each(|number| link.say(Piece::Text(message(number))));
        (0..1000).try_for_each(|number| equal(link.text()?, message(number)))?;
        leave(link)
    });
}

/// Connecting has to fail: `text` occurs in what is said, which begins with the stage.
pub(crate) fn fails(checks: &mut Checks, name: &str, url: &str, way: &Way, text: &str) {
    checks.check(&format!("{name}: {text}"), || {
        let failure = Link::failure(way.connect(url)?)?;
        let shown = format!("{:?}: {failure}", failure.stage);
        ensure(shown.contains(text), || format!("it failed otherwise: {shown}"))?;
        // What is told to a person must not tell the password.
        ensure(!format!("{shown} {failure:?}").contains("secret"), || format!("the password is shown: {shown}"))
    });
}

/// How a message is sent.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Cut {
    Whole,
    Fragments,
}

/// Sends a message and has it come back; tells how many frames it came in.
pub(crate) fn echoes(link: &mut Link, kind: MessageKind, size: usize, cut: Cut) -> Result<usize, String> {
    let sent = match kind {
        MessageKind::Text => {
            let message = text(size);
            match cut {
                Cut::Whole => link.say(Piece::Text(message.clone())),
                Cut::Fragments => {
                    let mut rest = message.as_str();
                    while rest.len() > step(size) {
                        let (piece, behind) = rest.split_at(border(rest, step(size)));
                        link.say(Piece::TextFragment(piece.to_owned()));
                        rest = behind;
                    }
                    link.say(Piece::TextFragment(rest.to_owned()));
                    link.say(Piece::LastText(String::new()));
                }
            }
            message.into_bytes()
        }
        MessageKind::Binary => {
            let message = bytes(size);
            match cut {
                Cut::Whole => link.say(Piece::Binary(message.clone())),
                Cut::Fragments => {
                    let step = step(size);
                    let last = message.len() - message.len() % step;
                    for piece in message[..last].chunks(step) {
                        link.say(Piece::BinaryFragment(piece.to_vec()));
                    }
                    if last == 0 {
                        link.say(Piece::BinaryFragment(Vec::new()));
                    }
                    link.say(Piece::LastBinary(message[last..].to_vec()));
                }
            }
            message
        }
    };
    let came = link.message()?;
    equal(came.kind, kind)?;
    equal(came.bytes.len(), sent.len())?;
    let other = came.bytes.iter().zip(&sent).position(|(came, sent)| came != sent);
    ensure(other.is_none(), || format!("byte {} of {size} is another one", other.unwrap_or_default()))?;
    Ok(came.frames)
}

/// Closes in good order.
pub(crate) fn leave(mut link: Link) -> Result<(), String> {
    link.close(sockeye::CloseCode::NORMAL.into())?;
    let closed = link.closed()?;
    ensure(closed.cause == sockeye::proto::close::Cause::Handshake && closed.code_seen() == 1000, || {
        format!("{closed:?}")
    })
}

/// How long the fragments of a message are.
pub(crate) const fn step(size: usize) -> usize {
    if size < 8 { 1 } else { size / 8 }
}

/// The first place from `at` on where a character begins.
fn border(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// Bytes that differ from place to place, so that a mix-up shows.
pub(crate) fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// Text of so many bytes, of code points of one to four bytes, no two places alike for long.
fn text(size: usize) -> String {
    let mut text = String::with_capacity(size);
    for number in 0_usize.. {
        let unit = format!("aé€𝄞{number}-");
        if text.len() + unit.len() > size {
            break;
        }
        text.push_str(&unit);
    }
    text.push_str(&"x".repeat(size - text.len()));
    text
}
