//! Answers of the system, each where it is least wanted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye::Limits;
use sockeye::proto::close::Cause;
use sockeye::sim::{Fault, Faults, Host};
use sockeye::sys::{
    Address, Clock, CloseHow, ConnectOptions, Descriptors, ForeignDescriptors, Handle, ListenOptions, Names, Poller,
    Random, Readiness, Resolved, Sockets, Sys, Wake,
};
use sockeye_proto::time::Instant;
use sockeye_testing::server::Bench;

/// What a [`Front`] does.
#[derive(Default)]
struct Mischief {
    /// Calls of `recv` and `send`, of which every other one is interrupted when `interrupt` is set.
    interrupt: Cell<bool>,
    calls: Cell<usize>,
    /// The next `send` fails so.
    send_fails: Cell<Option<io::ErrorKind>>,
    /// Tokens of connections that are closed show up in every batch, with everything set.
    stale: Cell<bool>,
    tokens: RefCell<BTreeMap<u32, u64>>,
    gone: RefCell<Vec<u64>>,
}

/// A system in front of the simulated one.
struct Front {
    inner: Box<dyn Sys>,
    mischief: Rc<Mischief>,
}

impl Front {
    fn of(mischief: &Rc<Mischief>) -> impl FnOnce(&Host) -> Box<dyn Sys> {
        let mischief = mischief.clone();
        |host| Box::new(Self { inner: host.sys(), mischief })
    }

    fn interrupted(&self) -> io::Result<()> {
        let calls = self.mischief.calls.get() + 1;
        self.mischief.calls.set(calls);
        if self.mischief.interrupt.get() && calls % 2 == 1 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

impl Clock for Front {
    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn wall_clock(&mut self) -> u64 {
        self.inner.wall_clock()
    }
}

impl Random for Front {
    fn random(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.inner.random(out)
    }
}

impl Poller for Front {
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.inner.wait(timeout, ready)?;
        if self.mischief.stale.get() {
            for token in self.mischief.gone.borrow().iter() {
                let mut report = Readiness::new(*token);
                (report.readable, report.writable, report.read_closed, report.error) = (true, true, true, true);
                ready.push(report);
                ready.insert(0, report);
            }
        }
        Ok(())
    }

    fn waker(&mut self) -> Arc<dyn Wake> {
        self.inner.waker()
    }

    fn register(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        self.mischief.tokens.borrow_mut().insert(handle.get(), token);
        self.inner.register(handle, token)
    }

    fn reregister(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        self.mischief.tokens.borrow_mut().insert(handle.get(), token);
        self.inner.reregister(handle, token)
    }

    fn readiness(&mut self, handle: Handle) -> io::Result<Readiness> {
        self.inner.readiness(handle)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }
}

impl Sockets for Front {
    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        self.inner.listen(address, options)
    }

    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, Address)> {
        self.inner.accept(listener)
    }

    fn connect(&mut self, address: &Address, options: &ConnectOptions) -> io::Result<Handle> {
        self.inner.connect(address, options)
    }

    fn connected(&mut self, handle: Handle) -> io::Result<bool> {
        self.inner.connected(handle)
    }

    fn local_address(&mut self, handle: Handle) -> io::Result<Address> {
        self.inner.local_address(handle)
    }

    fn recv(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted()?;
        self.inner.recv(handle, buffer)
    }

    fn send(&mut self, handle: Handle, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(error) = self.mischief.send_fails.take() {
            return Err(error.into());
        }
        self.interrupted()?;
        self.inner.send(handle, buffers)
    }

    fn shutdown_write(&mut self, handle: Handle) -> io::Result<()> {
        self.inner.shutdown_write(handle)
    }

    fn close(&mut self, handle: Handle, how: CloseHow) {
        let token = self.mischief.tokens.borrow_mut().remove(&handle.get());
        self.mischief.gone.borrow_mut().extend(token.filter(|token| *token > u64::from(u32::MAX)));
        self.inner.close(handle, how);
    }

    fn descriptors(&mut self) -> Descriptors {
        self.inner.descriptors()
    }
}

impl Names for Front {
    fn resolve(&mut self, ticket: u64, host: &str, port: u16) -> io::Result<()> {
        self.inner.resolve(ticket, host, port)
    }

