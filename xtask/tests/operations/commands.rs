//! What the command lines of our programs take, as their `--help` says.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
};

const PROGRAMS: [&str; 3] = ["cloister", "cloister-node", "cloister-worker"];

/// A program of the workspace: a test lies in `deps`, one below the programs.
pub fn program(name: &str) -> PathBuf {
    if name == "cargo xtask" {
        return env!("CARGO_BIN_EXE_xtask").into();
    }
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join(name);
    assert!(path.is_file(), "there is no {}; `cargo xtask test` builds it", path.display());
    path
}

/// What `--help` of a command lists.
#[derive(Debug)]
pub struct Help {
    commands: Vec<String>,
    options: BTreeSet<String>,
    pub text: String,
}

impl Help {
    fn of(words: &[String]) -> Self {
        let mut command = Command::new(program(&words[0]));
        let output = command.args(&words[1..]).arg("--help").env("COLUMNS", "500").output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut help = Self { commands: vec![], options: BTreeSet::new(), text: text.clone() };
        let mut section = "";
        for line in text.lines() {
            if !line.starts_with(' ') {
                section = line;
            }
            // Explanations stand further to the right.
            let indent = line.len() - line.trim_start().len();
            let mut names = line.split([' ', ',', '=', '[']).filter(|word| !word.is_empty());
            if section == "Commands:" && indent == 2 {
                help.commands.extend(names.next().map(Into::into));
            } else if (2..8).contains(&indent) {
                let names = names.take_while(|word| word.starts_with('-'));
                help.options.extend(names.map(|name| name.trim_end_matches('.').to_owned()));
            }
        }
        help
    }
}

/// Helps of all commands that were asked about.
#[derive(Default)]
pub struct Helps(BTreeMap<Vec<String>, Help>);

impl Helps {
    pub fn of(&mut self, words: &[String]) -> &Help {
        self.0.entry(words.to_vec()).or_insert_with(|| Help::of(words))
    }

    /// Options of `arguments` that the program does not have there.
    pub fn unknown(&mut self, name: &str, arguments: &[&str]) -> Vec<String> {
        let mut words = vec![name.to_owned()];
        for argument in arguments {
            if self.of(&words).commands.iter().any(|command| command == argument) {
                words.push((*argument).to_owned());
            }
        }
        let commands_missing = words.len() == 1 && !self.of(&words).commands.is_empty();
        let help = self.of(&words);
        let options = arguments.iter().filter_map(|argument| option_in(argument));
        let unknown = options.filter(|option| !help.options.contains(*option));
        let mut unknown: Vec<_> = unknown.map(|option| format!("{} has no {option}", words.join(" "))).collect();
        if commands_missing && name != "cloister-node" && arguments.first().is_some_and(|first| !first.starts_with('-'))
        {
            unknown.push(format!("{name} has no command {}", arguments[0]));
        }
        unknown
    }

    /// Every option of every command of our programs.
    pub fn all(&mut self) -> BTreeSet<String> {
        let mut todo: Vec<Vec<String>> = PROGRAMS.iter().map(|name| vec![(*name).to_owned()]).collect();
        let mut options = BTreeSet::new();
        while let Some(words) = todo.pop() {
            let help = self.of(&words);
            options.extend(help.options.iter().cloned());
            // Below the node's options there is nothing of ours.
            if words[0] != "cloister-node" {
                let commands = help.commands.iter().filter(|command| *command != "help");
                todo.extend(commands.map(|command| [words.clone(), vec![command.clone()]].concat()));
            }
        }
        options
    }
}

/// `--option` at the beginning of a word, without its value.
pub fn option_in(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--")?;
    let end = name.find(|letter: char| !letter.is_ascii_lowercase() && letter != '-').unwrap_or(name.len());
    (end > 0).then(|| &word[..end + 2])
}

/// A line of a shell that runs one of our programs: its name and its arguments.
pub fn command(line: &str) -> Option<(&str, Vec<&str>)> {
    let line = line.split(" #").next().unwrap_or_default();
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.starts_with(&["sudo", "-u"]) {
        words.drain(..3.min(words.len()));
    }
    if words.starts_with(&["cargo", "xtask"]) {
        return Some(("cargo xtask", words[2..].to_vec()));
    }
    let name = PROGRAMS.into_iter().find(|name| words.first() == Some(name))?;
    Some((name, words[1..].to_vec()))
}
