//! The options of `sockeye connect`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use sockeye::Compression;
use sockeye_hub::client::Bookmark;

use crate::connect::color::When;
use crate::connect::dialog::Hold;
use crate::connect::encoding::Encoding;
use crate::connect::event::SCHEMA;
use crate::connect::expect::Pattern;
use crate::connect::lines::Framing;
use crate::interface::Interface;
use crate::options::admission::Admission;
use crate::options::client::ClientArgs;
use crate::options::compress::CompressArgs;
use crate::options::tls::ServerTlsArgs;
use crate::options::token::TokenArgs;
use crate::units::{parse_size, parse_some_time, parse_span, whole};

#[derive(Args, Debug)]
pub(crate) struct Connect {
    /// Server to connect to, such as ws://127.0.0.1:7681/chat
    #[arg(required_unless_present = "listen", conflicts_with_all = ["listen", "Admission", "ServerTlsArgs"])]
    pub(crate) url: Option<String>,

    /// Wait for a client instead, on a port of 127.0.0.1 or of ADDR; 0 picks a free one
    ///
    /// One client at a time; others are refused with 503. Ends when the client disconnects, unless --reconnect is given.
    #[arg(short, long, value_name = "[ADDR:]PORT", value_parser = Listen::parse)]
    pub(crate) listen: Option<Listen>,

    /// Address, interface name or unix:PATH to listen on with --listen (repeatable) [default: 127.0.0.1]
    #[arg(long = "interface", value_name = "ADDR|NAME|unix:PATH",
          value_parser = OsStringValueParser::new().try_map(parse_interface))]
    pub(crate) interfaces: Vec<Interface>,

    /// Send this text, or the file in @FILE, first (repeatable); standard input follows
    ///
    /// Write @@ for a text that begins with @. With --reconnect it is sent on each connection.
    #[arg(long = "send", value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) sends: Vec<String>,

    /// Send and show binary messages in this encoding
    ///
    /// Without it lines are sent as text, and binary messages are shown in hex.
    #[arg(short, long, value_name = "ENCODING")]
    pub(crate) binary: Option<Encoding>,

    /// Where a message of standard input ends [default: lines, or blocks with --binary raw]
    #[arg(long, value_name = "FRAMING")]
    framing: Option<Framing>,

    /// Same as --framing nul: messages end with a NUL byte, in the output too
    #[arg(short = '0', long = "null", conflicts_with = "framing")]
    null: bool,

    /// Message that must arrive: its text, or regex:EXPRESSION, json:SUBSET or hex:BYTES (repeatable, in order)
    ///
    /// A JSON subset matches a message that has all its members, at any depth; arrays are compared item by item. Write `text:` in
    /// front of a text that begins with one of these words. Other messages may arrive in between. Once all have arrived the
    /// connection is closed and the exit status is 0; if it ends earlier, 7. The end of standard input does not stop the wait;
    /// use --timeout.
    #[arg(short, long = "expect", value_name = "PATTERN", value_parser = Pattern::parse, allow_hyphen_values = true)]
    pub(crate) expect: Vec<Pattern>,

    /// Fail if any other message arrives before or between those expected
    #[arg(long, requires = "expect")]
    pub(crate) strict: bool,

    /// Close after N messages have arrived
    ///
    /// The end of standard input does not stop the wait; use --timeout.
    #[arg(short = 'n', long, value_name = "N", value_parser = whole::<u64>(1..=u64::MAX))]
    pub(crate) count: Option<u64>,

    /// Give up after TIME, with exit status 124
    #[arg(short, long, value_name = "TIME", value_parser = parse_some_time)]
    pub(crate) timeout: Option<Duration>,

    /// Stay connected when everything is done, without limit or for a time: --hold, --hold=5
    ///
    /// Without it the end of standard input closes the connection with 1000, once everything is sent and two pings have been
    /// answered, so that the answers of a server that responds at once are not lost. --hold=0 closes at once.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "forever",
          value_parser = parse_hold)]
    pub(crate) hold: Option<Hold>,

    /// Send a ping every TIME
    #[arg(long, value_name = "TIME", value_parser = parse_some_time)]
    pub(crate) ping_interval: Option<Duration>,

    /// Show pings and pongs, sent and received
    #[arg(long)]
    pub(crate) show_control: bool,

    /// Write each event as a JSON object on a line
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Show only messages and failures
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Show the handshake on standard error: the heads sent (>) and received (<)
    ///
    /// As they are: with passwords, tokens and cookies. Long lines are cut. Those of proxies and redirects are shown, too; with
    /// --listen the request of the client; with --json they are events. With TLS also version, cipher and group, and names, expiry
    /// and pin of the server's certificate. Also what was agreed on compression, and at the end what it did.
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Colours of what is received and sent, and of notes
    ///
    /// NO_COLOR in the environment turns them off for `auto`. Messages that go to a pipe or a file never have them.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,

    /// Largest message accepted, such as 16M or 64KiB, and longest line sent; a larger message is refused with 1009
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = parse_size)]
    pub(crate) max_message: u64,

    /// Reconnect when the connection fails or is lost, after 0.5 s and then with growing delays
    #[arg(long)]
    pub(crate) reconnect: bool,

    #[command(flatten)]
    pub(crate) compress: CompressArgs,

    /// Do not offer compression, which this command does otherwise, as browsers do
    ///
    /// With --listen it is not accepted either.
    #[arg(long, conflicts_with = "compress")]
    pub(crate) no_compress: bool,

    #[command(flatten, next_help_heading = "Clients that may connect, with --listen only")]
    pub(crate) admission: Admission,

    #[command(flatten, next_help_heading = "Topics of a hub")]
    pub(crate) topics: TopicArgs,

    #[command(flatten)]
    pub(crate) tls: ServerTlsArgs,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Connect {
    pub(crate) fn framing(&self) -> Framing {
        let usual = if self.binary == Some(Encoding::Raw) { Framing::Blocks } else { Framing::Lines };
        if self.null { Framing::Nul } else { self.framing.unwrap_or(usual) }
    }

    pub(crate) fn compression(&self) -> Compression {
        if self.no_compress { Compression::off() } else { self.compress.or_default() }
    }
}

