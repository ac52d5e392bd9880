//! What the public sees: everything in the finalized blocks of layer one, searched for what nobody may find there.

use anyhow::{Context, Result};
use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, Nonce, storage};
use cloister_client::{Event, LayerOne};
use codec::{Compact, Decode, Encode};
use sp_runtime::{MultiSignature, generic::Era};

use crate::Chain;

/// Something that must not be found on layer one.
#[derive(Clone, Debug)]
pub struct Secret {
    /// What it is.
    pub name: String,
    bytes: Vec<u8>,
}

impl Secret {
    /// An account's public key.
    pub fn account(name: &str, account: &AccountId) -> Self {
        Self { name: name.into(), bytes: account.encode() }
    }

    /// An amount of planck in any of SCALE's encodings, all of which contain its bytes in little-endian order.
    pub fn amount(name: &str, amount: Balance) -> Self {
        let mut bytes = amount.to_le_bytes().to_vec();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        Self { name: name.into(), bytes }
    }

    fn is_in(&self, haystack: &[u8]) -> bool {
        haystack.windows(self.bytes.len().max(1)).any(|window| window == self.bytes)
    }
}

/// What finalized blocks hold.
#[derive(Debug, Default)]
pub struct PublicRecord {
    /// Height of the last block that was looked at; the first is 1.
    pub last_block: BlockNumber,
    /// Bytes of headers, extrinsics, events and the shard's inbox that were searched.
    pub bytes: usize,
    /// All signed extrinsics.
    pub extrinsics: Vec<SignedExtrinsic>,
    /// All events with their blocks.
    pub events: Vec<(BlockNumber, Event)>,
    /// Names of secrets that were found, and where.
    pub found: Vec<String>,
}

/// An extrinsic that somebody signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedExtrinsic {
    /// Height of its block.
    pub block: BlockNumber,
    /// Who signed.
    pub signer: AccountId,
    /// Pallet and call index of the outermost call.
    pub call: (u8, u8),
}

impl PublicRecord {
    /// Reads all blocks from 1 to `until` (a finalized one), and the storage of the bridge after it.
    pub async fn read(chain: &Chain, layer_one: &LayerOne, until: BlockNumber, secrets: &[Secret]) -> Result<Self> {
        let mut record = Self { last_block: until, ..Self::default() };
        for number in 1..=until {
            let hash = chain.block_hash(number).await?;
            let block = chain.block(hash).await?;
            record.search(secrets, &format!("the header of block {number}"), &block.header.encode());
            for extrinsic in &block.extrinsics {
                record.search(secrets, &format!("an extrinsic of block {number}"), extrinsic);
                record.extrinsics.extend(SignedExtrinsic::decode(number, extrinsic)?);
            }
            let events = chain.raw_storage(&storage::events(), Some(hash)).await?.unwrap_or_default();
            record.search(secrets, &format!("the events of block {number}"), &events);
            record.events.extend(layer_one.events(hash).await?.into_iter().map(|event| (number, event)));
        }
        let last = chain.block_hash(until).await?;
        for (key, value) in bridge_storage(chain, last).await? {
            record.search(secrets, "the bridge's storage", &key);
            record.search(secrets, "the bridge's storage", &value);
        }
        Ok(record)
    }

    /// Events of one kind.
    pub fn events_of(&self, pallet: &str, name: &str) -> Vec<&Event> {
        self.events
            .iter()
            .map(|(_, event)| event)
            .filter(|event| event.pallet == pallet && event.name == name)
            .collect()
    }

    fn search(&mut self, secrets: &[Secret], place: &str, haystack: &[u8]) {
        self.bytes += haystack.len();
        for secret in secrets.iter().filter(|secret| secret.is_in(haystack)) {
            self.found.push(format!("{} in {place}", secret.name));
        }
    }
}

impl SignedExtrinsic {
    /// `None` for what block authors put in without a signature.
    fn decode(block: BlockNumber, extrinsic: &[u8]) -> Result<Option<Self>> {
        type Signed = (u8, AccountId, MultiSignature, Era, Compact<Nonce>, Compact<Balance>, u8);
        const SIGNED_VERSION_4: u8 = 0x84;
        let mut input = extrinsic;
        let Compact::<u32>(_length) = Decode::decode(&mut input)?;
        if u8::decode(&mut input)? != SIGNED_VERSION_4 {
            return Ok(None);
        }
        let (_address_id, signer, ..) = Signed::decode(&mut input).context("not the extrinsic format of this chain")?;
        Ok(Some(Self { block, signer, call: Decode::decode(&mut input)? }))
    }
}

/// Everything that the bridge stores.
async fn bridge_storage(chain: &Chain, at: H256) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // A pallet's name, hashed, begins the key of each of its items.
    let pallet = storage::enclave_bridge_version()[..16].to_vec();
    Ok(chain.storage_under(&pallet, at).await?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use cloister_chain_primitives::UNIT;

    use super::*;

    #[test]
    fn an_amount_is_found_in_every_encoding() {
        let secret = Secret::amount("300", 300 * UNIT);
        assert!(secret.is_in(&(7u8, 300 * UNIT, 1u8).encode()));
        assert!(secret.is_in(&Compact(300 * UNIT).encode()));
        assert!(secret.is_in(&300_000_000_000_000u64.encode()));
        assert!(!secret.is_in(&(1000 * UNIT, 700 * UNIT).encode()));
    }

    #[test]
    fn an_account_is_found_wherever_it_stands() {
        let account = AccountId::new([7; 32]);
        let secret = Secret::account("somebody", &account);
        assert!(secret.is_in(&(1u8, 2u32, &account).encode()));
        assert!(!secret.is_in(&[7; 31]) && !secret.is_in(&[]));
    }
}
