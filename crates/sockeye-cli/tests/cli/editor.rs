//! `connect` on a terminal: a pseudo-terminal, and as much of a terminal behind it as the editor uses.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::peer::upgraded;
use crate::support::{PATIENCE, PING, Running, TEXT, sockeye};

/// What a person sees.
#[derive(Debug, Default)]
struct Screen {
    rows: Vec<String>,
    row: String,
    column: usize,
    escape: Option<String>,
}

impl Screen {
    fn feed(&mut self, text: &str) {
        for c in text.chars() {
            match (&mut self.escape, c) {
                (None, '\x1b') => self.escape = Some(String::new()),
                (None, '\r') => self.column = 0,
                (None, '\n') => self.rows.push(std::mem::take(&mut self.row)),
                (None, c) => {
                    assert!(!c.is_control(), "{c:?} reached the terminal");
                    let mut row: Vec<char> = self.row.chars().collect();
                    row.resize(row.len().max(self.column + 1), ' ');
                    row[self.column] = c;
                    self.row = row.into_iter().collect();
                    self.column += 1;
                }
                (Some(sequence), c) => {
                    sequence.push(c);
                    if c.is_ascii_alphabetic() {
                        let sequence = self.escape.take().unwrap();
                        self.obey(&sequence);
                    }
                }
            }
        }
    }

    fn obey(&mut self, sequence: &str) {
        match sequence {
            "[K" => self.row = self.row.chars().take(self.column).collect(),
            // Colours are looked at where they matter.
            "[?2004h" | "[?2004l" | "[0m" | "[2m" | "[32m" | "[36m" => {}
            forward => {
                let count = forward.strip_prefix('[').and_then(|rest| rest.strip_suffix('C'));
                self.column += count.unwrap_or_else(|| panic!("{forward}")).parse::<usize>().unwrap();
            }
        }
    }

    /// The rows above the one that is edited.
    fn above(&self) -> Vec<&str> {
        self.rows.iter().map(String::as_str).collect()
    }
}

struct Terminal {
    keys: File,
    slave: OwnedFd,
    shown: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
    running: Running,
}

impl Terminal {
    fn start(url: &str, options: &[&str]) -> Self {
        Self::of(sockeye(&[&["connect", url][..], options].concat()), false)
    }

    /// With standard error on the terminal too, if `errors` says so.
    fn of(mut command: Command, errors: bool) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        if errors {
            command.stderr(end());
        }
        let child = command.env("TERM", "xterm").stdin(end()).stdout(end()).spawn().unwrap();
        let keys = File::from(master);
        let mut reader = keys.try_clone().unwrap();
        let (sender, shown) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keys, slave, shown, bytes: Vec::new(), running: Running::of(child) }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is as wanted.
    fn until(&mut self, wanted: impl Fn(&Screen) -> bool) -> Screen {
        loop {
            let mut screen = Screen::default();
            if let Ok(text) = std::str::from_utf8(&self.bytes) {
                screen.feed(text);
                if wanted(&screen) {
                    return screen;
                }
            }
            let more = self.shown.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never so: {screen:#?}"));
            self.bytes.extend(more);
        }
    }

    fn until_row(&mut self, row: &str) -> Screen {
        self.until(|screen| screen.row.trim_end() == row.trim_end() && screen.column == row.chars().count())
    }
}

type Frame = (u8, Vec<u8>);

/// A server that does what it is told, and tells what it gets.
fn told() -> (String, Sender<Vec<u8>>, Receiver<Frame>) {
    let (orders, ordered) = mpsc::channel::<Vec<u8>>();
    let (sender, frames) = mpsc::channel();
    let address = upgraded(move |peer| {
        for order in &ordered {
            if order.is_empty() {
                let Some(frame) = peer.frame() else { return };
                let _ = sender.send(frame);
            } else {
                peer.write(&order);
            }
        }
    });
    (format!("ws://{address}/"), orders, frames)
}

