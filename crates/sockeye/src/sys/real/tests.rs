//! What only the real system can show.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use rustix::io::fcntl_getfd;

use super::*;
use crate::sys::TcpKeepalive;

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

/// `TCP_NODELAY` and the like of an accepted socket come from its listener, without a call for each connection.
#[test]
fn accepted_sockets_have_what_was_asked_of_their_listener() {
    let mut sys = Real::new().unwrap();
    let keepalive = TcpKeepalive::new(Duration::from_secs(77), Duration::from_secs(11), 7);
    let options = ListenOptions {
        keepalive: Some(keepalive),
        user_timeout: Some(Duration::from_millis(12_345)),
        send_buffer_bytes: Some(20_000),
        unsent_bytes: Some(3_000),
        ..ListenOptions::default()
    };
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (listener, address) = sys.listen(&Address::Ip(address.parse().unwrap()), &options).unwrap();
        let Address::Ip(ip) = address else { panic!("{address}") };
        let _stream = TcpStream::connect(ip).unwrap();
        let (handle, _) = accept(&mut sys, listener);
        has_patience(sys.table.borrow(handle).unwrap(), keepalive, 12_345);
        keeps_little(sys.table.borrow(handle).unwrap());
        sys.close(listener, CloseHow::Normal);
    }
    // Without them the system's own times stand.
    let (listener, address) = listen(&mut sys, "127.0.0.1:0").unwrap();
    let _stream = TcpStream::connect(("127.0.0.1", port(&address))).unwrap();
    let (handle, _) = accept(&mut sys, listener);
    assert!(!sockopt::socket_keepalive(sys.table.borrow(handle).unwrap()).unwrap());
}

fn has_patience(socket: BorrowedFd<'_>, keepalive: TcpKeepalive, millis: u32) {
    assert!(sockopt::tcp_nodelay(socket).unwrap() && sockopt::socket_keepalive(socket).unwrap());
    assert_eq!(sockopt::tcp_keepidle(socket).unwrap(), keepalive.idle);
    assert_eq!(sockopt::tcp_keepintvl(socket).unwrap(), keepalive.interval);
    assert_eq!(sockopt::tcp_keepcnt(socket).unwrap(), keepalive.probes);
    #[cfg(target_os = "linux")]
    assert_eq!(sockopt::tcp_user_timeout(socket).unwrap(), millis);
}

/// Linux doubles the size of the buffer.
#[cfg(target_os = "linux")]
fn keeps_little(socket: BorrowedFd<'_>) {
    assert_eq!(sockopt::socket_send_buffer_size(socket).unwrap(), 40_000);
    assert_eq!(socket2::SockRef::from(&socket).tcp_notsent_lowat().unwrap(), 3_000);
}

/// A peer that does not read: the system holds what is in its buffers, and little that has not been sent.
#[test]
#[cfg(target_os = "linux")]
fn a_socket_takes_no_output_that_waits_in_the_system() {
    let taken = |unsent_bytes| {
        let mut sys = Real::new().unwrap();
        let options = ListenOptions { unsent_bytes, ..ListenOptions::default() };
        let (listener, address) = sys.listen(&Address::Ip(([127, 0, 0, 1], 0).into()), &options).unwrap();
        let Address::Ip(ip) = address else { panic!("{address}") };
        let peer = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        peer.set_recv_buffer_size(8192).unwrap();
        peer.connect(&ip.into()).unwrap();
        let (handle, _) = accept(&mut sys, listener);
        let (mut taken, piece) = (0, [0; 1000]);
        while let Ok(count) = sys.send(handle, &[IoSlice::new(&piece)]) {
            taken += count;
        }
        taken
    };
    let (little, much) = (taken(Some(4096)), taken(None));
    assert!(little < 100_000 && much > 2 * little, "{little} bytes were taken with a bound, {much} without");
}

