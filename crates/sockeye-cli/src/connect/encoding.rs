//! Bytes as text, for terminals and scripts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;

/// How binary messages are written in input and output.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Encoding {
    /// Two digits a byte; spaces between bytes are fine in what is sent
    Hex,
    /// RFC 4648, with padding
    Base64,
    /// The bytes themselves: blocks of standard input as they come, no line ends added
    Raw,
}

impl Encoding {
    /// The bytes that `text` stands for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(self, text: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Hex => hex(text),
            Self::Base64 => STANDARD.decode(text.trim()).map_err(|error| format!("not base64: {error}")),
            Self::Raw => Ok(text.as_bytes().to_vec()),
        }
    }

    /// `bytes` as text that [`decode`](Self::decode) takes; raw bytes are shown in hex, since they may be no text.
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex | Self::Raw => encode_hex(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.chars().filter(|c| !c.is_ascii_whitespace());
    let digits: Option<Vec<u8>> = digits.map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.ok_or("not hexadecimal")?;
    if digits.len() % 2 != 0 {
        return Err("a hexadecimal digit is missing: each byte has two".to_owned());
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_both_ways() {
        let bytes: Vec<u8> = (0..=255).collect();
        for encoding in [Encoding::Hex, Encoding::Base64] {
            assert_eq!(encoding.decode(&encoding.encode(&bytes)), Ok(bytes.clone()), "{encoding:?}");
            assert_eq!(encoding.decode(""), Ok(Vec::new()));
        }
        assert_eq!(Encoding::Hex.encode(b"\x00\xff\x10"), "00ff10");
        assert_eq!(Encoding::Base64.encode(b"\x00\xff"), "AP8=");
        assert_eq!(Encoding::Raw.encode(b"\x1b"), "1b");
    }

    #[test]
    fn hex_may_be_spaced_and_in_capitals() {
        assert_eq!(Encoding::Hex.decode(" de AD be\tEF "), Ok(vec![0xde, 0xad, 0xbe, 0xef]));
        for bad in ["0", "0g", "0x00", "é0", "+1"] {
            assert!(Encoding::Hex.decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(Encoding::Base64.decode(" AP8= "), Ok(vec![0, 255]));
        for bad in ["AP8", "AP8==", "A P8=", "!!!!"] {
            assert!(Encoding::Base64.decode(bad).is_err(), "{bad}");
        }
    }
}
