//! What layer one records about enclaves, and what an enclave's evidence must state.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use alloc::vec::Vec;

use cloister_claims::{Advisory, Policy, Refusal, TcbStatus, TeeKind, Verification};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::ConstU32;
use sp_crypto_hashing::sha2_256;
use sp_runtime::BoundedVec;

use crate::{AccountId, BlockNumber, H256, Moment, domain};

/// Most bytes of a worker's address.
pub const MAX_URL_BYTES: u32 = 256;

/// A worker's address for clients, UTF-8.
pub type WorkerUrl = BoundedVec<u8, ConstU32<MAX_URL_BYTES>>;

/// An attested enclave as layer one stores it, under its account.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct EnclaveRecord {
    /// Fingerprint of code and configuration (`Verification::fingerprint`).
    pub fingerprint: [u8; 32],
    /// Who signed the code (`Verification::signer`).
    pub signer: [u8; 32],
    /// What kind of environment it is.
    pub kind: TeeKind,
    /// At the time of verification.
    pub tcb_status: TcbStatus,
    /// Open at the time of verification.
    pub advisories: Vec<Advisory>,
    /// Hash of the platform's identity.
    pub platform_id_hash: [u8; 32],
    /// Whether its operator can read its memory.
    pub build_mode: BuildMode,
    /// Signing key (ed25519) of this start, never stored.
    pub incarnation_key: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo (DER) of the TLS key of this start.
    pub tls_key_hash: [u8; 32],
    /// Where clients find it.
    pub url: Option<WorkerUrl>,
    /// Height of the block whose hash the evidence contains. The next registration must name a later one.
    pub bound_block: BlockNumber,
    /// Height of the block in which this incarnation first registered.
    pub incarnation_since: BlockNumber,
    /// When layer one verified the evidence.
    pub verified_at: Moment,
    /// From when on the registration no longer counts. If root has shortened the interval since, layer one lets it
    /// expire earlier.
    pub expires_at: Moment,
    /// Whether it may serve.
    pub standing: Standing,
}

/// How an enclave was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum BuildMode {
    /// Its operator can read its memory.
    #[codec(index = 0)]
    Debug,
    /// Its operator cannot.
    #[codec(index = 1)]
    Production,
}

/// Whether a registered enclave may serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Standing {
    /// It may, until its registration expires.
    #[codec(index = 0)]
    Active,
    /// The policy no longer wants it: it may hand over its keys until then, and nothing else.
    #[codec(index = 1)]
    Leaving {
        /// End of the grace.
        until: Moment,
    },
}

impl EnclaveRecord {
    /// Whether the enclave may serve at `now` (layer one's time).
    pub fn serves_at(&self, now: Moment) -> bool {
        self.standing == Standing::Active && now < self.expires_at
    }
}

/// What is left of an enclave when its record is gone, so that no registration comes back that was made before it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct IncarnationMark {
    /// Key of the newest incarnation.
    pub incarnation_key: [u8; 32],
    /// Newest block that a registration named, or the one before the block in which the record was removed or its grace
    /// began.
    pub bound_block: BlockNumber,
    /// Height of the block in which the newest incarnation first registered.
    pub incarnation_since: BlockNumber,
}

/// What layer one demands of registrations. Root changes it.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo, serde::Serialize, serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct RegistrationPolicy {
    /// What it wants of evidence. Without simulation at genesis `simulation` can never be allowed.
    pub appraisal: Policy,
    /// Most layer-one blocks between the block that evidence names and its registration.
    pub max_evidence_age: BlockNumber,
    /// Milliseconds after which a registration expires unless it is renewed. A shorter interval counts at once, a
    /// longer one from an enclave's next registration on.
    pub reattest_interval_ms: Moment,
    /// Fewest layer-one blocks between an incarnation's first registration and the block that the evidence of the next
    /// incarnation of the same identity names.
    pub incarnation_gap: BlockNumber,
    /// Milliseconds that an evicted enclave may use to hand over its keys. None if its platform was revoked.
    pub eviction_grace_ms: Moment,
}

/// What an enclave states when it registers. Its evidence binds all of it but the URL.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Registration {
    /// Raw evidence (`Evidence`).
    pub evidence: cloister_claims::Evidence,
    /// Signing key (ed25519) of this start.
    pub incarnation_key: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo (DER) of the TLS key of this start.
    pub tls_key_hash: [u8; 32],
    /// A recent block, whose hash the evidence contains.
    pub block_number: BlockNumber,
    /// Where clients find it.
    pub url: Option<WorkerUrl>,
}

