//! Clients that send calls of all kinds, and send again what they heard nothing of.

use std::{collections::BTreeMap, sync::OnceLock};

use cloister_chain_primitives::{
    AccountId, Balance, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, H256, InboxEntry, MIN_SHIELD, UNSHIELD_FEE,
};
use cloister_sidechain::{CallRefused, VerifiedGetter};
use cloister_stf::{Rules, VerifiedCall, verify, verify_bound};
use cloister_wire::{
    BoundCall, BoundCallSigned, Getter, SignatureScope, TrustedCall, TrustedCallSigned, TrustedGetter,
    TrustedGetterSigned, TrustedOperation, envelope::Purpose,
};
use codec::Encode;
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use sp_core::{Pair, ed25519};
use sp_runtime::MultiSignature;

use crate::{
    UNIT, World,
    bridge::ESCROW,
    model::{Call, Holds, Model},
    pooled::Deposit,
};

/// So many have money from the start; the others may get some.
pub const CLIENTS: usize = 6;
const ACCOUNTS: usize = 9;

/// What clients wait for.
#[derive(Default)]
pub struct Clients {
    /// By account and nonce.
    waiting: BTreeMap<(usize, u32), Waiting>,
    /// Direct calls as they were signed, for whoever replays them.
    signed: Vec<(Signed, VerifiedCall)>,
    /// Indirect calls as they were signed.
    invoked: Vec<Signed>,
}

/// A call as its sender signed it: the published form, or the one with a last block.
#[derive(Clone)]
enum Signed {
    Published(TrustedCallSigned),
    Bound(BoundCallSigned),
}

impl Signed {
    /// For the worker.
    fn direct(self) -> TrustedOperation {
        match self {
            Self::Published(signed) => TrustedOperation::DirectCall(signed),
            Self::Bound(signed) => TrustedOperation::BoundCall(signed),
        }
    }

    /// For the inbox; the sender signs the same.
    fn indirect(self) -> TrustedOperation {
        match self {
            Self::Published(signed) => TrustedOperation::IndirectCall(signed),
            Self::Bound(signed) => TrustedOperation::IndirectBoundCall(signed),
        }
    }

    fn set_signature(&mut self, by: MultiSignature) {
        match self {
            Self::Published(TrustedCallSigned { signature, .. }) | Self::Bound(BoundCallSigned { signature, .. }) => {
                *signature = by;
            }
        }
    }

    fn signature(&self) -> &MultiSignature {
        match self {
            Self::Published(TrustedCallSigned { signature, .. }) | Self::Bound(BoundCallSigned { signature, .. }) => {
                signature
            }
        }
    }

    /// What the enclave makes of it.
    fn verify(self, operation: H256, world: &World) -> VerifiedCall {
        let (scope, rules) = (world.engine.scope(), world.engine.rules());
        match self {
            Self::Published(signed) => verify(operation, signed, &scope, &rules),
            Self::Bound(signed) => verify_bound(operation, signed, &world.genesis(), &scope, &rules),
        }
        .unwrap()
    }

    fn noted(&self, operation: H256) -> Call {
        let (call, nonce, last_block) = match self {
            Self::Published(TrustedCallSigned { call, nonce, .. }) => (call, *nonce, None),
            Self::Bound(BoundCallSigned { bound: BoundCall { call, nonce, last_block }, .. }) => {
                (call, *nonce, Some(*last_block))
            }
        };
        Call { operation, sender: call.sender().clone(), nonce, last_block, call: call.clone() }
    }
}

struct Waiting {
    call: VerifiedCall,
    /// Whether this start of the enclave has it.
    sent: bool,
}

struct Person {
    pair: ed25519::Pair,
    account: AccountId,
    /// Balance and nonce.
    getters: [VerifiedGetter; 2],
}

