use super::*;

#[test]
fn a_url_is_taken_apart() {
    let url = Url::parse("WSS://[0:0::1]:8443?q").unwrap();
    assert_eq!((url.host(), url.port(), url.is_secure(), url.target()), ("::1", 8443, true, "/?q"));
    assert_eq!((url.authority().as_str(), url.origin().as_str()), ("[::1]:8443", "https://[::1]:8443"));
}
