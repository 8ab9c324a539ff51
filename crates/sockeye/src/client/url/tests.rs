use proptest::prelude::*;
use sockeye_proto::handshake::client::UpgradeRequest;
use sockeye_proto::handshake::origin::AllowedOrigins;

use super::*;

#[test]
fn a_url_is_parsed_into_its_parts() {
    let all: &[(&str, &str, u16, &str, &str)] = &[
        ("ws://a", "a", 80, "a", "/"),
        ("ws://a/", "a", 80, "a", "/"),
        ("WS://A.Example/", "a.example", 80, "a.example", "/"),
        ("http://a/", "a", 80, "a", "/"),
        ("wss://a", "a", 443, "a", "/"),
        ("https://a:80/", "a", 80, "a:80", "/"),
        ("ws://a:80/", "a", 80, "a", "/"),
        ("ws://a:/", "a", 80, "a", "/"),
        ("ws://a:7681/chat", "a", 7681, "a:7681", "/chat"),
        ("ws://a:00081/", "a", 81, "a:81", "/"),
        ("ws://a:65535/", "a", 65535, "a:65535", "/"),
        ("ws://a?b=c", "a", 80, "a", "/?b=c"),
        ("ws://a/?", "a", 80, "a", "/?"),
        ("ws://a/b?c?d/e", "a", 80, "a", "/b?c?d/e"),
        ("ws://a//b", "a", 80, "a", "//b"),
        ("ws://a/../b/./", "a", 80, "a", "/../b/./"),
        ("ws://a/b@c:d", "a", 80, "a", "/b@c:d"),
        ("ws://a/?b@c", "a", 80, "a", "/?b@c"),
        ("ws://127.0.0.1:7681", "127.0.0.1", 7681, "127.0.0.1:7681", "/"),
        ("ws://[::1]", "::1", 80, "[::1]", "/"),
        ("ws://[0:0::1]:7681/", "::1", 7681, "[::1]:7681", "/"),
        ("ws://[::ffff:1.2.3.4]:/", "::ffff:1.2.3.4", 80, "[::ffff:1.2.3.4]", "/"),
        ("ws://a_b.c-d.", "a_b.c-d.", 80, "a_b.c-d.", "/"),
        ("ws://1.example", "1.example", 80, "1.example", "/"),
        ("ws://xn--bcher-kva.example", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
        // Characters are encoded where required; existing escapes are kept.
        ("ws://a/\u{e9}?\u{20ac}", "a", 80, "a", "/%C3%A9?%E2%82%AC"),
        ("ws://a/%c3%A9%2F%00", "a", 80, "a", "/%c3%A9%2F%00"),
        ("ws://a/\"<>^`{|}[]", "a", 80, "a", "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
        ("ws://a/-._~!$&'()*+,;=:@/?", "a", 80, "a", "/-._~!$&'()*+,;=:@/?"),
    ];
    for &(text, host, port, authority, target) in all {
        let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((url.host(), url.port(), url.target()), (host, port, target), "{text}");
        assert_eq!(url.authority(), authority, "{text}");
        assert_eq!(url.is_secure(), text.starts_with("wss") || text.starts_with("https"), "{text}");
        assert_eq!(url.userinfo(), None, "{text}");
        assert_eq!(url.to_string().parse(), Ok(url), "{text}");
    }
}

#[test]
fn an_invalid_host_is_rejected_with_the_broken_rule() {
    use UrlError::*;
    let long_label = format!("ws://{}.a/", "b".repeat(64));
    let long_name = format!("ws://{}a/", "bcde.".repeat(51));
    let all: &[(&str, UrlError)] = &[
        ("ws://", HostMissing),
        ("ws:///", HostMissing),
        ("ws:///a", HostMissing),
        ("ws://?a", HostMissing),
        ("ws://:80/", HostMissing),
        ("ws://u:p@/", HostMissing),
        ("ws://u:p@:80/", HostMissing),
        ("ws://a,b/", Host),
        ("ws://a%41/", Host),
        ("ws://a*/", Host),
        ("ws://a..b/", Host),
        ("ws://.a/", Host),
        ("ws://./", Host),
        ("ws://../", Host),
        ("ws://[::1/", Host),
        ("ws://[]/", Host),
        ("ws://[::1]x/", Host),
        ("ws://[::1]80/", Host),
        ("ws://[::1]]/", Host),
        ("ws://[[::1]]/", Host),
        ("ws://[a]/", Host),
        ("ws://[1.2.3.4]/", Host),
        ("ws://[v1.a]/", Host),
        ("ws://[fe80::1%]/", Host),
        ("ws://[fe80::1%25e%20]/", Host),
        ("ws://[fe80::1%a%b]/", Host),
        ("ws://[::1%25lo]/", Host),
        ("ws://[v1%25eth0]/", Host),
        ("ws://a]/", Host),
        ("ws://a[::1]/", Host),
        ("ws://1/", Host),
        ("ws://127.1/", Host),
        ("ws://2130706433/", Host),
        ("ws://0x7f.0.0.1/", Host),
        ("ws://0x7f000001/", Host),
        ("ws://a.0X1/", Host),
        ("ws://0177.0.0.1/", Host),
        ("ws://1.2.3.4.5/", Host),
        ("ws://1.2.3.256/", Host),
        ("ws://1.2.3.4./", Host),
        ("ws://a.0x/", Host),
        ("ws://b\u{fc}cher.example/", HostNotAscii),
        ("ws://\u{ff11}27.0.0.1/", HostNotAscii),
        (&long_label, HostTooLong),
        (&long_name, HostTooLong),
        ("ws://::1/", HostMissing),
    ];
    for &(text, error) in all {
        assert_eq!(Url::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn an_invalid_url_is_rejected_with_the_broken_rule() {
    use UrlError::*;
    let all: &[(&str, UrlError)] = &[
        ("", Scheme),
        ("a", Scheme),
        ("a:7681", Scheme),
        ("127.0.0.1:7681/", Scheme),
        ("//a/", Scheme),
        ("ws:a", Scheme),
        ("ws:/a", Scheme),
        ("ftp://a/", Scheme),
        ("wsss://a/", Scheme),
        ("://a/", Scheme),
        (" ws://a/", Character { at: 0 }),
        ("ws://a/ ", Character { at: 7 }),
        ("ws://a/#", Fragment),
        ("ws://a/b#c", Fragment),
        ("ws://a#b", Fragment),
        ("ws://#", Fragment),
        ("ws://a:0/", Port),
        ("ws://a:65536/", Port),
        ("ws://a:99999999999999999999/", Port),
        ("ws://a:+80/", Port),
        ("ws://a:-1/", Port),
        ("ws://a:8o/", Port),
        ("ws://a:1:2/", Port),
        ("ws://[::1]:x/", Port),
        ("ws://[::1]:0/", Port),
        ("ws://a@b@c/", Userinfo),
        ("ws://u%:p@a/", Userinfo),
        ("ws://u%g0@a/", Userinfo),
        ("ws://u%ff@a/", Userinfo),
        ("ws://u:p%0d%0a@a/", Userinfo),
        ("ws://u%00@a/", Userinfo),
        ("ws://u%3Av:p@a/", Userinfo),
        ("ws://u[@a/", Userinfo),
        ("ws://j\u{f6}@a/", Userinfo),
        ("ws://a/%", Escape),
        ("ws://a/%4", Escape),
        ("ws://a/%g0", Escape),
        ("ws://a/%%20", Escape),
        ("ws://a/?100%", Escape),
    ];
    for &(text, error) in all {
        assert_eq!(Url::parse(text), Err(error), "{text:?}");
    }
}

/// A forbidden byte is rejected at every position, and the error has its offset.
#[test]
fn forbidden_bytes_are_rejected_everywhere() {
    let url = "ws://user:pass@host.example:8080/path/to?query=1";
    for bad in (0..=b' ').chain([0x7f, b'\\']) {
        for at in 0..=url.len() {
            let (before, behind) = url.split_at(at);
            let text = format!("{before}{}{behind}", char::from(bad));
            assert_eq!(Url::parse(&text), Err(UrlError::Character { at }), "{text:?}");
        }
    }
    for at in 0..=url.len() {
        let (before, behind) = url.split_at(at);
        assert_eq!(Url::parse(&format!("{before}#{behind}")), Err(UrlError::Fragment));
        // Only the path and the query may hold characters outside ASCII.
        let text = format!("{before}\u{2028}{behind}");
        assert_eq!(Url::parse(&text).is_ok(), at > url.find("/path").unwrap(), "{text:?}");
    }
}

#[test]
fn the_length_of_a_url_is_bounded() {
    let fill = |length: usize| format!("ws://a/{}", "b".repeat(length - 7));
    assert!(Url::parse(&fill(8000)).is_ok());
    assert_eq!(Url::parse(&fill(8001)), Err(UrlError::TooLong));
    // Encoding triples the length.
    assert_eq!(Url::parse(&format!("ws://a/{}", "|".repeat(3000))), Err(UrlError::TooLong));
    assert_eq!(Url::parse(&format!("ws://{}/", "a".repeat(8000))), Err(UrlError::TooLong));
    let name = format!("{}abc", "abcd.".repeat(50));
    assert_eq!(Url::parse(&format!("ws://{name}")).map(|url| url.host().len()), Ok(253));
    assert!(Url::parse(&format!("ws://{name}.")).is_ok());
    assert_eq!(Url::parse(&format!("ws://{name}e")), Err(UrlError::HostTooLong));
}

#[test]
fn credentials_are_decoded_and_not_shown() {
    let url = Url::parse("ws://j%C3%B6:p%40:ss@a:81/b?token=t").unwrap();
    assert_eq!(url.userinfo(), Some(("j\u{f6}", "p@:ss")));
    assert_eq!(url.to_string(), "ws://a:81/b?token=t");
    assert_eq!(format!("{url:?}"), "Url(ws://a:81/b?..)");
    for (text, userinfo) in [
        ("ws://@a/", None),
        ("ws://u@a/", Some(("u", ""))),
        ("ws://u:@a/", Some(("u", ""))),
        ("ws://:p@a/", Some(("", "p"))),
        ("ws://:@a/", Some(("", ""))),
    ] {
        assert_eq!(Url::parse(text).unwrap().userinfo(), userinfo, "{text}");
    }
    for secret in ["ws://geheim%0a@a/", "ws://u:geheim@", "ws://u:geheim@a b/", "ws://u:geheim#@a/"] {
        let error = Url::parse(secret).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    }
}

#[test]
fn an_origin_is_accepted_by_an_origin_list() {
    for (text, origin) in [
        ("ws://A.example/x", "http://a.example"),
        ("wss://a.example:443/x", "https://a.example"),
        ("ws://[::1]:7681/", "http://[::1]:7681"),
    ] {
        assert_eq!(Url::parse(text).unwrap().origin(), origin);
        AllowedOrigins::new().add(origin).unwrap();
    }
}

/// The examples of RFC 3986 section 5.4 that keep the scheme.
#[test]
fn references_are_resolved_as_in_the_rfc() {
    let base = Url::parse("http://a/b/c/d;p?q").unwrap();
    for (reference, target) in [
        ("g", "/b/c/g"),
        ("./g", "/b/c/g"),
        ("g/", "/b/c/g/"),
        ("/g", "/g"),
        ("?y", "/b/c/d;p?y"),
        ("g?y", "/b/c/g?y"),
        (";x", "/b/c/;x"),
        ("g;x", "/b/c/g;x"),
        ("g;x?y", "/b/c/g;x?y"),
        ("", "/b/c/d;p?q"),
        (".", "/b/c/"),
        ("./", "/b/c/"),
        ("..", "/b/"),
        ("../", "/b/"),
        ("../g", "/b/g"),
        ("../..", "/"),
        ("../../", "/"),
        ("../../g", "/g"),
        ("../../../g", "/g"),
        ("../../../../g", "/g"),
        ("/./g", "/g"),
        ("/../g", "/g"),
        ("g.", "/b/c/g."),
        (".g", "/b/c/.g"),
        ("g..", "/b/c/g.."),
        ("..g", "/b/c/..g"),
        ("./../g", "/b/g"),
        ("./g/.", "/b/c/g/"),
        ("g/./h", "/b/c/g/h"),
        ("g/../h", "/b/c/h"),
        ("g;x=1/./y", "/b/c/g;x=1/y"),
        ("g;x=1/../y", "/b/c/y"),
        ("g?y/./x", "/b/c/g?y/./x"),
        ("g?y/../x", "/b/c/g?y/../x"),
        ("g?y:z", "/b/c/g?y:z"),
        ("./g:h", "/b/c/g:h"),
        ("g/h:i", "/b/c/g/h:i"),
        ("\u{e9}", "/b/c/%C3%A9"),
    ] {
        let joined = base.join(reference).unwrap_or_else(|error| panic!("{reference}: {error}"));
        assert_eq!((joined.authority().as_str(), joined.target()), ("a", target), "{reference}");
    }
    for (reference, whole) in [
        ("//g", "ws://g/"),
        ("//g:81/h/../i?j", "ws://g:81/i?j"),
        ("http://g/../h", "ws://g/h"),
        ("wss://g", "wss://g/"),
        ("WSS://a:80/./", "wss://a:80/"),
    ] {
        assert_eq!(base.join(reference).unwrap().to_string(), whole, "{reference}");
    }
    assert_eq!(Url::parse("wss://a/").unwrap().join("//g").unwrap().to_string(), "wss://g/");
}

#[test]
fn invalid_references_are_rejected() {
    let base = Url::parse("ws://a/b").unwrap();
    for (reference, error) in [
        ("g:h", UrlError::Scheme),
        ("http:g", UrlError::Scheme),
        ("javascript://a/", UrlError::Scheme),
        (":x", UrlError::Scheme),
        ("1:2", UrlError::Scheme),
        ("g#s", UrlError::Fragment),
        ("#s", UrlError::Fragment),
        ("a b", UrlError::Character { at: 1 }),
        ("/\\evil.com/", UrlError::Character { at: 1 }),
        ("\\\\evil.com/", UrlError::Character { at: 0 }),
        ("/\r\nX: y", UrlError::Character { at: 1 }),
        ("///g", UrlError::HostMissing),
        ("//u:p@g/", UrlError::Userinfo),
        ("ws://u@a/", UrlError::Userinfo),
        ("ws://a@b@c/", UrlError::Userinfo),
        ("%", UrlError::Escape),
        ("//g:0/", UrlError::Port),
    ] {
        assert_eq!(base.join(reference), Err(error), "{reference:?}");
    }
    let long = Url::parse(&format!("ws://a/{}/", "b".repeat(7000))).unwrap();
    assert_eq!(long.join(&"c".repeat(2000)), Err(UrlError::TooLong));
}

#[test]
fn credentials_stay_with_their_origin() {
    let base = Url::parse("ws://u:p@a/b").unwrap();
    for same in ["c", "/c", "?c", "", "//a/c", "http://A:80/c"] {
        assert_eq!(base.join(same).unwrap().userinfo(), Some(("u", "p")), "{same}");
    }
    for other in ["//b/c", "wss://a/", "ws://a:81/", "ws://a./"] {
        assert_eq!(base.join(other).unwrap().userinfo(), None, "{other}");
    }
}

fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("ws://".to_owned()),
        Just("https://".to_owned()),
        Just("//".to_owned()),
        Just("u:p@".to_owned()),
        Just("[::1]".to_owned()),
        Just("a.example".to_owned()),
        Just(":80".to_owned()),
        Just("/../".to_owned()),
        Just("%2e".to_owned()),
        "[ -~]{0,4}",
        "\\PC{0,3}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_url_is_valid_in_a_request(text in texts(), reference in texts()) {
        let base = Url::parse("wss://base:81/x/y?z").unwrap();
        let urls = [Url::parse(&text), base.join(&reference), Url::parse(&text).unwrap_or(base).join(&reference)];
        for url in urls.into_iter().flatten() {
            prop_assert!(UpgradeRequest::new(&url.authority(), url.target()).is_ok(), "{url}");
            prop_assert!(url.port() != 0 && !url.host().is_empty());
            let shown = Url::parse(&url.to_string());
            prop_assert_eq!(shown.as_ref().map(|shown| (shown.host(), shown.port(), shown.target())),
                Ok((url.host(), url.port(), url.target())));
        }
    }
}

/// What is written is read, and what others write too.
#[test]
fn a_link_local_address_has_a_zone() {
    for (text, host) in [
        ("ws://[fe80::1%25eth0]:7/", "fe80::1%eth0"),
        ("ws://[fe80::1%eth0]:7/", "fe80::1%eth0"),
        ("ws://[FE80::1%4]:7/", "fe80::1%4"),
        ("ws://[fe80::1%254]:7/", "fe80::1%4"),
        ("ws://[fe80::1%25]:7/", "fe80::1%25"),
    ] {
        let url = Url::parse(text).unwrap();
        assert_eq!((url.host(), &*url.authority()), (host, "[fe80::1]:7"), "{text}");
        assert_eq!(url.to_string(), format!("ws://[fe80::1%25{}]:7/", &host[8..]));
        assert_eq!(Url::parse(&url.to_string()).unwrap(), url);
        assert_eq!(url.origin(), "http://[fe80::1]:7");
    }
    assert!(!Url::parse("ws://[fe80::1%1]/").unwrap().is_same_origin(&Url::parse("ws://[fe80::1%2]/").unwrap()));
}
