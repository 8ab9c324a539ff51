//! Finds where a reply ends. Each byte of a line is looked at once, however the reply is cut, and what is between lines is passed over.
//!
//! `redis-protocol` starts over with each call, follows nested replies as deep as they go, and takes any two bytes for the end of a string.
//! So it is given whole replies only, whose form and bounds were judged here.

/// What one reply may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes, all included.
    pub(crate) reply_bytes: usize,
    /// Elements of lists and maps, those of nested ones included.
    pub(crate) elements: usize,
}

/// Why bytes are not a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Malformed {
    /// A line that begins with this byte.
    Kind(u8),
    /// A line or a string that does not end with CR LF.
    End,
    /// A length that is not digits.
    Length,
    /// More than [`Bounds`] allow.
    TooLarge,
}

/// The state between two pieces of a reply.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// Where the line begins that was not scanned yet.
    line: usize,
    /// Until where that line was looked at; at least `line`.
    seen: usize,
    /// Where the string ends that is being received, its CR LF included.
    body: Option<usize>,
    /// The lists that are open, outermost first.
    open: Vec<Open>,
    /// Elements that were announced.
    elements: usize,
}

#[derive(Debug)]
struct Open {
    /// Elements to come.
    left: usize,
    /// Attributes precede the element that they belong to, and do not count as one.
    is_attribute: bool,
}

impl Scanner {
    /// The length of the reply that `bytes` begin with, once all of it is there. Until then `bytes` may only grow from call to call.
    pub(crate) fn scan(&mut self, bytes: &[u8], bounds: Bounds) -> Result<Option<usize>, Malformed> {
        loop {
            let end = if let Some(end) = self.body {
                let Some(body) = bytes.get(..end) else { return Ok(None) };
                if !body.ends_with(b"\r\n") {
                    return Err(Malformed::End);
                }
                self.body = None;
                self.begin_line(end);
                self.finish_element()
            } else {
                let rest = bytes.get(self.seen..).unwrap_or_default();
                let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
                    self.seen = bytes.len();
                    let is_long = self.seen - self.line > LINE_BYTES;
                    return if is_long { Err(Malformed::TooLarge) } else { Ok(None) };
                };
                let end = self.seen + length + 1;
                let line = bytes.get(self.line..end).unwrap_or_default();
                self.begin_line(end);
                self.line(line, bounds)?
            };
            if end {
                let length = self.line;
                *self = Self { open: std::mem::take(&mut self.open), ..Self::default() };
                return Ok(Some(length));
            }
        }
    }

    fn begin_line(&mut self, at: usize) {
        (self.line, self.seen) = (at, at);
    }

    /// Takes a whole line. True if it is the end of the reply.
    fn line(&mut self, line: &[u8], bounds: Bounds) -> Result<bool, Malformed> {
        let (kind, rest) = line.split_first().ok_or(Malformed::End)?;
        let Some(rest) = rest.strip_suffix(b"\r\n") else {
            return Err(if KINDS.contains(kind) { Malformed::End } else { Malformed::Kind(*kind) });
        };
        if rest.len() > LINE_BYTES || self.line > bounds.reply_bytes {
            return Err(Malformed::TooLarge);
        }
        match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' if rest.contains(&b'\r') => Err(Malformed::End),
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Ok(self.finish_element()),
            b'$' | b'!' | b'=' => {
                // A verbatim string begins with its format and a colon.
                let end = self.line.saturating_add(length(rest)?).saturating_add(2);
                if end > bounds.reply_bytes {
                    return Err(Malformed::TooLarge);
                }
                self.body = Some(end);
                Ok(false)
            }
            b'*' | b'~' | b'>' => self.begin_list(length(rest)?, false, bounds),
            b'%' => self.begin_list(length(rest)?.saturating_mul(2), false, bounds),
            b'|' => self.begin_list(length(rest)?.saturating_mul(2), true, bounds),
            other => Err(Malformed::Kind(*other)),
        }
    }

    fn begin_list(&mut self, count: usize, is_attribute: bool, bounds: Bounds) -> Result<bool, Malformed> {
        self.elements = self.elements.saturating_add(count);
        if self.elements > bounds.elements || self.open.len() >= DEPTH {
            return Err(Malformed::TooLarge);
        }
        match (count, is_attribute) {
            (0, true) => Ok(false),
            (0, false) => Ok(self.finish_element()),
            (left, is_attribute) => {
                self.open.push(Open { left, is_attribute });
                Ok(false)
            }
        }
    }

    /// An element is complete, and with it perhaps the lists that it ends. True if nothing is open any more.
    fn finish_element(&mut self) -> bool {
        while let Some(list) = self.open.last_mut() {
            list.left = list.left.saturating_sub(1);
            if list.left > 0 {
                return false;
            }
            let is_attribute = list.is_attribute;
            self.open.pop();
            if is_attribute {
                return false;
            }
        }
        true
    }
}

/// Digits and nothing else: no sign, and none of the lengths that stand for "unknown".
fn length(digits: &[u8]) -> Result<usize, Malformed> {
    if digits.is_empty() || digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Length);
    }
    digits.iter().try_fold(0_usize, |sum, digit| {
        let sum = sum.checked_mul(10).and_then(|sum| sum.checked_add(usize::from(digit - b'0')));
        sum.ok_or(Malformed::TooLarge)
    })
}

