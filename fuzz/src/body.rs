//! Bodies of requests: the same bytes or the same error however the body is cut, and never more
//! than the limit.

use sockeye_proto::http::body::{Decoder, Length};

use crate::Cut;

const LIMIT: u64 = 1000;

pub fn check(data: &[u8]) {
    let cut = Cut::new(data);
    for length in [Length::Chunked, Length::Exact(100), Length::UntilClose] {
        let whole = decode(length, std::iter::once(cut.data));
        let pieces = decode(length, cut.pieces());
        assert_eq!(whole, pieces, "{length:?}, cut into pieces of {}", cut.step);
    }
}

/// The decoded bytes, how many bytes followed the end, and whether the body is done. After an error
/// only the error counts: how much was decoded before it depends on the cuts.
fn decode<'d>(length: Length, pieces: impl Iterator<Item = &'d [u8]>) -> Result<(Vec<u8>, usize, bool), String> {
    let mut decoder = Decoder::new(length, LIMIT);
    let (mut body, mut left) = (Vec::new(), 0);
    for mut piece in pieces {
        while let Some(bytes) = decoder.decode(&mut piece).map_err(|error| error.to_string())? {
            assert!(!bytes.is_empty(), "no bytes were reported as data");
            body.extend_from_slice(bytes);
            assert!(body.len() as u64 <= LIMIT, "more than the limit");
        }
        assert!(piece.is_empty() || decoder.is_done(), "input is left although the body is not done");
        left += piece.len();
    }
    Ok((body, left, decoder.is_done()))
}
