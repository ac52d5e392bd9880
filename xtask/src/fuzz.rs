//! Coverage-guided fuzzing: builds the instrumented fuzzer apart from everything else, runs targets, says what came of
//! it.
//!
//! libFuzzer is C++ that the crate `libfuzzer-sys` brings; instrumentation is LLVM's own pass, which the stable
//! compiler has too. So neither a nightly toolchain nor `cargo fuzz` is needed.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Mutex,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{
    command::{Failed, run},
    output_of,
    workspace::Workspace,
};

/// What to fuzz and for how long.
#[derive(Args)]
pub struct Options {
    /// A target; all of them in turn without one. `--list` names them.
    target: Option<String>,
    /// Runs the target on this one input, as it is: to see a finding again.
    #[arg(requires = "target", conflicts_with_all = ["merge", "list"])]
    input: Option<PathBuf>,
    /// For each target, in seconds of the fuzzer's own CPU time.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Targets at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// Instead of fuzzing, takes over what was found into `fuzz/corpus`, as far as it covers more.
    #[arg(long)]
    merge: bool,
    /// Names the targets.
    #[arg(long, conflicts_with = "merge")]
    list: bool,
}

/// Does what the options say; an error after a finding.
pub fn fuzz(workspace: &Workspace, options: &Options) -> Result<()> {
    let fuzzer = Fuzzer::build(workspace)?;
    let known = fuzzer.targets()?;
    if options.list {
        println!("{}", known.join("\n"));
        return Ok(());
    }
    let chosen = match &options.target {
        None => known,
        Some(target) if known.contains(target) => vec![target.clone()],
        Some(target) => bail!("{target} is none of the targets: {}", known.join(", ")),
    };
    if let (Some(input), [target]) = (&options.input, chosen.as_slice()) {
        return run("replay", fuzzer.command(target).arg(input));
    }
    if options.merge {
        return chosen.iter().try_for_each(|target| fuzzer.merge(target));
    }
    let queue = Mutex::new(chosen.iter());
    let findings: usize = thread::scope(|scope| {
        let work = || {
            let mut findings = 0;
            while let Some(target) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                findings += usize::from(!fuzzer.run(target, options.seconds)?);
            }
            anyhow::Ok(findings)
        };
        let jobs: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        jobs.into_iter().map(|job| job.join().unwrap_or_else(|_| bail!("a job broke"))).sum::<Result<usize>>()
    })?;
    if findings > 0 {
        return Err(Failed::new(format!("{findings} of {} targets have a finding", chosen.len())).into());
    }
    println!("{} targets, {} s each: no findings", chosen.len(), options.seconds);
    Ok(())
}

/// Whether this process is meant to stand for the compiler, and if so, with its exit code: see [`UNINSTRUMENTED`].
pub fn as_compiler() -> Option<ExitCode> {
    std::env::var_os(WRAPPING)?;
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.iter().position(|argument| argument == "--crate-name");
    let name = name.and_then(|flag| arguments.get(flag.checked_add(1)?));
    if name.is_some_and(|name| UNINSTRUMENTED.contains(&name.as_str())) {
        arguments.retain(|argument| !FLAGS.contains(&argument.as_str()));
    }
    let mut arguments = arguments.iter();
    let error = Command::new(arguments.next()?).args(arguments).exec();
    eprintln!("error: cannot run the compiler: {error}");
    Some(ExitCode::FAILURE)
}

/// The instrumented program and where its files are.
struct Fuzzer {
    program: PathBuf,
    /// Of the repository: small.
    corpus: PathBuf,
    /// Of this machine: what was found on the way, logs, findings.
    work: PathBuf,
}

