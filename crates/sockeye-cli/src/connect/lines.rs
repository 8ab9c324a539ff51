//! Standard input without the line editor: lines, or blocks of bytes.

use std::io::{self, BufRead, Read};

use clap::ValueEnum;

use crate::connect::encoding::Encoding;
use crate::connect::stdin::{Input, Stdin};

/// Where a message of standard input ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Framing {
    /// At the end of its line
    Lines,
    /// At a NUL byte; messages on standard output end with one, too
    Nul,
    /// Wherever a read ended: blocks of at most 8192 bytes, which follow nothing in the input
    Blocks,
    /// At the end of the input: all of it is one message
    All,
}

/// How standard input is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// Lines that begin with `/` may be commands: a person types them.
    pub(crate) commands: bool,
    /// `None`: lines are text.
    pub(crate) encoding: Option<Encoding>,
    pub(crate) framing: Framing,
    /// Bytes that a message may have.
    pub(crate) most: u64,
}

/// Reads to the end. What is wrong with a line is an input too; what cannot be read is the end.
pub(crate) fn read(source: impl BufRead, format: Format, stdin: &Stdin) {
    let read = match format.framing {
        _ if format.commands => lines(source, b'\n', format, stdin),
        Framing::Blocks => blocks(source, stdin),
        Framing::Lines => lines(source, b'\n', format, stdin),
        Framing::Nul => lines(source, 0, format, stdin),
        Framing::All => all(source, format, stdin),
    };
    if let Err(error) = read {
        stdin.push(Input::Wrong(format!("standard input: {error}")));
    }
    stdin.push(Input::End);
}

fn lines(mut source: impl BufRead, end: u8, format: Format, stdin: &Stdin) -> io::Result<()> {
    let what = if end == 0 { "message" } else { "line" };
    let mut number = 0_u64;
    loop {
        let mut line = Vec::new();
        // With one byte more than is allowed it is seen that there are too many; the line's end may be two.
        let most = format.most.saturating_add(3);
        if source.by_ref().take(most).read_until(end, &mut line)? == 0 {
            return Ok(());
        }
        number += 1;
        if line.ends_with(&[end]) {
            let bytes = if line.ends_with(b"\r\n") { 2 } else { 1 };
            line.truncate(line.len() - bytes);
        }
        if line.len() as u64 > format.most {
            let error =
                format!("{what} {number} of standard input has more than {} bytes (--max-message)", format.most);
            stdin.push(Input::Wrong(error));
            return Ok(());
        }
        stdin.push(match String::from_utf8(line) {
            Ok(line) => match Input::of_line(line, format.commands, format.encoding) {
                Input::Wrong(error) if !format.commands => {
                    Input::Wrong(format!("{what} {number} of standard input: {error}"))
                }
                input => input,
            },
            Err(error) if format.encoding == Some(Encoding::Raw) => Input::Message(error.into_bytes().into()),
            Err(_) => Input::Wrong(format!(
                "{what} {number} of standard input is not UTF-8; --binary raw sends arbitrary bytes"
            )),
        });
    }
}

/// The whole input is one message.
fn all(source: impl BufRead, format: Format, stdin: &Stdin) -> io::Result<()> {
    let mut bytes = Vec::new();
    source.take(format.most.saturating_add(1)).read_to_end(&mut bytes)?;
    stdin.push(if bytes.len() as u64 > format.most {
        Input::Wrong(format!("standard input has more than {} bytes (--max-message)", format.most))
    } else {
        match (format.encoding, String::from_utf8(bytes)) {
            (Some(Encoding::Raw), Ok(text)) => Input::Message(text.into_bytes().into()),
            (Some(Encoding::Raw), Err(error)) => Input::Message(error.into_bytes().into()),
            (encoding, Ok(text)) => Input::of_line(text, false, encoding),
            (_, Err(_)) => Input::Wrong("standard input is not UTF-8; --binary raw sends arbitrary bytes".to_owned()),
        }
    });
    Ok(())
}

fn blocks(mut source: impl BufRead, stdin: &Stdin) -> io::Result<()> {
    loop {
        let block = match source.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(block) => block.to_vec(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        source.consume(block.len());
        stdin.push(Input::Message(block.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::command::Command;
    use crate::stdout::Waker;

    fn inputs(source: &[u8], format: Format) -> Vec<Input> {
        let stdin = Stdin::new(Waker::default());
        read(source, format, &stdin);
        std::iter::from_fn(|| stdin.pop()).collect()
    }

    fn text(text: &str) -> Input {
        Input::Message(text.to_owned().into())
    }

    const FORMAT: Format = Format { commands: false, encoding: None, framing: Framing::Lines, most: 5 };

    #[test]
    fn each_line_is_a_message_and_the_last_needs_no_end() {
        assert_eq!(inputs(b"a\r\n\n/b\nc", FORMAT), [text("a"), text(""), text("/b"), text("c"), Input::End]);
        assert_eq!(inputs(b"", FORMAT), [Input::End]);
        assert_eq!(inputs(b"12345\n12345\r\n", FORMAT), [text("12345"), text("12345"), Input::End]);
    }

    #[test]
    fn a_line_that_is_too_long_is_the_last() {
        let all = inputs(b"1\n123456\n2\n", FORMAT);
        assert!(matches!(&all[..], [_, Input::Wrong(error), Input::End] if error.contains("line 2")), "{all:?}");
        assert!(matches!(&inputs(&[b'x'; 1000], FORMAT)[..], [Input::Wrong(_), Input::End]));
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        let all = inputs(b"1\n\xff\n", FORMAT);
        assert!(matches!(&all[1], Input::Wrong(error) if error.contains("line 2") && error.contains("UTF-8")));
        let all = inputs(b"00\nx\n", Format { encoding: Some(Encoding::Hex), ..FORMAT });
        assert_eq!(all[0], Input::Message(vec![0].into()));
        assert!(matches!(&all[1], Input::Wrong(error) if error.contains("line 2")));
    }

    #[test]
    fn commands_are_for_those_who_type() {
        let all = inputs(b"/help\n", Format { commands: true, ..FORMAT });
        assert_eq!(all, [Input::Command(Command::Help), Input::End]);
    }

    #[test]
    fn the_whole_input_or_what_ends_with_nul_is_a_message() {
        let nul = Format { framing: Framing::Nul, most: 20, ..FORMAT };
        assert_eq!(
            inputs(b"{\n1\n}\0b\r\n\0\0c", nul),
            [text("{\n1\n}"), text("b\r\n"), text(""), text("c"), Input::End]
        );
        let all = Format { framing: Framing::All, most: 20, ..FORMAT };
        assert_eq!(inputs(b"{\n  1\n}\n", all), [text("{\n  1\n}\n"), Input::End]);
        assert!(matches!(&inputs(&[b'x'; 21], all)[0], Input::Wrong(error) if error.contains("20 bytes")));
        let raw = Format { encoding: Some(Encoding::Raw), ..all };
        assert_eq!(inputs(b"\xff\n", raw), [Input::Message(b"\xff\n".to_vec().into()), Input::End]);
        let raw = Format { encoding: Some(Encoding::Raw), ..nul };
        assert_eq!(inputs(b"\xff\0a", raw)[1], Input::Message(b"a".to_vec().into()));
    }

    #[test]
    fn raw_input_goes_as_it_comes() {
        let all = inputs(b"a\n\xff\n", Format { encoding: Some(Encoding::Raw), framing: Framing::Blocks, ..FORMAT });
        assert_eq!(all, [Input::Message(b"a\n\xff\n".to_vec().into()), Input::End]);
    }
}
