//! Following layer one: what is asked for at every finalized block, and what the answers change.

use cloister_chain_primitives::{
    AccountId, Anchored, BlockNumber, EnclaveRecord, InboxEntry, Moment, Retirement, ShardEntry, ShardMode, Verdict,
    calls::Call, storage,
};
use cloister_light_client::{Error, ProvenValues, check_layout};

use crate::{
    action::{Action, Stop},
    engine::{Engine, Question, View},
    extrinsics::{Outgoing, RESEND_BLOCKS},
};

impl Engine {
    /// Asks for what is not yet known of the newest finalized block; one question at a time.
    pub(crate) fn ask_next(&mut self) {
        if self.stopped || self.question.is_some() {
            return;
        }
        let Some(at) = self.light_client.finalized_header() else { return };
        let known = self.inbox.next();
        let room = MAX_INBOX_HELD.saturating_sub(self.inbox.len());
        let (current, length) = match &self.view {
            Some(view) => (view.hash == at.hash(), view.inbox_length),
            None => (false, 0),
        };
        let wanted = length.saturating_sub(known).min(u64::try_from(room.min(MAX_INBOX_PER_PROOF)).unwrap_or(0));
        if current && (wanted == 0 || !self.serving) {
            return;
        }
        let entries = known..known.saturating_add(if self.serving { wanted } else { 0 });
        let mut keys = vec![
            storage::enclave_bridge_version(),
            storage::teerex_version(),
            storage::sidechain_version(),
            storage::enclave(&self.account()),
            storage::shard(&self.shard),
            storage::inbox_length(&self.shard),
            storage::inbox_pruned(&self.shard),
            storage::settled_pruned(&self.shard),
            storage::anchor(&self.shard),
            storage::timestamp(),
            storage::account(&self.account()),
        ];
        // A view that is current has said of each entry what there is to say.
        let settled = if current { Vec::new() } else { self.outbox.questions() };
        if let Some(requested) = &self.requested_shard {
            keys.push(storage::shard(requested));
        }
        keys.extend(entries.clone().map(|number| storage::inbox_entry(&self.shard, number)));
        keys.extend(settled.iter().map(|number| storage::settled(&self.shard, *number)));
        let at = at.clone();
        self.questions_asked = self.questions_asked.saturating_add(1);
        let id = self.questions_asked;
        self.actions.push(Action::AskProof { question: id, at: at.hash(), keys: keys.clone() });
        self.question = Some(Question { id, at, keys, asked_at: self.time_hint, entries, settled });
    }

