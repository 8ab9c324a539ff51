//! The command under a service manager, by an equivalent made here: sockets handed on, words on a socket, the watchdog.
//!
//! A shell stands between, as the manager does between `fork` and `exec`: it has the number of the process that is to
//! be, and puts the socket, which it gets as its standard input, to number 3.

use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{CLOSE, Client, Folder, PATIENCE, Running, finished, program, sockeye, without_manager};

/// A command that is started with `socket` as descriptor 3. `pid` is a shell's expression, `$$` the process's own number.
fn activated(socket: impl Into<OwnedFd>, pid: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = format!(
        "exec 3<&0 0</dev/null; export LISTEN_PID={pid} LISTEN_FDS=1 LISTEN_FDNAMES=web.socket; exec \"$0\" \"$@\""
    );
    command.arg("-c").arg(script).arg(program()).args(arguments);
    without_manager(&mut command);
    command.stdin(socket.into()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A service manager that is notified, with a socket at a path of its own.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sockeye-manager-{name}-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    fn heard(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.socket.recv(&mut buffer).expect("a word of the service");
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    /// The next word that is no sign of life.
    fn news(&self) -> String {
        std::iter::repeat_with(|| self.heard()).find(|word| word != "WATCHDOG=1\n").unwrap()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[test]
fn a_socket_that_is_open_already_stands_for_the_default_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Who came before the service was there is served, too.
    let _early = TcpStream::connect(&address).unwrap();
    let arguments = ["serve", "--log-level", "info"];
    let running = Running::of(activated(listener.try_clone().unwrap(), "$$", &arguments).spawn().unwrap());
    let line = running.log_line("using a socket from the service manager");
    assert!(line.contains("descriptor=3") && line.contains("name=web.socket"), "{line}");
    assert_eq!(running.address(), address);
    let mut client = Client::speaking(&address, "lws-mirror-protocol");
    running.signal(Signal::TERM);
    assert_eq!(client.closed(), 1001);
    client.send(CLOSE, &1001_u16.to_be_bytes());
    assert_eq!(running.ended().code(), Some(0));
    // The socket is the manager's, and waits for the next service.
    let _late = TcpStream::connect(&address).unwrap();
    let running = Running::of(activated(listener, "$$", &["echo"]).spawn().unwrap());
    assert_eq!(running.address(), address);
    drop(Client::open(&address, "").unwrap());
}

#[test]
fn all_threads_serve_a_socket_that_is_open_already() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let running = Running::of(activated(listener, "$$", &["echo", "--threads", "2"]).spawn().unwrap());
    assert_eq!(running.address(), address);
    drop(Client::open(&address, "").unwrap());
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn the_file_of_a_unix_socket_that_is_open_already_stays() {
    let path = std::env::temp_dir().join(format!("sockeye-activated-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let other = ["echo", "--interface", "127.0.0.1", "--port", "0"];
    let running = Running::of(activated(listener, "$$", &other).spawn().unwrap());
    assert_eq!(running.line(), format!("listening on unix:{}", path.display()));
    // What is asked for is beside it.
    TcpStream::connect(running.address()).unwrap();
    UnixStream::connect(&path).unwrap();
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    fs::remove_file(path).expect("the file is the manager's to remove");
}

#[test]
fn sockets_of_another_process_are_none_of_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = listener.local_addr().unwrap().to_string();
    let arguments = ["echo", "--port", "0"];
    for pid in ["1", "''"] {
        let mut command = activated(listener.try_clone().unwrap(), pid, &arguments);
        if pid == "1" {
            let running = Running::of(command.spawn().unwrap());
            assert_ne!(running.address(), theirs);
        } else {
            // A variable that nobody can have meant is not guessed at.
            let output = finished(&mut command);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("LISTEN_PID is \"\", which is not a number"), "{said}");
        }
    }
}

#[test]
fn what_is_no_listener_is_refused_by_its_number() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let kinds: [(OwnedFd, &str); 3] = [
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), "a datagram socket (SOCK_DGRAM)"),
        (stream.into(), "a connection"),
        (fs::File::open("/dev/null").unwrap().into(), "a character device, such as a terminal"),
    ];
    for (socket, what) in kinds {
        for threads in ["1", "2"] {
            let output = finished(&mut activated(socket.try_clone().unwrap(), "$$", &["echo", "--threads", threads]));
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{said}");
            let wanted = format!(
                "sockeye: cannot listen on descriptor 3: it is {what}, and must be a listening stream socket; a socket unit \
                has to use ListenStream= and Accept=no\n"
            );
            assert!(said.ends_with(&wanted), "{said}");
        }
    }
}

