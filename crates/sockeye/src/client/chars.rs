//! Character classes of RFC 3986.

/// Whether `byte` is unreserved (RFC 3986 section 2.3) or a sub-delimiter (section 2.2).
pub(super) const fn is_unreserved_or_sub_delim(byte: u8) -> bool {
    matches!(
        byte,
        b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    ) || byte.is_ascii_alphanumeric()
}
