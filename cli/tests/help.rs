//! What the command line tells of itself: help, pages of the manual, completions.

mod command;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use command::{Cli, text};

const SHARD: &str = "0x0707070707070707070707070707070707070707070707070707070707070707";
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

/// Every command with its own, those below it too.
fn each(command: &mut clap::Command, visit: &mut impl FnMut(&mut clap::Command)) {
    visit(command);
    for below in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        each(below, visit);
    }
}

fn built() -> clap::Command {
    let mut command = cloister_cli::command().term_width(100);
    command.build();
    command
}

fn long_help(path: &[&str]) -> String {
    let mut command = built();
    let wanted = path.iter().skip(1).fold(&mut command, |command, name| command.find_subcommand_mut(name).unwrap());
    wanted.render_long_help().to_string()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text[text.find(start).unwrap()..text.find(end).unwrap()].trim_end()
}

#[test]
fn the_help_of_every_command_is_the_one_that_was_read() {
    // Options of all commands, and of all that speak to a shard: once is enough.
    let (root, trusted) = (long_help(&["cloister"]), long_help(&["cloister", "trusted"]));
    let (common, shard) =
        (between(&root, "Connections:", "Accounts: "), between(&trusted, "Which shard:", "Connections:"));
    let mut help = String::new();
    each(&mut built(), &mut |command| {
        let name = command.get_bin_name().unwrap().to_string();
        let mut text = command.render_long_help().to_string();
        assert!(text.contains(common), "{name}");
        if name != "cloister" {
            text = text.replace(common, "Connections, Keys, Output: as of `cloister`");
        }
        if name != "cloister trusted" {
            text = text.replace(shard, "Which shard: as of `cloister trusted`");
        }
        help += &format!("{:=<100}\n{}\n\n", format!("== {name} "), text.trim_end());
    });
    // clap leaves spaces at the ends of lines.
    let help: String = help.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    if std::env::var_os("CLOISTER_RENEW_HELP").is_some() {
        fs::write(&file, &help).unwrap();
    }
    let read = fs::read_to_string(&file).unwrap();
    let differs = read.lines().zip(help.lines()).find(|(read, shown)| read != shown);
    assert!(
        read == help,
        "the help differs from cli/tests/help.txt, at first in {differs:?}. Is it meant? Then renew it with \
         CLOISTER_RENEW_HELP=1 cargo test --release -p cloister-cli --test help, and read what changed"
    );
}

#[test]
fn every_command_argument_and_value_is_explained() {
    let mut seen = 0;
    each(&mut built(), &mut |command| {
        let name = command.get_bin_name().unwrap().to_string();
        assert!(command.get_about().is_some(), "{name}");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{name} {}", argument.get_id());
            // Names of shells explain themselves.
            if argument.get_id() != "shell" {
                for value in argument.get_possible_values() {
                    let flag = ["true", "false"].contains(&value.get_name());
                    assert!(flag || value.get_help().is_some(), "{name} {}", argument.get_id());
                }
            }
        }
        seen += 1;
    });
    assert!(seen > 40, "{seen} commands");
}

/// The command lines of an example, as a shell would split them.
fn commands(line: &str) -> Vec<Vec<String>> {
    let explained = line.trim().split("  ").next().unwrap_or_default().replace("\"$(", "| ").replace(")\"", "");
    let parts = explained.split('|').map(|part| part.split(['<', '>']).next().unwrap_or_default().trim().to_string());
    parts.filter(|part| part.starts_with("cloister ")).map(|part| words(&part)).collect()
}

fn words(part: &str) -> Vec<String> {
    let word = |word: &str| match word {
        "FINGERPRINT" | "$MRENCLAVE" | "SHARD" | "0x5f…" => SHARD.to_string(),
        "5F…" => ALICE.to_string(),
        word => word.to_string(),
    };
    let mut words: Vec<_> = part.split_whitespace().map(word).collect();
    // Its value was a command of its own.
    if words.last().is_some_and(|word| word == "--shard") {
        words.push(SHARD.to_string());
    }
    words
}

