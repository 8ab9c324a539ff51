use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn one(line: &str) -> Result<Vec<Extension<'_>>, Malformed> {
    parse([line.as_bytes()])
}

fn ext<'b>(name: &'b str, params: &[(&'b str, Option<&'b str>)]) -> Extension<'b> {
    let params = params.iter().map(|&(name, value)| Param { name, value: value.map(Cow::Borrowed) }).collect();
    Extension { name, params }
}

#[test]
fn lists_are_parsed() {
    for (line, list) in [
        ("", vec![]),
        (" , ,\t", vec![]),
        ("foo", vec![ext("foo", &[])]),
        ("foo, bar; baz=2", vec![ext("foo", &[]), ext("bar", &[("baz", Some("2"))])]),
        (",foo,,bar,", vec![ext("foo", &[]), ext("bar", &[])]),
        ("a ; b = \"c\" ; d", vec![ext("a", &[("b", Some("c")), ("d", None)])]),
        ("a; b=\"\\c\\d\"", vec![ext("a", &[("b", Some("cd"))])]),
        ("a; b=\"c\\d\"", vec![ext("a", &[("b", Some("cd"))])]),
        ("a; b=1; b=2", vec![ext("a", &[("b", Some("1")), ("b", Some("2"))])]),
        (
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
            vec![ext(
                "permessage-deflate",
                &[("client_max_window_bits", None), ("server_max_window_bits", Some("10"))],
            )],
        ),
    ] {
        assert_eq!(one(line), Ok(list), "{line}");
    }
    let borrowed = one("a; b=\"c\"").unwrap();
    assert!(matches!(borrowed[0].params[0].value, Some(Cow::Borrowed("c"))));
    assert_eq!(parse([&b"a"[..], b"b"]).unwrap().len(), 2, "all lines are one list");
}

#[test]
fn malformed_lists_are_refused() {
    for line in [
        "constructor, ,;,",
        ";",
        "a;",
        "a;;b",
        "a; b=",
        "a; =b",
        "a; b=c d",
        "a b",
        "a=b",
        "a; b=\"",
        "a; b=\"\"",
        "a; b=\"c",
        "a; b=\"c\"d",
        "a; b=\"c d\"",
        "a; b=\"c,d\"",
        "a; b=\"\\\"\"",
        "a; b=\"\\",
        "a; b=\"c\\",
        "a/b",
        "\u{e9}",
        "a; \u{e9}",
        "a; b=\"\u{e9}\"",
        "\"a\"",
        "a; b='c d'",
    ] {
        assert_eq!(one(line), Err(Malformed), "{line}");
    }
    assert_eq!(parse([&b"\xff\xfe"[..]]), Err(Malformed));
}

#[test]
fn lists_are_bounded() {
    let names = |count: usize| vec!["a"; count].join(",");
    assert_eq!(one(&names(MAX_ITEMS)).map(|list| list.len()), Ok(MAX_ITEMS));
    assert_eq!(one(&names(MAX_ITEMS + 1)), Err(Malformed));
    let params = |count: usize| format!("a{}", ";b=1".repeat(count));
    assert_eq!(one(&params(MAX_ITEMS - 1)).map(|list| list[0].params.len()), Ok(MAX_ITEMS - 1));
    assert_eq!(one(&params(MAX_ITEMS)), Err(Malformed));
    let lines = vec![&b"a"[..]; MAX_ITEMS + 1];
    assert_eq!(parse(lines), Err(Malformed), "over all lines");
    assert_eq!(one(&"permessage-deflate,".repeat(1000)), Err(Malformed));
}

#[test]
fn escapes_take_linear_time() {
    let line = format!("a; b=\"{}", "\\c".repeat(3500));
    assert_eq!(one(&line), Err(Malformed));
    let line = format!("{line}\"");
    assert_eq!(one(&line).unwrap()[0].params[0].value.as_deref(), Some(&*"c".repeat(3500)));
}

proptest! {
    #[test]
    fn names_and_values_are_tokens(line in "([ab]|;|,|=|\"|\\\\| |\t|é|.){0,30}") {
        if let Ok(list) = one(&line) {
            let tokens = list.iter().flat_map(|extension| {
                let params = extension.params.iter().flat_map(|param| [Some(param.name), param.value.as_deref()]);
                params.flatten().chain([extension.name])
            });
            for token in tokens {
                prop_assert!(!token.is_empty() && token.bytes().all(is_tchar));
            }
        }
    }
}
