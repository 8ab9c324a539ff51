//! A network namespace of our own: a network that can be taken away.

use std::process::Command;
use std::thread;

use rustix::thread::UnshareFlags;

/// The only link of a namespace, its loopback.
pub(crate) struct Link;

impl Link {
    pub(crate) fn up(&self) {
        set("up");
    }

    /// From here on whatever is sent is lost, and nobody is told.
    pub(crate) fn down(&self) {
        set("down");
    }
}

fn set(state: &str) {
    let done =
        Command::new("ip").args(["link", "set", "lo", state]).status().expect("ip is installed: package iproute2");
    assert!(done.success(), "ip link set lo {state}");
}

/// Does `work` inside a new namespace, in which what it starts and connects lives too. Needs root.
pub(crate) fn isolated(work: impl FnOnce(&Link) + Send + 'static) {
    let inside = move || {
        // Namespaces belong to threads: what this one starts lives in the new one too.
        #[expect(
            deprecated,
            reason = "the sound replacement is an unsafe function; a thread without shared descriptors is fine"
        )]
        rustix::thread::unshare(UnshareFlags::NEWNET).expect("root");
        Link.up();
        work(&Link);
    };
    thread::spawn(inside).join().expect("the row holds");
}
