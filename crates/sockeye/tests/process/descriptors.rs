//! Descriptors that run out, and whether all are given back.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sockeye::sys::{Address, CloseHow, ConnectOptions, Handle, Names, Poller, Real, Sockets, WAKE};
use sockeye::{Service, Threads};

pub(crate) fn without_descriptors_connecting_fails_at_once() {
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

pub(crate) fn connections_give_their_descriptors_back() {
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

pub(crate) fn looking_names_up_gives_its_descriptors_back() {
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

pub(crate) fn threads_that_do_not_start_leave_nothing() {
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
