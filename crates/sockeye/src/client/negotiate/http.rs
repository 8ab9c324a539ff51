//! `CONNECT` (RFC 9110 section 9.3.6).

use std::net::Ipv6Addr;

use sockeye_proto::http::body::{Decoder, Length};
use sockeye_proto::http::{HeadError, HeadScanner, ResponseHead};
use sockeye_proto::limits::ProtocolLimits;

use crate::client::Refusal;
use crate::client::credentials::Credentials;
use crate::client::negotiate::outcome::{Negotiated, ProxyFailure};
use crate::client::url::host_and_port;

pub(super) struct Http {
    request: String,
    limits: ProtocolLimits,
    /// The response so far, at most `ProtocolLimits::head_bytes`.
    head: Vec<u8>,
    scanner: HeadScanner,
    /// Interim responses so far; `interim <= MAX_INTERIM`.
    interim: u32,
    refused: Option<Refused>,
}

/// A refusal whose body is read.
struct Refused {
    refusal: Box<Refusal>,
    decoder: Decoder,
    until_close: bool,
    /// Nothing more is read.
    done: bool,
}

impl Http {
    pub(super) fn new(
        credentials: Option<&Credentials>,
        host: &str,
        port: u16,
        limits: &ProtocolLimits,
    ) -> Result<Self, ProxyFailure> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_name = (1..=255).contains(&host.len()) && host.bytes().all(valid);
        if !is_name && host.parse::<Ipv6Addr>().is_err() {
            return Err(ProxyFailure::Host);
        }
        // RFC 9110 section 9.3.6: "There is no default port; a client MUST send the port number even if the CONNECT
        // request is based on a URI reference that contains an authority component with an elided port".
        let place = host_and_port(host, port);
        let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
        // A `Proxy` has only credentials that can be sent.
        if let Some(Ok(basic)) = credentials.map(Credentials::basic) {
            request.push_str(&format!("Proxy-Authorization: {basic}\r\n"));
        }
        request.push_str("\r\n");
        Ok(Self {
            request,
            limits: limits.clone(),
            head: Vec::new(),
            scanner: HeadScanner::for_response(limits),
            interim: 0,
            refused: None,
        })
    }

    pub(super) fn start(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.request.as_bytes());
    }

    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Result<Negotiated, ProxyFailure> {
        loop {
            if let Some(refused) = &mut self.refused {
                return refused.feed(input, self.limits.response_body_bytes);
            }
            let before = self.head.len();
            let taken = input.len().min(self.limits.head_bytes.saturating_sub(before));
            self.head.extend_from_slice(&input[..taken]);
            // The scanner fails on a full head, so input is never left unconsumed here.
            let Some(end) = self.scanner.scan(&self.head).map_err(ProxyFailure::Head)? else {
                *input = &input[taken..];
                return Ok(Negotiated::More);
            };
            // The end was not found before, so it is in the bytes just taken; or, if fed after the final response, just
            // before them. `before <= end <= before + taken`.
            *input = &input[end - before..];
            self.head.truncate(end);
            self.scanner.unfold(&mut self.head);
            let head = ResponseHead::parse(&self.head, &self.limits).map_err(ProxyFailure::Head)?;
            match head.status {
                // RFC 9110 section 15.2: "A client MUST be able to parse one or more 1xx responses received prior to a
                // final response, even if the client does not expect one." 101 is final, and was not requested.
                100 | 102..=199 if self.interim < MAX_INTERIM => {
                    self.interim += 1;
                    self.head.clear();
                    self.scanner = HeadScanner::for_response(&self.limits);
                }
                100 | 102..=199 => return Err(ProxyFailure::Interim),
                // RFC 9110 section 9.3.6: "Any 2xx (Successful) response indicates that the sender (and all inbound
                // proxies) will switch to tunnel mode immediately after the response header section; data received
                // after that header section is from the server identified by the request target." And: "A client MUST
                // ignore any Content-Length or Transfer-Encoding header fields received in a successful response to
                // CONNECT."
                200..=299 => return Ok(Negotiated::Done),
                _ => {
                    let refused = Refused::new(&head).map_err(ProxyFailure::Head)?;
                    self.refused = Some(refused);
                }
            }
        }
    }

    pub(super) fn end(&mut self) -> Option<ProxyFailure> {
        let refused = self.refused.as_mut()?;
        if !refused.done && !refused.until_close {
            refused.refusal.cut();
        }
        refused.done = true;
        Some(refused.failure())
    }

    pub(super) fn cut(&mut self) -> Option<ProxyFailure> {
        let refused = self.refused.as_mut()?;
        if !refused.done {
            refused.refusal.cut();
        }
        refused.done = true;
        Some(refused.failure())
    }

    pub(super) fn request_head(&self) -> &[u8] {
        self.request.as_bytes()
    }

    pub(super) fn response_head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.head.capacity() + self.refused.as_ref().map_or(0, |refused| refused.refusal.body().len())
    }
}

impl Refused {
    fn new(head: &ResponseHead<'_>) -> Result<Self, HeadError> {
        let length = Length::of_response(head)?;
        // There is no clock here. A `Retry-After` with a date is taken relative to the proxy's own `Date`; without a `Date` it counts as past.
        let refusal = Box::new(Refusal::new(head, u64::MAX));
        // The body is cut at the limit, which is not an error.
        let decoder = Decoder::new(length, u64::MAX);
        let done = matches!(length, Length::None | Length::Exact(0));
        Ok(Self { refusal, decoder, until_close: length == Length::UntilClose, done })
    }

    fn feed(&mut self, input: &mut &[u8], limit: u64) -> Result<Negotiated, ProxyFailure> {
        self.done = self.done || self.refusal.collect(&mut self.decoder, input, limit);
        if self.done { Err(self.failure()) } else { Ok(Negotiated::More) }
    }

    fn failure(&self) -> ProxyFailure {
        ProxyFailure::Refused(self.refusal.clone())
    }
}

/// More interim responses than any proxy sends.
const MAX_INTERIM: u32 = 16;
