//! SOCKS 5 (RFC 1928) with user name and password (RFC 1929).

use std::net::IpAddr;

use crate::client::credentials::Credentials;
use crate::client::negotiate::outcome::{Negotiated, ProxyFailure};

pub(super) struct Socks {
    credentials: Option<Credentials>,
    /// The request, from its version to the port.
    request: Vec<u8>,
    state: State,
    /// The next answer so far, at most the 262 bytes of the longest reply.
    answer: Vec<u8>,
}

/// The methods below are called after each byte of `answer`, and return the next state once it is complete.
enum State {
    /// Waiting for the authentication method.
    Method,
    /// Waiting for the answer to user name and password.
    Auth,
    /// Waiting for the reply to the request.
    Reply,
    /// Finished; no more input is consumed.
    Over(Result<(), ProxyFailure>),
}

impl Socks {
    pub(super) fn new(credentials: Option<&Credentials>, host: &str, port: u16) -> Result<Self, ProxyFailure> {
        let mut request = vec![VERSION, CONNECT, RESERVED];
        match host.parse() {
            Ok(IpAddr::V4(address)) => {
                request.push(IPV4);
                request.extend_from_slice(&address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                request.push(IPV6);
                request.extend_from_slice(&address.octets());
            }
            // RFC 1928 section 5: "The first octet of the address field contains the number of octets of name that
            // follow, there is no terminating NUL octet."
            Err(_) => {
                let length = u8::try_from(host.len()).ok().filter(|&length| length > 0).ok_or(ProxyFailure::Host)?;
                request.extend_from_slice(&[NAME, length]);
                request.extend_from_slice(host.as_bytes());
            }
        }
        request.extend_from_slice(&port.to_be_bytes());
        Ok(Self { credentials: credentials.cloned(), request, state: State::Method, answer: Vec::new() })
    }

    pub(super) fn start(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.credentials {
            Some(_) => &[VERSION, 2, NO_AUTH, USER_PASSWORD],
            None => &[VERSION, 1, NO_AUTH],
        });
    }

    pub(super) fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Negotiated, ProxyFailure> {
        // Byte by byte: there are few, and a wrong one is reported as soon as it arrives, however the input was split.
        loop {
            if let State::Over(outcome) = &self.state {
                return outcome.clone().map(|()| Negotiated::Done);
            }
            let [byte, rest @ ..] = *input else { return Ok(Negotiated::More) };
            *input = rest;
            self.answer.push(*byte);
            let next = match self.state {
                State::Method => self.method(out),
                State::Auth => self.auth(out),
                State::Reply => self.reply(),
                State::Over(_) => Ok(None),
            };
            if let Some(next) = next.unwrap_or_else(|failure| Some(State::Over(Err(failure)))) {
                self.state = next;
                self.answer.clear();
            }
        }
    }

    /// `VER METHOD` (RFC 1928 section 3).
    fn method(&self, out: &mut Vec<u8>) -> Result<Option<State>, ProxyFailure> {
        match (self.answer.as_slice(), &self.credentials) {
            ([VERSION], _) => Ok(None),
            ([VERSION, NO_AUTH], _) => {
                out.extend_from_slice(&self.request);
                Ok(Some(State::Reply))
            }
            ([VERSION, USER_PASSWORD], Some(credentials)) => {
                out.push(AUTH_VERSION);
                for text in [credentials.user(), credentials.password()] {
                    // Checked when the proxy was parsed: at most 255 bytes.
                    let text = &text.as_bytes()[..text.len().min(255)];
                    out.push(text.len() as u8);
                    out.extend_from_slice(text);
                }
                Ok(Some(State::Auth))
            }
            // "If the selected METHOD is X'FF', none of the methods listed by the client are acceptable, and the client
            // MUST close the connection."
            ([VERSION, NONE_ACCEPTABLE], _) => Err(ProxyFailure::SocksMethods),
            ([VERSION, method, ..], _) => Err(ProxyFailure::SocksMethod(*method)),
            ([version, ..], _) => Err(ProxyFailure::SocksVersion(*version)),
            ([], _) => Ok(None),
        }
    }

    /// `VER STATUS` (RFC 1929 section 2).
    fn auth(&self, out: &mut Vec<u8>) -> Result<Option<State>, ProxyFailure> {
        match *self.answer.as_slice() {
            [AUTH_VERSION] | [] => Ok(None),
            // "A STATUS field of X'00' indicates success. If the server returns a `failure' (STATUS value other than
            // X'00') status, it MUST close the connection."
            [AUTH_VERSION, 0] => {
                out.extend_from_slice(&self.request);
                Ok(Some(State::Reply))
            }
            [AUTH_VERSION, ..] => Err(ProxyFailure::SocksAuth),
            [version, ..] => Err(ProxyFailure::SocksAuthVersion(version)),
        }
    }

    /// `VER REP RSV ATYP BND.ADDR BND.PORT` (RFC 1928 section 6). The address is not
    /// used, and RSV is not checked.
    fn reply(&self) -> Result<Option<State>, ProxyFailure> {
        let length = match *self.answer.as_slice() {
            [VERSION] | [VERSION, SUCCEEDED] | [VERSION, SUCCEEDED, _] | [] => return Ok(None),
            [VERSION, SUCCEEDED, _, IPV4, ..] => 4,
            [VERSION, SUCCEEDED, _, IPV6, ..] => 16,
            [VERSION, SUCCEEDED, _, NAME] => return Ok(None),
            [VERSION, SUCCEEDED, _, NAME, length, ..] => 1 + usize::from(length),
            [VERSION, SUCCEEDED, _, kind, ..] => return Err(ProxyFailure::SocksAddress(kind)),
            [VERSION, code, ..] => return Err(ProxyFailure::SocksReply(code)),
            [version, ..] => return Err(ProxyFailure::SocksVersion(version)),
        };
        Ok((self.answer.len() == 4 + length + 2).then_some(State::Over(Ok(()))))
    }
}

const VERSION: u8 = 5;
const AUTH_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const RESERVED: u8 = 0;
const SUCCEEDED: u8 = 0;

// Authentication methods.
const NO_AUTH: u8 = 0;
const USER_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xFF;

// Address types.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
