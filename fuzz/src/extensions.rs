//! Lists of extensions: the number of items is bounded, and names and values are tokens.

use sockeye_proto::ext::params::{self, MAX_ITEMS};

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
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
