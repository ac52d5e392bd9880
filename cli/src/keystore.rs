//! Keys of the user's accounts on disk, in the form of Substrate's keystores: one file per key, named by key type and
//! public key in hex, holding the phrase as a JSON string. Nothing encrypts them but the disk: directory and files are
//! for their owner only.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use cloister_client::{AccountId, Scheme, Signer};
use zeroize::Zeroizing;

/// A directory of keys.
pub struct Keystore {
    /// `None` if there is no place for one, which matters to those commands only that need it.
    directory: Option<PathBuf>,
}

/// A key in a keystore.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredKey {
    /// Its account.
    pub account: AccountId,
    /// Its kind.
    pub scheme: Scheme,
    /// Its file.
    pub file: PathBuf,
}

impl Keystore {
    /// The given directory, or `cloister/keystore` under the user's data directory.
    pub fn new(directory: Option<&Path>) -> Self {
        let directory = directory.map(Path::to_path_buf).or_else(|| Some(data_home()?.join("cloister/keystore")));
        Self { directory }
    }

    /// Where the keys are.
    pub fn directory(&self) -> anyhow::Result<&Path> {
        let directory = self.directory.as_deref();
        directory.context("no place for a keystore: neither --keystore nor XDG_DATA_HOME nor HOME is set")
    }

    /// Stores a phrase; the file appears whole or not at all.
    pub fn store(&self, signer: &Signer, phrase: &str) -> anyhow::Result<PathBuf> {
        let directory = self.directory()?;
        let place = || format!("cannot write to the keystore {}", directory.display());
        DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(place)?;
        let prefix = KEY_TYPES.iter().find(|(_, scheme)| *scheme == signer.scheme()).map(|(key_type, _)| key_type);
        let prefix = prefix.context("the keystore has no key type for this scheme")?;
        let name = hex::encode(prefix) + &hex::encode(signer.public_key());
        let file = directory.join(&name);
        let unfinished = directory.join(format!(".{name}.{}", std::process::id()));
        let content = Zeroizing::new(serde_json::to_string(phrase)?);
        let written = write_private(&unfinished, content.as_bytes()).and_then(|()| fs::rename(&unfinished, &file));
        if let Err(error) = written {
            let _ = fs::remove_file(&unfinished);
            return Err(error).with_context(place);
        }
        Ok(file)
    }

    /// All keys, by file name. Other files are passed over.
    pub fn list(&self) -> anyhow::Result<Vec<StoredKey>> {
        let directory = self.directory()?;
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read the keystore {}", directory.display()))?,
        };
        let mut keys = Vec::new();
        for entry in entries {
            let file = entry.context("cannot read the keystore")?.path();
            if let Some((scheme, public)) = file.file_name().and_then(|name| name.to_str()).and_then(parse_name) {
                keys.push(StoredKey { account: AccountId::from(public), scheme, file });
            }
        }
        keys.sort_by(|one, other| one.file.cmp(&other.file));
        Ok(keys)
    }

    /// The key of an account, if it is here.
    pub fn signer(&self, account: &AccountId) -> anyhow::Result<Option<Signer>> {
        let Some(key) = self.list()?.into_iter().find(|key| key.account == *account) else { return Ok(None) };
        let unreadable = || format!("cannot read the key {}", key.file.display());
        let content = Zeroizing::new(fs::read_to_string(&key.file).with_context(unreadable)?);
        let phrase: String = serde_json::from_str(&content)
            .map_err(|_| anyhow::anyhow!("not a JSON string"))
            .with_context(unreadable)?;
        let phrase = Zeroizing::new(phrase);
        let signer = Signer::from_secret(key.scheme, &phrase).with_context(unreadable)?;
        if signer.account() != *account {
            bail!("the key {} belongs to {}, not to the account in its name", key.file.display(), signer.account());
        }
        Ok(Some(signer))
    }
}

fn write_private(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(content)?;
    file.sync_all()
}

fn parse_name(name: &str) -> Option<(Scheme, [u8; 32])> {
    let bytes: [u8; 36] = hex::decode(name).ok()?.try_into().ok()?;
    let (key_type, public) = bytes.split_first_chunk::<4>()?;
    let (_, scheme) = KEY_TYPES.iter().find(|(known, _)| *known == key_type)?;
    Some((*scheme, public.try_into().ok()?))
}

fn data_home() -> Option<PathBuf> {
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    directory("XDG_DATA_HOME").or_else(|| Some(directory("HOME")?.join(".local/share")))
}

/// Key types of account keys; ECDSA's public key is not its account, so that such keys cannot be found by account.
const KEY_TYPES: [(&[u8; 4], Scheme); 2] = [(b"sr25", Scheme::Sr25519), (b"ed25", Scheme::Ed25519)];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

    fn keystore() -> (tempfile::TempDir, Keystore) {
        let directory = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(Some(&directory.path().join("deep/keystore")));
        (directory, keystore)
    }

    #[test]
    fn keys_are_found_again_and_are_their_owners_only() {
        let (_directory, keystore) = keystore();
        assert_eq!(keystore.list().unwrap(), []);
        for scheme in [Scheme::Sr25519, Scheme::Ed25519] {
            let signer = Signer::from_secret(scheme, PHRASE).unwrap();
            let file = keystore.store(&signer, PHRASE).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("\"{PHRASE}\""));
            let found = keystore.signer(&signer.account()).unwrap().unwrap();
            assert_eq!((found.account(), found.scheme()), (signer.account(), scheme));
        }
        assert_eq!(fs::metadata(keystore.directory().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(keystore.list().unwrap().len(), 2);
        assert_eq!(fs::read_dir(keystore.directory().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn file_names_are_those_of_substrate_keystores() {
        let (_directory, keystore) = keystore();
        let signer = Signer::from_secret(Scheme::Sr25519, "//Alice").unwrap();
        let file = keystore.store(&signer, "//Alice").unwrap();
        assert_eq!(
            file.file_name().unwrap().to_str().unwrap(),
            "73723235d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"
        );
    }

    #[test]
    fn a_key_under_a_foreign_name_is_refused() {
        let (_directory, keystore) = keystore();
        let alice = Signer::from_secret(Scheme::Sr25519, "//Alice").unwrap();
        let file = keystore.store(&alice, "//Bob").unwrap();
        let error = keystore.signer(&alice.account()).unwrap_err().to_string();
        assert!(error.contains("not to the account in its name"), "{error}");
        fs::write(file, "no json").unwrap();
        let error = format!("{:#}", keystore.signer(&alice.account()).unwrap_err());
        assert!(error.ends_with("not a JSON string"), "{error}");
    }

    #[test]
    fn other_files_are_passed_over() {
        let (_directory, keystore) = keystore();
        let signer = Signer::from_secret(Scheme::Sr25519, "//Alice").unwrap();
        keystore.store(&signer, "//Alice").unwrap();
        for name in ["README", "73723235", &format!("61757261{}", "00".repeat(32))] {
            fs::write(keystore.directory().unwrap().join(name), "").unwrap();
        }
        assert_eq!(keystore.list().unwrap().len(), 1);
    }
}
