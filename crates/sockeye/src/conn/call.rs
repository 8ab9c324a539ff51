//! The callbacks of a running step, of which there are many: the endpoint is looked up once, and the clock is read
//! around each callback only while the loop is watchful, that is, searches for the cause of a stall.

use crate::protocol::endpoint::WebSocketEndpoint;
use crate::protocol::{Cx, RawCx, RequestCx};
use crate::statistics::{Culprit, WorkOwner};
use crate::transport::LoopIo;

/// The endpoint that is called back in this round, and its context.
pub(super) struct Caller<'a, E: ?Sized, C> {
    pub(super) endpoint: &'a mut E,
    pub(super) session: u32,
    pub(super) cx: C,
}

/// The protocol of a WebSocket and the context of its callbacks, for one round.
pub(super) type Callbacks<'a> = Caller<'a, dyn WebSocketEndpoint + 'a, Cx<'a>>;

/// A context that knows the connection of its callback.
pub(super) trait Context {
    fn owner(&self) -> WorkOwner;
}

impl Context for Cx<'_> {
    fn owner(&self) -> WorkOwner {
        WorkOwner::of(self.endpoint.0, self.id())
    }
}

impl Context for RawCx<'_> {
    fn owner(&self) -> WorkOwner {
        WorkOwner::of(self.endpoint.0, self.id())
    }
}

impl Context for RequestCx<'_> {
    fn owner(&self) -> WorkOwner {
        WorkOwner::of(self.endpoint.0, self.id().connection())
    }
}

impl<E: ?Sized, C: Context> Caller<'_, E, C> {
    /// Calls back. `WATCHED`: the clock is read around the callback, which costs more than many callbacks do.
    #[inline(always)]
    pub(super) fn call<const WATCHED: bool, R>(
        &mut self,
        io: &mut LoopIo,
        culprit: Culprit,
        call: impl FnOnce(&mut E, &mut C, u32, &mut LoopIo) -> R,
    ) -> R {
        if WATCHED {
            io.steps_over(0);
        }
        let result = call(self.endpoint, &mut self.cx, self.session, io);
        if WATCHED {
            io.lap(culprit, self.cx.owner());
        }
        result
    }

    /// A frequent callback, outside the hot path.
    pub(super) fn call_if_watchful<R>(
        &mut self,
        io: &mut LoopIo,
        culprit: Culprit,
        call: impl FnOnce(&mut E, &mut C, u32, &mut LoopIo) -> R,
    ) -> R {
        if io.meters.stopwatch.is_watchful() {
            self.call::<true, R>(io, culprit, call)
        } else {
            self.call::<false, R>(io, culprit, call)
        }
    }

    /// A rare callback, always measured.
    #[cold]
    pub(super) fn call_rarely<R>(
        &mut self,
        io: &mut LoopIo,
        culprit: Culprit,
        call: impl FnOnce(&mut E, &mut C, u32, &mut LoopIo) -> R,
    ) -> R {
        self.call::<true, R>(io, culprit, call)
    }
}
