//! What clients ask.

use std::borrow::Cow;

use sockeye::messages::Message;
use sockeye::proto::wire::MessageKind;

use super::members::{self, Member, Members};
use super::{MOST_ID, PUBLISH, parse_epoch};

/// A request with its `id`.
#[derive(Debug, PartialEq)]
pub(crate) struct Request<'m> {
    pub(crate) id: u64,
    pub(crate) what: What<'m>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum What<'m> {
    Subscribe { topic: String, begin: Begin, presence: bool },
    Unsubscribe { topic: String },
    Publish { topic: Cow<'m, str>, key: Option<Cow<'m, str>>, data: Data<'m> },
    Authorize { token: String },
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Begin {
    /// Behind this position.
    pub(crate) since: Option<Since>,
    /// Else, with so many messages of the history.
    pub(crate) last: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Since {
    /// `None` is one that was never there.
    pub(crate) epoch: Option<u64>,
    pub(crate) offset: u64,
}

/// What is published.
#[derive(Debug, PartialEq)]
pub(crate) enum Data<'m> {
    Text(String),
    Binary(&'m [u8]),
}

impl Data<'_> {
    pub(crate) fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(payload) => payload,
        }
    }
}

/// A message that cannot be understood.
#[derive(Debug, PartialEq)]
pub(crate) struct BadRequest {
    /// That of the request, if it had one.
    pub(crate) id: Option<u64>,
    pub(crate) reason: &'static str,
}

/// Reads a request.
pub(crate) fn parse<'m>(message: &'m Message<'_>) -> Result<Request<'m>, BadRequest> {
    match message.as_text() {
        Some(text) => parse_text(text),
        None => parse_binary(message.as_bytes()),
    }
}

fn parse_text(text: &str) -> Result<Request<'static>, BadRequest> {
    let members: Members = serde_json::from_str(text)
        .map_err(|_| BadRequest { id: None, reason: "a text message must be a JSON object" })?;
    let id = members.id.number().filter(|id| *id <= MOST_ID);
    let bad = |reason| BadRequest { id, reason };
    let Some(number) = id else { return Err(bad("`id` must be a whole number from 0 to 2^53 - 1")) };
    let kind = members.kind.text().ok_or_else(|| bad("`type` must be a string"))?;
    let topic = members.topic.text().ok_or_else(|| bad("`topic` must be a string"));
    let what = match kind.as_str() {
        "subscribe" => {
            let (last, presence) = (members.last, members.presence);
            let begin = begin(members.since, &last).map_err(bad)?;
            let presence = match presence {
                Member::Absent => false,
                Member::Flag(presence) => presence,
                _ => return Err(bad("`presence` must be true or false")),
            };
            What::Subscribe { topic: topic?, begin, presence }
        }
        "unsubscribe" => What::Unsubscribe { topic: topic? },
        "publish" => {
            let key = match members.key {
                Member::Absent => None,
                Member::Text(key) => Some(key.into()),
                _ => return Err(bad("`key` must be a string")),
            };
            let data = members.data.text().ok_or_else(|| bad("`data` must be a string"))?;
            What::Publish { topic: topic?.into(), key, data: Data::Text(data) }
        }
        "authorize" => What::Authorize { token: members.token.text().ok_or_else(|| bad("`token` must be a string"))? },
        _ => return Err(bad("an unknown `type`")),
    };
    Ok(Request { id: number, what })
}

fn begin(since: members::Since, last: &Member) -> Result<Begin, &'static str> {
    let since = match since {
        members::Since::Absent => None,
        members::Since::Position { epoch: Member::Text(epoch), offset: Member::Number(offset) } => {
            Some(Since { epoch: parse_epoch(&epoch), offset })
        }
        _ => return Err("`since` must have `epoch`, a string, and `offset`, a whole number"),
    };
    let last = match last {
        Member::Absent => 0,
        last => last.number().ok_or("`last` must be a whole number")?,
    };
    Ok(Begin { since, last })
}

