//! A shard's engine that serves, between a host that says anything, clients that send anything and a layer one whose
//! users do anything.

use std::sync::LazyLock;

use cloister_chain_primitives::{AccountId, Header, storage};
use cloister_claims::Evidence;
use cloister_sidechain::{Kept, SnapshotRules, VerifiedGetter};
use cloister_simulation::{UNIT, World, key, state, world::Enclave};
use cloister_stf::Payments;
use cloister_synthetic_layer_one::Voters;
use cloister_wire::{Getter, TrustedCall, envelope::Purpose};
use codec::{DecodeAll, Encode};
use sp_core::{Pair, sr25519};

use crate::{input::Input, input::piece, request};

/// The last one has nothing. To derive keys takes long.
static PEOPLE: LazyLock<[sr25519::Pair; 3]> = LazyLock::new(|| ["Alice", "Bob", "Nobody"].map(key));

/// From which the account and the state's secret follow.
pub const IDENTITY: [u8; 32] = [6; 32];
/// Events of one input; more say nothing new and take long.
const MAX_EVENTS: usize = 48;

/// An enclave that serves its shard, on which two people have money.
pub fn serving(snapshots: SnapshotRules) -> World {
    let enclave = Enclave { program: &Payments, snapshots, identity: IDENTITY };
    let mut world = World::of(enclave, Voters::new(0, 1..=4), None);
    world.recover();
    world.finalize();
    world.register();
    world.finalize();
    world.bear();
    for pair in &PEOPLE[..2] {
        world.shield(&account_of(pair), 100 * UNIT);
    }
    world.finalize();
    world.submitted.clear();
    world.tick();
    assert!(world.serving && world.stopped.is_none() && world.disk.blocks.len() == 1);
    world
}

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let mut world = serving(SnapshotRules::default());
    for _ in 0..MAX_EVENTS {
        if input.is_empty() {
            break;
        }
        let height = world.engine.figures().block;
        event(&mut world, &mut input);
        world.take_actions();
        assert!(world.engine.figures().block >= height, "the shard went back");
        if world.stopped.is_some() {
            let height = world.engine.figures().block;
            world.tick();
            world.finalize();
            assert_eq!(world.engine.figures().block, height, "goes on after its end");
            break;
        }
    }
    check(&mut world);
}

fn event(world: &mut World, input: &mut Input<'_>) {
    match input.byte() % 24 {
        0..4 => world.tick(),
        4..6 => world.finalize(),
        6 => world.engine.tick(input.number()),
        7 => world.finalize_unread(),
        8 => {
            let headers = Vec::<Header>::decode_all(&mut input.piece());
            world.engine.finality(headers.unwrap_or_default(), input.piece());
        }
        9 => {
            world.build();
            let first = world.engine.figures().layer_one + 1;
            let last = world.next_block() - 1;
            let mut justification = world.voters.justify(world.chain.header(last)).encode();
            let at = usize::from(input.byte()) * 2 % justification.len();
            justification[at] ^= input.byte();
            world.engine.finality(world.chain.range(first, last), &justification);
        }
        10 => answer(world, input),
        11 => {
            let answered = world.answer_one();
            assert!(answered || world.questions.is_empty());
        }
        12 => world.engine.stored(input.number()),
        13 => {
            while !world.keeps && world.keep_one() {}
            world.keeps ^= true;
        }
        14 => drop(world.keep_one()),
        15 | 16 => call(world, input),
        17 => world.append_shield(truncated(input.piece(), 512), u128::from(input.number())),
        18 => {
            let entry = world.seal(Purpose::Request, input.piece());
            world.invoke(truncated(&entry, 16_384));
        }
        19 => query(world, input),
        20 => {
            let [spec_version, transaction_version] = input.array().map(u32::from);
            world.engine.chain_version(spec_version, transaction_version);
        }
        21 => {
            world.engine.evidence(Evidence::Dcap(input.piece().to_vec()));
            if input.byte() == 255 {
                world.engine.kept(Kept::Block(input.piece().to_vec()));
                world.engine.kept_all();
            }
        }
        22 => world.include(),
        _ => layer_one_says(world, input),
    }
}

/// The host's answer to a question, or to none.
fn answer(world: &mut World, input: &mut Input<'_>) {
    let Some((question, _, keys)) = world.questions.first().cloned() else {
        return world.engine.proof(input.number(), Some(vec![input.piece().to_vec()]));
    };
    let mut proof = state(&world.storage).prove(&keys);
    let which = usize::from(input.byte()) % proof.len();
    match input.byte() % 5 {
        0 => drop(proof.remove(which)),
        1 => proof[which] = input.piece().to_vec(),
        2 => proof[which].truncate(input.byte().into()),
        3 => return world.engine.proof(question.wrapping_add(input.number()), Some(proof)),
        _ => proof.push(input.piece().to_vec()),
    }
    world.engine.proof(question, Some(proof));
}

