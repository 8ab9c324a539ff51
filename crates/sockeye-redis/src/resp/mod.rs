//! RESP3, the protocol of Redis: replies that are received, and commands that are sent.

mod command;
mod reply;
mod scan;

pub(crate) use command::{ARGUMENT_BYTES, Command};
pub(crate) use reply::Reply;
pub(crate) use scan::Bounds;

use sockeye_hub::backplane::BrokerError;

use scan::{Malformed, Scanner};

/// Cuts what arrives into replies.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    scanner: Scanner,
    /// The beginning of a reply whose end has not arrived; at most [`Bounds::reply_bytes`], and what arrived with it.
    partial: Vec<u8>,
}

impl Reader {
    /// Gives every whole reply to `each`. After an error nothing more can be received.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        bounds: Bounds,
        mut each: impl FnMut(Reply<'_>) -> Result<(), BrokerError>,
    ) -> Result<(), BrokerError> {
        let mut partial = std::mem::take(&mut self.partial);
        let is_continued = !partial.is_empty();
        if is_continued {
            partial.extend_from_slice(bytes);
        }
        let mut rest = if is_continued { partial.as_slice() } else { bytes };
        while !rest.is_empty() {
            let Some(length) = self.scanner.scan(rest, bounds).map_err(described)? else { break };
            let (reply, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            each(Reply::parse(reply)?)?;
            rest = behind;
        }
        if is_continued {
            let used = partial.len() - rest.len();
            partial.drain(..used);
            self.partial = partial;
        } else {
            self.partial = rest.to_vec();
        }
        if self.partial.capacity() > KEPT_BYTES && self.partial.len() < KEPT_BYTES / 2 {
            self.partial.shrink_to(KEPT_BYTES);
        }
        Ok(())
    }
}

fn described(malformed: Malformed) -> BrokerError {
    BrokerError::Protocol(match malformed {
        Malformed::Kind(byte) => {
            format!(
                "a reply that begins with the byte {byte:#04x}; is this the port of a Redis server, with TLS only if the URL says so?"
            )
        }
        Malformed::End => "a line or a string that does not end with CR LF".to_owned(),
        Malformed::Length => "a length that is not a number".to_owned(),
        Malformed::TooLarge => "a reply that is longer, or has more parts, than any that was asked for".to_owned(),
    })
}

/// How much memory the reader keeps between two large replies.
const KEPT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { reply_bytes: 1 << 20, elements: 100 };

    fn replies(pieces: &[&[u8]]) -> Result<Vec<String>, BrokerError> {
        let (mut reader, mut seen) = (Reader::default(), Vec::new());
        for piece in pieces {
            reader.receive(piece, BOUNDS, |reply| {
                seen.push(format!("{reply:?}"));
                Ok(())
            })?;
        }
        Ok(seen)
    }

    const DIALOGUE: &[u8] = b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n+OK\r\n-ERR x\r\n=7\r\ntxt:abc\r\n\
        >3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$4\r\n\r\n\r\n\r\n|1\r\n+a\r\n+b\r\n*2\r\n_\r\n#t\r\n";

    #[test]
    fn replies_are_the_same_however_they_are_cut() {
        let whole = replies(&[DIALOGUE]).expect("a dialogue");
        assert_eq!(whole.len(), 6);
        for cut in 0..DIALOGUE.len() {
            let (one, two) = DIALOGUE.split_at(cut);
            assert_eq!(replies(&[one, two]).expect("a dialogue"), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = DIALOGUE.chunks(1).collect();
        assert_eq!(replies(&bytes).expect("a dialogue"), whole);
    }

    #[test]
    fn a_large_reply_leaves_no_memory_behind() {
        let mut reader = Reader::default();
        let large = [b"$500000\r\n".as_slice(), &vec![7; 500_000], b"\r\n"].concat();
        let mut count = 0;
        for piece in large.chunks(4096) {
            let result = reader.receive(piece, BOUNDS, |_| {
                count += 1;
                Ok(())
            });
            result.expect("a reply");
        }
        assert_eq!((count, reader.partial.len()), (1, 0));
        assert!(reader.partial.capacity() <= KEPT_BYTES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// What the scanner lets pass the parser takes, or refuses without a panic.
        #[test]
        fn no_bytes_cause_a_panic(pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..8),
            prop::collection::vec(prop::sample::select(&b"+-:_#,($!=*~>%|\r\n0123a"[..]), 0..12),
            Just(b"\r\n".to_vec()), Just(b"*1\r\n".to_vec()), Just(b"|1\r\n".to_vec()), Just(b"%1\r\n".to_vec()), Just(b"=3\r\ntxt\r\n".to_vec()),
            Just(b"=0\r\n\r\n".to_vec()), Just(b"~1\r\n".to_vec()), Just(b"$1\r\na\r\n".to_vec()),
        ], 0..16)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = replies(&pieces);
        }
    }
}
