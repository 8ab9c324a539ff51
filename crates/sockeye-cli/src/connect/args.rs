//! The options of `sockeye connect`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::args::admission::Admission;
use crate::connect::dialog::Hold;
use crate::connect::encoding::Encoding;
use crate::connect::expect::Pattern;
use crate::interface::Interface;
use crate::target::Target;
use crate::units::{parse_size, parse_some_time, parse_span};

#[derive(Args, Debug)]
pub(crate) struct Connect {
    /// Where to connect, such as ws://127.0.0.1:7681/chat
    #[arg(required_unless_present = "listen", conflicts_with_all = ["listen", "Admission"])]
    pub(crate) url: Option<String>,

    /// Wait for a client on PORT instead; 0 takes a free one
    ///
    /// One client at a time, others are refused with 503. Ends when the client leaves, unless --reconnect is given.
    #[arg(short, long, value_name = "PORT")]
    pub(crate) listen: Option<u16>,

    /// Address, interface name or unix:PATH to listen on with --listen (repeatable) [default: 127.0.0.1]
    #[arg(short, long = "interface", value_name = "ADDR|NAME|unix:PATH",
          value_parser = OsStringValueParser::new().try_map(parse_interface))]
    pub(crate) interfaces: Vec<Interface>,

    #[command(flatten)]
    pub(crate) admission: Admission,

    /// Send this first (repeatable); standard input comes after
    #[arg(short, long = "send", value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) sends: Vec<String>,

    /// Send and show binary messages, written so
    ///
    /// Without it lines are sent as text, and binary messages that come are shown in hex.
    #[arg(short, long, value_name = "ENCODING")]
    pub(crate) binary: Option<Encoding>,

    /// A message that has to come: its text, or regex:EXPRESSION, json:SUBSET or hex:BYTES (repeatable, in order)
    ///
    /// A JSON subset is matched by a message that has every member given, at any depth; arrays item by item. `text:` stands
    /// before a text that begins with one of these words. Other messages may come between. When all have come the
    /// connection is closed, and the exit status is 0; when it ends before, 7. The end of standard input does not end the
    /// wait: --timeout does.
    #[arg(short, long = "expect", value_name = "PATTERN", value_parser = Pattern::parse, allow_hyphen_values = true)]
    pub(crate) expect: Vec<Pattern>,

    /// No other message may come between those expected, nor before
    #[arg(long, requires = "expect")]
    pub(crate) strict: bool,

    /// Close after so many messages have come
    ///
    /// The end of standard input does not end the wait: --timeout does.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Give up after this time: exit status 124
    #[arg(short, long, value_name = "TIME", value_parser = parse_some_time)]
    pub(crate) timeout: Option<Duration>,

    /// Stay connected when there is nothing more to do, for ever or for a time: --hold, --hold=5
    ///
    /// Without it the end of standard input closes the connection, with 1000, once everything is sent and two pings have
    /// been answered: so the answers of a server that answers at once are not lost. --hold=0 closes at once.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "forever",
          value_parser = parse_hold)]
    pub(crate) hold: Option<Hold>,

    /// Send a ping so often
    #[arg(long, value_name = "TIME", value_parser = parse_some_time)]
    pub(crate) ping_interval: Option<Duration>,

    /// Show pings and pongs, those that are sent and those that come
    #[arg(long)]
    pub(crate) show_control: bool,

    /// Write each event as a JSON object, a line each
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Show messages and failures only
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Longest message taken, such as 16M or 64KiB, and longest line sent; a longer message is refused with 1009
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = parse_size)]
    pub(crate) max_message: u64,

    /// Connect again when the connection fails or is lost, after 0.5 s and then less and less often
    #[arg(long)]
    pub(crate) reconnect: bool,

    #[command(flatten)]
    pub(crate) target: Target,
}

fn parse_interface(text: OsString) -> Result<Interface, &'static str> {
    Interface::parse(&text)
}

fn parse_hold(text: &str) -> Result<Hold, String> {
    if text == "forever" { Ok(Hold::Forever) } else { parse_span(text).map(Hold::For) }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  sockeye connect ws://127.0.0.1:9001/               talk to it; /help shows the commands
  sockeye connect ws://127.0.0.1:9001/ <messages     as a filter: each line is a message
  sockeye connect ws://127.0.0.1:9001/ -s hi -e hi -t 5 </dev/null
                                                     as a test: look at the exit status
  sockeye connect ws://127.0.0.1:9001/ -s '{\"id\":7}' -e 'json:{\"id\":7}' -t 5 </dev/null
  sockeye connect ws://127.0.0.1:7681/ --protocol dumb-increment-protocol --count 10
  sockeye connect ws://127.0.0.1:9001/ --binary hex --send 'de ad be ef' --hold
  sockeye connect ws://127.0.0.1:9001/ --json --hold | jq .data
  sockeye connect --listen 9002                      wait for a client and talk to it

On a terminal lines are edited, with a history, and messages appear above the line. A line that begins with / is a \
command: /close [CODE [REASON]], /ping [TEXT], /help; // sends a line that begins with /.

Otherwise each line of standard input is a message, and each message a line of standard output; --binary raw takes and \
writes bytes as they come. How the connection ended is told on standard error.

Exit status: 0 done, 1 something failed, 2 usage, 3 not resolved or not connected, 4 TLS, 5 the server refused the \
handshake, 6 a protocol error, or another end than 1000, 1001 or a close without a code, 7 what was expected did not \
come, 124 timeout.
";
