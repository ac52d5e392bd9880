//! Where the checkout and its target directory are, and the environment of every cargo child.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result};

use crate::wasm;

/// Names the checkout that last built into a target directory.
const CHECKOUT_STAMP: &str = ".cloister-checkout";

/// A checkout and where it builds.
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The checkout that this was started in. Looked for at run time: several checkouts share a target directory, and
    /// so perhaps this binary.
    pub fn find() -> Result<Self> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(directory) => PathBuf::from(directory),
            None => env::current_dir()?,
        };
        let root = start
            .ancestors()
            .find(|directory| directory.join("xtask/Cargo.toml").is_file())
            .with_context(|| format!("{} is not in a checkout of Cloister", start.display()))?;
        Ok(Self { root: root.to_owned(), target: target_directory()? })
    }

    /// The checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A binary of the workspace, run from the checkout.
    pub fn binary(&self, name: &str) -> Command {
        let mut command = Command::new(self.target.join("release").join(name));
        command.current_dir(&self.root);
        command
    }

    /// A directory beside the target directory, for what is built with other flags.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.target.with_file_name(name)
    }

    /// What plain cargo needs to build the same things in the same place.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![("CARGO_TARGET_DIR", self.target.display().to_string())];
        environment.extend(wasm::environment().into_iter().map(|(name, value)| (name, value.to_owned())));
        environment
    }

    /// A cargo child.
    pub fn cargo(&self) -> Result<Command> {
        self.claim_target()?;
        let mut command = Command::new("cargo");
        command.current_dir(&self.root).envs(self.environment());
        // `cargo xtask` is itself run by cargo, whose variables would reach build scripts that watch them and so
        // rebuild what a plain cargo built.
        for (name, _) in env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            if name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || ["CARGO", "CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&name)
            {
                command.env_remove(name);
            }
        }
        Ok(command)
    }

    /// Makes sure that nothing of another checkout is taken for this one's: cargo compares times of files, not their
    /// contents, and gives the crates of two checkouts the same names. So all files of a checkout become new when it
    /// takes its turn. Two checkouts cannot build at the same time.
    fn claim_target(&self) -> Result<()> {
        fs::create_dir_all(&self.target).with_context(|| format!("cannot create {}", self.target.display()))?;
        let stamp = self.target.join(CHECKOUT_STAMP);
        let here = self.root.display().to_string();
        match fs::read_to_string(&stamp) {
            Ok(last) if last == here => return Ok(()),
            Ok(last) => {
                eprintln!("==> {} was built here before; this checkout's own crates are built again", last.trim());
                renew(&self.root, SystemTime::now())?;
            }
            Err(_) => {}
        }
        fs::write(&stamp, here).with_context(|| format!("cannot write {}", stamp.display()))
    }
}

/// Gives all files of a checkout the same time of change.
fn renew(directory: &Path, time: SystemTime) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        if kind.is_dir() && name != ".git" && name != "target" {
            renew(&entry.path(), time)?;
        } else if kind.is_file() {
            let path = entry.path();
            let file = fs::File::options().append(true).open(&path);
            file.and_then(|file| file.set_modified(time))
                .with_context(|| format!("cannot touch {}", path.display()))?;
        }
    }
    Ok(())
}

/// Outside the tree, so that working copies and CI build every dependency once.
fn target_directory() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(target) = set("CARGO_TARGET_DIR").or_else(|| set("CLOISTER_TARGET_DIR")) {
        return Ok(std::path::absolute(target)?);
    }
    let cache = match set("XDG_CACHE_HOME") {
        Some(cache) => cache,
        None => set("HOME")
            .context("HOME is not set; set CLOISTER_TARGET_DIR to a directory for build output")?
            .join(".cache"),
    };
    Ok(cache.join("cloister/target"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_takes_its_turn_with_new_files() {
        let root = env::temp_dir().join(format!("cloister-xtask-test-{}", std::process::id()));
        let (source, git) = (root.join("src/lib.rs"), root.join(".git/config"));
        for file in [&source, &git] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
            fs::File::options().append(true).open(file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        let workspace = Workspace { root: root.clone(), target: root.join("target") };
        let is_old = |file: &Path| fs::metadata(file).unwrap().modified().unwrap() == SystemTime::UNIX_EPOCH;
        let claim = || workspace.claim_target().unwrap();

        claim();
        assert!(is_old(&source), "the first to build there");
        claim();
        assert!(is_old(&source), "the same checkout again");
        fs::write(workspace.target.join(CHECKOUT_STAMP), "/elsewhere").unwrap();
        claim();
        assert!(!is_old(&source) && is_old(&git));
        fs::remove_dir_all(root).unwrap();
    }
}
