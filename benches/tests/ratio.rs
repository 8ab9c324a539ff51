//! What compression with the default histories saves, beside compressors that have 32 KiB of what was sent. It is exact, so it is a
//! test; `cargo xtask bench deflate` has it with more messages, and what it costs.

use std::time::Duration;

use sockeye::{
    Compression, Service, messages,
    sim::{Faults, Network},
};
use sockeye_benches::{corpora::Corpus, packing::stateful_bytes};
use sockeye_testing::server::{Client, Heard};

#[test]
fn histories_save_nearly_what_a_large_window_would() {
    for (corpus, count) in [(Corpus::Quotes, 400), (Corpus::Chat, 400), (Corpus::Mixed, 60)] {
        let texts = corpus.messages(1, count);
        for (level, goal) in [(1, 0.95), (6, 0.92)] {
            let plain: usize = texts.iter().map(String::len).sum();
            let share = saved(level, &texts) as f64 / (plain - stateful_bytes(level, &texts)) as f64;
            assert!(share >= goal, "{corpus:?} at level {level}: {share:.4}");
        }
    }
}

/// How many bytes fewer a server sends that has histories of the default length.
fn saved(level: u8, texts: &[String]) -> u64 {
    let network = Network::with_faults(1, Faults::none());
    let builder = Service::builder().listen("127.0.0.1:80").compression(Compression::new().level(level));
    // More clients than the loop has compressors, so that each of them begins with the history of whoever gets a message.
    let mut service = builder.fallback(messages::echo("echo")).build_with(network.host().sys()).expect("it starts");
    let address = service.local_addresses()[0].clone();
    let mut clients = [0, 1, 2, 3, 4, 5].map(|seed| {
        let mut client = Client::connect(&network, &address, seed).expect("it connects");
        client.offer("permessage-deflate; client_max_window_bits");
        client.handshake("/", "echo");
        client
    });
    let mut until = |clients: &mut [Client; 6], done: &dyn Fn(&Client) -> bool| {
        while !clients.iter().all(done) {
            service.run_once(Some(Duration::ZERO)).expect("a turn");
            network.advance(Duration::from_micros(100));
            clients.iter_mut().for_each(|client| client.pump(usize::MAX, network.now()));
        }
        service.statistics().compression
    };
    until(&mut clients, &Client::is_open);
    let mut sent = Default::default();
    for (index, text) in texts.iter().enumerate() {
        clients.iter_mut().for_each(|client| client.text(text));
        sent = until(&mut clients, &|client| client.messages().count() > index);
    }
    for client in &clients {
        assert!(client.messages().zip(texts).all(|(heard, text)| *heard == Heard::Text(text.clone())));
    }
    // All were sent the same.
    (sent.sent_plain_bytes - sent.sent_bytes) / clients.len() as u64
}
