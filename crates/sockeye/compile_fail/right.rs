//! What the others do wrong, done right: proof that they fail for what is wrong with them and for nothing else.

use sockeye::http::{HttpRequest, Response, Routes};
use sockeye::responder::{RequestCx, Responder, ResponseTx};
use sockeye::service::ServiceState;
use sockeye::{Close, Cx, Fragment, Handshake, Protocol, Tx};

struct Right;

impl Protocol for Right {
    type Session = Vec<u8>;

    fn name(&self) -> &str {
        "right"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) -> Vec<u8> {
        cx.request_writable();
        Vec::new()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Vec<u8>, fragment: Fragment<'_>) -> Result<(), Close> {
        session.extend_from_slice(fragment.payload.as_bytes());
        cx.request_writable();
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Vec<u8>, tx: Tx<'_>) -> Result<(), Close> {
        match tx {
            Tx::Idle(writable) => {
                let sent = writable.binary(session);
                if let Some(writable) = sent.more() {
                    if let Some(fragments) = writable.begin_text("a message ").more() {
                        fragments.finish("in two fragments");
                    }
                }
            }
            _ => cx.request_writable(),
        }
        Ok(())
    }
}

#[test]
fn the_same_done_right_compiles_and_runs() {
    let service = sockeye::Service::builder().protocol(Right).build();
    let mut service = service.unwrap();
    let remote = service.remote();
    let thread = std::thread::spawn(move || remote.run(|control| control.drain()));
    while service.run_once(None).unwrap() == ServiceState::Running {}
    assert!(thread.join().unwrap().is_ok());
}

struct Responds;

impl Responder for Responds {
    type Session = ();

    fn name(&self) -> &str {
        "responds"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<(), Response> {
        let _ = (cx, request);
        Ok(())
    }

    fn writable(&mut self, cx: &mut RequestCx<'_>, session: &mut Self::Session, tx: ResponseTx<'_>) {
        let _ = (cx, session);
        match tx {
            ResponseTx::Head(permission) => {
                if let Some(permission) = permission.stream(Response::new(200), None).more() {
                    if let Some(permission) = permission.write(b"a body").more() {
                        permission.end();
                    }
                }
            }
            tx => {
                if let Some(permission) = tx.body() {
                    permission.end();
                }
            }
        }
    }
}

#[test]
fn a_responder_done_right_compiles() {
    let mut builder = sockeye::Service::builder();
    let responds = builder.add_responder(Responds);
    assert!(builder.routes(Routes::new().responder("/", responds)).build().is_ok());
}
