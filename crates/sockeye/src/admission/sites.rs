//! Which origins may connect, and for which hosts requests are answered.

use std::borrow::Cow;

use sockeye_proto::handshake::origin::{self, AllowedOrigins, InvalidOrigin, Origin};
use sockeye_proto::handshake::{ApiMisuse, host};

use crate::sys::Address;

/// The pages that may connect (RFC 6455 section 10.2), by the `Origin` that browsers send.
///
/// A page of any site may open a WebSocket to any server that the browser can reach, including this
/// machine and its network, and with the user's cookies. The right policy depends on the server's
/// users:
///
/// * a tool on the user's own machine, or a service for the pages that it serves itself:
///   [`same_host`](Self::same_host), with [`Hosts::local`];
/// * a site whose pages come from elsewhere: [`only`](Self::only) their origins;
/// * a public service without authentication, or clients that are not browsers and authenticate
///   without cookies: [`any`](Self::any).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let origins = sockeye::service::Origins::only(["https://example.com"])?.or_same_host().or_missing();
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Origins {
    /// `None`: any.
    list: Option<AllowedOrigins>,
    same_host: bool,
    plain_requests: bool,
    hint: Cow<'static, str>,
}

impl Origins {
    /// Any origin, and clients without one. This is the default.
    #[must_use]
    pub fn any() -> Self {
        Self { list: None, same_host: false, plain_requests: false, hint: "".into() }
    }

    /// Only these: scheme, host and port must be the same.
    ///
    /// # Errors
    /// A text that is not an origin, such as one with a path.
    pub fn only<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Result<Self, InvalidOrigin> {
        let mut list = AllowedOrigins::new();
        for origin in origins {
            list.add(origin.as_ref())?;
        }
        list.allow_missing(false);
        Ok(Self { list: Some(list), ..Self::any() })
    }

    /// Only pages of the host and port that the request itself is for, as its `Host` has them.
    /// On a connection with TLS they must be `https` pages: who is on the way can put a page of its own in the place of an `http`
    /// one. Elsewhere both are the same, since a proxy may have ended TLS.
    ///
    /// Alone this does not protect from DNS rebinding, where a page makes its own name resolve to
    /// this server: the request names that host too. Set the served names with
    /// [`Builder::hosts`](crate::Builder::hosts).
    #[must_use]
    pub fn same_host() -> Self {
        Self { list: Some(AllowedOrigins::new()), same_host: true, ..Self::any() }
    }

    /// Pages of the host that the request is for may connect too, as with [`same_host`](Self::same_host).
    #[must_use]
    pub const fn or_same_host(mut self) -> Self {
        self.same_host = true;
        self
    }

    /// Clients that send no origin may connect too. Programs that are not browsers usually send
    /// none.
    #[must_use]
    pub const fn or_missing(mut self) -> Self {
        if let Some(list) = &mut self.list {
            list.allow_missing(true);
        }
        self
    }

    /// Refuses plain HTTP requests from other origins too. Requests without an origin are answered:
    /// a browser sends none when it loads a page.
    #[must_use]
    pub const fn for_plain_requests(mut self) -> Self {
        self.plain_requests = true;
        self
    }

    /// Text for the body of a refusal: how the operator can allow it.
    #[must_use]
    pub fn hint(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.hint = text.into();
        self
    }

    /// Why a handshake for `host`, over TLS or not, is refused; `None` if it is accepted.
    pub(crate) fn refusal(&self, origin: Origin<'_>, host: Option<&str>, is_secure: bool) -> Option<Cow<'static, str>> {
        let list = self.list.as_ref()?;
        // RFC 6454 section 5: "If the two origins are scheme/host/port triples, the two origins are the same if, and only
        // if, they have identical schemes, hosts, and ports."
        let has_scheme = |origin| !is_secure || is_https(origin);
        let is_same = |origin| has_scheme(origin) && host.is_some_and(|host| origin::is_from_host(origin, host));
        let is_admitted = match origin {
            Origin::One(origin) if self.same_host && is_same(origin) => true,
            origin => list.admits(origin),
        };
        (!is_admitted).then(|| with_hint("this origin may not connect", &self.hint))
    }

    /// As [`refusal`](Self::refusal), for a plain request.
    pub(crate) fn plain_refusal(
        &self,
        origin: Origin<'_>,
        host: Option<&str>,
        is_secure: bool,
    ) -> Option<Cow<'static, str>> {
        let is_judged = self.plain_requests && origin != Origin::Missing;
        if is_judged { self.refusal(origin, host, is_secure) } else { None }
    }
}

