//! Masking (RFC 6455 section 5.3). On the hot path: measure before and after a change.
//!
//! Keys come from the caller, who must make them unpredictable: see
//! [`Connection::frame`](crate::conn::Connection::frame).
//!
//! The compiler vectorises this for the 128-bit registers of every x86-64, without unsafe code,
//! because the bytes are handled as arrays of fixed sizes. Up to 128 bytes need no loop: two
//! overlapping arrays, both read before either is written. For wider registers, where there are any,
//! a caller compiles [`apply_long`] and [`append_long`] with them, and hands its [`LongMask`] in.
//!
//! ```text
//! 20 bytes    ├────────first 16────────┤
//!                   ├─────────last 16────────┤     the overlap gets the same value from both
//! ```

use alloc::vec::Vec;

/// XORs `buf` with `key`: masks and unmasks. `offset` is the position of `buf` in the payload, so
/// byte `offset % 4` of the key applies to the first byte of `buf`.
///
/// RFC 6455 section 5.3: "Octet i of the transformed data ("transformed-octet-i") is the XOR of
/// octet i of the original data ("original-octet-i") with octet at index i modulo 4 of the masking
/// key".
#[inline]
pub fn apply(buf: &mut [u8], key: [u8; 4], offset: usize) {
    xor(buf, rotate(u32::from_le_bytes(key), offset), apply_long_here);
}

/// XORs a payload of more than 128 bytes with a key, whose first byte applies to the first byte of the payload.
///
/// It is how a caller brings the wide registers of its processor: see [`Input::with_mask`](crate::conn::Input::with_mask).
pub type LongMask = fn(&mut [u8], [u8; 4]);

/// The [`LongMask`] of the registers that this crate is compiled for.
pub(crate) const LONG_MASK: LongMask = apply_long_here;

#[inline(never)]
fn apply_long_here(buf: &mut [u8], key: [u8; 4]) {
    apply_long(buf, key);
}

/// Appends `payload`, XORed with `key`, to `out`.
///
/// Cheaper than appending it and then calling [`apply`]: reading bytes right after they were
/// written in pieces of another size makes the processor wait.
#[inline(always)]
pub fn append(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    let wide = u64::from(u32::from_le_bytes(key)) * 0x1_0000_0001;
    match payload.len() {
        8..=16 => append_ends::<8>(out, payload, wide),
        17..=32 => append_ends::<16>(out, payload, wide),
        0..=BLOCK => append_then_apply(out, payload, key),
        _ => append_long_here(out, payload, key),
    }
}

/// From `N` to `2 * N` bytes.
#[inline(always)]
fn append_ends<const N: usize>(out: &mut Vec<u8>, payload: &[u8], wide: u64) {
    let at_end = wide.rotate_right((payload.len() as u32 & 3) << 3);
    let (Some(&first), Some(&last)) = (payload.first_chunk::<N>(), payload.last_chunk::<N>()) else { return };
    let before_last = out.len() + payload.len() - N;
    out.extend_from_slice(&xor_array(first, wide));
    out.truncate(before_last);
    out.extend_from_slice(&xor_array(last, at_end));
}

#[inline(never)]
fn append_long_here(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    append_long(out, payload, key);
}

/// What [`append`] does, for payloads of more than 128 bytes: the payload is read once and the result written once.
///
/// It is always inlined, so that a caller may compile it for wider registers (`#[target_feature]`).
#[inline(always)]
pub fn append_long(out: &mut Vec<u8>, payload: &[u8], mut key: [u8; 4]) {
    out.reserve(payload.len());
    let mut rest = payload;
    if payload.len() >= LONG {
        let (begin, behind) = payload.split_at(up_to_line(out.as_ptr().wrapping_add(out.len())));
        append_then_apply(out, begin, key);
        key = rotate(u32::from_le_bytes(key), begin.len()).to_le_bytes();
        rest = behind;
    }
    let wide = u64::from(u32::from_le_bytes(key)) * 0x1_0000_0001;
    let wide_key = xor_array([0; BLOCK], wide);
    while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
        let mut masked = *block;
        for (byte, key) in masked.iter_mut().zip(&wide_key) {
            *byte ^= key;
        }
        out.extend_from_slice(&masked);
        rest = behind;
    }
    append_then_apply(out, rest, key);
}

#[inline(never)]
fn append_then_apply(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    let start = out.len();
    out.extend_from_slice(payload);
    apply(&mut out[start..], key, 0);
}

/// The key (little endian) as it applies `offset` bytes further on.
#[inline]
pub(crate) fn rotate(key: u32, offset: usize) -> u32 {
    // `offset % 4 * 8`: no overflow.
    key.rotate_right((offset as u32 & 3) << 3)
}

/// XORs `buf` with `key` (little endian), whose lowest byte applies to the first byte of `buf`.
#[inline(always)]
pub(crate) fn xor(buf: &mut [u8], key: u32, long: LongMask) {
    // What a server sends is not masked: its key is zero here.
    if key == 0 {
        return;
    }
    let wide = u64::from(key) << 32 | u64::from(key);
    match buf.len() {
        0..8 => xor_short(buf, key),
        8..=16 => xor_ends::<8>(buf, wide),
        17..=32 => xor_ends::<16>(buf, wide),
        33..=BLOCK => xor_medium(buf, wide),
        _ => long(buf, key.to_le_bytes()),
    }
}

