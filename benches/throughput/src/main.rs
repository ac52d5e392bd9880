//! `cargo xtask bench throughput`: prints one JSON line a figure; what it does meanwhile goes to standard error.

use std::process::ExitCode;

use clap::Parser;
use cloister_throughput::{measurement::measure, options::Options};

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Options::parse()).await {
        Ok(figures) => {
            figures.iter().for_each(|figure| println!("{}", figure.json()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
