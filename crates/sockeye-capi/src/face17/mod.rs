//! The interface of 4.1.6 as Debian 12 has it: `lws_*`.

mod args;
mod builders;
pub mod calls;
pub mod connect;
mod exchange;
mod files;
pub mod headers;
pub mod helpers;
pub mod http;
pub mod info;
mod interfaces;
mod numbers;
pub mod ring;
pub mod service;
mod text;
mod tokens;
pub mod types;
mod uri;

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::Ordering;

use sockeye::client::FailureCause;
use sockeye::http::{HttpRequest, ResponderTarget};
use sockeye::proto::handshake::client::HandshakeError;
use sockeye::{Builder, Decision, Failure, Request};

use crate::callbacks::{With, call};
use crate::context::Context;
use crate::face::{Face, Fields};
use crate::heads::Head;
use crate::protocol::CProtocol;
use crate::reason::Reason;
use crate::spoken::tell_destroyed;
use crate::wsi::Wsi;

use self::exchange::Exchange;
use self::types::HtmlArgs;

/// Room for the header lines that a program adds to a handshake.
const HEADER_ROOM: usize = 4096;

pub(crate) struct Lws17;

impl Face for Lws17 {
    fn accepted(&self, wsi: &'static Wsi, protocol: &'static CProtocol, fd: i32) -> bool {
        let number = With::number(fd);
        if call(protocol, wsi, Reason::FilterNetworkConnection, number.input(number.user, 0)) != 0 {
            return false;
        }
        // Until it asks for an upgrade.
        wsi.was_http.store(true, Ordering::Relaxed);
        call(protocol, wsi, Reason::WsiCreate, With::NOTHING);
        let is_wanted = call(protocol, wsi, Reason::ServerNewClientInstantiated, With::NOTHING) == 0;
        if !is_wanted {
            tell_destroyed(protocol, wsi);
        }
        is_wanted
    }

    fn asked(
        &self,
        wsi: &'static Wsi,
        protocol: &'static CProtocol,
        request: &Request<'_>,
    ) -> Result<Fields, Decision> {
        wsi.was_http.store(false, Ordering::Relaxed);
        wsi.is_encrypted.store(request.tls().is_some(), Ordering::Relaxed);
        wsi.rest().head = Some(Box::new(Head::of_handshake(request)));
        let refuse = || {
            // What the program has written in its place.
            let answer = wsi.rest().reply.take_whole();
            Err(answer.map_or_else(|| Decision::refuse(403, "refused"), Decision::respond))
        };
        let first = protocol.first_of_vhost();
        let mut upgrade = *b"websocket\0";
        // Texts come without their length.
        let kind = With::user_of(wsi).input(upgrade.as_mut_ptr().cast(), 0);
        if call(first, wsi, Reason::HttpConfirmUpgrade, kind) != 0 {
            return refuse();
        }
        wsi.renew_session();
        let user = With::user_of(wsi);
        let mut names = request.header_values("sec-websocket-protocol").collect::<Vec<_>>().join(&b", "[..]);
        names.push(0);
        let input = if names.len() == 1 { ptr::null_mut() } else { names.as_mut_ptr().cast() };
        if call(protocol, wsi, Reason::HttpBindProtocol, user) != 0
            || call(protocol, wsi, Reason::FilterProtocolConnection, user.input(input, 0)) != 0
        {
            return refuse();
        }
        let mut room = vec![0_u8; HEADER_ROOM];
        let size = c_int::try_from(HEADER_ROOM).unwrap_or(c_int::MAX);
        let mut args = HtmlArgs { p: room.as_mut_ptr().cast(), len: 0, max_len: size, last: 0, chunked: 0 };
        if call(protocol, wsi, Reason::AddHeaders, user.input(ptr::from_mut(&mut args).cast(), 0)) != 0 {
            return refuse();
        }
        let used = args.p.addr().wrapping_sub(room.as_ptr().addr());
        fields_of(room.get(..used).unwrap_or_default())
            .ok_or_else(|| Decision::refuse(500, "a field of the answer is not valid"))
    }

    fn add_responder(&self, context: &'static Context, builder: &mut Builder) -> ResponderTarget {
        builder.add_responder(Exchange::new(context)).into()
    }

    /// [`Exchange`] does that here.
    fn requested(&self, _: &'static Wsi, _: &'static CProtocol, _: &HttpRequest<'_>) -> bool {
        false
    }

    fn ended(&self, wsi: &'static Wsi) {
        let Some(protocol) = wsi.protocol.get() else { return };
        if wsi.was_http.load(Ordering::Relaxed) {
            call(protocol, wsi, Reason::ClosedHttp, With::user_of(wsi));
        }
        tell_destroyed(protocol, wsi);
    }

    /// The texts of the original where programs or people know them.
    fn words(&self, failure: &Failure) -> String {
        match &failure.cause {
            FailureCause::Connect { .. } | FailureCause::Timeout { .. } => "Unable to connect".to_owned(),
            FailureCause::Refused(_) => "HS: ws upgrade response not 101".to_owned(),
            FailureCause::Ended | FailureCause::Io(_) => "read failed".to_owned(),
            FailureCause::Rule(HandshakeError::Accept) => "HS: Accept hash wrong".to_owned(),
            FailureCause::Rule(error) => format!("HS: {error}"),
            _ => failure.to_string(),
        }
    }

    fn asks_with_pings(&self) -> bool {
        true
    }

    /// The server's choice decides.
    fn agreed(&self, wsi: &'static Wsi, subprotocol: Option<&str>) -> bool {
        let chosen = wsi.protocol.get().and_then(|protocol| protocol.vhost()?.named(subprotocol?));
        if let Some(chosen) = chosen {
            wsi.protocol.set(Some(chosen));
        }
        let Some(protocol) = wsi.protocol.get() else { return true };
        wsi.make_session();
        [Reason::EstablishedClientHttp, Reason::ClientFilterPreEstablish]
            .into_iter()
            .all(|reason| call(protocol, wsi, reason, With::user_of(wsi)) == 0)
    }
}

/// Header lines as fields. `None` if they are not valid.
fn fields_of(lines: &[u8]) -> Option<Fields> {
    let lines = std::str::from_utf8(lines).ok()?;
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    lines.split("\r\n").filter(|line| !line.is_empty()).map(field).collect()
}

/// The connection of a pointer of the program's, if it is one and not a record without a connection.
fn connection(pointer: *const Wsi) -> Option<&'static Wsi> {
    Wsi::find_connection(pointer)
}

#[cfg(test)]
mod tests {
    use super::fields_of;

    #[test]
    fn lines_are_fields() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(fields_of(b"A: b\r\nc:d\r\n"), Some(vec![field("A", "b"), field("c", "d")]));
        assert_eq!(fields_of(b""), Some(Vec::new()));
        assert_eq!((fields_of(b"no colon\r\n"), fields_of(b"\xff: x")), (None, None));
    }
}
