//! The name in a client's hello. rustls 0.23 does not tell it to users of its unbuffered interface.

/// The server name (RFC 6066 section 3) of a ClientHello (RFC 8446 section 4.1.2) that TLS has accepted. `None` if it has
/// none, or one that is not a DNS name.
pub(super) fn server_name(message: &[u8]) -> Option<&str> {
    let mut message = Reader(message);
    if message.number(1)? != CLIENT_HELLO {
        return None;
    }
    let mut hello = Reader(message.vector(3)?);
    // Version and random.
    hello.take(2 + 32)?;
    for length_bytes in [SESSION_ID, CIPHER_SUITES, COMPRESSION] {
        hello.vector(length_bytes)?;
    }
    let mut extensions = Reader(hello.vector(2)?);
    loop {
        let kind = extensions.number(2)?;
        let body = extensions.vector(2)?;
        if kind == SERVER_NAME {
            let mut names = Reader(Reader(body).vector(2)?);
            if names.number(1)? != HOST_NAME {
                return None;
            }
            let name = std::str::from_utf8(names.vector(2)?).ok()?;
            let is_dns = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            return (!name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(is_dns)).then_some(name);
        }
    }
}

const CLIENT_HELLO: usize = 1;
const SERVER_NAME: usize = 0;
const HOST_NAME: usize = 0;
/// The longest DNS name (RFC 1035 section 2.3.4).
const NAME_BYTES: usize = 255;
/// How many bytes the lengths of these vectors have.
const SESSION_ID: usize = 1;
const CIPHER_SUITES: usize = 2;
const COMPRESSION: usize = 1;

/// What is left of a structure.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of at most 3 bytes.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// Bytes behind their length, which has `length_bytes`.
    fn vector(&mut self, length_bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(length_bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(length_bytes: usize, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        [&length[4 - length_bytes..], body].concat()
    }

    fn hello(name: &[u8]) -> Vec<u8> {
        let other = [&[0, 43][..], &vector(2, &[2, 3, 4])].concat();
        let entry = [&[0][..], &vector(2, name)].concat();
        let own = [&[0, 0][..], &vector(2, &vector(2, &entry))].concat();
        let extensions = vector(2, &[other, own].concat());
        let body = [&[3, 3][..], &[7; 32], &vector(1, &[9; 32]), &vector(2, &[19, 1]), &vector(1, &[0]), &extensions];
        [&[1][..], &vector(3, &body.concat())].concat()
    }

    #[test]
    fn the_name_is_found_and_nothing_else_is_one() {
        let whole = hello(b"www.example.com");
        assert_eq!(server_name(&whole), Some("www.example.com"));
        for cut in 0..whole.len() {
            assert_eq!(server_name(&whole[..cut]), None, "cut at {cut}");
        }
        for wrong in [&b""[..], b"a b", b"a\n", "\u{e9}".as_bytes(), &[b'a'; 256]] {
            assert_eq!(server_name(&hello(wrong)), None);
        }
        // Any byte may be any other.
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _ = server_name(&changed);
            }
        }
    }
}