impl Fuzzer {
    fn build(workspace: &Workspace) -> Result<Self> {
        // In a directory of its own, because the flags are for all dependencies; with a named target they are not for
        // build scripts and macros, which libFuzzer is not linked to.
        let target_dir = workspace.beside("fuzz");
        let version = output_of("rustc", &["-vV"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc has no host")?;
        let mut cargo = workspace.cargo()?;
        cargo
            .args(["build", "--release", "--package", "cloister-fuzz", "--features", "libfuzzer"])
            .args(["--bin", "cloister-fuzzer", "--target", host])
            .env("CARGO_TARGET_DIR", &target_dir)
            .env("RUSTFLAGS", FLAGS.join(" "))
            .env("RUSTC_WRAPPER", std::env::current_exe()?)
            .env(WRAPPING, "1")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        run("build the fuzzer", &mut cargo)?;
        Ok(Self {
            program: target_dir.join(host).join("release/cloister-fuzzer"),
            corpus: workspace.root().join("fuzz/corpus"),
            work: target_dir.join("work"),
        })
    }

    fn targets(&self) -> Result<Vec<String>> {
        let output = Command::new(&self.program).env("CLOISTER_FUZZ_LIST", "1").output()?;
        let names = String::from_utf8(output.stdout)?;
        ensure!(!names.is_empty(), "the fuzzer names no targets");
        Ok(names.lines().map(Into::into).collect())
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("CLOISTER_FUZZ_TARGET", target).args(LIMITS);
        command
    }

    /// Fuzzes; whether nothing was found.
    fn run(&self, target: &str, seconds: u32) -> Result<bool> {
        let found = self.directory("corpus", target)?;
        let findings = self.directory("findings", target)?;
        let log = self.directory("logs", "")?.join(format!("{target}.log"));
        let mut command = self.command(target);
        command
            .env("CLOISTER_FUZZ_SECONDS", seconds.to_string())
            .env("CLOISTER_FUZZ_SEEDS", &found)
            .args(["-print_final_stats=1", "-reload=0", "-use_value_profile=1"])
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .args([&found, &self.directory_of_repository(target)?])
            .stderr(Stdio::piped());
        println!("{target}: {seconds} s of CPU, log in {}", log.display());
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?;
        let mut report = Report::default();
        let mut file = fs::File::create(&log)?;
        for line in BufReader::new(child.stderr.take().context("no output")?).lines() {
            let line = line?;
            writeln!(file, "{line}")?;
            report.read(&line);
        }
        let clean = child.wait()?.success();
        println!("{target}: {}", report.summary());
        if let Some(input) = &report.finding {
            println!("{target}: FINDING, see again: cargo xtask fuzz {target} {input}");
        } else if !clean {
            println!("{target}: FAILED, see {}", log.display());
        }
        Ok(clean)
    }

    /// libFuzzer chooses what covers most first, so what goes beyond the bounds covers least.
    fn merge(&self, target: &str) -> Result<()> {
        let (corpus, merged) = (self.directory_of_repository(target)?, self.work.join("merged").join(target));
        if merged.exists() {
            fs::remove_dir_all(&merged)?;
        }
        let merged = created(&merged)?;
        let mut command = self.command(target);
        command.args(["-set_cover_merge=1", "-max_len=8192"]).args([&merged, &corpus]);
        run("merge", command.arg(self.directory("corpus", target)?))?;
        for file in fs::read_dir(&corpus)? {
            fs::remove_file(file?.path())?;
        }
        let files = fs::read_dir(&merged)?.map(|file| {
            let file = file?;
            let about = file.metadata()?;
            Ok((about.modified()?, about.len(), file))
        });
        let mut files: Vec<_> = files.collect::<io::Result<_>>()?;
        files.sort_by_key(|(written, ..)| *written);
        let (all, mut kept, mut bytes) = (files.len(), 0, 0);
        for (_, length, file) in files {
            if kept < CORPUS_FILES && bytes + length <= CORPUS_BYTES {
                fs::copy(file.path(), corpus.join(file.file_name()))?;
                (kept, bytes) = (kept + 1, bytes + length);
            }
        }
        println!("{target}: {kept} of {all} inputs, {bytes} bytes");
        Ok(())
    }

    fn directory(&self, kind: &str, target: &str) -> Result<PathBuf> {
        created(&self.work.join(kind).join(target))
    }

    fn directory_of_repository(&self, target: &str) -> Result<PathBuf> {
        created(&self.corpus.join(target))
    }
}

fn created(directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory.to_owned())
}

/// What libFuzzer said.
#[derive(Default)]
struct Report {
    executions: Option<String>,
    coverage: Option<String>,
    finding: Option<String>,
}

impl Report {
    fn read(&mut self, line: &str) {
        if let Some(executions) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = Some(executions.trim().into());
        }
        if let Some((_, coverage)) = line.split_once(" cov: ") {
            self.coverage = coverage.split(" corp").next().map(|coverage| format!("cov: {}", coverage.trim()));
        }
        if let Some((_, input)) = line.split_once("Test unit written to ") {
            self.finding = Some(input.trim().into());
        }
    }

    fn summary(&self) -> String {
        let [executions, coverage] = [&self.executions, &self.coverage].map(|part| part.as_deref().unwrap_or("?"));
        format!("{executions} executions, {coverage}")
    }
}

/// As `cargo fuzz --sanitizer none` has them. Safe Rust needs no address sanitizer, whose runtime only a nightly
/// compiler links.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
];

/// Arithmetic of curves, ciphers and hashes: no input finds its way by how far it came there, and to count that would
/// take nine tenths of the time.
const UNINSTRUMENTED: &[&str] = &[
    "blake2",
    "blake2b_simd",
    "blake3",
    "chacha20",
    "chacha20poly1305",
    "crypto_bigint",
    "curve25519_dalek",
    "ecdsa",
    "ed25519_dalek",
    "ed25519_zebra",
    "elliptic_curve",
    "hpke",
    "k256",
    "keccak",
    "merlin",
    "p256",
    "poly1305",
    "primeorder",
    "rand_chacha",
    "rand_core",
    "schnorrkel",
    "sha2",
    "sha3",
    "sp_crypto_hashing",
    "subtle",
    "twox_hash",
    "x25519_dalek",
];
/// Tells this program that cargo calls it as the compiler.
const WRAPPING: &str = "CLOISTER_FUZZ_COMPILER";

/// Of one target in the repository. A test of `cloister-fuzz` has the same bounds.
const CORPUS_FILES: usize = 200;
const CORPUS_BYTES: u64 = 300_000;

/// Of one input: seconds and MiB. What lives as long as the process is no leak.
const LIMITS: &[&str] = &["-timeout=20", "-rss_limit_mb=2048", "-detect_leaks=0"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let mut report = Report::default();
        for line in [
            "#524288\tpulse  cov: 941 ft: 2719 corp: 151/8210b lim: 4096 exec/s: 87381 rss: 87Mb",
            "stat::number_of_executed_units: 600000",
            "artifact_prefix='/f/'; Test unit written to /f/crash-00",
        ] {
            report.read(line);
        }
        assert_eq!(report.summary(), "600000 executions, cov: 941 ft: 2719");
        assert_eq!(report.finding.as_deref(), Some("/f/crash-00"));
    }
}
