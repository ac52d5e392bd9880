//! What a client that lies, guesses or floods is answered before the engine hears of it.

mod batch;

use cloister_chain_primitives::extrinsic::ChainVersion;
use cloister_claims::TeeKind;
use cloister_keys::{AccountKey, IncarnationKey};
use cloister_sidechain::{Identity, Setup};
use cloister_state::StateSecret;
use cloister_synthetic_layer_one::{Chain, Voters};
use cloister_wire::{
    BoundGetter, BoundGetterSigned, PublicGetter, TrustedCall, TrustedCallSigned, TrustedGetter, TrustedGetterSigned,
    envelope,
};
use sp_core::{Pair, crypto::AccountId32, ed25519, sr25519};
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
            state_secret: StateSecret::from_bytes([5; 32]),
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

    /// A call of `sender` that does nothing, with what `sign` makes of the bytes to be signed.
    fn call(&self, sender: AccountId32, sign: impl Fn(&[u8]) -> MultiSignature) -> Vec<u8> {
        let call = TrustedCall::Noop(sender);
        let signature = sign(&self.clients.scope.call_bytes(&call, 0));
        TrustedOperation::DirectCall(TrustedCallSigned { call, nonce: 0, signature }).encode()
    }

    /// None is answered at once, all are answered the same, and the engine hears of none.
    async fn all_opaque(&self, cyphertexts: impl IntoIterator<Item = Vec<u8>>) {
        let calls = cyphertexts.into_iter().enumerate().flat_map(|(place, cyphertext)| {
            let request = self.request(cyphertext);
            [Call::Submit(request.clone()), Call::SubmitAndWatch(request)].map(|call| async move {
                let read = Instant::now();
                assert_eq!(self.value(call).await, RpcReturnValue::error(OPAQUE), "number {place}");
                assert!(read.elapsed() >= OPAQUE_STEP, "number {place} was answered early");
            })
        });
        futures::future::join_all(calls).await;
        assert!(self.commands.is_empty());
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
    fixture
        .all_opaque([
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
        ])
        .await;
}

