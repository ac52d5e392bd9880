//! Accounts as users name them on the command line.

use std::{
    fs,
    io::{self, BufRead, Read},
    path::PathBuf,
};

use anyhow::Context;
use cloister_client::{AccountId, SS58_PREFIX, Scheme, Signer};
use sp_core::crypto::{Ss58AddressFormat, Ss58Codec};
use zeroize::Zeroizing;

use crate::{failure::Failure, keystore::Keystore};

/// Names of the public development accounts.
pub const DEVELOPMENT_NAMES: [&str; 6] = ["//Alice", "//Bob", "//Charlie", "//Dave", "//Eve", "//Ferdie"];

/// Environment variable that may hold the secret meant by `-`.
pub const SECRET_VARIABLE: &str = "CLOISTER_SURI";

/// Turns what the user wrote into accounts and keys.
pub struct Accounts {
    /// The user's keys.
    pub keystore: Keystore,
    /// Kind of key that a secret stands for.
    pub scheme: Scheme,
    /// File with the secret meant by `-`.
    pub suri_file: Option<PathBuf>,
}

/// What a word on the command line names.
#[derive(Debug)]
enum Named {
    Address(AccountId),
    Key(Signer),
}

impl Accounts {
    /// The account that is named.
    pub fn address(&self, name: &str) -> Result<AccountId, Failure> {
        Ok(match self.resolve(name)? {
            Named::Address(account) => account,
            Named::Key(signer) => signer.account(),
        })
    }

    /// The key of the account that is named; that of an address comes from the keystore.
    pub fn signer(&self, name: &str) -> Result<Signer, Failure> {
        let account = match self.resolve(name)? {
            Named::Key(signer) => return Ok(signer),
            Named::Address(account) => account,
        };
        if let Some(signer) = self.keystore.signer(&account).map_err(Failure::could_not_run)? {
            return Ok(signer);
        }
        let directory = self.keystore.directory().map_err(Failure::could_not_run)?.display();
        let failure = Failure::usage(format_args!("no key for {account} in the keystore {directory}"));
        Err(match development_name(&account) {
            Some(name) => failure.with_hint(format!("this is the development account {name}: name it so")),
            None => failure.with_hint("`cloister list-accounts` shows the keys that are there"),
        })
    }

    fn resolve(&self, name: &str) -> Result<Named, Failure> {
        if name == "-" {
            let secret = self.secret()?;
            return self.key(secret.trim());
        }
        if name.starts_with("//") {
            return self.key(name);
        }
        if name.split_whitespace().count() >= FEWEST_WORDS {
            eprintln!(
                "warning: other users of this machine can see the phrase on the command line; give `-` and the phrase \
                 on standard input, in {SECRET_VARIABLE} or with --suri-file"
            );
            return self.key(name);
        }
        parse_address(name).map(Named::Address).map_err(Failure::usage)
    }

    fn key(&self, secret: &str) -> Result<Named, Failure> {
        Signer::from_secret(self.scheme, secret).map(Named::Key).map_err(Failure::usage)
    }

    /// The secret meant by `-`: of the file, the environment or the first line of standard input.
    fn secret(&self) -> Result<Zeroizing<String>, Failure> {
        if let Some(file) = &self.suri_file {
            let secret = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
            return secret.map(Zeroizing::new).map_err(Failure::could_not_run);
        }
        if let Ok(secret) = std::env::var(SECRET_VARIABLE) {
            return Ok(Zeroizing::new(secret));
        }
        let mut line = Zeroizing::new(String::new());
        let mut input = io::stdin().lock().take(LONGEST_SECRET);
        input
            .read_line(&mut line)
            .context("cannot read the secret from standard input")
            .map_err(Failure::could_not_run)?;
        match line.trim().is_empty() {
            true => Err(Failure::usage("no secret on standard input")),
            false => Ok(line),
        }
    }
}

/// Reads an address: SS58 of this network, or a public key as 0x and 64 hexadecimal digits.
pub fn parse_address(text: &str) -> Result<AccountId, String> {
    if let Some(digits) = text.strip_prefix("0x") {
        let key = hex::decode(digits).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        return key.map(AccountId::from).ok_or_else(|| format!("{text} is not a public key of 32 bytes in hex"));
    }
    let (account, network) = AccountId::from_ss58check_with_version(text).map_err(|_| {
        format!("{text:?} is no account: expected SS58, 0x and a public key, a name like //Alice, or - for a secret")
    })?;
    match network == Ss58AddressFormat::custom(SS58_PREFIX) {
        true => Ok(account),
        false => {
            Err(format!("{text} is an address of another network (prefix {}, not {SS58_PREFIX})", u16::from(network)))
        }
    }
}

/// The name of a development account.
pub fn development_name(account: &AccountId) -> Option<&'static str> {
    DEVELOPMENT_NAMES
        .into_iter()
        .find(|name| Signer::from_secret(Scheme::Sr25519, name).is_ok_and(|signer| signer.account() == *account))
}

const FEWEST_WORDS: usize = 12;
/// 24 words, a passphrase and derivations are far shorter.
const LONGEST_SECRET: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    const ALICE_HEX: &str = "0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";
    const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

    fn accounts(directory: &tempfile::TempDir) -> Accounts {
        Accounts { keystore: Keystore::new(Some(directory.path())), scheme: Scheme::Sr25519, suri_file: None }
    }

    #[test]
    fn an_account_has_many_names() {
        let directory = tempfile::tempdir().unwrap();
        let mut accounts = accounts(&directory);
        let file = directory.path().join("secret");
        fs::write(&file, "//Alice\n").unwrap();
        accounts.suri_file = Some(file);
        for name in [ALICE, ALICE_HEX, "//Alice", &format!("{PHRASE}//Alice"), "-"] {
            assert_eq!(accounts.address(name).unwrap().to_string(), ALICE, "{name}");
        }
        assert_eq!(accounts.signer("-").unwrap().account().to_string(), ALICE);
        assert_eq!(development_name(&accounts.address(ALICE_HEX).unwrap()), Some("//Alice"));
    }

    #[test]
    fn what_names_no_account_is_refused() {
        for (name, reason) in [
            ("Alice", "no account"),
            ("", "no account"),
            ("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ", "no account"),
            ("0x1234", "not a public key"),
            ("15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5", "another network (prefix 0, not 42)"),
        ] {
            let error = parse_address(name).unwrap_err();
            assert!(error.contains(reason), "{name}: {error}");
        }
    }

    #[test]
    fn an_address_signs_with_its_key_in_the_keystore() {
        let directory = tempfile::tempdir().unwrap();
        let accounts = accounts(&directory);
        let failure = accounts.signer(ALICE).unwrap_err();
        assert_eq!((failure.code, failure.hint.unwrap().contains("//Alice")), (crate::failure::USAGE, true));
        let alice = Signer::from_secret(Scheme::Sr25519, "//Alice").unwrap();
        accounts.keystore.store(&alice, "//Alice").unwrap();
        assert_eq!(accounts.signer(ALICE).unwrap().account(), alice.account());
    }
}
