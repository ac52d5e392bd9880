//! The enclave's own registration on layer one: when to attest, what was proven of it, when it ends.
//!
//! An enclave counts for nothing until its own record is proven at a finalized block: one that carries this start's
//! incarnation key. An old view of the chain cannot contain that key, and a second copy of the sealed identity has
//! another one. From then on every finalized block must show the record again.

use cloister_chain_primitives::{
    AccountId, BlockNumber, EnclaveRecord, H256, Moment, Registration, Standing,
    registry::{WorkerUrl, report_data},
};
use cloister_claims::{Evidence, TeeKind};
use cloister_light_client::Head;

use crate::{action::Stop, extrinsics::RESEND_BLOCKS};

/// What layer one is to record of this start, and what it has recorded.
pub(crate) struct OwnRegistration {
    stated: Stated,
    /// The newest block that evidence was asked for.
    attested: Option<Attested>,
    proven: Option<Proven>,
    /// The host's clock when the host was last told that layer one's time is too far behind it.
    told_behind: Option<Moment>,
}

/// What this start states about itself.
pub(crate) struct Stated {
    pub genesis: H256,
    pub account: AccountId,
    pub kind: TeeKind,
    pub fingerprint: [u8; 32],
    pub incarnation_key: [u8; 32],
    pub tls_key_hash: [u8; 32],
    pub url: Option<WorkerUrl>,
}

struct Attested {
    at: BlockNumber,
    answered: bool,
}

/// Of the record, at the newest finalized block.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Proven {
    verified_at: Moment,
    expires_at: Moment,
}

impl OwnRegistration {
    pub fn new(stated: Stated) -> Self {
        Self { stated, attested: None, proven: None, told_behind: None }
    }

    /// Whether the newest finalized block has the record.
    pub fn is_proven(&self) -> bool {
        self.proven.is_some()
    }

    /// When the registration expires, in layer one's time, as last proven.
    pub fn expires_at(&self) -> Option<Moment> {
        self.proven.map(|proven| proven.expires_at)
    }

    /// Takes in what a finalized block holds under the enclave's account at its time `now`. Gives the time of expiry if
    /// that is news.
    pub fn observe(&mut self, record: Option<EnclaveRecord>, now: Moment) -> Result<Option<Moment>, Stop> {
        let Some(record) = record else {
            return if self.is_proven() { Err(Stop::Evicted) } else { Ok(None) };
        };
        // Only this code has the account's key, and it states nothing else.
        if record.fingerprint != self.stated.fingerprint || record.kind != self.stated.kind {
            return Err(Stop::ForeignRecord);
        }
        if record.incarnation_key != self.stated.incarnation_key {
            // Before the own registration it is the predecessor's.
            return if self.is_proven() { Err(Stop::Retired) } else { Ok(None) };
        }
        if record.tls_key_hash != self.stated.tls_key_hash {
            return Err(Stop::ForeignRecord);
        }
        if record.standing != Standing::Active {
            return Err(Stop::Evicted);
        }
        if !record.serves_at(now) {
            return Err(Stop::Expired);
        }
        let proven = Proven { verified_at: record.verified_at, expires_at: record.expires_at };
        let news = self.proven.replace(proven) != Some(proven);
        Ok(news.then_some(proven.expires_at))
    }

    /// The report data for which evidence is due at the finalized block `head` of time `now`, if it is. `hint` is the
    /// host's clock: while layer one's time is far behind it, the light client is catching up, and evidence that names
    /// an old block would be refused.
    pub fn due(&mut self, head: Head, now: Moment, hint: Moment) -> Option<[u8; 64]> {
        let recent = |attested: &Attested| head.number < attested.at.saturating_add(RESEND_BLOCKS);
        if !self.is_wanted(now) || self.attested.as_ref().is_some_and(recent) || is_behind(now, hint) {
            return None;
        }
        self.attested = Some(Attested { at: head.number, answered: false });
        let Stated { genesis, account, incarnation_key, tls_key_hash, .. } = &self.stated;
        Some(report_data(genesis, account, incarnation_key, tls_key_hash, &head.hash))
    }

    /// The registration in flight cannot land any more: evidence is due at the next block, not some blocks later.
    pub fn attest_again(&mut self) {
        self.attested = None;
    }

    /// Whether it is time to tell the host that a registration waits because layer one's time, `now` as last proven, is
    /// too far behind its clock `hint`: one of them is wrong, or finality or proofs stall.
    pub fn must_tell_behind(&mut self, now: Moment, hint: Moment) -> bool {
        // While layer one stands still, the clock alone can tell that a renewal has become due.
        if !is_behind(now, hint) || !self.is_wanted(hint) {
            self.told_behind = None;
            return false;
        }
        let due = self.told_behind.is_none_or(|told| hint.abs_diff(told) >= TELL_AGAIN_MS);
        if due {
            self.told_behind = Some(hint);
        }
        due
    }

    /// Whether a registration, first or renewed, is due at `now`.
    fn is_wanted(&self, now: Moment) -> bool {
        self.proven.is_none_or(|Proven { verified_at, expires_at }| {
            now >= verified_at.saturating_add(expires_at.saturating_sub(verified_at) / 2)
        })
    }

    /// The registration with the evidence that was asked for last.
    pub fn with(&mut self, evidence: Evidence) -> Option<Registration> {
        let attested = self.attested.as_mut().filter(|attested| !attested.answered)?;
        attested.answered = true;
        Some(Registration {
            evidence,
            incarnation_key: self.stated.incarnation_key,
            tls_key_hash: self.stated.tls_key_hash,
            block_number: attested.at,
            url: self.stated.url.clone(),
        })
    }
}

fn is_behind(now: Moment, hint: Moment) -> bool {
    now.saturating_add(MAX_BEHIND_MS) < hint
}

/// How far layer one's time may be behind the host's clock when evidence is made.
const MAX_BEHIND_MS: Moment = 60_000;
/// How often the host is told that it is further behind than that.
const TELL_AGAIN_MS: Moment = 60_000;
