//! What a package ships beside the program: completions for shells and man pages, both from the definitions of
//! [`args`](crate::args). The program writes them itself, so they are of exactly the program that is shipped.

pub(crate) mod args;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap::builder::Resettable;
use clap_complete::{Shell, generate};
use clap_mangen::roff::{Roff, roman};

use crate::failure::Failure;

/// Prints the completions of `shell`.
pub(crate) fn print_completions(command: Command, shell: Shell) -> Result<(), Failure> {
    match io::stdout().lock().write_all(&completions(command, shell)) {
        // A reader that stops early is not a failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::general(format!("cannot print the completions: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a man page for the command and one for each subcommand into the folder `out`, which is made if need be.
pub(crate) fn write_pages(command: Command, out: &Path) -> Result<(), Failure> {
    let refused = |error: io::Error| Failure::usage(format!("cannot write man pages to {}: {error}", out.display()));
    fs::create_dir_all(out).map_err(refused)?;
    for (name, page) in pages(command).map_err(refused)? {
        fs::write(out.join(name), page).map_err(refused)?;
    }
    Ok(())
}

/// The command without what its help hides.
fn visible(command: &Command) -> Command {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let about = command.get_about().cloned().unwrap_or_default();
    // A name has to be static. There are few, and the process ends once they are printed.
    let name: &'static str = Box::leak(command.get_name().to_owned().into_boxed_str());
    Command::new(name)
        .about(about)
        // What excludes what does not matter to completions, and may name a group.
        .args(shown.map(|argument| argument.clone().conflicts_with(Resettable::Reset).requires(Resettable::Reset)))
        .subcommands(command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).map(visible))
}

fn completions(command: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut command = visible(&command);
    generate(shell, &mut command, "sockeye", &mut script);
    script
}

/// File names and pages. `sockeye serve` is in `sockeye-serve.1`, as `man sockeye serve` looks for it.
fn pages(command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = command.disable_help_subcommand(true);
    root.build();
    let mut pages = vec![page(root.clone())?];
    for subcommand in root.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        pages.push(page(subcommand.clone())?);
    }
    Ok(pages)
}

fn page(command: Command) -> io::Result<(String, Vec<u8>)> {
    let subcommands = command.has_subcommands();
    let has = |name| command.get_arguments().any(|argument| argument.get_long() == Some(name));
    let (is_client, is_colored) = (has("proxy"), has("color"));
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let page = clap_mangen::Man::new(command).source(concat!("sockeye ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if subcommands {
        page.render_subcommands_section(&mut text)?;
    }
    closing(&after).to_writer(&mut text)?;
    ending(is_client, is_colored, subcommands).to_writer(&mut text)?;
    Ok((page.get_filename(), text))
}

/// What the help has no place for.
fn ending(is_client: bool, is_colored: bool, is_root: bool) -> Roff {
    let mut page = Roff::default();
    if is_client {
        page.control("SH", ["ENVIRONMENT"]);
        page.text([roman(
            "http_proxy, https_proxy, all_proxy: the proxy for ws, for wss, and for both, in lower or upper case. no_proxy: \
             hosts to reach directly. --proxy is stronger than all of them. Each is http://, https:// or socks5://, as for \
             --proxy; https_proxy is for wss, and need not be https://.",
        )]);
    }
    if is_colored {
        page.control("PP", [])
            .text([roman("NO_COLOR: if it is set and not empty, there are no colours, unless --color says so.")]);
    }
    if !is_root {
        page.control("SH", ["SEE ALSO"]).text([roman("sockeye(1)")]);
    }
    page
}

/// What follows the options: examples keep their lines, the rest is text.
fn closing(after: &str) -> Roff {
    let mut page = Roff::default();
    let mut notes = false;
    for paragraph in after.split("\n\n") {
        if let Some(examples) = paragraph.strip_prefix("Examples:\n") {
            page.control("SH", ["EXAMPLES"]).control("nf", []);
            for line in examples.lines() {
                page.text([roman(line)]);
            }
            page.control("fi", []);
        } else if let Some(statuses) = paragraph.strip_prefix("Exit status: ") {
            page.control("SH", ["EXIT STATUS"]).text([roman(statuses)]);
            notes = false;
        } else if !paragraph.is_empty() {
            page.control(if notes { "PP" } else { "SH" }, (!notes).then_some("NOTES"));
            page.text([roman(paragraph)]);
            notes = true;
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Arguments;

    /// The visible subcommands with the long options that each has, those of clap included.
    fn definitions() -> Vec<(String, Vec<String>)> {
        let mut root = Arguments::command();
        root.build();
        let visible = root.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
        let definitions: Vec<_> = visible
            .map(|subcommand| {
                let options = subcommand.get_arguments().filter(|argument| !argument.is_hide_set());
                let options = options.filter_map(|option| option.get_long().map(str::to_owned));
                (subcommand.get_name().to_owned(), options.collect::<Vec<_>>())
            })
            .collect();
        assert!(definitions.iter().any(|(name, options)| name == "serve" && options.iter().any(|o| o == "port")));
        definitions
    }

    #[test]
    fn completions_offer_nothing_that_the_help_hides() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(Arguments::command(), shell)).unwrap();
            for hidden in ["syslog-socket", "journal-socket", "sockeye__man", "Write the man pages"] {
                assert!(!script.contains(hidden), "{shell}: {hidden}");
            }
        }
    }

    #[test]
    fn completions_have_every_subcommand_and_option() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(Arguments::command(), shell)).unwrap();
            for (subcommand, options) in definitions() {
                assert!(script.contains(&subcommand), "{shell}: {subcommand}");
                for option in options {
                    let written = if shell == Shell::Fish { format!("-l {option}") } else { format!("--{option}") };
                    assert!(script.contains(&written), "{shell}: {subcommand} {written}");
                }
            }
        }
    }

    #[test]
    fn there_is_a_page_for_each_subcommand_with_its_options() {
        let pages = pages(Arguments::command()).unwrap();
        let page = |name: &str| {
            let (_, page) = pages.iter().find(|(file, _)| file == name).unwrap_or_else(|| panic!("no {name}"));
            // A hyphen that is not to be broken is written with a backslash.
            String::from_utf8(page.clone()).unwrap().replace("\\-", "-")
        };
        let root = page("sockeye.1");
        for (subcommand, options) in definitions().iter().filter(|(name, _)| name != "help") {
            assert!(root.contains(&format!("sockeye-{subcommand}(1)")), "{subcommand}: {root}");
            let page = page(&format!("sockeye-{subcommand}.1"));
            assert!(page.contains(&format!("sockeye {subcommand}")), "{page}");
            for option in options {
                assert!(page.contains(&format!("--{option}")), "{subcommand}: --{option}: {page}");
            }
            assert!(page.contains(".SH \"SEE ALSO\"") || page.contains(".SH SEE ALSO"), "{page}");
            if subcommand == "connect" {
                assert!(page.contains(".SH EXAMPLES") && page.contains(".SH ENVIRONMENT"), "{page}");
                assert!(page.contains("EXIT STATUS"), "{page}");
            }
        }
        assert_eq!(pages.len(), definitions().len(), "as many as subcommands but `help`, and the command's own");
    }
}
