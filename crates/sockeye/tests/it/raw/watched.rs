//! Descriptors that the program reads and writes itself.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::pipe::{PipeFlags, pipe_with};
use sockeye::raw::{EndpointMut, RawClose, RawClosed, RawClosedCx, RawCx, Watcher};
use sockeye::{CloseCode, ConnId, Service};
use sockeye_testing::raw::{Real, both_with};

/// What happened, in order.
type Events = Rc<RefCell<Vec<String>>>;
/// What a test does in a callback.
type Act = Rc<RefCell<Option<Box<dyn FnMut(&mut RawCx<'_>, BorrowedFd<'_>) -> Result<(), RawClose>>>>>;

#[derive(Clone, Default)]
struct Script {
    events: Events,
    read: Act,
    write: Act,
}

struct Scripted(Script);

impl Watcher for Scripted {
    type Session = u32;

    fn name(&self) -> &str {
        "watcher"
    }

    fn open(&mut self, _: &mut RawCx<'_>) -> u32 {
        self.0.note("open");
        0
    }

    fn readable(&mut self, cx: &mut RawCx<'_>, calls: &mut u32, fd: BorrowedFd<'_>) -> Result<(), RawClose> {
        *calls += 1;
        self.0.note("readable");
        self.0.read.borrow_mut().as_mut().map_or(Ok(()), |act| act(cx, fd))
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, _: &mut u32, fd: BorrowedFd<'_>) -> Result<(), RawClose> {
        self.0.note("writable");
        self.0.write.borrow_mut().as_mut().map_or(Ok(()), |act| act(cx, fd))
    }

    fn timer(&mut self, cx: &mut RawCx<'_>, _: &mut u32) -> Result<(), RawClose> {
        self.0.note("timer");
        cx.resume_reading();
        Ok(())
    }

    fn closed(&mut self, _: &mut RawClosedCx<'_>, _: u32, ended: RawClosed) {
        self.0.note(&format!("closed {ended:?}"));
    }

    fn adoption_failed(&mut self, _: &mut EndpointMut<'_>, _: ConnId, error: io::Error) {
        self.0.note(&format!("failed {error}"));
    }
}

impl Script {
    fn note(&self, what: &str) {
        self.events.borrow_mut().push(what.to_owned());
    }

    fn reads(&self, act: impl FnMut(&mut RawCx<'_>, BorrowedFd<'_>) -> Result<(), RawClose> + 'static) {
        self.read.replace(Some(Box::new(act)));
    }

    fn writes(&self, act: impl FnMut(&mut RawCx<'_>, BorrowedFd<'_>) -> Result<(), RawClose> + 'static) {
        self.write.replace(Some(Box::new(act)));
    }

    /// What happened since this was last asked.
    fn take(&self) -> Vec<String> {
        self.events.take()
    }

    fn count(&self, what: &str) -> usize {
        self.events.borrow().iter().filter(|event| *event == what).count()
    }

    /// Gives a descriptor to the watcher.
    fn adopt(&self, real: &mut Real, fd: impl Into<std::os::fd::OwnedFd>) -> ConnId {
        let id = real.service.control().endpoint_named("watcher").unwrap().adopt(fd);
        assert!(self.events.borrow().is_empty());
        real.until(|_| self.count("open") == 1);
        self.take();
        id
    }
}

/// Runs a test in both loops, each with a script of its own.
fn both(test: impl Fn(&mut Real, &Script)) {
    let script = Rc::new(RefCell::new(Script::default()));
    let describe = |builder: sockeye::Builder| {
        script.replace(Script::default());
        builder.watcher(Scripted(script.borrow().clone()))
    };
    both_with(1, describe, |mut real| test(&mut real, &script.borrow().clone()));
}

fn pipe() -> (File, File) {
    let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
    (read.into(), write.into())
}

