//! Children made by `fork`.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, waitpid};
use sockeye::Service;
use sockeye::sys::{Address, Random, Real};

pub(crate) fn a_child_draws_other_bytes_than_its_parent() {
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
pub(crate) fn a_child_leaves_its_parents_socket_where_it_is() {
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

/// The child shares the poller with its parent, and what it takes off there is gone for both.
pub(crate) fn a_child_that_drops_its_copy_does_not_disturb_its_parent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut service = Some(Service::builder().listen(listener).build().unwrap());
    in_child(|| {
        drop(service.take());
        Vec::new()
    });
    let service = service.as_mut().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    client.set_nonblocking(true).unwrap();
    let mut answer = Vec::new();
    for _ in 0..100 {
        service.run_once(Some(Duration::from_millis(100))).unwrap();
        if !matches!(client.read_to_end(&mut answer), Err(error) if error.kind() == ErrorKind::WouldBlock) {
            break;
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 426 "), "{:?}", String::from_utf8_lossy(&answer));
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
