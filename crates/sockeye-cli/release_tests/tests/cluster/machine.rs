//! A machine of its own for a server: a network namespace with two links, one to the clients and one to the broker, which can be
//! set down. Packets are lost then, and neither side gets an error.

use std::panic::resume_unwind;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::thread::{UnshareFlags, gettid};

/// Where the clients reach the server, and where the server reaches the broker.
pub(crate) const SERVER: &str = "10.99.0.2";
pub(crate) const BROKER: &str = "10.99.1.1";

/// Does `work` inside a new network of its own, in which what it starts and connects lives too.
pub(crate) fn isolated(work: impl FnOnce() + Send + 'static) {
    let inside = move || {
        unshare();
        ip("link set lo up");
        work();
    };
    thread::spawn(inside).join().unwrap_or_else(|panic| resume_unwind(panic));
}

pub(crate) struct Machine {
    /// For the thread that lives there.
    commands: Sender<Command>,
    children: Receiver<std::io::Result<Child>>,
}

impl Machine {
    /// Beside the network of this thread.
    pub(crate) fn new() -> Self {
        let (commands, asked) = mpsc::channel::<Command>();
        let (answers, children) = mpsc::channel();
        let (says, hears) = mpsc::channel();
        thread::spawn(move || {
            unshare();
            says.send(gettid()).expect("the test");
            while let Ok(mut command) = asked.recv() {
                answers.send(command.spawn()).expect("the test");
            }
        });
        let thread = hears.recv().expect("root: a network namespace of its own needs CAP_SYS_ADMIN and CAP_NET_ADMIN");
        let machine = Self { commands, children };
        for (name, net) in [("clients", "10.99.0"), ("broker", "10.99.1")] {
            ip(&format!("link add {name} type veth peer name {name} netns {}", thread.as_raw_nonzero()));
            ip(&format!("address add {net}.1/24 dev {name}"));
            ip(&format!("link set {name} up"));
            machine.ip(&format!("address add {net}.2/24 dev {name}"));
            machine.ip(&format!("link set {name} up"));
        }
        machine
    }

    /// Starts a program there.
    pub(crate) fn spawn(&self, command: Command) -> std::io::Result<Child> {
        self.commands.send(command).expect("the thread that lives there");
        self.children.recv().expect("the thread that lives there")
    }

    /// Takes the link to the broker away.
    pub(crate) fn unplug(&self) {
        ip("link set broker down");
    }

    pub(crate) fn plug_in(&self) {
        ip("link set broker up");
    }

    fn ip(&self, words: &str) {
        let mut child = self.spawn(ip_command(words)).expect(IP);
        assert!(child.wait().expect("the end of ip").success(), "ip {words}");
    }
}

fn ip(words: &str) {
    assert!(ip_command(words).status().expect(IP).success(), "ip {words}");
}

fn ip_command(words: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(words.split(' '));
    command
}

/// Namespaces belong to threads: what this one starts lives in the new one too.
fn unshare() {
    #[expect(
        deprecated,
        reason = "the sound replacement is an unsafe function; a thread without shared descriptors is fine"
    )]
    let done = rustix::thread::unshare(UnshareFlags::NEWNET);
    done.expect("root: a network namespace of its own needs CAP_SYS_ADMIN and CAP_NET_ADMIN");
}

const IP: &str = "ip is installed: package iproute2";