/// Whatever secret a bad point gives, an envelope made with it does not open.
#[tokio::test(flavor = "multi_thread")]
async fn points_of_low_order_and_other_garbage_open_nothing() {
    let fixture = Fixture::serving();
    let good = fixture.sealed(&fixture.call(alice().1, |bytes| MultiSignature::Sr25519(alice().0.sign(bytes))));
    let with_point = |point: &str| {
        let mut envelope = good.clone();
        envelope[8..40].copy_from_slice(&sp_core::bytes::from_hex(point).unwrap());
        envelope
    };
    let mut envelopes: Vec<_> = LOW_ORDER_X25519.into_iter().map(with_point).collect();
    envelopes.extend([0, 4, 7, 8, 39, 40, 55].map(|length| good[..length].to_vec()));
    envelopes.extend((0..good.len()).step_by(7).map(|place| {
        let mut envelope = good.clone();
        envelope[place] ^= 0x80;
        envelope
    }));
    fixture.all_opaque(envelopes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_and_keys_that_are_not_canonical_are_refused() {
    let fixture = Fixture::serving();
    let pair = ed25519::Pair::from_string("//Alice", None).unwrap();
    let account = || AccountId32::new(pair.public().0);
    let sr25519 = |alter: fn(&mut [u8; 64])| {
        fixture.call(alice().1, |bytes| {
            let mut signature = alice().0.sign(bytes).0;
            alter(&mut signature);
            MultiSignature::Sr25519(signature.into())
        })
    };
    let ed25519 = |alter: fn(&mut [u8; 64])| {
        fixture.call(account(), |bytes| {
            let mut signature = pair.sign(bytes).0;
            alter(&mut signature);
            MultiSignature::Ed25519(signature.into())
        })
    };
    let ecdsa = |signature: [u8; 65]| fixture.call(account(), |_| MultiSignature::Ecdsa(signature.into()));
    let of = |account: [u8; 32], signature: MultiSignature| fixture.call(account.into(), |_| signature.clone());
    let plus_order = |signature: &mut [u8; 64]| {
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER_25519) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
    };
    fixture
        .all_opaque(
            [
                sr25519(|signature| *signature = [0; 64]),
                sr25519(|signature| *signature = [0xff; 64]),
                // Without the mark of schnorrkel's signatures.
                sr25519(|signature| signature[63] &= 0x7f),
                // The scalar with its second encoding; the order's top bit is free in both.
                sr25519(plus_order),
                sr25519(|signature| signature[..32].copy_from_slice(&[0xff; 32])),
                ed25519(|signature| *signature = [0; 64]),
                ed25519(plus_order),
                ed25519(|signature| signature[..32].copy_from_slice(&[0xff; 32])),
                ecdsa([0; 65]),
                ecdsa([0xff; 65]),
                ecdsa([1; 65]),
                // No points at all, and not the canonical encoding of one.
                of([0xff; 32], MultiSignature::Sr25519([0x80; 64].into())),
                of([2; 32], MultiSignature::Ed25519([0; 64].into())),
                // The other scheme's key.
                fixture.call(account(), |bytes| MultiSignature::Sr25519(pair.sign(bytes).0.into())),
            ]
            .map(|call| fixture.sealed(&call)),
        )
        .await;
    let unaltered = [sr25519(|_| {}), ed25519(|_| {})];
    for call in unaltered {
        assert!(fixture.clients.open(&fixture.request(fixture.sealed(&call))).await.unwrap().is_ok());
    }
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

/// Also what was signed for another chain, shard or code, by whoever got hold of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_query_is_answered_like_a_strangers() {
    let fixture = Fixture::serving();
    let getter = TrustedGetter::FreeBalance(AccountId32::new([1; 32]));
    let signature = MultiSignature::Sr25519(alice().0.sign(&getter.encode()));
    let strangers = Getter::Trusted(TrustedGetterSigned { getter, signature }).encode();
    let surplus = [Getter::Public(PublicGetter::Inbox).encode(), vec![0]].concat();
    let (genesis, scope) = (fixture.clients.context.genesis, fixture.clients.scope);
    let bound = |genesis: H256, shard: ShardId, mrenclave: [u8; 32]| {
        let getter = TrustedGetter::FreeBalance(alice().1);
        let query = BoundGetter { getter, last_block: 1, client_nonce: [1; 16] };
        let signature = MultiSignature::Sr25519(alice().0.sign(&query.signed_bytes(&genesis, &shard, &mrenclave)));
        Getter::Bound(BoundGetterSigned { query, signature }).encode()
    };
    let unsigned = {
        let getter = TrustedGetter::Nonce(alice().1);
        Getter::Trusted(TrustedGetterSigned { getter, signature: MultiSignature::Sr25519([0; 64].into()) }).encode()
    };
    let replayed = [
        bound(H256::zero(), scope.shard, scope.mrenclave),
        bound(genesis, ShardId(H256::zero()), scope.mrenclave),
        bound(genesis, scope.shard, [0; 32]),
    ];
    let others = [strangers, vec![], vec![1], vec![99; 200], surplus, unsigned];
    for bytes in replayed.into_iter().chain(others) {
        let request = fixture.request(bytes);
        let read = Instant::now();
        assert_eq!(
            fixture.value(Call::ExecuteGetter(request.clone())).await,
            RpcReturnValue::error(QueryRefused::NotOwner)
        );
        assert!(read.elapsed() >= OPAQUE_STEP);
        let elsewhere = Request { shard: ShardId(H256::zero()), ..request };
        assert_eq!(
            fixture.value(Call::ExecuteGetter(elsewhere)).await,
            RpcReturnValue::error(QueryRefused::UnknownShard)
        );
    }
    assert!(fixture.commands.is_empty());
    let own = fixture.request(bound(genesis, scope.shard, scope.mrenclave));
    assert!(fixture.clients.answer(Call::ExecuteGetter(own)).now_or_never().is_none());
    assert!(!fixture.commands.is_empty(), "the engine is asked for one's own");
}

/// What stands between a request and its opaque answer is a whole number of steps, however long the checks took.
#[test]
fn an_opaque_answer_comes_at_a_step() {
    let read = Instant::now();
    for (checks_took, answered_after) in [
        (Duration::ZERO, OPAQUE_STEP),
        (Duration::from_nanos(1), OPAQUE_STEP),
        (OPAQUE_STEP - Duration::from_nanos(1), OPAQUE_STEP),
        (OPAQUE_STEP, 2 * OPAQUE_STEP),
        (OPAQUE_STEP * 7 / 2, 4 * OPAQUE_STEP),
        (3_600_000 * OPAQUE_STEP, 3_600_001 * OPAQUE_STEP),
    ] {
        assert_eq!(due(read, read + checks_took), read + answered_after, "{checks_took:?}");
    }
    assert_eq!(due(read + OPAQUE_STEP, read), read + 2 * OPAQUE_STEP, "a clock that goes back ends nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_opaque_answer_holds_up_nobody() {
    let fixture = Fixture::serving();
    for cyphertext in [vec![1; 384], fixture.sealed(b"x")] {
        let permits = || [&fixture.clients.quick, &fixture.clients.published].map(Semaphore::available_permits);
        let before = permits();
        let mut waiting = fixture.clients.answer(Call::Submit(fixture.request(cyphertext))).boxed();
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(permits(), before);
        waiting.await;
    }
}

#[test]
fn the_hosts_limits_are_taken_within_ceilings() {
    assert_eq!(limits(&ClientLimits::default()), Limits::default());
    let zero = ClientLimits {
        connections: 0,
        requests_per_second: 0,
        request_burst: 0,
        watched: 0,
        message_bytes: 0,
        handshake_ms: 0,
        idle_ms: 0,
        write_ms: 0,
    };
    assert_eq!(zero.clamped(), ClientLimits::LEAST);
    let max = u32::MAX;
    let boundless = ClientLimits {
        connections: max,
        requests_per_second: max,
        request_burst: max,
        watched: max,
        message_bytes: max,
        handshake_ms: max,
        idle_ms: max,
        write_ms: max,
    };
    let fewer = ClientLimits { connections: 2_048, ..ClientLimits::MOST };
    assert_eq!(boundless.clamped(), fewer, "not the largest messages on most connections");
    let small = ClientLimits { message_bytes: ClientLimits::DEFAULT.message_bytes, ..boundless };
    assert_eq!(small.clamped().connections, ClientLimits::MOST.connections);
    assert_eq!(ClientLimits::DEFAULT.clamped(), ClientLimits::DEFAULT);
    for wished in [zero, boundless] {
        let taken = limits(&wished.clamped());
        assert!(taken.ping < taken.idle);
        assert!(taken.message_bytes > 2 * 16_384 + 200, "the largest request fits");
    }
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
        Call::SubmitBatch(vec![request()]),
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
    let altered = |place: usize| {
        let mut envelope = fixture.sealed(b"x");
        envelope[place] ^= 1;
        envelope
    };
    // The second one is of another epoch; the third does not open and is tried as RSA.
    for waiting in [vec![1; 42 * 384], altered(4), altered(envelope::OVERHEAD)] {
        let flood = fixture.clients.published.acquire_many(permits.try_into().unwrap()).await.unwrap();
        let mut waiting = fixture.clients.answer(Call::Submit(fixture.request(waiting))).boxed();
        assert!((&mut waiting).now_or_never().is_none());
        let call = Call::Submit(fixture.request(fixture.sealed(b"x")));
        assert_eq!(fixture.value(call).await, RpcReturnValue::error(OPAQUE));
        drop(flood);
        assert_eq!(fixture.clients.published.available_permits(), permits - 1, "who waits has the first that is free");
    }
}

/// Strangers' queries wait for each other, not the engine for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_not_looked_at_without_a_permit() {
    let mut fixture = Fixture::serving();
    let query = fixture.request(Getter::Public(PublicGetter::Inbox).encode());
    let clients = &fixture.clients;
    let all = clients.quick.available_permits();
    let flood = clients.quick.acquire_many(all.try_into().unwrap()).await.unwrap();
    let mut waiting = clients.answer(Call::ExecuteGetter(query)).boxed();
    assert!((&mut waiting).now_or_never().is_none());
    assert!(fixture.commands.is_empty(), "not checked");
    let header = clients.answer(Call::Header);
    let engine = async {
        match fixture.commands.recv().await {
            Some(Command::Header { reply }) => reply.send(None).unwrap(),
            _ => panic!("the engine is asked for nothing else"),
        }
    };
    assert!(matches!(futures::join!(header, engine).0, Reply::Answer(_)));
    drop(flood);
    assert!((&mut waiting).now_or_never().is_none(), "the engine has not answered");
    assert!(matches!(fixture.commands.recv().await, Some(Command::Query { .. })));
    assert_eq!(clients.quick.available_permits(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_queries_without_end_does_not_hold_up_others_with_its_answers() {
    let fixture = Fixture::serving();
    let request = fixture.request(vec![]);
    let before = fixture.clients.quick.available_permits();
    let mut refused = fixture.clients.answer(Call::ExecuteGetter(request)).boxed();
    assert!((&mut refused).now_or_never().is_none(), "the time of an opaque answer has not come");
    assert_eq!(fixture.clients.quick.available_permits(), before);
}

/// What is refused as too large must not be an honest answer.
#[test]
fn the_largest_answers_fit() {
    let largest = Limits::default().answer_bytes;
    let hashes = RpcReturnValue::ok(vec![H256::zero(); cloister_pool::MAX_TOLD]);
    for value in [hashes.value, cloister_stf::metadata()] {
        assert!(2 * value.len() <= largest, "{}", value.len());
    }
}

/// Order of the group behind ed25519 and sr25519, little endian.
const ORDER_25519: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
/// u-coordinates of low order (<https://cr.yp.to/ecdh.html#validate>), without those that differ in the top bit only.
const LOW_ORDER_X25519: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
