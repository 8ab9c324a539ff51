//! The options of compression, the same for servers and clients.

use clap::Args;
use sockeye::Compression;

use crate::units::{parse_size, whole};

#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct CompressArgs {
    /// Compress messages if the other side can, at a LEVEL from 1 (fast, the default) to 9 (small)
    ///
    /// This is permessage-deflate of RFC 7692. Messages of less than 64 bytes are sent as they are. Do not compress messages that
    /// have a secret beside text that others can choose: how long they become tells the secret (CRIME, BREACH).
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = whole::<u8>(1..=9))]
    compress: Option<u8>,

    /// Bytes of past messages kept to compress later ones, per connection and direction, up to 32K [default: 2K]
    ///
    /// More compresses better and takes more memory. 0 compresses each message by itself. A client keeps up to 32 KiB of what its
    /// server sends, whatever this says, unless it is 0. The four busiest connections of a thread compress better than this:
    /// their compressors stay with them.
    #[arg(long, value_name = "SIZE", requires = "compress", allow_hyphen_values = true, value_parser = parse_history)]
    compress_history: Option<usize>,
}

impl CompressArgs {
    /// What was asked for; off unless it was.
    pub(crate) fn compression(self) -> Compression {
        let Some(level) = self.compress else { return Compression::off() };
        let compression = Compression::new().level(level).threshold_bytes(THRESHOLD);
        self.compress_history.map_or(compression, |bytes| compression.history_bytes(bytes))
    }

    /// As [`compression`](Self::compression), but on unless it was asked for otherwise.
    pub(crate) fn or_default(self) -> Compression {
        if self.compress.is_some() { self.compression() } else { Compression::new() }
    }

    /// Says so if compression was asked for, and messages of so many bytes are sent without.
    pub(crate) fn warn_if_short(self, shortest: u64) {
        if self.compress.is_some() && shortest < u64::from(THRESHOLD) {
            tracing::warn!("--compress: messages of less than {THRESHOLD} bytes are sent as they are (--size)");
        }
    }
}

fn parse_history(text: &str) -> Result<usize, String> {
    const HELP: &str = "write a size from 0 to 32K, such as 4K";
    if text == "0" {
        return Ok(0);
    }
    let bytes = parse_size(text).map_err(|_| HELP)?;
    usize::try_from(bytes).ok().filter(|bytes| *bytes <= WINDOW).ok_or_else(|| HELP.to_owned())
}

/// Shorter messages become hardly shorter.
const THRESHOLD: u32 = 64;

/// RFC 7692 section 7.1.2: a window has at most 15 bits.
const WINDOW: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        compress: CompressArgs,
    }

    fn args(options: &[&str]) -> Result<CompressArgs, clap::Error> {
        Line::try_parse_from(["x"].iter().chain(options)).map(|line| line.compress)
    }

    #[test]
    fn options_reach_the_library() {
        let compression = |options| args(options).unwrap().compression();
        let new = Compression::new();
        assert_eq!(compression(&[]), Compression::off());
        assert_eq!(compression(&["--compress"]), new);
        assert_eq!(compression(&["--compress=9"]), new.level(9));
        assert_eq!(compression(&["--compress", "--compress-history", "0"]), new.history_bytes(0));
        assert_eq!(compression(&["--compress=2", "--compress-history", "32K"]), new.level(2).history_bytes(32_768));
    }

    #[test]
    fn where_it_is_the_default_options_still_count() {
        assert_eq!(args(&[]).unwrap().or_default(), Compression::new());
        assert_eq!(args(&["--compress=3"]).unwrap().or_default(), Compression::new().level(3));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (options, word) in [
            (&["--compress=0"][..], "from 1 to 9"),
            (&["--compress=10"], "from 1 to 9"),
            (&["--compress=fast"], "from 1 to 9"),
            (&["--compress", "--compress-history", "33K"], "32K"),
            (&["--compress", "--compress-history", "much"], "32K"),
            (&["--compress", "--compress-history", "-1"], "32K"),
            (&["--compress-history", "4K"], "--compress"),
        ] {
            let error = args(options).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(word), "{options:?}: {error}");
        }
    }
}