fn is_https(origin: &str) -> bool {
    origin.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))
}

/// The hosts that requests are answered for, by their `Host`: the defence against DNS rebinding,
/// where a page of `evil.example` makes that name resolve to this server, which makes it the same
/// site for the browser.
///
/// * A tool on the user's own machine: [`local`](Self::local), and its other names, if it has any.
/// * A site: [`only`](Self::only) its names.
/// * A server behind a proxy that checks the host, or without secrets from those who can reach it:
///   [`any`](Self::any).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hosts = sockeye::service::Hosts::only(["example.com", "www.example.com:8080"])?.or_local();
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Hosts {
    /// `None`: any.
    list: Option<host::AllowedHosts>,
    local: bool,
    hint: Cow<'static, str>,
}

impl Hosts {
    /// Any host. This is the default.
    #[must_use]
    pub fn any() -> Self {
        Self { list: None, local: false, hint: "".into() }
    }

    /// Only these names and addresses, each at any port unless it names one. Case does not matter;
    /// there are no patterns.
    ///
    /// # Errors
    /// A text that is not a host with an optional port; IPv6 is in brackets.
    pub fn only<H: AsRef<str>>(hosts: impl IntoIterator<Item = H>) -> Result<Self, ApiMisuse> {
        let mut list = host::AllowedHosts::new();
        for host in hosts {
            list.add(host.as_ref())?;
        }
        Ok(Self { list: Some(list), ..Self::any() })
    }

    /// Only hosts that no other site can have: literal addresses, `localhost`, names below it, and
    /// requests of HTTP/1.0 without a host. Over a Unix socket any host is served, since no name
    /// resolves to it; a proxy in front of it decides which names it forwards.
    #[must_use]
    pub fn local() -> Self {
        Self { list: Some(host::AllowedHosts::new()), local: true, ..Self::any() }
    }

    /// Also the hosts of [`local`](Self::local).
    #[must_use]
    pub const fn or_local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Text for the body of a refusal: how the operator can allow it.
    #[must_use]
    pub fn hint(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.hint = text.into();
        self
    }

    /// Why a request for `host` is refused; `None` if it is accepted. `sender` is the connected
    /// peer: the proxy, if there is one.
    pub(crate) fn refusal(&self, host: Option<&str>, sender: &Address) -> Option<Cow<'static, str>> {
        let list = self.list.as_ref()?;
        // A browser sends a host in each request, and cannot connect to a Unix socket.
        let is_local = || !matches!(sender, Address::Ip(_)) || host.is_none_or(host::is_local);
        let is_served = host.is_some_and(|host| list.allows(host)) || self.local && is_local();
        (!is_served).then(|| with_hint("this host is not served here", &self.hint))
    }
}

