//! The interface of January 2013: `libwebsocket_*`.

pub mod calls;
mod connect;
mod files;
pub mod tables;

use std::ptr;
use std::sync::atomic::Ordering;

use sockeye::http::{HttpRequest, ResponderTarget};
use sockeye::{Builder, Decision, Request};

use crate::callbacks::{With, call};
use crate::context::Context;
use crate::exchange::Exchange;
use crate::face::{Face, Fields};
use crate::protocol::CProtocol;
use crate::reason::Reason;
use crate::wsi::Wsi;

use self::tables::Token;

/// How many kinds of header fields there are: `WSI_TOKEN_COUNT`.
const TOKENS: usize = 18;

/// The kinds of header fields, and the fields that they are; `GET_URI` is the target.
const GET_URI: usize = 0;
const FIELDS: [(usize, &str); 10] = [
    (1, "host"),
    (2, "connection"),
    (5, "sec-websocket-protocol"),
    (6, "upgrade"),
    (7, "origin"),
    (10, "sec-websocket-key"),
    (11, "sec-websocket-version"),
    (12, "sec-websocket-origin"),
    (13, "sec-websocket-extensions"),
    (8, "sec-websocket-draft"),
];

pub(crate) struct Lws13;

impl Face for Lws13 {
    /// The program sees the header fields in place of a session.
    fn asked(
        &self,
        wsi: &'static Wsi,
        protocol: &'static CProtocol,
        request: &Request<'_>,
    ) -> Result<Fields, Decision> {
        let mut texts: Vec<(usize, Vec<u8>)> = vec![(GET_URI, request.target().as_bytes().to_vec())];
        for (token, name) in FIELDS {
            let mut values = request.header_values(name).peekable();
            if values.peek().is_some() {
                // RFC 9110 section 5.3: several lines of one name are one list.
                texts.push((token, values.collect::<Vec<_>>().join(&b", "[..])));
            }
        }
        let mut tokens = [Token::ABSENT; TOKENS];
        for (token, text) in &mut texts {
            tokens[*token] = Token::of(text);
        }
        let with = With { user: ptr::from_mut(&mut tokens).cast(), ..With::NOTHING };
        match call(protocol, wsi, Reason::FilterProtocolConnection, with) {
            0 => Ok(Vec::new()),
            _ => Err(Decision::refuse(403, "refused")),
        }
    }

    fn add_responder(&self, context: &'static Context, builder: &mut Builder) -> ResponderTarget {
        builder.add_responder(Exchange::new(context, &Self)).into()
    }

    fn requested(&self, wsi: &'static Wsi, protocol: &'static CProtocol, request: &HttpRequest<'_>) -> bool {
        let mut target = request.target().as_bytes().to_vec();
        let len = target.len();
        target.push(0);
        call(protocol, wsi, Reason::Http, With::NOTHING.input(target.as_mut_ptr().cast(), len)) == 0
    }

    /// The server's choice decides, as in 2013.
    fn agreed(&self, wsi: &'static Wsi, subprotocol: Option<&str>) -> bool {
        let chosen = wsi.protocol.get().and_then(|protocol| protocol.vhost()?.named(subprotocol?));
        if let Some(chosen) = chosen {
            wsi.protocol.set(Some(chosen));
        }
        true
    }

    /// "A frame of up to 4096 bytes comes in one callback": programs read structures from its beginning.
    fn gathers(&self) -> bool {
        true
    }
}

/// The connection of a pointer of the program's, if it is one and not a record without a connection.
fn connection(pointer: *const Wsi) -> Option<&'static Wsi> {
    Wsi::find_connection(pointer)
}

/// The block of a connection, if there is one.
fn user_of(wsi: &Wsi) -> *mut std::ffi::c_void {
    wsi.user.load(Ordering::Acquire)
}