#[test]
fn every_example_is_a_command_line() {
    let mut examples = BTreeSet::new();
    each(&mut built(), &mut |command| {
        let texts = [command.get_after_help(), command.get_after_long_help()];
        for text in texts.into_iter().flatten() {
            examples.extend(text.to_string().lines().filter(|line| line.starts_with("  ")).flat_map(commands));
        }
    });
    assert!(examples.len() > 40, "{examples:?}");
    for example in examples {
        if let Err(error) = cloister_cli::command().try_get_matches_from(&example) {
            panic!("{}: {error}", example.join(" "));
        }
    }
}

#[test]
fn short_help_says_where_more_stands() {
    let help = text(&Cli::new().run(&["-h"]).stdout);
    assert!(help.contains("`cloister COMMAND --help` shows examples"), "{help}");
    assert!(!help.contains("Exit codes"), "{help}");
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let cli = Cli::new();
    let directory = cli.home.path().join("man1");
    let (code, written) = cli.json(&["man", "--out", directory.to_str().unwrap()]);
    assert_eq!(code, 0, "{written}");
    let mut expected = BTreeSet::new();
    each(&mut built(), &mut |command| {
        let name = command.get_bin_name().unwrap();
        let name = name.replace(' ', "-");
        let page = fs::read_to_string(directory.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        let about = command.get_about().unwrap().to_string().replace('-', "\\-");
        let first = about.split(['`', '\'', ';', '.']).next().unwrap();
        assert!(page.contains(first), "{name}: {first}");
        expected.insert(directory.join(format!("{name}.1")).display().to_string());
    });
    let pages = written["pages"].as_array().unwrap().iter();
    assert_eq!(pages.map(|page| page.as_str().unwrap().to_string()).collect::<BTreeSet<_>>(), expected);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), expected.len());

    let printed = text(&cli.run(&["man", "trusted", "transfer"]).stdout);
    let page = fs::read_to_string(directory.join("cloister-trusted-transfer.1")).unwrap();
    assert_eq!(printed.trim_end(), page.trim_end());
    assert!(text(&cli.run(&["man"]).stdout).contains(".TH cloister 1"));

    let (code, failure) = cli.json(&["man", "trusted", "nonsense"]);
    assert_eq!((code, failure["error"].as_str()), (2, Some("there is no command \"trusted nonsense\"")));
    let (code, failure) = cli.json(&["man", "--out", "/dev/null/man1"]);
    assert_eq!(code, 1);
    assert!(failure["error"].as_str().unwrap().starts_with("cannot write to /dev/null/man1: "), "{failure}");
}

#[test]
fn every_shell_completes_every_command() {
    let cli = Cli::new();
    let mut names = BTreeSet::new();
    each(&mut built(), &mut |command| {
        names.insert(command.get_name().to_string());
    });
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = cli.run(&["completions", shell]);
        let script = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0));
        for name in &names {
            assert!(script.contains(name), "{shell}: {name}");
        }
        let (_, object) = cli.json(&["completions", shell]);
        assert_eq!(object["script"].as_str().unwrap().trim_end(), script.trim_end());
    }
    let script = cli.home.path().join("cloister.bash");
    fs::write(&script, cli.run(&["completions", "bash"]).stdout).unwrap();
    let asks = "source $0; COMP_WORDS=(cloister trusted unshield-); COMP_CWORD=2; _cloister cloister unshield- \
                trusted; echo ${COMPREPLY[@]}";
    let output = Command::new("bash").args(["-c", asks, script.to_str().unwrap()]).output().unwrap();
    assert_eq!((text(&output.stdout).trim(), text(&output.stderr).as_str()), ("unshield-funds", ""));

    let (code, failure) = cli.json(&["completions", "csh"]);
    assert_eq!((code, failure["code"].as_i64()), (2, Some(2)), "{failure}");
}
