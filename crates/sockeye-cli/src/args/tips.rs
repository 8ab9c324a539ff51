//! What is said beside clap's own words about a command line that cannot be used.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The same error with a tip, where its own words leave open what to write instead. `line`: the command line.
pub(super) fn with_tip(mut error: clap::Error, line: &[String]) -> clap::Error {
    let tip = match error.kind() {
        ErrorKind::UnknownArgument => apart(line),
        ErrorKind::MissingRequiredArgument => companion(line, &named(&error, ContextKind::InvalidArg)),
        ErrorKind::ArgumentConflict => {
            // It shows the one half only, as if the other were not needed.
            error.remove(ContextKind::Usage);
            let named = [ContextKind::InvalidArg, ContextKind::PriorArg].map(|kind| named(&error, kind)).concat();
            excluded(&named)
        }
        _ => None,
    };
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The options that an error is about.
fn named(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(name)) => vec![name.clone()],
        Some(ContextValue::Strings(names)) => names.clone(),
        _ => Vec::new(),
    }
}

/// A value that was written apart from its option.
fn apart(line: &[String]) -> Option<String> {
    let is_value = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    line.windows(2).find_map(|pair| match pair {
        [option, value] if is_value(value) => {
            let (option, what, example) = JOINED.into_iter().find(|(name, ..)| name == option)?;
            Some(format!("'{option}' takes {what} behind an equals sign: '{example}'"))
        }
        _ => None,
    })
}

/// An option without the one that it belongs to.
fn companion(line: &[String], missing: &[String]) -> Option<String> {
    let is_given = |option: &str| {
        line.iter().any(|word| word.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
    };
    let is_missing = |other: &str| missing.iter().any(|name| is_of(name, other));
    let (option, other) = COMPANIONS.into_iter().find(|(option, other)| is_given(option) && is_missing(other))?;
    Some(format!("'{option}' is of use only together with '{other}'"))
}

fn excluded(named: &[String]) -> Option<String> {
    let has = |option: &str| named.iter().any(|name| is_of(name, option));
    let (insecure, roots) = EXCLUDED.into_iter().find(|(one, other)| has(one) && has(other))?;
    Some(format!(
        "with '{insecure}' nothing is verified, and authorities are of no use; to have them verify, leave it out, and \
         keep '{roots}'"
    ))
}

/// Whether this is what clap calls an option.
fn is_of(name: &str, option: &str) -> bool {
    name.split([' ', '[', '=']).next() == Some(option) || name.trim_matches(['<', '>', '[', ']']) == option
}

/// Options whose value may be left out, so that what follows is not taken for one: what they take, and how it is written.
const JOINED: [(&str, &str, &str); 2] =
    [("--compress", "a level from 1 to 9", "--compress=9"), ("--hold", "a time", "--hold=5s")];

/// Options, and what each belongs to.
const COMPANIONS: [(&str, &str); 6] = [
    ("--compress-history", "--compress"),
    ("--tls-key", "--tls-cert"),
    ("--tls-client-crl", "--tls-client-ca"),
    ("--key", "--cert"),
    ("--dot-files", "DIR"),
    ("--strict", "--expect"),
];

/// Of these one alone makes sense.
const EXCLUDED: [(&str, &str); 2] = [("--insecure", "--ca-file"), ("--proxy-insecure", "--proxy-ca-file")];

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::Arguments;

    fn said(line: &str) -> String {
        let line: Vec<String> = format!("sockeye {line}").split(' ').map(str::to_owned).collect();
        with_tip(Arguments::try_parse_from(&line).unwrap_err(), &line).to_string()
    }

    #[test]
    fn what_to_write_instead_is_said() {
        for (line, tip) in [
            ("echo --compress 9", "'--compress' takes a level from 1 to 9 behind an equals sign: '--compress=9'"),
            ("connect --compress 6 ws://a/", "'--compress' takes a level from 1 to 9"),
            ("connect ws://a/ --hold 5", "'--hold' takes a time behind an equals sign: '--hold=5s'"),
            ("connect ws://a/ --compress-history 4K", "'--compress-history' is of use only together with '--compress'"),
            ("bench ws://a/ --compress-history=4K", "'--compress-history' is of use only together with '--compress'"),
            ("serve --dot-files", "'--dot-files' is of use only together with 'DIR'"),
            ("serve --tls-key a", "'--tls-key' is of use only together with '--tls-cert'"),
            ("serve --tls-client-crl a", "'--tls-client-crl' is of use only together with '--tls-client-ca'"),
            ("connect wss://a/ --key a", "'--key' is of use only together with '--cert'"),
            ("connect ws://a/ --strict", "'--strict' is of use only together with '--expect'"),
            ("connect wss://a/ --insecure --ca-file a", "leave it out, and keep '--ca-file'"),
            ("connect wss://a/ --ca-file a --insecure", "leave it out, and keep '--ca-file'"),
            ("connect wss://a/ --proxy-insecure --proxy-ca-file a", "leave it out, and keep '--proxy-ca-file'"),
        ] {
            let said = said(line);
            assert!(said.contains("tip: ") && said.contains(tip), "{line}: {said}");
        }
    }

    #[test]
    fn other_errors_have_their_own_words() {
        for line in ["echo --compress=10", "echo 9", "connect ws://a/ --nonsense", "connect ws://a/ b --compress=9"] {
            let said = said(line);
            assert!(!said.contains("equals sign") && !said.contains("together"), "{line}: {said}");
        }
        let said = said("serve --any-origin --require-origin");
        assert!(said.contains("cannot be used with") && !said.contains("Usage"), "{said}");
    }

    #[test]
    fn every_option_that_is_named_exists() {
        let all = Arguments::command();
        let exists = |option: &str| {
            let is = |arg: &clap::Arg| arg.get_long() == option.strip_prefix("--") || option == "DIR";
            all.get_subcommands().any(|command| command.get_arguments().any(is))
        };
        let named = JOINED.map(|(option, ..)| option).into_iter();
        let named = named.chain(COMPANIONS.into_iter().chain(EXCLUDED).flat_map(|(one, other)| [one, other]));
        for option in named {
            assert!(exists(option), "{option}");
        }
    }
}
