//! Where the two interfaces differ in more than numbers.

use sockeye::http::{HttpRequest, ResponderTarget};
use sockeye::{Builder, Decision, Failure, Request};

use crate::callbacks::{With, call};
use crate::context::Context;
use crate::protocol::CProtocol;
use crate::reason::Reason;
use crate::wsi::Wsi;

/// Header fields: names and values.
pub(crate) type Fields = Vec<(String, String)>;

/// What an interface does in its own way, called on the thread of the service.
pub(crate) trait Face: Sync {
    /// A connection was accepted. Returns whether the program wants it.
    fn accepted(&self, wsi: &'static Wsi, protocol: &'static CProtocol, fd: i32) -> bool {
        call(protocol, wsi, Reason::FilterNetworkConnection, With::number(fd)) == 0
    }

    /// A handshake has arrived, for this protocol. Returns fields for the 101, or the answer that refuses it.
    fn asked(&self, wsi: &'static Wsi, protocol: &'static CProtocol, request: &Request<'_>)
    -> Result<Fields, Decision>;

    /// A request without an upgrade has arrived. Returns whether the connection may go on.
    fn requested(&self, wsi: &'static Wsi, protocol: &'static CProtocol, request: &HttpRequest<'_>) -> bool;

    /// The endpoint that HTTP requests go to.
    fn add_responder(&self, context: &'static Context, builder: &mut Builder) -> ResponderTarget;

    /// A connection has ended that was never open.
    fn ended(&self, wsi: &'static Wsi) {
        let _ = wsi;
    }

    /// The text for the program if a connect has failed.
    fn words(&self, failure: &Failure) -> String {
        failure.to_string()
    }

    /// Whether each ping of the library's own brings a writeable callback without a wish for it.
    fn asks_with_pings(&self) -> bool {
        false
    }

    /// A connection of ours was accepted by the server, with this subprotocol. Returns whether the program wants it still.
    fn agreed(&self, wsi: &'static Wsi, subprotocol: Option<&str>) -> bool {
        let _ = (wsi, subprotocol);
        true
    }

    /// Whether a frame of up to [`PIECE_BYTES`](crate::spoken::PIECE_BYTES) reaches the program whole, however the network cuts it.
    fn gathers(&self) -> bool {
        false
    }
}
