//! A client built on the library, for the peers that judge it: `conformance-client PART ..`.
//!
//! Layers, top to bottom: this file reads the command line; [`autobahn`] does what a fuzzing server asks.

#![forbid(unsafe_code)]

mod autobahn;

use std::{env, process::ExitCode};

const USAGE: &str = "\
Usage: conformance-client PART

  autobahn URL
        Does all the cases of Autobahn's fuzzing server.
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("conformance-client: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    match *words {
        ["autobahn", url] => autobahn::run(url),
        _ => Err(USAGE.to_owned()),
    }
}
