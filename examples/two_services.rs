//! Two services in one loop of the program's own, each with its own limits and protocols: one that everybody may talk to, and one
//! for the owner, on another port, that ends both.
//!
//! `cargo run -p sockeye-examples --bin example-two-services [PUBLIC [PRIVATE]]`

use std::cell::Cell;
use std::error::Error;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use sockeye::poll::Mode;
use sockeye::{CloseCode, Service, ServiceState, messages};
use sockeye_examples::poll;

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
        // One descriptor of each is all that needs to be watched.
        let fds: Vec<(RawFd, Mode)> =
            services.iter().filter_map(|service| service.descriptor()).map(|fd| (fd.as_raw_fd(), Mode::READ)).collect();
        let timeout = services.iter_mut().filter_map(Service::next_timeout).min();
        poll(&fds, timeout)?;
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
