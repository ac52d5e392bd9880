//! What the enclave says, against what is true.

use std::collections::BTreeMap;

use cloister_chain_primitives::{AccountId, Balance, EXISTENTIAL_DEPOSIT, Verdict};
use cloister_sidechain::CallRefused;
use cloister_wire::{BoundGetter, BoundGetterSigned, Getter, SignedAnswer, TrustedGetter, TrustedOperationStatus};
use codec::{Decode, DecodeAll};
use sp_core::H256;

use crate::{
    bridge,
    clients::{self, Sent},
    life::Life,
    model::ensure,
};

impl Life {
    /// Takes in what the enclave said.
    pub(crate) fn absorb(&mut self) -> Result<(), String> {
        self.pool()?;
        for (operation, status, error) in std::mem::take(&mut self.world.statuses) {
            self.told(operation, status, error)?;
        }
        if let Some(stop) = self.world.stopped.take() {
            return self.stopped(stop);
        }
        if self.world.serving && !self.compared {
            self.serves()?;
        }
        Ok(())
    }

    fn told(&mut self, operation: H256, status: TrustedOperationStatus, error: Option<String>) -> Result<(), String> {
        self.say(|| format!("{operation}: {status:?} {error:?}"));
        let height = self.world.engine.figures().block;
        let executed = self.model.outcome(&operation);
        let executed = executed.map(|(number, result)| (number, result.clone()));
        match (status, executed) {
            (TrustedOperationStatus::Ready | TrustedOperationStatus::Future, _) => return Ok(()),
            (TrustedOperationStatus::InSidechainBlock(hash), Some((number, Ok(()))))
                if self.model.block(number).is_some_and(|block| block.hash == hash) && number <= height =>
            {
                ensure(self.model.told.insert(operation), || format!("{operation} is confirmed twice"))?;
                self.count("confirmed");
            }
            (TrustedOperationStatus::Invalid, Some((number, Err(reason)))) if number <= height => {
                ensure(error.as_ref() == Some(&reason), || format!("{operation} failed: {reason}; told {error:?}"))?;
                ensure(self.model.told.insert(operation), || format!("{operation} is confirmed twice"))?;
                self.count("confirmed as failed");
            }
            (TrustedOperationStatus::Finalized, Some((number, Ok(())))) => {
                let read = self.world.engine.figures().layer_one_read;
                // What is being read becomes the view only after what it says.
                let proven = self.anchors.iter().any(|(at, anchored)| number <= *anchored && *at <= read);
                ensure(proven, || format!("{operation} of block {number} is not final"))?;
                ensure(self.model.told.contains(&operation), || {
                    format!("{operation} is final before it is confirmed")
                })?;
                ensure(self.model.finalized.insert(operation), || format!("{operation} is final twice"))?;
                self.count("finalized");
            }
            (TrustedOperationStatus::Dropped, None) if error.as_ref().is_some_and(|why| why.contains("last block")) => {
                let call = self.model.sent.get(&operation);
                ensure(call.is_some_and(|call| call.is_expired(height + 1)), || {
                    format!("{operation} has not expired")
                })?;
                self.count("direct call expired");
            }
            (TrustedOperationStatus::Invalid, None) => self.count("refused"),
            (TrustedOperationStatus::Usurped, None) => self.count("usurped"),
            (TrustedOperationStatus::Dropped, None) => self.count("dropped"),
            (status, executed) => {
                return Err(format!("{operation} is told {status:?} {error:?}; stands in a block as {executed:?}"));
            }
        }
        self.clients.heard(&operation);
        Ok(())
    }

