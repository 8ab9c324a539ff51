//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept`: proof that the other side speaks WebSocket, not security.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

/// RFC 6455 section 1.3.
const GUID: &[u8; 36] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// RFC 4648 section 3.5 lets a decoder reject pad bits that are not zero. The key is never used decoded, and some
/// clients send a fixed string with such bits: accepted. Padding itself must be there.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The `Sec-WebSocket-Accept` that answers `key`.
///
/// RFC 6455 section 4.2.2: "constructed by concatenating /key/ [...] with the string
/// "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash of this concatenated value to obtain a 20-byte value
/// and base64-encoding [...] this 20-byte hash."
#[must_use]
pub fn accept(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut out = [0; 28];
    encode_into(&digest, &mut out);
    out
}

/// The `Sec-WebSocket-Key` of a nonce, which must be new and random for each connection.
#[must_use]
pub fn encode(nonce: [u8; 16]) -> [u8; 24] {
    let mut out = [0; 24];
    encode_into(&nonce, &mut out);
    out
}

/// Is `key` a legal `Sec-WebSocket-Key`?
///
/// RFC 6455 section 4.2.1: "a base64-encoded [...] value that, when decoded, is 16 bytes in length."
#[must_use]
pub fn is_valid(key: &[u8]) -> bool {
    // 24 characters hold 16 to 18 bytes
    let mut decoded = [0; 18];
    key.len() == 24 && BASE64.decode_slice(key, &mut decoded) == Ok(16)
}

/// `out` has the length of the encoded `bytes`: 28 for 20, 24 for 16.
fn encode_into(bytes: &[u8], out: &mut [u8]) {
    let written = BASE64.encode_slice(bytes, out);
    debug_assert!(written.is_ok());
}

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
