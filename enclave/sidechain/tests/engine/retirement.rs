//! The end of a shard: everybody is paid on layer one.

use cloister_chain_primitives::{AccountId, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, OutboxKind, ShardMode, UNSHIELD_FEE};
use cloister_sidechain::CallRefused;
use cloister_simulation::{SHIELDER, UNIT, World, account, bridge, key, layer_one::Effect};
use cloister_stf::{App, Context, Execution, WithApp, pot};
use cloister_wire::TrustedCall;
use frame_support::storage::unhashed;

fn step(world: &mut World) {
    world.include();
    world.finalize();
    world.tick();
}

/// Goes on until nothing is left on the shard, and says after how many blocks of layer one.
fn end(world: &mut World) -> u32 {
    for blocks in 0..2_000 {
        let figures = world.engine.figures();
        if figures.accounts == 0 && figures.outbox_open == 0 && figures.anchored == figures.block {
            return blocks;
        }
        assert_eq!(world.stopped, None);
        step(world);
    }
    panic!("{:?}", world.engine.figures());
}

fn paid(world: &World, account: &AccountId) -> u128 {
    world.bridge.accounts.get(account).copied().unwrap_or(0)
}

#[test]
fn a_shard_serves_until_its_retirement_opens_and_then_pays_everybody() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT), ("Bob", UNIT)]);
    (0..3).for_each(|_| step(&mut world));
    // What comes back to Dave opens no account, so that it must stay until that is decided.
    world.shield(&account("Dave"), UNIT);
    step(&mut world);
    let missing = AccountId::new([0xfe; 32]);
    let small = world.unshield("Dave", &missing, 1_000, 0);
    world.engine.submit(small).unwrap();
    let (shard, at) = (world.shard(), world.next_block());
    bridge::retire(&mut world.storage, &shard, at);
    step(&mut world);
    assert_eq!(world.engine.figures().mode, ShardMode::Open, "announced");
    let little = world.transfer("Alice", "Charlie", EXISTENTIAL_DEPOSIT, 0);
    world.engine.submit(little).unwrap();
    world.tick();
    assert_eq!(world.free_balance("Charlie"), EXISTENTIAL_DEPOSIT);
    assert_eq!(world.engine.figures().accounts, 4);

    // Nothing of the announcement's extrinsics lands before it opens.
    world.submitted.clear();
    world.retire();
    world.shield(&account("Bob"), UNIT);
    world.finalize();
    world.finalize();
    assert_eq!(world.engine.figures().mode, ShardMode::Retired);
    let late = world.transfer("Alice", "Bob", UNIT, 1);
    assert_eq!(world.engine.submit(late), Err(CallRefused::Retired));
    end(&mut world);
    let alice = 10 * UNIT - EXISTENTIAL_DEPOSIT - DIRECT_CALL_FEE;
    assert_eq!(paid(&world, &account("Alice")), alice - UNSHIELD_FEE);
    assert_eq!(paid(&world, &account("Bob")), UNIT - UNSHIELD_FEE);
    assert_eq!(paid(&world, &account("Charlie")), EXISTENTIAL_DEPOSIT, "too little for a fee");
    assert_eq!(paid(&world, &account("Dave")), UNIT - 2 * UNSHIELD_FEE - DIRECT_CALL_FEE, "with its refund");
    assert_eq!((paid(&world, &SHIELDER), paid(&world, &missing)), (UNIT - UNSHIELD_FEE, 0), "returned");
    let books = world.books();
    assert_eq!((books.issuance(), books.open(), books.refunded), (Some(0), Some(0), 1_000));
    assert!(world.effects.iter().any(|effect| matches!(
        effect,
        Effect::Settled { entry, .. } if entry.kind == OutboxKind::Exit && entry.beneficiary == account("Dave")
    )));
    let blocks = world.blocks.len();
    (0..5).for_each(|_| step(&mut world));
    assert_eq!(world.blocks.len(), blocks, "nobody is left");
}

/// Takes a UNIT of who calls, and gives it back once that is anchored.
struct Deposit;

impl App for Deposit {
    type Call = ();
    type Query = ();
    type PublicQuery = ();

    fn weight(&self, (): &()) -> u64 {
        100_000_000
    }

    fn execute(&self, sender: &AccountId, (): (), execution: &Execution<'_>) -> Result<(), String> {
        unhashed::put(TAKEN, &(execution.number, sender));
        execution.transfer(sender, &pot("deposit"), UNIT)
    }

    fn begin_block_weight(&self) -> u64 {
        100_000_000
    }

