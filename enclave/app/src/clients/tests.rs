//! What a client that lies, guesses or floods is answered before the engine hears of it.

use cloister_chain_primitives::extrinsic::ChainVersion;
use cloister_claims::TeeKind;
use cloister_keys::{AccountKey, IncarnationKey};
use cloister_sidechain::{Identity, Setup};
use cloister_state::StateSecret;
use cloister_synthetic_layer_one::{Chain, Voters};
use cloister_wire::{PublicGetter, TrustedCall, TrustedCallSigned, TrustedGetter, TrustedGetterSigned};
use sp_core::{Pair, crypto::AccountId32, sr25519};
use sp_runtime::MultiSignature;

use super::*;

struct Fixture {
    clients: Clients,
    commands: mpsc::Receiver<Command>,
}

impl Fixture {
    fn new() -> Self {
        let (chain, voters) = (Chain::new(0), Voters::new(0, 1..=4));
        let config = chain.config(&voters);
        let genesis = config.genesis;
        let shielding = Arc::new(ShieldingKeyPair::draw(0).unwrap());
        let engine = Engine::new(Setup {
            config,
            kind: TeeKind::Simulated,
            fingerprint: [3; 32],
            identity: Identity {
                account: AccountKey::draw().unwrap(),
                incarnation: IncarnationKey::draw().unwrap(),
                tls_key_hash: [7; 32],
            },
            shielding: shielding.clone(),
            state_secret: StateSecret::draw().unwrap(),
            program: &cloister_stf::Payments,
            snapshots: cloister_sidechain::SnapshotRules::default(),
            url: None,
            requested_shard: None,
            chain_version: ChainVersion { genesis, spec_version: 1, transaction_version: 1 },
        })
        .unwrap();
        let (sender, commands) = mpsc::channel(8);
        Self { clients: Clients::new(&engine, genesis, shielding, sender), commands }
    }

    fn serving() -> Self {
        let fixture = Self::new();
        fixture.clients.serve();
        fixture
    }

    fn request(&self, cyphertext: Vec<u8>) -> Request {
        Request { shard: self.clients.scope.shard, cyphertext: cyphertext.try_into().unwrap() }
    }

    fn sealed(&self, plaintext: &[u8]) -> Vec<u8> {
        self.sealed_for(&self.clients.context, plaintext)
    }

    fn sealed_for(&self, context: &Context, plaintext: &[u8]) -> Vec<u8> {
        let keys = self.clients.shielding.public();
        envelope::seal(context, keys.epoch, &keys.hpke, plaintext).unwrap()
    }

    async fn value(&self, call: Call) -> RpcReturnValue {
        match self.clients.answer(call).await {
            Reply::Answer(value) => value,
            Reply::Watch { .. } => panic!("watched"),
        }
    }
}

fn alice() -> (sr25519::Pair, AccountId32) {
    let pair = sr25519::Pair::from_string("//Alice", None).unwrap();
    let account = AccountId32::new(pair.public().0);
    (pair, account)
}

fn signed(call: TrustedCall, scope: &SignatureScope) -> TrustedCallSigned {
    let signature = MultiSignature::Sr25519(alice().0.sign(&scope.call_bytes(&call, 0)));
    TrustedCallSigned { call, nonce: 0, signature }
}

