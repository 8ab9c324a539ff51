//! A body after its end.

use sockeye::http::{HttpRequest, Response};
use sockeye::responder::{RequestCx, Responder, ResponseTx};

struct Wrong;

impl Responder for Wrong {
    type Session = ();

    fn name(&self) -> &str {
        "wrong"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<(), Response> {
        let _ = (cx, request);
        Ok(())
    }

    fn writable(&mut self, cx: &mut RequestCx<'_>, session: &mut Self::Session, tx: ResponseTx<'_>) {
        let _ = (cx, session);
        if let Some(permission) = tx.body() {
            permission.end();
            permission.write(b"more");
        }
    }
}

fn main() {}
