//! The arguments of a URL as `WSI_TOKEN_HTTP_URI_ARGS` gives them: pieces between `&`, each decoded.

use crate::heads::unescape;

/// The pieces of `query`, without the empty ones.
pub(crate) fn pieces(query: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    query.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()).map(|piece| unescape(piece, true))
}

/// All pieces, with commas between them: what the token's whole text is.
pub(crate) fn joined(query: &[u8]) -> Vec<u8> {
    pieces(query).collect::<Vec<_>>().join(&b',')
}

/// What is behind `name` in the first piece that begins with it. `name` includes its `=`.
pub(crate) fn value(query: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    pieces(query).find_map(|piece| piece.strip_prefix(name).map(<[u8]>::to_vec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_decoded_after_they_are_cut() {
        let query = b"a=1&b=2%26&c";
        assert_eq!(pieces(query).collect::<Vec<_>>(), [b"a=1".to_vec(), b"b=2&".to_vec(), b"c".to_vec()]);
        assert_eq!(joined(query), b"a=1,b=2&,c");
        assert_eq!(value(query, b"b="), Some(b"2&".to_vec()));
        assert_eq!(value(query, b"b"), Some(b"=2&".to_vec()));
        assert_eq!(value(query, b"d="), None);
    }

    #[test]
    fn empty_pieces_are_none() {
        for query in ["", "&", "&&&"] {
            assert_eq!(pieces(query.as_bytes()).count(), 0, "{query}");
            assert_eq!(joined(query.as_bytes()), b"");
        }
        assert_eq!(joined(b"&x&"), b"x");
    }
}