    fn resolved(&mut self) -> Option<Resolved> {
        self.inner.resolved()
    }
}

impl ForeignDescriptors for Front {}

#[test]
fn a_signal_in_any_call_changes_nothing() {
    for odd in [0, 1] {
        let mischief = Rc::new(Mischief::default());
        let faults = Faults::none().with(Fault::Interrupted, 500).with_buffers(3000, 3000);
        let mut bench = Bench::on(faults, Limits::default(), Front::of(&mischief));
        mischief.interrupt.set(true);
        mischief.calls.set(odd);
        let (client, other) = (bench.open(), bench.open_echo());
        for _ in 0..20 {
            // An echo, a large one, one in fragments, and a publication, which no step of the connection follows.
            bench.clients[client].text("hello");
            bench.clients[client].text("!big 20000");
            bench.clients[client].text("!frag 5 in several pieces");
            bench.clients[client].text("!pub news");
            bench.clients[other].binary(&[1; 20_000]);
            let replies = bench.replies(client) + 4;
            bench.until(|bench| bench.replies(client) == replies && bench.replies(other) * 4 == replies);
        }
        assert!(bench.time() < Duration::from_secs(5), "it went on at a deadline only");
        bench.close(client);
        bench.finish();
    }
}

#[test]
fn short_counts_and_false_alarms_change_nothing() {
    let faults = Faults::none().with_segment(7).with(Fault::Cut, 1000).with(Fault::ShortSend, 900);
    let faults = faults.with(Fault::WouldBlock, 400).with(Fault::Spurious, 500).with(Fault::Terse, 500);
    let mut bench = Bench::with(faults.with_buffers(500, 500), Limits::default());
    let (client, other) = (bench.open(), bench.open_echo());
    for number in 1..=10 {
        bench.clients[client].text("!frag 5 in several pieces");
        bench.clients[other].binary(&[1; 2000]);
        bench.until(|bench| bench.replies(client) == number && bench.replies(other) == number);
    }
    bench.close(client);
    bench.finish();
}

#[test]
fn a_send_that_fails_ends_the_connection_only() {
    for error in
        [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset, io::ErrorKind::TimedOut, io::ErrorKind::Other]
    {
        for what in ["hello", "!big 100000", "!pub news", "!frag 3 pieces"] {
            let mischief = Rc::new(Mischief::default());
            let mut bench = Bench::on(Faults::none(), Limits::default(), Front::of(&mischief));
            let (client, canary) = (bench.open(), bench.open());
            mischief.send_fails.set(Some(error));
            bench.clients[client].text(what);
            let number =
                if what == "!pub news" { bench.until(|_| mischief.send_fails.get().is_none()) } else { Duration::ZERO };
            assert_eq!(number, Duration::ZERO);
            let ended = |bench: &Bench| bench.closed(client).or_else(|| bench.closed(canary));
            let took = bench.until(|bench| ended(bench).is_some());
            assert_eq!((took, ended(&bench).unwrap().cause), (Duration::ZERO, Cause::Reset), "{what} {error:?}");
            bench.finish();
        }
    }
}

/// Handles and slots are used again at once, while reports for those who had them before keep coming.
#[test]
fn reports_for_connections_that_are_gone_reach_nobody() {
    let mischief = Rc::new(Mischief::default());
    mischief.stale.set(true);
    let mut bench = Bench::on(Faults::none(), Limits::default(), Front::of(&mischief));
    for round in 0..30 {
        let (first, second, third) = (bench.open(), bench.open_echo(), bench.open());
        for number in [first, second, third] {
            bench.clients[number].text("hello");
        }
        bench.until(|bench| [first, second, third].iter().all(|number| bench.replies(*number) == 1));
        // One ends in the batch in which its successor arrives.
        bench.clients[first].shutdown();
        let next = bench.connect();
        bench.clients[next].handshake(&format!("/{next}/plain"), "machine");
        bench.until(|bench| bench.clients[next].is_open());
        bench.clients[third].text(&format!("!kill {next}"));
        bench.until(|bench| bench.closed(next).is_some());
        assert_eq!(bench.closed(next).unwrap().cause, Cause::Handshake, "round {round}");
        bench.close(second);
        bench.close(third);
    }
    assert!(mischief.gone.borrow().len() > 100);
    bench.finish();
}
