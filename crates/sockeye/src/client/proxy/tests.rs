use super::*;

#[test]
fn a_proxy_is_parsed_into_its_parts() {
    use ProxyKind::{Http, Https, Socks};
    for (text, kind, host, port, shown) in [
        ("p:3128", Http, "p", 3128, "http://p:3128"),
        ("p", Http, "p", 80, "http://p:80"),
        ("u:p@P.example:1/", Http, "p.example", 1, "http://p.example:1"),
        ("HTTP://p", Http, "p", 80, "http://p:80"),
        ("http://[::1]:8080/", Http, "::1", 8080, "http://[::1]:8080"),
        ("https://p", Https, "p", 443, "https://p:443"),
        ("HTTPS://u:p@[::1]:3129/", Https, "::1", 3129, "https://[::1]:3129"),
        ("socks5://p", Socks, "p", 1080, "socks5://p:1080"),
        ("SOCKS5h://joe:pw@[::1]/", Socks, "::1", 1080, "socks5://[::1]:1080"),
        ("socks5://u@127.0.0.1:9", Socks, "127.0.0.1", 9, "socks5://127.0.0.1:9"),
    ] {
        let proxy = Proxy::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((proxy.kind, proxy.host(), proxy.port()), (kind, host, port), "{text}");
        assert_eq!(proxy.to_string(), shown, "{text}");
        assert_eq!(format!("{proxy:?}"), format!("Proxy({shown})"), "{text}");
        assert_eq!(proxy.credentials.is_some(), text.contains('@'), "{text}");
    }
}

#[test]
fn an_invalid_proxy_is_rejected_with_the_broken_rule() {
    use ProxyError::{Path, Place, Scheme};
    let long = format!("socks5://{}@p", "u".repeat(256));
    for (text, error) in [
        ("", Place(UrlError::HostMissing)),
        ("http://", Place(UrlError::HostMissing)),
        ("socks4://p", Scheme),
        ("socks://p", Scheme),
        ("ws://p", Scheme),
        ("://p", Scheme),
        ("http://p/a", Path),
        ("http://p//", Path),
        ("http://p?a", Path),
        ("http://p/?a", Path),
        ("http://p#a", Place(UrlError::Fragment)),
        ("http://p:0", Place(UrlError::Port)),
        ("http://p q", Place(UrlError::Character { at: 8 })),
        ("http://p\r\n", Place(UrlError::Character { at: 8 })),
        ("http://u:%0d@p", Place(UrlError::Userinfo)),
        ("http://u%3av:p@p", ProxyError::Credentials(CredentialsError::Colon)),
        ("socks5://:p@p", ProxyError::Credentials(CredentialsError::Length)),
        (&long, ProxyError::Credentials(CredentialsError::Length)),
    ] {
        assert_eq!(Proxy::parse(text), Err(error), "{text:?}");
        assert!(!error.to_string().is_empty());
    }
    // Credentials that one kind of proxy cannot be sent may be fine for the other.
    assert!(Proxy::parse("socks5://u%3av:p@p").is_ok());
    assert!(Proxy::parse("http://:p@p").is_ok());
    assert!(Proxy::parse(&long.replace("socks5", "http")).is_ok());
}

type Variables = [(&'static str, &'static str)];

fn chosen(url: &str, variables: &Variables) -> Result<Option<String>, EnvironmentError> {
    let env = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    Proxy::from_env(&Url::parse(url).unwrap(), &env).map(|proxy| proxy.map(|proxy| proxy.host().to_owned()))
}

