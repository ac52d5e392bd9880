//! The rules of the game, block by block, without an enclave.

use cloister_chain_primitives::{
    AccountId, Balance, DIRECT_CALL_FEE, H256, ShardId, ShardMode, UNIT, UNSHIELD_FEE,
    storage::{self, AccountInfo},
};
use cloister_state::{BlockRandomness, CommitmentKey, ShardState};
use cloister_stf::{
    BlockContext, BlockExecution, CallOutcome, Context, Inputs, LayerOneValues, Program, Rules, WithApp, answer,
    answer_public, books, context, due, free_balance, genesis_storage, nonce, rpc, total_issuance, verify,
};
use cloister_wire::{SignatureScope, TrustedCall, TrustedCallSigned, TrustedOperation};
use codec::{Decode, Encode};
use guess_the_number::{
    Call, GuessTheNumber, HIGHEST, LastRound, MyGuesses, PublicQuery, Query, RoundStatus, Winner, pot,
};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie};

const GAME: GuessTheNumber = GuessTheNumber { round_ms: 1_000, ..GuessTheNumber::WEEKLY };
static PROGRAM: WithApp<GuessTheNumber> = WithApp(GAME);
const SCOPE: SignatureScope = SignatureScope { mrenclave: [7; 32], shard: ShardId(H256::repeat_byte(8)) };

/// A shard on which everybody has 100 UNIT, and on layer one as much.
struct Shard {
    state: ShardState,
    number: u64,
    time: u64,
    anchored: u64,
    mode: ShardMode,
    layer_one: LayerOneValues,
    seed: u8,
}

impl Shard {
    fn new() -> Self {
        let state = ShardState::genesis(genesis_storage().unwrap(), &CommitmentKey::from_bytes([9; 32]));
        let layer_one = [Alice, Bob, Charlie].map(|who| {
            let info = AccountInfo { free: 100 * UNIT, ..Default::default() };
            (storage::account(&who.to_account_id()), Some(info.encode()))
        });
        let layer_one = layer_one.into_iter().collect();
        let mut shard = Self { state, number: 0, time: 10_000, anchored: 0, mode: ShardMode::Open, layer_one, seed: 1 };
        shard.block(|block| {
            for (number, who) in [Alice, Bob, Charlie].into_iter().enumerate() {
                let account = who.to_account_id();
                block.shield(number as u64, Some(account.clone()), 100 * UNIT, &account).unwrap();
            }
        });
        shard
    }

