//! `serve` and `echo` with several threads. To which of them a connection comes, nobody can choose: that forty come to the
//! same of two is a chance of 2^-39.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{
    BINARY, Client, PATIENCE, PING, PONG, Running, TEXT, failure, finished, get, program, without_manager,
};

const MIRROR: &str = "lws-mirror-protocol";
const MANY: usize = 40;

fn running(arguments: &[&str]) -> (Running, String) {
    let (subcommand, rest) = arguments.split_first().unwrap();
    let running = Running::start(&[&[*subcommand, "--port", "0"], rest].concat());
    let address = running.address();
    (running, address)
}

/// Connections that take part: each has had an answer.
fn many(address: &str, protocol: &str) -> Vec<Client> {
    let open = |_| {
        let mut client = Client::speaking(address, protocol);
        client.send(PING, b"");
        assert_eq!(client.frame(), (PONG, Vec::new()));
        client
    };
    (0..MANY).map(open).collect()
}

#[test]
fn a_stroke_of_one_of_many_reaches_all_in_one_order() {
    let (_running, address) = running(&["serve", "--threads", "2"]);
    let mut clients = many(&address, MIRROR);
    clients[7].text("d #000000 1 2 3 4;");
    for client in &mut clients {
        client.expect("d #000000 1 2 3 4;");
    }
    // All draw at once.
    for (number, client) in clients.iter_mut().enumerate() {
        client.text(&format!("first {number}"));
        client.text(&format!("second {number}"));
    }
    let heard: Vec<Vec<Vec<u8>>> =
        clients.iter_mut().map(|client| (0..2 * MANY).map(|_| client.frame().1).collect()).collect();
    assert!(heard.iter().all(|other| *other == heard[0]), "one order for all");
}

#[test]
fn a_broadcast_of_echo_reaches_all_and_the_rest_stays_between_two() {
    let (_running, address) = running(&["echo", "--threads", "2", "--broadcast", "all:"]);
    let mut clients = many(&address, "anything");
    clients[3].text("all:hello");
    clients[4].send(BINARY, b"all:\0");
    clients[5].text("own");
    let mut texts = 0;
    for (number, client) in clients.iter_mut().enumerate() {
        let mut heard: Vec<_> = (0..2 + usize::from(number == 5)).map(|_| client.frame()).collect();
        heard.sort();
        assert!(heard.contains(&(BINARY, b"all:\0".to_vec())));
        assert!(heard.contains(&(TEXT, b"all:hello".to_vec())));
        texts += usize::from(heard.contains(&(TEXT, b"own".to_vec())));
    }
    assert_eq!(texts, 1);
}

#[test]
fn a_signal_ends_all_threads_in_good_order() {
    let (running, address) = running(&["echo", "--threads", "2"]);
    let mut clients = many(&address, "anything");
    running.signal(Signal::USR1);
    let told = [running.log_line("msg=statistics"), running.log_line("msg=statistics")];
    running.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.closed(), 1001);
    }
    drop(clients);
    let done = [running.log_line("final statistics of a thread"), running.log_line("final statistics of a thread")];
    for lines in [told, done] {
        assert!(lines.iter().any(|line| line.contains("thread=0")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("thread=1")), "{lines:?}");
    }
    assert!(running.ended().success());
}

#[test]
fn page_and_counter_are_there_in_every_thread() {
    let (_running, address) = running(&["serve", "--threads", "3"]);
    for _ in 0..MANY {
        assert!(get(&address, "/").0.starts_with("HTTP/1.1 200 "));
    }
    let mut counters: Vec<_> = (0..MANY).map(|_| Client::speaking(&address, "dumb-increment-protocol")).collect();
    for counter in &mut counters {
        counter.expect("0");
        counter.expect("1");
    }
}

/// Far more than the ring and all socket buffers hold.
#[test]
fn a_slow_reader_holds_the_writers_of_all_threads_back_and_misses_nothing() {
    const MESSAGES: usize = 2_000;
    let (running, address) = running(&["serve", "--threads", "2", "--log-level", "info"]);
    let mut clients = many(&address, MIRROR);
    let mut slow = clients.pop().unwrap();
    let padding = "x".repeat(8_000);
    std::thread::scope(|scope| {
        for (writer, mut client) in clients.into_iter().take(4).enumerate() {
            let mut own = client.reader();
            let padding = &padding;
            scope.spawn(move || (0..4 * MESSAGES).for_each(|_| _ = own.frame()));
            scope.spawn(move || {
                (0..MESSAGES).for_each(|number| client.text(&format!("{writer} {number} {padding}")));
                client
            });
        }
        running.log_line("stops reading until");
        let mut next = [0; 4];
        for _ in 0..4 * MESSAGES {
            let text = String::from_utf8(slow.frame().1).unwrap();
            let mut words = text.split(' ');
            let writer: usize = words.next().unwrap().parse().unwrap();
            assert_eq!(words.next().unwrap().parse(), Ok(next[writer]));
            next[writer] += 1;
        }
        assert_eq!(next, [MESSAGES; 4]);
    });
}

