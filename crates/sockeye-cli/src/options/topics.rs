//! The options of a hub.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use sockeye::topics::{SlowReader, TopicOptions};

use crate::failure::Failure;
use crate::options::client::read_first;
use crate::units::{parse_size, parse_some_time, whole};

#[derive(Args, Clone, Debug)]
pub(crate) struct TopicsArgs {
    /// Be a hub: clients subscribe to topics and publish to them (sockeye.topics.v1)
    ///
    /// Anybody may subscribe. Publishing needs a token, also with POST to /topics/NAME. `sockeye connect --topic` and `sockeye publish` are clients, and
    /// so is the page /topics.html.
    #[arg(long)]
    pub(crate) topics: bool,

    /// Messages of each topic that are kept for clients that come late or come back; 0 for none
    #[arg(long, value_name = "N", requires = "topics", default_value_t = 100, value_parser = whole::<u32>(0..=100_000))]
    pub(crate) history: u32,

    /// Keep no message longer than this, such as 1h [default: as long as there is room]
    #[arg(long, value_name = "TIME", requires = "topics", value_parser = parse_some_time)]
    pub(crate) history_age: Option<Duration>,

    /// Broker between this server and others: redis://HOST or nats://HOST
    ///
    /// With --history the broker keeps the messages (Redis streams, JetStream), and any server goes on where a client was. With --history 0 it only
    /// passes them on. Also redis://USER:PASSWORD@HOST:PORT and nats://USER:PASSWORD@HOST:PORT; rediss:// and tls:// (NATS) for TLS. To keep the
    /// password out of the process list, use --backplane-file.
    #[arg(long, value_name = "URL", requires = "topics", value_hint = ValueHint::Url)]
    pub(crate) backplane: Option<String>,

    /// File whose first line is the URL of the broker
    #[arg(long, value_name = "FILE", requires = "topics", conflicts_with = "backplane", value_hint = ValueHint::FilePath)]
    pub(crate) backplane_file: Option<PathBuf>,

    /// Token for publishing; visible in the process list [default: a random one, which is printed]
    #[arg(long, value_name = "TOKEN", requires = "topics", conflicts_with = "publish_token_file")]
    pub(crate) publish_token: Option<String>,

    /// File whose first line is the token for publishing
    #[arg(long, value_name = "FILE", requires = "topics", value_hint = ValueHint::FilePath)]
    pub(crate) publish_token_file: Option<PathBuf>,

    /// Let anybody publish who can connect
    #[arg(long, requires = "topics", conflicts_with_all = ["publish_token", "publish_token_file"])]
    pub(crate) open_publish: bool,

    /// Longest message of a topic, at most 256K
    #[arg(long, value_name = "SIZE", requires = "topics", default_value = "64K", value_parser = parse_message_bytes)]
    pub(crate) topic_message_bytes: usize,

    /// What happens to a client for which more messages of a topic wait than may
    #[arg(long, value_name = "WHAT", requires = "topics", default_value = "close")]
    pub(crate) slow_reader: OnSlowReader,

    /// Messages of a topic that may wait for one client
    ///
    /// Those that the system has taken for it do not count.
    #[arg(long, value_name = "N", requires = "topics", default_value_t = 1024, value_parser = whole::<u32>(1..=1_000_000))]
    pub(crate) waiting_messages: u32,
}

/// The values of `--slow-reader`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum OnSlowReader {
    /// It is closed with 1013, and goes on where it was when it comes back
    Close,
    /// It loses the oldest message
    DropOldest,
    /// It loses the newest message
    DropNewest,
    /// It loses the message with the same key, whatever the number; beyond that the oldest
    KeepLatest,
}

/// As JSON a message may be six times as long, and is looked at as a whole: with this bound a hostile one takes some MiB for a moment.
const MESSAGE_BYTES: usize = 256 << 10;

fn parse_message_bytes(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= MESSAGE_BYTES);
    bytes.ok_or_else(|| "a message of a topic has at most 256K".to_owned())
}

impl TopicsArgs {
    /// How topics treat clients that read too slowly.
    pub(crate) fn topic_options(&self) -> TopicOptions {
        let slow_reader = match self.slow_reader {
            OnSlowReader::Close => SlowReader::Close,
            OnSlowReader::DropOldest => SlowReader::DropOldest,
            OnSlowReader::DropNewest => SlowReader::DropNewest,
            OnSlowReader::KeepLatest => SlowReader::KeepLatest,
        };
        TopicOptions::default().with_slow_reader(slow_reader).with_waiting_messages(self.waiting_messages)
    }

    /// The token for publishing. `None`: it is to be made.
    ///
    /// # Errors
    /// The file cannot be read, or a token is empty.
    pub(crate) fn token(&self) -> Result<Option<String>, Failure> {
        let token = match &self.publish_token_file {
            Some(path) => {
                let wrong = |error| Failure::usage(format!("--publish-token-file {}: {error}", path.display()));
                read_first(path)
                    .map_err(|error| wrong(error.to_string()))?
                    .lines()
                    .next()
                    .map(|line| line.trim().to_owned())
            }
            None => self.publish_token.clone(),
        };
        match token {
            Some(token) if token.is_empty() => Err(Failure::usage("the token for publishing is empty".to_owned())),
            token => Ok(token),
        }
    }

    /// The URL of the broker, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn broker(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.backplane_file else { return Ok(self.backplane.clone()) };
        let wrong = |error| Failure::usage(format!("--backplane-file {}: {error}", path.display()));
        let text = read_first(path).map_err(|error| wrong(error.to_string()))?;
        Ok(text.lines().next().map(|line| line.trim().to_owned()))
    }
}
