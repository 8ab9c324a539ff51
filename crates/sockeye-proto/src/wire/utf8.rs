//! UTF-8 that arrives in pieces (RFC 6455 section 8.1).
//!
//! A piece is cut before a code point that it holds only the beginning of. The caller keeps these
//! bytes (at most three) and puts them before the next piece. The result is a `&str`, so nothing is
//! validated twice.

use core::str;

/// The bytes are not UTF-8, and not the beginning of valid UTF-8 either.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Invalid;

/// All of `bytes` as text.
///
/// # Errors
/// `bytes` is not UTF-8.
#[inline]
pub fn check(bytes: &[u8]) -> Result<&str, Invalid> {
    if bytes.len() < WIDE { str::from_utf8(bytes).map_err(|_| Invalid) } else { check_wide(bytes) }
}

/// How many bytes at the end of `bytes` begin a code point without completing it: 0 to 3.
///
/// Looks only at the last three bytes. For bytes that are not UTF-8 the result is unspecified;
/// [`check`] and [`check_start`] detect those.
#[must_use]
#[inline]
pub fn unfinished(bytes: &[u8]) -> usize {
    match bytes.last() {
        Some(byte) if *byte >= 0x80 => unfinished_sequence(bytes),
        _ => 0,
    }
}

/// Checks that `start` (at most three bytes, as counted by [`unfinished`]) can become a code point.
/// So bad text fails at its first bad byte, not only at the end of the code point.
///
/// # Errors
/// `start` is not the beginning of any code point.
#[inline]
pub fn check_start(start: &[u8]) -> Result<(), Invalid> {
    if start.is_empty() { Ok(()) } else { check_sequence_start(start) }
}

#[inline(never)]
fn check_wide(bytes: &[u8]) -> Result<&str, Invalid> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Invalid)
}

fn unfinished_sequence(bytes: &[u8]) -> usize {
    for (before, byte) in bytes.iter().rev().take(3).enumerate() {
        let needed = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let there = before + 1;
        return if there < needed { there } else { 0 };
    }
    0
}

fn check_sequence_start(start: &[u8]) -> Result<(), Invalid> {
    match str::from_utf8(start) {
        Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => Ok(()),
        _ => Err(Invalid),
    }
}

/// From this many bytes on, the vectorised validator is faster than the standard library's.
const WIDE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_every_code_point_is_a_start() {
        let mut bytes = [0; 4];
        for c in '\0'..=char::MAX {
            let bytes = c.encode_utf8(&mut bytes).as_bytes();
            assert_eq!(unfinished(bytes), 0);
            for cut in 1..bytes.len() {
                assert_eq!(unfinished(&bytes[..cut]), cut);
                assert_eq!(check_start(&bytes[..cut]), Ok(()));
            }
        }
    }

    #[test]
    fn any_three_bytes_give_the_result_of_the_standard_library() {
        for value in 0..1u32 << 24 {
            let [_, bytes @ ..] = value.to_be_bytes();
            if bytes.iter().any(|&byte| byte != 0 && byte < 0x7f) {
                continue; // all ASCII bytes behave alike: 0 and 7f represent them
            }
            let cut = unfinished(&bytes);
            let ours = check(&bytes[..3 - cut]).is_ok() && check_start(&bytes[3 - cut..]).is_ok();
            let std = str::from_utf8(&bytes).map_or_else(|error| error.error_len().is_none(), |_| true);
            assert_eq!(ours, std, "{bytes:x?}");
        }
    }

    #[test]
    fn surrogates_overlong_forms_and_too_large_values_fail_at_their_second_byte() {
        for start in [&[0xed, 0xa0][..], &[0xe0, 0x80], &[0xf0, 0x80], &[0xf4, 0x90], &[0xf4, 0x90, 0x80]] {
            let cut = unfinished(start);
            assert!(check(&start[..start.len() - cut]).is_err() || check_start(&start[start.len() - cut..]).is_err());
        }
        for byte in [0x80, 0xbf, 0xc0, 0xc1, 0xf5, 0xff] {
            assert!(check(&[byte]).is_err());
            assert_eq!(unfinished(&[b'a', byte]), 0);
        }
    }
}
