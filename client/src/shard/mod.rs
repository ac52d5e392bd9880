//! A shard: found on layer one, spoken to through a worker that is only a way to the enclave.

mod anchored;
mod client;
mod error;
mod execution;
mod invocation;
mod outbox;
mod selection;
mod shielding;
#[cfg(test)]
pub(crate) mod tests;

use cloister_chain_primitives::{
    AccountId, BuildMode, EnclaveRecord, EncryptedBeneficiary, H256, Moment, Nonce, Request, ShardEntry, ShardId,
    Standing,
};
use cloister_claims::{Stance, TeeKind};
use cloister_wire::{
    BoundCall, BoundCallSigned, SignatureScope, TrustedCall, TrustedCallSigned, TrustedOperation,
    envelope::{self, Context, Purpose},
};
use codec::Encode;

use crate::{LayerOne, Signer, Worker};

pub use client::{Answer, ShardClient};
pub use error::Error;
pub use execution::{Executed, Route, Step};
pub use invocation::Invocation;
pub use outbox::{Submitted, Unshielding};
pub use selection::{Selection, WantedCode};
pub use shielding::Shielding;

/// A shard as layer one records it, together with the registered enclave that may serve it: enough to encrypt to it.
/// Whether the enclave does serve it, only a [`ShardClient`] knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// Its entry at the finalized head.
    pub entry: ShardEntry,
    /// Its only member's registration, likewise.
    pub enclave: EnclaveRecord,
    /// The chain that it belongs to.
    pub genesis: H256,
}

impl Shard {
    /// The shard with an id, at the finalized head, if its enclave may serve it then.
    pub async fn find(layer_one: &LayerOne, id: ShardId) -> Result<Self, Error> {
        let at = layer_one.finalized_hash().await?;
        let entry = layer_one.shard_at(&id, at).await?.ok_or(Error::UnknownShard(id))?;
        let (record, now) = tokio::try_join!(layer_one.enclave_at(&entry.birth.founder, at), layer_one.time_at(at))?;
        Self::served(id, entry, record, layer_one.genesis(), now)
    }

    /// The shard, if the registry says at `now` (layer one's time) that its founder may serve it.
    pub fn served(
        id: ShardId,
        entry: ShardEntry,
        record: Option<EnclaveRecord>,
        genesis: H256,
        now: Moment,
    ) -> Result<Self, Error> {
        let account = &entry.birth.founder;
        let enclave = record.ok_or_else(|| Error::NotRegistered { shard: id, enclave: account.clone() })?;
        let wanted = entry.birth.config.enclave_fingerprint;
        if enclave.fingerprint != wanted {
            let found = enclave.fingerprint;
            return Err(Error::FingerprintMismatch { enclave: account.clone(), found, wanted });
        }
        if let Standing::Leaving { until } = enclave.standing {
            return Err(Error::Leaving { enclave: account.clone(), until });
        }
        if !enclave.serves_at(now) {
            return Err(Error::Expired { enclave: account.clone(), expires_at: enclave.expires_at, now });
        }
        Ok(Self { id, entry, enclave, genesis })
    }

    /// The account of the enclave that serves the shard.
    pub fn founder(&self) -> &AccountId {
        &self.entry.birth.founder
    }

    /// Whether the registry still lets the very start of the enclave serve that this is about.
    pub fn still_served(&self, record: Option<EnclaveRecord>, now: Moment) -> Result<(), Error> {
        let current = Self::served(self.id, self.entry.clone(), record, self.genesis, now)?;
        let keys = |enclave: &EnclaveRecord| (enclave.incarnation_key, enclave.tls_key_hash);
        match keys(&current.enclave) == keys(&self.enclave) {
            true => Ok(()),
            false => Err(Error::Retired { enclave: self.founder().clone() }),
        }
    }

    /// What a call for the shard is signed for.
    pub fn scope(&self) -> SignatureScope {
        SignatureScope { mrenclave: self.entry.birth.config.enclave_fingerprint, shard: self.id }
    }

    /// Refuses a shard that runs other code than wanted, or whose enclave only says that it runs it, or in the open.
    pub fn require(&self, wanted: Option<WantedCode>) -> Result<(), Error> {
        let Some(WantedCode { fingerprint: wanted, simulation, debug }) = wanted else { return Ok(()) };
        let found = self.entry.birth.config.enclave_fingerprint;
        if found != wanted {
            return Err(Error::WrongMeasurement { found, wanted });
        }
        let enclave = self.founder().clone();
        match (self.enclave.kind, self.enclave.build_mode) {
            (TeeKind::Simulated, _) if simulation == Stance::Forbidden => Err(Error::Simulated { enclave }),
            // Of a simulation nothing is hidden from its host anyway.
            (TeeKind::Simulated, _) => Ok(()),
            (_, BuildMode::Debug) if debug == Stance::Forbidden => Err(Error::Debug { enclave }),
            _ => Ok(()),
        }
    }

    /// Refuses a worker whose enclave does not say that it serves this shard. The registry alone does not tell: the
    /// founder of a shard may have been started anew without its state.
    async fn require_served_by(&self, worker: &Worker) -> Result<(), Error> {
        let served = worker.shard().await?;
        match served == self.id {
            true => Ok(()),
            false => Err(Error::OtherShard { served, wanted: self.id }),
        }
    }

    /// Signs a call that holds for this chain, and up to the shard's block `last_block`.
    pub fn sign_bound_call(
        &self,
        call: TrustedCall,
        nonce: Nonce,
        last_block: u64,
        signer: &Signer,
    ) -> Result<BoundCallSigned, Error> {
        require_owner(signer, call.sender())?;
        let bound = BoundCall { call, nonce, last_block };
        let signature = signer.sign(&bound.signed_bytes(&self.genesis, &self.scope()));
        Ok(BoundCallSigned { bound, signature })
    }

    /// Signs a call in the published form, which never expires.
    pub fn sign_call(&self, call: TrustedCall, nonce: Nonce, signer: &Signer) -> Result<TrustedCallSigned, Error> {
        require_owner(signer, call.sender())?;
        let signature = signer.sign(&self.scope().call_bytes(&call, nonce));
        Ok(TrustedCallSigned { call, nonce, signature })
    }

    /// Encrypts an operation to the shard's enclaves.
    pub fn seal_operation(&self, operation: &TrustedOperation) -> Result<Request, Error> {
        let cyphertext = self.seal(Purpose::Request, &operation.encode())?;
        let cyphertext = cyphertext.try_into().map_err(|_| Error::Encryption("the operation is too long".into()))?;
        Ok(Request { shard: self.id, cyphertext })
    }

    /// Encrypts the account that a shielding credits.
    pub fn seal_beneficiary(&self, beneficiary: &AccountId) -> Result<EncryptedBeneficiary, Error> {
        let sealed = self.seal(Purpose::Beneficiary, &beneficiary.encode())?;
        sealed.try_into().map_err(|_| Error::Encryption("the beneficiary is too long".into()))
    }

    fn seal(&self, purpose: Purpose, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let keys = &self.entry.birth.shielding_keys;
        let context = Context { genesis: self.genesis, shard: self.id, purpose };
        envelope::seal(&context, keys.epoch, &keys.hpke, plaintext)
            .map_err(|error| Error::Encryption(error.to_string()))
    }
}

fn require_owner(signer: &Signer, owner: &AccountId) -> Result<(), Error> {
    match signer.account() == *owner {
        true => Ok(()),
        false => Err(Error::WrongSigner { signer: signer.account(), owner: owner.clone() }),
    }
}