#[test]
fn connecting_sockets_have_what_was_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Ip(listener.local_addr().unwrap());
    let mut sys = Real::new().unwrap();
    let keepalive = TcpKeepalive::new(Duration::from_secs(5), Duration::from_secs(6), 3);
    let mut options = ConnectOptions {
        keepalive: Some(keepalive),
        user_timeout: Some(Duration::from_millis(900)),
        send_buffer_bytes: Some(20_000),
        unsent_bytes: Some(3_000),
        source: Some([127, 0, 0, 2].into()),
    };
    let handle = sys.connect(&address, &options).unwrap();
    has_patience(sys.table.borrow(handle).unwrap(), keepalive, 900);
    keeps_little(sys.table.borrow(handle).unwrap());
    let Address::Ip(local) = sys.local_address(handle).unwrap() else { panic!("not of TCP") };
    assert_eq!(local.ip().to_string(), "127.0.0.2");
    for foreign in ["::1", "192.0.2.1"] {
        let source = Some(foreign.parse().unwrap());
        let error = sys.connect(&address, &ConnectOptions { source, ..options }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable, "{foreign}: {error}");
    }
    options.user_timeout = Some(Duration::ZERO);
    assert_eq!(sys.connect(&address, &options).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_unix_socket_has_the_mode_that_was_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    let mut sys = Real::new().unwrap();
    for mode in [0o600, 0o660, 0o222, 0o777] {
        let address = Address::Unix(folder.0.join(format!("{mode:o}")));
        let options = ListenOptions { unix_mode: Some(mode), ..ListenOptions::default() };
        let (_, address) = sys.listen(&address, &options).unwrap();
        let Address::Unix(path) = address else { panic!("{address}") };
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        assert!(UnixStream::connect(&path).is_ok());
    }
    let nobody = ListenOptions { unix_mode: Some(0o555), ..ListenOptions::default() };
    let error = sys.listen(&Address::Unix(folder.0.join("nobody")), &nobody).unwrap_err();
    assert!(error.to_string().contains("unix_mode is 0o555: no user could connect"), "{error}");
    assert!(!folder.0.join("nobody").exists());
}

