//! What one ping says: who sent it, and which one it is. It is text, so that mirrors of text take it too.

/// The first bytes of each ping, as two hexadecimal numbers of eight digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Probe {
    /// Chosen at random by each connection: a mirror sends the pings of others too.
    pub(crate) id: u32,
    pub(crate) seq: u32,
}

impl Probe {
    /// Bytes that the smallest ping has.
    pub(crate) const BYTES: usize = 16;

    /// With padding up to `size` bytes.
    pub(crate) fn to_text(self, size: usize) -> String {
        let mut text = format!("{:08x}{:08x}", self.id, self.seq);
        text.extend(std::iter::repeat_n('.', size.saturating_sub(Self::BYTES)));
        text
    }

    /// Whether this can follow the numbers.
    pub(crate) fn is_padding(rest: &[u8]) -> bool {
        rest.iter().all(|byte| *byte == b'.')
    }

    /// What was sent, from the beginning of what came back.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(payload.get(..Self::BYTES)?).ok()?;
        // `from_str_radix` would accept a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let number = |part: &str| u32::from_str_radix(part, 16).ok();
        Some(Self { id: number(&digits[..8])?, seq: number(&digits[8..])? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_known_again() {
        for probe in [Probe { id: 0, seq: 0 }, Probe { id: u32::MAX, seq: 1 }, Probe { id: 7, seq: u32::MAX }] {
            for size in [16, 17, 125, 5000] {
                let text = probe.to_text(size);
                assert_eq!(text.len(), size);
                assert_eq!(Probe::parse(text.as_bytes()), Some(probe));
            }
        }
    }

    #[test]
    fn what_others_send_is_not() {
        for other in
            ["", "000000000000000", "c #ffffff 1 2 3;", "+0000001+0000001", "0000000000000x00", "aaaaaaaaaaaaaaé"]
        {
            assert_eq!(Probe::parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(Probe::parse(&[0xff; 16]), None);
    }
}
