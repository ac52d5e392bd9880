//! Money's way out of a shard and back to who shielded it, on a real chain: whatever layer one makes of it, every unit
//! is on exactly one side in the end.

use anyhow::{Context, Result, bail, ensure};
use cloister_chain_primitives::{
    AccountId, Balance, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, EncryptedBeneficiary, H256, MIN_SHIELD, OutboxEntry,
    OutflowLimit, UNIT, UNSHIELD_FEE, Verdict, calls::Call,
};
use cloister_client::{Route, Signer, Unshielding, Wait};
use cloister_testing::{
    Cli, Deployment, WorkerOptions, calls, deployment::SETTLE_DEADLINE, eventually, signer, tap::unshields,
};
use cloister_wire::{OutboxProof, TrustedCall};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie, Dave, Ferdie};

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_twice_is_paid_twice() -> Result<()> {
    Deployment::run(async |deployment| {
        let (shard, alice, ferdie) = (&deployment.shard, signer(Alice), Ferdie.to_account_id());
        deployment.shield(&alice, 100 * UNIT).await?;
        let before = deployment.chain.free_balance(&ferdie).await?;

        // The very same, before either is in a block.
        let call = TrustedCall::BalanceUnshield(alice.account(), ferdie.clone(), 10 * UNIT, shard.shard().id);
        let mut first = shard.submit_with_nonce(&alice, call.clone(), 0).await?;
        let mut second = shard.submit_with_nonce(&alice, call, 1).await?;
        let mut opened = Vec::new();
        for operation in [&mut first, &mut second] {
            operation.in_block().await?;
            let outcome = shard.outcome(&alice, operation.hash()).await?.context("no outcome")?;
            assert_eq!(outcome.result, Ok(()));
            opened.push(outcome.outbox.context("nothing was opened")?);
        }
        // And once more by the way that no worker can close.
        let inbox = Route::Inbox { payer: &signer(Bob) };
        let third = shard.unshield(&alice, &ferdie, 10 * UNIT, inbox, SETTLE_DEADLINE, |_| ()).await?;
        opened.push((third.number, third.id));
        assert_eq!(opened.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(opened[0].1 != opened[1].1 && opened[1].1 != opened[2].1, "{opened:?}");
        let (verdict, _) = shard.settled(&third, SETTLE_DEADLINE, |_| ()).await?;
        assert_eq!(verdict, Verdict::Paid);

        let ledgers = deployment.ledgers().await?;
        assert_eq!(deployment.chain.free_balance(&ferdie).await?, before + 30 * UNIT);
        let fees = 2 * DIRECT_CALL_FEE + 3 * UNSHIELD_FEE;
        assert_eq!(ledgers.are_of(shard, [&alice]).await?, [70 * UNIT - fees]);
        assert_eq!((ledgers.books.opened, ledgers.books.paid, ledgers.books.fees), (30 * UNIT, 30 * UNIT, fees));
        ensure!(ledgers.flows.repaid > 0, "who submits is repaid: {ledgers:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_layer_one_refuses_is_credited_again_and_its_fee_kept() -> Result<()> {
    Deployment::run(async |deployment| {
        let (chain, alice, ferdie) = (&deployment.chain, signer(Alice), Ferdie.to_account_id());
        deployment.shield(&alice, 100 * UNIT).await?;

        let nobody = AccountId::new([9; 32]);
        refused(deployment, &alice, &nobody, EXISTENTIAL_DEPOSIT - 1).await?;
        assert_eq!(chain.free_balance(&nobody).await?, 0);

        // Root takes what it should not, all but the account's existential deposit.
        let (escrow, bob, before) =
            (deployment.escrow_account(), Bob.to_account_id(), chain.free_balance(&ferdie).await?);
        let taken = chain.free_balance(&escrow).await? - EXISTENTIAL_DEPOSIT;
        deployment.root(calls::force_transfer(&escrow, &bob, taken)).await?;
        refused(deployment, &alice, &ferdie, 10 * UNIT).await?;
        assert_eq!(chain.free_balance(&ferdie).await?, before);
        let (status, answer) = deployment.audit()?;
        let checks = answer["checks"].as_array().context("no checks")?;
        let failed: Vec<_> =
            checks.iter().filter(|check| check["ok"] == false).filter_map(|check| check["check"].as_str()).collect();
        assert_eq!((status.code(), failed), (Some(INCONSISTENT), vec!["escrow's account has the money"]), "{answer}");

        deployment.root(calls::force_transfer(&bob, &escrow, taken)).await?;
        let paid = unshield(deployment, &alice, &ferdie, 10 * UNIT).await?;
        let (verdict, _) = deployment.shard.settled(&paid, SETTLE_DEADLINE, |_| ()).await?;
        assert_eq!(verdict, Verdict::Paid);

        let ledgers = deployment.ledgers().await?;
        assert_eq!(chain.free_balance(&ferdie).await?, before + 10 * UNIT);
        let fees = 3 * (DIRECT_CALL_FEE + UNSHIELD_FEE);
        assert_eq!(ledgers.are_of(&deployment.shard, [&alice]).await?, [90 * UNIT - fees]);
        assert_eq!(ledgers.books.refunded, 10 * UNIT + EXISTENTIAL_DEPOSIT - 1);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_the_outflow_limit_waits_for_its_period() -> Result<()> {
    Deployment::run(async |deployment| {
        let (shard, alice, ferdie) = (&deployment.shard, signer(Alice), Ferdie.to_account_id());
        let id = shard.shard().id;
        deployment.shield(&alice, 300 * UNIT).await?;
        let before = deployment.chain.free_balance(&ferdie).await?;
        let limit = OutflowLimit { amount: 50 * UNIT, period: 10 };
        deployment.root(Call::set_outflow_limit(&id, Some(&limit))).await?;

        // A period has room for one of them. They are asked for within less than one.
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(unshield(deployment, &alice, &ferdie, 30 * UNIT).await?);
        }
        let (mut deferred, mut periods) = (0, Vec::new());
        for unshielding in &waiting {
            let settled = shard.settled(unshielding, 2 * SETTLE_DEADLINE, |_| deferred += 1).await?;
            let (Verdict::Paid, found) = settled else { bail!("{settled:?}") };
            periods.push(found.block_number / limit.period);
        }
        ensure!(deferred > 0, "nothing had to wait");
        periods.sort_unstable();
        periods.dedup();
        assert_eq!(periods.len(), 3, "more than the limit was paid in a period");

        // What no period has room for would wait for ever, and could not be returned.
        refused(deployment, &alice, &ferdie, limit.amount + 1).await?;
        let sealed = shard.shard().seal_beneficiary(&ferdie)?;
        let too_much = Call::shield_funds(&id, &sealed, limit.amount + 1);
        assert_eq!(deployment.failure(&too_much, &signer(Bob)).await?, "enclaveBridge.AboveOutflowLimit");

        let ledgers = deployment.ledgers().await?;
        assert_eq!(deployment.chain.free_balance(&ferdie).await?, before + 90 * UNIT);
        let fees = 4 * (DIRECT_CALL_FEE + UNSHIELD_FEE);
        assert_eq!(ledgers.are_of(shard, [&alice]).await?, [210 * UNIT - fees]);
        Ok(())
    })
    .await
}

/// The worker's node, or what lies between, never hears what the enclave submits. Whoever has the entry's path pays its
/// beneficiary, and nobody else, and not twice.
#[tokio::test(flavor = "multi_thread")]
async fn anybody_settles_what_a_worker_holds_back() -> Result<()> {
    Deployment::run_tapped(WorkerOptions::default(), async |deployment, tap| {
        let (alice, charlie, ferdie) = (signer(Alice), signer(Charlie), Ferdie.to_account_id());
        let shard = deployment.shard.shard().id;
        deployment.shield(&alice, 100 * UNIT).await?;
        let before = deployment.chain.free_balance(&ferdie).await?;
        tap.swallow(unshields(shard));
        let asked = unshield(deployment, &alice, &ferdie, 10 * UNIT).await?;
        // The enclave submits nothing before the entry is anchored in a finalized block.
        tap.submission(0, SETTLE_DEADLINE, unshields(shard)).await?;

        let proofs = deployment.shard.outbox(0).await?;
        let [OutboxProof { entry, path }] = proofs.as_slice() else { bail!("{proofs:?}") };
        assert_eq!((entry.number, entry.id), (asked.number, asked.id));
        assert_eq!((&entry.beneficiary, entry.amount), (&ferdie, 10 * UNIT));
        let altered = [
            OutboxEntry { beneficiary: charlie.account(), ..entry.clone() },
            OutboxEntry { amount: entry.amount + 1, ..entry.clone() },
            OutboxEntry { id: H256::zero(), ..entry.clone() },
        ];
        for altered in altered {
            let call = Call::unshield_funds(&shard, &altered, path);
            assert_eq!(deployment.failure(&call, &charlie).await?, "enclaveBridge.NotInOutbox", "{altered:?}");
        }

        let cli = Cli::of(deployment)?;
        let listed = cli.done(&["outbox", "list"])?;
        assert_eq!(listed["entries"].as_array().map(Vec::len), Some(1), "{listed}");
        cli.done(&["outbox", "settle", "//Charlie", "--wait", "finalized"])?;
        assert_eq!(deployment.chain.free_balance(&ferdie).await?, before + 10 * UNIT);

        let again = Call::unshield_funds(&shard, entry, path);
        assert_eq!(deployment.failure(&again, &charlie).await?, "enclaveBridge.AlreadySettled");
        // The enclave's own, too, comes too late.
        let heard = tap.submitted().len();
        tap.pass();
        tap.submission(heard, SETTLE_DEADLINE, unshields(shard)).await?;
        let ledgers = deployment.ledgers().await?;
        assert_eq!(deployment.failure(&again, &charlie).await?, "enclaveBridge.AlreadySettled", "pruned or not");
        assert_eq!(deployment.chain.free_balance(&ferdie).await?, before + 10 * UNIT);
        let fees = DIRECT_CALL_FEE + UNSHIELD_FEE;
        assert_eq!(ledgers.are_of(&deployment.shard, [&alice]).await?, [90 * UNIT - fees]);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shielding_to_nobody_comes_back_for_a_fee() -> Result<()> {
    Deployment::run(async |deployment| {
        let shard = deployment.shard.shard().id;
        let unreadable: EncryptedBeneficiary = vec![7; 100].try_into().map_err(|_| anyhow::anyhow!("too long"))?;
        let too_little = Call::shield_funds(&shard, &unreadable, MIN_SHIELD - 1);
        assert_eq!(deployment.failure(&too_little, &signer(Bob)).await?, "enclaveBridge.BelowMinimumShield");

        for (number, (owner, amount)) in (1..).zip([(Charlie, 5 * UNIT), (Dave, MIN_SHIELD)]) {
            let owner = signer(owner);
            let call = Call::shield_funds(&shard, &unreadable, amount);
            let sent = deployment.layer_one.submit(&call, &owner, Wait::Finalized).await?;
            let at = sent.inclusion.context("final and in no block")?.block_hash;
            let without = deployment.layer_one.account_at(&owner.account(), at).await?.free;
            eventually("the returned money", SETTLE_DEADLINE, async || {
                let now = deployment.chain.free_balance(&owner.account()).await?;
                Ok((now == without + amount - UNSHIELD_FEE).then_some(()))
            })
            .await?;
            let status = deployment.shard.inbox_status().await?;
            assert_eq!((status.shields_credited, status.shields_returned), (0, number));
        }
        let ledgers = deployment.ledgers().await?;
        assert_eq!((ledgers.books.issuance(), ledgers.books.fees), (Some(0), 2 * UNSHIELD_FEE));
        Ok(())
    })
    .await
}

/// Asks the enclave itself, which opens an entry.
async fn unshield(deployment: &Deployment, from: &Signer, to: &AccountId, amount: Balance) -> Result<Unshielding> {
    Ok(deployment.shard.unshield(from, to, amount, Route::Direct, SETTLE_DEADLINE, |_| ()).await?)
}

/// Layer one refuses to pay this, and all but the fees is credited again.
async fn refused(deployment: &Deployment, from: &Signer, to: &AccountId, amount: Balance) -> Result<()> {
    let shard = &deployment.shard;
    let before = shard.free_balance(from).await?;
    let unshielding = unshield(deployment, from, to, amount).await?;
    let (verdict, _) = shard.settled(&unshielding, SETTLE_DEADLINE, |_| ()).await?;
    assert_eq!(verdict, Verdict::Refused);
    shard.closed(from, unshielding.number, SETTLE_DEADLINE).await?;
    assert_eq!(shard.free_balance(from).await?, before - DIRECT_CALL_FEE - UNSHIELD_FEE);
    Ok(())
}

/// What `cloister audit` exits with when something does not agree.
const INCONSISTENT: i32 = 5;
