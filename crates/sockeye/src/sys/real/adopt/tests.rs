//! What the real system promises of descriptors that it is given.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;
use crate::sys::{Adopted, ForeignDescriptors, Real};

fn adopt(sys: &mut Real, fd: impl Into<OwnedFd>) -> Adopted {
    sys.adopt(fd.into(), &AdoptOptions::default()).unwrap()
}

/// Made ready as a child would find it: blocking, and inherited.
fn pipe() -> (File, File) {
    let (read, write) = pipe_with(PipeFlags::empty()).unwrap();
    (read.into(), write.into())
}

#[test]
fn kinds_peers_and_directions_are_found() {
    let mut sys = Real::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = adopt(&mut sys, TcpStream::connect(address).unwrap());
    assert_eq!((tcp.kind, tcp.peer), (DescriptorKind::Stream, Address::Ip(address)));
    let flags = SocketFlags::CLOEXEC;
    let packets = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap().0;
    let (read, write) = pipe();
    let event = eventfd(0, EventfdFlags::empty()).unwrap();
    let (_, far) = pipe();
    let all: [(OwnedFd, _, _); 8] = [
        (listener.into(), DescriptorKind::Listener, (true, true)),
        (UnixStream::pair().unwrap().0.into(), DescriptorKind::Stream, (true, true)),
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), DescriptorKind::Datagrams, (true, true)),
        (UnixDatagram::unbound().unwrap().into(), DescriptorKind::Datagrams, (true, true)),
        (packets, DescriptorKind::Packets, (true, true)),
        (read.into(), DescriptorKind::Other, (true, false)),
        (write.into(), DescriptorKind::Other, (false, true)),
        (event, DescriptorKind::Other, (true, true)),
    ];
    for (fd, kind, directions) in all {
        let adopted = adopt(&mut sys, fd);
        assert_eq!((adopted.kind, (adopted.readable, adopted.writable)), (kind, directions));
        assert_eq!(adopted.peer, Address::Unnamed);
    }
    let handle = adopt(&mut sys, far).handle;
    let fd = sys.borrow(handle).unwrap();
    assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
    assert!(fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
    for what in ["/", "/proc/self/exe", "/dev/null"] {
        let error = sys.adopt(File::open(what).unwrap().into(), &AdoptOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn reading_and_writing_go_on_until_it_would_block() {
    let mut sys = Real::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    // Though a stream, moved as what is none.
    let near = adopt(&mut sys, near).handle;
    let mut buffer = [0; 8];
    let mut read = |sys: &mut Real| sys.read(near, DescriptorKind::Packets, &mut buffer).map_err(|error| error.kind());
    assert_eq!(read(&mut sys), Err(ErrorKind::WouldBlock));
    far.write_all(b"hello").unwrap();
    assert_eq!((read(&mut sys), read(&mut sys)), (Ok(5), Err(ErrorKind::WouldBlock)));
    let error = loop {
        match sys.write(near, DescriptorKind::Packets, &[0; 4096]) {
            Ok(count) => assert!(count > 0),
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(error, ErrorKind::WouldBlock);
    drop(far);
    // Sockets raise no signal.
    assert_eq!(sys.write(near, DescriptorKind::Packets, b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn what_concerns_one_datagram_is_no_error_of_the_socket() {
    let mut sys = Real::new().unwrap();
    let (near, far) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    near.connect(far.local_addr().unwrap()).unwrap();
    let own = near.local_addr().unwrap();
    let near = adopt(&mut sys, near).handle;
    far.send_to(b"", own).unwrap();
    assert_eq!(sys.read(near, DescriptorKind::Datagrams, &mut [0; 8]).unwrap(), 0);
    drop(far);
    // The first finds nobody; the second is told of that, and lost; and so on.
    assert_eq!(sys.write(near, DescriptorKind::Datagrams, b"one").unwrap(), 3);
    assert_eq!(sys.read(near, DescriptorKind::Datagrams, &mut [0; 8]).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(sys.write(near, DescriptorKind::Datagrams, b"two").unwrap(), 3);
    assert_eq!(sys.write(near, DescriptorKind::Datagrams, b"four").unwrap(), 4);
    assert_eq!(sys.write(near, DescriptorKind::Datagrams, &[0; 70_000]).unwrap(), 70_000);
}

#[test]
fn the_hang_up_of_a_terminal_is_the_end_of_input() {
    let mut sys = Real::new().unwrap();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty());
    let handle = adopt(&mut sys, master).handle;
    drop(slave);
    assert_eq!(sys.read(handle, DescriptorKind::Other, &mut [0; 8]).unwrap(), 0);
}

#[test]
fn small_writes_are_sent_at_once_only_if_that_is_asked_for() {
    let mut sys = Real::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for nodelay in [false, true] {
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let copy = socket.try_clone().unwrap();
        sys.adopt(socket.into(), &AdoptOptions { nodelay, ..AdoptOptions::default() }).unwrap();
        assert_eq!(copy.nodelay().unwrap(), nodelay);
    }
}

#[test]
fn unread_bytes_are_counted() {
    let mut sys = Real::new().unwrap();
    let (read, mut write) = pipe();
    let mut copy = read.try_clone().unwrap();
    let handle = adopt(&mut sys, read).handle;
    write.write_all(b"abc").unwrap();
    assert_eq!(sys.unread(handle), Some(3));
    copy.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(sys.unread(handle), Some(0));
    assert!(sys.borrow(handle).unwrap().as_fd().try_clone_to_owned().is_ok());
}
