//! What compression keeps of a connection: counted in bytes that are allocated, on real sockets.

use std::net::TcpStream;

use sockeye::{Compression, Service, messages};
use sockeye_testing::zlib::{Packer, Way};

use crate::allocator::bytes_held;
use crate::memory::{Site, take};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const CROWD: usize = 1000;
/// What an idle connection may take in all.
const CONNECTION: isize = 304;
/// How much more it may be with the default histories, both of them full.
const HISTORIES: isize = 4608;

/// A message with which both histories are full: a client's frame with a mask of zeros, and its length.
fn message() -> Vec<u8> {
    let text: Vec<u8> = (0..1000).flat_map(|number| format!("{number} and on; ").into_bytes()).take(4000).collect();
    let packed = Packer::new(Way { window_bits: 11, takeover: false }).message(&text);
    let length = u16::try_from(packed.len()).unwrap().to_be_bytes();
    [&[0xC1, 0x80 | 126, length[0], length[1], 0, 0, 0, 0][..], &packed].concat()
}

/// A service with this compression, idle peers of it, and how much they take in it.
fn crowd(compression: Compression, lines: &str) -> (Site, Vec<TcpStream>, isize) {
    let mut site = Site::serving(Service::builder().compression(compression).protocol(messages::echo("echo")));
    // Those that only one connection needs, and buffers that are kept for the next.
    let first = site.open_with(lines);
    let before = bytes_held();
    let mut peers = Vec::with_capacity(CROWD);
    let own = bytes_held() - before;
    peers.extend((0..CROWD).map(|_| site.open_with(lines)));
    let taken = bytes_held() - before - own;
    peers.push(first);
    (site, peers, taken)
}

fn exchange(site: &mut Site, peer: &mut TcpStream, message: &[u8], answer: &mut Vec<u8>) {
    site.send(peer, message);
    answer.clear();
    while answer.is_empty() {
        site.turns(1);
        take(peer, answer);
    }
    assert_eq!(answer[0], 0xC1, "a compressed text");
}

pub(crate) fn what_compression_keeps_of_a_connection() {
    let (message, mut answer) = (message(), Vec::with_capacity(1 << 16));
    let (site, peers, plain) = crowd(Compression::off(), OFFER);
    drop((site, peers));
    println!("{} bytes a connection without compression", plain / CROWD as isize);
    assert!(plain <= CONNECTION * CROWD as isize, "{plain} bytes for {CROWD} connections");
    for (what, compression, most) in
        [("with takeover", Compression::new(), HISTORIES), ("without takeover", Compression::new().history_bytes(0), 0)]
    {
        let (mut site, mut peers, idle) = crowd(compression, OFFER);
        assert_eq!(idle, plain, "an idle connection that may compress takes no more, {what}");
        // The codecs and buffers of the loop.
        exchange(&mut site, &mut peers[CROWD], &message, &mut answer);
        let before = bytes_held();
        for peer in &mut peers[..CROWD] {
            exchange(&mut site, peer, &message, &mut answer);
        }
        let more = bytes_held() - before;
        println!("{} bytes more a connection {what}", more / CROWD as isize);
        assert!(more <= most * CROWD as isize, "{more} bytes more for {CROWD} connections {what}");
        let counted = site.service.statistics().held_bytes as isize;
        assert!(counted >= more, "{more} bytes are held, and {counted} counted");
    }
}
