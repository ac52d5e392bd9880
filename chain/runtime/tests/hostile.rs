//! What chain users may try: every attempt is refused by the error that is named, changes nothing of ours and costs its fee.

mod common;

use cloister_attestation::{Collateral, Evidence, Policy};
use cloister_chain_primitives::{
    AccountId, Anchor, OutboxKind, Registration, RegistrationPolicy, RegistrationRefused, ShardBirth, ShardId,
    EXISTENTIAL_DEPOSIT, H256, UNIT,
};
use cloister_runtime::{
    proxy::ProxyType, Balances, OriginCaller, Runtime, RuntimeCall, RuntimeEvent, System, TransactionPayment,
};
use codec::DecodeAll;
use common::*;
use frame_support::{traits::fungible::Inspect, weights::Weight};
use pallet_enclave_bridge::{Error, Escrow, FlowsOf, InboxLength, Settled, Unclaimed};
use pallet_sidechain::Anchors;
use pallet_teerex::RevocationLists;
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie, Eve};
use sp_runtime::{DispatchError, TokenError};

/// Nobody has its key, and it has no money.
const NOBODY: AccountId = AccountId::new([77; 32]);

type Bridge = pallet_enclave_bridge::Call<Runtime>;
type Utility = pallet_utility::Call<Runtime>;

// Anchors and confirmations.

#[test]
fn an_acknowledged_anchor_does_not_land_under_another_ancestor() {
    development(|chain| {
        let shard = shielded(chain);
        let (first, second, third) = (block(1, 0), block(2, 1), block(3, 1));
        chain.succeed(Alice, anchor(shard, None, &first));
        chain.next();
        chain.succeed(Alice, anchor(shard, Some(&first), &second));
        chain.next();
        // Its acknowledgements are right, whatever the sender says it follows.
        for ancestor in [None, Some(&first), Some(&third), Some(&Anchor { header_hash: H256::zero(), ..second })] {
            let before = ours();
            System::reset_events();
            chain.succeed(Bob, anchor(shard, ancestor, &third));
            let conflict = pallet_sidechain::Event::AnchorConflict { shard, stored: second, refused: third };
            assert!(System::events().iter().any(|record| record.event == RuntimeEvent::Sidechain(conflict.clone())));
            assert!(ours() == before);
        }
        chain.succeed(Bob, anchor(shard, Some(&second), &third));
        assert_eq!(Anchors::<Runtime>::get(shard).map(|stored| stored.anchor), Some(third));
    });
}

#[test]
fn confirmations_in_a_batch_yield_no_more_than_the_shards_fees() {
    development(|chain| {
        let shard = shielded(chain);
        let fees = UNIT / 100;
        chain.succeed(Alice, anchor(shard, None, &Anchor { fees, ..block(1, 1) }));
        let founder = FOUNDER.to_account_id();
        let before = Balances::balance(&founder);
        for _ in 0..3 {
            batch(chain, FOUNDER, vec![confirm(chain, shard); 10]);
        }
        let flows = FlowsOf::<Runtime>::get(shard);
        assert_eq!((flows.shielded, flows.paid, flows.repaid), (SHIELDED, 0, fees));
        // What users own stays, and in the end the founder has paid.
        assert_eq!(Escrow::<Runtime>::get(shard), SHIELDED - fees);
        assert_eq!(Balances::balance(&escrow(&shard)), SHIELDED - fees + EXISTENTIAL_DEPOSIT);
        assert!(Balances::balance(&founder) < before);
    });
}

// Detours.

#[test]
fn a_proxy_that_may_move_no_money_moves_none_by_any_detour() {
    development(|chain| {
        let shard = shielded(chain);
        let owed = outbox(shard, vec![entry(shard, 0, OutboxKind::Unshield, NOBODY, UNIT)]);
        chain.succeed(Alice, anchor(shard, None, &Anchor { outbox_root: owed.root(), ..block(1, 1) }));
        let delegate = Charlie.to_account_id().into();
        let proxy_type = ProxyType::NonTransfer;
        chain.succeed(Bob, pallet_proxy::Call::add_proxy { delegate, proxy_type, delay: 0 });
        let as_bob = OriginCaller::system(frame_system::RawOrigin::Signed(Bob.to_account_id()));
        let (before, money) = (ours(), Balances::balance(&Bob.to_account_id()));
        for call in [shield(shard), unshield(shard, &owed, 0)] {
            let call = || Box::new(call.clone());
            let nested: RuntimeCall = Utility::batch { calls: vec![*call()] }.into();
            let detours: [RuntimeCall; 8] = [
                *call(),
                Utility::as_derivative { index: 0, call: call() }.into(),
                Utility::dispatch_as { as_origin: Box::new(as_bob.clone()), call: call() }.into(),
                Utility::dispatch_as_fallible { as_origin: Box::new(as_bob.clone()), call: call() }.into(),
                Utility::with_weight { call: call(), weight: Weight::zero() }.into(),
                Utility::batch_all { calls: vec![nested.clone()] }.into(),
                Utility::force_batch { calls: vec![nested] }.into(),
                Utility::if_else { main: Box::new(invoke(ShardId(H256::zero()))), fallback: call() }.into(),
            ];
            for detour in detours {
                let real = Bob.to_account_id().into();
                for force_proxy_type in [None, Some(ProxyType::Any)] {
                    let (real, call) = (Clone::clone(&real), Box::new(detour.clone()));
                    let _ = chain.send(Charlie, pallet_proxy::Call::proxy { real, force_proxy_type, call });
                    assert!(ours() == before && Balances::balance(&Bob.to_account_id()) == money, "{detour:?}");
                }
            }
        }
        assert_eq!(Balances::balance(&NOBODY), 0);
    });
}

