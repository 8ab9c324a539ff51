//! Standard input without the line editor: lines, or blocks of bytes.

use std::io::{self, BufRead, Read};

use crate::connect::encoding::Encoding;
use crate::connect::stdin::{Input, Stdin};

/// How standard input is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// Lines that begin with `/` may be commands: a person types them.
    pub(crate) commands: bool,
    /// `None`: lines are text.
    pub(crate) encoding: Option<Encoding>,
    /// Bytes that a line may have.
    pub(crate) most: u64,
}

/// Reads to the end. What is wrong with a line is an input too; what cannot be read is the end.
pub(crate) fn read(source: impl BufRead, format: Format, stdin: &Stdin) {
    let read = match format.encoding {
        Some(Encoding::Raw) if !format.commands => blocks(source, stdin),
        _ => lines(source, format, stdin),
    };
    if let Err(error) = read {
        stdin.push(Input::Wrong(format!("standard input: {error}")));
    }
    stdin.push(Input::End);
}

fn lines(mut source: impl BufRead, format: Format, stdin: &Stdin) -> io::Result<()> {
    let mut number = 0_u64;
    loop {
        let mut line = Vec::new();
        // With one byte more than is allowed it is seen that there are too many; the line's end may be two.
        let most = format.most.saturating_add(3);
        if source.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        number += 1;
        if line.ends_with(b"\n") {
            let end = if line.ends_with(b"\r\n") { 2 } else { 1 };
            line.truncate(line.len() - end);
        }
        if line.len() as u64 > format.most {
            let error = format!("line {number} of standard input has more than {} bytes (--max-message)", format.most);
            stdin.push(Input::Wrong(error));
            return Ok(());
        }
        stdin.push(match String::from_utf8(line) {
            Ok(line) => match Input::of_line(line, format.commands, format.encoding) {
                Input::Wrong(error) if !format.commands => {
                    Input::Wrong(format!("line {number} of standard input: {error}"))
                }
                input => input,
            },
            Err(_) => Input::Wrong(format!(
                "line {number} of standard input is not UTF-8; --binary raw sends arbitrary bytes"
            )),
        });
    }
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

    const FORMAT: Format = Format { commands: false, encoding: None, most: 5 };

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
    fn raw_input_goes_as_it_comes() {
        let all = inputs(b"a\n\xff\n", Format { encoding: Some(Encoding::Raw), ..FORMAT });
        assert_eq!(all, [Input::Message(b"a\n\xff\n".to_vec().into()), Input::End]);
    }
}
