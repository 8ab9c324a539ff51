//! The distinguished name of a certificate as a text (RFC 4514). What is read comes from a peer: what cannot be read ends it.

use std::fmt::Write;

/// The text of a `Name`, given what is in its sequence. RFC 4514 section 2.1: "the output consists of the string encodings of each
/// RelativeDistinguishedName in the RDNSequence (according to Section 2.2), starting with the last element of the sequence and
/// moving backwards toward the first."
pub(super) fn text(mut name: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Some(Element { tag: SET, content, .. }) = take(&mut name) {
        parts.push(relative(content));
    }
    parts.reverse();
    parts.join(",")
}

/// A `RelativeDistinguishedName`: mostly one attribute.
fn relative(mut attributes: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Some(Element { tag: SEQUENCE, mut content, .. }) = take(&mut attributes) {
        let (Some(kind), Some(value)) = (take(&mut content), take(&mut content)) else { break };
        parts.push(attribute(kind.content, &value));
    }
    parts.join("+")
}

/// RFC 4514 section 2.3: a short name and the value, or else the number of the kind and the value in hex.
fn attribute(kind: &[u8], value: &Element<'_>) -> String {
    let name = NAMES.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name);
    match (name, characters(value)) {
        (Some(name), Some(text)) => format!("{name}={}", escaped(&text)),
        (Some(name), None) => format!("{name}=#{}", hex(value.whole)),
        (None, _) => format!("{}=#{}", number(kind), hex(value.whole)),
    }
}

/// The text of a string of one of the usual types.
fn characters(value: &Element<'_>) -> Option<String> {
    match value.tag {
        UTF8_STRING | PRINTABLE_STRING | IA5_STRING => Some(String::from_utf8_lossy(value.content).into_owned()),
        BMP_STRING => {
            let units = value.content.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            Some(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        _ => None,
    }
}

/// RFC 4514 section 2.4: which characters have a backslash before them.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        let is_special = match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            '#' => index == 0,
            ' ' => index == 0 || index == last,
            _ => false,
        };
        match character {
            '\0' => out.push_str("\\00"),
            _ if is_special => out.extend(['\\', character]),
            _ => out.push(character),
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        // A string takes all that is written.
        _ = write!(out, "{byte:02x}");
        out
    })
}

/// An object identifier with dots (X.690 section 8.19). Numbers that are longer than any that exists are the largest that fits.
fn number(kind: &[u8]) -> String {
    let (mut out, mut arc) = (String::new(), 0_u64);
    for byte in kind {
        arc = arc.checked_mul(128).map_or(u64::MAX, |arc| arc | u64::from(byte & 0x7f));
        if byte & 0x80 != 0 {
            continue;
        }
        if out.is_empty() {
            let first = (arc / 40).min(2);
            out = format!("{first}.{}", arc - 40 * first);
        } else {
            _ = write!(out, ".{arc}");
        }
        arc = 0;
    }
    out
}

/// A value of DER.
pub(super) struct Element<'a> {
    tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    whole: &'a [u8],
}

/// Takes the first element of the input. `None`: there is none, or none that can be read.
pub(super) fn take<'a>(input: &mut &'a [u8]) -> Option<Element<'a>> {
    let whole = *input;
    let (&tag, rest) = whole.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), &rest[2..]),
        // Longer than a certificate may be.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(Element { tag, content, whole: &whole[..whole.len() - rest.len()] })
}

const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The short names of RFC 4514 section 3.
const NAMES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        match content.len() {
            0..=0x7f => [&[tag, length[1]], content].concat(),
            0x80..=0xff => [&[tag, 0x81, length[1]], content].concat(),
            _ => [&[tag, 0x82, length[0], length[1]], content].concat(),
        }
    }

    fn one(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        der(SEQUENCE, &[der(6, kind), der(tag, value)].concat())
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];

    #[test]
    fn the_last_part_is_first() {
        let country = der(SET, &one(&[0x55, 4, 6], PRINTABLE_STRING, b"NZ"));
        let both = der(SET, &[one(O, UTF8_STRING, "Māui".as_bytes()), one(CN, BMP_STRING, &[0, b'x'])].concat());
        let domain = der(SET, &one(NAMES[7].0, IA5_STRING, b"example"));
        assert_eq!(text(&[country, domain, both].concat()), "O=Māui+CN=x,DC=example,C=NZ");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn a_value_cannot_pass_for_several() {
        for (value, shown) in [
            ("a,CN=root", "a\\,CN=root"),
            ("a+b\"c\\d<e>f;g", "a\\+b\\\"c\\\\d\\<e\\>f\\;g"),
            ("#x#", "\\#x#"),
            (" x y ", "\\ x y\\ "),
            (" ", "\\ "),
            ("a\0b", "a\\00b"),
            ("a\nb", "a\nb"),
        ] {
            assert_eq!(text(&der(SET, &one(CN, UTF8_STRING, value.as_bytes()))), format!("CN={shown}"), "{value:?}");
        }
    }

    #[test]
    fn what_has_no_short_name_has_its_number() {
        // The address of RSA's PKCS #9, a kind of a large arc, and a string of another type.
        let mail = one(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], IA5_STRING, b"a@b");
        assert_eq!(text(&der(SET, &mail)), "1.2.840.113549.1.9.1=#1603614062");
        assert_eq!(text(&der(SET, &one(&[0x88, 0x37, 3], UTF8_STRING, b"a"))), "2.999.3=#0c0161");
        assert_eq!(text(&der(SET, &one(&[0xff; 30], UTF8_STRING, b"a"))), "=#0c0161");
        assert_eq!(text(&der(SET, &one(CN, 3, &[0, 1]))), "CN=#03020001");
    }

    #[test]
    fn every_length_and_every_cut_is_read() {
        for length in [0, 1, 127, 128, 255, 256, 1_000, 60_000] {
            let value = "x".repeat(length);
            let name = der(SET, &one(CN, UTF8_STRING, value.as_bytes()));
            assert_eq!(text(&name), format!("CN={value}"));
            for cut in 0..name.len().min(300) {
                assert!(text(&name[..cut]).len() < name.len());
            }
        }
        // Each byte changed to each other.
        let name = [der(SET, &one(O, UTF8_STRING, b"abc")), der(SET, &one(CN, BMP_STRING, b"\0a\xd8\0"))].concat();
        for index in 0..name.len() {
            for byte in 0..=255 {
                let mut name = name.clone();
                name[index] = byte;
                _ = text(&name);
            }
        }
    }
}
