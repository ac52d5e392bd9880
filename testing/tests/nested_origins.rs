//! Calls and money reach the enclave exactly once by whatever path they were dispatched on layer one, and not at all if
//! their batch failed.

use anyhow::{Context, Result};
use cloister_chain_primitives::{AccountId, Balance, H256, InboxEntry, Nonce, UNIT, calls::Call, storage};
use cloister_testing::{
    Deployment,
    calls::{self, AnyCall, Timepoint},
    deployment::SETTLE_DEADLINE,
    eventually, signer,
};
use cloister_wire::{InboxStatus, TrustedCall, TrustedOperation};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave, Eve, Ferdie};

#[tokio::test(flavor = "multi_thread")]
async fn each_path_reaches_the_enclave_once() -> Result<()> {
    Deployment::run(async |deployment| {
        let paths = Paths { deployment };
        // Each beneficiary gets an amount of its own from one path, so that nothing can make up for something else.
        paths.directly(Alice, UNIT).await?;
        paths.by_batch(Bob, 2 * UNIT).await?;
        paths.by_proxy(Charlie, 3 * UNIT).await?;
        paths.by_multisig_of_one(Dave, 4 * UNIT).await?;
        paths.by_multisig_of_two(Eve, 5 * UNIT).await?;
        paths.by_scheduler(Ferdie, 6 * UNIT).await?;
        let sum = 21 * UNIT;

        let status = paths.status().await?;
        let expected = InboxStatus { consumed: 12, invokes: 6, shields_credited: 6, shields_returned: 0 };
        assert_eq!(status, expected);
        assert_eq!(deployment.escrow().await?, sum);

        paths.in_a_batch_that_fails(Alice, 50 * UNIT).await?;
        assert_eq!(paths.status().await?, expected, "what was rolled back did not happen");
        assert_eq!(deployment.escrow().await?, sum);
        assert_eq!(deployment.shard.free_balance(&signer(Alice)).await?, UNIT);

        // And `batch` that is interrupted keeps what went before, here one call of two.
        let [one, other] = [paths.invoke(Alice, 1)?, paths.invoke(Alice, 2)?];
        deployment.chain.submit(&Alice.pair(), calls::batch(&[one, impossible(), other])).await?;
        deployment.inbox_consumed().await?;
        assert_eq!(paths.status().await?, InboxStatus { consumed: 13, invokes: 7, ..expected });
        assert_eq!(deployment.shard.nonce(&signer(Alice)).await?, 2);
        Ok(())
    })
    .await
}

/// One way after the other to dispatch an `invoke` and a `shield_funds`.
struct Paths<'a> {
    deployment: &'a Deployment,
}