/// Why layer one does not take a registration. The pallet's errors are these.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo, thiserror::Error,
)]
#[non_exhaustive]
pub enum RegistrationRefused {
    /// The evidence is not genuine.
    #[error("not genuine: {0}")]
    #[codec(index = 0)]
    NotGenuine(cloister_claims::Error),
    /// The policy does not want it.
    #[error("refused by policy: {0}")]
    #[codec(index = 1)]
    Policy(Refusal),
    /// Layer one has no TCB info for the platform.
    #[error("layer one has no TCB info for this platform")]
    #[codec(index = 2)]
    TcbInfoMissing,
    /// Layer one has no identity for this kind of quoting enclave.
    #[error("layer one has no identity for this quoting enclave")]
    #[codec(index = 3)]
    QeIdentityMissing,
    /// The block that the evidence names does not exist yet, or its hash is forgotten.
    #[error("the named block is unknown")]
    #[codec(index = 4)]
    UnknownBlock,
    /// The block that the evidence names is too old.
    #[error("the evidence is too old")]
    #[codec(index = 5)]
    EvidenceTooOld,
    /// A registration of this identity that names this or a later block was there before.
    #[error("the named block is not later than that of the newest registration")]
    #[codec(index = 6)]
    NotLater,
    /// The identity's newest incarnation is too young to be replaced.
    #[error("the newest incarnation of this identity is too young to be replaced")]
    #[codec(index = 7)]
    TooSoon,
    /// The evidence states another sender, chain, key or block.
    #[error("the report data is that of another account, chain, key or block")]
    #[codec(index = 8)]
    ReportData,
    /// The evidence is larger than layer one takes.
    #[error("the evidence is too large")]
    #[codec(index = 9)]
    EvidenceTooLarge,
    /// The account cannot pay the deposit ([`REGISTRATION_DEPOSIT`](crate::REGISTRATION_DEPOSIT)) of its first
    /// registration.
    #[error("the account cannot pay the deposit")]
    #[codec(index = 10)]
    Deposit,
    /// With its advisories the record would be larger than what its deposit pays for.
    #[error("the record is too large")]
    #[codec(index = 11)]
    RecordTooLarge,
}

/// What layer one's runtime answers to whoever asks it to look at evidence.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct Appraised {
    /// Whether the evidence is genuine, and what it says.
    pub verification: Result<Verification, cloister_claims::Error>,
    /// Whether the policy wants it; `None` if it is not genuine.
    pub appraisal: Option<Result<(), Refusal>>,
}

/// The report data that evidence of an enclave must carry: account [0..32] ‖ SHA-256 over tag, genesis, role, account,
/// incarnation key, TLS key hash and the hash of a recent block [32..64].
pub fn report_data(
    genesis: &H256,
    account: &AccountId,
    incarnation_key: &[u8; 32],
    tls_key_hash: &[u8; 32],
    block_hash: &H256,
) -> [u8; 64] {
    let account: &[u8; 32] = account.as_ref();
    let parts: [&[u8]; 4] = [account, incarnation_key, tls_key_hash, block_hash.as_bytes()];
    let bound = sha2_256(&domain::message("registration", genesis, &parts));
    let mut report_data = [0; 64];
    let (first, second) = report_data.split_at_mut(32);
    first.copy_from_slice(account);
    second.copy_from_slice(&bound);
    report_data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_data_binds_every_part() {
        let genesis = H256::repeat_byte(1);
        let account = AccountId::new([2; 32]);
        let (key, tls, block) = ([3; 32], [4; 32], H256::repeat_byte(5));
        let right = report_data(&genesis, &account, &key, &tls, &block);
        assert_eq!(right[..32], [2; 32]);
        let others = [
            report_data(&H256::zero(), &account, &key, &tls, &block),
            report_data(&genesis, &AccountId::new([0; 32]), &key, &tls, &block),
            report_data(&genesis, &account, &[0; 32], &tls, &block),
            report_data(&genesis, &account, &key, &[0; 32], &block),
            report_data(&genesis, &account, &key, &tls, &H256::zero()),
        ];
        for other in others {
            assert_ne!(other[32..], right[32..]);
        }
    }
}
