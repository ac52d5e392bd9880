//! Appraisal: does a policy want genuine evidence?
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use alloc::vec::Vec;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::{Advisory, TcbStatus, TeeKind, Verification};

/// Whether something is tolerated.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Stance {
    /// It is not.
    #[codec(index = 0)]
    Forbidden,
    /// It is.
    #[codec(index = 1)]
    Allowed,
}

/// Whether revocation lists must be there. A certificate on a list that is there is never accepted.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Crl {
    /// They must.
    #[codec(index = 0)]
    Required,
    /// They need not.
    #[codec(index = 1)]
    Optional,
}

/// What somebody wants of evidence. In JSON every field may be left out and is then that of [`Policy::default`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Kinds of genuine hardware. [`TeeKind::Simulated`] is ruled by `simulation` and has no meaning here.
    pub kinds: Vec<TeeKind>,
    /// Whether evidence under the development root counts.
    pub simulation: Stance,
    /// Accepted statuses. [`TcbStatus::Revoked`] is refused even when it stands here.
    pub tcb_statuses: Vec<TcbStatus>,
    /// Advisories that may be open; any if absent.
    pub advisories: Option<Vec<Advisory>>,
    /// Whether the operator may be able to read the enclave's memory.
    pub debug: Stance,
    /// Whether a TDX domain may be bound to a service TD.
    pub service_td: Stance,
    /// Revocation lists.
    pub crl: Crl,
    /// Lowest `tcbEvaluationDataNumber`.
    pub min_evaluation_number: u32,
    /// Milliseconds that the oldest collateral may be old; any age within its validity if absent.
    pub max_collateral_age_ms: Option<u64>,
}

impl Default for Policy {
    /// Genuine hardware, no debugging, revocation lists, any status but `Revoked`.
    fn default() -> Self {
        use TcbStatus::*;
        Self {
            kinds: alloc::vec![TeeKind::Sgx, TeeKind::Tdx],
            simulation: Stance::Forbidden,
            tcb_statuses: alloc::vec![
                UpToDate,
                SwHardeningNeeded,
                ConfigurationNeeded,
                ConfigurationAndSwHardeningNeeded,
                OutOfDate,
                OutOfDateConfigurationNeeded,
            ],
            advisories: None,
            debug: Stance::Forbidden,
            service_td: Stance::Forbidden,
            crl: Crl::Required,
            min_evaluation_number: 0,
            max_collateral_age_ms: None,
        }
    }
}

/// Why a policy does not want genuine evidence.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo, thiserror::Error,
)]
#[non_exhaustive]
pub enum Refusal {
    /// No revocation lists.
    #[error("revocation lists are missing")]
    #[codec(index = 0)]
    CrlMissing,
    /// Evidence under the development root.
    #[error("simulated evidence is not accepted")]
    #[codec(index = 1)]
    Simulated,
    /// Another kind of hardware.
    #[error("evidence of this kind is not accepted")]
    #[codec(index = 2)]
    Kind,
    /// The operator can read the enclave's memory.
    #[error("debug mode is not accepted")]
    #[codec(index = 3)]
    Debug,
    /// Bound to a service TD.
    #[error("a domain with a service TD is not accepted")]
    #[codec(index = 4)]
    ServiceTd,
    /// The status.
    #[error("this TCB status is not accepted")]
    #[codec(index = 5)]
    TcbStatus,
    /// An open advisory.
    #[error("an open advisory is not accepted")]
    #[codec(index = 6)]
    Advisory,
    /// The evaluation number.
    #[error("the collateral's evaluation number is too low")]
    #[codec(index = 7)]
    EvaluationNumber,
    /// The collateral's age.
    #[error("the collateral is too old")]
    #[codec(index = 8)]
    CollateralAge,
}

impl Refusal {
    /// The variant's name, as clients and tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CrlMissing => "CrlMissing",
            Self::Simulated => "Simulated",
            Self::Kind => "Kind",
            Self::Debug => "Debug",
            Self::ServiceTd => "ServiceTd",
            Self::TcbStatus => "TcbStatus",
            Self::Advisory => "Advisory",
            Self::EvaluationNumber => "EvaluationNumber",
            Self::CollateralAge => "CollateralAge",
        }
    }
}

impl Policy {
    /// Whether this policy wants the evidence at `at` (Unix milliseconds); the first refusal in the order of [`Refusal`].
    pub fn appraise(&self, verification: &Verification, at: u64) -> Result<(), Refusal> {
        let is = |stance: Stance| stance == Stance::Allowed;
        if !verification.revocation_checked && self.crl == Crl::Required {
            return Err(Refusal::CrlMissing);
        }
        match verification.kind {
            TeeKind::Simulated if !is(self.simulation) => return Err(Refusal::Simulated),
            TeeKind::Simulated => {}
            kind if !self.kinds.contains(&kind) => return Err(Refusal::Kind),
            _ => {}
        }
        if verification.debug && !is(self.debug) {
            return Err(Refusal::Debug);
        }
        if verification.tdx.as_ref().is_some_and(|tdx| tdx.service_td) && !is(self.service_td) {
            return Err(Refusal::ServiceTd);
        }
        let status = verification.tcb_status;
        if status == TcbStatus::Revoked || !self.tcb_statuses.contains(&status) {
            return Err(Refusal::TcbStatus);
        }
        if let Some(accepted) = &self.advisories
            && verification.advisories.iter().any(|advisory| !accepted.contains(advisory))
        {
            return Err(Refusal::Advisory);
        }
        if verification.evaluation_number < self.min_evaluation_number {
            return Err(Refusal::EvaluationNumber);
        }
        if self.max_collateral_age_ms.is_some_and(|age| verification.collateral_issued.saturating_add(age) < at) {
            return Err(Refusal::CollateralAge);
        }
        Ok(())
    }
}
