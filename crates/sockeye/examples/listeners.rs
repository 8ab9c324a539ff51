//! Several listeners in one program: a chat for the public, which only pages of one site may join, and an inner port with
//! metrics and an administrator's WebSocket, which opens and closes the public one while the program runs.
//!
//! ```text
//! cargo run --example listeners [PUBLIC [INNER]]
//! curl http://127.0.0.1:9100/metrics
//! sockeye connect ws://127.0.0.1:9100/                                       and type `close`, `open` or `quit`
//! sockeye connect ws://127.0.0.1:7681/ --origin https://chat.example.com
//! ```

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;

use sockeye::http::Routes;
use sockeye::service::{Hosts, Listen, Origins, ServiceState};
use sockeye::{CloseCode, Control, Service, messages};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut address = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (public, inner) = (address("127.0.0.1:7681"), address("127.0.0.1:9100"));

    let mut builder = Service::builder();
    let chat = builder.add_protocol(messages::on("chat", |cx, message| {
        cx.own_protocol().publish_text(message.as_text().ok_or(CloseCode::UNSUPPORTED)?);
        Ok(())
    }));
    // Callbacks cannot open listeners. The loop below does it, between turns.
    let commands = Rc::new(RefCell::new(Vec::new()));
    let received = Rc::clone(&commands);
    let admin = builder.add_protocol(messages::on("admin", move |cx, message| {
        let command = message.as_text().ok_or(CloseCode::UNSUPPORTED)?;
        received.borrow_mut().push((cx.id(), command.to_owned()));
        Ok(())
    }));
    // No page of a browser may be an administrator: programs send no origin.
    let listen = Listen::new(inner)
        .protocol(admin)
        .origins(Origins::only([""; 0])?.or_missing())
        .hosts(Hosts::local())
        .routes(Routes::new().metrics("/metrics"));
    let inner = builder.add_listener(listen);

    // The chat is only where a listener names it.
    let origins = Origins::only(["https://chat.example.com"])?;
    let open_public = |mut control: Control<'_>| {
        let listen = Listen::new(&*public).protocol(chat).origins(origins.clone());
        let opened = control.listen(listen)?;
        Ok::<_, sockeye::Error>((opened, control.addresses_of(opened)[0].clone()))
    };
    let mut service = builder.build()?;
    println!("administrators at ws://{}/", service.control().addresses_of(inner)[0]);
    let (listener, address) = open_public(service.control())?;
    println!("the public at ws://{address}/");

    let mut opened = Some(listener);
    while service.run_once(None)? == ServiceState::Running {
        for (id, command) in commands.take() {
            let answer = match (&*command, opened) {
                ("open", None) => match open_public(service.control()) {
                    Ok((listener, address)) => {
                        opened = Some(listener);
                        format!("open at ws://{address}/")
                    }
                    Err(error) => error.to_string(),
                },
                // Connections that are there stay.
                ("close", Some(listener)) => {
                    service.control().stop_listening(listener);
                    opened = None;
                    "closed".to_owned()
                }
                ("quit", _) => {
                    service.drain();
                    continue;
                }
                _ => format!("nothing to {command}"),
            };
            if let Ok(mut administrator) = service.control().connection(id) {
                let _ = administrator.push(&*answer); // it may have ended, or read too slowly
            }
        }
    }
    Ok(())
}