    /// Makes a block as the engine does.
    fn block<R>(&mut self, make: impl FnOnce(&mut BlockExecution<'_>) -> R) -> R {
        self.number += 1;
        let context = BlockContext {
            number: self.number,
            timestamp: self.time,
            layer_one_number: 1,
            layer_one_head: H256::repeat_byte(1),
            mode: self.mode,
        };
        let inputs = Inputs {
            randomness: BlockRandomness::from_bytes([self.seed; 32]),
            anchored: self.anchored,
            layer_one: self.layer_one.clone(),
        };
        let mut block = BlockExecution::begin(&self.state, context, inputs, &PROGRAM).unwrap();
        assert_eq!(block.begin_block(), CallOutcome::Done);
        let result = make(&mut block);
        if self.mode == ShardMode::Retired {
            block.exit(100).unwrap();
        }
        let finished = block.finish().unwrap();
        self.state.apply(&finished.diff);
        assert_eq!(books(&self.state).issuance(), Some(total_issuance(&self.state)));
        result
    }

    /// A block of nothing, if the game wants one at this time.
    fn block_if_due(&mut self) -> bool {
        let next = Context { number: self.number + 1, timestamp: self.time, ..self.context() };
        let due = due(&self.state, &PROGRAM, &next).unwrap();
        if due {
            self.block(|_| ());
        }
        due
    }

    fn guess(&mut self, who: Sr25519Keyring, guess: u32) -> CallOutcome {
        let account = who.to_account_id();
        let (call, nonce) =
            (TrustedCall::App(account.clone(), Call::Guess(guess).encode()), nonce(&self.state, &account));
        let signature = who.sign(&SCOPE.call_bytes(&call, nonce)).into();
        let signed = TrustedCallSigned { call, nonce, signature };
        let hash = TrustedOperation::DirectCall(signed.clone()).hash();
        let rules = Rules { program: &PROGRAM, ..Rules::default() };
        let call = verify(hash, signed, &SCOPE, &rules).unwrap();
        assert_eq!(call.layer_one_reads(), [storage::account(&account)]);
        self.block(|block| block.call(&call)).unwrap()
    }

    fn context(&self) -> Context {
        context(&self.state, self.mode, self.anchored)
    }

    fn public<T: Decode>(&self, query: PublicQuery) -> Option<T> {
        let answer = answer_public(&self.state, &PROGRAM, &query.encode(), &self.context())?;
        Some(T::decode(&mut answer.as_slice()).unwrap())
    }

    fn round(&self) -> RoundStatus {
        self.public(PublicQuery::Round).unwrap()
    }

    fn last(&self) -> Option<LastRound> {
        self.public(PublicQuery::LastRound)
    }

    fn mine(&self, who: Sr25519Keyring) -> MyGuesses {
        let query = Query::MyGuesses.encode();
        let answer = answer(&self.state, &PROGRAM, &who.to_account_id(), &query, &self.context()).unwrap();
        MyGuesses::decode(&mut answer.as_slice()).unwrap()
    }

    fn free(&self, account: &AccountId) -> Balance {
        free_balance(&self.state, account)
    }

    /// What left for this account on layer one, entry by entry. Nothing is settled here.
    fn left(&self, account: &AccountId) -> Vec<Balance> {
        let owed = cloister_stf::outbox(&self.state).into_iter();
        owed.filter(|owed| owed.beneficiary == *account).map(|owed| owed.amount).collect()
    }

    /// The number to be guessed: a test may look into the state, nobody else can.
    fn secret(&self) -> u32 {
        let key = frame_support::storage::storage_prefix(b"GuessTheNumber", b"Current");
        let (_, number) = <(u64, u32)>::decode(&mut self.state.get(&key).unwrap()).unwrap();
        number
    }
}

fn failed(reason: &str) -> CallOutcome {
    CallOutcome::Failed(reason.into())
}

#[test]
fn the_closest_guess_takes_the_fees_of_its_round_once_the_rounds_end_is_anchored() {
    let mut shard = Shard::new();
    let secret = shard.secret();
    assert!((1..=HIGHEST).contains(&secret));
    // Both are as far from it; then only who was first counts.
    let (far, near) = if secret > HIGHEST / 2 { (1, secret - 1) } else { (HIGHEST, secret + 1) };
    assert_eq!(shard.guess(Alice, far), CallOutcome::Done);
    assert_eq!(shard.guess(Bob, near), CallOutcome::Done);
    assert_eq!(shard.guess(Charlie, near), CallOutcome::Done);
    assert_eq!((shard.round().guesses, shard.round().prize), (3, 3 * UNIT));
    assert_eq!(shard.free(&pot()), 3 * UNIT);
    assert!(!shard.block_if_due(), "the round is not over");

    shard.time += 1_000;
    assert!(shard.block_if_due(), "it is closed");
    let closed_at = shard.number;
    for anchored in 0..closed_at {
        shard.anchored = anchored;
        assert!(!shard.block_if_due());
        assert_eq!((shard.last(), shard.free(&pot())), (None, 3 * UNIT), "nothing is told or paid");
    }
    shard.anchored = closed_at;
    assert!(shard.block_if_due());
    let winner = Winner { account: Bob.to_account_id(), guess: near, prize: 3 * UNIT, paid: true };
    let told = LastRound { round: 10, number: secret, winner };
    assert_eq!(shard.last(), Some(told.clone()));
    assert_eq!(rpc(&shard.state, &PROGRAM, "guess_lastRound", &[], &shard.context()), Ok(told.encode()));
    assert_eq!(shard.free(&Bob.to_account_id()), 102 * UNIT - DIRECT_CALL_FEE);
    assert_eq!(shard.free(&Alice.to_account_id()), 99 * UNIT - DIRECT_CALL_FEE);
    assert_eq!((shard.free(&pot()), shard.round().prize, shard.round().round), (0, 0, 11));
    assert!(!shard.block_if_due());
}

#[test]
fn what_breaks_the_rules_costs_the_fee_of_a_call_and_changes_nothing_else() {
    let mut shard = Shard::new();
    let before = shard.free(&Alice.to_account_id());
    for guess in [0, HIGHEST + 1, u32::MAX] {
        assert_eq!(shard.guess(Alice, guess), failed("guess a number from 1 to 1000"));
    }
    let key = storage::account(&Alice.to_account_id());
    let poor = AccountInfo { free: 10 * UNIT - 1, ..Default::default() }.encode();
    let rich = shard.layer_one.insert(key.clone(), Some(poor)).unwrap();
    assert_eq!(shard.guess(Alice, 1), failed("your account on layer one holds too little"));
    shard.layer_one.insert(key.clone(), None);
    assert_eq!(shard.guess(Alice, 1), failed("your account on layer one holds too little"));
    shard.layer_one.insert(key.clone(), Some(vec![1]));
    assert_eq!(shard.guess(Alice, 1), failed("layer one has changed"));
    shard.layer_one.insert(key, rich);
    assert_eq!(shard.round().guesses, 0);
    assert_eq!(shard.free(&Alice.to_account_id()), before - 6 * DIRECT_CALL_FEE);
    assert_eq!(shard.mine(Alice), MyGuesses { round: 10, guesses: vec![], left: 3 });
}

#[test]
fn attempts_are_counted_by_account_and_round() {
    let mut shard = Shard::new();
    for guess in 1..=3 {
        assert_eq!(shard.guess(Alice, guess), CallOutcome::Done);
        assert_eq!(shard.mine(Alice).left, 3 - guess);
    }
    assert_eq!(shard.guess(Alice, 4), failed("no attempts are left in this round"));
    assert_eq!(shard.guess(Bob, 4), CallOutcome::Done);
    assert_eq!(shard.mine(Alice), MyGuesses { round: 10, guesses: vec![1, 2, 3], left: 0 });
    assert_eq!(shard.mine(Bob), MyGuesses { round: 10, guesses: vec![4], left: 2 });
    shard.time += 1_000;
    assert_eq!(shard.guess(Alice, 5), CallOutcome::Done, "a new round");
    assert_eq!(shard.mine(Alice), MyGuesses { round: 11, guesses: vec![5], left: 2 });
    assert_eq!((shard.round().guesses, shard.round().prize), (1, UNIT));
}

#[test]
fn a_round_in_which_nobody_plays_wants_no_block_and_the_next_call_opens_a_new_one() {
    let mut shard = Shard::new();
    shard.time += 5_000;
    assert!(!shard.block_if_due());
    shard.seed = 2;
    let before = shard.secret();
    assert_eq!(shard.guess(Alice, 1), CallOutcome::Done);
    assert_eq!((shard.round().round, shard.round().ends_at, shard.last()), (15, 16_000, None));
    assert_ne!(shard.secret(), before, "drawn anew");
}

#[test]
fn who_cannot_pay_does_not_play() {
    let mut shard = Shard::new();
    let account = Alice.to_account_id();
    let spent = 99 * UNIT;
    let (call, nonce) = (TrustedCall::BalanceTransfer(account.clone(), Bob.to_account_id(), spent), 0);
    let signature = Alice.sign(&SCOPE.call_bytes(&call, nonce)).into();
    let signed = TrustedCallSigned { call, nonce, signature };
    let rules = Rules { program: &PROGRAM, ..Rules::default() };
    let call = verify(H256::zero(), signed, &SCOPE, &rules).unwrap();
    assert_eq!(shard.block(|block| block.call(&call)), Ok(CallOutcome::Done));
    assert_eq!(shard.guess(Alice, 1), failed("insufficient balance"));
    assert_eq!((shard.round().guesses, shard.mine(Alice).left), (0, 3));
}

#[test]
fn rounds_wait_while_layer_one_anchors_nothing_and_are_told_in_order() {
    let mut shard = Shard::new();
    for _ in 0..6 {
        assert_eq!(shard.guess(Alice, 500), CallOutcome::Done);
        shard.time += 1_000;
        shard.block_if_due();
    }
    assert_eq!(shard.round().round, 14, "four are closed, and the fifth goes on");
    assert_eq!((shard.round().guesses, shard.free(&pot())), (2, 6 * UNIT));
    shard.anchored = shard.number;
    assert!(shard.block_if_due());
    assert_eq!(shard.last().unwrap().round, 13);
    assert!(shard.block_if_due(), "there is room to close the fifth");
    assert_eq!((shard.free(&pot()), shard.round().round), (2 * UNIT, 16));
}

#[test]
fn the_last_round_of_a_retired_shard_is_told_and_paid_once_its_end_is_anchored() {
    // Nothing but the draw decides which of them it is.
    for (winner, loser) in [(Alice, Bob), (Bob, Alice)] {
        let mut shard = Shard::new();
        let secret = shard.secret();
        let other = if secret == 1 { 2 } else { 1 };
        for player in [Alice, Bob] {
            let guess = if player == winner { secret } else { other };
            assert_eq!(shard.guess(player, guess), CallOutcome::Done);
        }
        let (winner, loser) = (winner.to_account_id(), loser.to_account_id());
        shard.mode = ShardMode::Retired;
        assert!(shard.block_if_due(), "the round is closed, and its players leave");
        let closed_at = shard.number;
        let rest = 99 * UNIT - DIRECT_CALL_FEE - UNSHIELD_FEE;
        for anchored in 0..closed_at {
            shard.anchored = anchored;
            assert!(!shard.block_if_due());
            shard.block(|_| ());
            assert_eq!((shard.last(), shard.free(&pot())), (None, 2 * UNIT), "nothing is told or paid");
            assert_eq!([shard.left(&winner), shard.left(&loser)], [[rest], [rest]]);
        }
        shard.anchored = closed_at;
        assert!(shard.block_if_due());
        let told = Winner { account: winner.clone(), guess: secret, prize: 2 * UNIT, paid: true };
        assert_eq!(shard.last(), Some(LastRound { round: 10, number: secret, winner: told }));
        assert_eq!(shard.left(&winner), [rest, 2 * UNIT - UNSHIELD_FEE], "the prize leaves, too");
        assert_eq!((shard.left(&loser), shard.left(&pot())), (vec![rest], vec![]));
        assert_eq!((total_issuance(&shard.state), shard.block_if_due()), (0, false));
    }
}

#[test]
fn a_retired_shard_pays_every_round_although_as_many_as_can_wait_do() {
    let mut shard = Shard::new();
    for _ in 0..6 {
        assert_eq!(shard.guess(Alice, 500), CallOutcome::Done);
        shard.time += 1_000;
        shard.block_if_due();
    }
    assert_eq!((shard.round().round, shard.round().guesses), (14, 2), "four are closed, and the fifth goes on");
    shard.mode = ShardMode::Retired;
    shard.block(|_| ());
    assert_eq!((total_issuance(&shard.state), shard.free(&pot())), (6 * UNIT, 6 * UNIT), "the players have left");
    shard.anchored = shard.number;
    assert!(shard.block_if_due());
    assert_eq!((shard.last().unwrap().round, shard.free(&pot())), (13, 2 * UNIT));
    assert!(shard.block_if_due(), "there is room to close the fifth");
    assert!(!shard.block_if_due());
    assert_eq!((shard.last().unwrap().round, shard.free(&pot())), (13, 2 * UNIT), "which is not anchored yet");
    shard.anchored = shard.number;
    assert!(shard.block_if_due());
    let LastRound { round, winner, .. } = shard.last().unwrap();
    assert_eq!((round, winner.prize, winner.paid), (14, 2 * UNIT, true));
    let rest = 94 * UNIT - 6 * DIRECT_CALL_FEE;
    let left = [rest, 4 * UNIT, 2 * UNIT].map(|amount| amount - UNSHIELD_FEE);
    assert_eq!((shard.left(&Alice.to_account_id()), shard.left(&pot())), (left.to_vec(), vec![]));
    assert_eq!((total_issuance(&shard.state), shard.block_if_due()), (0, false));
}

#[test]
fn everybody_learns_the_rules_and_nobody_the_number() {
    let shard = Shard::new();
    let status = RoundStatus {
        round: 10,
        ends_at: 11_000,
        guesses: 0,
        prize: 0,
        entry_fee: UNIT,
        attempts: 3,
        layer_one_minimum: 10 * UNIT,
    };
    assert_eq!(shard.round(), status);
    let ask = |method| rpc(&shard.state, &PROGRAM, method, &[], &shard.context());
    assert_eq!(ask("guess_round"), Ok(status.encode()));
    assert_eq!(ask("guess_lastRound"), Err("no round has ended yet".into()));
    assert_eq!(ask("guess_number"), Err("no such method".into()));
    assert_eq!(PROGRAM.methods(), ["guess_round", "guess_lastRound"]);
}

/// Clients of any language build on these.
#[test]
fn encodings_are_frozen() {
    assert_eq!(Call::Guess(42).encode(), [0, 42, 0, 0, 0]);
    assert_eq!(Query::MyGuesses.encode(), [0]);
    assert_eq!((PublicQuery::Round.encode(), PublicQuery::LastRound.encode()), (vec![0], vec![1]));
}
