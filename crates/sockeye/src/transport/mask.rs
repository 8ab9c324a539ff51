//! Masking with the widest registers that this processor has, found when the program runs: half the instructions for a long
//! payload. What is done is [`sockeye_proto::wire::mask`]'s, which is free of unsafe code and compiled for every processor; here
//! it is compiled once more.
#![expect(unsafe_code, reason = "a function for some processors only is called behind a check of the processor")]

use sockeye_proto::wire::mask::{self, LongMask};

/// XORs a long payload that arrived with its key.
pub(crate) const LONG: LongMask = apply_long;

/// [`mask::append`].
#[inline(always)]
pub(super) fn append(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    if payload.len() < WORTHWHILE {
        return mask::append(out, payload, key);
    }
    append_long(out, payload, key);
}

/// [`mask::apply`], from the first byte of a payload on.
pub(super) fn apply(payload: &mut [u8], key: [u8; 4]) {
    if payload.len() < WORTHWHILE {
        return mask::apply(payload, key, 0);
    }
    apply_long(payload, key);
}

/// From so many bytes on.
const WORTHWHILE: usize = 256;

#[inline(never)]
fn append_long(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { append_avx2(out, payload, key) };
    }
    mask::append(out, payload, key);
}

#[inline(never)]
fn apply_long(payload: &mut [u8], key: [u8; 4]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { apply_avx2(payload, key) };
    }
    mask::apply(payload, key, 0);
}

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn append_avx2(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    mask::append_long(out, payload, key);
}

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn apply_avx2(payload: &mut [u8], key: [u8; 4]) {
    mask::apply_long(payload, key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_payloads_are_masked_as_they_are_defined() {
        let payload: Vec<u8> = (0..5000u32).map(|at| (at * 7 + 3) as u8).collect();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in (0..600).chain([1023, 1024, 1025, 4096, 4999]) {
            for start in [0, 1, 31] {
                let payload = &payload[..length];
                // RFC 6455 section 5.3.
                let defined: Vec<u8> = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
                let mut masked = vec![9; start];
                append(&mut masked, payload, key);
                assert_eq!(masked[start..], defined, "{length} bytes appended at {start}");
                assert_eq!(masked[..start], vec![9; start]);
                masked[start..].copy_from_slice(payload);
                apply(&mut masked[start..], key);
                assert_eq!(masked[start..], defined, "{length} bytes at {start}");
                if length > 128 {
                    LONG(&mut masked[start..], key);
                    assert_eq!(masked[start..], *payload, "{length} bytes unmasked at {start}");
                }
            }
        }
    }
}
