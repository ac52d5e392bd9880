//! Who pays what: the table in `docs/fees.md` against constants and against what extrinsics really cost.

mod common;

use std::collections::BTreeMap;

use cloister_chain_primitives::{
    domain, outbox::MAX_OUTBOX_DEPTH, AccountId, Anchor, Balance, Flows, Hashing, OutboxEntry, OutboxKind, OutboxPath,
    ShardId, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, MARK_DEPOSIT, MIN_SHIELD, REGISTRATION_DEPOSIT, SHARD_DEPOSIT, UNIT,
    UNSHIELD_FEE,
};
use cloister_runtime::{Balances, Runtime, RuntimeCall, System};
use codec::Encode;
use common::*;
use frame_support::traits::fungible::Inspect;
use pallet_enclave_bridge::{FlowsOf, Settled};
use sp_core::H256;
use sp_keyring::Sr25519Keyring::{self, Bob, Charlie};
use sp_runtime::traits::Hash;

const TABLE: &str = include_str!("../../../docs/fees.md");

/// What sending a call as an enclave does took off the sender's money.
fn price(chain: &Chain, sender: Sr25519Keyring, call: impl Into<RuntimeCall>) -> Balance {
    let account = sender.to_account_id();
    let before = Balances::balance(&account);
    let extrinsic = chain.sign_mortal(sender, call, System::account_nonce(&account));
    chain.apply(extrinsic).expect("it is valid").expect("it takes effect");
    before.saturating_sub(Balances::balance(&account))
}

/// An entry in an outbox as full as one can be, its path and the root.
fn deepest(shard: ShardId, entry: &OutboxEntry) -> (OutboxPath, H256) {
    let leaf = domain::message("outbox-entry", &genesis_hash(), &[shard.as_ref(), &entry.encode()]);
    let siblings: Vec<_> = (0..MAX_OUTBOX_DEPTH).map(|level| H256::repeat_byte(level as u8)).collect();
    let root = siblings
        .iter()
        .fold(Hashing::hash(&leaf), |node, sibling| Hashing::hash(&[node.as_bytes(), sibling.as_bytes()].concat()));
    let leaves = 1 << MAX_OUTBOX_DEPTH;
    let siblings = siblings.try_into().expect("they fit");
    (OutboxPath { number: entry.number, kind: entry.kind, leaf_index: 0, leaves, siblings }, root)
}

fn submit(shard: ShardId, entry: &OutboxEntry, path: &OutboxPath) -> RuntimeCall {
    let OutboxEntry { id: call_hash, beneficiary, amount, .. } = entry.clone();
    pallet_enclave_bridge::Call::unshield_funds { shard, beneficiary, amount, call_hash, path: path.clone() }.into()
}

fn shielded(chain: &mut Chain) -> ShardId {
    let shard = chain.shard();
    chain.next();
    chain.succeed(Bob, shield(shard));
    shard
}

/// Every figure of the table by its line.
fn figures() -> BTreeMap<&'static str, Balance> {
    let mut figures = BTreeMap::from([
        ("direct call", DIRECT_CALL_FEE),
        ("indirect call", 0),
        ("unshield, direct", DIRECT_CALL_FEE + UNSHIELD_FEE),
        ("unshield, indirect", UNSHIELD_FEE),
        ("unshield that layer one refuses, direct", DIRECT_CALL_FEE + UNSHIELD_FEE),
        ("unshield that layer one refuses, indirect", UNSHIELD_FEE),
        ("shielding that is returned", UNSHIELD_FEE),
        ("forced exit", UNSHIELD_FEE),
        ("least shielding", MIN_SHIELD),
        ("registration deposit", REGISTRATION_DEPOSIT),
        ("of it for the mark", MARK_DEPOSIT),
        ("shard deposit", SHARD_DEPOSIT),
        ("existential deposit of the shard's escrow", EXISTENTIAL_DEPOSIT),
    ]);
    development(|chain| {
        let shard = chain.shard();
        chain.next();
        figures.insert("shielding", price(chain, Bob, shield(shard)) - SHIELDED);
        figures.insert("call through the inbox", price(chain, Bob, invoke(shard)));
        let nobody = AccountId::new([99; 32]);
        let [only, deep] = [0, 1].map(|number| entry(shard, number, OutboxKind::Unshield, nobody.clone(), UNIT));
        let alone = outbox(shard, vec![only]);
        let first = Anchor { outbox_root: alone.root(), ..block(1, 0) };
        figures.insert("first anchor", price(chain, FOUNDER, anchor(shard, None, &first)));
        figures.insert("confirmation", price(chain, FOUNDER, confirm(chain, shard)));
        figures.insert("unshield's settlement, nothing else open", price(chain, Charlie, unshield(shard, &alone, 0)));
        chain.next();
        let (path, outbox_root) = deepest(shard, &deep);
        let second = Anchor { outbox_root, ..block(2, 0) };
        figures.insert("anchor", price(chain, FOUNDER, anchor(shard, Some(&first), &second)));
        figures.insert("unshield's settlement, longest path", price(chain, Charlie, submit(shard, &deep, &path)));
        assert_eq!(Balances::balance(&nobody), 2 * UNIT);
        chain.next();
        let owed = outbox(shard, vec![entry(shard, 2, OutboxKind::Return, AccountId::new([98; 32]), 1)]);
        let third = Anchor { outbox_root: owed.root(), ..block(3, 0) };
        chain.succeed(FOUNDER, anchor(shard, Some(&second), &third));
        chain.succeed(Charlie, unshield(shard, &owed, 2));
        let dest = AccountId::new([98; 32]);
        chain.succeed(Bob, pallet_balances::Call::transfer_allow_death { dest: dest.clone().into(), value: UNIT });
        let claim = pallet_enclave_bridge::Call::claim { shard, account: dest };
        figures.insert("claim", price(chain, Charlie, claim));
    });
    figures
}

