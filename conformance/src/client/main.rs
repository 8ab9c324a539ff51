//! A client built on the library, for the peers that judge it: `conformance-client PART ..`.
//!
//! Layers, top to bottom: this file reads the command line; [`autobahn`] does what a fuzzing server asks; [`peer`] and
//! [`libwebsockets`] demand things of servers written by others, [`echo`] of any server that echoes; [`link`] is a
//! connection as a program of steps sees it; [`checks`] counts what was demanded.

#![forbid(unsafe_code)]

mod autobahn;
mod checks;
mod echo;
mod libwebsockets;
mod link;
mod peer;

use std::{env, process::ExitCode};

use crate::{checks::Checks, link::Way};

const USAGE: &str = "\
Usage: conformance-client [--compress] PART

  --compress
        Offers compression, to which each connection has to agree.
  autobahn URL
        Does all the cases of Autobahn's fuzzing server.
  peer NAME URL [PROXY]
        Everything, against one of the servers in conformance/interop/peers.
  libwebsockets URL
        The counter and the mirror of libwebsockets' test server.
  libwebsockets-status URL
        What that server compresses.
  echo NAME URL [PROXY]
        Messages of all sizes, against any server that echoes.
  fails NAME URL TEXT [PROXY]
        Connecting has to fail, for a reason in which TEXT occurs.

PROXY is a proxy's URL, or `env` for what the environment says. NAME is what the checks are called.
Each check prints `ok NAME` or `not ok NAME: why`; at the end stands how many there were, and how many connections.
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
    let mut checks = Checks::default();
    let words = match words {
        ["--compress", rest @ ..] => {
            link::compress();
            rest
        }
        all => all,
    };
    match *words {
        ["autobahn", url] => return autobahn::run(url),
        ["peer", name, url] => peer::run(&mut checks, name, url, &Way::Direct),
        ["peer", name, url, proxy] => peer::run(&mut checks, name, url, &Way::through(proxy)?),
        ["libwebsockets", url] => libwebsockets::run(&mut checks, url),
        ["libwebsockets-status", url] => libwebsockets::status(&mut checks, url),
        ["echo", name, url] => echo::run(&mut checks, name, url, &Way::Direct),
        ["echo", name, url, proxy] => echo::run(&mut checks, name, url, &Way::through(proxy)?),
        ["fails", name, url, text] => echo::fails(&mut checks, name, url, &Way::Direct, text),
        ["fails", name, url, text, proxy] => echo::fails(&mut checks, name, url, &Way::through(proxy)?, text),
        _ => return Err(USAGE.to_owned()),
    }
    if let Some(agreed) = link::compressed() {
        checks.check("each connection agreed to compression", || checks::equal(agreed, link::begun()));
    }
    checks.finish()
}
