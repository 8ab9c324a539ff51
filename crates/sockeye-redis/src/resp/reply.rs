//! One reply, borrowed from what was received.

use redis_protocol::resp3::{decode::complete::decode_range, types::RangeFrame};
use sockeye_hub::backplane::BrokerError;

/// What Redis says. Kinds that nothing here depends on are not distinguished.
#[derive(Debug)]
pub(crate) enum Reply<'a> {
    /// A string of any kind.
    Bytes(&'a [u8]),
    /// An error; its first word is its code.
    Error(&'a [u8]),
    Number,
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    /// What no command has asked for: messages, and what became of subscriptions.
    Push(Vec<Self>),
    /// Sets, nothing, true or false, numbers with a point.
    Other,
}

impl<'a> Reply<'a> {
    /// Parses one whole reply, whose form the [scanner](super::scan) has judged.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BrokerError> {
        match decode_range(bytes) {
            Ok(Some((frame, length))) if length == bytes.len() => Self::of(&frame, bytes),
            _ => Err(BrokerError::Protocol("a reply that is not RESP3".to_owned())),
        }
    }

    fn of(frame: &RangeFrame, bytes: &'a [u8]) -> Result<Self, BrokerError> {
        let part = |range: &(usize, usize)| {
            bytes.get(range.0..range.1).ok_or_else(|| BrokerError::Protocol("a string that has no end".to_owned()))
        };
        let list = |items: &[RangeFrame]| items.iter().map(|item| Self::of(item, bytes)).collect::<Result<Vec<_>, _>>();
        Ok(match frame {
            RangeFrame::BlobString { data, .. }
            | RangeFrame::SimpleString { data, .. }
            | RangeFrame::VerbatimString { data, .. } => Self::Bytes(part(data)?),
            RangeFrame::BlobError { data, .. } | RangeFrame::SimpleError { data, .. } => Self::Error(part(data)?),
            RangeFrame::Number { .. } => Self::Number,
            RangeFrame::Array { data, .. } => Self::List(list(data)?),
            RangeFrame::Push { data, .. } => Self::Push(list(data)?),
            RangeFrame::Map { data, .. } => {
                let pairs = data.iter().map(|(name, value)| Ok((Self::of(name, bytes)?, Self::of(value, bytes)?)));
                Self::Map(pairs.collect::<Result<_, BrokerError>>()?)
            }
            _ => Self::Other,
        })
    }

    /// The bytes of a string.
    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The string that a map has under `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&'a [u8]> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(key, _)| key.bytes() == Some(name.as_bytes())).and_then(|(_, value)| value.bytes())
    }
}
