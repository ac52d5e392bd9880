//! What a build needs besides Rust: found, and installed after consent.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    command::{run, succeeds},
    output_of, wasm,
};

/// Whether something may be installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Asks on a terminal; where there is none, nobody is there to refuse.
    Ask,
    /// Yes.
    Given,
    /// No: only say what is missing.
    CheckOnly,
}

/// Something that has to be on the machine.
struct Requirement {
    /// Debian's package.
    package: &'static str,
    /// What needs it.
    purpose: &'static str,
    present: fn() -> bool,
}

/// The build's needs. A tool that came some other way than by its package counts as well.
const REQUIREMENTS: &[Requirement] = &[
    Requirement { package: "g++", purpose: "C++ of the wasm optimiser", present: || tool("g++") || tool("clang++") },
    Requirement { package: "make", purpose: "C libraries", present: || tool("make") },
    Requirement { package: "cmake", purpose: "C libraries", present: || tool("cmake") },
    Requirement { package: "pkg-config", purpose: "finding C libraries", present: || tool("pkg-config") },
    Requirement { package: "clang", purpose: "bindings to C libraries", present: || tool("clang") },
    Requirement { package: "libclang-dev", purpose: "bindings to C libraries", present: libclang },
    Requirement { package: "lld", purpose: "linking", present: || tool("ld.lld") },
    Requirement { package: "protobuf-compiler", purpose: "messages of the node's network", present: || tool("protoc") },
    Requirement {
        package: "libssl-dev",
        purpose: "TLS of the node's network",
        present: || succeeds("pkg-config", &["--exists", "openssl"]) || installed("libssl-dev"),
    },
];

/// Checks what is missing and, with consent, installs it. Silent if nothing is.
pub fn setup(consent: Consent) -> Result<()> {
    let packages: Vec<&Requirement> = REQUIREMENTS.iter().filter(|requirement| !(requirement.present)()).collect();
    let wasm_missing = wasm::toolchain().is_none();
    if packages.is_empty() && !wasm_missing {
        return Ok(());
    }

    println!("Missing for the build:");
    for requirement in &packages {
        println!("  {:<18} {}", requirement.package, requirement.purpose);
    }
    if wasm_missing {
        println!("  {:<18} target of the chain's runtime", wasm::TARGET);
    }
    if consent == Consent::CheckOnly {
        bail!("set-up is not complete; `cargo xtask setup` completes it");
    }

    let names: Vec<&str> = packages.iter().map(|requirement| requirement.package).collect();
    let installable = names.is_empty() || is_debian();
    println!("This will run:");
    if installable && !names.is_empty() {
        println!("  {}apt-get install {}", if is_root() { "" } else { "sudo " }, names.join(" "));
    }
    if wasm_missing {
        println!("  rustup target add {}", wasm::TARGET);
        if is_debian() {
            println!(
                "  or, if rustup cannot: install Debian's {} and build the target from them",
                wasm::PACKAGES.join(", ")
            );
        }
    }
    if consent == Consent::Ask && !agreed()? {
        bail!("nothing was installed");
    }

    let mut by_hand = Vec::new();
    if !installable {
        by_hand.push(format!(
            "this is not a Debian system: install what Debian calls {} with your system's package manager",
            names.join(" ")
        ));
    } else if !names.is_empty() {
        install_packages(&names);
        let still: Vec<&str> =
            packages.iter().filter(|needed| !(needed.present)()).map(|needed| needed.package).collect();
        if !still.is_empty() {
            by_hand.push(format!("apt-get update && apt-get install {} (as root)", still.join(" ")));
        }
    }
    if wasm_missing && let Err(error) = wasm::install() {
        by_hand.push(format!("rustup target add {} (here: {error:#})", wasm::TARGET));
    }
    if by_hand.is_empty() {
        return Ok(());
    }
    eprintln!("Could not do, please do by hand:");
    for step in &by_hand {
        eprintln!("  {step}");
    }
    bail!("set-up is not complete")
}

/// Whether apt can install things here.
pub fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && tool("apt-get")
}

/// Installs Debian packages as far as possible; what is still missing afterwards is for the caller to see.
pub fn install_packages(names: &[&str]) {
    // A list that cannot be renewed may still be good enough.
    let lists = run("renew the package lists", as_root("apt-get").args(["update", "--quiet"]));
    let packages = run(
        "install packages",
        as_root("apt-get").args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(names),
    );
    for error in [lists, packages].into_iter().filter_map(Result::err) {
        eprintln!("{error:#}");
    }
}

/// A command with the rights to change the system.
pub fn as_root(program: &str) -> Command {
    let mut command = if is_root() { Command::new("env") } else { Command::new("sudo") };
    if !is_root() {
        command.arg("env");
    }
    command.arg("DEBIAN_FRONTEND=noninteractive").arg(program);
    command
}

/// Whether Debian's package is installed.
pub fn installed(package: &str) -> bool {
    output_of("dpkg-query", &["--show", "--showformat", "${db:Status-Status}", package])
        .is_ok_and(|status| status == "installed")
}

fn is_root() -> bool {
    output_of("id", &["-u"]).is_ok_and(|user| user == "0")
}

fn tool(name: &str) -> bool {
    succeeds(name, &["--version"])
}

fn libclang() -> bool {
    std::env::var_os("LIBCLANG_PATH").is_some()
        || installed("libclang-dev")
        || output_of("llvm-config", &["--libdir"])
            .is_ok_and(|directory| Path::new(&directory).join("libclang.so").exists())
}

fn agreed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    print!("Go ahead? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
