//! The options of `sockeye completions` and `sockeye man`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Shell to print completions for
    pub(crate) shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct Man {
    /// Folder for the pages; created if it does not exist
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
}

pub(crate) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  sockeye completions bash > ~/.local/share/bash-completion/completions/sockeye
  sockeye completions fish > ~/.config/fish/completions/sockeye.fish
  sockeye completions zsh > _sockeye         then move it to a folder of $fpath";