    /// Takes in proven values. Nothing is changed before everything was decoded.
    pub(crate) fn learn(&mut self, asked: &Question, values: &ProvenValues) -> Result<(), Error> {
        check_layout(values)?;
        let entry: Option<ShardEntry> = values.decode(&storage::shard(&self.shard))?;
        let inbox_length: u64 = values.decode(&storage::inbox_length(&self.shard))?.unwrap_or(0);
        let inbox_pruned: u64 = values.decode(&storage::inbox_pruned(&self.shard))?.unwrap_or(0);
        let settled_pruned: u64 = values.decode(&storage::settled_pruned(&self.shard))?.unwrap_or(0);
        let anchored: Option<Anchored> = values.decode(&storage::anchor(&self.shard))?;
        let time: Moment = values.decode(&storage::timestamp())?.unwrap_or(0);
        let record: Option<EnclaveRecord> = values.decode(&storage::enclave(&self.account()))?;
        let account: Option<storage::AccountInfo> = values.decode(&storage::account(&self.account()))?;
        let mut entries = Vec::new();
        for number in asked.entries.clone() {
            entries.push(values.decode::<InboxEntry>(&storage::inbox_entry(&self.shard, number))?);
        }
        let mut verdicts = Vec::new();
        for number in &asked.settled {
            verdicts.push((*number, values.decode::<Verdict>(&storage::settled(&self.shard, *number))?));
        }
        if let Some(requested) = self.requested_shard.filter(|requested| *requested != self.shard) {
            // Nothing of an earlier start was kept: its shard's keys and state are gone with it.
            let exists = values.decode::<ShardEntry>(&storage::shard(&requested))?.is_some();
            self.stop(if exists { Stop::ShardOfAnotherIncarnation(requested) } else { Stop::UnknownShard(requested) });
            return Ok(());
        }
        match self.registration.observe(record, time) {
            Ok(Some(expires_at)) => self.actions.push(Action::Registered { expires_at }),
            Ok(None) => {}
            Err(stop) => {
                self.stop(stop);
                return Ok(());
            }
        }
        let born = entry.is_some();
        let own = entry.as_ref().is_some_and(|entry| entry.birth == self.birth);
        let mode = entry.map_or(ShardMode::Open, |entry| self.mode_of(entry, asked.at.number()));
        if self.serving && !own {
            self.stop(Stop::ShardEntryChanged);
            return Ok(());
        }
        if born && !own {
            self.stop(Stop::Internal("the shard's entry does not hash to its id"));
            return Ok(());
        }
        // Nobody but the registered incarnation can move the anchor, so what is anchored when its registration is proven is
        // what its state must contain.
        let may_serve = own && self.is_whole() && self.registration.is_proven();
        if may_serve && !self.observe_anchor(anchored) {
            return Ok(());
        }
        if may_serve && !self.serving {
            self.serving = true;
            self.actions.push(Action::Serving);
        }
        for (number, verdict) in verdicts {
            self.outbox.learn(number, verdict);
        }
        for entry in entries {
            // Below the proven length every number has an entry; a gap means that layer one is not what we know.
            let Some(entry) = entry else {
                self.stop(Stop::StorageLayoutUnknown);
                return Ok(());
            };
            let number = self.inbox.expect();
            self.actions.push(Action::Open { number, entry });
        }
        let account_free = account.as_ref().map_or(0, |account| account.free.saturating_sub(account.frozen));
        let (number, hash, header) = (asked.at.number(), asked.at.hash(), asked.at.clone());
        self.view =
            Some(View { number, hash, header, time, inbox_length, inbox_pruned, settled_pruned, account_free, mode });
        if self.extrinsics.observe(number, hash, account.map(|account| account.nonce)) && !self.registration.is_proven()
        {
            // What an earlier start sent last took the nonce.
            self.registration.attest_again();
        }
        if self.registration.is_proven() && !born {
            self.bear(asked.at.number());
        }
        if let Some(report_data) = self.registration.due(asked.at.head(), time, self.time_hint) {
            self.actions.push(Action::Attest(Box::new(report_data)));
        }
        self.anchor();
        self.send_extrinsics();
        Ok(())
    }

    /// What the shard does at this height. Its end needs the delay that is measured, whatever layer one says.
    fn mode_of(&self, mut entry: ShardEntry, number: BlockNumber) -> ShardMode {
        let delay = self.birth.upgrade_delay;
        if let Some(Retirement { announced_at, opens_at }) = &mut entry.retirement {
            *opens_at = announced_at.saturating_add(delay).max(*opens_at);
        }
        entry.mode_at(number)
    }

    /// Bears the shard, again if layer one did not want it at first.
    fn bear(&mut self, number: BlockNumber) {
        let call = Call::create_shard(&self.birth);
        let recently = self.birth_sent.is_some_and(|sent| number < sent.saturating_add(RESEND_BLOCKS));
        if !recently && !self.extrinsics.holds(&call) {
            self.birth_sent = Some(number);
            self.extrinsics.add(call);
        }
    }

    pub(crate) fn send_extrinsics(&mut self) {
        self.actions.extend(self.extrinsics.next(&self.identity.account).map(|outgoing| match outgoing {
            Outgoing::Call(extrinsic) => Action::Submit(extrinsic),
            Outgoing::Registration(registration, extrinsic) => Action::Register { registration, extrinsic },
        }));
    }

    fn account(&self) -> AccountId {
        self.identity.account.account()
    }
}

/// Most inbox entries that wait in memory for a block.
const MAX_INBOX_HELD: usize = 256;
/// Most inbox entries in one proof.
const MAX_INBOX_PER_PROOF: usize = 64;