/// Whoever listens for the first time and whoever takes a stale file over, all at once: one of them gets it, and it is
/// the one that is connected to.
#[test]
fn of_many_who_want_a_path_one_gets_it() {
    let folder = Folder::new("many");
    for round in 0..40 {
        let path = folder.0.join("socket");
        if round % 2 == 0 {
            drop(UnixListener::bind(&path).unwrap());
        }
        let start = std::sync::Barrier::new(4);
        let servers: Vec<_> = thread::scope(|scope| {
            let listen = || {
                let mut sys = Real::new().unwrap();
                start.wait();
                let listener = sys.listen(&Address::Unix(path.clone()), &ListenOptions::default());
                listener.map(|(listener, _)| (sys, listener))
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(listen)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut alive = Vec::new();
        for server in servers {
            match server {
                Ok(server) => alive.push(server),
                Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}"),
            }
        }
        assert_eq!(alive.len(), 1, "round {round}");
        let _stream = UnixStream::connect(&path).unwrap();
        let (sys, listener) = &mut alive[0];
        accept(sys, *listener);
        drop(alive);
        assert!(!path.exists());
    }
}

#[test]
fn a_folder_that_others_keep_locked_is_no_obstacle() {
    let folder = Folder::new("locked");
    let held = fs::File::open(&folder.0).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut sys = Real::new().unwrap();
    let path = folder.0.join("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(listen(&mut sys, &format!("unix:{}", path.display())).is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_somebodys_until_its_socket_is_closed() {
    let name = format!("sockeye-abstract-{}\0\u{ff}", std::process::id());
    let address = Address::unix(format!("@{name}")).unwrap();
    assert_eq!(address, Address::Abstract(name.into_bytes()));
    let mut sys = Real::new().unwrap();
    assert_eq!(sys.connect(&address, &ConnectOptions::default()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let (listener, local) = sys.listen(&address, &ListenOptions::default()).unwrap();
    assert_eq!((&local, sys.local_address(listener).unwrap()), (&address, address.clone()));
    assert_eq!(sys.listen(&address, &ListenOptions::default()).unwrap_err().kind(), ErrorKind::AddrInUse);
    let near = sys.connect(&address, &ConnectOptions::default()).unwrap();
    assert!(sys.connected(near).unwrap());
    assert_eq!(accept(&mut sys, listener).1, Address::Unnamed);
    // A client may have a name, too.
    let client = Address::Abstract(format!("sockeye-client-{}", std::process::id()).into_bytes());
    let socket = address::new_socket(net::AddressFamily::UNIX).unwrap();
    net::bind(&socket, &address::unix_name(&client).unwrap()).unwrap();
    net::connect(&socket, &address::unix_name(&address).unwrap()).unwrap();
    assert_eq!(sys.accept(listener).unwrap().1, client);
    sys.close(listener, CloseHow::Normal);
    let (listener, _) = sys.listen(&address, &ListenOptions::default()).unwrap();
    sys.close(listener, CloseHow::Normal);
    let mode = ListenOptions { unix_mode: Some(0o600), ..ListenOptions::default() };
    let error = sys.listen(&address, &mode).unwrap_err();
    assert!(error.to_string().ends_with("so no mode such as 0o600: every process may connect"), "{error}");
    let long = |length| sys_listen(&Address::Abstract(vec![b'x'; length]));
    assert!(long(107).is_ok() && long(108).unwrap_err().to_string().ends_with("1 to 107 bytes, this one has 108"));
    assert!(long(0).is_err(), "the system would choose a name that nobody knows");
}

#[cfg(target_os = "linux")]
fn sys_listen(address: &Address) -> io::Result<()> {
    Real::new()?.listen(address, &ListenOptions::default()).map(drop)
}

#[test]
fn texts_name_unix_sockets() {
    assert_eq!(Address::unix("/run/x"), Some(Address::Unix("/run/x".into())));
    assert_eq!(Address::unix("@x"), Some(Address::Abstract(b"x".to_vec())));
    assert_eq!(Address::unix("./@x"), Some(Address::Unix("./@x".into())));
    assert_eq!((Address::unix(""), Address::unix("@")), (None, None));
    assert_eq!(Address::Abstract(b"x\xff".to_vec()).to_string(), "unix:@x\u{fffd}");
}

#[test]
fn a_listener_of_somebody_else_is_taken_as_it_is() {
    let mut sys = Real::new().unwrap();
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = theirs.local_addr().unwrap();
    let ours = OwnedFd::from(theirs.try_clone().unwrap());
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::empty()).unwrap();
    let keepalive = TcpKeepalive::new(Duration::from_secs(9), Duration::from_secs(8), 7);
    let options = ListenOptions {
        keepalive: Some(keepalive),
        user_timeout: Some(Duration::from_secs(6)),
        ..ListenOptions::default()
    };
    let (listener, local) = sys.inherit(ours, &options).unwrap();
    assert_eq!(local, Address::Ip(address));
    assert!(fcntl_getfd(sys.table.borrow(listener).unwrap()).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    assert_eq!(sys.accept(listener).unwrap_err().kind(), ErrorKind::WouldBlock);
    let _stream = TcpStream::connect(address).unwrap();
    let (handle, _) = accept(&mut sys, listener);
    has_patience(sys.table.borrow(handle).unwrap(), keepalive, 6000);
    // Theirs goes on without ours, and what happens there is none of our business.
    sys.close(listener, CloseHow::Normal);
    let _stream = TcpStream::connect(address).unwrap();
    let mut ready = Vec::new();
    sys.wait(Some(Duration::ZERO), &mut ready).unwrap();
    assert_eq!(ready, []);
    assert!(theirs.accept().is_ok());
}

/// Whether it blocks is a matter of all who have it.
#[test]
fn a_listener_that_somebody_else_made_block_does_not_stop_the_loop() {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = OwnedFd::from(theirs.try_clone().unwrap());
    let (done, is_done) = mpsc::channel();
    let test = thread::spawn(move || {
        let mut sys = Real::new().unwrap();
        let (listener, address) = sys.inherit(ours, &ListenOptions::default()).unwrap();
        theirs.set_nonblocking(false).unwrap();
        let _stream = TcpStream::connect(("127.0.0.1", port(&address))).unwrap();
        accept(&mut sys, listener);
        assert_eq!(sys.accept(listener).unwrap_err().kind(), ErrorKind::WouldBlock);
        done.send(()).unwrap();
    });
    // A test that hangs fails.
    let outcome = is_done.recv_timeout(Duration::from_secs(20));
    assert!(outcome != Err(mpsc::RecvTimeoutError::Timeout), "the loop waits for the next connection");
    test.join().unwrap();
}

/// Opening a FIFO waits for its writer.
#[test]
fn a_socket_below_a_fifo_is_refused_at_once() {
    let folder = Folder::new("fifo");
    let fifo = folder.0.join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let error = Real::new().unwrap().listen(&Address::Unix(fifo.join("socket")), &ListenOptions::default());
        done.send(error.unwrap_err().kind()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok(ErrorKind::NotADirectory));
}

#[test]
fn the_file_of_a_listener_of_somebody_else_stays() {
    let folder = Folder::new("inherited");
    let path = folder.0.join("socket");
    let theirs = UnixListener::bind(&path).unwrap();
    for drops in [false, true] {
        let mut sys = Real::new().unwrap();
        let ours = OwnedFd::from(theirs.try_clone().unwrap());
        let (listener, local) = sys.inherit(ours, &ListenOptions::default()).unwrap();
        assert_eq!(local, Address::Unix(path.clone()));
        let _stream = UnixStream::connect(&path).unwrap();
        assert_eq!(accept(&mut sys, listener).1, Address::Unnamed);
        if drops {
            drop(sys);
        } else {
            sys.close(listener, CloseHow::Normal);
        }
        assert!(path.exists());
    }
}

#[test]
fn what_is_no_listener_is_refused_as_what_it_is() {
    let folder = Folder::new("kinds");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = |kind| net::socket(net::AddressFamily::UNIX, kind, None).unwrap();
    let mut child = std::process::Command::new("true").stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.wait().unwrap();
    let kinds: Vec<(OwnedFd, &str)> = vec![
        (fs::File::create(folder.0.join("file")).unwrap().into(), "a regular file"),
        (fs::File::open(&folder.0).unwrap().into(), "a directory"),
        (fs::File::open("/dev/null").unwrap().into(), "a character device, such as a terminal"),
        (child.stdout.take().unwrap().into(), "a pipe"),
        (std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(), "a datagram socket (SOCK_DGRAM)"),
        (socket(net::SocketType::SEQPACKET), "a socket of packets (SOCK_SEQPACKET)"),
        (socket(net::SocketType::STREAM), "a stream socket that does not listen"),
        (stream.into(), "a connection"),
    ];
    let mut sys = Real::new().unwrap();
    for (fd, what) in kinds {
        let error = sys.inherit(fd, &ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), format!("it is {what}, and must be a listening stream socket"));
    }
    assert_eq!((sys.table.open, sys.foreign.len()), (0, 0));
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
fn errors_of_listening_are_the_systems() {
    let mut sys = Real::new().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let error = listen(&mut sys, &taken.to_string()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ADDRINUSE.raw_os_error()));
    let error = listen(&mut sys, "203.0.113.1:0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    let hint = "; a link-local address needs its interface, such as fe80::1%eth0";
    assert!(!error.to_string().contains(hint), "{error}");
    let error = listen(&mut sys, "[fe80::1]:0").unwrap_err();
    assert!(error.to_string().ends_with(hint), "{error}");
    let scoped = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 0, 0, 0x7fff_fff0);
    let error = sys.listen(&Address::Ip(scoped.into()), &ListenOptions::default()).unwrap_err();
    assert!(!error.to_string().contains(hint), "{error}");
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
    // A file that is not a socket is never removed.
    let path = folder.0.join("file");
    fs::write(&path, "precious").unwrap();
    let error = listen(&mut sys, &format!("unix:{}", path.display())).unwrap_err();
    assert!(error.to_string().ends_with("a file of this name exists that is not a socket"), "{error}");
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
    let handle = sys.connect(&Address::Ip(listener.local_addr().unwrap()), &ConnectOptions::default()).unwrap();
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
    assert_eq!(sys.connect(&address, &ConnectOptions::default()).unwrap_err().kind(), ErrorKind::NotFound);
    let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
    let (listener, _) = sys.listen(&address, &options).unwrap();
    let mut handles = Vec::new();
    let error = loop {
        match sys.connect(&address, &ConnectOptions::default()) {
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
    assert_eq!(
        sys.connect(&Address::Unix(path), &ConnectOptions::default()).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(
        sys.connect(&Address::Unix("".into()), &ConnectOptions::default()).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
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
    let error = sys.connect(&Address::Ip(nowhere.into()), &ConnectOptions::default()).unwrap_err();
    assert!(error.raw_os_error().is_some(), "{error}");
    assert_eq!(sys.table.open, 0);
}
