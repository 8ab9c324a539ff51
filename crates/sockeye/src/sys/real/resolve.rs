//! Looking names up on threads of their own.
//!
//! What to know before editing: `getaddrinfo` blocks for as long as it likes and cannot be cancelled, so nothing here ever
//! waits for a helper, nor joins one. What they share with the loop is behind one lock, which no thread holds while looking
//! up.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::sys::{QUESTIONS, Resolved, Wake};

#[cfg(test)]
mod tests;

/// Questions, answers, and up to [`HELPERS`] threads between them, started when they are needed. Dropping it leaves them to
/// end by themselves, and what they find then is dropped too.
pub(super) struct Resolver {
    shared: Arc<Shared>,
    lookup: Lookup,
    idle: Duration,
}

type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

impl Resolver {
    pub(super) fn new(waker: Arc<dyn Wake>) -> Self {
        Self::with(waker, lookup, IDLE)
    }

    fn with(waker: Arc<dyn Wake>, lookup: Lookup, idle: Duration) -> Self {
        let state = State { waker: Some(waker), ..State::default() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), asked: Condvar::new() }), lookup, idle }
    }

    pub(super) fn ask(&self, ticket: u64, host: &str, port: u16) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.under_way >= QUESTIONS {
            let text = format!("{QUESTIONS} names are being looked up already");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        if let Some(addresses) = known(host) {
            state.under_way += 1;
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
            state.answer(Resolved::new(ticket, Ok(addresses)));
            return Ok(());
        }
        state.questions.push_back(Question { ticket, host: host.to_owned(), port });
        // Each helper that waits will take one.
        if state.questions.len() > state.waiting && state.helpers < HELPERS {
            if let Err(error) = self.start_helper() {
                if state.helpers == 0 {
                    state.questions.pop_back();
                    return Err(error);
                }
            } else {
                state.helpers += 1;
            }
        }
        state.under_way += 1;
        self.shared.asked.notify_one();
        Ok(())
    }

    pub(super) fn answer(&self) -> Option<Resolved> {
        let mut state = self.shared.lock();
        let answer = state.answers.pop_front()?;
        state.under_way -= 1;
        Some(answer)
    }

    fn start_helper(&self) -> io::Result<()> {
        let (shared, lookup, idle) = (Arc::clone(&self.shared), self.lookup, self.idle);
        thread::Builder::new().name("sockeye-resolve".to_owned()).spawn(move || help(&shared, lookup, idle)).map(drop)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        // A helper that is stuck must not keep the waker's descriptor open.
        state.waker = None;
        state.questions.clear();
        state.answers.clear();
        self.shared.asked.notify_all();
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Resolver").field("under_way", &state.under_way).field("helpers", &state.helpers).finish()
    }
}

struct Shared {
    state: Mutex<State>,
    asked: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    questions: VecDeque<Question>,
    answers: VecDeque<Resolved>,
    /// Questions and answers, and those between: at most `QUESTIONS`, so both queues are bounded.
    under_way: usize,
    /// Helpers that have not ended, of which some wait for a question.
    helpers: usize,
    waiting: usize,
    /// None once the resolver is gone: helpers end.
    waker: Option<Arc<dyn Wake>>,
}

impl State {
    fn answer(&mut self, answer: Resolved) {
        if let Some(waker) = &self.waker {
            self.answers.push_back(answer);
            waker.wake();
        }
    }
}

struct Question {
    ticket: u64,
    host: String,
    port: u16,
}

/// A helper's life: answers until there was nothing to do for a while.
fn help(shared: &Shared, lookup: Lookup, idle: Duration) {
    let mut state = shared.lock();
    while state.waker.is_some() {
        if let Some(Question { ticket, host, port }) = state.questions.pop_front() {
            drop(state);
            let found = panic::catch_unwind(AssertUnwindSafe(|| lookup(&host, port)));
            let found = found.unwrap_or_else(|_| Err(io::Error::other("looking the name up panicked")));
            let answer = Resolved::new(ticket, found);
            state = shared.lock();
            state.answer(answer);
            continue;
        }
        state.waiting += 1;
        let (locked, timeout) = shared.asked.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
        state = locked;
        state.waiting -= 1;
        if timeout.timed_out() && state.questions.is_empty() {
            break;
        }
    }
    state.helpers -= 1;
}

/// What needs no lookup: addresses, and names below `localhost`. `localhost` itself is in the file of hosts.
///
/// RFC 6761 section 6.3: "Name resolution APIs and libraries SHOULD recognize localhost names as special and SHOULD always
/// return the IP loopback address for address queries".
fn known(host: &str) -> Option<Vec<IpAddr>> {
    let name = host.strip_suffix('.').unwrap_or(host);
    // At least one character before it.
    if name.len() > 10 && name.as_bytes()[name.len() - 10..].eq_ignore_ascii_case(b".localhost") {
        return Some(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
    }
    host.parse().ok().map(|ip| vec![ip])
}

fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Names looked up at one time.
const HELPERS: usize = 4;

/// A helper ends when it was idle for so long.
const IDLE: Duration = Duration::from_secs(5);
