use super::*;

#[test]
fn a_proxy_is_taken_apart() {
    let proxy = Proxy::parse("SOCKS5h://joe:pw@[::1]/").unwrap();
    assert_eq!((proxy.host(), proxy.port(), proxy.kind), ("::1", 1080, ProxyKind::Socks));
    assert_eq!(format!("{proxy:?}"), "Proxy(socks5://[::1]:1080)");
}