fn people() -> &'static [Person] {
    static PEOPLE: OnceLock<Vec<Person>> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let person = |seed| {
            let pair = ed25519::Pair::from_seed(&[seed; 32]);
            let account = AccountId::new(pair.public().0);
            let scope = SignatureScope { mrenclave: [0; 32], shard: Default::default() };
            let getters =
                [TrustedGetter::FreeBalance(account.clone()), TrustedGetter::Nonce(account.clone())].map(|getter| {
                    let signature = MultiSignature::Ed25519(pair.sign(&getter.encode()));
                    let getter = Getter::Trusted(TrustedGetterSigned { getter, signature });
                    VerifiedGetter::verify(getter, &Default::default(), &scope, &Rules::default()).unwrap()
                });
            Person { pair, account, getters }
        };
        (100..100 + ACCOUNTS as u8).map(person).collect()
    })
}

/// All that can sign.
pub fn accounts() -> &'static [AccountId] {
    static ACCOUNTS: OnceLock<Vec<AccountId>> = OnceLock::new();
    ACCOUNTS.get_or_init(|| people().iter().map(|person| person.account.clone()).collect())
}

/// What each client can ask: balance and nonce.
pub fn getters() -> impl Iterator<Item = (&'static AccountId, &'static [VerifiedGetter; 2])> {
    people().iter().map(|person| (&person.account, &person.getters))
}

/// Accounts on layer one to which they unshield and from which they shield: some exist, some do not, and to the last
/// nothing can be transferred.
pub const PUBLIC: [AccountId; 6] = [
    AccountId::new([0xa0; 32]),
    AccountId::new([0xa1; 32]),
    AccountId::new([0xa2; 32]),
    AccountId::new([0xa3; 32]),
    AccountId::new([0xa4; 32]),
    AccountId::new([0xa5; 32]),
];
/// So many of them exist from the start.
pub const EXISTING: usize = 3;

/// One of them signs.
pub fn sign_as(who: usize, message: &[u8]) -> MultiSignature {
    MultiSignature::Ed25519(people()[who].pair.sign(message))
}

/// How a call was taken.
pub enum Sent {
    /// There was none to send.
    Nothing,
    /// For what it stands, if it was executed before, and what the enclave said.
    Call { kind: &'static str, call: Box<VerifiedCall>, result: Result<(), CallRefused> },
}

impl Clients {
    /// The enclave ended: what no client heard of goes again.
    pub fn start_over(&mut self) {
        self.waiting.values_mut().for_each(|waiting| waiting.sent = false);
    }

    /// The client has heard what became of a call.
    pub fn heard(&mut self, operation: &H256) {
        self.waiting.retain(|_, waiting| waiting.call.hash() != *operation);
    }

    /// No call whose turn it is waits.
    pub fn is_idle(&self, model: &Model) -> bool {
        let ledger = model.ledger();
        !self.waiting.keys().any(|(who, nonce)| *nonce == ledger.nonce(&people()[*who].account))
    }

    /// Those whose turn is over give up; of the others the next that was not sent goes.
    pub fn send_again(&mut self, world: &mut World, model: &Model) -> Sent {
        let ledger = model.ledger();
        self.waiting.retain(|(who, nonce), _| *nonce >= ledger.nonce(&people()[*who].account));
        let Some(waiting) = self.waiting.values_mut().find(|waiting| !waiting.sent) else { return Sent::Nothing };
        let call = waiting.call.clone();
        let result = world.engine.submit(call.clone()).map(drop);
        waiting.sent = result.is_ok();
        if result.as_ref().is_err_and(is_final) {
            // Its client makes another one.
            self.heard(&call.hash());
        }
        Sent::Call { kind: "sent again", call: Box::new(call), result }
    }

    /// A new call, or an old one again.
    pub fn send(&mut self, world: &mut World, model: &mut Model, random: &mut ChaCha8Rng) -> Sent {
        if random.gen_ratio(1, 8)
            && let Some((_, call)) = self.signed.choose(random).cloned()
        {
            let result = world.engine.submit(call.clone()).map(drop);
            return Sent::Call { kind: "replayed", call: Box::new(call), result };
        }
        let (who, next) = self.sender(model, random);
        let (kind, call) = make(world, who, model, random);
        let (kind, nonce) = if random.gen_ratio(1, 12) { ("gap", next + random.gen_range(1..3)) } else { (kind, next) };
        if self.waiting.contains_key(&(who, nonce)) {
            return Sent::Nothing;
        }
        let signed = sign(world, who, call, nonce, last_block(model, random));
        let operation = signed.clone().direct().hash();
        let verified = signed.clone().verify(operation, world);
        model.sent.insert(operation, signed.noted(operation));
        self.signed.push((signed, verified.clone()));
        let result = world.engine.submit(verified.clone()).map(drop);
        if !result.as_ref().is_err_and(is_final) {
            self.waiting.insert((who, nonce), Waiting { call: verified.clone(), sent: result.is_ok() });
        }
        Sent::Call { kind, call: Box::new(verified), result }
    }