/// What `--topic` subscribes to, and how.
#[derive(Args, Debug)]
pub(crate) struct TopicArgs {
    /// Subscribe to a topic and show its messages, with its name if there are several (repeatable)
    ///
    /// The server is a hub: it speaks sockeye.topics.v1, as `sockeye serve --topics` does. Standard input is not read. A connection that is lost is made
    /// again, and each topic continues where it was. What may be missing is said on standard error. With --json there are events for it.
    #[arg(long = "topic", value_name = "NAME", conflicts_with_all = ["listen", "sends", "framing"])]
    pub(crate) topics: Vec<String>,

    /// Continue the topic behind this place, of an earlier run
    #[arg(long, value_name = "EPOCH:OFFSET", requires = "topics", conflicts_with = "listen")]
    pub(crate) since: Option<Bookmark>,

    /// Begin with the last N messages that the hub keeps
    #[arg(long, value_name = "N", requires = "topics", conflicts_with = "listen", value_parser = whole::<u32>(0..=u64::from(u32::MAX)))]
    pub(crate) last: Option<u32>,

    /// Say how many subscribers there are, and when that changes
    #[arg(long, requires = "topics", conflicts_with = "listen")]
    pub(crate) presence: bool,

    #[command(flatten)]
    pub(crate) token: TokenArgs,
}

/// `--listen`: a port, and an address in front of it if need be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Listen {
    pub(crate) interface: Option<Interface>,
    pub(crate) port: u16,
}

impl Listen {
    fn parse(text: &str) -> Result<Self, String> {
        let (interface, port) = match text.rsplit_once(':') {
            Some((address, port)) if !address.is_empty() => (Some(Interface::parse(address.as_ref())?), port),
            _ => (None, text.strip_prefix(':').unwrap_or(text)),
        };
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if is_number => Ok(Self { interface, port }),
            _ => {
                Err("write a port, such as 9002, or an address and a port, such as 0.0.0.0:9002 or [::]:9002"
                    .to_owned())
            }
        }
    }
}

fn parse_interface(text: OsString) -> Result<Interface, &'static str> {
    Interface::parse(&text)
}

fn parse_hold(text: &str) -> Result<Hold, String> {
    if text == "forever" { Ok(Hold::Forever) } else { parse_span(text).map(Hold::For) }
}

/// What follows the options in `--help`.
pub(crate) fn long_help() -> String {
    format!("{EXAMPLES}\n{SCHEMA}")
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  sockeye connect ws://127.0.0.1:9001/               talk to it; /help shows the commands
  sockeye connect ws://127.0.0.1:9001/ <messages     as a filter: each line is a message
  sockeye connect ws://127.0.0.1:9001/ --send @order.json
                                                     a file as one message
  sockeye connect ws://127.0.0.1:9001/ --send hi -e hi -t 5 </dev/null
                                                     as a test: look at the exit status
  sockeye connect ws://127.0.0.1:9001/ --send '{\"id\":7}' -e 'json:{\"id\":7}' -t 5 </dev/null
  sockeye connect ws://127.0.0.1:7681/ --protocol dumb-increment-protocol --count 10
  sockeye connect ws://127.0.0.1:9001/ --binary hex --send 'de ad be ef' --hold
  sockeye connect ws://127.0.0.1:9001/ --json --hold | jq .data
  sockeye connect -v ws://127.0.0.1:9001/            show the handshake, too
  sockeye connect ws://127.0.0.1:9001/ --no-compress
                                                     as a client that knows no compression
  sockeye connect --listen 9002                      wait for a client and talk to it
  sockeye connect ws://127.0.0.1:7681/ --topic news --last 10
                                                     messages of a topic, over breaks of the connection

On a terminal, lines can be edited and have a history, which Ctrl-R searches, and messages appear above the line. A line that begins with / is a \
command: /close [CODE [REASON]], /quit, /ping [TEXT], /help. A line that begins with // is sent with one slash.

Otherwise each line of standard input is a message, and each message a line of standard output; --binary raw reads and \
writes plain bytes. How the connection ended is written to standard error.

Exit status: 0 success, 1 general failure, 2 usage, 3 not resolved or not connected, 4 TLS failed, 5 the server refused the handshake, 6 a protocol error or an abnormal close (not 1000, 1001 or a close without a code), 7 an expectation was not \
met, 124 timed out.
";
