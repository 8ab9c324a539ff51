//! The common elements of the HTTP grammar (RFC 9110 section 5.6).

/// RFC 9110 section 5.6.2: `tchar`.
pub(crate) const fn is_tchar(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// Whether `bytes` is a token, like the names of fields and subprotocols (RFC 9110 section 5.6.2:
/// `token = 1*tchar`).
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// `bytes` as a token. `None`: it is not one.
pub(crate) fn token(bytes: &[u8]) -> Option<&str> {
    if is_token(bytes) { core::str::from_utf8(bytes).ok() } else { None }
}

/// Whether `byte` may appear in a field value: visible characters, space, tab and `obs-text` (RFC
/// 9110 section 5.5).
pub(crate) const fn is_field_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}

/// RFC 9110 section 5.6.3: `OWS = *( SP / HTAB )`.
pub(crate) const fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `bytes` without optional white space at both ends.
pub(crate) const fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        if !is_ows(*first) {
            break;
        }
        bytes = rest;
    }
    while let [rest @ .., last] = bytes {
        if !is_ows(*last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list without quoted strings.
///
/// RFC 9110 section 5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list
/// elements". As many as fit into a head within its limits are accepted: the work is linear.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_ows).filter(|element| !element.is_empty())
}

/// `1*DIGIT` as a number. `None`: it is anything else, or 2^64 or more.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The decimal digits of `value`, written to the end of `room`.
pub(crate) fn format_decimal(mut value: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1; // 2^64 - 1 has 20 digits, so there is always room
        room[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &room[at..];
        }
    }
}
