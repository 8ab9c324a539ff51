//! What only the real system can show.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::io::fcntl_getfd;

use super::*;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sockeye-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listen(sys: &mut Real, address: &str) -> io::Result<(Handle, Address)> {
    let address = match address.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Ip(address.parse().unwrap()),
    };
    sys.listen(&address, &ListenOptions::default())
}

fn accept(sys: &mut Real, listener: Handle) -> (Handle, Address) {
    sys.register(listener, 1).unwrap();
    loop {
        sys.wait(Some(Duration::from_secs(10)), &mut Vec::new()).unwrap();
        match sys.accept(listener) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            accepted => return accepted.unwrap(),
        }
    }
}

fn port(address: &Address) -> u16 {
    match address {
        Address::Ip(ip) => ip.port(),
        other => panic!("{other} has no port"),
    }
}

#[test]
fn accepted_sockets_send_at_once_and_are_not_inherited() {
    let mut sys = Real::new().unwrap();
    let (listener, address) = listen(&mut sys, "127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port(&address))).unwrap();
    let (handle, peer) = accept(&mut sys, listener);
    assert_eq!(peer, Address::Ip(stream.local_addr().unwrap()));
    let socket = sys.table.borrow(handle).unwrap();
    assert!(sockopt::tcp_nodelay(socket).unwrap());
    assert!(fcntl_getfd(socket).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn an_ipv4_peer_of_an_ipv6_listener_is_ipv4() {
    let mut sys = Real::new().unwrap();
    let (listener, address) = listen(&mut sys, "[::]:0").unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port(&address))).unwrap();
    assert_eq!(accept(&mut sys, listener).1, Address::Ip(stream.local_addr().unwrap()));

    let only = ListenOptions { ipv6_only: true, ..ListenOptions::default() };
    let (_, address) = sys.listen(&Address::Ip("[::]:0".parse().unwrap()), &only).unwrap();
    assert!(TcpStream::connect(("::1", port(&address))).is_ok());
    assert!(TcpStream::connect(("127.0.0.1", port(&address))).is_err());
}

#[test]
fn a_port_is_shared_only_on_request() {
    let mut sys = Real::new().unwrap();
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let (_, address) = sys.listen(&Address::Ip("127.0.0.1:0".parse().unwrap()), &shared).unwrap();
    assert!(sys.listen(&address, &shared).is_ok());
    assert_eq!(sys.listen(&address, &ListenOptions::default()).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_claimed_port_was_nobodys_and_is_shared_from_then_on() {
    let mut sys = Real::new().unwrap();
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let claim = ListenOptions { claim: true, ..shared };
    let (first, address) = sys.listen(&Address::Ip("127.0.0.1:0".parse().unwrap()), &claim).unwrap();
    let (second, _) = sys.listen(&address, &shared).unwrap();
    assert_eq!(sys.listen(&address, &claim).unwrap_err().kind(), ErrorKind::AddrInUse);
    let Address::Ip(ip) = address else { panic!("{address}") };
    // Each gets some: all of 200 for the same one would be chance of 2^-199.
    let _streams: Vec<_> = (0..200).map(|_| TcpStream::connect(ip).unwrap()).collect();
    assert!(sys.accept(first).is_ok() && sys.accept(second).is_ok());
}

#[test]
fn errors_name_the_address() {
    let mut sys = Real::new().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let error = listen(&mut sys, &taken.to_string()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {taken}: Address already in use (os error 98)"));
    let error = listen(&mut sys, "203.0.113.1:0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    assert!(error.to_string().starts_with("cannot listen on 203.0.113.1:0: "), "{error}");
}

#[test]
fn socket_paths_have_a_length() {
    let folder = Folder::new("length");
    let mut sys = Real::new().unwrap();
    let base = folder.0.to_str().unwrap();
    let path = |length: usize| format!("unix:{base}/{}", "x".repeat(length - base.len() - 1));
    let (_, address) = listen(&mut sys, &path(107)).unwrap();
    assert_eq!(address.to_string(), path(107));
    let error = listen(&mut sys, &path(108)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().ends_with("a socket's path has 1 to 107 bytes, this one has 108"), "{error}");
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new("stale");
    let path = folder.0.join("socket");
    let name = format!("unix:{}", path.display());
    let mut sys = Real::new().unwrap();
    // A server that was killed leaves its file.
    drop(UnixListener::bind(&path).unwrap());
    let (listener, _) = listen(&mut sys, &name).unwrap();
    let _stream = UnixStream::connect(&path).unwrap();
    assert_eq!(accept(&mut sys, listener).1, Address::Unnamed);
    assert_eq!(listen(&mut sys, &name).unwrap_err().kind(), ErrorKind::AddrInUse);
    // It is removed with its listener, unless it is somebody else's by then.
    sys.close(listener, CloseHow::Normal);
    assert!(!path.exists());
    let (listener, _) = listen(&mut sys, &name).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    sys.close(listener, CloseHow::Normal);
    assert!(path.exists());
    // A file that is no socket is never removed.
    let path = folder.0.join("file");
    fs::write(&path, "precious").unwrap();
    let error = listen(&mut sys, &format!("unix:{}", path.display())).unwrap_err();
    assert!(error.to_string().ends_with("there is a file of this name that is no socket"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn dropping_the_system_removes_its_socket_files() {
    let folder = Folder::new("drop");
    let path = folder.0.join("socket");
    let mut sys = Real::new().unwrap();
    listen(&mut sys, &format!("unix:{}", path.display())).unwrap();
    assert!(path.exists());
    drop(sys);
    assert!(!path.exists());
}

#[test]
fn closed_handles_are_refused() {
    let mut sys = Real::new().unwrap();
    let (listener, _) = listen(&mut sys, "127.0.0.1:0").unwrap();
    assert_eq!(sys.table.open, 1);
    sys.close(listener, CloseHow::Normal);
    sys.close(listener, CloseHow::Normal);
    assert_eq!(sys.table.open, 0);
    for handle in [listener, Handle::new(u32::MAX)] {
        assert_eq!(sys.recv(handle, &mut [0]).unwrap_err().raw_os_error(), Some(Errno::BADF.raw_os_error()));
        assert!(sys.register(handle, 1).is_err());
    }
}

#[test]
fn connecting_sockets_send_at_once_and_are_not_inherited() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sys = Real::new().unwrap();
    let handle = sys.connect(&Address::Ip(listener.local_addr().unwrap())).unwrap();
    let socket = sys.table.borrow(handle).unwrap();
    assert!(sockopt::tcp_nodelay(socket).unwrap());
    assert!(fcntl_getfd(socket).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    sys.close(handle, CloseHow::Normal);
    assert_eq!(sys.table.open, 0);
}

#[test]
fn a_full_unix_listener_is_the_end_of_an_attempt() {
    let folder = Folder::new("full");
    let mut sys = Real::new().unwrap();
    let address = Address::Unix(folder.0.join("socket"));
    assert_eq!(sys.connect(&address).unwrap_err().kind(), ErrorKind::NotFound);
    let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
    let (listener, _) = sys.listen(&address, &options).unwrap();
    let mut handles = Vec::new();
    let error = loop {
        match sys.connect(&address) {
            Ok(handle) => handles.push(handle),
            Err(error) => break error,
        }
        assert!(handles.len() < 16, "a queue of one has an end");
    };
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    // Each that began stands, and what failed left no descriptor behind.
    assert!(handles.iter().all(|handle| sys.connected(*handle).unwrap()));
    assert_eq!(sys.table.open, 1 + handles.len() as u64);
    // Nobody listens behind the file of a server that was killed.
    let path = folder.0.join("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(sys.connect(&Address::Unix(path)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(sys.connect(&Address::Unix("".into())).unwrap_err().kind(), ErrorKind::InvalidInput);
    sys.close(listener, CloseHow::Normal);
}

#[test]
fn a_connection_of_a_program_with_itself_is_refused() {
    let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None).unwrap();
    net::bind(&socket, &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
    let own = std::net::SocketAddr::try_from(net::getsockname(&socket).unwrap()).unwrap();
    net::connect(&socket, &own).expect("TCP calls this a connection");
    let mut sys = Real::new().unwrap();
    let handle = sys.table.insert(socket);
    assert_eq!(sys.connected(handle).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn addresses_keep_their_scope() {
    let scoped = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, 3);
    assert_eq!(address::read(scoped.into()), Address::Ip(scoped.into()));
    let mapped: std::net::SocketAddr = "[::ffff:192.0.2.1]:80".parse().unwrap();
    assert_eq!(address::read(mapped.into()), Address::Ip("192.0.2.1:80".parse().unwrap()));
    let mut sys = Real::new().unwrap();
    // No interface has this number, and the system is told the number.
    let nowhere = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, 0x7fff_fff0);
    let error = sys.connect(&Address::Ip(nowhere.into())).unwrap_err();
    assert!(error.raw_os_error().is_some(), "{error}");
    assert_eq!(sys.table.open, 0);
}