/// Reads at most so many bytes.
fn some(fd: BorrowedFd<'_>, most: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; most];
    let count = rustix::io::read(fd, &mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

#[test]
fn a_level_is_told_until_it_is_gone() {
    both(|real, script| {
        let (read, mut write) = pipe();
        let taken = Rc::new(RefCell::new(Vec::new()));
        let copy = Rc::clone(&taken);
        script.reads(move |_, fd| {
            copy.borrow_mut().extend(some(fd, 1).unwrap());
            Ok(())
        });
        let id = script.adopt(real, read);
        assert!(real.is_quiet() && script.take().is_empty());
        write.write_all(b"abc").unwrap();
        real.until(|_| taken.borrow().len() == 3);
        assert!(real.is_quiet());
        assert_eq!(script.take(), ["readable"; 3]);
        write.write_all(b"d").unwrap();
        real.until(|_| taken.borrow().len() == 4);
        assert_eq!(real.service.statistics().connections.adopted, 1);
        assert_eq!(real.service.statistics().limits.turn_bytes, 0, "nobody used up a share");
        real.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        real.until(|_| script.count("closed Local") == 1);
        assert_eq!(write.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn one_turn_has_one_call_of_each_kind() {
    both(|real, script| {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"never read").unwrap();
        script.writes(|cx, _| {
            cx.request_writable();
            Ok(())
        });
        let id = script.adopt(real, near);
        real.service.control().connection(id).unwrap().request_writable();
        for _ in 0..3 {
            real.turn(Duration::ZERO);
            script.take();
        }
        // A loop outside takes one turn more, for what it reports.
        for _ in 0..5 {
            let turns = real.service.statistics().work.turns;
            real.turn(Duration::ZERO);
            let turns = (real.service.statistics().work.turns - turns) as usize;
            assert!(script.count("readable") <= turns && script.count("writable") <= turns);
            assert!(script.count("readable") > 0 && script.count("writable") > 0);
            script.take();
        }
    });
}

#[test]
fn the_end_of_a_pipe_closes_it_once_all_was_read() {
    both(|real, script| {
        let (read, mut write) = pipe();
        script.reads(|_, fd| {
            some(fd, 2).unwrap();
            Ok(())
        });
        script.adopt(real, read);
        write.write_all(b"abcde").unwrap();
        drop(write);
        real.until(|_| script.count("closed Peer") == 1);
        assert_eq!(script.count("readable"), 3);
        // And when nothing is there but the end.
        script.take();
        let (read, write) = pipe();
        script.adopt(real, read);
        assert!(real.is_quiet());
        drop(write);
        real.until(|_| script.count("closed Peer") == 1);
        assert_eq!(script.count("readable"), 0);
    });
}

#[test]
fn a_program_that_ignores_the_end_does_not_spin() {
    both(|real, script| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        let mut copy = near.try_clone().unwrap();
        script.reads(|_, fd| {
            let _ = some(fd, 100);
            Ok(())
        });
        let id = script.adopt(real, near);
        (&far).write_all(b"last words").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        real.until(|_| script.count("readable") >= 2);
        assert!(real.is_quiet(), "the end of input is told again and again");
        assert!(script.count("readable") <= 3 && script.count("closed Peer") == 0);
        // It may go on writing.
        script.take();
        real.service.control().connection(id).unwrap().request_writable();
        real.until(|_| script.count("writable") == 1);
        copy.write_all(b"answer").unwrap();
        let mut answer = [0; 6];
        (&far).read_exact(&mut answer).unwrap();
        // Both sides ended, which is the end.
        copy.shutdown(Shutdown::Write).unwrap();
        real.until(|_| script.count("closed Peer") == 1);
        assert!(real.is_quiet());
    });
}

#[test]
fn room_is_told_when_it_is_asked_for_and_there() {
    both(|real, script| {
        let (read, write) = pipe();
        let filled = Rc::new(RefCell::new(0));
        let copy = Rc::clone(&filled);
        script.writes(move |cx, fd| {
            while let Ok(count) = rustix::io::write(fd, &[7; 4096]) {
                *copy.borrow_mut() += count;
            }
            cx.request_writable();
            Ok(())
        });
        let id = script.adopt(real, write);
        assert!(real.is_quiet() && script.take().is_empty(), "nobody asked");
        real.service.control().connection(id).unwrap().request_writable();
        real.until(|_| *filled.borrow() > 0);
        assert!(real.is_quiet(), "it is full");
        let (before, mut buffer) = (*filled.borrow(), vec![0; 1 << 20]);
        assert_eq!((&read).read(&mut buffer).unwrap(), before);
        real.until(|_| *filled.borrow() > before);
        drop(read);
        real.until(|_| script.count("closed Broken(Some(BrokenPipe))") == 1);
    });
}

#[test]
fn reading_is_paused_and_resumed_and_costs_nothing_meanwhile() {
    both(|real, script| {
        let (read, mut write) = pipe();
        script.reads(|cx, _| {
            cx.pause_reading();
            Ok(())
        });
        let id = script.adopt(real, read);
        write.write_all(b"there").unwrap();
        real.until(|_| script.count("readable") == 1);
        assert!(real.is_quiet());
        drop(write);
        assert!(real.is_quiet());
        assert_eq!(script.take(), ["readable"]);
        script.reads(|_, fd| {
            assert_eq!(some(fd, 100).unwrap(), b"there");
            Ok(())
        });
        real.service.control().connection(id).unwrap().resume_reading();
        real.until(|_| script.count("closed Peer") == 1);
        assert_eq!(script.take(), ["readable", "closed Peer"]);
    });
}

#[test]
fn a_timer_of_the_loop_and_an_end_of_the_program() {
    both(|real, script| {
        let (read, mut write) = pipe();
        script.reads(|cx, _| {
            cx.pause_reading();
            cx.set_timer(Duration::from_millis(1));
            Ok(())
        });
        script.adopt(real, read);
        write.write_all(b"there").unwrap();
        real.until(|_| script.count("timer") == 1);
        script.reads(|_, _| Err(RawClose::Reset));
        real.until(|_| script.count("closed Reset") == 1);
    });
}

#[test]
fn datagrams_with_their_senders() {
    both(|real, script| {
        let (socket, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let own = socket.try_clone().unwrap();
        script.reads(move |_, _| {
            let mut buffer = [0; 100];
            let (length, sender) = own.recv_from(&mut buffer).unwrap();
            own.send_to(&buffer[..length], sender).unwrap();
            Ok(())
        });
        let address = socket.local_addr().unwrap();
        script.adopt(real, socket);
        other.set_nonblocking(true).unwrap();
        for text in [b"one".as_slice(), b"", b"three"] {
            other.send_to(text, address).unwrap();
            let mut buffer = [0; 100];
            let mut length = None;
            real.until(|_| {
                length = other.recv(&mut buffer).ok();
                length.is_some()
            });
            assert_eq!(&buffer[..length.unwrap()], text);
        }
        assert!(real.is_quiet());
        assert_eq!(script.take(), ["readable"; 3]);
    });
}

#[test]
fn an_error_of_a_datagram_is_something_to_read() {
    both(|real, script| {
        let (socket, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.connect(other.local_addr().unwrap()).unwrap();
        let (own, events) = (socket.try_clone().unwrap(), Rc::clone(&script.events));
        script.reads(move |_, _| {
            let error = own.recv(&mut [0; 10]).unwrap_err();
            events.borrow_mut().push(format!("{:?}", error.kind()));
            Ok(())
        });
        let own = socket.try_clone().unwrap();
        let id = script.adopt(real, socket);
        drop(other);
        own.send(b"lost").unwrap();
        real.until(|_| script.count("ConnectionRefused") == 1);
        real.service.control().connection(id).unwrap().pause_reading();
        own.send(b"lost").unwrap();
        assert!(real.is_quiet(), "an error is not told again and again while reading is paused");
        assert_eq!(script.take(), ["readable", "ConnectionRefused"]);
    });
}

#[test]
fn a_poller_inside_the_loop() {
    both(|real, script| {
        let inner = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let (read, mut write) = pipe();
        epoll::add(&inner, &read, epoll::EventData::new_u64(9), epoll::EventFlags::IN).unwrap();
        let taken = Rc::new(RefCell::new(Vec::new()));
        let copy = Rc::clone(&taken);
        script.reads(move |_, fd| {
            let mut buffer =
                [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 4];
            let count = epoll::wait(fd, &mut buffer[..], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
            assert_eq!((count, buffer[0].data.u64()), (1, 9));
            copy.borrow_mut().extend(some(read.as_fd(), 2).unwrap());
            Ok(())
        });
        script.adopt(real, inner);
        for round in 1..3 {
            write.write_all(b"abcd").unwrap();
            real.until(|_| taken.borrow().len() == 4 * round);
            assert!(real.is_quiet());
        }
        assert_eq!(script.take(), ["readable"; 4]);
    });
}

#[test]
fn a_listener_whose_connections_the_program_gives_to_the_service() {
    both(|real, script| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, address) = (listener.try_clone().unwrap(), listener.local_addr().unwrap());
        let accepted = Rc::new(RefCell::new(Vec::new()));
        let copy = Rc::clone(&accepted);
        script.reads(move |_, _| {
            copy.borrow_mut().push(own.accept().unwrap().0);
            Ok(())
        });
        script.adopt(real, listener);
        let mut client = TcpStream::connect(address).unwrap();
        real.until(|_| accepted.borrow().len() == 1);
        let socket = accepted.borrow_mut().remove(0);
        real.service.control().serve(socket).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        client.set_nonblocking(true).unwrap();
        let mut answer = [0; 12];
        real.until(|_| client.peek(&mut answer).is_ok_and(|count| count == answer.len()));
        assert!(answer.starts_with(b"HTTP/1."), "{answer:?}");
    });
}

#[test]
fn a_drain_and_the_end_of_the_service_end_them() {
    both(|real, script| {
        let (read, _write) = pipe();
        script.adopt(real, read);
        real.service.drain();
        real.until(|real| real.drained);
        assert_eq!(script.take(), ["closed Local"]);
    });
    let script = Script::default();
    let mut service = Service::builder().watcher(Scripted(script.clone())).build().unwrap();
    let (read, _write) = pipe();
    service.control().endpoint_named("watcher").unwrap().adopt(read);
    service.run_once(Some(Duration::ZERO)).unwrap();
    drop(service);
    assert_eq!(script.take(), ["open", "closed Dropped"]);
}

#[test]
fn a_session_is_reached_between_turns() {
    let script = Script::default();
    let mut builder = Service::builder();
    let handle = builder.add_watcher(Scripted(script.clone()));
    let mut service = builder.build().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let id = service.control().endpoint(handle).unwrap().adopt(theirs);
    assert!(service.control().with_watcher_session(handle, id, |_, _, _| ()).is_err(), "it is not open yet");
    service.run_once(Some(Duration::ZERO)).unwrap();
    let visit = |_: &mut Scripted, cx: &mut RawCx<'_>, calls: &mut u32| {
        *calls += 10;
        cx.request_writable();
        *calls
    };
    assert_eq!(service.control().with_watcher_session(handle, id, visit).ok(), Some(10));
    service.run_once(Some(Duration::ZERO)).unwrap();
    (&ours).write_all(b"x").unwrap();
    service.run_once(Some(Duration::ZERO)).unwrap();
    assert_eq!(*script.events.borrow(), ["open", "writable", "readable"]);
    assert_eq!(service.control().with_watcher_session(handle, id, |_, _, calls| *calls).ok(), Some(11));
    service.control().connection(id).unwrap().abort();
    service.run_once(Some(Duration::ZERO)).unwrap();
    assert!(service.control().with_watcher_session(handle, id, |_, _, _| ()).is_err(), "it has ended");
}
