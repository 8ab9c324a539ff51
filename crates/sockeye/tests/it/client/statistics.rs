//! What the service says of its own connections.

use sockeye::Connect;
use sockeye_testing::client::{Bench, to};

#[test]
fn connects_by_how_they_came_out() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let (_, _server) = bench.open(&to("ws://10.0.0.1/"), &listener);
    let seen = bench.service.statistics();
    assert_eq!((seen.connections.connected, seen.connections.accepted, seen.connections_now), (1, 0, 1));
    assert_eq!((seen.websockets.opened_by_us, seen.websockets.opened_by_peers, seen.websockets_now), (1, 0, 1));

    let fails = |bench: &mut Bench, connect: &Connect| {
        let id = bench.connect(connect);
        bench.failed(id);
        bench.service.statistics().failures
    };
    let failures = fails(&mut bench, &to("ws://nobody.test/"));
    assert_eq!((failures.resolve, failures.connect, failures.proxy, failures.handshake), (1, 0, 0, 0));
    let failures = fails(&mut bench, &to("ws://10.0.0.9/"));
    assert_eq!((failures.resolve, failures.connect, failures.proxy, failures.handshake), (1, 1, 0, 0));

    let id = bench.connect(&to("ws://10.0.0.1/"));
    let server = bench.asked(&listener);
    server.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    bench.failed(id);
    let seen = bench.service.statistics();
    assert_eq!((seen.failures.handshake, seen.connections.connected, seen.connections.closed), (1, 2, 1));
    let proxy = sockeye::client::Proxy::parse("http://10.0.0.1:80").unwrap();
    let id = bench.connect(&to("ws://10.0.0.2/").proxy(proxy));
    let server = bench.asked(&listener);
    server.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    bench.failed(id);
    let seen = bench.service.statistics();
    assert_eq!((seen.failures.proxy, seen.connections_now, seen.connections_most), (1, 1, 2));
    assert_eq!((seen.websockets.opened_by_us, seen.responses.len()), (1, 0));
}

#[test]
fn frames_of_a_client_are_counted_as_those_of_a_server() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let (id, server) = bench.open(&to("ws://10.0.0.1/"), &listener);
    let before = bench.service.statistics().clone();
    server.send(b"\x81\x02hi\x89\x01p");
    bench.until(|bench| bench.service.statistics().sent.pongs == 1);
    bench.service.control().connection(id).unwrap().close(sockeye::CloseCode::NORMAL);
    bench.until(|bench| bench.service.statistics().sent.closes == 1);
    let since = bench.service.statistics().since(&before);
    assert_eq!((since.received.bytes, since.received.messages, since.received.pings), (7, 1, 1));
    // Pong and Close frame with a key each.
    assert_eq!((since.sent.bytes, since.sent.pongs, since.sent.closes), (7 + 8, 1, 1));
}
