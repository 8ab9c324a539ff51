use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const MOST: usize = 600;

/// The result and how many bytes were not taken. The input arrives in pieces of these lengths, then
/// the rest.
fn decode_cut(bytes: &[u8], cuts: &[usize]) -> (Result<Option<Source>, HeaderError>, usize) {
    let mut decoder = HeaderDecoder::new(MOST);
    let mut at = 0;
    let ends: Vec<usize> = cuts.iter().copied().chain([bytes.len()]).collect();
    for end in ends {
        let mut input = &bytes[at..end];
        let outcome = decoder.decode(&mut input);
        at = end - input.len();
        if outcome != Ok(None) {
            assert_eq!(decoder.decode(&mut &b"more"[..]), outcome, "over is over");
            return (outcome, bytes.len() - at);
        }
        assert!(input.is_empty(), "all is taken while more is needed");
    }
    (Ok(None), 0)
}

/// The result, which must not depend on the cuts.
fn decode(bytes: &[u8]) -> Result<Option<Source>, HeaderError> {
    let whole = decode_cut(bytes, &[]);
    for cut in 0..=bytes.len() {
        assert_eq!(decode_cut(bytes, &[cut]), whole, "cut at {cut}");
    }
    let each: Vec<usize> = (0..=bytes.len()).collect();
    assert_eq!(decode_cut(bytes, &each), whole, "one byte at a time");
    whole.0
}

fn ip(text: &str) -> Result<Option<Source>, HeaderError> {
    Ok(Some(Source::Ip(text.parse().unwrap())))
}

/// A header of version 2: command and family, the addresses, and `after` bytes after them.
fn v2(command: u8, family: u8, addresses: &[u8], after: usize) -> Vec<u8> {
    let mut header = V2_SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(addresses.len() + after).unwrap().to_be_bytes());
    header.extend(addresses);
    header.extend(vec![0x42; after]);
    header
}

fn v4_addresses() -> Vec<u8> {
    vec![192, 0, 2, 7, 203, 0, 113, 1, 0xdb, 0xb4, 0x01, 0xbb]
}

fn unix_addresses(source: &[u8]) -> Vec<u8> {
    let mut bytes = source.to_vec();
    bytes.resize(108, 0);
    bytes.extend([b'd'; 108]);
    bytes
}

