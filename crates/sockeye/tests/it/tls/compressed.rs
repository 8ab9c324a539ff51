//! Compressed messages over TLS: clients of rustls and zlib.

use std::time::Duration;

use sockeye::service::Listen;
use sockeye::sim::{Faults, Network};
use sockeye::{Compression, Service, messages};
use sockeye_testing::zlib::{Packer, Plain, agreed};

use super::server::{Bench, Client, UPGRADE, answer, quiet};
use super::{VERSIONS, certified};

fn quote(number: u32) -> Vec<u8> {
    let price = number.wrapping_mul(2_654_435_761) % 90_000 + 10_000;
    format!(r#"{{"type":"quote","symbol":"ABC","bid":{price},"ask":{},"sequence":{number},"venue":"XAMS"}}"#, price + 3)
        .into_bytes()
}

/// A client's frame of a whole compressed message.
fn packed(payload: &[u8]) -> Vec<u8> {
    let mut frame = super::server::frame(payload);
    frame[0] |= 0x40;
    frame
}

/// Messages that refer to those before them, each in a record of its own, several in one, and one in many.
#[test]
fn compressed_messages_take_over_what_was_before_them() {
    let narrow = Faults::none().with_buffers(5_000, 5_000).with_segment(700);
    for (version, network) in [
        (VERSIONS[0], quiet()),
        (VERSIONS[1], quiet()),
        (VERSIONS[0], Network::with_faults(1, narrow.clone())),
        (VERSIONS[1], Network::with_faults(1, narrow)),
    ] {
        let certified = certified(version);
        let listen = Listen::new("127.0.0.1:443").tls(certified.server.clone());
        let builder = Service::builder().compression(Compression::new()).protocol(messages::echo("echo"));
        let service = builder.listener(listen).build_with(network.sys()).unwrap();
        let mut bench = Bench { network, service };
        let mut clients = [Client::new(&bench, &certified)];
        let offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
        clients[0].say(&[&UPGRADE[..UPGRADE.len() - 2], offer].concat());
        bench.pump(&mut clients, |_, clients| clients[0].is_upgraded());
        let head = String::from_utf8(std::mem::take(&mut clients[0].heard)).unwrap();
        let field = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: ")).expect("an answer");
        let (send, receive) = agreed(field.as_bytes()).unwrap();
        assert!(send.takeover && receive.takeover, "{field}");
        let (mut packer, mut plain) = (Packer::new(send), Plain::new(receive));
        let mut sent = Vec::new();
        let mut heard = Vec::new();
        for round in 0..20_u32 {
            let mut batch = Vec::new();
            for number in 0..=round % 4 {
                // Some are longer than a record, and than what the network takes at once.
                let message = if round % 5 == 4 { quote(round).repeat(900) } else { quote(round * 10 + number) };
                batch.extend(packed(&packer.message(&message)));
                sent.extend(answer(&message));
            }
            clients[0].say(&batch);
            // Until all has been answered, in whatever parts it comes.
            let wanted = sent.len();
            bench.until(|_| {
                clients[0].pump();
                heard.extend(plain.frames(&std::mem::take(&mut clients[0].heard)));
                assert_eq!(plain.failed, None);
                heard.len() >= wanted
            });
            assert!(heard == sent, "round {round}");
        }
        let compression = bench.service.statistics().compression;
        assert_eq!((compression.received, compression.sent, plain.packed), (50, 50, 50));
        assert!(compression.sent_bytes * 3 < compression.sent_plain_bytes, "{compression:?}");
        // What is kept for such a connection is its histories, and no buffer.
        // What is forgotten is freed with that of others, within a second.
        for seconds in [61, 2] {
            bench.network.advance(Duration::from_secs(seconds));
            bench.until(|_| true);
        }
        let held = bench.service.statistics().held_bytes;
        assert!(held < 5000, "{held}");
    }
}
