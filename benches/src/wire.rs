//! The bytes of the handshake and of frames, as far as the two programs need them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// Ends a head.
pub const HEAD_END: &[u8] = b"\r\n\r\n";

/// The nonce of every handshake here: no cache stands between.
pub const NONCE: &str = "c29ja2V5ZSBiZW5jaGVzLg==";

const BINARY: u8 = 0x82;
const MASK: [u8; 4] = [0x5b, 0xc3, 0x91, 0x2e];
const MASKED: u8 = 0x80;
const TEXT: u8 = 0x81;

/// ASCII with a few characters of two and of three bytes, as text of western pages has them.
const SENTENCE: &str = "Sockeye salmon return to where they hatched: très loin, 鮭 . ";

/// The request that asks for an upgrade.
#[must_use]
pub fn request(port: u16) -> Vec<u8> {
    request_offering(port, "")
}

/// The same, with an offer of extensions unless it is empty.
#[must_use]
pub fn request_offering(port: u16, extensions: &str) -> Vec<u8> {
    let offer =
        if extensions.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {extensions}\r\n") };
    format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {NONCE}\r\n{offer}\r\n"
    )
    .into_bytes()
}

/// The answer that grants it.
#[must_use]
pub fn response(nonce: &[u8]) -> Vec<u8> {
    let accept = accept(nonce);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// What a server must answer to `nonce` (RFC 6455, section 4.2.2).
#[must_use]
pub fn accept(nonce: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(nonce).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize())
}

/// The nonce of a request, if it has one.
#[must_use]
pub fn nonce(request: &[u8]) -> Option<&[u8]> {
    let name = b"sec-websocket-key:";
    let at = request.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))?;
    let line = request[at + name.len()..].split(|byte| *byte == b'\r').next()?;
    Some(line.trim_ascii())
}

/// `size` bytes that begin with `first`; text is valid UTF-8 of several lengths.
#[must_use]
pub fn payload(size: usize, text: bool, first: u8) -> Vec<u8> {
    let mut payload = Vec::with_capacity(size);
    payload.push(first);
    if text {
        for character in SENTENCE.chars().cycle().take_while(|_| size > 1) {
            if payload.len() + character.len_utf8() > size {
                break;
            }
            payload.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        payload.resize(size, b'.');
    } else {
        payload.extend((1..size).map(|at| (at * 31 + at / 255) as u8));
    }
    payload.truncate(size);
    payload
}

/// One final frame as a client sends it.
#[must_use]
pub fn masked_frame(payload: &[u8], text: bool) -> Vec<u8> {
    let mut frame = header(payload.len(), text, MASKED);
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The same with a payload that is compressed text (RFC 7692 section 6: the first bit of the reserved ones).
#[must_use]
pub fn masked_frame_packed(packed: &[u8]) -> Vec<u8> {
    let mut frame = masked_frame(packed, true);
    frame[0] |= 0x40;
    frame
}

/// The first byte of a frame of a server, where its payload begins, and how long that is; `None`: its header is not whole.
#[must_use]
pub fn frame_head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, len) = (*bytes.first()?, usize::from(*bytes.get(1)?));
    Some(match len {
        126 => (first, 4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (first, 10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        _ => (first, 2, len),
    })
}

/// A final frame as a server sends it.
#[must_use]
pub fn plain_frame(payload: &[u8], text: bool) -> Vec<u8> {
    let mut frame = header(payload.len(), text, 0);
    frame.extend_from_slice(payload);
    frame
}

fn header(len: usize, text: bool, masked: u8) -> Vec<u8> {
    let mut header = vec![if text { TEXT } else { BINARY }];
    append_length(&mut header, len as u64, masked);
    header
}

/// Appends the length of a payload in the shortest of its three forms.
fn append_length(header: &mut Vec<u8>, len: u64, masked: u8) {
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(small @ ..=125), _) => header.push(masked | small),
        (_, Ok(middle)) => {
            header.push(masked | 126);
            header.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            header.push(masked | 127);
            header.extend_from_slice(&len.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(accept(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(String::from_utf8(response(key)).expect("it is ASCII").contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn the_nonce_is_found_in_a_request() {
        assert_eq!(nonce(&request(80)), Some(NONCE.as_bytes()));
        assert_eq!(nonce(b"GET / HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn payloads_have_their_size_and_text_is_text() {
        for size in [1, 2, 20, 64, 100, 16 * 1024] {
            assert_eq!(payload(size, false, b'x').len(), size);
            let text = payload(size, true, b'x');
            assert_eq!((text.len(), text[0]), (size, b'x'));
            assert!(std::str::from_utf8(&text).is_ok());
        }
    }

    #[test]
    fn heads_are_read() {
        for size in [0, 125, 126, 65_535, 65_536] {
            let frame = plain_frame(&vec![7; size], true);
            let at = frame.len() - size;
            assert_eq!(frame_head(&frame), Some((TEXT, at, size)));
            assert!((0..at).all(|cut| frame_head(&frame[..cut]).is_none()));
        }
    }

    #[test]
    fn frames_take_the_shortest_length() {
        assert_eq!(plain_frame(&[7; 125], false)[..3], [BINARY, 125, 7]);
        assert_eq!(plain_frame(&[7; 126], true)[..5], [TEXT, 126, 0, 126, 7]);
        assert_eq!(plain_frame(&[7; 65536], true)[..11], [TEXT, 127, 0, 0, 0, 0, 0, 1, 0, 0, 7]);
        assert_eq!(masked_frame(&[0; 2], false), [BINARY, 0x82, 0x5b, 0xc3, 0x91, 0x2e, 0x5b, 0xc3]);
    }
}
