//! What concerns the whole process: children made by `fork`, and descriptors that run out or leak.
//!
//! These tests run one after another in the only thread of their program: `fork` in a program with threads leaves a child
//! in which little is allowed, and a count of descriptors means something only if nobody else opens any, as do the
//! numbers that are given out.

mod numbers;

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};
use sockeye::sys::{Address, CloseHow, ConnectOptions, Handle, Real, Sys, WAKE};
use sockeye::{Service, Threads};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let tests: [(&str, fn()); 8] = [
        ("a_child_draws_other_bytes_than_its_parent", a_child_draws_other_bytes_than_its_parent),
        ("a_child_leaves_its_parents_socket_where_it_is", a_child_leaves_its_parents_socket_where_it_is),
        ("without_descriptors_connecting_fails_at_once", without_descriptors_connecting_fails_at_once),
        ("connections_give_their_descriptors_back", connections_give_their_descriptors_back),
        ("looking_names_up_gives_its_descriptors_back", looking_names_up_gives_its_descriptors_back),
        ("threads_that_do_not_start_leave_nothing", threads_that_do_not_start_leave_nothing),
        ("a_number_that_is_given_out_again_is_nobody_elses", numbers::a_number_that_is_given_out_again_is_nobody_elses),
        (
            "what_others_have_is_let_go_and_can_be_adopted_again",
            numbers::what_others_have_is_let_go_and_can_be_adopted_again,
        ),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn a_child_draws_other_bytes_than_its_parent() {
    let mut sys = Real::new().unwrap();
    // The pool is filled, and the number of keys drawn from it is no multiple of anything.
    let mut seen: HashSet<u64> = keys(&mut sys, 7).into_iter().collect();
    let mut expected = 7;
    for _ in 0..3 {
        let child = in_child(|| keys(&mut sys, 200));
        let grandchild = in_child(|| {
            keys(&mut sys, 1);
            in_child(|| keys(&mut sys, 200))
        });
        let own = keys(&mut sys, 200);
        seen.extend(child.into_iter().chain(grandchild).chain(own));
        expected += 600;
        assert_eq!(seen.len(), expected, "keys were drawn twice");
    }
    assert!(!seen.contains(&0));
}

/// A program that forks to have something done must not lose its server's path when the child ends in good order.
fn a_child_leaves_its_parents_socket_where_it_is() {
    let path = std::env::temp_dir().join(format!("sockeye-fork-{}", std::process::id()));
    let service = Service::builder().listen(Address::Unix(path.clone())).build().unwrap();
    let mut service = Some(service);
    in_child(|| {
        drop(service.take());
        Vec::new()
    });
    assert!(path.exists(), "the child removed the file");
    UnixStream::connect(&path).unwrap();
    drop(service);
    assert!(!path.exists());
}

/// Of eight bytes each, so that none repeats by chance.
fn keys(sys: &mut Real, count: usize) -> Vec<u64> {
    let mut bytes = [0; 8];
    let draw = |_| {
        sys.random(&mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    };
    (0..count).map(draw).collect()
}

/// What `draw` draws in a child of this process.
fn in_child(draw: impl FnOnce() -> Vec<u64>) -> Vec<u64> {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    // SAFETY: this program has one thread, so the child has all of what the parent has.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // The child must not return into the tests, come what may.
        let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let bytes: Vec<u8> = draw().into_iter().flat_map(u64::to_le_bytes).collect();
            far.write_all(&bytes)
        }));
        // SAFETY: it ends the process, without anything of the parent's being run.
        unsafe { libc::_exit(i32::from(!matches!(written, Ok(Ok(()))))) };
    }
    let child = Pid::from_raw(child).expect("there is room for a process");
    drop(far);
    let mut bytes = Vec::new();
    near.read_to_end(&mut bytes).unwrap();
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0));
    bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect()
}