/// A call that its sender signed, with any contents.
fn call(world: &mut World, input: &mut Input<'_>) {
    let (who, nonce) = (usize::from(input.byte()), u32::from(input.byte()));
    let pair = &PEOPLE[who % PEOPLE.len()];
    let [from, to] = [pair, &PEOPLE[usize::from(input.byte()) % PEOPLE.len()]].map(account_of);
    let amount = u128::from(input.number()) << (input.byte() % 64);
    let call = match input.byte() % 5 {
        0..2 => TrustedCall::BalanceTransfer(from, to, amount),
        2..4 => TrustedCall::BalanceUnshield(from, to, amount, world.shard()),
        _ => TrustedCall::Noop(from),
    };
    let _ = world.engine.submit(world.sign_with(pair, call, nonce));
}

fn query(world: &World, input: &mut Input<'_>) {
    let Ok(getter) = Getter::decode_all(&mut input.piece()) else { return };
    if let Ok(getter) = VerifiedGetter::verify(getter, &world.genesis(), &world.engine.scope(), &world.engine.rules()) {
        let _ = world.engine.answer(&world.shard(), &getter);
    }
}

/// A majority of layer one's authorities finalizes a state with any value where the enclave looks, for one block.
fn layer_one_says(world: &mut World, input: &mut Input<'_>) {
    let shard = world.shard();
    let number = input.byte().into();
    let keys = [
        storage::enclave(&world.account()),
        storage::shard(&shard),
        storage::anchor(&shard),
        storage::inbox_length(&shard),
        storage::inbox_pruned(&shard),
        storage::inbox_entry(&shard, number),
        storage::settled(&shard, number),
        storage::settled_pruned(&shard),
        storage::account(&world.account()),
        storage::enclave_bridge_version(),
    ];
    let key = keys[usize::from(input.byte()) % keys.len()].clone();
    let value = input.piece().to_vec();
    let before = world.storage.insert(key.clone(), value);
    world.finalize();
    // The harness would not go on with it.
    match before {
        Some(before) => world.storage.insert(key, before),
        None => world.storage.remove(&key),
    };
}

/// Whatever was said: the books hold, and what was kept is found again.
fn check(world: &mut World) {
    let books = world.books();
    assert!(books.issuance().is_some() && books.open().is_some(), "{books:?}");
    let newest = world.disk.blocks.last_key_value().map_or(0, |(number, _)| *number);
    let start = world.another_start();
    assert_eq!((start.recovered, &start.stopped), (Some(newest), &None), "what was kept does not recover");
}

fn account_of(pair: &sr25519::Pair) -> AccountId {
    AccountId::new(pair.public().0)
}

fn truncated(bytes: &[u8], most: usize) -> Vec<u8> {
    bytes[..bytes.len().min(most)].to_vec()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let amount = 5u64.to_le_bytes();
    let transfer = [&[15, 0, 0, 1][..], &amount, &[40, 0]].concat();
    let unshield = [&[15, 1, 0, 0][..], &amount, &[40, 2]].concat();
    let getter = Getter::Public(cloister_wire::PublicGetter::Outbox(0)).encode();
    vec![
        [&transfer[..], &[0], &unshield, &[0, 22, 4, 0, 4, 22, 4, 0]].concat(),
        [&[13][..], &transfer, &[0, 14, 0, 14, 4]].concat(),
        vec![7, 10, 0, 0, 11, 0, 9, 3, 7, 0],
        [&[17][..], &piece(&[1; 88]), &amount, &[4, 0, 22, 4]].concat(),
        [&[18][..], &piece(&request::direct(&request::transfer()).encode()), &[4, 0, 4]].concat(),
        [&[19][..], &piece(&getter), &[20, 1, 2, 21], &piece(&[1; 64]), &[0]].concat(),
        [&[23, 0, 1][..], &piece(&[0; 40])].concat(),
        [&[23, 0, 3][..], &piece(&9u64.encode()), &[0, 4]].concat(),
        [&[6][..], &u64::MAX.to_le_bytes(), &[0, 4, 12], &9u64.to_le_bytes(), &[0]].concat(),
        vec![4, 0, 4, 0, 4, 0, 22, 4, 0, 0, 0],
    ]
}
