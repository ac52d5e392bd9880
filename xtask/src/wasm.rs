//! The target of the chain's runtime: `wasm32v1-none`, from rustup or, where rustup cannot fetch it, from Debian's own
//! compiler.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    command::{run, succeeds},
    output_of,
    setup::{as_root, install_packages, installed, is_debian},
};

/// WebAssembly 1.0 without a system, as runtimes want it.
pub const TARGET: &str = "wasm32v1-none";
/// Debian's current compiler, its cargo and the source of `core` and `alloc`.
pub const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// The name under which rustup knows Debian's compiler.
const DEBIAN_TOOLCHAIN: &str = "web";
const DEBIAN_SYSROOT: &str = "/usr";
/// Uses all that a runtime needs of the standard library.
const SOURCE: &str = "#![no_std]\nextern crate alloc;\n";
/// The crates of which the runtime's standard library consists.
const LIBRARIES: [&str; 3] = ["core", "alloc", "compiler_builtins"];

/// Who compiles the runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Toolchain {
    /// The compiler that compiles everything else.
    Default,
    /// Debian's.
    Debian,
}

/// The toolchain that has the target, if one has.
pub fn toolchain() -> Option<Toolchain> {
    if compiles(Command::new("rustc")) {
        return Some(Toolchain::Default);
    }
    let mut debian = Command::new("rustup");
    debian.args(["run", DEBIAN_TOOLCHAIN, "rustc"]);
    let linker = linker_directory(Path::new(DEBIAN_SYSROOT)).ok()?.join("rust-lld");
    (compiles(debian) && linker.exists()).then_some(Toolchain::Debian)
}

/// Tries it: libraries may be absent, or have been built by a compiler that was upgraded since.
fn compiles(mut compiler: Command) -> bool {
    // Into a directory of its own: rustc renames its output into place, which as root would replace even a device.
    let Ok(scratch) = scratch_directory() else { return false };
    let child = compiler
        .args(["--target", TARGET, "--edition=2021", "--crate-type=lib", "--emit=metadata", "--out-dir"])
        .arg(&scratch)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let compiled = child.is_ok_and(|mut child| {
        // Closed when dropped at the end of the statement, which is the end of the source.
        let written = child.stdin.take().map(|mut input| input.write_all(SOURCE.as_bytes()));
        child.wait().is_ok_and(|status| status.success()) && matches!(written, Some(Ok(())))
    });
    // What cannot be removed from the directory for temporary files does no harm there.
    let _ = fs::remove_dir_all(&scratch);
    compiled
}

/// A new directory. Refuses one that exists, which somebody else may have put there for root to write into.
fn scratch_directory() -> Result<PathBuf> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    let directory = env::temp_dir().join(format!("cloister-wasm-target-{}-{now}", std::process::id()));
    fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

/// What the runtime's build script has to be told about the toolchain.
pub fn environment() -> Vec<(&'static str, &'static str)> {
    match toolchain() {
        // Host functions are imports that no library defines; rustup's target allows them by its own flags.
        Some(Toolchain::Debian) => {
            vec![("WASM_BUILD_TOOLCHAIN", DEBIAN_TOOLCHAIN), ("WASM_BUILD_RUSTFLAGS", "-Clink-arg=--allow-undefined")]
        }
        Some(Toolchain::Default) | None => Vec::new(),
    }
}

/// Installs the target: rustup's way, else Debian's.
pub fn install() -> Result<()> {
    ensure!(succeeds("rustup", &["--version"]), "rustup is not installed; see https://rustup.rs");
    let by_rustup = run("install the wasm target", Command::new("rustup").args(["target", "add", TARGET]));
    if by_rustup.is_ok() && toolchain().is_some() {
        return Ok(());
    }
    ensure!(is_debian(), "rustup could not, and the other way is for Debian only");
    eprintln!("rustup could not install the target; taking the Debian way.");
    install_from_debian()?;
    ensure!(toolchain().is_some(), "the target was built but is not found");
    Ok(())
}