    /// A call through layer one, of whatever use.
    pub fn invoke(&mut self, world: &World, model: &Model, random: &mut ChaCha8Rng) -> (&'static str, Deposit) {
        let (who, next) = self.sender(model, random);
        let (kind, signed) = match random.gen_range(0..12) {
            0 => ("nothing", None),
            1 => {
                // Signed by another.
                let (_, call) = make(world, who, model, random);
                let last_block = last_block(model, random);
                let by_another = sign(world, (who + 1) % ACCOUNTS, call.clone(), next, last_block);
                let mut signed = sign(world, who, call, next, last_block);
                signed.set_signature(by_another.signature().clone());
                ("forged", Some(signed))
            }
            2..5 => {
                let kind = if random.gen_ratio(1, 3) { "direct inside" } else { "direct as indirect" };
                (kind, self.signed.choose(random).map(|(signed, _)| signed.clone()))
            }
            5 => ("replayed indirect", self.invoked.choose(random).cloned()),
            6 => {
                let (_, call) = make(world, who, model, random);
                ("indirect gap", Some(sign(world, who, call, next + 2, last_block(model, random))))
            }
            _ => {
                let (kind, call) = make(world, who, model, random);
                let kind = if kind.contains("unshield") { "indirect unshielding" } else { "indirect" };
                (kind, Some(sign(world, who, call, next, last_block(model, random))))
            }
        };
        let counts = !["forged", "direct inside"].contains(&kind);
        let call = signed.as_ref().filter(|_| counts).map(|signed| {
            self.invoked.push(signed.clone());
            signed.noted(signed.clone().indirect().hash())
        });
        let sealed = match signed {
            Some(signed) => {
                let operation = if kind == "direct inside" { signed.direct() } else { signed.indirect() };
                world.seal(Purpose::Request, &operation.encode())
            }
            // What might be RSA takes a millisecond to find out.
            None if random.gen_ratio(1, 8) => vec![1, 2, 3],
            None => vec![1; 400],
        };
        (kind, Deposit { entry: world.request(sealed), holds: Holds::Invoke(call) })
    }

    /// Money from layer one, or what cannot be credited.
    pub fn shield(&self, world: &World, random: &mut ChaCha8Rng) -> (&'static str, Deposit) {
        let account = &accounts()[random.gen_range(0..ACCOUNTS)];
        let (kind, beneficiary, amount) = match random.gen_range(0..6) {
            0 => ("shielding for nobody", None, UNIT + random.gen_range(0..UNIT)),
            1 => ("small shielding", Some(account), random.gen_range(MIN_SHIELD - 1..MIN_SHIELD + 2)),
            2 => ("large shielding", Some(account), random.gen_range(UNIT..20 * UNIT)),
            _ => ("shielding", Some(account), UNIT + random.gen_range(0..UNIT)),
        };
        let sender = PUBLIC[random.gen_range(0..PUBLIC.len())].clone();
        (kind, shielding(world, beneficiary, amount, sender))
    }

    /// A direct call that was sent here or to another start.
    pub fn any_signed(&self, random: &mut ChaCha8Rng) -> Option<VerifiedCall> {
        self.signed.choose(random).map(|(_, call)| call.clone())
    }