// Money's way out.

#[test]
fn what_is_returned_to_another_shards_escrow_is_not_booked_there() {
    development(|chain| {
        let shard = shielded(chain);
        let birth = ShardBirth { upgrade_delay: 11, ..birth() };
        let other = birth.shard_id(&genesis_hash());
        chain.succeed(FOUNDER, Bridge::create_shard { birth: Box::new(birth) });
        chain.succeed(Bob, shield_amount(other, UNIT));
        let owed = outbox(shard, vec![entry(shard, 0, OutboxKind::Return, escrow(&other), UNIT)]);
        chain.succeed(Alice, anchor(shard, None, &Anchor { outbox_root: owed.root(), ..block(1, 1) }));
        let before =
            (Escrow::<Runtime>::get(other), FlowsOf::<Runtime>::get(other), InboxLength::<Runtime>::get(other));
        chain.succeed(Charlie, unshield(shard, &owed, 0));
        let after = (Escrow::<Runtime>::get(other), FlowsOf::<Runtime>::get(other), InboxLength::<Runtime>::get(other));
        assert_eq!(before, after);
        assert_eq!(Balances::balance(&escrow(&other)), 2 * UNIT + EXISTENTIAL_DEPOSIT);
        assert_eq!(Escrow::<Runtime>::get(shard), SHIELDED - UNIT);
    });
}

#[test]
fn a_claim_pays_once_and_keeps_the_debt_while_it_cannot() {
    development(|chain| {
        let shard = shielded(chain);
        // Less than an account can have.
        let owed = outbox(shard, vec![entry(shard, 0, OutboxKind::Return, NOBODY, 5)]);
        chain.succeed(Alice, anchor(shard, None, &Anchor { outbox_root: owed.root(), ..block(1, 1) }));
        chain.succeed(Charlie, unshield(shard, &owed, 0));
        let claim: RuntimeCall = Bridge::claim { shard, account: NOBODY }.into();
        for _ in 0..2 {
            assert_eq!(refused(chain, Eve, claim.clone()), DispatchError::Token(TokenError::BelowMinimum));
            assert_eq!(Unclaimed::<Runtime>::get(shard, NOBODY), 5);
        }
        let value = EXISTENTIAL_DEPOSIT;
        chain.succeed(Bob, pallet_balances::Call::transfer_allow_death { dest: NOBODY.into(), value });
        let nothing = Err(Error::<Runtime>::NothingUnclaimed.into());
        assert_eq!(batch(chain, Eve, vec![claim.clone(); 3]), [Ok(()), nothing, nothing]);
        assert_eq!(Balances::balance(&NOBODY), EXISTENTIAL_DEPOSIT + 5);
        assert_eq!(refused(chain, Eve, claim), Error::<Runtime>::NothingUnclaimed.into());
        assert_eq!(Settled::<Runtime>::iter_prefix(shard).count(), 1);
    });
}

// The registry.

#[test]
fn an_enclave_that_was_told_to_leave_bears_no_shard() {
    development(|chain| {
        chain.collateral();
        chain.register();
        let policy = pallet_teerex::Policy::<Runtime>::get();
        let strict = RegistrationPolicy { appraisal: Policy::default(), ..policy };
        chain.sudo(pallet_teerex::Call::set_policy { policy: Box::new(strict) });
        chain.succeed(Bob, pallet_teerex::Call::evict { account: FOUNDER.to_account_id() });
        let create = Bridge::create_shard { birth: Box::new(birth()) };
        assert_eq!(refused(chain, FOUNDER, create), Error::<Runtime>::FounderNotServing.into());
    });
}

