//! The enclave's sealed identity on disk. To the host these are opaque bytes; without them the next start has another
//! account, so they are on the disk before anything about them reaches layer one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::error::WorkerError;

/// Where the identity is kept in a data directory.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// What was kept, if anything.
pub fn load(data_dir: &Path) -> Result<Option<Vec<u8>>, WorkerError> {
    let path = path(data_dir);
    match std::fs::read(&path) {
        Ok(sealed) => Ok(Some(sealed)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(WorkerError::File { path, source }),
    }
}

/// Keeps an identity durably: whole or not at all, whenever the machine stops.
pub fn store(data_dir: &Path, sealed: &[u8]) -> Result<(), WorkerError> {
    let path = path(data_dir);
    let unfinished = data_dir.join(format!("{NAME}.new"));
    let stored = remove_if_there(&unfinished)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished))
        .and_then(|mut file| file.write_all(sealed).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&unfinished, &path))
        // A rename is durable only once its directory is.
        .and_then(|()| File::open(data_dir)?.sync_all());
    stored.map_err(|source| WorkerError::File { path, source })
}

/// Moves an identity that does not open out of the way; gives its new name.
pub fn set_aside(data_dir: &Path) -> Result<PathBuf, WorkerError> {
    let path = path(data_dir);
    let free = (1u32..).map(|number| data_dir.join(format!("{NAME}.refused-{number}"))).find(|aside| !aside.exists());
    let aside = free.unwrap_or_else(|| data_dir.join(format!("{NAME}.refused")));
    match std::fs::rename(&path, &aside) {
        Ok(()) => Ok(aside),
        Err(source) => Err(WorkerError::File { path, source }),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

const NAME: &str = "identity.sealed";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_is_kept_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()).unwrap(), None);
        // What a crash in the middle of an earlier attempt leaves behind, readable by all.
        std::fs::write(directory.path().join("identity.sealed.new"), b"half").unwrap();
        store(directory.path(), b"first").unwrap();
        assert_eq!(load(directory.path()).unwrap().unwrap(), b"first");
        store(directory.path(), b"second").unwrap();
        assert_eq!(load(directory.path()).unwrap().unwrap(), b"second");
        let mode = path(directory.path()).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn refused_identities_are_never_lost() {
        let directory = tempfile::tempdir().unwrap();
        for (number, sealed) in [(1, b"one"), (2, b"two")] {
            store(directory.path(), sealed).unwrap();
            let aside = set_aside(directory.path()).unwrap();
            assert_eq!(aside, directory.path().join(format!("identity.sealed.refused-{number}")));
            assert_eq!(std::fs::read(aside).unwrap(), sealed);
            assert_eq!(load(directory.path()).unwrap(), None);
        }
        let error = set_aside(directory.path()).unwrap_err();
        assert!(error.to_string().contains("identity.sealed"), "{error}");
    }

    #[test]
    fn what_cannot_be_kept_is_named() {
        let error = store(Path::new("/nowhere"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot use /nowhere/identity.sealed: "), "{error}");
    }
}
