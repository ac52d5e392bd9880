//! What the bulk program does to a shard's state.

use cloister_chain_primitives::{AccountId, Balance, DIRECT_CALL_FEE, H256, ShardId, ShardMode, UNIT};
use cloister_client::Signer;
use cloister_state::{CommitmentKey, ShardState};
use cloister_stf::{
    BlockContext, BlockExecution, CallOutcome, Inputs, Program, Rules, account_count, books, free_balance,
    genesis_storage, nonce, total_issuance, verify,
};
use cloister_throughput::{
    bulk::{ACCOUNT_WEIGHT, Bulk, MAX_NUMBERED, Opened, Opening, numbered},
    population::Population,
};
use cloister_wire::{SignatureScope, TrustedCall, TrustedCallSigned, TrustedOperation};
use codec::Encode;
use sp_core::{Pair, sr25519};

const SCOPE: SignatureScope = SignatureScope { mrenclave: [7; 32], shard: ShardId(H256::repeat_byte(8)) };

struct Shard {
    state: ShardState,
    bank: Signer,
    height: u64,
}

impl Shard {
    fn new(money: Balance) -> Self {
        let state = ShardState::genesis(genesis_storage().unwrap(), &CommitmentKey::from_bytes([9; 32]));
        let bank: Signer = sr25519::Pair::from_seed(&[1; 32]).into();
        let mut shard = Self { state, bank, height: 0 };
        let account = shard.bank.account();
        shard.block(|block| block.shield(0, Some(account.clone()), money, &account).map(drop).unwrap());
        shard
    }

    fn block<R>(&mut self, make: impl FnOnce(&mut BlockExecution<'_>) -> R) -> R {
        self.height += 1;
        let context = BlockContext {
            number: self.height,
            timestamp: self.height * 300,
            layer_one_number: 1,
            layer_one_head: H256::repeat_byte(1),
            mode: ShardMode::Open,
        };
        let mut block = BlockExecution::begin(&self.state, context, Inputs::none(), &Bulk).unwrap();
        let result = make(&mut block);
        let finished = block.finish().unwrap();
        self.state.apply(&finished.diff);
        result
    }

    fn call(&mut self, call: TrustedCall) -> CallOutcome {
        let nonce = nonce(&self.state, &self.bank.account());
        let signature = self.bank.sign(&SCOPE.call_bytes(&call, nonce));
        let signed = TrustedCallSigned { call, nonce, signature };
        let hash = TrustedOperation::DirectCall(signed.clone()).hash();
        let rules = Rules { program: &Bulk, ..Rules::default() };
        let call = verify(hash, signed, &SCOPE, &rules).unwrap();
        self.block(|block| block.call(&call)).unwrap()
    }
}

#[test]
fn the_largest_openings_open_everybody_and_move_money_only() {
    let population = Population::new(2 * MAX_NUMBERED + 1);
    let openings = [
        population.openings(u64::MAX),
        vec![Opening { accounts: Opened::Numbered { from: 0, until: MAX_NUMBERED }, each: UNIT }],
    ];
    let mut shard = Shard::new(population.cost() + 1_000 * UNIT);
    let before = total_issuance(&shard.state);
    let openings = openings.concat();
    for opening in &openings {
        assert_eq!(shard.call(opening.call(shard.bank.account())), CallOutcome::Done);
    }
    assert_eq!(account_count(&shard.state), population.accounts() + MAX_NUMBERED);
    assert_eq!(free_balance(&shard.state, &numbered(3)), UNIT);
    let fees = DIRECT_CALL_FEE * openings.len() as Balance;
    assert_eq!(total_issuance(&shard.state), before - fees);
    assert_eq!(books(&shard.state).issuance(), Some(before - fees));
}

#[test]
fn an_opening_that_cannot_be_paid_opens_nobody() {
    let mut shard = Shard::new(3 * UNIT);
    let opening = Opening { accounts: Opened::Numbered { from: 0, until: 5 }, each: UNIT };
    let bank = shard.bank.account();
    assert_eq!(shard.call(opening.call(bank.clone())), CallOutcome::Failed("insufficient balance".into()));
    assert_eq!((account_count(&shard.state), nonce(&shard.state, &bank)), (1, 1));
}

#[test]
fn nobody_is_opened_twice_nor_with_too_little() {
    let mut shard = Shard::new(100 * UNIT);
    let bank = shard.bank.account();
    let named = |each| Opening { accounts: Opened::Named(vec![numbered(1), numbered(1)]), each }.call(bank.clone());
    assert_eq!(shard.call(named(UNIT)), CallOutcome::Failed("the account exists".into()));
    assert_eq!(shard.call(named(1)), CallOutcome::Failed("below the existential deposit".into()));
    assert_eq!(account_count(&shard.state), 1);
}

#[test]
fn an_opening_weighs_what_it_opens() {
    let sender = AccountId::new([1; 32]);
    let transfer = Bulk.weight(&TrustedCall::BalanceTransfer(sender.clone(), numbered(0), 1));
    assert_eq!(transfer, cloister_stf::Payments.weight(&TrustedCall::BalanceTransfer(sender.clone(), numbered(0), 1)));
    let opening = Opening { accounts: Opened::Named(vec![numbered(0), numbered(1)]), each: UNIT };
    let nothing = Bulk.weight(&TrustedCall::App(sender.clone(), vec![]));
    assert_eq!(Bulk.weight(&opening.call(sender.clone())), nothing + 2 * ACCOUNT_WEIGHT);
    assert_eq!(Bulk.weight(&TrustedCall::App(sender, [opening.encode(), vec![0]].concat())), nothing);
}
