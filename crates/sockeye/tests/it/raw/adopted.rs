//! Descriptors of the system, adopted.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, inotify};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use sockeye::protocol::UnknownProtocol;
use sockeye::raw::RawClosed;
use sockeye::{CloseCode, Limits};
use sockeye_testing::raw::{MUTE, NAME, Note, POURS, Real, both, both_with};

use super::failures_logged::Silent;

/// Both ends do not block, so that a test reads and writes between turns.
fn pipe() -> (File, File) {
    let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
    (read.into(), write.into())
}

/// What is there now.
fn available(mut from: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    match from.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
        _ => bytes,
    }
}

#[test]
fn a_pipe_is_read_to_its_end() {
    both(|mut real| {
        let (read, mut write) = pipe();
        let id = real.adopt(read);
        write.write_all(b"hello, ").unwrap();
        real.until(|real| real.received(id) == b"hello, ");
        assert!(real.is_quiet());
        write.write_all(b"world").unwrap();
        drop(write);
        assert_eq!(real.end_of(id), RawClosed::Peer);
        assert_eq!(real.received(id), b"hello, world");
        assert_eq!(real.story(id).notes, [Note::Open, Note::Ended, Note::Closed(RawClosed::Peer)]);
        let connections = real.service.statistics().connections;
        assert_eq!((connections.adopted, connections.accepted, connections.closed), (1, 0, 1));
        assert!(
            real.service
                .statistics()
                .to_string()
                .starts_with("connections: 0 now, 1 peak, 0 accepted, 0 connected, 1 adopted, 1 closed\n")
        );
    });
}

