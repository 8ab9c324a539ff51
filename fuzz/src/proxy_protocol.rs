//! The PROXY header: the result does not depend on how it is cut, and no more than its limit is
//! taken.

use sockeye_proto::proxy_protocol::{HeaderDecoder, HeaderError, Source};

use crate::Cut;

/// Small, so that short inputs reach it.
const MOST: usize = 300;

pub fn check(data: &[u8]) {
    let cut = Cut::new(data);
    let whole = run([cut.data]);
    let pieces = run(cut.pieces());
    assert_eq!(whole, pieces, "cut into pieces of {}", cut.step);
    let (outcome, taken) = whole;
    assert!(taken <= MOST);
    if outcome == Ok(None) {
        assert_eq!(taken, cut.data.len(), "everything is taken while more is needed");
    }
}

/// The result, and how many bytes were taken for it.
fn run<'d>(pieces: impl IntoIterator<Item = &'d [u8]>) -> (Result<Option<Source>, HeaderError>, usize) {
    let mut decoder = HeaderDecoder::new(MOST);
    let (mut outcome, mut taken) = (Ok(None), 0);
    for piece in pieces {
        let mut input = piece;
        outcome = decoder.decode(&mut input);
        taken += piece.len() - input.len();
        if outcome != Ok(None) {
            assert_eq!(decoder.decode(&mut &b"\r\n"[..]), outcome, "the result stays the same");
            break;
        }
    }
    (outcome, taken)
}
