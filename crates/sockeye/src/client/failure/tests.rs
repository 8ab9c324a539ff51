use sockeye_proto::http::ResponseHead;
use sockeye_proto::limits::ProtocolLimits;

use super::*;

fn text(stage: Stage, cause: FailureCause) -> String {
    Failure::new(stage, cause).to_string()
}

fn refused(status: u16) -> FailureCause {
    refused_with(&format!("HTTP/1.1 {status} whatever\r\n\r\n"))
}

fn refused_with(head: &str) -> FailureCause {
    FailureCause::Refused(refusal(head))
}

fn refusal(head: &str) -> Box<Refusal> {
    let head = ResponseHead::parse(head.as_bytes(), &ProtocolLimits::default()).unwrap();
    Box::new(Refusal::new(&head, 0))
}

fn refused_by_proxy(status: u16) -> FailureCause {
    FailureCause::Proxy(ProxyFailure::Refused(refusal(&format!("HTTP/1.1 {status} whatever\r\n\r\n"))))
}

#[test]
fn a_failure_displays_one_line_with_its_cause() {
    let address = Address::Ip("127.0.0.1:9".parse().unwrap());
    let refused_by_system = || io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
    let connect = |tried| FailureCause::Connect { address: address.clone(), error: refused_by_system(), tried };
    let resolve = |error| FailureCause::Resolve { host: "example.invalid".into(), error };
    let lines = [
        (
            text(
                Stage::Resolve,
                resolve(io::Error::other("failed to lookup address information: Name or service not known")),
            ),
            "example.invalid: no such host",
        ),
        (text(Stage::Resolve, resolve(io::Error::from(io::ErrorKind::NotFound))), "example.invalid: no such host"),
        (
            text(Stage::Resolve, resolve(io::Error::other("Temporary failure in name resolution"))),
            "example.invalid: host lookup failed: Temporary failure in name resolution",
        ),
        (text(Stage::Connect, connect(1)), "connecting to 127.0.0.1:9 failed: Connection refused"),
        (text(Stage::Connect, connect(2)), "connecting to 127.0.0.1:9 failed: Connection refused (2 addresses tried)"),
        (text(Stage::Proxy, refused_by_proxy(407)), "the proxy answered 407 Proxy Authentication Required"),
        (
            text(Stage::Proxy, FailureCause::Proxy(ProxyFailure::SocksReply(5))),
            "the proxy failed to connect: connection refused",
        ),
        (text(Stage::Proxy, FailureCause::Ended), "the proxy closed the connection before it answered"),
        (text(Stage::Handshake, FailureCause::Ended), "the server closed the connection before it answered"),
        (
            text(Stage::Handshake, FailureCause::Io(refused_by_system())),
            "the connection broke before the server answered: Connection refused",
        ),
        (text(Stage::Handshake, refused(401)), "the server answered 401 Unauthorized"),
        (text(Stage::Handshake, refused(499)), "the server answered 499"),
        (
            text(Stage::Handshake, refused_with("HTTP/1.1 503 x\r\nRetry-After: 90\r\n\r\n")),
            "the server answered 503 Service Unavailable (retry after 90 s)",
        ),
        (
            text(Stage::Handshake, FailureCause::Rule(client::HandshakeError::Accept)),
            "Sec-WebSocket-Accept does not answer the key (RFC 6455 section 4.1)",
        ),
        (
            text(Stage::Handshake, FailureCause::Timeout { after: Duration::from_secs(10) }),
            "the server did not answer the handshake within 10s",
        ),
        (
            text(Stage::Connect, FailureCause::Timeout { after: Duration::from_millis(1500) }),
            "no address accepted the connection within 1.5s",
        ),
        (text(Stage::Connect, FailureCause::NoRoom { limit: 7 }), "too many connections: the limit is 7"),
        (text(Stage::Handshake, FailureCause::Redirect(RedirectError::TooMany)), "too many redirects"),
    ];
    for (line, expected) in lines {
        assert_eq!(line, expected);
        assert!(!line.contains('\n'));
    }
}

#[test]
fn temporary_failures_are_transient() {
    let is_transient = |cause| Failure::new(Stage::Handshake, cause).is_transient();
    for status in [408, 429, 500, 502, 503, 504] {
        assert!(is_transient(refused(status)), "{status}");
    }
    for status in [302, 400, 401, 403, 404, 426] {
        assert!(!is_transient(refused(status)), "{status}");
    }
    assert!(is_transient(FailureCause::Ended));
    assert!(!is_transient(FailureCause::Cancelled));
    assert!(!is_transient(FailureCause::Rule(client::HandshakeError::Accept)));
    assert!(is_transient(FailureCause::Proxy(ProxyFailure::SocksReply(5))));
    assert!(!is_transient(refused_by_proxy(407)) && is_transient(refused_by_proxy(502)));
}

#[test]
fn a_failure_is_small() {
    assert!(size_of::<Failure>() <= 128, "{}", size_of::<Failure>());
}

#[test]
fn source_and_io_error_return_the_cause() {
    let failure = Failure::new(Stage::Handshake, FailureCause::Io(io::Error::other("x")));
    assert_eq!(failure.source().unwrap().to_string(), "x");
    assert_eq!(failure.io_error().unwrap().to_string(), "x");
    let id = ConnId::from_u64(1 << 32 | 1);
    assert_eq!(failure.with_retry(id, Duration::ZERO).retry, Some(Retry { id, after: Duration::ZERO }));
}

/// Each error from outside in, by its sources.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

#[test]
fn errors_lead_to_what_they_wrap() {
    use crate::client::{Connect, ConnectError, CredentialsError, EnvironmentError, ProxyError, UrlError};
    use sockeye_proto::http::HeadError;

    let environment = EnvironmentError { variable: "ALL_PROXY", error: ProxyError::Place(UrlError::Port) };
    let redirect = RedirectError::Environment(environment);
    let port = UrlError::Port.to_string();
    let place = format!("the proxy is invalid: {port}");
    let wrong = format!("ALL_PROXY is not a valid proxy: {place}");
    assert_eq!(
        chain(&redirect),
        [format!("cannot follow a redirect: {wrong}"), wrong.clone(), place.clone(), port.clone()]
    );
    assert_eq!(chain(&ConnectError::Environment(environment)), [wrong.clone(), wrong, place, port.clone()]);
    assert_eq!(chain(&Connect::new("ws://a:0/").unwrap_err()).last(), Some(&port));
    assert_eq!(chain(&RedirectError::Location(UrlError::Port)).last(), Some(&port));
    let colon = CredentialsError::Colon;
    assert_eq!(chain(&ProxyError::Credentials(colon)).last(), Some(&colon.to_string()));
    let failure = Failure::new(Stage::Proxy, FailureCause::Proxy(ProxyFailure::Head(HeadError::HeadTooLong)));
    assert_eq!(chain(&failure).last(), Some(&HeadError::HeadTooLong.to_string()));
    let system = || io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(chain(&Failure::new(Stage::Handshake, FailureCause::Io(system()))).last(), Some(&system().to_string()));
}