impl Paths<'_> {
    async fn directly(&self, to: Sr25519Keyring, amount: Balance) -> Result<()> {
        for call in self.both(to, amount)? {
            self.submit(Alice, call).await?;
        }
        self.arrived(to, amount).await
    }

    async fn by_batch(&self, to: Sr25519Keyring, amount: Balance) -> Result<()> {
        self.submit(Alice, calls::batch(&self.both(to, amount)?)).await?;
        self.arrived(to, amount).await
    }

    async fn by_proxy(&self, to: Sr25519Keyring, amount: Balance) -> Result<()> {
        self.submit(Alice, calls::add_proxy(&account(Dave))).await?;
        let [shield, invoke] = self.both(to, amount)?.map(|call| calls::proxy(&account(Alice), &call));
        let block = self.submit(Dave, shield).await?;
        self.paid_in(block, &account(Alice), amount).await?;
        self.submit(Dave, invoke).await?;
        self.arrived(to, amount).await
    }

    async fn by_multisig_of_one(&self, to: Sr25519Keyring, amount: Balance) -> Result<()> {
        let (others, multisig) = multisig(Alice, &[Bob], 1);
        self.submit(Alice, calls::transfer(&multisig, 2 * amount)).await?;
        let [shield, invoke] = self.both(to, amount)?.map(|call| calls::multisig_of_one(&others, &call));
        let block = self.submit(Alice, shield).await?;
        self.paid_in(block, &multisig, amount).await?;
        self.submit(Alice, invoke).await?;
        self.arrived(to, amount).await
    }

    async fn by_multisig_of_two(&self, to: Sr25519Keyring, amount: Balance) -> Result<()> {
        let (others_of_alice, multisig_account) = multisig(Alice, &[Bob], 2);
        let (others_of_bob, _) = multisig(Bob, &[Alice], 2);
        self.submit(Alice, calls::transfer(&multisig_account, 2 * amount)).await?;
        let mut blocks = Vec::new();
        for call in self.both(to, amount)? {
            let before = self.inbox_length().await?;
            let block = self.submit(Alice, calls::multisig(2, &others_of_alice, None, &call)).await?;
            assert_eq!(self.inbox_length().await?, before, "one approval is not enough");
            let first = self.timepoint(block, Alice).await?;
            blocks.push(self.submit(Bob, calls::multisig(2, &others_of_bob, Some(first), &call)).await?);
            assert_eq!(self.inbox_length().await?, before + 1);
        }
        let first = *blocks.first().context("nothing was approved")?;
        self.paid_in(first, &multisig_account, amount).await?;
        self.arrived(to, amount).await
    }

    /// Root schedules for a block to come what root then calls in Alice's name.
    async fn by_scheduler(&self, to: Sr25519Keyring, amount: Balance) -> Result<()> {
        let before = self.inbox_length().await?;
        let when = self.deployment.chain.finalized_head().await?.number + 15;
        for call in self.both(to, amount)? {
            let in_her_name = calls::sudo_as(&account(Alice), &call);
            self.submit(Alice, calls::sudo(&calls::schedule(when, &in_her_name))).await?;
        }
        let now = self.deployment.chain.finalized_head().await?.number;
        assert!(now < when, "scheduled for block {when}, which is over at {now}");
        assert_eq!(self.inbox_length().await?, before, "not before its time");
        eventually("the scheduled calls", SETTLE_DEADLINE, async || {
            Ok((self.inbox_length().await? == before + 2).then_some(()))
        })
        .await?;
        self.paid_in(self.deployment.chain.block_hash(when).await?, &account(Alice), amount).await?;
        self.arrived(to, amount).await
    }

    async fn in_a_batch_that_fails(&self, to: Sr25519Keyring, amount: Balance) -> Result<()> {
        let before = self.inbox_length().await?;
        let [shield, invoke] = self.both(to, amount)?;
        self.submit(Alice, calls::batch_all(&[shield, invoke, impossible()])).await?;
        assert_eq!(self.inbox_length().await?, before);
        // The enclave has seen the block and whatever it may have read from it.
        self.deployment.blocks_finalized(3).await?;
        Ok(())
    }

    /// Money for somebody's new account, and their first call.
    fn both(&self, to: Sr25519Keyring, amount: Balance) -> Result<[AnyCall; 2]> {
        Ok([self.shield(to, amount)?, self.invoke(to, 0)?])
    }

    /// An indirect call of `sender`, whom nobody but they themselves makes call, whoever pays for it on layer one.
    fn invoke(&self, sender: Sr25519Keyring, nonce: Nonce) -> Result<AnyCall> {
        let shard = self.deployment.shard.shard();
        let call = shard.sign_call(TrustedCall::Noop(account(sender)), nonce, &signer(sender))?;
        let request = shard.seal_operation(&TrustedOperation::IndirectCall(call))?;
        Ok(Call::invoke(&request).into())
    }

    fn shield(&self, to: Sr25519Keyring, amount: Balance) -> Result<AnyCall> {
        let shard = self.deployment.shard.shard();
        let beneficiary = shard.seal_beneficiary(&account(to))?;
        Ok(Call::shield_funds(&shard.id, &beneficiary, amount).into())
    }

    async fn submit(&self, signer: Sr25519Keyring, call: AnyCall) -> Result<H256> {
        self.deployment.chain.submit(&signer.pair(), call).await
    }

    async fn status(&self) -> Result<InboxStatus> {
        Ok(self.deployment.shard.inbox_status().await?)
    }

    async fn inbox_length(&self) -> Result<u64> {
        let key = storage::inbox_length(&self.deployment.shard.shard().id);
        Ok(self.deployment.chain.storage(&key, None).await?.unwrap_or_default())
    }

    /// The money is where it belongs, once, and the call is made.
    async fn arrived(&self, to: Sr25519Keyring, amount: Balance) -> Result<()> {
        self.deployment.inbox_consumed().await?;
        assert_eq!(self.deployment.shard.nonce(&signer(to)).await?, 1, "{to}");
        assert_eq!(self.deployment.shard.free_balance(&signer(to)).await?, amount, "{to}");
        Ok(())
    }

    /// The shielding in a block was paid by `payer`, on whose behalf it was dispatched. Later the entry is pruned.
    async fn paid_in(&self, block: H256, payer: &AccountId, paid: Balance) -> Result<()> {
        let (chain, shard) = (&self.deployment.chain, self.deployment.shard.shard().id);
        let length = storage::inbox_length(&shard);
        let parent = chain.header(block).await?.parent_hash;
        let before: u64 = chain.storage(&length, Some(parent)).await?.unwrap_or_default();
        let after: u64 = chain.storage(&length, Some(block)).await?.unwrap_or_default();
        let mut found = Vec::new();
        for number in before..after {
            let entry = chain.storage(&storage::inbox_entry(&shard, number), Some(block)).await?;
            if let InboxEntry::Shield { amount, sender, .. } = entry.context("a hole in the inbox")? {
                found.push((sender, amount));
            }
        }
        assert_eq!(found, [(payer.clone(), paid)]);
        Ok(())
    }

    /// Where `signer`'s extrinsic stands in a block.
    async fn timepoint(&self, block: H256, signer: Sr25519Keyring) -> Result<Timepoint> {
        let block = self.deployment.chain.block(block).await?;
        let account = account(signer);
        let account: &[u8] = account.as_ref();
        let index = block.extrinsics.iter().position(|extrinsic| extrinsic.windows(32).any(|bytes| bytes == account));
        let index = index.context("the extrinsic is not in its block")?;
        Ok(Timepoint { height: block.header.number, index: u32::try_from(index)? })
    }
}

/// Fails for whoever calls it.
fn impossible() -> AnyCall {
    calls::transfer(&account(Bob), Balance::MAX / 2)
}

/// The other signatories of a multisig, and its account.
fn multisig(one: Sr25519Keyring, others: &[Sr25519Keyring], threshold: u16) -> (Vec<AccountId>, AccountId) {
    let mut others: Vec<AccountId> = others.iter().copied().map(account).collect();
    others.sort();
    let mut all = others.clone();
    all.push(account(one));
    all.sort();
    (others, calls::multisig_account(&all, threshold))
}

fn account(key: Sr25519Keyring) -> AccountId {
    key.to_account_id()
}