    /// Somebody, and the first nonce for which no call of theirs waits.
    fn sender(&self, model: &Model, random: &mut ChaCha8Rng) -> (usize, u32) {
        let most = if random.gen_ratio(1, 5) { ACCOUNTS } else { CLIENTS };
        let who = random.gen_range(0..most);
        let mut next = model.ledger().nonce(&accounts()[who]);
        while self.waiting.contains_key(&(who, next)) {
            next += 1;
        }
        (who, next)
    }
}

/// Whether a client does not try a call again that was refused for this reason.
fn is_final(refused: &CallRefused) -> bool {
    !matches!(refused, CallRefused::NotServing | CallRefused::Paused(_))
}

/// Somebody pays into the shard.
pub fn shielding(world: &World, beneficiary: Option<&AccountId>, amount: Balance, sender: AccountId) -> Deposit {
    let plain = beneficiary.map_or(vec![1; 31], Encode::encode);
    let encrypted_beneficiary = world.seal(Purpose::Beneficiary, &plain).try_into().unwrap();
    let entry = InboxEntry::Shield { encrypted_beneficiary, amount, sender: sender.clone() };
    Deposit { entry, holds: Holds::Shield { beneficiary: beneficiary.cloned(), amount, sender } }
}

fn make(world: &World, who: usize, model: &Model, random: &mut ChaCha8Rng) -> (&'static str, TrustedCall) {
    let from = accounts()[who].clone();
    let balance = model.ledger().balance(&from).saturating_sub(DIRECT_CALL_FEE);
    let known = accounts()[random.gen_range(0..CLIENTS)].clone();
    let new = accounts()[random.gen_range(CLIENTS..ACCOUNTS)].clone();
    let public = PUBLIC[random.gen_range(0..PUBLIC.len())].clone();
    let pay = |to, amount| TrustedCall::BalanceTransfer(from.clone(), to, amount);
    let unshield = |to, amount| TrustedCall::BalanceUnshield(from.clone(), to, amount, world.shard());
    let all = balance.saturating_sub(UNSHIELD_FEE);
    let small = random.gen_range(1..EXISTENTIAL_DEPOSIT);
    match random.gen_range(0..36) {
        0..10 => ("transfer", pay(known, random.gen_range(EXISTENTIAL_DEPOSIT..UNIT))),
        10..13 => ("transfer to a new account", pay(new, random.gen_range(EXISTENTIAL_DEPOSIT..UNIT))),
        13 => ("too little for an account", pay(new, small)),
        14 => ("emptying", pay(known, balance.max(1))),
        15 => ("leaving dust", pay(known, balance.saturating_sub(small).max(1))),
        16 => ("overdraft", pay(known, balance + random.gen_range(1..UNIT))),
        17..22 => ("unshielding", unshield(public, random.gen_range(EXISTENTIAL_DEPOSIT..UNIT))),
        22..24 => ("unshielding as others", unshield(PUBLIC[0].clone(), UNIT / 10)),
        24..27 => ("small unshielding", unshield(public, small)),
        27 => ("large unshielding", unshield(public, random.gen_range(0..balance.max(1)))),
        28 => ("unshielding all", unshield(public, all)),
        29 => ("unshielding all but dust", unshield(public, all.saturating_sub(small))),
        30 => ("unshielding too much", unshield(public, all + random.gen_range(1..UNIT))),
        31 => ("unshielding to the escrow", unshield(ESCROW, random.gen_range(EXISTENTIAL_DEPOSIT..UNIT))),
        _ => ("noop", TrustedCall::Noop(from)),
    }
}

/// Half of the calls name a last block, and of these half one that may pass before they are executed, or has passed.
fn last_block(model: &Model, random: &mut ChaCha8Rng) -> Option<u64> {
    let height = model.height();
    match random.gen_range(0..4) {
        0 => Some((height + random.gen_range(0..8)).saturating_sub(1)),
        1 => Some(height + 1_000),
        _ => None,
    }
}

fn sign(world: &World, who: usize, call: TrustedCall, nonce: u32, last_block: Option<u64>) -> Signed {
    let scope = world.engine.scope();
    match last_block {
        None => {
            let signature = sign_as(who, &scope.call_bytes(&call, nonce));
            Signed::Published(TrustedCallSigned { call, nonce, signature })
        }
        Some(last_block) => {
            let bound = BoundCall { call, nonce, last_block };
            let signature = sign_as(who, &bound.signed_bytes(&world.genesis(), &scope));
            Signed::Bound(BoundCallSigned { bound, signature })
        }
    }
}
