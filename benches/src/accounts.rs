//! Accounts as a shard's storage has them, written without the calls that would open them: a million calls would take
//! longer than the benchmarks.

use cloister_chain_primitives::{AccountId, Balance, UNIT};
use cloister_wire::sidechain::Books;
use codec::Encode;
use sp_crypto_hashing::{blake2_128, twox_128};

/// What each has, planck.
pub const BALANCE: Balance = 1_000 * UNIT;

/// Storage of these accounts, and no others.
pub fn storage(ids: &[AccountId]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    let minted = BALANCE * ids.len() as Balance;
    let totals = [
        (total_issuance(), minted.encode()),
        (books(), Books { minted, ..Books::default() }.encode()),
        (count(), (ids.len() as u64).encode()),
    ];
    ids.iter().flat_map(entries).chain(totals)
}

/// An account that has called once before, so that its next call brings no new key.
pub fn entries(id: &AccountId) -> [(Vec<u8>, Vec<u8>); 2] {
    let key = [blake2_128(id.as_ref()).as_slice(), id.as_ref()].concat();
    let references = (0u32, 0u32, 1u32, 0u32);
    let new_logic = 1u128 << 127;
    let account = (references, BALANCE, 0u128, 0u128, new_logic);
    [
        ([item("System", "Account"), key.clone()].concat(), account.encode()),
        ([item("Ledger", "Nonces"), key].concat(), 1u32.encode()),
    ]
}

/// Key of the sum of all balances, a `Balance`.
pub fn total_issuance() -> Vec<u8> {
    item("Balances", "TotalIssuance")
}

/// Key of what moved since the shard's birth, [`Books`].
pub fn books() -> Vec<u8> {
    item("Ledger", "Books")
}

/// Key of the number of accounts, a `u64`.
pub fn count() -> Vec<u8> {
    item("Ledger", "Accounts")
}

fn item(pallet: &str, item: &str) -> Vec<u8> {
    [twox_128(pallet.as_bytes()), twox_128(item.as_bytes())].concat()
}
