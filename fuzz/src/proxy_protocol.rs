//! The PROXY header: the outcome does not depend on how it was cut, nothing behind it is taken, and nothing beyond its bound.

use sockeye_proto::proxy_protocol::{HeaderDecoder, HeaderError, Source};

use crate::Cut;

/// Small, so that it is met.
const MOST: usize = 300;

pub fn check(data: &[u8]) {
    let cut = Cut::new(data);
    let whole = run([cut.data]);
    let pieces = run(cut.pieces());
    assert_eq!(whole, pieces, "cut into pieces of {}", cut.step);
    let (outcome, taken) = whole;
    assert!(taken <= MOST);
    if outcome == Ok(None) {
        assert_eq!(taken, cut.data.len(), "all is taken while more is needed");
    }
}

/// The outcome, and how many bytes were taken for it.
fn run<'d>(pieces: impl IntoIterator<Item = &'d [u8]>) -> (Result<Option<Source>, HeaderError>, usize) {
    let mut decoder = HeaderDecoder::new(MOST);
    let (mut outcome, mut taken) = (Ok(None), 0);
    for piece in pieces {
        let mut input = piece;
        outcome = decoder.decode(&mut input);
        taken += piece.len() - input.len();
        if outcome != Ok(None) {
            assert_eq!(decoder.decode(&mut &b"\r\n"[..]), outcome, "over is over");
            break;
        }
    }
    (outcome, taken)
}
