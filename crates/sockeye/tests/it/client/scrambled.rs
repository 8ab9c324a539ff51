//! A client whose bytes go through the transform that stands for TLS.

use sockeye::proto::wire::MessageKind;
use sockeye::sim::Faults;
use sockeye::{CloseCode, Limits};
use sockeye_testing::client::{Bench, Say, frame, to};

/// Each is masked and sealed, and the socket takes them in small parts.
#[test]
fn masked_frames_go_out_and_answers_come_in() {
    let mut bench = Bench::scrambled(1, Faults::none().with_buffers(3000, 3000), Limits::default(), 7);
    let listener = bench.listen("10.0.0.1:80");
    let (id, mut server) = bench.open(&to("ws://10.0.0.1/"), &listener);
    let payloads: Vec<Vec<u8>> = [3, 0, 125, 9000, 70_000].map(|size| vec![size as u8; size]).into();
    server.peer.set_window(700);
    for (number, payload) in payloads.iter().enumerate() {
        let say = if number % 2 == 0 { Say::Owned } else { Say::Message };
        bench.say(id, say(MessageKind::Binary, payload.clone()));
    }
    bench.until(|_| {
        server.pump();
        server.frames.len() == payloads.len()
    });
    assert!(server.frames.iter().all(|frame| frame.key.is_some()), "a frame was not masked");
    assert!(server.messages() == payloads, "other messages came");
    for payload in &payloads {
        server.send(frame(0x82, payload));
    }
    bench.until(|bench| bench.notes.messages(id).len() == payloads.len());
    let heard: Vec<Vec<u8>> = bench.notes.messages(id).into_iter().map(|(_, payload)| payload).collect();
    assert!(heard == payloads, "other messages were heard");
    bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    bench.until(|_| {
        server.pump();
        !server.closes().is_empty()
    });
    assert_eq!(server.closes(), [1000_u16.to_be_bytes()]);
    server.send(frame(0x88, &1000_u16.to_be_bytes()));
    server.peer.shutdown();
    bench.until(|bench| bench.notes.is_over(id));
    assert!(!server.peer.is_inside_record());
    drop(server);
    bench.finish();
}
