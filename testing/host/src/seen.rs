//! What an enclave truly said, recorded before anybody could lie about it.

use cloister_chain_primitives::{AccountId, BlockNumber, ShardBirth, ShardId};
use cloister_link::{StopReason, ToHost, Write};
use cloister_sidechain::Keep;
use cloister_simulation::Disk;

/// All that counts of what an enclave said.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    pub identity: Option<Identity>,
    /// The height up to which it recovered.
    pub recovered: Option<u64>,
    pub registered: bool,
    pub serving: bool,
    /// Its light client's head.
    pub synced: Option<BlockNumber>,
    /// Number of the newest request to keep something.
    pub stores: u64,
    /// All that it ever asked to be kept, on what it started with.
    pub disk: Disk,
    /// Number of the newest question.
    pub questions: u64,
    pub submissions: u64,
    /// Height of the shard, as it said last.
    pub block: u64,
    /// Height of the newest block that it knows to be anchored.
    pub anchored: u64,
    /// How far it has come in the inbox.
    pub inbox_consumed: u64,
    pub paused: Option<String>,
    /// How often it said how it is.
    pub reports: u64,
    pub connections: u32,
    pub behind: u64,
    /// Its last word.
    pub stopped: Option<StopReason>,
    /// It closed the link.
    pub closed: bool,
}

/// Who was started.
#[derive(Clone, Debug)]
pub struct Identity {
    pub account: AccountId,
    pub birth: ShardBirth,
    pub shard: ShardId,
    pub measurement: [u8; 32],
    pub sealed: Option<Vec<u8>>,
}

impl Seen {
    pub(crate) fn note(&mut self, message: &ToHost) {
        match message {
            ToHost::Identity { account, birth, shard, measurement, sealed_identity, .. } => {
                self.identity = Some(Identity {
                    account: account.clone(),
                    birth: birth.clone(),
                    shard: *shard,
                    measurement: *measurement,
                    sealed: sealed_identity.clone(),
                });
            }
            ToHost::Synced { number, .. } => self.synced = Some(*number),
            ToHost::ProofQuestion { question, .. } => self.questions = *question,
            ToHost::Submit { .. } => self.submissions += 1,
            ToHost::Register { .. } => {}
            ToHost::Registered { .. } => self.registered = true,
            ToHost::LayerOneBehind { .. } => self.behind += 1,
            ToHost::Serving { .. } => self.serving = true,
            ToHost::Recovered { number } => self.recovered = Some(*number),
            ToHost::Store { sequence, writes } => {
                self.stores = *sequence;
                writes.iter().cloned().map(keep).for_each(|keep| self.disk.write(keep));
            }
            ToHost::Status { block, anchored, inbox_consumed, paused, connections, .. } => {
                (self.block, self.anchored, self.inbox_consumed) = (*block, *anchored, *inbox_consumed);
                (self.paused, self.connections) = (paused.clone(), *connections);
                self.reports += 1;
            }
            ToHost::Stopped { reason } => self.stopped = Some(reason.clone()),
            ToHost::ConnectionData { .. } | ToHost::ConnectionCredit { .. } | ToHost::ConnectionClosed { .. } => {}
        }
    }

    /// Whether it has ended.
    pub fn ended(&self) -> bool {
        self.closed
    }
}

pub(crate) fn keep(write: Write) -> Keep {
    match write {
        Write::Mark(mark) => Keep::Mark(mark),
        Write::Block { number, hash, bytes } => Keep::Block { number, hash, bytes },
        Write::SnapshotPiece { snapshot, index, bytes } => Keep::SnapshotPiece { snapshot, index, bytes },
        Write::Snapshot { snapshot, manifest, first } => Keep::Snapshot { snapshot, manifest, first },
    }
}
