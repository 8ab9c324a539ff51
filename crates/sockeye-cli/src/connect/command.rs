//! Lines that begin with `/`, on a terminal.

use sockeye::proto::conn::ControlPayload;
use sockeye::{Close, CloseCode};

/// What a line of the editor means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    /// It is a message.
    Send(String),
    Close(Close),
    Ping(ControlPayload),
    Help,
}

impl Command {
    /// # Errors
    /// What is wrong with the command.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let Some(command) = line.strip_prefix('/') else { return Ok(Self::Send(line.to_owned())) };
        if command.starts_with('/') {
            return Ok(Self::Send(command.to_owned()));
        }
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "close" | "quit" => close(rest).map(Self::Close),
            "ping" => ControlPayload::new(rest.as_bytes())
                .map(Self::Ping)
                .map_err(|_| format!("a ping has at most 125 bytes, and this text has {}", rest.len())),
            "help" => Ok(Self::Help),
            _ => Err(format!("there is no command /{name}; see /help, or write // for a message that begins with /")),
        }
    }
}

fn close(rest: &str) -> Result<Close, String> {
    if rest.is_empty() {
        return Ok(CloseCode::NORMAL.into());
    }
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = code.parse().ok().and_then(CloseCode::new).ok_or_else(|| {
        format!("close code {code} cannot be sent; valid are 1000 to 1003, 1007 to 1014 and 3000 to 4999")
    })?;
    Close::with_reason(code, reason.trim().to_owned()).map_err(|error| error.to_string())
}

/// What `/help` shows.
pub(crate) const HELP: &str = "\
/close [CODE [REASON]]  close, with 1000 if no CODE is given; /quit and Ctrl-D do too
/ping [TEXT]            send a ping, and show when its pong comes
//...                   send a line that begins with /
/help                   show this
keys                    arrows, Home, End; up and down for the history; Ctrl-A, E, K, U, W as in a shell";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_and_two_slashes_are_one() {
        for (line, message) in
            [("hello", "hello"), ("", ""), (" /close", " /close"), ("//close", "/close"), ("///", "//")]
        {
            assert_eq!(Command::parse(line), Ok(Command::Send(message.to_owned())), "{line}");
        }
    }

    #[test]
    fn close_takes_a_code_and_a_reason() {
        assert_eq!(Command::parse("/close"), Ok(Command::Close(CloseCode::NORMAL.into())));
        let close = Close::with_reason(CloseCode::new(4001).unwrap(), "see you").unwrap();
        assert_eq!(Command::parse("/close 4001 see you"), Ok(Command::Close(close)));
        for (line, word) in [("/close x", "x"), ("/close 1006", "1006"), ("/close 999999", "999999")] {
            assert!(Command::parse(line).unwrap_err().contains(word), "{line}");
        }
        assert!(Command::parse(&format!("/close 1000 {}", "x".repeat(124))).unwrap_err().contains("123"));
    }

    #[test]
    fn ping_takes_a_text() {
        assert_eq!(Command::parse("/ping"), Ok(Command::Ping(ControlPayload::EMPTY)));
        assert_eq!(Command::parse("/ping a b"), Ok(Command::Ping(ControlPayload::new(b"a b").unwrap())));
        assert!(Command::parse(&format!("/ping {}", "x".repeat(126))).unwrap_err().contains("126"));
    }

    #[test]
    fn other_commands_are_explained() {
        assert_eq!(Command::parse("/help"), Ok(Command::Help));
        assert!(Command::parse("/clsoe").unwrap_err().contains("/help"));
        assert!(Command::parse("/").unwrap_err().contains("//"));
    }
}
