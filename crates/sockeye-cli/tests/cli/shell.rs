//! The command as a shell sees it: options, output, errors, signals, exit codes.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::support::{CLOSE, Client, Running, failure, fed, finished, output, program, sockeye};
use nix::sys::signal::SigSet;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn help_has_the_options_and_examples() {
    for (subcommand, words) in [
        ("serve", &["--port", "7681", "--interface", "127.0.0.1", "--origin", "--close-test", "--max-connections"][..]),
        ("echo", &["--port", "9001", "--interface", "--max-message", "--broadcast", "--log-level"]),
        ("bench", &["--connections", "--pipeline", "--rate", "--fail-if", "--json", "p99>5ms", "--header", "20:90%"]),
        ("fraggle", &["--port", "--count", "--seed", "--interface", "--proxy"]),
        ("connect", &["--expect", "--topic", "--since", "--last", "--presence", "--token-file", "subscribed  topic"]),
        ("publish", &["--message-key", "--file", "--token", "SOCKEYE_TOKEN", "--binary", "--header", "Exit status"]),
    ] {
        let output = output(&[subcommand, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("Examples:\n  sockeye {subcommand}")), "{text}");
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    let text = String::from_utf8(output(&["--help"]).stdout).unwrap();
    assert!(text.contains("serve") && text.contains("echo") && text.contains("Exit status"), "{text}");
}

#[test]
fn completions_and_pages_are_written() {
    let script = output(&["completions", "bash"]);
    assert_eq!(script.status.code(), Some(0));
    let script = String::from_utf8(script.stdout).unwrap();
    assert!(script.contains("complete -F _sockeye") || script.contains("_sockeye()"), "{script}");
    let folder = std::env::temp_dir().join(format!("sockeye-man-{}", std::process::id()));
    let out = folder.join("new");
    assert_eq!(output(&["man", out.to_str().unwrap()]).status.code(), Some(0));
    let page = std::fs::read_to_string(out.join("sockeye-echo.1")).unwrap();
    assert!(page.contains(".TH sockeye-echo 1") && page.contains("EXAMPLES"), "{page}");
    std::fs::remove_dir_all(&folder).unwrap();
    let (code, error) = failure(&["man", "/dev/null/man"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("/dev/null/man"), "{error}");
}

#[test]
fn version() {
    let output = output(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), concat!("sockeye ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn usage_errors_exit_with_2_and_name_what_is_wrong() {
    for (arguments, word) in [
        (&[][..], "Usage"),
        (&["sing"], "sing"),
        (&["serve", "--sing"], "--sing"),
        (&["serve", "--threads", "two"], "--threads"),
        (&["serve", "--port", "65536"], "65536"),
        (&["serve", "--log-level", "loud"], "loud"),
        (&["serve", "--log-to", "journald"], "journal, or a path"),
        (&["serve", "--log-to", "syslog", "--log-format", "json"], "standard error and files"),
        (&["serve", "--log-to", "/no/such/folder/log"], "/no/such/folder/log"),
        (&["serve", "--max-connections", "0"], "0 would refuse every client"),
        (&["serve", "--max-connections", "many"], "such as 1000"),
        (&["serve", "--max-memory", "1000"], "at least 1M"),
        (&["serve", "--max-memory", "2M", "--threads", "3"], "at least 3M"),
        (&["serve", "8080"], "write --port 8080"),
        (&["serve", "--origin", "example.com"], "example.com"),
        (&["serve", "--origin", "https://example.com/"], "so write https://example.com\n"),
        (&["serve", "--origin", "https://example.com:8443/chat?room=1"], "so write https://example.com:8443\n"),
        (&["serve", "--port", "0", "/no/such/folder"], "/no/such/folder"),
        (&["echo", "--max-message", "lots"], "64KiB"),
        (&["echo", "--interface", "127.0.0.1:80"], "separate option"),
        (&["echo", "--interface", "unix:@"], "@ and a name"),
        (&["echo", "--unix-mode", "rw"], "such as 660"),
        (&["echo", "--unix-mode", "444"], "connecting requires write permission"),
        (&["echo", "--unix-mode", "660"], "--interface unix:/run/x.sock"),
        (&["serve", "--ipv6-only"], "--interface ::"),
        (&["serve", "--backlog", "0"], "--backlog"),
        (&["serve", "--tcp-keepalive", "60,10"], "60,10,6"),
        (
            &["echo", "--interface", "unix:x", "--tcp-keepalive", "60s"],
            "--tcp-keepalive: does not apply to Unix sockets",
        ),
        (&["echo", "--interface", "unix:@x", "--tcp-user-timeout", "30"], "--tcp-user-timeout: does not apply"),
        (&["connect", "unix:/x"], "for a Unix socket, --connect-to unix:/x beside the URL"),
        (&["bench", "unix:@x"], "--connect-to unix:@x"),
        (&["serve", "--tcp-user-timeout", "0"], "greater than 0"),
        (&["serve", "--tcp-user-timeout", "600h"], "24 days"),
        (&["fraggle", "ws://127.0.0.1/", "--backlog", "1"], "--backlog"),
    ] {
        let (code, error) = failure(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
}

#[test]
fn bad_addresses_exit_with_2_and_say_what_to_do() {
    let long = format!("unix:/tmp/{}", "x".repeat(108));
    for (interface, word) in
        [("nosuch0", "127.0.0.1"), ("192.0.2.1", "192.0.2.1"), (&long, "107 bytes"), ("unix:/no/such/x", "/no/such/x")]
    {
        let (code, error) = failure(&["echo", "--port", "0", "--interface", interface]);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.starts_with("sockeye: ") && error.contains(word), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_port_in_use_exits_with_2_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for subcommand in ["serve", "echo"] {
        let (code, error) = failure(&[subcommand, "--port", &address.port().to_string()]);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(&address.to_string()) && error.contains("--port"), "{error}");
    }
}

#[test]
fn port_0_prints_the_port_that_was_taken() {
    for subcommand in ["serve", "echo"] {
        let running = Running::start(&[subcommand, "--port", "0"]);
        let address = running.address();
        assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{address}");
        TcpStream::connect(&address).unwrap();
    }
}

#[test]
fn every_listener_has_its_line() {
    let running = Running::start(&["echo", "--port", "0", "--interface", "127.0.0.1", "--interface", "127.0.0.2"]);
    let (first, second) = (running.address(), running.address());
    assert!(first.starts_with("127.0.0.1:") && second.starts_with("127.0.0.2:"), "{first} {second}");
    let name = Running::start(&["echo", "--port", "0", "--interface", "lo"]);
    TcpStream::connect(name.address()).unwrap();
}

#[test]
fn localhost_is_an_interface() {
    let running = Running::start(&["echo", "--port", "0", "--interface", "localhost"]);
    let address = running.address();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    TcpStream::connect(address).unwrap();
}

#[test]
fn more_connections_than_there_are_descriptors_is_a_warning() {
    let running = Running::start(&["echo", "--port", "0", "--max-connections", "1000000000"]);
    running.address();
    let line = running.log_line("--max-connections");
    assert!(line.contains("level=warn") && line.contains("wanted=1000000000 max_connections="), "{line}");
}

#[test]
fn ipv6_is_printed_in_brackets() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let running = Running::start(&["echo", "--port", "0", "--interface", "::1"]);
    let address = running.address();
    assert!(address.starts_with("[::1]:"), "{address}");
    TcpStream::connect(address).unwrap();
}

#[test]
fn a_unix_socket_is_printed_as_it_was_written_and_is_removed() {
    let path = std::env::temp_dir().join(format!("sockeye-cli-{}", std::process::id()));
    let interface = format!("unix:{}", path.display());
    // A server that was killed leaves its socket behind; the next one takes it over.
    for round in 0..2 {
        let running = Running::start(&["echo", "--interface", &interface]);
        assert_eq!(running.line(), format!("listening on {interface}"));
        UnixStream::connect(&path).unwrap();
        running.signal(if round == 0 { Signal::KILL } else { Signal::TERM });
        running.ended();
    }
    assert!(!path.exists());
}

#[test]
fn the_file_of_a_unix_socket_has_the_mode_of_the_command_line() {
    let path = std::env::temp_dir().join(format!("sockeye-cli-mode-{}", std::process::id()));
    let interface = format!("unix:{}", path.display());
    // Beside it what has no file, and no mode.
    let line = ["echo", "--interface", &interface, "--interface", "127.0.0.1", "--port", "0", "--unix-mode", "620"];
    let running = Running::start(&line);
    assert_eq!(running.line(), format!("listening on {interface}"));
    running.address();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o620);
    running.signal(Signal::TERM);
    running.ended();
    assert!(!path.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_socket_is_served_and_connected_to_by_its_name() {
    let interface = format!("unix:@sockeye-cli-{}", std::process::id());
    let running = Running::start(&["echo", "--interface", &interface]);
    assert_eq!(running.line(), format!("listening on {interface}"));
    let (code, out, err) = fed(&["connect", "ws://x/", "--connect-to", &interface, "-q", "-n", "1"], b"hello\n");
    assert_eq!((code, out.as_str()), (Some(0), "hello\n"), "{err}");
    let (code, error) = failure(&["echo", "--interface", &interface]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains(&interface) && error.ends_with("another socket has this name: choose another\n"), "{error}");
    running.signal(Signal::TERM);
    running.ended();
    // The name is free again: nothing was left behind.
    assert_eq!(Running::start(&["echo", "--interface", &interface]).line(), format!("listening on {interface}"));
}

/// The system's list of sockets says of each which timer runs, and when it is due: of an accepted
/// one that of the keepalive.
#[cfg(target_os = "linux")]
#[test]
fn the_keepalive_of_the_command_line_is_that_of_accepted_sockets() {
    let running = Running::start(&["echo", "--port", "0", "--tcp-keepalive", "7777,11,7", "--backlog", "17"]);
    let address = running.address();
    let stream = TcpStream::connect(&address).unwrap();
    let near = format!("0100007F:{:04X}", stream.peer_addr().unwrap().port());
    let far = format!("0100007F:{:04X}", stream.local_addr().unwrap().port());
    // Who came later was answered, so the first one was accepted; and with nothing under way no
    // other timer runs for it.
    drop(Client::open(&address, "").unwrap());
    let list = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let sockets: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    let accepted = sockets.iter().find(|fields| fields[1] == near && fields[2] == far).unwrap();
    let (timer, due) = accepted[5].split_once(':').unwrap();
    let seconds = u64::from_str_radix(due, 16).unwrap() / 100;
    // 2 is the keepalive's; a second has a hundred ticks, and the system's own time would be 7,200 seconds.
    assert!(timer == "02" && (7700..=7777).contains(&seconds), "{timer} {seconds}");
}

#[test]
fn dual_stack_and_ipv6_only_are_told_apart() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    for (option, reached) in [(None, true), (Some("--ipv6-only"), false)] {
        let line: Vec<_> = ["echo", "--port", "0", "--interface", "::"].into_iter().chain(option).collect();
        let running = Running::start(&line);
        let address = running.address();
        let port: u16 = address.strip_prefix("[::]:").unwrap().parse().unwrap();
        TcpStream::connect(("::1", port)).unwrap();
        assert_eq!(TcpStream::connect(("127.0.0.1", port)).is_ok(), reached, "{option:?}");
    }
}

#[test]
fn signals_end_it_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let running = Running::start(&["serve", "--port", "0"]);
        running.address();
        running.signal(signal);
        assert_eq!(running.ended().code(), Some(0));
    }
}

#[test]
fn connections_are_closed_with_1001() {
    let running = Running::start(&["serve", "--port", "0"]);
    let mut client = Client::speaking(&running.address(), "lws-mirror-protocol");
    running.signal(Signal::TERM);
    assert_eq!(client.closed(), 1001);
    client.send(CLOSE, &1001_u16.to_be_bytes());
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let running = Running::start(&["echo", "--port", "0"]);
    let mut client = Client::open(&running.address(), "").unwrap();
    running.signal(Signal::TERM);
    assert_eq!(client.closed(), 1001);
    // The client does not answer, so the closing handshake would take its time.
    assert_eq!(running.ended_by(Signal::TERM).signal(), Some(15));
}

#[test]
fn two_signals_at_once_are_one() {
    // timeout(1) signals a process, and then its group.
    for command in ["serve", "echo"] {
        for _ in 0..8 {
            let running = Running::start(&[command, "--port", "0"]);
            let mut client = Client::open(&running.address(), "").unwrap();
            running.signal(Signal::TERM);
            running.signal(Signal::TERM);
            assert_eq!(client.closed(), 1001);
            client.send(CLOSE, &1001_u16.to_be_bytes());
            assert_eq!(running.ended().code(), Some(0));
        }
    }
}

#[test]
fn a_signal_that_comes_while_it_starts_is_not_lost() {
    // Each handler takes its time to be set, so that the signal comes in between.
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=rt_sigaction", "-e", "inject=rt_sigaction:delay_exit=100000"]);
    command.arg(program()).args(["serve", "--port", "0"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let strace = command.spawn().expect("strace is needed: install it");
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    let running = Running::of(strace);
    running.log_line("rt_sigaction(SIGTERM, {sa_handler=0x");
    let child = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(child).unwrap(), Signal::TERM).unwrap();
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn signals_that_were_blocked_by_whoever_started_it_end_it_all_the_same() {
    for (arguments, code) in
        [(&["serve", "--port", "0"][..], 0), (&["echo", "--port", "0"], 0), (&["fraggle", "--port", "0"], 0)]
    {
        // A child has the signals blocked that are blocked in the thread that makes it.
        let blocked = || {
            SigSet::all().thread_block().unwrap();
            sockeye(arguments).spawn().unwrap()
        };
        let running = Running::of(std::thread::scope(|scope| scope.spawn(blocked).join().unwrap()));
        running.line();
        running.signal(Signal::TERM);
        assert_eq!(running.ended().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn nobody_has_to_read_what_it_prints() {
    let running =
        Running::of(sockeye(&["echo", "--port", "0", "--log-level", "info"]).stdout(nobody()).spawn().unwrap());
    running.log_line("standard output is closed");
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    for (arguments, code) in
        [(&["--help"][..], 0), (&["serve", "--help"], 0), (&["--version"], 0), (&["serve", "--sing"], 2)]
    {
        let mut command = sockeye(arguments);
        command.stdout(nobody()).stderr(nobody());
        assert_eq!(finished(&mut command).status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn nobody_has_to_read_the_log() {
    let running =
        Running::of(sockeye(&["echo", "--port", "0", "--log-level", "debug"]).stderr(nobody()).spawn().unwrap());
    let mut client = Client::open(&running.address(), "").unwrap();
    client.text("still there");
    client.expect("still there");
}

/// An output that nobody reads any more: writing to it fails.
fn nobody() -> OwnedFd {
    UnixStream::pair().unwrap().0.into()
}

#[test]
fn the_limit_of_descriptors_is_said_at_the_start() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]).arg(program()).args(["echo", "--port", "0"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::of(command.spawn().unwrap());
    let line = running.log_line("limit of connections");
    let number = |name: &str| -> u64 {
        let rest = line.split_once(name).unwrap_or_else(|| panic!("{name}: {line}")).1;
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(number(" descriptor_limit="), 100, "{line}");
    // Sixteen are kept free.
    assert_eq!(number(" max_connections="), 100 - 16 - number(" descriptors="), "{line}");
    running.address();
}

#[test]
fn usr1_has_statistics_logged_and_hup_changes_nothing() {
    for arguments in [&["serve", "--port", "0"][..], &["echo", "--port", "0"]] {
        let running = Running::start(arguments);
        let address = running.address();
        let clients: Vec<_> = (0..3).map(|_| Client::open(&address, "").unwrap()).collect();
        running.signal(Signal::USR1);
        let line = running.log_line("statistics");
        assert!(line.contains(" connections=3 max_connections=") && line.contains(" descriptors="), "{line}");
        running.log_line("msg=websockets now=3 peak=3 opened_by_peers=3 opened_by_us=0 closed=0");
        running.signal(Signal::HUP);
        running.log_line("nothing to reload");
        running.signal(Signal::PIPE);
        drop(clients);
        // It still serves, and ends as ever.
        Client::open(&address, "").unwrap();
        running.signal(Signal::TERM);
        assert_eq!(running.ended().code(), Some(0));
    }
}
