//! Two services in one loop, each with its own limits and protocols: a public one, and one for the owner on another port,
//! which ends both.
//!
//! `cargo run --example two_services [PUBLIC [PRIVATE]]`, then send `end` to the second:
//! `cargo run -- connect ws://127.0.0.1:7682/ --send end`.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use sockeye::service::ServiceState;
use sockeye::{CloseCode, Service, messages};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut address = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let public = Service::builder().fallback(messages::echo("echo")).listen(address("127.0.0.1:7681")).build()?;
    let asked_to_end = Rc::new(Cell::new(false));
    let ask = asked_to_end.clone();
    let control = messages::on("control", move |_, message| {
        ask.set(message.as_text() == Some("end"));
        if ask.get() { Err(CloseCode::GOING_AWAY.into()) } else { Ok(()) }
    });
    let private = Service::builder().fallback(control).listen(address("127.0.0.1:7682")).build()?;
    let mut services = [public, private];
    for service in &services {
        println!("listening on ws://{}/", service.local_addresses()[0]);
    }
    loop {
        let timeout =
            services.iter_mut().filter_map(Service::next_timeout).min().map(Timespec::try_from).transpose()?;
        // One descriptor of each is all that needs to be watched.
        let descriptors = services.iter().filter_map(Service::descriptor);
        let mut watched: Vec<_> = descriptors.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match rustix::event::poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut drained = 0;
        for service in &mut services {
            drained += usize::from(service.run_once(Some(Duration::ZERO))? == ServiceState::Drained);
        }
        if drained == services.len() {
            return Ok(());
        }
        if asked_to_end.take() {
            services.iter_mut().for_each(Service::drain);
        }
    }
}
