//! Lists of extensions: the number of items is bounded, names and values are tokens, and compression is
//! negotiated by the rules, whether the list is an offer or an answer.

use sockeye_proto::ext::deflate::Settings;
use sockeye_proto::ext::params::{self, Extension, MAX_ITEMS};

pub fn check(data: &[u8]) {
    // A line feed separates the lines of the field.
    let Ok(extensions) = params::parse(data.split(|byte| *byte == b'\n')) else { return };
    let mut items = 0;
    for extension in &extensions {
        items += 1 + extension.params.len();
        assert!(is_token(extension.name), "{extension:?}");
        for param in &extension.params {
            // RFC 6455 section 9.1: "When using the quoted-string syntax variant, the value after
            // quoted-string unescaping MUST conform to the 'token' ABNF."
            assert!(is_token(param.name) && param.value.as_deref().is_none_or(is_token), "{param:?}");
        }
    }
    assert!(items <= MAX_ITEMS);
    negotiate(&extensions);
}

/// What is answered to an offer is legal, and what is agreed stays within the settings.
fn negotiate(extensions: &[Extension<'_>]) {
    for settings in [Settings::server(), Settings::client()] {
        let mut agreed = settings.check(extensions).ok().flatten();
        if let Some((accepted, answer)) = settings.accept(extensions) {
            agreed = Some(accepted);
            let answers = params::parse([answer.as_bytes()]).expect("an answer follows the grammar");
            let client = Settings::client().check(&answers).expect("an answer is legal").expect("an answer accepts");
            assert_eq!((client.send, client.receive), (accepted.receive, accepted.send), "{answer}");
        }
        let history = agreed.map_or(0, |agreed| agreed.receive.history_bytes());
        assert!(history <= settings.receive.history_bytes(), "{agreed:?}");
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
