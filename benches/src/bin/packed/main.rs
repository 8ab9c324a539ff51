//! What compression costs and saves: an echo of the library, clients that compress as browsers do, and zlib-rs alone on the same
//! messages.
//!
//! The clients take turns: each sends a message when the one before it got its answer, so a run is the same as the next to an
//! instruction or two. `cargo xtask bench deflate` counts those of the server, and of what is alone.

#![forbid(unsafe_code)]

mod alone;
mod clients;
mod serve;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sockeye_benches::{corpora::Corpus, packing::Memory};

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// The echo. It ends when its clients have gone.
    Serve,
    /// Its clients.
    Clients,
    /// Only what zlib-rs does for it.
    Alone,
}

/// What is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Nothing.
    Plain,
    /// What the server sends.
    Send,
    /// What it receives.
    Receive,
    /// Both.
    Both,
}

/// Compressed messages, and what they cost.
#[derive(Debug, Parser)]
struct Options {
    role: Role,
    #[arg(long)]
    way: Way,
    #[arg(long)]
    corpus: Corpus,
    #[arg(long)]
    connections: usize,
    /// Messages of each connection.
    #[arg(long)]
    messages: usize,
    /// What machines go on with. That of a busy connection stays with it, and it is the only one then.
    #[arg(long)]
    memory: Memory,
    /// The level of the server's compressor.
    #[arg(long)]
    level: u8,
    /// Where the echo is.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

impl Options {
    /// What each connection says.
    fn texts(&self) -> Vec<Vec<String>> {
        (0..self.connections).map(|which| self.corpus.messages(which as u64, self.messages)).collect()
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.role {
        Role::Serve => serve::run(&options),
        Role::Clients => clients::run(&options),
        Role::Alone => alone::run(&options),
    };
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("packed: {error}");
            ExitCode::FAILURE
        }
    }
}