fn without_descriptors_connecting_fails_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Ip(listener.local_addr().unwrap());
    let mut sys = Real::new().unwrap();
    let before = sys.descriptors();
    let limits = getrlimit(Resource::Nofile);
    // The limit is one of numbers, not of how many there are.
    setrlimit(Resource::Nofile, Rlimit { current: Some(before.in_use + 5), ..limits }).unwrap();
    let mut handles: Vec<Handle> = Vec::new();
    let error = loop {
        match sys.connect(&address, &ConnectOptions::default()) {
            Ok(handle) => handles.push(handle),
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()), "{error}");
    assert!(!handles.is_empty() && handles.iter().all(|handle| u64::from(handle.get()) < before.in_use + 5));
    // With one given back there is room for one.
    sys.close(handles.pop().unwrap(), CloseHow::Normal);
    handles.push(sys.connect(&address, &ConnectOptions::default()).unwrap());
    assert!(sys.connect(&address, &ConnectOptions::default()).is_err());
    for handle in handles {
        sys.close(handle, CloseHow::Normal);
    }
    setrlimit(Resource::Nofile, limits).unwrap();
    assert_eq!(sys.descriptors().in_use, before.in_use);
}

fn connections_give_their_descriptors_back() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sys = Real::new().unwrap();
    let before = sys.descriptors().in_use;
    let places = [
        Address::Ip(gone),
        Address::Ip(listener.local_addr().unwrap()),
        Address::Unix("/nobody/listens/here".into()),
        Address::Unnamed,
    ];
    let mut outcomes = [0; 3];
    for round in 0..100 {
        for place in &places {
            let Ok(handle) = sys.connect(place, &ConnectOptions::default()) else {
                outcomes[0] += 1;
                continue;
            };
            if round % 2 == 0 {
                sys.register(handle, round).unwrap();
                wait(&mut sys, round);
                outcomes[if sys.connected(handle).is_ok() { 1 } else { 2 }] += 1;
            }
            sys.close(handle, if round % 3 == 0 { CloseHow::Reset } else { CloseHow::Normal });
        }
    }
    assert_eq!(outcomes, [200, 50, 50]);
    assert_eq!(sys.descriptors().in_use, before);
}

fn looking_names_up_gives_its_descriptors_back() {
    let start = Real::new().unwrap().descriptors().in_use;
    for round in 0..20 {
        let mut sys = Real::new().unwrap();
        assert_eq!(sys.descriptors().in_use, start);
        sys.resolve(round, "localhost", 80).unwrap();
        if round % 2 == 0 {
            wait(&mut sys, WAKE);
            assert_eq!(sys.resolved().map(|answer| answer.ticket), Some(round));
        }
        drop(sys);
        // A helper may have a file open at the moment.
        let counted = || Real::new().unwrap().descriptors().in_use;
        let settled = (0..1000).any(|_| {
            counted() == start || {
                thread::sleep(Duration::from_millis(5));
                false
            }
        });
        assert!(settled, "{} descriptors are open, {start} were", counted());
    }
}

fn threads_that_do_not_start_leave_nothing() {
    let counted = || Real::new().unwrap().descriptors().in_use;
    let before = counted();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for failing in 0..3 {
        let error = Threads::new(3).listen(address).start(move |worker| match worker.index() {
            index if index == failing => Err("not this one".into()),
            _ => Ok(Service::builder()),
        });
        assert_eq!(error.unwrap_err().thread(), Some(failing));
        assert_eq!(counted(), before);
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    let threads = Threads::new(3).listen(address).start(|_| Ok(Service::builder())).unwrap();
    assert!(counted() > before);
    threads.drain();
    threads.join().unwrap();
    assert_eq!(counted(), before);
}

fn wait(sys: &mut Real, token: u64) {
    let mut ready = Vec::new();
    for _ in 0..1000 {
        if let Err(error) = sys.wait(Some(Duration::from_millis(50)), &mut ready) {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
        if ready.iter().any(|report| report.token == token) {
            return;
        }
    }
    panic!("waited in vain for {token}");
}
