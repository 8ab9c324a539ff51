//! Reads that bring less than was asked for although more is there: nothing that arrived may wait for further input.
//!
//! Real sockets, since only the kernel stops a read there.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use sockeye::sys::Address;
use sockeye::{Service, messages};

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A masked text frame with the key 0, which changes nothing.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Takes turns until the service has nothing to do at once, and no more than a bound.
fn turns(service: &mut Service) {
    for _ in 0..50 {
        service.run_once(Some(Duration::from_millis(1))).unwrap();
    }
}

/// Opens a WebSocket on `client`, has `send` queue two frames, and expects both echoes.
fn both_frames_are_answered<S: Read + Write + AsFd>(
    service: &mut Service,
    mut client: S,
    send: impl FnOnce(BorrowedFd<'_>, &[u8], &[u8]),
) {
    client.write_all(HANDSHAKE).unwrap();
    turns(service);
    let mut head = [0; 4096];
    let count = client.read(&mut head).unwrap();
    assert!(head[..count].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head[..count]));
    send(client.as_fd(), &frame("first"), &frame("second"));
    turns(service);
    let mut echoes = Vec::new();
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        echoes.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(String::from_utf8_lossy(&echoes), "\u{fffd}\u{5}first\u{fffd}\u{6}second");
}

/// tcp(7): a read does not go past the urgent mark.
#[test]
fn a_frame_behind_the_urgent_mark_is_read() {
    let mut service = Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:0").build().unwrap();
    let Address::Ip(address) = service.local_addresses()[0] else { panic!("an IP address was asked for") };
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    client.set_nodelay(true).unwrap();
    both_frames_are_answered(&mut service, client, |socket, first, second| {
        send(socket, first, SendFlags::empty()).unwrap();
        send(socket, b"!", SendFlags::OOB).unwrap();
        send(socket, second, SendFlags::empty()).unwrap();
    });
}

/// unix(7): a read does not go past a message with descriptors.
#[test]
fn a_frame_behind_a_message_with_descriptors_is_read() {
    let folder = std::env::temp_dir().join(format!("sockeye-short-reads-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let address = Address::Unix(path.clone());
    let mut service = Service::builder().protocol(messages::echo("echo")).listen(address).build().unwrap();
    let client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    both_frames_are_answered(&mut service, client, |socket, first, second| {
        let fds = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(socket, &[IoSlice::new(first)], &mut control, SendFlags::empty()).unwrap();
        send(socket, second, SendFlags::empty()).unwrap();
    });
    drop(service);
    let _ = std::fs::remove_dir_all(&folder);
}

/// An urgent mark that stays is no work.
#[test]
fn urgent_data_does_not_keep_the_loop_awake() {
    let mut service = Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:0").build().unwrap();
    let Address::Ip(address) = service.local_addresses()[0] else { panic!("an IP address was asked for") };
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(HANDSHAKE).unwrap();
    turns(&mut service);
    for _ in 0..3 {
        send(&client, b"!", SendFlags::OOB).unwrap();
        turns(&mut service);
    }
    let begin = std::time::Instant::now();
    for _ in 0..3 {
        service.run_once(Some(Duration::from_millis(50))).unwrap();
    }
    assert!(begin.elapsed() >= Duration::from_millis(140), "{:?}", begin.elapsed());
}