fn text(text: &str) -> Vec<u8> {
    [&[0x80 | TEXT, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

#[test]
fn a_message_does_not_garble_the_line_that_is_typed() {
    let (url, orders, frames) = told();
    let mut terminal = Terminal::start(&url, &[]);
    terminal.until(|screen| !screen.rows.is_empty() && screen.row == "> ");
    terminal.press("hallo");
    terminal.until_row("> hallo");
    orders.send(text("incoming")).unwrap();
    // Drawn again, with the cursor where it was.
    terminal.until(|screen| screen.above().contains(&"< incoming") && screen.row == "> hallo" && screen.column == 7);
    // Back to the `a`, while more comes.
    terminal.press("\x1b[D\x1b[D\x1b[D\x7f");
    orders.send(text("two\nlines")).unwrap();
    orders.send(text("more")).unwrap();
    terminal.until(|screen| screen.above().contains(&"< more") && screen.row == "> hllo" && screen.column == 3);
    terminal.press("e\r");
    orders.send(Vec::new()).unwrap();
    assert_eq!(frames.recv_timeout(PATIENCE).unwrap(), (TEXT, b"hello".to_vec()));
    let screen = terminal.until(|screen| screen.above().contains(&"> hello") && screen.row == "> ");
    assert_eq!(screen.above()[1..], ["< incoming", "< two", "  lines", "< more", "> hello"]);
}

#[test]
fn the_peer_cannot_play_with_the_terminal() {
    let (url, orders, _frames) = told();
    let mut terminal = Terminal::start(&url, &[]);
    orders.send(text("\x1b[2J\x1b]0;title\x07\r> faked\x08")).unwrap();
    // The screen panics at anything that it should not get.
    let screen = terminal.until(|screen| screen.above().iter().any(|row| row.starts_with("< ")));
    assert_eq!(screen.above()[1], r"< \u{1b}[2J\u{1b}]0;title\u{7}\r> faked\u{8}");
}

#[test]
fn a_terminal_has_colours_unless_they_are_not_wanted() {
    let kinds = ["\x1b[2m* connected to ", "\x1b[32m> GET / HTTP/1.1\x1b[0m", "\x1b[36m< hello\x1b[0m\r\n"];
    for (options, variable, colored) in [
        (&["-v"][..], "", true),
        (&["-v"], "1", false),
        (&["-v", "--color=always"], "1", true),
        (&["-v", "--color", "never"], "", false),
    ] {
        let (url, orders, _frames) = told();
        let mut command = sockeye(&[&["connect", &url][..], options].concat());
        command.env("NO_COLOR", variable);
        let mut terminal = Terminal::of(command, true);
        orders.send(text("hello")).unwrap();
        terminal.until(|screen| screen.above().contains(&"< hello"));
        let shown = std::str::from_utf8(&terminal.bytes).unwrap();
        for kind in kinds {
            assert_eq!(shown.contains(kind), colored, "{options:?} {variable:?} {kind:?}: {shown:?}");
        }
    }
}

#[test]
fn history_and_long_lines() {
    let (url, orders, frames) = told();
    let mut terminal = Terminal::start(&url, &[]);
    let long = "x".repeat(100);
    terminal.press(&format!("one\r{long}"));
    terminal.until(|screen| screen.row == format!("> {}", "x".repeat(57)));
    terminal.press("\r\x1b[A\x1b[A");
    terminal.until_row("> one");
    terminal.press("\r");
    for expected in ["one", &long, "one"] {
        orders.send(Vec::new()).unwrap();
        assert_eq!(frames.recv_timeout(PATIENCE).unwrap(), (TEXT, expected.as_bytes().to_vec()));
    }
}

#[test]
fn ctrl_r_searches_the_history() {
    let (url, orders, frames) = told();
    let mut terminal = Terminal::start(&url, &[]);
    // Before the editor has the terminal, Ctrl-R is a key of the system.
    terminal.until(|screen| screen.row == "> ");
    terminal.press("say one\rsay two\rsay three\r\x12 t");
    terminal.until(|screen| screen.row == "(search:  t) say three");
    // A message in between does not garble it.
    orders.send(text("hello")).unwrap();
    terminal.until(|screen| screen.above().contains(&"< hello") && screen.row == "(search:  t) say three");
    terminal.press("\x12");
    // The cursor is where the match is.
    terminal.until(|screen| screen.row == "(search:  t) say two" && screen.column == "(search:  t) say".len());
    terminal.press("\x07");
    terminal.until(|screen| screen.row == "> ");
    terminal.press("\x12one\r");
    for expected in ["say one", "say two", "say three", "say one"] {
        orders.send(Vec::new()).unwrap();
        assert_eq!(frames.recv_timeout(PATIENCE).unwrap(), (TEXT, expected.as_bytes().to_vec()));
    }
}

#[test]
fn commands_and_the_way_back() {
    let (url, orders, frames) = told();
    let mut terminal = Terminal::start(&url, &[]);
    let raw = LocalModes::ICANON | LocalModes::ECHO;
    terminal.until(|screen| screen.row == "> ");
    assert!(!tcgetattr(&terminal.slave).unwrap().local_modes.intersects(raw));
    terminal.press("/ping hi\r");
    orders.send(Vec::new()).unwrap();
    assert_eq!(frames.recv_timeout(PATIENCE).unwrap(), (PING, b"hi".to_vec()));
    orders.send(b"\x8a\x01x\x8a\x02hi\x8a\x02hi".to_vec()).unwrap();
    let screen = terminal.until(|screen| screen.above().iter().any(|row| row.starts_with("< pong \"hi\" after ")));
    assert_eq!(screen.above().iter().filter(|row| row.contains("pong")).count(), 1, "only what was asked: {screen:#?}");
    terminal.press("//slash\r/nothing\r/close 4001 see you\r");
    for expected in [(TEXT, b"/slash".to_vec()), (8, b"\x0f\xa1see you".to_vec())] {
        orders.send(Vec::new()).unwrap();
        assert_eq!(frames.recv_timeout(PATIENCE).unwrap(), expected);
    }
    orders.send(b"\x88\x02\x0f\xa1".to_vec()).unwrap();
    drop(orders);
    let screen =
        terminal.until(|screen| screen.above().contains(&"* closed by us: 4001 see you") && screen.row.is_empty());
    assert!(screen.above().iter().any(|row| row.contains("no command /nothing")), "{screen:#?}");
    let slave = terminal.slave.try_clone().unwrap();
    assert_eq!(terminal.running.ended().code(), Some(0));
    assert!(tcgetattr(&slave).unwrap().local_modes.contains(raw), "the terminal is as it was");
}

#[test]
fn the_end_of_input_is_a_key_too() {
    let (url, orders, frames) = told();
    let mut terminal = Terminal::start(&url, &["--hold=0"]);
    terminal.until(|screen| screen.row == "> ");
    terminal.press("\x04");
    orders.send(Vec::new()).unwrap();
    assert_eq!(frames.recv_timeout(PATIENCE).unwrap().0, 8);
    orders.send(b"\x88\x02\x03\xe8".to_vec()).unwrap();
    drop(orders);
    assert_eq!(terminal.running.ended().code(), Some(0));
}

#[test]
fn the_log_does_not_garble_the_line_either() {
    let (url, orders, _frames) = told();
    let command = sockeye(&["connect", &url, "--auth", "a:b", "--log-level", "info"]);
    let mut terminal = Terminal::of(command, true);
    let screen =
        terminal.until(|screen| screen.row == "> " && screen.above().iter().any(|row| row.contains("connected to")));
    assert!(screen.above()[0].contains("WARN") && screen.above()[0].contains("--auth-file"), "{screen:#?}");
    terminal.press("half");
    terminal.until_row("> half");
    // A rule is broken, which is logged; then the command ends.
    orders.send(vec![0x83, 0]).unwrap();
    orders.send(Vec::new()).unwrap();
    drop(orders);
    let screen = terminal.until(|screen| screen.above().iter().any(|row| row.starts_with("sockeye: ")));
    let rows = screen.above();
    assert!(rows.iter().any(|row| row.contains("protocol violation")), "{screen:#?}");
    assert!(rows.iter().all(|row| !row.contains("half")), "the row is gone: {screen:#?}");
    assert_eq!(terminal.running.ended().code(), Some(6));
}
