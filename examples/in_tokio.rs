//! A Sockeye service as one task of a tokio runtime, which watches one descriptor and the clock.
//!
//! `cargo run --example in_tokio [ADDRESS]`, then `cargo run -- connect ws://127.0.0.1:9001/`. Ctrl-C ends it.

use std::error::Error;
use std::time::Duration;

use sockeye::service::ServiceState;
use sockeye::{Service, messages};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let mut service = Service::builder().fallback(messages::echo("echo")).listen(address).build()?;
    println!("listening on ws://{}/", service.local_addresses()[0]);
    let descriptor = service.descriptor().ok_or("this system has no descriptor to watch")?.try_clone_to_owned()?;
    // SAFETY: the `AsyncFd` owns the descriptor, so it stays open, and the same, while it is registered.
    #[expect(unsafe_code, reason = "tokio keeps the number and asks for this promise")]
    let sockets = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE)? };
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut interrupted = false;
    while service.run_once(Some(Duration::ZERO))? == ServiceState::Running {
        let due = async {
            match service.next_timeout() {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Edge-triggered: the service handled everything, unless it has pending work, and then `due` fires at once.
            ready = sockets.readable() => ready?.clear_ready(),
            () = due => {}
            _ = &mut interrupt, if !interrupted => interrupted = true,
        }
        if interrupted {
            service.drain();
        }
    }
    Ok(())
}