#[test]
fn what_does_not_go_together_with_sockets_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for (arguments, text) in [
        (&["echo", "--daemonize"][..], "the service manager keeps it in the background already: leave --daemonize out"),
        (&["echo", "--backlog", "5"], "--backlog: the sockets that this was started with are open already"),
        (&["echo", "--unix-mode", "660"], "SocketMode="),
        (&["echo", "--ipv6-only"], "BindIPv6Only="),
        (&["serve", "--port", "18537"], "--port: the sockets that this was started with are open already"),
        (&["echo", "--port", "0"], "ListenStream="),
        (&["fraggle", "--port", "7681"], "--port: "),
    ] {
        let output = finished(&mut activated(listener.try_clone().unwrap(), "$$", arguments));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn a_manager_hears_what_the_service_does() {
    let manager = Manager::new("words");
    let log = std::env::temp_dir().join(format!("sockeye-manager-log-{}", std::process::id()));
    let arguments = ["echo", "--port", "0", "--log-to", log.to_str().unwrap()];
    let mut command = sockeye(&arguments);
    let running = Running::of(command.env("NOTIFY_SOCKET", &manager.path).spawn().unwrap());
    let ready = manager.heard();
    let address = running.address();
    assert_eq!(ready, format!("READY=1\nSTATUS=Serving on ws://{address}/\n"));
    let mut client = Client::open(&address, "").unwrap();
    running.signal(Signal::HUP);
    let reloading = manager.heard();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
    assert!(micros.parse::<u64>().is_ok(), "{reloading}");
    assert_eq!(manager.heard(), ready);
    running.signal(Signal::TERM);
    assert_eq!(manager.heard(), "STOPPING=1\nSTATUS=Closing connections\n");
    assert_eq!(client.closed(), 1001);
    client.send(CLOSE, &1001_u16.to_be_bytes());
    assert_eq!(running.ended().code(), Some(0));
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "each word is said once");
    fs::remove_file(log).unwrap();
}

#[test]
fn the_loops_of_all_threads_give_signs_of_life() {
    for threads in ["1", "2"] {
        let manager = Manager::new(&format!("watchdog-{threads}"));
        let mut command = sockeye(&["echo", "--port", "0", "--threads", threads]);
        command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "40000");
        let running = Running::of(command.spawn().unwrap());
        assert!(manager.heard().starts_with("READY=1\n"));
        for _ in 0..5 {
            assert_eq!(manager.heard(), "WATCHDOG=1\n");
        }
        // One that stands still is silent: what it said before is all there is.
        running.signal(Signal::STOP);
        running.stopped();
        manager.socket.set_nonblocking(true).unwrap();
        while manager.socket.recv(&mut [0; 64]).is_ok() {}
        assert!(manager.socket.recv(&mut [0; 64]).is_err());
        manager.socket.set_nonblocking(false).unwrap();
        running.signal(Signal::CONT);
        assert_eq!(manager.heard(), "WATCHDOG=1\n");
        running.signal(Signal::TERM);
        assert!(manager.news().starts_with("STOPPING=1\n"));
        assert_eq!(running.ended().code(), Some(0));
    }
}

#[test]
fn a_watchdog_of_another_process_and_a_manager_that_is_gone_are_no_obstacles() {
    let manager = Manager::new("other");
    let mut command = sockeye(&["echo", "--port", "0"]);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let running = Running::of(command.spawn().unwrap());
    assert!(manager.heard().starts_with("READY=1\n"));
    running.address();
    running.signal(Signal::TERM);
    assert!(manager.heard().starts_with("STOPPING=1\n"), "no sign of life was asked for");
    assert_eq!(running.ended().code(), Some(0));
    for (socket, word) in [("/no/such/socket", "cannot notify"), ("vsock:2:1", "absolute path")] {
        let mut command = sockeye(&["echo", "--port", "0"]);
        let running = Running::of(command.env("NOTIFY_SOCKET", socket).spawn().unwrap());
        running.address();
        assert!(running.log_line(word).contains("level=warn"));
        running.signal(Signal::TERM);
        assert_eq!(running.ended().code(), Some(0));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_manager_with_an_abstract_name_is_told() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("sockeye-manager-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = sockeye(&["echo", "--port", "0"]);
    let _running = Running::of(command.env("NOTIFY_SOCKET", format!("@{name}")).spawn().unwrap());
    let mut buffer = [0; 256];
    let count = socket.recv(&mut buffer).unwrap();
    assert!(buffer[..count].starts_with(b"READY=1\n"));
}

/// A daemon is not the process that was started, and says which one it is.
#[test]
fn a_daemon_names_itself_as_the_main_process() {
    let manager = Manager::new("daemon");
    let pid_file = std::env::temp_dir().join(format!("sockeye-manager-pid-{}", std::process::id()));
    let mut command = sockeye(&["echo", "--port", "0", "--daemonize", "--log-to", "/dev/null", "--pid-file"]);
    command.arg(&pid_file).env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "1000");
    let output = finished(&mut command);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let said = manager.news();
    let pid = said.strip_prefix("MAINPID=").unwrap().lines().next().unwrap();
    assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), pid);
    assert!(said.contains("\nREADY=1\nSTATUS=Serving on ws://127.0.0.1:"), "{said}");
    let process = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(process, Signal::TERM).unwrap();
    assert!(manager.news().starts_with("STOPPING=1\n"));
}

