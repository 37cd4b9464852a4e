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

fn write_all(whole: &Command, directory: &Path) -> Result<(), Fault> {
    fs::create_dir_all(directory).map_err(|e| Fault::io("create", directory, &e))?;
    for command in [whole].into_iter().chain(whole.get_subcommands()) {
        let name = match command.get_name() {
            "filmstrip" => "filmstrip.1".to_owned(),
            "help" => continue,
            name => format!("filmstrip-{name}.1"),
        };
        let path = directory.join(name);
        fs::write(&path, page(command)?).map_err(|e| Fault::io("write", &path, &e))?;
    }
    Ok(())
}

fn page(command: &Command) -> Result<Vec<u8>, Fault> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}