    fn begin_block(&self, execution: &Execution<'_>) -> Result<(), String> {
        let taken = unhashed::get::<(u64, AccountId)>(TAKEN).filter(|(number, _)| execution.is_anchored(*number));
        let Some((_, sender)) = taken else { return Ok(()) };
        unhashed::kill(TAKEN);
        execution.transfer(&pot("deposit"), &sender, UNIT)
    }

    fn due(&self, next: &Context) -> bool {
        unhashed::get::<(u64, AccountId)>(TAKEN).is_some_and(|(number, _)| next.is_anchored(number))
    }

    fn stays(&self, _: &Context) -> Vec<AccountId> {
        unhashed::exists(TAKEN).then(|| pot("deposit")).into_iter().collect()
    }
}

const TAKEN: &[u8] = b"taken";

#[test]
fn a_pot_stays_until_business_logic_has_paid_what_waits_for_an_anchor() {
    let mut world = World::running(&WithApp(Deposit), None);
    world.finalize();
    world.register();
    world.finalize();
    world.bear();
    world.finalize();
    world.submitted.clear();
    for who in ["Alice", "Bob"] {
        world.shield(&account(who), 10 * UNIT);
    }
    world.finalize();
    world.tick();
    let call = TrustedCall::App(account("Alice"), vec![]);
    world.engine.submit(world.sign_with(&key("Alice"), call, 0)).unwrap();
    world.tick();
    assert_eq!(world.free_balance("Alice"), 9 * UNIT - DIRECT_CALL_FEE);

    // Nothing of the shard lands on layer one meanwhile.
    world.submitted.clear();
    world.retire();
    world.finalize();
    (0..3).for_each(|_| world.tick());
    let figures = world.engine.figures();
    assert_eq!((figures.mode, figures.accounts, figures.anchored), (ShardMode::Retired, 1, 0));
    let blocks = world.blocks.len();
    (0..3).for_each(|_| world.tick());
    assert_eq!(world.blocks.len(), blocks, "nobody else is left, and nothing is due");

    end(&mut world);
    let alice = 10 * UNIT - DIRECT_CALL_FEE - 2 * UNSHIELD_FEE;
    assert_eq!(paid(&world, &account("Alice")), alice, "left twice");
    assert_eq!(paid(&world, &account("Bob")), 10 * UNIT - UNSHIELD_FEE);
    assert_eq!(paid(&world, &pot("deposit")), 0);
    assert_eq!(world.books().issuance(), Some(0));
}

#[test]
fn who_cannot_be_paid_on_layer_one_is_owed_it() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT), ("Bob", UNIT)]);
    world.bridge.closed.insert(account("Bob"));
    world.retire();
    end(&mut world);
    assert_eq!((paid(&world, &account("Alice")), paid(&world, &account("Bob"))), (10 * UNIT - UNSHIELD_FEE, 0));
    assert_eq!(world.bridge.unclaimed[&account("Bob")], UNIT - UNSHIELD_FEE);
    world.bridge.closed.clear();
    let shard = world.shard();
    assert!(world.bridge.claim(&mut world.storage, &shard, &account("Bob")));
    assert!(!world.bridge.claim(&mut world.storage, &shard, &account("Bob")), "once");
    assert_eq!(paid(&world, &account("Bob")), UNIT - UNSHIELD_FEE);
}

#[test]
fn ten_thousand_accounts_are_paid() {
    const ACCOUNTS: u32 = 10_000;
    let owner = |number: u32| {
        let mut id = [0xcc; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        AccountId::new(id)
    };
    let mut world = World::serving();
    for number in 0..ACCOUNTS {
        world.shield(&owner(number), UNIT + u128::from(number));
        if number % 256 == 255 || number == ACCOUNTS - 1 {
            step(&mut world);
            while u64::from(number) >= world.inbox().consumed {
                world.tick();
                while world.answer_one() {}
            }
        }
    }
    assert_eq!(world.engine.figures().accounts, u64::from(ACCOUNTS));
    world.retire();
    end(&mut world);
    for number in 0..ACCOUNTS {
        assert_eq!(paid(&world, &owner(number)), UNIT + u128::from(number) - UNSHIELD_FEE, "{number}");
    }
    let books = world.books();
    assert_eq!((books.issuance(), books.open(), books.outbox_next), (Some(0), Some(0), u64::from(ACCOUNTS)));
    let escrow = bridge::escrow(&world.storage, &world.shard());
    assert_eq!(escrow + world.bridge.repaid.values().sum::<u128>(), books.fees);
}
