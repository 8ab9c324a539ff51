//! The helpers, with lookups that do what the system's do at their worst.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a name does stands in it. One that is counted says in its address how many were looked up at that time.
fn scripted(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    static BUSY: AtomicUsize = AtomicUsize::new(0);
    let address = |last: usize| SocketAddr::from(([10, 0, 0, last as u8], port));
    match host {
        "panics" => panic!("a fault of the system's library"),
        "twice" => Ok([1, 2, 1, 2].map(address).to_vec()),
        "many" => Ok((0..200).map(address).collect()),
        "none" => Ok(Vec::new()),
        "stuck" => {
            while !RELEASED.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            Ok(vec![address(1)])
        }
        "counted" => {
            let busy = BUSY.fetch_add(1, Ordering::SeqCst) + 1;
            thread::sleep(Duration::from_millis(2));
            BUSY.fetch_sub(1, Ordering::SeqCst);
            Ok(vec![address(busy)])
        }
        _ => Ok(vec![address(1)]),
    }
}

static RELEASED: AtomicBool = AtomicBool::new(false);

fn resolver(idle: Duration) -> (Resolver, Arc<Bell>) {
    let bell = Arc::new(Bell::default());
    (Resolver::with(bell.clone(), scripted, idle), bell)
}

fn eventually(what: &str, is_true: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !is_true() {
        assert!(Instant::now() < give_up, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn answer(resolver: &Resolver) -> Resolved {
    eventually("an answer", || !resolver.shared.lock().answers.is_empty());
    resolver.answer().unwrap()
}

#[test]
fn as_many_as_are_allowed_look_at_one_time() {
    let (resolver, bell) = resolver(Duration::from_secs(5));
    for ticket in 0..100 {
        resolver.ask(ticket, "counted", 80).unwrap();
    }
    let mut seen = [false; 100];
    let mut most = 0;
    for _ in 0..100 {
        let Resolved { ticket, addresses, .. } = answer(&resolver);
        assert!(!std::mem::replace(&mut seen[ticket as usize], true));
        let SocketAddr::V4(first) = addresses.unwrap()[0] else { panic!("scripted") };
        most = most.max(first.ip().octets()[3]);
    }
    assert!((2..=HELPERS as u8).contains(&most), "{most} at one time");
    assert_eq!(bell.0.load(Ordering::SeqCst), 100, "each answer is announced");
    assert!(resolver.shared.lock().helpers <= HELPERS);
}

#[test]
fn answers_are_what_is_promised() {
    let (resolver, _bell) = resolver(Duration::from_secs(5));
    let ask = |name| {
        resolver.ask(7, name, 80).unwrap();
        answer(&resolver).addresses
    };
    assert_eq!(ask("twice").unwrap().len(), 2);
    assert_eq!(ask("many").unwrap().len(), crate::sys::ADDRESSES);
    assert_eq!(ask("none").unwrap_err().to_string(), "the name has no address");
    // A fault of a library is the end of this question, and of nothing else.
    assert_eq!(ask("panics").unwrap_err().to_string(), "looking the name up panicked");
    assert!(ask("name").is_ok());
}

#[test]
fn questions_are_bounded_and_a_stuck_one_is_left_behind() {
    let (resolver, bell) = resolver(Duration::from_secs(5));
    for ticket in 0..QUESTIONS as u64 {
        resolver.ask(ticket, "stuck", 80).unwrap();
    }
    for host in ["one-more", "127.0.0.1"] {
        let error = resolver.ask(9999, host, 80).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(error.to_string(), "1024 names are being looked up already");
    }
    assert!(resolver.answer().is_none());
    // A helper that begins only after the end has nothing to be stuck in.
    eventually("a helper is stuck", || resolver.shared.lock().questions.len() < QUESTIONS);
    let shared = Arc::downgrade(&resolver.shared);
    let started = Instant::now();
    drop(resolver);
    assert!(started.elapsed() < Duration::from_secs(5), "nobody waits for the helpers");
    assert_eq!(Arc::strong_count(&bell), 1, "the waker is let go at once, though helpers are stuck");
    assert!(shared.strong_count() > 0);
    RELEASED.store(true, Ordering::SeqCst);
    eventually("the helpers end when they can", || shared.strong_count() == 0);
    assert_eq!(bell.0.load(Ordering::SeqCst), 0, "and tell nobody");
}

#[test]
fn helpers_end_when_nothing_is_asked() {
    let (resolver, _bell) = resolver(Duration::from_millis(10));
    for round in 0..3 {
        resolver.ask(round, "name", 80).unwrap();
        assert_eq!(answer(&resolver).ticket, round);
        eventually("no helper is left", || resolver.shared.lock().helpers == 0);
        assert_eq!(resolver.shared.lock().waiting, 0);
    }
}

/// RFC 6761 section 6.3.
#[test]
fn names_below_localhost_are_this_machine() {
    let (resolver, _bell) = resolver(Duration::from_secs(5));
    for name in ["x.localhost", "a.b.LocalHost."] {
        resolver.ask(1, name, 80).unwrap();
        let found = resolver.answer().unwrap().addresses.unwrap();
        assert_eq!(found, ["[::1]:80", "127.0.0.1:80"].map(|address| address.parse().unwrap()), "{name}");
    }
    for name in ["localhost", ".localhost", "xlocalhost", "localhost.example"] {
        assert_eq!(known(name), None, "{name}");
    }
    assert_eq!(resolver.shared.lock().helpers, 0);
}

#[test]
fn an_address_needs_no_helper() {
    let (resolver, bell) = resolver(Duration::from_secs(5));
    resolver.ask(1, "::1", 80).unwrap();
    assert_eq!(resolver.answer().unwrap().addresses.unwrap(), ["[::1]:80".parse().unwrap()]);
    assert_eq!((resolver.shared.lock().helpers, bell.0.load(Ordering::SeqCst)), (0, 1));
}