/// From `N` to `2 * N` bytes.
#[inline]
fn xor_ends<const N: usize>(buf: &mut [u8], wide: u64) {
    let at_end = wide.rotate_right((buf.len() as u32 & 3) << 3);
    let (Some(&first), Some(&last)) = (buf.first_chunk::<N>(), buf.last_chunk::<N>()) else { return };
    if let Some(place) = buf.first_chunk_mut() {
        *place = xor_array(first, wide);
    }
    if let Some(place) = buf.last_chunk_mut() {
        *place = xor_array(last, at_end);
    }
}

/// `N` is a multiple of 8.
#[inline]
fn xor_array<const N: usize>(mut bytes: [u8; N], wide: u64) -> [u8; N] {
    for word in bytes.chunks_exact_mut(8) {
        if let Some(word) = word.first_chunk_mut::<8>() {
            *word = (u64::from_le_bytes(*word) ^ wide).to_le_bytes();
        }
    }
    bytes
}

/// From 33 to 128 bytes.
#[inline(never)]
fn xor_medium(buf: &mut [u8], wide: u64) {
    if buf.len() <= 64 { xor_ends::<32>(buf, wide) } else { xor_ends::<64>(buf, wide) }
}

/// What [`apply`] does at offset 0, for payloads of more than 128 bytes.
///
/// It is always inlined, so that a caller may compile it for wider registers (`#[target_feature]`).
#[inline(always)]
pub fn apply_long(mut buf: &mut [u8], key: [u8; 4]) {
    let key = u64::from(u32::from_le_bytes(key));
    let mut wide = key << 32 | key;
    if buf.len() >= LONG {
        let (begin, rest) = buf.split_at_mut(up_to_line(buf.as_ptr()));
        xor_rest(begin, wide);
        wide = wide.rotate_right((begin.len() as u32 & 3) << 3);
        buf = rest;
    }
    // Bytes with bytes: with words the compiler gathers and scatters where it may use AVX-512 in full.
    let key = xor_array([0; BLOCK], wide);
    let mut blocks = buf.chunks_exact_mut(BLOCK);
    for block in &mut blocks {
        for (byte, key) in block.iter_mut().zip(&key) {
            *byte ^= key;
        }
    }
    // Whole keys come before it, so `wide` needs no rotation.
    xor_rest(blocks.into_remainder(), wide);
}

/// At most 128 bytes.
#[inline(never)]
fn xor_rest(rest: &mut [u8], wide: u64) {
    match rest.len() {
        0..8 => xor_short(rest, wide as u32),
        8..=16 => xor_ends::<8>(rest, wide),
        17..=32 => xor_ends::<16>(rest, wide),
        _ => xor_medium(rest, wide),
    }
}

/// How many bytes there are from `address` to the next line of the cache. Wide stores that begin there cross no line, which
/// makes masking a long payload a third cheaper; a frame's header leaves its payload anywhere.
#[inline]
fn up_to_line(address: *const u8) -> usize {
    address.addr().wrapping_neg() % LINE
}

/// Fewer than 8 bytes.
#[inline]
fn xor_short(buf: &mut [u8], mut key: u32) {
    let (words, rest) = buf.split_at_mut(buf.len() & 4);
    if let Some(word) = words.first_chunk_mut::<4>() {
        *word = (u32::from_le_bytes(*word) ^ key).to_le_bytes();
    }
    for byte in rest {
        *byte ^= key as u8;
        key >>= 8;
    }
}

/// Bytes that one iteration of the wide loop transforms.
const BLOCK: usize = 128;

/// A payload of so many bytes is worth the extra step to a line of the cache.
const LONG: usize = 1024;

/// Bytes of a line of the cache. At most [`BLOCK`], and the widest registers are as long.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn equals_the_definition_at_every_length_and_offset() {
        let lengths = (0..600).chain(LONG - 1..LONG + 140);
        for (len, offset) in lengths.flat_map(|len| (0..5).map(move |offset| (len, offset))) {
            for key in [[0x37, 0xfa, 0x21, 0x3d], [0; 4]] {
                let original: Vec<u8> = (0..len).map(|i| (i * 7 + 3) as u8).collect();
                let mut masked = original.clone();
                apply(&mut masked, key, offset);
                let expected: Vec<u8> = original.iter().enumerate().map(|(i, b)| b ^ key[(i + offset) % 4]).collect();
                assert_eq!(masked, expected, "len {len} offset {offset}");
                if offset == 0 {
                    let mut appended = b"before".to_vec();
                    append(&mut appended, &original, key);
                    assert_eq!(appended, [&b"before"[..], &expected].concat(), "len {len}");
                }
                apply(&mut masked, key, offset);
                assert_eq!(masked, original);
            }
        }
    }

    #[test]
    fn a_long_payload_is_masked_alike_wherever_it_lies() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let original: Vec<u8> = (0..LONG + 300).map(|i| (i * 7 + i / 256) as u8).collect();
        let expected: Vec<u8> = original.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
        for before in 0..2 * LINE {
            let mut buffer = vec![0; before];
            buffer.extend_from_slice(&original);
            apply(&mut buffer[before..], key, 0);
            assert_eq!(buffer[before..], expected, "in place behind {before}");
            buffer.truncate(before);
            append(&mut buffer, &original, key);
            assert_eq!(buffer[before..], expected, "appended behind {before}");
        }
    }
}
