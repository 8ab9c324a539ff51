//! URLs and proxies: a parsed URL is valid in a request, and survives a round trip through its
//! text. A line feed separates the URL from a reference that is resolved against it.

use sockeye::Connect;
use sockeye::client::negotiate::Negotiation;
use sockeye::client::{Proxy, Url};
use sockeye::proto::handshake::client::UpgradeRequest;
use sockeye::proto::limits::ProtocolLimits;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(proxy) = Proxy::parse(first) {
        assert_eq!(proxy.host(), Proxy::parse(&proxy.to_string()).expect("the text of a valid value is valid").host());
        // The zone of an address means nothing to a proxy, which refuses it.
        let host = proxy.host().split('%').next().unwrap_or_default();
        let _: Negotiation =
            proxy.negotiate(host, proxy.port(), &ProtocolLimits::default()).expect("the host of a proxy is valid");
    }
    let Ok(url) = Url::parse(first) else { return };
    valid(&url);
    if let Some((user, password)) = url.userinfo() {
        assert!(!user.contains(':') && !user.chars().chain(password.chars()).any(char::is_control));
    }
    // The second line serves as the value of `no_proxy` too.
    let env = |name: &str| (name != "REQUEST_METHOD").then(|| second.to_owned());
    let _ = Proxy::from_env(&url, &env);
    let Ok(joined) = url.join(second) else { return };
    valid(&joined);
    assert!(joined.userinfo().is_none() || joined.is_same_origin(&url));
    let path = joined.target().split('?').next().unwrap_or_default();
    assert!(!path.split('/').any(|segment| segment == "." || segment == ".."), "{joined}");
}

fn valid(url: &Url) {
    let authority = url.authority();
    assert!(UpgradeRequest::new(&authority, url.target()).is_ok(), "{url}");
    assert_ne!(url.port(), 0);
    let again = Url::parse(&url.to_string()).expect("the text of a valid value is valid");
    assert_eq!((again.host(), again.port(), again.target()), (url.host(), url.port(), url.target()));
    assert!(again.is_same_origin(url));
    let _ = Connect::from(url.clone());
}
