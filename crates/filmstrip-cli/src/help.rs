//! Completions and manual pages, made from the same description as `--help`.

use crate::args::Args;
use crate::fault::Fault;
use crate::out::Out;
use clap::{Args as Arguments, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Arguments)]
#[command(after_help = "\
Examples:
  filmstrip completions bash > ~/.local/share/bash-completion/completions/filmstrip
  filmstrip completions zsh > ~/.zfunc/_filmstrip
  filmstrip completions fish > ~/.config/fish/completions/filmstrip.fish")]
pub(crate) struct CompletionsOptions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Arguments)]
#[command(after_help = "\
Examples:
  filmstrip man | man -l -
  filmstrip man import | man -l -
  filmstrip man --into ~/.local/share/man/man1")]
pub(crate) struct ManOptions {
    /// The command; without one, filmstrip itself
    #[arg(value_name = "COMMAND")]
    name: Option<String>,

    /// Write the page of each command into this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "name")]
    into: Option<PathBuf>,
}

pub(crate) fn completions(options: &CompletionsOptions, out: &mut Out) -> Result<(), Fault> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Args::command(), "filmstrip", &mut script);
    Ok(out.bytes().write_all(&script)?)
}

pub(crate) fn man(options: &ManOptions, out: &mut Out) -> Result<(), Fault> {
    let mut whole = Args::command();
    whole.build();
    if let Some(directory) = &options.into {
        return write_all(&whole, directory);
    }
    let command = match &options.name {
        None => &whole,
        Some(name) => whole.find_subcommand(name).ok_or_else(|| {
            let names: Vec<_> = whole.get_subcommands().map(Command::get_name).collect();
            Fault::bad(format!("there is no command {name:?}; there are {}", names.join(", ")))
        })?,
    };
    Ok(out.bytes().write_all(&page(command)?)?)
}

/// Writes the page of `command`, and those of the commands within it.
fn write_all(command: &Command, directory: &Path) -> Result<(), Fault> {
    fs::create_dir_all(directory).map_err(|e| Fault::io("create", directory, &e))?;
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page(command)?).map_err(|e| Fault::io("write", &path, &e))?;
    let within = command.get_subcommands().filter(|command| command.get_name() != "help");
    within.into_iter().try_for_each(|command| write_all(command, directory))
}

fn page(command: &Command) -> Result<Vec<u8>, Fault> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}