/// Law 3: neither wording nor status nor shape tells which of decryption, decoding and signature failed.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_before_the_signature_has_one_answer() {
    let fixture = Fixture::serving();
    let scope = fixture.clients.scope;
    let noop = || TrustedCall::Noop(alice().1);
    let good = TrustedOperation::DirectCall(signed(noop(), &scope)).encode();
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let for_other = |scope| TrustedOperation::DirectCall(signed(noop(), &scope)).encode();
    let context = fixture.clients.context;
    let altered = |mut cyphertext: Vec<u8>| {
        *cyphertext.last_mut().unwrap() ^= 1;
        cyphertext
    };
    for cyphertext in [
        vec![],
        vec![1; 383],
        vec![1; 384],
        vec![1; 500],
        vec![1; 42 * 384],
        envelope::MAGIC.to_vec(),
        altered(fixture.sealed(&good)),
        fixture.sealed_for(&Context { purpose: Purpose::Beneficiary, ..context }, &good),
        fixture.sealed_for(&Context { genesis: H256::zero(), ..context }, &good),
        fixture.sealed(b""),
        fixture.sealed(&good[..good.len() - 1]),
        fixture.sealed(&[&good[..], &[0]].concat()),
        fixture.sealed(&forged),
        fixture.sealed(&for_other(SignatureScope { mrenclave: [0; 32], ..scope })),
        fixture.sealed(&for_other(SignatureScope { shard: ShardId(H256::zero()), ..scope })),
        fixture.sealed(&TrustedOperation::IndirectCall(signed(noop(), &scope)).encode()),
        fixture.sealed(&TrustedOperation::Get(Getter::Public(PublicGetter::Inbox)).encode()),
    ] {
        let length = cyphertext.len();
        let request = fixture.request(cyphertext);
        for call in [Call::Submit(request.clone()), Call::SubmitAndWatch(request)] {
            assert_eq!(fixture.value(call).await, RpcReturnValue::error(OPAQUE), "{length} bytes");
        }
    }
    assert!(fixture.commands.is_empty(), "the engine did not hear of any");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_signature_the_check_is_named() {
    let fixture = Fixture::serving();
    let scope = fixture.clients.scope;
    let (_, alice) = alice();
    for (call, refused) in [
        (TrustedCall::BalanceUnshield(alice.clone(), alice.clone(), 1, ShardId(H256::zero())), Refused::OtherShard),
        (TrustedCall::BalanceSetBalance(alice.clone(), alice.clone(), 1, 0), Refused::SimulationForbidden),
        (
            TrustedCall::BalanceShield(alice.clone(), alice.clone(), 1, cloister_wire::ParentchainId::LayerOne),
            Refused::EnclaveOnly,
        ),
    ] {
        let operation = TrustedOperation::DirectCall(signed(call, &scope)).encode();
        let request = fixture.request(fixture.sealed(&operation));
        assert_eq!(fixture.value(Call::Submit(request)).await, RpcReturnValue::error(refused));
    }
    let elsewhere = Request { shard: ShardId(H256::zero()), ..fixture.request(vec![]) };
    assert_eq!(fixture.value(Call::Submit(elsewhere)).await, RpcReturnValue::error("unknown shard"));
}

#[tokio::test]
async fn what_is_no_query_is_answered_like_a_strangers() {
    let fixture = Fixture::serving();
    let getter = TrustedGetter::FreeBalance(AccountId32::new([1; 32]));
    let signature = MultiSignature::Sr25519(alice().0.sign(&getter.encode()));
    let strangers = Getter::Trusted(TrustedGetterSigned { getter, signature }).encode();
    let surplus = [Getter::Public(PublicGetter::Inbox).encode(), vec![0]].concat();
    for bytes in [strangers, vec![], vec![1], vec![99; 200], surplus] {
        let request = fixture.request(bytes);
        assert_eq!(
            fixture.value(Call::ExecuteGetter(request.clone())).await,
            RpcReturnValue::error(QueryRefused::NotOwner)
        );
        let elsewhere = Request { shard: ShardId(H256::zero()), ..request };
        assert_eq!(
            fixture.value(Call::ExecuteGetter(elsewhere)).await,
            RpcReturnValue::error(QueryRefused::UnknownShard)
        );
    }
    assert!(fixture.commands.is_empty());
}

#[tokio::test]
async fn nothing_is_told_about_a_shard_that_is_not_served() {
    let fixture = Fixture::new();
    let request = || fixture.request(vec![]);
    for call in [
        Call::ShieldingKey,
        Call::HpkeKey,
        Call::Shard,
        Call::Fingerprint,
        Call::Submit(request()),
        Call::SubmitAndWatch(request()),
        Call::ExecuteGetter(request()),
        Call::PendingExtrinsics(vec![fixture.clients.scope.shard]),
        Call::Metadata,
        Call::Header,
        Call::Health,
    ] {
        assert_eq!(fixture.value(call).await, RpcReturnValue::error(CallRefused::NotServing));
    }
    assert_eq!(fixture.value(Call::Name).await, RpcReturnValue::ok("cloister-enclave"));
    fixture.clients.serve();
    assert_eq!(fixture.value(Call::Shard).await, RpcReturnValue::ok(fixture.clients.scope.shard));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_with_rsa_does_not_hold_up_envelopes() {
    let fixture = Fixture::serving();
    let permits = fixture.clients.published.available_permits();
    let _flood = fixture.clients.published.acquire_many(permits.try_into().unwrap()).await.unwrap();
    let mut foreign_epoch = fixture.sealed(b"x");
    foreign_epoch[4] ^= 1;
    for waiting in [vec![1; 42 * 384], foreign_epoch] {
        let call = Call::Submit(fixture.request(waiting));
        assert!(fixture.clients.answer(call).now_or_never().is_none());
    }
    let call = Call::Submit(fixture.request(fixture.sealed(b"x")));
    assert_eq!(fixture.value(call).await, RpcReturnValue::error(OPAQUE));
}
