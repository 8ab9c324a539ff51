//! The token that a hub is shown.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::failure::Failure;
use crate::options::client::read_first;

/// Where it comes from.
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    /// Token to show the hub; visible in the process list [default: SOCKEYE_TOKEN in the environment]
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,

    /// File whose first line is the token
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The option that is given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let file = self.token_file.as_ref().map(|_| "--token-file");
        self.token.as_ref().map(|_| "--token").or(file)
    }

    /// # Errors
    /// The file cannot be read, or begins with an empty line.
    pub(crate) fn read(&self) -> Result<Option<String>, Failure> {
        if let Some(token) = &self.token {
            tracing::warn!("--token makes the token visible in the process list; --token-file and {VARIABLE} do not");
            return Ok(Some(token.clone()));
        }
        let Some(path) = &self.token_file else {
            return Ok(std::env::var(VARIABLE).ok().filter(|token| !token.is_empty()));
        };
        let wrong = |error| Failure::usage(format!("--token-file {}: {error}", path.display()));
        let text = read_first(path).map_err(|error| wrong(error.to_string()))?;
        match text.lines().next().map(str::trim).filter(|token| !token.is_empty()) {
            Some(token) => Ok(Some(token.to_owned())),
            None => Err(wrong("its first line is empty".to_owned())),
        }
    }
}

const VARIABLE: &str = "SOCKEYE_TOKEN";
