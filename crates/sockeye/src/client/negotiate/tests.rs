use super::*;

#[test]
fn a_way_by_socks() {
    let proxy = Proxy::parse("socks5://p").unwrap();
    let mut negotiation = proxy.negotiate("example.com", 80, &Limits::default()).unwrap();
    let mut out = Vec::new();
    negotiation.start(&mut out);
    assert_eq!(out, [5, 1, 0]);
    let mut input: &[u8] = b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50rest";
    assert_eq!(negotiation.feed(&mut input, &mut out), Ok(Progress::Done));
    assert_eq!((&out[3..], input), (&b"\x05\x01\x00\x03\x0bexample.com\x00\x50"[..], &b"rest"[..]));
}
