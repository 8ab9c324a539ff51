//! Ways to a server: through proxies, and by redirects; and what a server says that refuses.

use sockeye::Connect;
use sockeye::client::Proxy;
use sockeye::sim::{Faults, Listener, Network};
use sockeye::sys::Address;

use super::client::{Bench, to};
use super::scripted::Scripted;
use super::{Certified, VERSIONS, certified};

fn at(port: u16) -> Address {
    Address::Ip(([127, 0, 0, 1], port).into())
}

/// A proxy that connects to the server it is asked for, and then moves bytes.
struct Tunnel {
    network: Network,
    listener: Listener,
    server: Address,
    near: Option<Scripted>,
    far: Option<Scripted>,
    /// What the client said to the proxy.
    said: Vec<u8>,
}

impl Tunnel {
    fn new(bench: &Bench) -> Self {
        let network = bench.network.clone();
        let listener = network.listen(&at(3128));
        Self { network, listener, server: at(443), near: None, far: None, said: Vec::new() }
    }

    fn pump(&mut self) {
        if let Some(peer) = self.listener.accept() {
            (self.near, self.far) = (Some(Scripted::plain(peer)), None);
        }
        let Some(near) = &mut self.near else { return };
        let bytes = near.recv();
        let Some(far) = &mut self.far else {
            self.said.extend(bytes);
            let answer: &[u8] = match &self.said[..] {
                [5, 1, 0] => &[5, 0],
                [5, 1, 0, 5, 1, 0, rest @ ..] if rest.len() == 13 => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                head if head.ends_with(b"\r\n\r\n") => b"HTTP/1.1 200 OK\r\n\r\n",
                _ => return,
            };
            if answer.len() > 2 {
                self.far = Some(Scripted::plain(self.network.connect(&self.server).unwrap()));
            }
            return near.send(answer);
        };
        if !bytes.is_empty() {
            far.send(&bytes);
        }
        let back = far.recv();
        if !back.is_empty() {
            near.send(&back);
        }
        if far.peer.is_closed() {
            near.end(true);
        }
    }
}

fn through(proxy: &str, url: &str, certified: &Certified) -> Connect {
    let connect = Connect::new(url).unwrap().subprotocol("echo").unwrap().tls(certified.own.clone());
    connect.proxy(Proxy::parse(proxy).unwrap())
}

#[test]
fn the_proxy_comes_first_and_sees_what_it_needs() {
    let certified = certified(VERSIONS[0]);
    for (proxy, said) in [
        ("http://127.0.0.1:3128", &b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n"[..]),
        ("socks5://127.0.0.1:3128", b"\x05\x01\0\x05\x01\0\x03\x09localhost\x01\xbb"),
    ] {
        let mut bench = Bench::new(&certified, Faults::none(), 1);
        let mut tunnel = Tunnel::new(&bench);
        bench.connect(through(proxy, "wss://localhost/", &certified));
        assert_eq!(bench.until_over(|| tunnel.pump()), ["open", "closed Handshake"], "{proxy}");
        assert_eq!(tunnel.said.escape_ascii().to_string(), said.escape_ascii().to_string());
        let tls = bench.server.statistics().tls;
        assert_eq!((tls.started, tls.full + tls.resumed), (1, 1));
    }
}

/// The name is that of the server, however the connection got there.
#[test]
fn behind_a_proxy_the_certificate_is_that_of_the_server() {
    let certified = certified(VERSIONS[0]);
    for proxy in ["http://127.0.0.1:3128", "socks5://127.0.0.1:3128"] {
        let mut bench = Bench::new(&certified, Faults::none(), 1);
        let mut tunnel = Tunnel::new(&bench);
        bench.connect(through(proxy, "wss://elsewhere/", &certified));
        assert_eq!(bench.until_over(|| tunnel.pump()), ["failed Tls WrongName"], "{proxy}");
    }
}

/// A server on a port of its own that answers each request with `answer`, and ends.
fn answering(bench: &Bench, certified: &Certified, answer: &str, politely: bool) -> impl FnMut() + use<> {
    let listener = bench.network.listen(&at(444));
    let (config, answer) = (certified.server_of_rustls.clone(), answer.to_owned());
    let mut accepted = Vec::new();
    move || {
        if let Some(peer) = listener.accept() {
            let mut server = Scripted::plain(peer);
            server.secure(&config);
            accepted.push(server);
        }
        for server in &mut accepted {
            if server.recv().ends_with(b"\r\n\r\n") {
                server.send(answer.as_bytes());
                server.end(politely);
            }
        }
    }
}

#[test]
fn a_redirect_from_wss_to_ws_is_never_followed() {
    let certified = certified(VERSIONS[0]);
    for place in ["ws://localhost/", "http://localhost/", "ws://localhost:444/", "http://localhost:443/"] {
        let mut bench = Bench::new(&certified, Faults::none(), 1);
        let plain = bench.network.listen(&Address::Ip(([127, 0, 0, 1], 8080).into()));
        let head = format!("HTTP/1.1 307 x\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
        let pump = answering(&bench, &certified, &head, true);
        bench.connect(to("wss://localhost/", "127.0.0.1:444", &certified).redirects(5));
        assert_eq!(bench.until_over(pump), ["failed Handshake Redirect(Downgrade)"], "{place}");
        assert!(plain.accept().is_none());
    }
}

/// To `wss`, also of another place, it is followed, and that place shows a certificate of its own.
#[test]
fn a_redirect_to_wss_is_followed() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(&certified, Faults::none(), 1);
    bench.network.name("localhost", [[127, 0, 0, 1].into()]);
    let head = "HTTP/1.1 307 x\r\nLocation: https://localhost/\r\nContent-Length: 0\r\n\r\n";
    let pump = answering(&bench, &certified, head, true);
    bench.connect(to("wss://localhost:444/", "127.0.0.1:444", &certified).redirects(5));
    assert_eq!(bench.until_over(pump), ["open", "closed Handshake"]);
    assert_eq!(bench.server.statistics().tls.started, 1);
}

/// A body that ends with the connection has no other end, so that it can be cut by anybody (RFC 8446 section 6.1).
#[test]
fn the_body_of_a_refusal_is_cut_without_close_notify() {
    for version in VERSIONS {
        let certified = certified(version);
        for (length, politely, is_cut) in [
            ("", true, false),
            ("", false, true),
            ("Content-Length: 6\r\n", false, false),
            ("Content-Length: 7\r\n", true, true),
        ] {
            let mut bench = Bench::new(&certified, Faults::none(), 1);
            let head = format!("HTTP/1.1 403 x\r\n{length}\r\nnobody");
            let pump = answering(&bench, &certified, &head, politely);
            bench.connect(to("wss://localhost/", "127.0.0.1:444", &certified));
            let refusal = format!(
                "failed Handshake Refused(Refusal {{ status: 403, fields: {}, body_bytes: 6, truncated: {is_cut} }})",
                usize::from(!length.is_empty())
            );
            assert_eq!(bench.until_over(pump), [refusal], "{length:?} {politely}");
        }
    }
}