fn parse_binary(bytes: &[u8]) -> Result<Request<'_>, BadRequest> {
    const SHORT: BadRequest = BadRequest { id: None, reason: "the binary message is shorter than its head says" };
    let (&kind, rest) = bytes.split_first().ok_or(SHORT)?;
    if kind != PUBLISH {
        return Err(BadRequest { id: None, reason: "a binary message must begin with the byte 1" });
    }
    let (topic_len, rest) = rest.split_first_chunk().ok_or(SHORT)?;
    let (key_len, rest) = rest.split_first_chunk().ok_or(SHORT)?;
    let (id, rest) = rest.split_first_chunk().ok_or(SHORT)?;
    let id = u64::from_be_bytes(*id);
    if id > MOST_ID {
        return Err(BadRequest { id: None, reason: "`id` must be at most 2^53 - 1" });
    }
    let bad = |reason| BadRequest { id: Some(id), reason };
    let (topic, rest) =
        rest.split_at_checked(u16::from_be_bytes(*topic_len).into()).ok_or_else(|| bad(SHORT.reason))?;
    let (key, payload) = rest.split_at_checked(u16::from_be_bytes(*key_len).into()).ok_or_else(|| bad(SHORT.reason))?;
    let wrong = || bad("topic and key must be UTF-8");
    let topic = std::str::from_utf8(topic).map_err(|_| wrong())?.into();
    let key = std::str::from_utf8(key).map_err(|_| wrong())?;
    let key = if key.is_empty() { None } else { Some(key.into()) };
    Ok(Request { id, what: What::Publish { topic, key, data: Data::Binary(payload) } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> Result<Request<'_>, BadRequest> {
        parse_text(text)
    }

    #[test]
    fn requests_are_read_as_they_are_documented() {
        let begin = Begin { since: Some(Since { epoch: Some(0x5f0c_3a9e_11d2_b847), offset: 41 }), last: 7 };
        let text =
            r#"{"type":"subscribe","id":1,"topic":"news","since":{"epoch":"5f0c3a9e11d2b847","offset":41},"last":7}"#;
        let what = What::Subscribe { topic: "news".into(), begin, presence: false };
        assert_eq!(of_text(text), Ok(Request { id: 1, what }));
        let what =
            What::Publish { topic: "news".into(), key: Some("k".into()), data: Data::Text("it \u{1F327}".into()) };
        let text =
            r#"{"data":"it \ud83c\udf27","key":"k","topic":"news","id":9007199254740991,"new":[1],"type":"publish"}"#;
        assert_eq!(of_text(text), Ok(Request { id: MOST_ID, what }));
        let text = r#"{"type":"unsubscribe","id":0,"topic":""}"#;
        assert_eq!(of_text(text), Ok(Request { id: 0, what: What::Unsubscribe { topic: String::new() } }));
        let text = r#"{"type":"authorize","id":0,"token":"secret"}"#;
        assert_eq!(of_text(text), Ok(Request { id: 0, what: What::Authorize { token: "secret".into() } }));
    }

    #[test]
    fn an_epoch_that_no_hub_gave_is_one_that_has_ended() {
        for epoch in ["", "0", "5F0C3A9E11D2B847", "+5f0c3a9e11d2b84", "5f0c3a9e11d2b8470"] {
            let text = format!(r#"{{"type":"subscribe","id":1,"topic":"t","since":{{"epoch":"{epoch}","offset":1}}}}"#);
            let Ok(Request { what: What::Subscribe { begin, .. }, .. }) = of_text(&text) else { panic!("{epoch}") };
            assert_eq!(begin.since, Some(Since { epoch: None, offset: 1 }), "{epoch}");
        }
    }

    #[test]
    fn other_messages_are_refused_with_their_id_if_they_have_one() {
        for (text, id) in [
            ("", None),
            ("[]", None),
            ("{}", None),
            (r#"{"id":-1,"type":"publish"}"#, None),
            (r#"{"id":1.5,"type":"publish"}"#, None),
            (r#"{"id":9007199254740992,"type":"publish"}"#, None),
            (r#"{"id":1}"#, Some(1)),
            (r#"{"id":1,"type":"shout"}"#, Some(1)),
            (r#"{"id":1,"type":"publish","topic":"t"}"#, Some(1)),
            (r#"{"id":1,"type":"publish","topic":"t","data":1}"#, Some(1)),
            (r#"{"id":1,"type":"publish","topic":"t","data":"","key":1}"#, Some(1)),
            (r#"{"id":1,"type":"subscribe","topic":1}"#, Some(1)),
            (r#"{"id":1,"type":"subscribe","topic":"t","since":1}"#, Some(1)),
            (r#"{"id":1,"type":"subscribe","topic":"t","last":-1}"#, Some(1)),
            (r#"{"id":1,"type":"subscribe","topic":"t","presence":1}"#, Some(1)),
        ] {
            assert_eq!(of_text(text).map_err(|bad| bad.id), Err(id), "{text}");
        }
        let since = |since: &str| format!(r#"{{"id":1,"type":"subscribe","topic":"t","since":{since}}}"#);
        for wrong in
            ["[]", "true", "1.5", "-1", r#""x""#, "{}", r#"{"epoch":1,"offset":1}"#, r#"{"epoch":"x","offset":[]}"#]
        {
            assert_eq!(of_text(&since(wrong)).map_err(|bad| bad.id), Err(Some(1)), "{wrong}");
        }
        let unknown = r#"{"new":{"a":[1,{"b":null}]},"type":"unsubscribe","id":1,"topic":"t","x":-1.5e3}"#;
        assert!(of_text(unknown).is_ok());
        assert!(of_text(r#"{"id":1,"type":"unsubscribe","topic":"t"} x"#).is_err());
        let deep = "[".repeat(100_000);
        assert_eq!(of_text(&deep).map_err(|bad| bad.id), Err(None));
    }

    #[test]
    fn binary_requests_are_cut_at_every_byte() {
        let mut bytes = vec![PUBLISH, 0, 4, 0, 1];
        bytes.extend_from_slice(&3u64.to_be_bytes());
        bytes.extend_from_slice(b"newsk\xff\x00");
        let data = Data::Binary(b"\xff\x00");
        let what = What::Publish { topic: "news".into(), key: Some("k".into()), data };
        assert_eq!(parse_binary(&bytes), Ok(Request { id: 3, what }));
        for len in 0..bytes.len() - 2 {
            assert!(parse_binary(&bytes[..len]).is_err(), "{len}");
        }
        bytes[13] = 0xff; // in the name
        assert_eq!(parse_binary(&bytes).map_err(|bad| bad.id), Err(Some(3)));
        bytes[0] = 2;
        assert!(parse_binary(&bytes).is_err());
    }
}