/// Lines of the table: what, planck and UNIT.
fn lines() -> Vec<(&'static str, Balance, &'static str)> {
    let line = |line: &'static str| {
        let cells: Vec<_> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [what, _, planck, unit] = cells[..] else { panic!("four cells: {line}") };
        Some((what, planck.replace(' ', "").parse().ok()?, unit))
    };
    TABLE.lines().filter_map(line).collect()
}

#[test]
fn the_table_is_true() {
    let stated: BTreeMap<_, _> = lines().into_iter().map(|(what, planck, _)| (what, planck)).collect();
    assert_eq!(stated, figures());
    assert_eq!(stated.len(), lines().len());
}

#[test]
fn planck_and_unit_agree() {
    for (what, planck, unit) in lines() {
        let fraction = format!("{:012}", planck % UNIT);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        assert_eq!(unit, format!("{}{point}{fraction}", planck / UNIT), "{what}");
    }
}

#[test]
fn an_unshield_pays_for_its_settlement() {
    let figures = figures();
    let [least, most] =
        ["nothing else open", "longest path"].map(|what| figures[&*format!("unshield's settlement, {what}")]);
    assert!(least < most && most <= UNSHIELD_FEE);
    // What is left of the least shielding that comes back can stand as an account.
    assert_eq!(MIN_SHIELD - UNSHIELD_FEE, EXISTENTIAL_DEPOSIT);
}

#[test]
fn senders_are_repaid_exactly_what_they_pay() {
    let figures = figures();
    development(|chain| {
        let shard = shielded(chain);
        let nobody = AccountId::new([99; 32]);
        let owed = entry(shard, 0, OutboxKind::Unshield, nobody, UNIT);
        let (path, outbox_root) = deepest(shard, &owed);
        let first = Anchor { outbox_root, fees: UNIT, ..block(1, 0) };
        // Alone each costs nothing in the end.
        assert_eq!(price(chain, FOUNDER, anchor(shard, None, &first)), 0);
        assert_eq!(price(chain, FOUNDER, confirm(chain, shard)), 0);
        assert_eq!(price(chain, FOUNDER, submit(shard, &owed, &path)), 0);
        assert!(Settled::<Runtime>::contains_key(shard, 0));
        let Flows { repaid, .. } = FlowsOf::<Runtime>::get(shard);
        let cost = ["first anchor", "confirmation", "unshield's settlement, longest path"].map(|what| figures[what]);
        assert_eq!(repaid, cost.iter().sum());
    });
}

#[test]
fn what_is_refused_is_not_repaid() {
    development(|chain| {
        let shard = shielded(chain);
        let owed = outbox(shard, vec![entry(shard, 0, OutboxKind::Exit, AccountId::new([99; 32]), UNIT)]);
        let first = Anchor { outbox_root: owed.root(), fees: UNIT, ..block(1, 0) };
        chain.succeed(FOUNDER, anchor(shard, None, &first));
        let before = FlowsOf::<Runtime>::get(shard).repaid;
        let _ = chain.send(Charlie, anchor(shard, None, &first)).expect("it is valid").expect_err("it is anchored");
        let _ = chain.send(Charlie, confirm(chain, shard)).expect("it is valid").expect_err("he is not the founder");
        // Too early.
        chain.succeed(Charlie, unshield(shard, &owed, 0));
        assert_eq!(FlowsOf::<Runtime>::get(shard).repaid, before);
    });
}
