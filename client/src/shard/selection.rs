//! Which shard is meant, and the way from there to the enclave that serves it.

use cloister_chain_primitives::{BlockNumber, EnclaveRecord, H256, Moment, ShardEntry, ShardId};
use cloister_claims::Stance;

use super::{Error, Shard};
use crate::{LayerOne, Pin, Worker, worker};

/// Which shard is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// This one; otherwise the one that the worker's enclave says it serves.
    pub shard: Option<ShardId>,
    /// Only if it runs this code; otherwise any that layer one's policy takes, simulated or not.
    pub mrenclave: Option<WantedCode>,
}

/// The code that an enclave must run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WantedCode {
    /// Its fingerprint.
    pub fingerprint: [u8; 32],
    /// Whether simulated evidence will do, which anybody can make up for any fingerprint.
    pub simulation: Stance,
    /// Whether debug mode will do, in which the fingerprint is proven and nothing is confidential.
    pub debug: Stance,
}

impl Selection {
    /// The shard, and a connection to the enclave that has said, with the TLS key in its registration, that it serves
    /// exactly this shard. Nothing else was sent to it.
    pub(super) async fn find(&self, layer_one: &LayerOne, worker_url: &str) -> Result<(Shard, Worker), Error> {
        match self.shard {
            Some(id) => {
                let shard = Shard::find(layer_one, id).await?;
                shard.require(self.mrenclave)?;
                let worker = Worker::connect(worker_url, Pin::TlsKey(shard.enclave.tls_key_hash)).await?;
                shard.require_served_by(&worker).await?;
                Ok((shard, worker))
            }
            None => Listing::read(layer_one, self.mrenclave).await?.served_at(worker_url).await,
        }
    }
}

/// Layer one's shards with the registrations of their founders, as one block left them.
struct Listing {
    shards: Vec<Listed>,
    genesis: H256,
    now: Moment,
    wanted: Option<WantedCode>,
}

struct Listed {
    id: ShardId,
    entry: ShardEntry,
    record: Option<EnclaveRecord>,
}

impl Listing {
    async fn read(layer_one: &LayerOne, wanted: Option<WantedCode>) -> Result<Self, Error> {
        let at = layer_one.finalized_hash().await?;
        let (shards, now) = tokio::try_join!(layer_one.shards_at(at), layer_one.time_at(at))?;
        let founders: Vec<_> = shards.iter().map(|(_, entry)| &entry.birth.founder).collect();
        let records = layer_one.enclaves_of(&founders, at).await?;
        let shards = shards.into_iter().zip(records).map(|((id, entry), record)| Listed { id, entry, record });
        Ok(Self { shards: shards.collect(), genesis: layer_one.genesis(), now, wanted })
    }

    /// The shard that the worker's enclave serves. The enclave is asked, because the registry cannot tell: an enclave
    /// may have borne several shards, and a registrant may state the TLS key of somebody else's enclave.
    async fn served_at(&self, worker_url: &str) -> Result<(Shard, Worker), Error> {
        let mut pins = Vec::new();
        let mut refused = Vec::new();
        for listed in self.shards.iter().filter(|listed| self.is_of_wanted_code(listed)) {
            match self.accepted(listed) {
                Ok(shard) => pins.push(shard.enclave.tls_key_hash),
                Err(reason) => refused.push(Refused::new(listed, reason)),
            }
        }
        if pins.is_empty() {
            let mrenclave = self.wanted.map(|wanted| wanted.fingerprint);
            return Err(newest_reason(refused).unwrap_or(Error::NoShard { mrenclave }));
        }
        let worker = match Worker::connect(worker_url, Pin::AnyOf(pins)).await {
            Err(worker::Error::WrongTlsKey { url, found }) => {
                // The registry may know this key and say why its enclave may not serve.
                refused.retain(|refused| refused.tls_key_hash == Some(found));
                return Err(newest_reason(refused).unwrap_or(worker::Error::WrongTlsKey { url, found }.into()));
            }
            connected => connected?,
        };
        let served = worker.shard().await?;
        let listed = self.shards.iter().find(|listed| listed.id == served).ok_or(Error::UnknownShard(served))?;
        let shard = self.accepted(listed)?;
        match shard.enclave.tls_key_hash == *worker.tls_key() {
            true => Ok((shard, worker)),
            false => Err(Error::OtherTlsKey { shard: served, enclave: shard.founder().clone() }),
        }
    }

    fn is_of_wanted_code(&self, listed: &Listed) -> bool {
        self.wanted.is_none_or(|wanted| wanted.fingerprint == listed.entry.birth.config.enclave_fingerprint)
    }

    fn accepted(&self, listed: &Listed) -> Result<Shard, Error> {
        let Listed { id, entry, record } = listed;
        let shard = Shard::served(*id, entry.clone(), record.clone(), self.genesis, self.now)?;
        shard.require(self.wanted)?;
        Ok(shard)
    }
}

/// Why a shard's enclave will not do, the shard's age and the registered TLS key.
struct Refused {
    born_at: BlockNumber,
    tls_key_hash: Option<[u8; 32]>,
    reason: Error,
}

impl Refused {
    fn new(listed: &Listed, reason: Error) -> Self {
        let tls_key_hash = listed.record.as_ref().map(|record| record.tls_key_hash);
        Self { born_at: listed.entry.born_at, tls_key_hash, reason }
    }
}

fn newest_reason(refused: Vec<Refused>) -> Option<Error> {
    refused.into_iter().max_by_key(|refused| refused.born_at).map(|refused| refused.reason)
}