    /// What a client sent was taken or not.
    pub(crate) fn sent(&mut self, sent: Sent) -> Result<(), String> {
        let Sent::Call { kind, call, result } = sent else { return Ok(()) };
        self.count(kind);
        self.say(|| format!("{} {:?} nonce {}: {result:?}", call.hash(), call.call(), call.nonce()));
        let nonce = self.model.ledger().nonce(call.sender());
        match result {
            Ok(()) => ensure(call.nonce() >= nonce || !self.kept.is_empty(), || {
                format!("a call with nonce {} is taken after {nonce} calls", call.nonce())
            })?,
            Err(CallRefused::NotServing) => ensure(!self.world.serving, || "it serves and does not".into())?,
            Err(CallRefused::Expired { last_block, block }) => {
                ensure(call.last_block() == Some(last_block) && last_block < block, || {
                    format!("a call until block {last_block} is refused before block {block}")
                })?;
                self.count("expired call refused");
            }
            Err(CallRefused::SetAside) => {
                ensure(self.endings > 1, || "a call is set aside without a reason".into())?;
                self.count("call set aside");
            }
            Err(CallRefused::UnknownSender) => {
                let balance = self.model.ledger().balance(call.sender());
                let settled = self.world.engine.figures().block == self.model.height();
                ensure(balance == 0 || !settled, || format!("a sender with {balance} planck is unknown"))?;
            }
            Err(CallRefused::CannotPayFee { fee }) => {
                let balance = self.model.ledger().balance(call.sender());
                let settled = self.world.engine.figures().block == self.model.height();
                ensure(balance < fee + EXISTENTIAL_DEPOSIT || !settled, || format!("{balance} planck pay no fee"))?;
                self.count("fee not paid");
            }
            Err(CallRefused::Maintenance) => {
                ensure(self.plans.maintains, || "it is maintained without a reason".into())?;
                self.count("refused in maintenance");
            }
            Err(CallRefused::Retired) => {
                ensure(self.retires(), || "it is retired without a reason".into())?;
                self.count("refused in retirement");
            }
            Err(CallRefused::Paused(_) | CallRefused::Pool(_)) => {}
            Err(refused) => return Err(format!("a call is refused: {refused}")),
        }
        Ok(())
    }

    /// The enclave serves again: its state must be that of the newest block, and nothing that is final may be gone.
    fn serves(&mut self) -> Result<(), String> {
        let figures = self.world.engine.figures();
        let (height, anchored) =
            (self.model.height(), self.anchors.iter().rfind(|(at, _)| *at <= figures.layer_one_read));
        if let Some((_, anchored)) = anchored {
            ensure(*anchored <= height, || format!("serves from block {height}, and {anchored} is anchored"))?;
        }
        if let Some((_, anchor)) = self.anchored.iter().rfind(|(at, _)| *at <= figures.layer_one_read) {
            let block = self.model.block(anchor.number);
            ensure(block.is_some_and(|block| block.hash == anchor.header_hash), || {
                format!("serves another block {} than the anchored one", anchor.number)
            })?;
        }
        let gone = self.model.finalized.iter().find(|operation| !self.model.executed.contains_key(*operation));
        ensure(gone.is_none(), || format!("{gone:?} was final and is gone"))?;
        if self.saved.take().is_some() {
            self.count("old copy served");
        }
        if figures.block != height {
            return Ok(());
        }
        let Some(commitment) = self.asked() else { return Ok(()) };
        let expected = self.model.block(height).map(|block| block.commitment);
        let expected = expected.unwrap_or(self.world.engine.birth().genesis_commitment);
        ensure(commitment == expected, || format!("another state than that of block {height}"))?;
        let ledger = self.model.ledger();
        for (account, getters) in clients::getters() {
            let [balance, nonce] = getters.each_ref().map(|getter| self.world.engine.answer(&self.shard(), getter));
            let balance = balance.ok().flatten().and_then(|value| u128::decode(&mut &value[..]).ok());
            let nonce = nonce.ok().flatten().and_then(|value| u32::decode(&mut &value[..]).ok());
            let expected = (Some(ledger.balance(account)), Some(ledger.nonce(account)));
            ensure((balance, nonce) == expected, || format!("answers {balance:?}, {nonce:?} instead of {expected:?}"))?;
        }
        self.compared = true;
        self.count("serves");
        Ok(())
    }

    /// The commitment in a signed answer, if the enclave gives one now.
    fn asked(&self) -> Option<H256> {
        let getter = TrustedGetter::Nonce(clients::accounts()[0].clone());
        let query = BoundGetter { getter, last_block: self.world.engine.figures().block, client_nonce: [9; 16] };
        let mrenclave = self.world.engine.scope().mrenclave;
        let bytes = query.signed_bytes(&self.world.genesis(), &self.shard(), &mrenclave);
        let getter = Getter::Bound(BoundGetterSigned { query, signature: clients::sign_as(0, &bytes) });
        let answer = self.world.answer(&self.shard(), getter).ok()??;
        SignedAnswer::decode_all(&mut &answer[..]).ok().map(|answer| answer.commitment)
    }

