//! Descriptors that are no streams, where they differ from streams.

use std::ffi::c_int;
use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::net::{self, AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, socketpair};
use sockeye::raw::RawClosed;
use sockeye::{CloseCode, Limits};
use sockeye_testing::raw::{MUTE, Note, POURS, both, both_with};

fn packets() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).unwrap()
}

/// Two UDP sockets that are connected to each other.
fn connected() -> (UdpSocket, UdpSocket) {
    let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    ours.connect(theirs.local_addr().unwrap()).unwrap();
    theirs.connect(ours.local_addr().unwrap()).unwrap();
    (ours, theirs)
}

#[test]
fn an_empty_packet_is_no_end() {
    both(|mut real| {
        let (ours, theirs) = packets();
        let id = real.adopt_as(MUTE, ours);
        let send = |packet: &[u8]| net::send(&theirs, packet, SendFlags::empty()).unwrap();
        for packet in [b"one".as_slice(), b"", b"three"] {
            send(packet);
        }
        real.until(|real| real.story(id).pieces == [3, 0, 5]);
        real.service.control().connection(id).unwrap().pause_reading();
        for packet in [b"".as_slice(), b"four"] {
            send(packet);
        }
        net::shutdown(&theirs, Shutdown::Write).unwrap();
        real.service.control().connection(id).unwrap().resume_reading();
        assert_eq!(real.end_of(id), RawClosed::Peer);
        assert_eq!(real.story(id).pieces, [3, 0, 5, 0, 4]);
    });
}

/// Of a Unix socket the other side of which was closed with something unread, the system says so before it hands out the rest.
#[test]
fn packets_that_came_before_a_reset_are_delivered() {
    both(|mut real| {
        let (ours, theirs) = packets();
        let id = real.adopt(ours);
        let mut theirs = File::from(theirs);
        theirs.write_all(b"echo").unwrap();
        real.until(|real| real.received(id) == b"echo" && real.service.statistics().sent.bytes == 4);
        for packet in [b"last", b"word"] {
            theirs.write_all(packet).unwrap();
        }
        drop(theirs);
        assert!(matches!(real.end_of(id), RawClosed::Broken(Some(_))));
        assert_eq!((real.received(id), real.story(id).notes.len()), (b"echolastword".to_vec(), 2));
    });
}

#[test]
fn empty_datagrams_have_their_share_of_the_turn_while_output_waits() {
    let mut limits = Limits::default();
    limits.turn_frames = 4;
    let describe = move |builder: sockeye::Builder| builder.limits(limits.clone());
    both_with(3, describe, |mut real| {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let copy = ours.try_clone().unwrap();
        real.pour.replace(vec![b'y'; 30_000]);
        let id = real.adopt_as(POURS, ours);
        // Until nothing goes any more.
        let mut sent = 0;
        while {
            (0..20).for_each(|_| real.turn(Duration::ZERO));
            real.service.statistics().sent.bytes > std::mem::replace(&mut sent, real.service.statistics().sent.bytes)
        } {}
        real.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        real.turn(Duration::ZERO);
        for _ in 0..10 {
            theirs.send(b"").unwrap();
        }
        let turns = real.service.statistics().work.turns;
        real.turn(Duration::ZERO);
        let turns = real.service.statistics().work.turns - turns;
        let left = std::iter::repeat_with(|| copy.recv(&mut [0])).take_while(Result::is_ok).count();
        assert!(left + 4 * turns as usize >= 10, "{left} are left after {turns} turns");
        assert_eq!(real.closed(id), None);
    });
}

#[test]
fn a_datagram_socket_that_the_program_shut_down_costs_nothing() {
    both(|mut real| {
        let (ours, _theirs) = connected();
        let copy = ours.try_clone().unwrap();
        let id = real.adopt_as(MUTE, ours);
        for how in [Shutdown::Read, Shutdown::Both] {
            net::shutdown(&copy, how).unwrap();
            assert!(real.is_quiet(), "{how:?}");
        }
        assert_eq!(real.story(id).notes, [Note::Open]);
        real.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        assert_eq!(real.end_of(id), RawClosed::Local);
    });
}

#[test]
fn errors_that_a_socket_was_told_to_keep_are_not_told_for_ever() {
    both(|mut real| {
        let (ours, theirs) = connected();
        let yes: c_int = 1;
        // SAFETY: it reads an int from where one is.
        let result = unsafe {
            let value = (&raw const yes).cast();
            libc::setsockopt(ours.as_raw_fd(), libc::IPPROTO_IP, libc::IP_RECVERR, value, size_of_val(&yes) as u32)
        };
        assert_eq!(result, 0);
        let copy = ours.try_clone().unwrap();
        let id = real.adopt_as(MUTE, ours);
        drop(theirs);
        copy.send(b"lost").unwrap();
        assert!(real.is_quiet());
        real.service.control().connection(id).unwrap().pause_reading();
        copy.send(b"lost").unwrap();
        assert!(real.is_quiet(), "paused");
        assert_eq!(real.story(id).notes, [Note::Open]);
    });
}

/// Whether a socket blocks is a matter of all who have it: a shell makes its own block again, and so do many programs
/// at their end.
#[test]
fn a_socket_that_others_made_block_does_not_stop_the_loop() {
    let (done, is_done) = mpsc::channel();
    let test = thread::spawn(move || {
        both(|mut real| {
            let (ours, theirs) = UnixDatagram::pair().unwrap();
            let copy = ours.try_clone().unwrap();
            real.pour.replace(vec![b'y'; 3_000_000]);
            let id = real.adopt_as(POURS, ours);
            copy.set_nonblocking(false).unwrap();
            theirs.send(b"hello").unwrap();
            real.until(|real| real.received(id) == b"hello");
            assert!(real.is_quiet(), "it waits for room");
            assert_eq!(real.closed(id), None);
        });
        done.send(()).unwrap();
    });
    // A test that hangs fails.
    let outcome = is_done.recv_timeout(Duration::from_secs(20));
    assert!(outcome != Err(mpsc::RecvTimeoutError::Timeout), "the loop is stuck in a read or write");
    test.join().unwrap();
}
