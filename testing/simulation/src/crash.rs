//! Where enclaves end, and what is planted to see that it is found.

use cloister_stf::{Execution, Payments, Program};
use cloister_wire::TrustedCall;

/// Where an enclave ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// A block was executed and is not kept.
    Executing,
    /// The host has not begun to keep what it was asked to.
    BeforeWritten,
    /// While it keeps that.
    WhileWritten,
    /// It is kept; the enclave has not heard of it.
    BeforeAcknowledged,
    /// The enclave has heard of it; nobody has heard of what follows.
    BeforeDelivered,
    /// The enclave has got back part of what was kept.
    InRecovery,
    /// It is whole again and not registered yet.
    BeforeServing,
    /// Layer one has anchored a block, and the enclave has not heard of it.
    AnchorUnseen,
    /// What the shard owes is anchored and not settled.
    EntryAnchored,
    /// What settles it is submitted and not included.
    EntrySubmitted,
    /// It is settled, and the enclave has not heard of it.
    EntryUnproven,
    /// A snapshot has some of its pieces.
    SnapshotHalf,
    /// Whenever it serves.
    Serving,
}

impl Crash {
    pub const ALL: [Self; 13] = [
        Self::Executing,
        Self::BeforeWritten,
        Self::WhileWritten,
        Self::BeforeAcknowledged,
        Self::BeforeDelivered,
        Self::InRecovery,
        Self::BeforeServing,
        Self::AnchorUnseen,
        Self::EntryAnchored,
        Self::EntrySubmitted,
        Self::EntryUnproven,
        Self::SnapshotHalf,
        Self::Serving,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Executing => "crash while executing",
            Self::BeforeWritten => "crash before written",
            Self::WhileWritten => "crash while written",
            Self::BeforeAcknowledged => "crash before acknowledged",
            Self::BeforeDelivered => "crash before delivered",
            Self::InRecovery => "crash in recovery",
            Self::BeforeServing => "crash before serving",
            Self::AnchorUnseen => "crash with an anchor unseen",
            Self::EntryAnchored => "crash with an entry anchored",
            Self::EntrySubmitted => "crash with an entry submitted",
            Self::EntryUnproven => "crash with a verdict unseen",
            Self::SnapshotHalf => "crash with half a snapshot",
            Self::Serving => "crash while serving",
        }
    }
}

/// What is planted, to see that it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// The host says that it keeps what it has not written yet.
    AcknowledgesFirst,
    /// The disk loses the newest block in a crash.
    LosesNewest,
    /// Transfers are made twice.
    PaysTwice,
    /// Layer one forgets what it has settled.
    SettlesTwice,
    /// An entry that waits too long counts as refused, and may be paid all the same.
    RefundsOnTimeout,
    /// After a crash numbers of the outbox are given again: what is not anchored is lost, and nobody says so.
    ReusesNumbers,
    /// Layer one takes acknowledgements of enclaves that are no members of the shard.
    TakesAnyMember,
    /// Two thirds of layer one's authorities lie.
    AuthoritiesLie,
    /// Calls are taken that were signed for another shard.
    TakesForeignCalls,
}

/// A program that does.
pub(crate) struct PaysTwice;

impl Program for PaysTwice {
    fn weight(&self, call: &TrustedCall) -> u64 {
        Payments.weight(call)
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        Payments.execute(call, execution)?;
        Payments.execute(call, execution)
    }
}
