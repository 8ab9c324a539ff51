//! How well compression did, for people and for programs.

use serde_json::{Value, json};
use sockeye::statistics::Compressed;

use crate::figures::bytes;

/// The compressed messages of one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ratio {
    messages: u64,
    /// Their payloads without compression.
    plain_bytes: u64,
    /// Their payloads on the wire.
    bytes: u64,
}

impl Ratio {
    pub(crate) fn sent(counted: &Compressed) -> Self {
        Self { messages: counted.sent, plain_bytes: counted.sent_plain_bytes, bytes: counted.sent_bytes }
    }

    pub(crate) fn received(counted: &Compressed) -> Self {
        let Compressed { received: messages, received_plain_bytes: plain_bytes, received_bytes: bytes, .. } = *counted;
        Self { messages, plain_bytes, bytes }
    }

    fn share(self) -> Option<f64> {
        (self.plain_bytes > 0).then(|| self.bytes as f64 / self.plain_bytes as f64)
    }

    fn in_words(self) -> String {
        match self.share() {
            Some(share) => {
                let [plain, packed] = [self.plain_bytes, self.bytes].map(|number| bytes(number as f64));
                format!("{plain} as {packed} ({:.0} %)", share * 100.0)
            }
            None => "nothing".to_owned(),
        }
    }

    pub(crate) fn json(self) -> Value {
        let Self { messages, plain_bytes, bytes } = self;
        json!({ "messages": messages, "plain_bytes": plain_bytes, "bytes": bytes, "ratio": self.share() })
    }
}

/// Both directions, such as `sent 4.00 KiB as 512 bytes (12 %), received nothing`.
pub(crate) fn in_words(counted: &Compressed) -> String {
    format!("sent {}, received {}", Ratio::sent(counted).in_words(), Ratio::received(counted).in_words())
}

/// An object for each direction.
pub(crate) fn json(counted: &Compressed) -> Value {
    json!({ "sent": Ratio::sent(counted).json(), "received": Ratio::received(counted).json() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_told() {
        let mut counted = Compressed::default();
        assert_eq!(in_words(&counted), "sent nothing, received nothing");
        assert_eq!(json(&counted).pointer("/sent/ratio"), Some(&Value::Null));
        (counted.sent, counted.sent_plain_bytes, counted.sent_bytes) = (2, 4096, 512);
        (counted.received, counted.received_plain_bytes, counted.received_bytes) = (1, 100, 25);
        assert_eq!(in_words(&counted), "sent 4.00 KiB as 512 bytes (12 %), received 100 bytes as 25 bytes (25 %)");
        let received = json!({ "messages": 1, "plain_bytes": 100, "bytes": 25, "ratio": 0.25 });
        assert_eq!(json(&counted).get("received"), Some(&received));
        assert_eq!(json(&counted).pointer("/sent/plain_bytes"), Some(&json!(4096)));
    }
}
