//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept`: they show that the other side speaks WebSocket.
//! They are not a security measure.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

/// The `Sec-WebSocket-Accept` that answers `key`.
///
/// RFC 6455 section 4.2.2: "constructed by concatenating /key/ [...] with the string
/// "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash of this concatenated value to
/// obtain a 20-byte value and base64-encoding [...] this 20-byte hash."
#[must_use]
pub fn accept(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut out = [0; 28];
    encode_into(&digest, &mut out);
    out
}

/// The `Sec-WebSocket-Key` for a nonce, which must be random and new for each connection.
#[must_use]
pub fn encode(nonce: [u8; 16]) -> [u8; 24] {
    let mut out = [0; 24];
    encode_into(&nonce, &mut out);
    out
}

/// Whether `key` is a legal `Sec-WebSocket-Key`.
///
/// RFC 6455 section 4.2.1: "a base64-encoded [...] value that, when decoded, is 16 bytes in
/// length."
#[must_use]
pub fn is_valid(key: &[u8]) -> bool {
    // 24 characters decode to 16 to 18 bytes.
    let mut decoded = [0; 18];
    key.len() == 24 && BASE64.decode_slice(key, &mut decoded) == Ok(16)
}

/// Writes `bytes` in base64. `out` must have the encoded length: 28 for 20 bytes, 24 for 16.
fn encode_into(bytes: &[u8], out: &mut [u8]) {
    let written = BASE64.encode_slice(bytes, out);
    debug_assert!(written.is_ok());
}

/// RFC 6455 section 1.3.
const GUID: &[u8; 36] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Accepts pad bits that are not zero, which RFC 4648 section 3.5 lets a decoder reject: some
/// clients send a fixed string with such bits, and the decoded key is never used. The padding
/// itself is required.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(&accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(&encode(*b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        for good in [
            "dGhlIHNhbXBsZSBub25jZQ==",
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "+/+/+/+/+/+/+/+/+/+/+w==",
            "abcdefghijklmnopqrstuv==",
        ] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        let bad: [&[u8]; 13] = [
            b"",
            b"YQ==",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25jZQE=",
            b"dGhlIHNhbXBsZSBub25jZQEB",
            b"dGhlIHNhbXBsZSBub25jZ===",
            b"dGhlIHNhbXBsZSBub25jZQ= ",
            b"dGhlIHNhbXBsZSBub2-jZQ==",
            b"dGhlIHNhbXB=ZSBub25jZQ==",
            b"\xff\xffhlIHNhbXBsZSBub25jZQ==",
            b"========================",
        ];
        for key in bad {
            assert!(!is_valid(key), "{key:?}");
        }
    }
}