    /// At the end nothing waits, and everything is where it belongs.
    pub(crate) fn last_check(&mut self) -> Result<(), String> {
        self.compared = false;
        self.serves()?;
        ensure(self.compared, || "does not answer at the end".into())?;
        self.model.ledger().compare(&self.replica, clients::accounts())?;
        for operation in &self.model.told {
            ensure(self.model.executed.contains_key(operation), || format!("{operation} was confirmed and is gone"))?;
        }
        self.conserved()?;
        self.recovers_to_the_same()
    }

    /// Every planck is in exactly one place, and every entry of the outbox was settled once.
    fn conserved(&mut self) -> Result<(), String> {
        let (ledger, shard) = (self.model.ledger(), self.shard());
        let books = ledger.books;
        let flows = bridge::flows(&self.world.storage, &shard);
        let escrow = bridge::escrow(&self.world.storage, &shard);
        let bridge = &self.world.bridge;
        for number in 0..books.outbox_next {
            let said = bridge.verdicts.get(&number).map(|(.., verdict)| *verdict);
            let done = self.model.closed.get(&number).map(|(_, verdict)| *verdict);
            ensure(said.is_some() && said == done, || {
                format!("entry {number}: {said:?} on layer one, {done:?} inside")
            })?;
        }
        let sum = |of: Verdict| -> Balance {
            let entries = bridge.verdicts.values().filter(|(.., verdict)| *verdict == of);
            entries.map(|(_, entry, _)| entry.amount).sum()
        };
        let (paid, refused) = (sum(Verdict::Paid), sum(Verdict::Refused));
        let unclaimed: Balance = bridge.unclaimed.values().sum();
        let repaid: Balance = bridge.repaid.values().sum();
        let settled =
            bridge.verdicts.len() as u64 == books.outbox_next && (paid, refused) == (books.paid, books.refunded);
        ensure(settled, || format!("{paid} paid, {refused} refused on layer one; the books are {books:?}"))?;
        let moved = (flows.shielded, flows.paid, flows.repaid);
        ensure(moved == (books.shielded, paid, repaid), || format!("{flows:?} flowed; the books are {books:?}"))?;
        ensure(repaid <= books.fees && escrow == ledger.owned() + (books.fees - repaid), || {
            format!("{escrow} are escrowed, {} owned, {repaid} of {} fees repaid", ledger.owned(), books.fees)
        })?;
        ensure(bridge.vault + bridge.taken == escrow + unclaimed, || {
            format!("{} lie in the escrow account, {} were taken", bridge.vault, bridge.taken)
        })?;
        let mut expected: BTreeMap<AccountId, Balance> = self.rich.clone();
        for (_, entry, _) in bridge.verdicts.values().filter(|(.., verdict)| *verdict == Verdict::Paid) {
            *expected.entry(entry.beneficiary.clone()).or_default() += entry.amount;
        }
        for (account, amount) in &bridge.repaid {
            *expected.entry(account.clone()).or_default() += amount;
        }
        for (account, amount) in &bridge.unclaimed {
            *expected.entry(account.clone()).or_default() -= amount;
        }
        expected.retain(|_, amount| *amount > 0);
        ensure(expected == bridge.accounts, || format!("{:?} have been paid, not {expected:?}", bridge.accounts))?;
        if repaid > 0 {
            self.count("repaid");
        }
        self.claimed()
    }

    /// What is unclaimed waits until it can be paid.
    fn claimed(&mut self) -> Result<(), String> {
        let shard = self.shard();
        let (storage, bridge) = (&mut self.world.storage, &mut self.world.bridge);
        bridge.refill();
        let owed: Vec<AccountId> = bridge.unclaimed.keys().cloned().collect();
        for account in owed {
            let closed = bridge.closed.contains(&account);
            let claimed = bridge.claim(storage, &shard, &account);
            ensure(claimed != closed, || format!("{account} claims what is owed: {claimed}"))?;
            self.coverage.entry("claimed").and_modify(|count| *count += 1).or_insert(1);
        }
        Ok(())
    }
}
