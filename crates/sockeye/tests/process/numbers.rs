//! Numbers of adopted descriptors, which the system gives out again.

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use sockeye::raw::{Raw, RawClose, RawCx, RawWritable};
use sockeye::{CloseCode, Service};

/// What it was told, and the numbers of what it adopted.
type Notes = Rc<RefCell<Vec<String>>>;

/// Ends the connection that says "go", and replaces it when another says "next".
struct Replaces {
    notes: Notes,
    next: Vec<File>,
}

impl Raw for Replaces {
    type Session = ();

    fn name(&self) -> &str {
        "replaces"
    }

    fn open(&mut self, _: &mut RawCx<'_>) {}

    fn receive(&mut self, cx: &mut RawCx<'_>, (): &mut (), bytes: &[u8]) -> Result<(), RawClose> {
        self.notes.borrow_mut().push(String::from_utf8_lossy(bytes).into_owned());
        match (bytes, self.next.pop()) {
            (b"go", next) => {
                self.next.extend(next);
                Err(RawClose::Reset)
            }
            (_, Some(file)) => {
                let copy = file.try_clone().unwrap();
                self.notes.borrow_mut().push(copy.as_raw_fd().to_string());
                cx.endpoint_named("replaces").unwrap().adopt(copy);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn writable(&mut self, _: &mut RawCx<'_>, (): &mut (), _: RawWritable<'_>) -> Result<(), RawClose> {
        Ok(())
    }
}

fn pipe() -> (File, File) {
    let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
    (read.into(), write.into())
}

fn turns(service: &mut Service) {
    for _ in 0..10 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
}

pub(crate) fn a_number_that_is_given_out_again_is_nobody_elses() {
    let notes = Notes::default();
    let (next, mut said) = pipe();
    let endpoint = Replaces { notes: Rc::clone(&notes), next: vec![next] };
    let mut service = Service::builder().raw(endpoint).build().unwrap();
    let ((first, mut to_first), (second, mut to_second)) = (pipe(), pipe());
    let freed = first.as_raw_fd().to_string();
    for file in [first, second] {
        service.control().endpoint_named("replaces").unwrap().adopt(file);
    }
    turns(&mut service);
    // Both are told in one batch. When the second one adopts, the number of the first is free, and is what it gets.
    to_first.write_all(b"go").unwrap();
    to_second.write_all(b"next").unwrap();
    turns(&mut service);
    assert_eq!(*notes.borrow(), ["go", "next", &freed]);
    assert_eq!((service.connections(), to_first.write(b"x").unwrap_err().kind()), (2, ErrorKind::BrokenPipe));
    said.write_all(b"go").unwrap();
    turns(&mut service);
    assert_eq!((notes.borrow().len(), service.connections()), (4, 1));
}

pub(crate) fn what_others_have_is_let_go_and_can_be_adopted_again() {
    let notes = Notes::default();
    let endpoint = Replaces { notes: Rc::clone(&notes), next: Vec::new() };
    let mut service = Service::builder().raw(endpoint).build().unwrap();
    let (mut read, mut write) = pipe();
    let copy = read.try_clone().unwrap();
    let number = copy.as_raw_fd();
    let id = service.control().endpoint_named("replaces").unwrap().adopt(copy);
    turns(&mut service);
    service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    turns(&mut service);
    assert_eq!(service.connections(), 0);
    let events = service.statistics().work.events;
    write.write_all(b"for others").unwrap();
    turns(&mut service);
    assert_eq!(service.statistics().work.events, events, "it is watched though it was closed");
    let mut text = [0; 20];
    assert_eq!(read.read(&mut text).unwrap(), 10);
    let again = read.try_clone().unwrap();
    assert_eq!(again.as_raw_fd(), number, "the same number, and the same pipe");
    service.control().endpoint_named("replaces").unwrap().adopt(again);
    write.write_all(b"for us").unwrap();
    turns(&mut service);
    assert_eq!(*notes.borrow(), ["for us"]);
}
