//! What the enclave says, against what is true.

use cloister_sidechain::CallRefused;
use cloister_wire::{BoundGetter, BoundGetterSigned, Getter, SignedAnswer, TrustedGetter, TrustedOperationStatus};
use codec::{Decode, DecodeAll};
use sp_core::H256;

use crate::{
    clients::{self, Sent},
    life::Life,
    model::ensure,
};

impl Life {
    /// Takes in what the enclave said.
    pub(crate) fn absorb(&mut self) -> Result<(), String> {
        self.pool();
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
            Err(CallRefused::SetAside) => {
                ensure(self.endings > 1, || "a call is set aside without a reason".into())?;
                self.count("call set aside");
            }
            Err(CallRefused::UnknownSender) => {
                let balance = self.model.ledger().balance(call.sender());
                let settled = self.world.engine.figures().block == self.model.height();
                ensure(balance == 0 || !settled, || format!("a sender with {balance} planck is unknown"))?;
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
        self.recovers_to_the_same()
    }
}