#[test]
fn registration_spam_changes_nothing_and_costs_its_fee() {
    development(|chain| {
        chain.collateral();
        let registered = registration(0, &genesis_hash());
        chain.register();
        chain.next();
        let fresh = registration(chain.number - 1, &chain.parent());
        let garbage = |bytes| Registration { evidence: Evidence::Dcap(vec![7; bytes]), ..fresh.clone() };
        let register =
            |registration| pallet_teerex::Call::<Runtime>::register_enclave { registration: Box::new(registration) };
        let reason = |error: DispatchError| match error {
            DispatchError::Module(module) => RegistrationRefused::decode_all(&mut &module.error[1..2])
                .or_else(|_| RegistrationRefused::decode_all(&mut &module.error[1..3])),
            other => panic!("{other:?}"),
        };
        use RegistrationRefused::{EvidenceTooLarge, NotGenuine, NotLater, ReportData};
        let spam = [
            // The same again, of the one that it is of.
            (FOUNDER, registered, NotLater),
            // Another's.
            (Bob, fresh.clone(), ReportData),
            (Bob, garbage(0), NotGenuine(cloister_attestation::Error::QuoteTruncated)),
            (Bob, garbage(5_000), NotGenuine(cloister_attestation::Error::QuoteVersion)),
            (Bob, garbage(Evidence::MAX_BYTES), NotGenuine(cloister_attestation::Error::QuoteVersion)),
            (Bob, garbage(Evidence::MAX_BYTES + 1), EvidenceTooLarge),
            (Bob, garbage(1024 * 1024), EvidenceTooLarge),
        ];
        for (sender, registration, expected) in spam {
            assert_eq!(reason(refused(chain, sender, register(registration))), Ok(expected));
        }
        chain.succeed(FOUNDER, register(fresh));
    });
}

#[test]
fn collateral_spam_changes_nothing_and_costs_its_fee() {
    development(|chain| {
        chain.collateral();
        let before = RevocationLists::<Runtime>::iter().count();
        let collateral = scenario().collateral();
        let list = collateral.pck_crl.expect("there is one");
        // As long as a list can be, all of it entries, and issued by nobody of its chain.
        let mut entries = list.crl.clone();
        entries.resize(Collateral::MAX_CRL_BYTES, 0x30);
        let foreign = cloister_synthetic_evidence::Authority::from_seed([7; 32]);
        let foreign = cloister_synthetic_evidence::Scenario::sgx(&foreign);
        let mut longest = foreign.pck_crl.clone().expect("there is one");
        longest.revoked = (0..6_000u64).map(|number| [&[1][..], &[0; 11], &number.to_be_bytes()].concat()).collect();
        let longest = cloister_synthetic_evidence::Scenario { pck_crl: Some(longest), ..foreign };
        let longest = longest.collateral().pck_crl.expect("there is one");
        assert!(
            longest.crl.len() > Collateral::MAX_CRL_BYTES * 3 / 4 && longest.crl.len() <= Collateral::MAX_CRL_BYTES
        );
        let register = |crls: Vec<Vec<u8>>, chain: Vec<u8>| {
            let crls: Vec<_> = crls.into_iter().map(|crl| crl.try_into().expect("it fits")).collect();
            let (crls, issuer_chain) = (crls.try_into().expect("they fit"), chain.try_into().expect("it fits"));
            pallet_teerex::Call::<Runtime>::register_crls { crls, issuer_chain }
        };
        use cloister_attestation::Error as Flaw;
        let not_genuine = |flaw: Flaw| pallet_teerex::Error::<Runtime>::Collateral(flaw.into()).into();
        for (crls, chain_of, flaw) in [
            (vec![entries], list.issuer_chain.clone(), Flaw::CrlMalformed),
            (vec![longest.crl.clone()], longest.issuer_chain.clone(), Flaw::RootUnknown),
            (vec![longest.crl.clone(); 3], list.issuer_chain.clone(), Flaw::CrlSignature),
            // What is genuine beside it is not taken either.
            (vec![list.crl.clone(), longest.crl], list.issuer_chain.clone(), Flaw::CrlSignature),
        ] {
            assert_eq!(refused(chain, Bob, register(crls, chain_of)), not_genuine(flaw));
        }
        assert_eq!(RevocationLists::<Runtime>::iter().count(), before);
        // A signed document with another's signature, as large as it may be.
        let body: Vec<u8> = vec![b' '; Collateral::MAX_DOCUMENT_BYTES];
        let issuer_chain = collateral.tcb_info.issuer_chain.try_into().expect("it fits");
        let signature = collateral.tcb_info.signature;
        let forged =
            pallet_teerex::Call::register_tcb_info { body: body.try_into().expect("it fits"), signature, issuer_chain };
        assert_eq!(refused(chain, Bob, forged), not_genuine(Flaw::DocumentSignature));
        // A full megabyte of garbage is paid as such.
        let fee = TransactionPayment::length_to_fee(1024 * 1024);
        assert!(fee > UNIT);
    });
}
