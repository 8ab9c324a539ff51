//! `sockeye serve --topics --backplane` with real brokers: TLS, and the end of a server that has messages on their way.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};

use crate::support::{CLOSE, Client, Folder, PATIENCE, Running, sockeye};
use crate::tls::Authority;

const TOPICS: &str = "sockeye.topics.v1";

/// A broker, which ends with the value.
struct Broker {
    child: Child,
    port: u16,
}

impl Broker {
    /// Starts it on a free port, which takes the place of `PORT`, and waits until it says these words.
    fn start(program: &str, package: &str, arguments: &[&str], words: &'static str) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(arguments.iter().map(|argument| argument.replace("PORT", &port.to_string())));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{program}: {error}; type: apt-get install {package}"));
        let mut broker = Self { child, port };
        let (sender, lines) = mpsc::channel();
        // They read on until it ends, so that it never waits for a full pipe.
        let (out, errors) = (broker.child.stdout.take().unwrap(), broker.child.stderr.take().unwrap());
        let others = sender.clone();
        thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        thread::spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).for_each(|line| drop(others.send(line)));
        });
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains(words)) {
            said.push(lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no {words:?} ({error}): {said:#?}")));
        }
        broker
    }

    fn redis(arguments: &[&str]) -> Self {
        let all = [&["--bind", "127.0.0.1", "--save", ""], arguments].concat();
        Self::start("redis-server", "redis-server", &all, "Ready to accept connections")
    }

    fn nats(arguments: &[&str]) -> Self {
        let all = [&["--addr", "127.0.0.1", "--port", "PORT"], arguments].concat();
        // Where it is on Debian, for users whose search path lacks it.
        Self::start("/usr/sbin/nats-server", "nats-server", &all, "Server is ready")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it, and waits until all of its threads have stopped: on a busy machine they go on for a moment.
    fn stop(&self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).unwrap();
        assert!(stopped.is_some_and(|(_, status)| status.stopped()), "{stopped:?}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A hub at this broker. `roots` is what it takes for the roots of the system.
fn hub(url: &str, history: &str, roots: Option<&str>) -> Running {
    let words = ["serve", "--topics", "--open-publish", "--port", "0", "--history", history, "--backplane", url];
    let mut command = sockeye(&words);
    if let Some(roots) = roots {
        command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
    }
    Running::of(command.spawn().unwrap())
}

fn json_of(client: &mut Client) -> Value {
    serde_json::from_slice(&client.frame().1).unwrap()
}

fn ask(client: &mut Client, what: &Value) -> Value {
    client.text(&what.to_string());
    json_of(client)
}

fn subscribe(client: &mut Client) {
    let answer = ask(client, &json!({"type": "subscribe", "id": 0, "topic": "t"}));
    assert_eq!(answer["type"], "subscribed", "{answer}");
}

#[test]
fn brokers_are_spoken_to_by_tls_if_their_certificates_are_right() {
    let (folder, authority, stranger) = (Folder::new("broker"), Authority::new("a"), Authority::new("b"));
    let (chain, key) = authority.issue(&folder, "broker", &["127.0.0.1"]);
    let (roots, others) = (folder.path("roots"), folder.path("others"));
    fs::write(&roots, &authority.pem).unwrap();
    fs::write(&others, &stranger.pem).unwrap();
    let store = folder.path("nats");
    let tls = ["--port", "0", "--tls-port", "PORT", "--tls-cert-file", &chain, "--tls-key-file", &key];
    let redis = Broker::redis(&[&tls[..], &["--tls-auth-clients", "no", "--tls-ca-cert-file", &roots]].concat());
    let nats = Broker::nats(&["--tls", "--tlscert", &chain, "--tlskey", &key, "--jetstream", "--store_dir", &store]);
    // NATS asks for it by itself.
    for (scheme, port) in [("rediss", redis.port), ("tls", nats.port), ("nats", nats.port)] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        for history in ["0", "10"] {
            let hubs = [hub(&url, history, Some(&roots)), hub(&url, history, Some(&roots))];
            let [mut reader, mut writer] = hubs.each_ref().map(|hub| {
                let address = hub.address();
                hub.log_line("the broker is connected");
                Client::speaking(&address, TOPICS)
            });
            subscribe(&mut reader);
            let publish = json!({"type": "publish", "id": 1, "topic": "t", "data": url});
            assert_eq!(ask(&mut writer, &publish)["type"], "published", "{url}");
            assert_eq!(json_of(&mut reader)["data"], *url);
        }
        let wrong = hub(&url, "0", Some(&others));
        let line = wrong.log_line("the broker is not connected");
        assert!(line.contains("certificate"), "{line}");
    }
}

/// What became of the messages of a client whose server ends.
#[derive(Default)]
struct Fates {
    published: BTreeSet<u64>,
    /// Refused, or unknown.
    others: BTreeSet<u64>,
}

/// Reads answers until the server closes the connection, which it has to do with a code that means to come back.
fn read_to_the_end(client: &mut Client) -> Fates {
    let mut fates = Fates::default();
    loop {
        let (opcode, payload) = client.frame();
        if opcode == CLOSE {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            assert!([1001, 1012].contains(&code), "{code}");
            return fates;
        }
        let answer: Value = serde_json::from_slice(&payload).unwrap();
        let id = answer["id"].as_u64().unwrap();
        let is_new = match answer["type"].as_str() {
            Some("published") => fates.published.insert(id),
            _ => fates.others.insert(id),
        };
        assert!(is_new, "two answers: {answer}");
    }
}

/// A server ends while publishers wait for answers: each gets them, or the end of its connection, and what was confirmed is seen elsewhere.
fn drain(broker: &Broker, url: &str, history: &str, is_stuck: bool) {
    const EACH: u64 = 300;
    let (ending, other) = (hub(url, history, None), hub(url, history, None));
    let address = ending.address();
    let mut reader = Client::speaking(&other.address(), TOPICS);
    ending.log_line("the broker is connected");
    other.log_line("the broker is connected");
    subscribe(&mut reader);
    let mut writers: Vec<Client> = (0..3).map(|_| Client::speaking(&address, TOPICS)).collect();
    if is_stuck {
        broker.stop();
    }
    for (number, writer) in writers.iter_mut().enumerate() {
        for id in 0..EACH {
            let data = format!("{number} {id}");
            writer.text(&json!({"type": "publish", "id": id, "topic": "t", "data": data}).to_string());
        }
    }
    if !is_stuck {
        // Some of it has arrived, so the rest is on its way.
        for writer in &mut writers {
            assert_eq!(json_of(writer)["type"], "published");
        }
    }
    ending.signal(Signal::TERM);
    let fates: Vec<Fates> = writers.iter_mut().map(read_to_the_end).collect();
    assert!(ending.ended().success());
    if is_stuck {
        broker.signal(Signal::CONT);
        assert!(fates.iter().all(|fates| fates.published.is_empty()));
        return;
    }
    let mut confirmed: BTreeSet<String> = BTreeSet::new();
    for (number, fates) in fates.iter().enumerate() {
        confirmed.extend(fates.published.iter().map(|id| format!("{number} {id}")));
    }
    while !confirmed.is_empty() {
        let message = json_of(&mut reader);
        confirmed.remove(message["data"].as_str().unwrap_or_else(|| panic!("{message}; {confirmed:?} is missing")));
    }
}

#[test]
fn a_server_that_ends_leaves_no_publisher_without_an_end() {
    let folder = Folder::new("drain");
    let store = folder.path("nats");
    let redis = Broker::redis(&["--port", "PORT"]);
    let nats = Broker::nats(&["--jetstream", "--store_dir", &store]);
    for (broker, scheme) in [(&redis, "redis"), (&nats, "nats")] {
        let url = format!("{scheme}://127.0.0.1:{}", broker.port);
        for history in ["0", "10000"] {
            drain(broker, &url, history, false);
        }
        drain(broker, &url, "10000", true);
    }
}