/// Debian's compiler knows the target but has no libraries for it: builds them once from their source.
fn install_from_debian() -> Result<()> {
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|package| !installed(package)).collect();
    if !missing.is_empty() {
        install_packages(&missing);
        let missing: Vec<&str> = PACKAGES.into_iter().filter(|package| !installed(package)).collect();
        ensure!(missing.is_empty(), "Debian packages could not be installed: {}", missing.join(" "));
    }
    run(
        "name Debian's compiler to rustup",
        Command::new("rustup").args(["toolchain", "link", DEBIAN_TOOLCHAIN, DEBIAN_SYSROOT]),
    )?;

    let scratch = scratch_directory()?;
    let built = build_libraries(&scratch).and_then(|libraries| {
        let directory = Path::new(DEBIAN_SYSROOT).join("lib/rustlib").join(TARGET).join("lib");
        run("remove earlier libraries", as_root("rm").arg("-rf").arg(&directory))?;
        run("make room for the libraries", as_root("mkdir").arg("-p").arg(&directory))?;
        run("install the libraries", as_root("cp").args(libraries).arg(&directory))
    });
    let cleaned = fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()));
    built.and(cleaned)?;
    link_linker()
}

/// Compiles a crate that does nothing together with the standard libraries, and returns those.
fn build_libraries(scratch: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir(scratch.join("src"))?;
    fs::write(
        scratch.join("Cargo.toml"),
        "[package]\nname = \"nothing\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n",
    )?;
    fs::write(scratch.join("src/lib.rs"), SOURCE)?;
    run(
        "build core and alloc",
        Command::new("rustup")
            .args([
                "run",
                DEBIAN_TOOLCHAIN,
                "cargo",
                "build",
                "-Zbuild-std=core,alloc",
                "--target",
                TARGET,
                "--release",
            ])
            .current_dir(scratch)
            .env("CARGO_TARGET_DIR", scratch.join("target"))
            .env("RUSTC_BOOTSTRAP", "1")
            // The runtime is linked with fat LTO, which needs the libraries' bitcode.
            .env("RUSTFLAGS", "-Cembed-bitcode=yes")
            .env("CARGO_PROFILE_RELEASE_LTO", "fat"),
    )?;
    let directory = scratch.join("target").join(TARGET).join("release/deps");
    ensure!(has_libraries(&directory), "the build left no libraries in {}", directory.display());
    libraries_in(&directory)
}

/// Debian ships no `rust-lld`; the one of rustup's toolchain does.
fn link_linker() -> Result<()> {
    let sysroot = PathBuf::from(output_of("rustc", &["--print", "sysroot"])?);
    let ours = linker_directory(&sysroot)?.join("rust-lld");
    ensure!(ours.exists(), "the toolchain has no {}", ours.display());
    let theirs = linker_directory(Path::new(DEBIAN_SYSROOT))?;
    run("make room for the linker", as_root("mkdir").arg("-p").arg(&theirs))?;
    run("link the linker", as_root("ln").arg("-sf").arg(ours).arg(theirs.join("rust-lld")))
}

fn linker_directory(sysroot: &Path) -> Result<PathBuf> {
    let version = output_of("rustc", &["--version", "--verbose"])?;
    let Some(host) = version.lines().find_map(|line| line.strip_prefix("host: ")) else {
        bail!("rustc does not tell its host")
    };
    Ok(sysroot.join("lib/rustlib").join(host).join("bin"))
}

fn has_libraries(directory: &Path) -> bool {
    let Ok(found) = libraries_in(directory) else { return false };
    LIBRARIES.iter().all(|library| found.iter().any(|path| is_library(path, library)))
}

fn libraries_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if LIBRARIES.iter().any(|library| is_library(&path, library)) {
            found.push(path);
        }
    }
    Ok(found)
}

fn is_library(path: &Path, library: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with(&format!("lib{library}-")) && name.ends_with(".rlib")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_whole_name() {
        assert!(is_library(Path::new("/x/libcore-369ac.rlib"), "core"));
        assert!(!is_library(Path::new("/x/libcore-369ac.rmeta"), "core"));
        assert!(!is_library(Path::new("/x/libcore_detect-1.rlib"), "core"));
        assert!(!is_library(Path::new("/x/libnothing-1.rlib"), "alloc"));
    }
}
