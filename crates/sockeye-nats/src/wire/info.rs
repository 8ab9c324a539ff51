//! What a server says of itself, and texts of it as people may see them.

use serde_json::Value;
use sockeye_hub::backplane::BrokerError;

/// What matters of an INFO line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Info {
    pub(crate) name: String,
    /// The longest headers and payload together that may be published.
    pub(crate) max_payload: usize,
    pub(crate) has_headers: bool,
    pub(crate) has_jetstream: bool,
    pub(crate) is_in_cluster: bool,
    pub(crate) requires_tls: bool,
    pub(crate) offers_tls: bool,
}

impl Info {
    pub(crate) fn read(json: &[u8]) -> Result<Self, BrokerError> {
        let wrong = |what: &str| BrokerError::Protocol(format!("its first line, INFO, {what}"));
        let value: Value = serde_json::from_slice(json).map_err(|_| wrong("is not JSON"))?;
        let has = |name: &str| value[name].as_bool().unwrap_or(false);
        let max_payload =
            value["max_payload"].as_u64().filter(|bytes| *bytes > 0).ok_or_else(|| wrong("has no max_payload"))?;
        Ok(Self {
            name: value["server_name"].as_str().unwrap_or_default().to_owned(),
            max_payload: usize::try_from(max_payload).unwrap_or(usize::MAX),
            has_headers: has("headers"),
            has_jetstream: has("jetstream"),
            is_in_cluster: value["cluster"].as_str().is_some_and(|name| !name.is_empty()),
            requires_tls: has("tls_required"),
            offers_tls: has("tls_required") || has("tls_available"),
        })
    }
}

/// A text of the broker for people: short, and without what a terminal would obey.
pub(crate) fn shown(text: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * MOST)]);
    let mut shown = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count == MOST {
            shown.push_str("...");
            break;
        }
        match letter {
            '\'' | '"' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read() {
        let json = br#"{"server_name":"n","host":"a name","headers":true,"max_payload":1048576,"jetstream":true,"tls_available":true}"#;
        let info = Info::read(json).unwrap();
        assert_eq!((info.name.as_str(), info.max_payload), ("n", 1_048_576));
        assert!(info.has_headers && info.has_jetstream && info.offers_tls && !info.requires_tls && !info.is_in_cluster);
    }

    #[test]
    fn what_is_no_info_is_refused() {
        let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
        for json in [
            &b""[..],
            b"{",
            b"[]",
            b"{}",
            br#"{"max_payload":-1}"#,
            br#"{"max_payload":0}"#,
            br#"{"max_payload":"1"}"#,
            &deep,
        ] {
            assert!(matches!(Info::read(json), Err(BrokerError::Protocol(_))));
        }
    }

    #[test]
    fn texts_are_cut_and_escaped() {
        assert_eq!(shown(b"Permissions Violation for Publish to \"a\""), "Permissions Violation for Publish to \"a\"");
        assert_eq!(shown(b"a\x1b[2J\xffb"), "a\\u{1b}[2J\u{fffd}b");
        assert_eq!(shown(&b"x".repeat(1000)).len(), 203);
    }
}
