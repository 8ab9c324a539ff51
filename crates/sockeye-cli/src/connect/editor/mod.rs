//! The line editor: one row at the bottom, and above it the messages that arrive.
//!
//! Two threads write to the terminal: one reads keys, the other shows messages. Each locks the [`Face`] first, finds the row as
//! it was drawn last, and leaves it drawn, so the line is never garbled.

mod keys;
mod line;

use std::io::{self, IsTerminal as _, Read as _, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use unicode_width::UnicodeWidthStr as _;

use self::keys::{Key, Keys};
use self::line::{Did, Line, PROMPT, visible};
use crate::connect::lines::Format;
use crate::connect::stdin::{Input, Stdin};
use crate::log;

/// Whether a person types.
pub(crate) fn is_typed() -> bool {
    io::stdin().is_terminal()
}

/// Whether a person reads the output.
pub(crate) fn is_watched() -> bool {
    io::stdout().is_terminal()
}

/// Starts the editor, unless this terminal is too simple for one.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn start(format: Format, stdin: Stdin) -> io::Result<bool> {
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return Ok(false);
    }
    let Ok(before) = tcgetattr(io::stdin()) else { return Ok(false) };
    // What was logged before must not come over the row that is drawn now.
    log::flush();
    if io::stderr().is_terminal() {
        log::divert(show);
    }
    let before = BEFORE.get_or_init(|| before);
    *face() = Some(Face { line: Line::default(), before });
    resume();
    thread::Builder::new().name("editor".to_owned()).spawn(move || {
        let mut keys = Keys::default();
        let mut bytes = [0; 4096];
        loop {
            match io::stdin().read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(count @ 1..) => {
                    let pressed = bytes[..count].iter().filter_map(|byte| keys.feed(*byte));
                    // What waits for room in the stdin must not hold the face.
                    for did in press(pressed) {
                        match did {
                            Did::Entered(line) => {
                                stdin.push(Input::of_line(line, format.commands, format.encoding));
                            }
                            Did::Ended => stdin.push(Input::End),
                            _ => {}
                        }
                    }
                }
                // The terminal is gone.
                _ => return stdin.push(Input::End),
            }
        }
    })?;
    Ok(true)
}

/// Shows whole lines above the one that is being edited, if there is one.
pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    match face().as_mut() {
        Some(face) => face.print(bytes),
        None => write(bytes),
    }
}

/// As [`print()`] for lines that go elsewhere when none is being edited: says whether they were shown.
fn show(bytes: &[u8]) -> bool {
    face().as_mut().is_some_and(|face| face.print(bytes).is_ok())
}

/// Gives the terminal back as it was, without the line that was being edited. Nothing is drawn after it.
pub(crate) fn end() {
    if let Some(face) = face().take() {
        // A terminal that is gone needs nothing more.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, face.before);
        let _ = write(&[ERASE, PASTE_OFF].concat());
    }
}

/// As [`end`], for when the process ends at once: never waits for a terminal that takes nothing.
pub(crate) fn abandon() {
    if let Some(before) = BEFORE.get() {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
    }
}

/// Takes the terminal, at first and when the process goes on after it was stopped.
pub(crate) fn resume() {
    if let Some(face) = face().as_mut() {
        let mut mode = face.before.clone();
        // Keys come one by one and are not shown; those for signals stay signals.
        mode.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &mode);
        let mut out = PASTE_ON.to_vec();
        face.draw(&mut out);
        let _ = write(&out);
    }
}

/// Does what the keys say, and draws once for all of them: a paste is many keys.
fn press(keys: impl Iterator<Item = Key>) -> Vec<Did> {
    let mut locked = face();
    let Some(face) = locked.as_mut() else { return Vec::new() };
    let mut out = Vec::new();
    let mut all = Vec::new();
    for key in keys {
        let did = face.line.press(key);
        match &did {
            Did::Entered(line) => {
                out.extend_from_slice(ERASE);
                out.extend_from_slice(PROMPT.as_bytes());
                out.extend_from_slice(visible(line).as_bytes());
                out.push(b'\n');
            }
            Did::Cleared => out.extend_from_slice(b"\x1b[H\x1b[2J"),
            Did::Edited | Did::Nothing | Did::Ended => {}
        }
        all.push(did);
    }
    face.draw(&mut out);
    // A terminal that is gone shows at the next read.
    let _ = write(&out);
    all
}

/// The editor on the terminal of this process.
struct Face {
    line: Line,
    before: &'static Termios,
}

impl Face {
    fn print(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = [ERASE, bytes].concat();
        self.draw(&mut out);
        write(&out)
    }

    /// Draws the row again.
    fn draw(&self, out: &mut Vec<u8>) {
        // Some terminals do not tell.
        let columns = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { 80 } else { columns };
        let prompt = self.line.prompt(columns);
        let (shown, column) = self.line.window(columns.saturating_sub(prompt.width()));
        out.extend_from_slice(ERASE);
        out.extend_from_slice(prompt.as_bytes());
        out.extend_from_slice(shown.as_bytes());
        out.extend_from_slice(format!("\r\x1b[{}C", prompt.width() + column).as_bytes());
    }
}

fn face() -> MutexGuard<'static, Option<Face>> {
    FACE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// There is one terminal, so there is one editor; none: it has not begun, or has ended.
static FACE: Mutex<Option<Face>> = Mutex::new(None);

/// How the terminal was, if there is an editor.
static BEFORE: OnceLock<Termios> = OnceLock::new();

/// To the beginning of the row, and nothing behind it.
const ERASE: &[u8] = b"\r\x1b[K";
const PASTE_ON: &[u8] = b"\x1b[?2004h";
const PASTE_OFF: &[u8] = b"\x1b[?2004l";
