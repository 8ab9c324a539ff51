//! One direction ends, and the other goes on.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use sockeye::raw::RawClosed;
use sockeye::sim::{Faults, PeerEnd};
use sockeye::{CloseCode, Limits};
use sockeye_testing::raw::{Bench, Note, both};
use sockeye_testing::turns::Turns;

#[test]
fn what_was_written_leaves_and_input_goes_on() {
    let mut bench = Bench::with(Faults::none().with_buffers(4 << 10, 4 << 10), Limits::default());
    let peer = bench.connect();
    peer.set_window(1000);
    peer.send(b"BS");
    bench.settle();
    assert_eq!(peer.end(), None, "not all has left");
    peer.set_window(usize::MAX);
    let mut back = Vec::new();
    bench.until(|_| {
        back.extend(peer.recv());
        peer.end() == Some(PeerEnd::Finished)
    });
    assert_eq!(back.len(), 1 << 20);
    // Not written any more: `Obeys` would be called for it.
    peer.send(b"question");
    bench.until(|bench| bench.story(0).received == b"BSquestion");
    bench.turn_for(Duration::from_secs(86_400));
    assert_eq!(bench.story(0).notes, [Note::Open]);
    peer.shutdown();
    bench.until(|bench| bench.closed(0).is_some());
    assert_eq!(bench.story(0).notes, [Note::Open, Note::Ended, Note::Closed(RawClosed::Peer)]);
    drop(peer);
    bench.finish();
}

#[test]
fn it_is_asked_for_from_elsewhere_too() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    peer.send(b"abc");
    bench.until(|bench| bench.is_open(0) && bench.story(0).received == b"abc");
    let id = bench.id(0);
    for _ in 0..2 {
        bench.service.control().connection(id).unwrap().shutdown_write();
    }
    bench.until(|_| peer.end() == Some(PeerEnd::Finished));
    assert_eq!(peer.recv(), b"abc");
    // A close after it is a close.
    bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    bench.until(|bench| bench.closed(0).is_some());
    assert_eq!(bench.closed(0), Some(RawClosed::Local));
    drop(peer);
    bench.finish();
}

#[test]
fn the_second_end_is_the_end_of_both() {
    // The peer ended first, and we go on for a while.
    let mut bench = Bench::with(Faults::none().with_buffers(4 << 10, 4 << 10), Limits::default());
    let peer = bench.connect();
    peer.send(b"HB");
    bench.until(|bench| bench.is_open(0));
    peer.shutdown();
    bench.until(|bench| bench.story(0).notes.contains(&Note::Ended));
    let id = bench.id(0);
    bench.service.control().connection(id).unwrap().shutdown_write();
    let mut back = Vec::new();
    bench.until(|_| {
        back.extend(peer.recv());
        peer.is_closed()
    });
    assert_eq!(peer.end(), Some(PeerEnd::Finished));
    assert_eq!(bench.closed(0), Some(RawClosed::Local));
    assert!(!back.is_empty());
    drop(peer);
    bench.finish();

    // Both at the same time; one that goes on cannot.
    let mut bench = Bench::new();
    let peer = bench.connect();
    peer.send(b"HE");
    peer.shutdown();
    bench.until(|bench| bench.closed(0).is_some());
    assert_eq!(bench.story(0).notes, [Note::Open, Note::Ended, Note::Closed(RawClosed::Peer)]);
    bench.until(|_| peer.end() == Some(PeerEnd::Finished));
    drop(peer);
    bench.finish();
}

#[test]
fn a_peer_that_takes_nothing_has_the_close_timeout_once_both_sides_end() {
    let mut limits = Limits::default();
    limits.protocol_mut().close_timeout = Duration::from_secs(3);
    let mut bench = Bench::with(Faults::none().with_buffers(4 << 10, 4 << 10), limits);
    let peer = bench.connect();
    peer.set_window(0);
    peer.send(b"BS");
    bench.settle();
    peer.shutdown();
    let took = bench.until(|bench| bench.closed(0).is_some());
    assert_eq!((took, bench.closed(0)), (Duration::from_secs(3), Some(RawClosed::Timeout)));
    drop(peer);
    bench.finish();
}

#[test]
fn a_reset_after_it_is_told() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    peer.send(b"E");
    bench.until(|_| peer.end() == Some(PeerEnd::Finished));
    peer.reset();
    bench.until(|bench| bench.closed(0).is_some());
    assert_eq!(bench.closed(0), Some(RawClosed::Broken(Some(ErrorKind::ConnectionReset))));
    bench.finish();
}

#[test]
fn over_real_sockets() {
    both(|mut real| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let unix = UnixStream::pair().unwrap();
        let id = real.adopt(listener.accept().unwrap().0);
        let by_unix = real.adopt(unix.1);
        for (id, mut stream) in [(id, Stream::Tcp(tcp)), (by_unix, Stream::Unix(unix.0))] {
            stream.write_all(b"BS");
            let mut back = 0;
            real.until(|_| {
                back += stream.read_some();
                back == (1 << 20) + 1
            });
            stream.write_all(b"more");
            real.until(|real| real.received(id) == b"BSmore");
            assert!(real.is_quiet());
            stream.shutdown();
            assert_eq!(real.end_of(id), RawClosed::Peer);
            assert_eq!(real.story(id).notes, [Note::Open, Note::Ended, Note::Closed(RawClosed::Peer)]);
        }
    });
}

/// A socket that does not block.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn write_all(&mut self, bytes: &[u8]) {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).unwrap(),
            Self::Unix(stream) => stream.write_all(bytes).unwrap(),
        }
    }

    /// How much there was; the end counts as one.
    fn read_some(&mut self) -> usize {
        let mut bytes = [0; 65_536];
        let read = match self {
            Self::Tcp(stream) => {
                stream.set_nonblocking(true).unwrap();
                stream.read(&mut bytes)
            }
            Self::Unix(stream) => {
                stream.set_nonblocking(true).unwrap();
                stream.read(&mut bytes)
            }
        };
        match read {
            Ok(count) => count.max(1),
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }

    fn shutdown(&self) {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }
}

#[test]
fn packets_have_sides() {
    both(|mut real| {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let id = real.adopt(theirs);
        rustix::io::write(&ours, b"abS").unwrap();
        let mut seen = Vec::new();
        real.until(|_| {
            let mut bytes = [0; 100];
            seen.extend(rustix::io::read(&ours, &mut bytes).ok().map(|count| bytes[..count].to_vec()));
            seen.last().is_some_and(Vec::is_empty)
        });
        assert_eq!(seen.concat(), b"ab");
        drop(ours);
        assert_eq!(real.end_of(id), RawClosed::Peer);
    });
}

#[test]
fn a_pipe_that_is_only_written_to_is_at_its_end() {
    both(|mut real| {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        let id = real.adopt(write);
        real.service.control().connection(id).unwrap().shutdown_write();
        assert_eq!(real.end_of(id), RawClosed::Local);
        drop(read);
    });
}

#[test]
fn datagrams_have_no_sides() {
    both(|mut real| {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let id = real.adopt(theirs);
        real.service.control().connection(id).unwrap().shutdown_write();
        ours.send(b"abcd").unwrap();
        let mut back = [0; 100];
        real.until(|_| ours.recv(&mut back).is_ok_and(|count| count == 4));
        assert_eq!(&back[..4], b"abcd");
        assert!(real.is_quiet());
        assert_eq!(real.closed(id), None);
        real.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        assert_eq!(real.end_of(id), RawClosed::Local);
    });
}