#[test]
fn a_pipe_is_written_as_fast_as_it_is_read() {
    both(|mut real| {
        let (read, write) = pipe();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| (i / 7) as u8).collect();
        real.pour.replace(bytes.clone());
        let id = real.adopt_as(POURS, write);
        let mut back = Vec::new();
        assert!(real.is_quiet(), "it waits for room");
        real.until(|_| {
            back.extend(available(&read));
            back.len() == bytes.len()
        });
        assert!(back == bytes);
        assert_eq!(real.end_of(id), RawClosed::Local);
        assert_eq!((&read).read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_pipe_without_readers_breaks() {
    both(|mut real| {
        let (read, write) = pipe();
        real.pour.replace(vec![b'x'; 1_000_000]);
        let id = real.adopt_as(POURS, write);
        assert_eq!(real.closed(id), None);
        drop(read);
        assert_eq!(real.end_of(id), RawClosed::Broken(Some(ErrorKind::BrokenPipe)));
        // Idle, its end is noticed too.
        let (read, write) = pipe();
        let id = real.adopt(write);
        // Which is never called for what cannot be read.
        assert!(real.is_quiet());
        drop(read);
        assert_eq!(real.end_of(id), RawClosed::Broken(Some(ErrorKind::BrokenPipe)));
    });
}

#[test]
fn what_is_read_only_has_no_writable_callback() {
    both(|mut real| {
        let (read, write) = pipe();
        let id = real.adopt_as(POURS, read);
        real.service.control().connection(id).unwrap().request_writable();
        assert!(real.is_quiet());
        drop(write);
        assert_eq!(real.end_of(id), RawClosed::Peer);
    });
}

#[test]
fn a_paused_pipe_keeps_what_its_writer_left_and_costs_nothing() {
    both(|mut real| {
        let (read, mut write) = pipe();
        let id = real.adopt(read);
        write.write_all(b"P").unwrap();
        real.until(|real| real.received(id) == b"P");
        write.write_all(b"the rest").unwrap();
        assert!(real.is_quiet());
        drop(write);
        assert!(real.is_quiet(), "the end of input is not asked for again and again");
        assert_eq!((real.received(id), real.closed(id)), (b"P".to_vec(), None));
        real.service.control().connection(id).unwrap().resume_reading();
        assert_eq!(real.end_of(id), RawClosed::Peer);
        assert_eq!(real.received(id), b"Pthe rest");
    });
}

#[test]
fn orders_to_end_are_obeyed_on_a_pipe() {
    for order in [b"N", b"C", b"R"] {
        both(|mut real| {
            let (read, mut write) = pipe();
            let id = real.adopt(read);
            write.write_all(order).unwrap();
            let expected = if order == b"R" { RawClosed::Reset } else { RawClosed::Local };
            assert_eq!(real.end_of(id), expected);
            assert_eq!(write.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    }
}

#[test]
fn numbers_of_an_eventfd_come_one_by_one() {
    both(|mut real| {
        for (flags, expected) in [(EventfdFlags::empty(), vec![3_u64]), (EventfdFlags::SEMAPHORE, vec![1, 1, 1])] {
            let event = eventfd(0, flags).unwrap();
            let mut other = File::from(event.try_clone().unwrap());
            let id = real.adopt_as(MUTE, event);
            other.write_all(&3_u64.to_ne_bytes()).unwrap();
            real.until(|real| real.received(id).len() == expected.len() * 8);
            let numbers: Vec<u8> = expected.iter().flat_map(|number| number.to_ne_bytes()).collect();
            assert_eq!((real.received(id), real.story(id).pieces.clone()), (numbers, vec![8; expected.len()]));
            assert!(real.is_quiet());
            real.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
            assert_eq!(real.end_of(id), RawClosed::Local);
        }
    });
}

#[test]
fn each_write_to_an_eventfd_is_one() {
    both_with(
        8,
        |builder| builder,
        |mut real| {
            let event = eventfd(0, EventfdFlags::empty()).unwrap();
            let mut other = File::from(event.try_clone().unwrap());
            real.pour.replace([2_u64.to_ne_bytes(), 40_u64.to_ne_bytes()].concat());
            let id = real.adopt_as(POURS, event);
            assert_eq!(real.end_of(id), RawClosed::Local);
            let mut sum = [0; 8];
            other.read_exact(&mut sum).unwrap();
            assert_eq!(u64::from_ne_bytes(sum), 42);
            // What the kernel does not take is the program's mistake, and told.
            let event = eventfd(0, EventfdFlags::empty()).unwrap();
            real.pour.replace(b"no".to_vec());
            let id = real.adopt_as(POURS, event);
            assert_eq!(real.end_of(id), RawClosed::Broken(Some(ErrorKind::InvalidInput)));
        },
    );
}

#[test]
fn a_timer_of_the_system_fires() {
    both(|mut real| {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::empty()).unwrap();
        let soon = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let spec = Itimerspec { it_interval: soon, it_value: soon };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec).unwrap();
        let id = real.adopt_as(MUTE, timer);
        real.until(|real| real.story(id).pieces.len() >= 3);
        assert!(real.story(id).pieces.iter().all(|len| *len == 8));
    });
}

#[test]
fn inotify_tells_of_a_file() {
    let directory = std::env::temp_dir().join(format!("sockeye-inotify-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    both(|mut real| {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, &directory, inotify::WatchFlags::CREATE).unwrap();
        let id = real.adopt(watch);
        std::fs::write(directory.join("new"), "").unwrap();
        real.until(|real| !real.received(id).is_empty());
        std::fs::remove_file(directory.join("new")).unwrap();
        let text = real.received(id);
        assert!(text.windows(3).any(|window| window == b"new"), "{text:?}");
    });
    std::fs::remove_dir_all(&directory).unwrap();
}

fn terminal() -> (OwnedFd, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, rustix::fs::Mode::empty());
    (master, slave.unwrap().into())
}

#[test]
fn a_terminal_is_read_by_lines_until_it_hangs_up() {
    both(|mut real| {
        let (master, slave) = terminal();
        let mut master = File::from(master);
        let id = real.adopt_as(MUTE, slave);
        master.write_all(b"one\ntwo\n").unwrap();
        real.until(|real| real.received(id) == b"one\ntwo\n");
        assert_eq!(real.story(id).pieces, [4, 4]);
        drop(master);
        assert_eq!(real.end_of(id), RawClosed::Peer);
        // And from the other side, where the system's word for the end is an error.
        let (master, mut slave) = terminal();
        let id = real.adopt_as(MUTE, master);
        slave.write_all(b"hello").unwrap();
        real.until(|real| real.received(id) == b"hello");
        drop(slave);
        assert_eq!(real.end_of(id), RawClosed::Peer);
    });
}

#[test]
fn a_pair_of_stream_sockets_talks_and_ends_each_side_by_itself() {
    both(|mut real| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let id = real.adopt(ours);
        theirs.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        real.until(|_| theirs.read(&mut back).is_ok_and(|count| count == 5));
        assert_eq!(&back, b"hello");
        theirs.write_all(b"H").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = Vec::new();
        real.until(|_| theirs.read_to_end(&mut text).is_ok());
        assert_eq!(text, b"after your end");
        assert_eq!(real.end_of(id), RawClosed::Local);
        // Reset: the other side was closed with something unread.
        let (ours, theirs) = UnixStream::pair().unwrap();
        let id = real.adopt(ours);
        (&theirs).write_all(b"hello").unwrap();
        real.until(|real| real.received(id) == b"hello");
        assert!(real.is_quiet());
        drop(theirs);
        assert_eq!(real.end_of(id), RawClosed::Broken(Some(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn datagrams_keep_their_bounds_and_may_be_empty_or_lost() {
    both_with(
        3,
        |builder| builder,
        |mut real| {
            let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
            ours.connect(theirs.local_addr().unwrap()).unwrap();
            theirs.connect(ours.local_addr().unwrap()).unwrap();
            theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let second = ours.try_clone().unwrap();
            let id = real.adopt_as(MUTE, ours);
            for datagram in [b"a".as_slice(), b"", b"bcd", &[b'x'; 60_000]] {
                theirs.send(datagram).unwrap();
            }
            real.until(|real| real.story(id).pieces.len() == 4);
            assert_eq!(real.story(id).pieces, [1, 0, 3, 60_000]);
            let (own, other) = (second.local_addr().unwrap(), theirs.local_addr().unwrap());
            drop(theirs);
            // Nobody is there: what comes back is an error of one datagram, and the socket is as good as before.
            second.send(b"lost").unwrap();
            assert!(real.is_quiet());
            real.service.control().connection(id).unwrap().pause_reading();
            second.send(b"lost").unwrap();
            assert!(real.is_quiet(), "an error is not told again and again while reading is paused");
            assert_eq!(real.closed(id), None);
            real.service.control().connection(id).unwrap().resume_reading();
            UdpSocket::bind(other).unwrap().send_to(b"again", own).unwrap();
            real.until(|real| real.story(id).pieces.last() == Some(&5));
            real.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
            assert_eq!(real.end_of(id), RawClosed::Local);
        },
    );
}

#[test]
fn each_write_is_a_datagram() {
    both_with(
        3,
        |builder| builder,
        |mut real| {
            let (ours, theirs) = UnixDatagram::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            real.pour.replace(vec![b'y'; 3000]);
            let id = real.adopt_as(POURS, ours);
            let mut count = 0;
            let mut buffer = [0; 100];
            real.until(|_| {
                while let Ok(len) = theirs.recv(&mut buffer) {
                    assert_eq!(len, 3);
                    count += 1;
                }
                count == 1000
            });
            assert_eq!(real.end_of(id), RawClosed::Local);
        },
    );
}

#[test]
fn packets_have_bounds_and_an_end() {
    both(|mut real| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let mut theirs = File::from(theirs);
        let id = real.adopt_as(MUTE, ours);
        for packet in [b"one".as_slice(), b"three"] {
            theirs.write_all(packet).unwrap();
        }
        real.until(|real| real.story(id).pieces == [3, 5]);
        drop(theirs);
        assert_eq!(real.end_of(id), RawClosed::Peer);
    });
}

#[test]
fn what_cannot_be_watched_is_refused_with_its_reason() {
    let file = std::env::current_exe().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    both(|mut real| {
        let mut refused = |fd: OwnedFd| {
            let id = real.adopt(fd);
            let notes = real.story(id).notes.clone();
            let [Note::Failed(text)] = notes.as_slice() else { panic!("{notes:?}") };
            assert!(real.service.control().connection(id).is_err());
            text.clone()
        };
        let always =
            "is always ready; it cannot be watched: read it, or have a thread or a process read it into a pipe";
        assert_eq!(refused(File::open(&file).unwrap().into()), format!("a regular file {always}"));
        assert_eq!(refused(File::open("/").unwrap().into()), format!("a directory {always}"));
        assert_eq!(refused(File::open("/dev/null").unwrap().into()), format!("this device {always}"));
        let text = "it is a listener: serve its connections with Builder::listen_raw, or accept them in a Watcher";
        assert_eq!(refused(listener.try_clone().unwrap().into()), text);
        assert_eq!(real.service.connections(), 0);
        assert!(real.is_quiet());
        assert_eq!(real.service.control().endpoint_named("echo").err(), Some(UnknownProtocol::Endpoint));
    });
}

#[test]
fn the_number_of_connections_is_a_bound_for_adopted_ones_too() {
    let mut limits = Limits::default();
    limits.connections = Some(2);
    let describe = move |builder: sockeye::Builder| builder.limits(limits.clone());
    both_with(1, describe, |mut real| {
        let pipes: Vec<_> = (0..3).map(|_| pipe()).collect();
        let ids: Vec<_> = pipes.iter().map(|(read, _)| real.adopt(read.try_clone().unwrap())).collect();
        let notes: Vec<_> = ids.iter().map(|id| real.story(*id).notes.clone()).collect();
        let text =
            "the service already has its maximum of 2 connections (Limits::connections, or the descriptor limit)";
        assert_eq!(notes, [vec![Note::Open], vec![Note::Open], vec![Note::Failed(text.to_owned())]]);
        real.service.control().connection(ids[0]).unwrap().close(CloseCode::NORMAL);
        real.end_of(ids[0]);
        let id = real.adopt(pipes[2].0.try_clone().unwrap());
        assert_eq!(real.story(id).notes, [Note::Open]);
    });
}

#[test]
fn an_adopted_connection_is_not_among_those_of_its_address() {
    let mut limits = Limits::default();
    limits.connections_per_address = Some(1);
    let describe = move |mut builder: sockeye::Builder| {
        let silent = builder.add_raw(Silent("silent"));
        builder.limits(limits.clone()).listen_raw("127.0.0.1:0", silent)
    };
    both_with(1, describe, |mut real| {
        let sockeye::sys::Address::Ip(address) = real.service.local_addresses()[0].clone() else { panic!() };
        let _first = TcpStream::connect(address).unwrap();
        real.until(|real| real.service.connections() == 1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let id = real.adopt(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        real.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        drop(listener);
        real.until(|real| real.service.connections() == 1);
        let mut second = TcpStream::connect(address).unwrap();
        second.set_nonblocking(true).unwrap();
        real.until(|real| real.service.statistics().refusals.per_address == 1);
        assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn adoptions_that_were_not_begun_fail_when_they_are_closed_or_the_service_ends() {
    both(|mut real| {
        let pipes: Vec<_> = (0..4).map(|_| pipe()).collect();
        let adopt = |index: usize, real: &mut Real| {
            real.service.control().endpoint_named(NAME).unwrap().adopt(pipes[index].0.try_clone().unwrap())
        };
        let id = adopt(0, &mut real);
        real.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        real.turn(Duration::ZERO);
        assert_eq!(real.story(id).notes, [Note::Failed("it was closed before it began".to_owned())]);
        let open = real.adopt(pipes[1].0.try_clone().unwrap());
        let id = adopt(2, &mut real);
        real.service.drain();
        let late = adopt(3, &mut real);
        real.turn(Duration::ZERO);
        let ending = [Note::Failed("the service is ending".to_owned())];
        assert_eq!(real.story(id).notes, ending);
        real.until(|real| real.drained);
        assert_eq!((real.story(late).notes.clone(), real.closed(open)), (ending.to_vec(), Some(RawClosed::Local)));
    });
    both(|mut real| {
        let (read, _write) = pipe();
        let id = real.service.control().endpoint_named(NAME).unwrap().adopt(read);
        let log = real.log.clone();
        drop(real.service);
        assert_eq!(log.borrow()[0].0, id);
        assert_eq!(log.borrow()[0].1.notes, [Note::Failed("the service is ending".to_owned())]);
    });
}

#[test]
fn a_connection_that_was_accepted_elsewhere_is_served() {
    both(|mut real| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let copy = accepted.try_clone().unwrap();
        let id = real.service.control().serve(accepted).unwrap();
        assert!(copy.nodelay().unwrap());
        drop(copy);
        client
            .write_all(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x82\0\0\0\0hi",
            )
            .unwrap();
        client.set_nonblocking(true).unwrap();
        let mut answer = Vec::new();
        real.until(|_| {
            let _ = client.read_to_end(&mut answer);
            answer.ends_with(b"\x81\x02hi")
        });
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        real.service.control().connection(id).unwrap().request_writable();
        let refused = |result: io::Result<sockeye::ConnId>| result.unwrap_err().to_string();
        let text = "it is not a connected TCP or Unix stream socket";
        assert_eq!(refused(real.service.control().serve(pipe().0)), text);
        assert_eq!(refused(real.service.control().serve(listener)), text);
    });
    let nobody = |builder: sockeye::Builder| builder.filter(|_| false);
    both_with(1, nobody, |mut real| {
        let error = real.service.control().serve(UnixStream::pair().unwrap().0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(real.service.connections(), 0);
    });
}

/// Whether a pipe blocks is a matter of all who have it, and no call reads one without waiting whatever they did.
#[test]
fn a_pipe_that_others_made_block_does_not_stop_the_loop() {
    let (done, is_done) = mpsc::channel();
    let test = thread::spawn(move || {
        both(|mut real| {
            let (read, mut theirs) = pipe();
            let (_full, write) = pipe();
            let copies = [read.try_clone().unwrap(), write.try_clone().unwrap()];
            real.pour.replace(vec![b'y'; 3_000_000]);
            let (reads, writes) = (real.adopt(read), real.adopt_as(POURS, write));
            for copy in copies {
                rustix::io::ioctl_fionbio(copy, false).unwrap();
            }
            theirs.write_all(b"hello").unwrap();
            real.until(|real| real.received(reads) == b"hello");
            assert!(real.is_quiet(), "it waits for room");
            assert_eq!(real.closed(writes), None);
        });
        done.send(()).unwrap();
    });
    // A test that hangs fails.
    let outcome = is_done.recv_timeout(Duration::from_secs(20));
    assert!(outcome != Err(mpsc::RecvTimeoutError::Timeout), "the loop is stuck in a read or write");
    test.join().unwrap();
}