/// All that read nothing are closed, whatever thread they are in; then the one that reads goes on.
#[test]
fn dead_readers_of_any_thread_do_not_stop_the_others() {
    const MESSAGES: usize = 2_000;
    let (running, address) = running(&["serve", "--threads", "2"]);
    let mut dead = many(&address, MIRROR);
    let mut alive = dead.pop().unwrap();
    let mut writer = alive.reader();
    let writing = std::thread::spawn(move || (0..MESSAGES).for_each(|_| writer.text(&"x".repeat(8_000))));
    let reading = std::thread::spawn(move || (0..MESSAGES).for_each(|_| _ = alive.frame()));
    let mut closed = 0;
    while closed < dead.len() {
        let line = running.log_line("read too slowly");
        let count = line.split("count=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        closed += count.parse::<usize>().unwrap();
    }
    writing.join().unwrap();
    reading.join().unwrap();
}

#[test]
fn what_cannot_be_is_refused_as_with_one_thread() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let path = std::env::temp_dir().join(format!("sockeye-cli-threads-{}", std::process::id()));
    let unix = format!("unix:{}", path.display());
    for (arguments, text) in [
        (&["echo", "--port", &port][..], "another program listens there"),
        (&["serve", "/no/such/folder", "--port", "0"], "cannot serve the folder /no/such/folder"),
        (&["serve", "--port", "0", "--origin", "example.com"], "--origin example.com"),
        (&["echo", "--interface", &unix], "cannot be shared by several threads"),
        (&["echo", "--port", "0", "--max-connections", "1"], "less than one for each"),
    ] {
        let (code, said) = failure(&[arguments, &["--threads", "2"]].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(text) && !said.contains("thread 0:"), "{arguments:?}: {said}");
    }
    assert!(!path.exists());
}

/// The numbers of all threads, whichever is asked: on the page at most a second later, on SIGUSR1 and at the end exactly.
#[test]
fn what_all_threads_did_is_told_together() {
    let (running, address) = running(&["serve", "--threads", "2", "--metrics", "/metrics", "--log-format", "human"]);
    let mut clients = many(&address, MIRROR);
    // They have an answer, so both threads know of them; the copies of their numbers come on their own.
    let begin = Instant::now();
    let wanted =
        [format!("sockeye_websockets {MANY}"), format!("sockeye_received_frames_total{{kind=\"ping\"}} {MANY}")];
    loop {
        let page = String::from_utf8(get(&address, "/metrics").1).unwrap();
        if wanted.iter().all(|wanted| page.lines().any(|line| line == wanted)) {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{page}");
    }
    running.signal(Signal::USR1);
    // Of each thread, on every line of it.
    for _ in 0..2 {
        let header = running.log_line(" seconds=");
        let thread = header.split(' ').find(|field| field.starts_with("thread=")).expect("its number");
        for begin in ["connections now=", "stalls count="] {
            let line = running.log_line(begin);
            assert!(line.ends_with(&format!(" {thread}")), "{line}");
        }
    }
    running.log_line("statistics of all threads");
    let line = running.log_line("websockets now=");
    assert!(line.contains(&format!("websockets now={MANY} ")), "{line}");
    running.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.closed(), 1001);
    }
    drop(clients);
    // Whichever ends first is the first.
    for _ in 0..2 {
        let header = running.log_line("final statistics of a thread");
        let thread = header.split(' ').find(|field| field.starts_with("thread=")).expect("its number");
        let line = running.log_line("stalls count=");
        assert!(line.ends_with(&format!(" {thread}")), "{line}");
    }
    running.log_line("final statistics of all threads");
    let line = running.log_line("websockets now=");
    assert!(line.contains(" now=0 ") && line.contains(&format!(" opened_by_peers={MANY} ")), "{line}");
    assert!(running.ended().success());
}

#[test]
fn too_few_descriptors_are_told_with_the_way_to_more() {
    let script = "ulimit -n 40; exec \"$0\" echo --port 0 --threads 64";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program()).stdin(Stdio::null());
    without_manager(&mut command);
    let output = finished(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{said}");
    assert!(
        said.contains("Too many open files") && said.ends_with("; raise the descriptor limit (ulimit -n)\n"),
        "{said}"
    );
}

/// Two servers that share by intent must not share by accident.
#[test]
fn a_second_server_is_refused_the_port() {
    let (_running, address) = running(&["echo", "--threads", "2"]);
    let port = address.rsplit(':').next().unwrap();
    let (code, said) = failure(&["echo", "--threads", "2", "--port", port]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("another program listens there"), "{said}");
}