#[test]
fn lines_of_version_1_are_decoded() {
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    for (line, source) in [
        ("PROXY TCP4 192.0.2.7 203.0.113.1 56244 443\r\n", ip("192.0.2.7:56244")),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", ip("0.0.0.0:0")),
        ("PROXY TCP6 2001:DB8::7 ::1 56244 443\r\n", ip("[2001:db8::7]:56244")),
        (&format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n"), ip(&format!("[{longest}]:65535"))),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:203.0.113.1 1 2\r\n", ip("192.0.2.7:1")),
        ("PROXY TCP6 ::ffff:c000:207 ::1 1 2\r\n", ip("192.0.2.7:1")),
        ("PROXY UNKNOWN\r\n", Ok(Some(Source::Unspecified))),
        ("PROXY UNKNOWN 192.0.2.7 what\0ever\r\r\n", Ok(Some(Source::Unspecified))),
        (&format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n"), Ok(Some(Source::Unspecified))),
    ] {
        assert_eq!(decode(line.as_bytes()), source, "{line:?}");
        let followed = format!("{line}GET / HTTP/1.1\r\n\r\n");
        assert_eq!(decode(followed.as_bytes()), source, "{line:?}");
        assert_eq!(decode_cut(followed.as_bytes(), &[]).1, 18, "{line:?}");
        assert_eq!(decode(&line.as_bytes()[..line.len() - 1]), Ok(None), "{line:?}");
    }
    let line = format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n");
    assert_eq!(line.len(), V1_BYTES, "the longest that there is");
}

#[test]
fn malformed_lines_are_refused() {
    use HeaderError::*;
    for (line, error) in [
        ("G", NoHeader),
        ("PRI", NoHeader),
        ("p", NoHeader),
        (" ", NoHeader),
        ("\n", NoHeader),
        ("\r\nP", NoHeader),
        ("PROXY\t", NoHeader),
        ("PROXY  ", Family),
        ("PROXY TCP5", Family),
        ("PROXY UD", Family),
        ("PROXY TCP ", Family),
        ("PROXY t", Family),
        ("PROXY TCP44", Family),
        ("PROXY \r", Family),
        ("PROXY UNKNOWNS", Family),
        ("PROXY UNKNOWN\n", Family),
        ("PROXY UNKNOWN\rX", LineEnd),
        ("PROXY TCP4\r", Family),
        ("PROXY TCP4  ", Address),
        ("PROXY TCP4 1.2.3.4  ", Address),
        ("PROXY TCP4 1.2.3 ", Address),
        ("PROXY TCP4 1.2.3.256 ", Address),
        ("PROXY TCP4 01.2.3.4 ", Address),
        ("PROXY TCP4 1.2.3.4.5 ", Address),
        ("PROXY TCP4 1.2.3.4:", Address),
        ("PROXY TCP4 1234567890123456", Address),
        ("PROXY TCP4 :", Address),
        ("PROXY TCP4 1.2.3.4\r", Address),
        ("PROXY TCP6 1.2.3.4 ", Address),
        ("PROXY TCP6 ::1%", Address),
        ("PROXY TCP6 [", Address),
        ("PROXY TCP6 1::2::3 ", Address),
        ("PROXY TCP6 12345:: ", Address),
        ("PROXY TCP6 1:2:3:4:5:6:7 ", Address),
        ("PROXY TCP6 0000:0000:0000:0000:0000:0000:0000:00000", Address),
        ("PROXY TCP4 1.2.3.4 5.6.7 ", Address),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 65536 ", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 080 ", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 00 ", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 +", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 -", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8  ", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 80\r", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 80 \r", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 80 90 ", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 80 90\n", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 80 99999\r", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 80 0000000000000000", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 80 90\r\r", LineEnd),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 80 90\rG", LineEnd),
    ] {
        assert_eq!(decode(line.as_bytes()), Err(error), "{line:?}");
        // The last byte is the one that breaks the rule.
        assert_eq!(decode(&line.as_bytes()[..line.len() - 1]), Ok(None), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}", String::from_utf8(vec![b'x'; 107]).unwrap());
    assert_eq!(decode(&long.as_bytes()[..106]), Ok(None));
    assert_eq!(decode(&long.as_bytes()[..107]), Err(LineTooLong));
}

#[test]
fn headers_of_version_2_are_decoded() {
    let mut v6 = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets().to_vec();
    v6.extend("::1".parse::<Ipv6Addr>().unwrap().octets());
    v6.extend([0xdb, 0xb4, 0x01, 0xbb]);
    let mut mapped = "::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets().to_vec();
    mapped.extend([0; 16]);
    mapped.extend([0, 1, 0, 2]);
    let unix = |name: &[u8]| Ok(Some(Source::Unix(name.to_vec())));
    let full = [b'/'; 108];
    for (header, source) in [
        (v2(0x21, 0x11, &v4_addresses(), 0), ip("192.0.2.7:56244")),
        (v2(0x21, 0x11, &v4_addresses(), 300), ip("192.0.2.7:56244")),
        (v2(0x21, 0x11, &v4_addresses(), MOST - 28), ip("192.0.2.7:56244")),
        (v2(0x21, 0x21, &v6, 0), ip("[2001:db8::7]:56244")),
        (v2(0x21, 0x21, &v6, 7), ip("[2001:db8::7]:56244")),
        (v2(0x21, 0x21, &mapped, 0), ip("192.0.2.7:1")),
        (v2(0x21, 0x31, &unix_addresses(b"/run/app"), 0), unix(b"/run/app")),
        (v2(0x21, 0x31, &unix_addresses(b"/run/app\0left over"), 3), unix(b"/run/app")),
        (v2(0x21, 0x31, &unix_addresses(b""), 0), unix(b"")),
        (v2(0x21, 0x31, &unix_addresses(b"\0abstract"), 0), unix(b"\0abstract")),
        (v2(0x21, 0x31, &unix_addresses(&full), 0), unix(&full)),
        (v2(0x21, 0x00, &[], 0), Ok(Some(Source::Unspecified))),
        (v2(0x21, 0x00, &[], 50), Ok(Some(Source::Unspecified))),
        (v2(0x20, 0x00, &[], 0), Ok(Some(Source::Unspecified))),
        (v2(0x20, 0x11, &v4_addresses(), 0), Ok(Some(Source::Unspecified))),
        (v2(0x20, 0x12, &[], 0), Ok(Some(Source::Unspecified))),
        (v2(0x20, 0xff, &[], 9), Ok(Some(Source::Unspecified))),
    ] {
        assert_eq!(decode(&header), source, "{header:?}");
        let followed = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(decode(&followed), source, "{header:?}");
        assert_eq!(decode_cut(&followed, &[]).1, 18, "{header:?}");
        assert_eq!(decode(&header[..header.len() - 1]), Ok(None), "{header:?}");
    }
}

#[test]
fn malformed_headers_are_refused_before_anything_is_stored() {
    use HeaderError::*;
    let head = |command: u8, family: u8, length: u16| {
        let mut head = V2_SIGNATURE.to_vec();
        head.extend([command, family]);
        head.extend(length.to_be_bytes());
        head
    };
    let most = u16::try_from(MOST).unwrap();
    for (head, at, error) in [
        (head(0x11, 0x11, 12), 13, Version),
        (head(0x31, 0x11, 12), 13, Version),
        (head(0x01, 0x11, 12), 13, Version),
        (head(0x22, 0x11, 12), 13, Command),
        (head(0x2f, 0x11, 12), 13, Command),
        (head(0x21, 0x12, 12), 14, Family),
        (head(0x21, 0x22, 36), 14, Family),
        (head(0x21, 0x32, 216), 14, Family),
        (head(0x21, 0x01, 0), 14, Family),
        (head(0x21, 0x10, 12), 14, Family),
        (head(0x21, 0x13, 12), 14, Family),
        (head(0x21, 0x41, 12), 14, Family),
        (head(0x21, 0x11, 11), 16, Length),
        (head(0x21, 0x21, 35), 16, Length),
        (head(0x21, 0x31, 215), 16, Length),
        (head(0x21, 0x11, most - 15), 16, TooLong),
        (head(0x20, 0x00, most - 15), 16, TooLong),
        (head(0x21, 0x00, u16::MAX), 16, TooLong),
    ] {
        assert_eq!(decode(&head), Err(error), "{head:?}");
        assert_eq!(decode(&head[..at]), Err(error), "{head:?}");
        assert_eq!(decode(&head[..at - 1]), Ok(None), "{head:?}");
    }
    for at in 1..V2_SIGNATURE.len() {
        let mut head = head(0x21, 0x11, 12);
        head[at] ^= 1;
        assert_eq!(decode(&head), Err(NoHeader), "{head:?}");
        assert_eq!(decode(&head[..=at]), Err(NoHeader), "{head:?}");
        assert_eq!(decode(&head[..at]), Ok(None), "{head:?}");
    }
}

/// Something similar to a header.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("PROXY "),
        Just("TCP4 "),
        Just("TCP6 "),
        Just("UNKNOWN"),
        Just("192.0.2.7 "),
        Just("::1 "),
        Just("80 "),
        Just("443"),
        Just("\r\n"),
        Just("0"),
        Just(" "),
    ];
    let line = prop::collection::vec(word, 0..9).prop_map(|words| format!("PROXY {}", words.concat()).into_bytes());
    let rest = prop::collection::vec(any::<u8>(), 0..300);
    let family = prop::sample::select(vec![0x00, 0x11, 0x21, 0x31, 0x12]);
    let binary = (0x1f_u8..0x23, family, 0_u16..700, rest).prop_map(|(command, family, length, rest)| {
        [V2_SIGNATURE, &[command, family], &length.to_be_bytes(), &rest].concat()
    });
    prop_oneof![line, binary, prop::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #[test]
    fn cuts_do_not_change_the_result(bytes in input(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode_cut(&bytes, &cuts), decode_cut(&bytes, &[]));
    }
}