fn with_hint(reason: &'static str, hint: &str) -> Cow<'static, str> {
    if hint.is_empty() { reason.into() } else { format!("{reason}; {hint}").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(origins: &Origins, origin: &str, host: &str) -> bool {
        origins.refusal(Origin::One(origin), Some(host), false).is_some()
    }

    #[test]
    fn pages_of_the_same_host_are_admitted_where_that_is_said() {
        let listed = Origins::only(["https://a.example"]).unwrap();
        for (origins, own, listed, missing) in [
            (Origins::any(), false, false, false),
            (Origins::same_host(), false, true, true),
            (Origins::same_host().or_missing(), false, true, false),
            (listed.clone(), true, false, true),
            (listed.clone().or_same_host(), false, false, true),
            (listed.or_same_host().or_missing(), false, false, false),
        ] {
            assert_eq!(refused(&origins, "http://here:1", "here:1"), own, "{origins:?}");
            assert_eq!(refused(&origins, "https://a.example", "here:1"), listed, "{origins:?}");
            assert_eq!(origins.refusal(Origin::Missing, Some("here:1"), false).is_some(), missing, "{origins:?}");
            let is_any = origins.list.is_none();
            assert_eq!(refused(&origins, "http://evil.example", "here:1"), !is_any, "{origins:?}");
            assert_eq!(origins.refusal(Origin::Several, Some("here:1"), false).is_some(), !is_any, "{origins:?}");
        }
    }

    #[test]
    fn over_tls_the_page_must_have_come_over_tls_too() {
        let origins = Origins::only(["http://a.example"]).unwrap().or_same_host().for_plain_requests();
        for (origin, is_admitted) in
            [("https://here", true), ("HTTPS://here:443", true), ("http://here", false), ("http://a.example", true)]
        {
            let refusal = origins.refusal(Origin::One(origin), Some("here"), true);
            assert_eq!(refusal.is_none(), is_admitted, "{origin}");
            let refusal = origins.plain_refusal(Origin::One(origin), Some("here"), true);
            assert_eq!(refusal.is_none(), is_admitted, "{origin}");
        }
        // Both are of the default port of the scheme, which is not that of `http`.
        assert!(origins.refusal(Origin::One("https://here"), Some("here:80"), true).is_some());
    }

    #[test]
    fn plain_requests_are_judged_where_that_is_said_and_by_an_origin_alone() {
        let evil = Origin::One("http://evil.example");
        let origins = Origins::same_host();
        assert_eq!(origins.plain_refusal(evil, Some("here"), false), None);
        let origins = origins.for_plain_requests();
        assert!(origins.plain_refusal(evil, Some("here"), false).is_some());
        assert_eq!(origins.plain_refusal(Origin::Missing, Some("here"), false), None);
        assert_eq!(origins.plain_refusal(Origin::One("http://here"), Some("here"), false), None);
    }

    #[test]
    fn hosts_are_those_listed_and_local_ones_where_that_is_said() {
        let listed = Hosts::only(["named.example"]).unwrap();
        let network = Address::Ip(([127, 0, 0, 1], 1).into());
        for (hosts, named, local, missing) in [
            (Hosts::any(), false, false, false),
            (Hosts::local(), true, false, false),
            (listed.clone(), false, true, true),
            (listed.or_local(), false, false, false),
        ] {
            let refused = |host| hosts.refusal(host, &network).is_some();
            assert_eq!(refused(Some("named.example:80")), named, "{hosts:?}");
            for host in ["127.0.0.1:80", "[::1]", "localhost", "a.localhost:1"] {
                assert_eq!(refused(Some(host)), local, "{hosts:?} {host}");
            }
            assert_eq!(refused(None), missing, "{hosts:?}");
            assert_eq!(refused(Some("evil.example")), hosts.list.is_some(), "{hosts:?}");
            for socket in [Address::Unnamed, Address::Unix("/x".into()), Address::Abstract(b"x".to_vec())] {
                assert_eq!(hosts.refusal(Some("evil.example"), &socket).is_some(), local, "{hosts:?} {socket}");
            }
        }
    }

    #[test]
    fn a_refusal_ends_with_the_hint() {
        let network = Address::Ip(([127, 0, 0, 1], 1).into());
        let refusal = |hosts: Hosts| hosts.refusal(Some("x"), &network).unwrap();
        assert_eq!(refusal(Hosts::local()), "this host is not served here");
        assert_eq!(refusal(Hosts::local().hint("do it")), "this host is not served here; do it");
        let refusal = Origins::same_host().hint("do it").refusal(Origin::Missing, None, false);
        assert_eq!(refusal.unwrap(), "this origin may not connect; do it");
    }
}
