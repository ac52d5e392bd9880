//! From a program's arguments to its exit code.

use std::{ffi::OsString, io::IsTerminal, process::ExitCode};

use clap::{ArgMatches, Parser, parser::ValueSource};
use tracing_subscriber::EnvFilter;

use crate::{Failure, Global, Report, Session, failure, output};

/// A command line with the options that all have.
pub trait Program: Parser {
    /// Those options.
    fn global(&self) -> &Global;

    /// Does what the arguments say.
    fn run(self, session: &Session) -> impl Future<Output = Result<Report, Failure>>;

    /// The exit code of arguments that clap refused.
    fn usage_code(_arguments: &[OsString]) -> u8 {
        failure::USAGE
    }
}

/// The whole of a program: reads the arguments, runs it, prints its report or failure, and gives the exit code.
pub fn main<P: Program>() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (program, session) = match parse::<P>(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => return wrong_usage::<P>(&error, &arguments),
    };
    start_log(program.global().verbose);
    let json = session.json;
    match run(program, &session) {
        Ok(report) => {
            let code = report.code();
            report.print(json);
            ExitCode::from(code)
        }
        Err(failure) => {
            output::print_failure(&failure, json);
            ExitCode::from(failure.code)
        }
    }
}

fn parse<P: Program>(arguments: &[OsString]) -> Result<(P, Session), clap::Error> {
    let mut command = P::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let program = P::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    let mut session = Session::new(program.global());
    session.node_url_given = ["node_url", "node_port"].iter().any(|id| is_on_command_line(&matches, id));
    Ok((program, session))
}

fn is_on_command_line(matches: &ArgMatches, id: &str) -> bool {
    let mut innermost = matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    innermost.value_source(id) == Some(ValueSource::CommandLine)
}

fn run<P: Program>(program: P, session: &Session) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::could_not_run)?;
    runtime.block_on(program.run(session))
}

/// Help and version go where clap sends them. Wrong usage is one JSON object if `--json` is among the arguments, which
/// clap could not read.
fn wrong_usage<P: Program>(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let code = P::usage_code(arguments);
    if error.use_stderr() && arguments.iter().any(|argument| argument == "--json") {
        let failure = Failure { code, ..Failure::usage(usage_message(&error.to_string())) };
        output::print_failure(&failure, true);
    } else {
        // A reader that has closed the stream wants no help.
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(code) } else { ExitCode::SUCCESS }
}

/// The first paragraph of clap's text, which may list the arguments that are missing, in one line.
fn usage_message(text: &str) -> String {
    let paragraph: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    paragraph.join(" ").trim_start_matches("error: ").to_string()
}

/// RUST_LOG says more exactly what `-v` says roughly.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "cloister=info,cloister_client=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
