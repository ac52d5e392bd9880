//! What this command line tells of itself: completions for shells, pages of the manual.

use std::{fs, path::Path};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{Cli, Failure, Report};

/// The command line of `cloister`, as clap knows it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// `completions`
pub fn completions(shell: Shell) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), NAME, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Report::default().line(script.trim_end()).hidden("script", script)
}

/// `man`: to standard output the page of one command, into a directory those of all.
pub fn pages(name: &[String], directory: Option<&Path>) -> Result<Report, Failure> {
    let mut root = command().disable_help_subcommand(true);
    root.build();
    if let Some(directory) = directory {
        let place = || format!("cannot write to {}", directory.display());
        fs::create_dir_all(directory).with_context(place).map_err(Failure::could_not_run)?;
        let mut files = Vec::new();
        write_all(&root, directory, &mut files).with_context(place).map_err(Failure::could_not_run)?;
        let text = format!("{} pages in {}", files.len(), directory.display());
        return Ok(Report::default().line(text).hidden("pages", files));
    }
    let mut wanted = &root;
    for word in name {
        wanted = wanted.find_subcommand(word).ok_or_else(|| {
            let failure = Failure::usage(format_args!("there is no command {:?}", name.join(" ")));
            failure.with_hint("`cloister help` lists them")
        })?;
    }
    let page = page(wanted).map_err(Failure::could_not_run)?;
    Ok(Report::default().line(page.trim_end()).hidden("page", page))
}

fn write_all(command: &clap::Command, directory: &Path, files: &mut Vec<String>) -> anyhow::Result<()> {
    let file = directory.join(Man::new(command.clone()).get_filename());
    fs::write(&file, page(command)?)?;
    files.push(file.display().to_string());
    command.get_subcommands().try_for_each(|command| write_all(command, directory, files))
}

fn page(command: &clap::Command) -> anyhow::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).manual("Cloister").render(&mut page)?;
    Ok(String::from_utf8(page)?)
}

const NAME: &str = "cloister";