/// The kinds that RESP3 has, but for replies whose length is not known in front, which Redis does not send.
const KINDS: &[u8] = b"+-:_#,($!=*~>%|";

/// The longest line. Those of Redis are status, errors and lengths.
const LINE_BYTES: usize = 16 * 1024;

/// Lists within lists. `HELLO` has three.
const DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { reply_bytes: 1000, elements: 40 };

    /// Scans pieces that end at `cuts` and at the end.
    fn scan(bytes: &[u8], cuts: &[usize]) -> Result<Option<usize>, Malformed> {
        let mut scanner = Scanner::default();
        for cut in cuts {
            if let Some(end) = scanner.scan(&bytes[..*cut], BOUNDS)? {
                return Ok(Some(end));
            }
        }
        scanner.scan(bytes, BOUNDS)
    }

    const WHOLE: &[&[u8]] = &[
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":-12\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(12345678901234567890\r\n",
        b"$0\r\n\r\n",
        b"$5\r\na\r\nb\n\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"!3\r\nERR\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n~2\r\n+a\r\n+b\r\n",
        b"%1\r\n$1\r\na\r\n*0\r\n",
        b">3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$2\r\nhi\r\n",
        b"|1\r\n+ttl\r\n:3\r\n*2\r\n|0\r\n:1\r\n|1\r\n+a\r\n+b\r\n:2\r\n",
    ];

    #[test]
    fn ends_are_found_wherever_a_reply_is_cut() {
        for whole in WHOLE {
            let followed = [whole, &b"+next\r\n"[..]].concat();
            assert_eq!(scan(&followed, &[]), Ok(Some(whole.len())), "{}", whole.escape_ascii());
            for cut in 0..whole.len() {
                assert_eq!(scan(&whole[..cut], &[]), Ok(None), "{} cut at {cut}", whole.escape_ascii());
                assert_eq!(scan(whole, &[cut]), Ok(Some(whole.len())), "{} cut at {cut}", whole.escape_ascii());
            }
            let all: Vec<usize> = (0..whole.len()).collect();
            assert_eq!(scan(whole, &all), Ok(Some(whole.len())));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for (bytes, why) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], Malformed::Kind(b'H')),
            (b"\n", Malformed::Kind(b'\n')),
            (b"\r\n", Malformed::Kind(b'\r')),
            (b"+a\n", Malformed::End),
            (b"+a\rb\r\n", Malformed::End),
            (b"$1\r\nabc\r\n", Malformed::End),
            (b"$-1\r\n", Malformed::Length),
            (b"*?\r\n", Malformed::Length),
            (b"$+1\r\na\r\n", Malformed::Length),
            (b"$\r\n", Malformed::Length),
            (b"$99999999999\r\n", Malformed::Length),
            (b"$1000\r\n", Malformed::TooLarge),
            (b"*41\r\n", Malformed::TooLarge),
            (b"%21\r\n", Malformed::TooLarge),
            (b"*9999999999\r\n", Malformed::TooLarge),
            (b"*2\r\n*20\r\n:1\r\n:1\r\n*39\r\n", Malformed::TooLarge),
            (b";3\r\nabc\r\n", Malformed::Kind(b';')),
            (b".\r\n", Malformed::Kind(b'.')),
        ] {
            let all: Vec<usize> = (0..bytes.len()).collect();
            if bytes != b"*2\r\n*20\r\n:1\r\n:1\r\n*39\r\n" {
                assert_eq!(scan(bytes, &[]), Err(why), "{}", bytes.escape_ascii());
            }
            assert!(scan(bytes, &all).is_err(), "{}", bytes.escape_ascii());
        }
        assert_eq!(scan(&b"*1\r\n".repeat(DEPTH), &[]), Ok(None));
        assert_eq!(scan(&b"*1\r\n".repeat(DEPTH + 1), &[]), Err(Malformed::TooLarge));
        let long = [b"+".as_slice(), &[b'a'; LINE_BYTES + 1]].concat();
        assert_eq!(scan(&long, &[]), Err(Malformed::TooLarge));
        let many = [b"*30\r\n".as_slice(), b"$95\r\n", &[b'a'; 95], b"\r\n"].concat();
        assert_eq!(scan(&many, &[]), Ok(None));
        let more = [b"*30\r\n".as_slice(), &[b"$95\r\n".as_slice(), &[b'a'; 95], b"\r\n"].concat().repeat(11)].concat();
        assert_eq!(scan(&more, &[]), Err(Malformed::TooLarge));
    }

    const PIECES: &[&[u8]] = &[
        b"*2\r\n",
        b"$3\r\nabc\r\n",
        b":1\r\n",
        b"|1\r\n",
        b"%1\r\n",
        b"+x",
        b"\r",
        b"\n",
        b"$",
        b"1",
        b"*0\r\n",
        b">1\r\n",
    ];

    proptest! {
            #[test]
            fn cuts_change_nothing(
    bytes in prop::collection::vec(prop::sample::select(PIECES), 0..12),
                cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            ) {
                let bytes = bytes.concat();
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
                cuts.sort_unstable();
                prop_assert_eq!(scan(&bytes, &cuts), scan(&bytes, &[]));
            }
        }
}
