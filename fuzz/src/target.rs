//! Request targets, dates and origins.

use sockeye_proto::handshake::origin::AllowedOrigins;
use sockeye_proto::http::{date, target};

pub fn check(data: &[u8]) {
    if let Some(seconds) = date::parse(data) {
        assert_eq!(date::parse(&date::format(seconds)), Some(seconds), "a formatted date is parsed");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut list = AllowedOrigins::default();
    if list.add(text).is_ok() {
        assert!(list.allows(text), "an origin allows itself");
    }
    let _ = target::query_value(text, "name");
    if let Ok(path) = target::TargetPath::parse(text) {
        assert!(path.as_str().starts_with('/') && path.below("") == Some(path.as_str()), "{path:?}");
        assert_eq!(path.is_plain(), target::normalise(text).is_ok(), "{path:?}");
    }
    let Ok(path) = target::normalise(text) else { return };
    assert!(path.starts_with('/') && !path.contains("//"), "{path:?}");
    assert!(!path.contains(['\0', '\\']), "{path:?}");
    assert!(!path.split('/').any(|segment| segment == "." || segment == ".."), "{path:?}");
    let _ = target::query(text);
}
