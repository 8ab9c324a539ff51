//! HTTP requests without an upgrade: callbacks of the loop become callbacks of the program.

use std::ffi::CString;
use std::sync::atomic::Ordering;

use sockeye::Close;
use sockeye::http::{HttpRequest, Response};
use sockeye::responder::{RequestClosedCx, RequestCx, RequestEnd, Responder, ResponseTx};

use crate::callbacks::{With, call};
use crate::context::Context;
use crate::face::Face;
use crate::reason::Reason;
use crate::wsi::{Answer, Phase, Wsi};

/// The one responder of the service.
pub(crate) struct Exchange {
    context: &'static Context,
    face: &'static dyn Face,
}

/// A request, and the file that is its answer once that was handed over.
pub(crate) struct Asked {
    wsi: &'static Wsi,
    file: Option<(CString, u64)>,
}

impl Exchange {
    pub(crate) fn new(context: &'static Context, face: &'static dyn Face) -> Self {
        Self { context, face }
    }
}

impl Responder for Exchange {
    type Session = Asked;

    fn name(&self) -> &str {
        "sockeye-capi-http"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<Asked, Response> {
        let Some(wsi) = self.context.of(cx.id().connection()) else { return Err(Response::error(503)) };
        let protocol = wsi.protocol.get().or_else(|| self.context.first_vhost().and_then(|vhost| vhost.first()));
        let Some(protocol) = protocol.filter(|_| !self.context.is_ending.load(Ordering::Relaxed)) else {
            return Err(Response::error(503));
        };
        wsi.protocol.set(Some(protocol));
        wsi.set_phase(Phase::Http);
        let goes_on = self.context.door.lend(cx, || self.face.requested(wsi, protocol, request));
        let has_answer = wsi.rest().answer.is_some();
        match (has_answer, goes_on) {
            (true, _) => cx.request_writable(),
            (false, true) => {}
            (false, false) => cx.abort(),
        }
        Ok(Asked { wsi, file: None })
    }

    fn writable(&mut self, _: &mut RequestCx<'_>, asked: &mut Asked, tx: ResponseTx<'_>) {
        let answer = asked.wsi.rest().answer.take();
        if let (Some(Answer { response, file }), Some(head)) = (answer, tx.head()) {
            head.respond(response);
            asked.file = file;
        }
    }

    fn closed(&mut self, cx: &mut RequestClosedCx<'_>, asked: Asked, end: RequestEnd) {
        let Asked { wsi, file } = asked;
        wsi.rest().answer = None;
        wsi.set_phase(Phase::Accepted);
        let Some(((path, bytes), protocol)) = file.zip(wsi.protocol.get()).filter(|_| end == RequestEnd::Answered)
        else {
            return;
        };
        let mut path = path.into_bytes_with_nul();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let with = With::NOTHING.input(path.as_mut_ptr().cast(), bytes);
        let result = self.context.door.lend(cx, || call(protocol, wsi, Reason::HttpFileCompletion, with));
        if result != 0 {
            let id = wsi.id();
            if let Ok(mut connection) = cx.connection(id) {
                connection.close(Close::empty());
            }
        }
    }
}