/// The unit in the repository is one that this command can be started by: with the socket that it asks for, and as it says.
#[test]
fn the_unit_starts_the_command() {
    let unit = |name: &str| {
        let path = format!("{}/../../systemd/{name}", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let (service, socket) = (unit("sockeye.service"), unit("sockeye.socket"));
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name}=")).to_owned()
    };
    assert_eq!(value(&service, "Type"), "notify");
    // What the command line cannot be is no better the next time.
    assert_eq!(value(&service, "RestartPreventExitStatus"), "2");
    let seconds: u64 = value(&service, "WatchdogSec").parse().unwrap();
    let line = value(&service, "ExecStart");
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("/usr/bin/sockeye"));
    let words: Vec<_> = words.collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let manager = Manager::new("unit");
    let mut command = activated(listener, "$$", &words);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", (seconds * 1_000_000).to_string());
    let running = Running::of(command.spawn().unwrap());
    assert_eq!(manager.heard(), format!("READY=1\nSTATUS=Serving on http://{address}/\n"));
    assert_eq!(manager.heard(), "WATCHDOG=1\n");
    let signal = value(&service, "ExecReload");
    assert_eq!(signal, "/bin/kill -HUP $MAINPID");
    running.signal(Signal::HUP);
    assert!(manager.news().starts_with("RELOADING=1\n") && manager.news().starts_with("READY=1\n"));
    running.signal(Signal::TERM);
    assert!(manager.news().starts_with("STOPPING=1\n"));
    assert_eq!(running.ended().code(), Some(0));
    // Where it listens is where it does without systemd.
    assert_eq!(value(&socket, "ListenStream"), "127.0.0.1:7681");
}

/// What the unit says of keys as credentials, with a folder of files that were copied as `LoadCredential=` does.
#[test]
fn the_unit_says_how_to_load_keys_as_credentials() {
    let path = format!("{}/../../systemd/sockeye.service", env!("CARGO_MANIFEST_DIR"));
    let unit = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let folder = Folder::new("credentials");
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let commented = || unit.lines().filter_map(|line| line.strip_prefix("#   "));
    let credentials: Vec<_> = commented().filter_map(|line| line.strip_prefix("LoadCredential=")).collect();
    assert_eq!(credentials.len(), 2);
    for credential in credentials {
        let (name, file) = credential.split_once(':').unwrap();
        let is_key = file.ends_with("/privkey.pem");
        fs::write(folder.path(name), if is_key { key.serialize_pem() } else { cert.pem() }).unwrap();
        fs::set_permissions(folder.path(name), Permissions::from_mode(0o400)).unwrap();
    }
    let line = commented().find(|line| line.contains("CREDENTIALS_DIRECTORY")).unwrap();
    let line = line.replace("${CREDENTIALS_DIRECTORY}", folder.0.to_str().unwrap());
    let words: Vec<_> = line.strip_prefix("ExecStart=/usr/bin/sockeye ").unwrap().split(' ').collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let manager = Manager::new("credentials");
    let mut command = activated(listener, "$$", &words);
    command.env("NOTIFY_SOCKET", &manager.path).env("CREDENTIALS_DIRECTORY", &folder.0);
    let running = Running::of(command.spawn().unwrap());
    assert_eq!(manager.heard(), format!("READY=1\nSTATUS=Serving on https://{address}/\n"));
    // A reload finds them in the same place.
    running.signal(Signal::HUP);
    assert!(manager.news().starts_with("RELOADING=1\n") && manager.news().starts_with("READY=1\n"));
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
}
