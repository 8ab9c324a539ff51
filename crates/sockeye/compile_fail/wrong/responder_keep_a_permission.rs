//! Keeping the permission to answer past the callback.

use sockeye::http::{HttpRequest, Response};
use sockeye::responder::{HeadPermission, RequestCx, Responder, ResponseTx};

struct Wrong {
    kept: Option<HeadPermission<'static>>,
}

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
        self.kept = tx.head();
    }
}

fn main() {}
