//! A Sockeye service in a loop of callbacks (here calloop), as in GLib, libuv and Wayland.
//!
//! `cargo run --example in_calloop [ADDRESS]`, then `cargo run -- connect ws://127.0.0.1:9001/`. A message `quit` ends it.

use std::error::Error;
use std::time::Duration;

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, Mode, PostAction};
use sockeye::service::ServiceState;
use sockeye::{CloseCode, Service, messages};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let echo = messages::on("echo", |cx, message| {
        if message.as_text() == Some("quit") {
            cx.drain();
        }
        cx.push(message).map_err(|_| CloseCode::TRY_AGAIN)?;
        Ok(())
    });
    let mut service = Service::builder().fallback(echo).listen(address).build()?;
    println!("listening on ws://{}/", service.local_addresses()[0]);
    let sockets = service.descriptor().ok_or("this system has no descriptor to watch")?.try_clone_to_owned()?;

    let mut event_loop: EventLoop<'_, Service> = EventLoop::try_new()?;
    let source = Generic::new(sockets, Interest::READ, Mode::Level);
    // The descriptor only wakes the loop; the service runs after each of its rounds.
    event_loop.handle().insert_source(source, |_, _, _| Ok(PostAction::Continue)).map_err(|error| error.error)?;
    while service.run_once(Some(Duration::ZERO))? == ServiceState::Running {
        let timeout = service.next_timeout();
        event_loop.dispatch(timeout, &mut service)?;
    }
    Ok(())
}