#[test]
fn the_environment_names_the_proxy() {
    let table: &[(&str, &Variables, Option<&str>)] = &[
        ("ws://a/", &[], None),
        ("ws://a/", &[("http_proxy", "p")], Some("p")),
        ("ws://a/", &[("HTTP_PROXY", "p")], Some("p")),
        ("ws://a/", &[("HTTP_PROXY", "q"), ("http_proxy", "p")], Some("p")),
        ("ws://a/", &[("https_proxy", "p")], None),
        ("ws://a/", &[("all_proxy", "p")], Some("p")),
        ("ws://a/", &[("ALL_PROXY", "p")], Some("p")),
        ("ws://a/", &[("all_proxy", "q"), ("HTTP_PROXY", "p")], Some("p")),
        ("ws://a/", &[("http_proxy", ""), ("all_proxy", "p")], Some("p")),
        ("ws://a/", &[("http_proxy", "  "), ("HTTP_PROXY", " p ")], Some("p")),
        ("wss://a/", &[("https_proxy", "p")], Some("p")),
        ("wss://a/", &[("HTTPS_PROXY", "p")], Some("p")),
        ("wss://a/", &[("http_proxy", "p")], None),
        ("wss://a/", &[("ALL_PROXY", "socks5://p")], Some("p")),
        // In a CGI program `HTTP_PROXY` comes from the client.
        ("ws://a/", &[("HTTP_PROXY", "p"), ("REQUEST_METHOD", "GET")], None),
        ("ws://a/", &[("http_proxy", "p"), ("REQUEST_METHOD", "GET")], Some("p")),
        ("ws://a/", &[("HTTP_PROXY", "q"), ("REQUEST_METHOD", ""), ("all_proxy", "p")], Some("p")),
        ("wss://a/", &[("HTTPS_PROXY", "p"), ("REQUEST_METHOD", "GET")], Some("p")),
        // Direct.
        ("ws://a/", &[("http_proxy", "p"), ("no_proxy", "a")], None),
        ("ws://a/", &[("http_proxy", "p"), ("NO_PROXY", "a")], None),
        ("ws://a/", &[("http_proxy", "p"), ("NO_PROXY", "a"), ("no_proxy", "b")], Some("p")),
        ("ws://a/", &[("http_proxy", "p"), ("NO_PROXY", "a"), ("no_proxy", "")], None),
        ("ws://a/", &[("http_proxy", "p"), ("no_proxy", "*")], None),
        ("ws://x.a:81/", &[("http_proxy", "p"), ("no_proxy", "b,a:81")], None),
        ("ws://x.a/", &[("http_proxy", "p"), ("no_proxy", "b,a:81")], Some("p")),
        ("wss://a/", &[("https_proxy", "p"), ("no_proxy", "a:443")], None),
        ("ws://localhost/", &[("http_proxy", "p"), ("no_proxy", "a")], Some("p")),
        ("ws://127.0.0.1/", &[("http_proxy", "p")], Some("p")),
        ("ws://[::1]/", &[("http_proxy", "p"), ("no_proxy", "127.0.0.1,::1")], None),
        // A variable that does not apply may hold anything.
        ("ws://a/", &[("http_proxy", "ftp://p"), ("no_proxy", "a")], None),
        ("ws://a/", &[("https_proxy", "ftp://p"), ("http_proxy", "p")], Some("p")),
    ];
    for (url, variables, host) in table {
        assert_eq!(chosen(url, variables).unwrap().as_deref(), *host, "{url} {variables:?}");
    }
}

#[test]
fn the_error_names_the_invalid_variable() {
    let error = chosen("ws://a/", &[("HTTP_PROXY", "ftp://u:geheim@p")]).unwrap_err();
    assert_eq!((error.variable, error.error), ("HTTP_PROXY", ProxyError::Scheme));
    assert!(error.to_string().starts_with("HTTP_PROXY is not a valid proxy: "));
    assert!(!format!("{error} {error:?}").contains("geheim"));
    let error = chosen("wss://a/", &[("https_proxy", "\u{fffd}"), ("all_proxy", "p")]).unwrap_err();
    assert_eq!((error.variable, error.error), ("https_proxy", ProxyError::Place(UrlError::HostNotAscii)));
}
