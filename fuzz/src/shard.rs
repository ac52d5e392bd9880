//! A shard with keys that are the same in every process, so that a corpus stays good.

use std::sync::{Arc, LazyLock};

use cloister_chain_primitives::{AccountId, H256, ShardId};
use cloister_keys::ShieldingKeyPair;
use cloister_stf::{Payments, Rules};
use cloister_wire::{
    SignatureScope,
    envelope::{Context, Purpose},
};
use sp_core::{Pair, ed25519};

pub const GENESIS: H256 = H256::repeat_byte(1);
pub const SHARD: ShardId = ShardId(H256::repeat_byte(2));
pub const SCOPE: SignatureScope = SignatureScope { mrenclave: [3; 32], shard: SHARD };
pub const REQUESTS: Context = Context { genesis: GENESIS, shard: SHARD, purpose: Purpose::Request };

/// Made for this and used for nothing else.
pub static SHIELDING: LazyLock<Arc<ShieldingKeyPair>> = LazyLock::new(|| {
    let bytes = [&[0; 4][..], &[5; 32], include_bytes!("rsa-key.der")].concat();
    Arc::new(ShieldingKeyPair::from_bytes(&bytes).expect("a key pair"))
});

/// A client whose signatures are always the same.
pub static CLIENT: LazyLock<ed25519::Pair> = LazyLock::new(|| ed25519::Pair::from_seed(&[4; 32]));

pub fn client() -> AccountId {
    AccountId::new(CLIENT.public().0)
}

/// Simulation is allowed, and the client is root.
pub fn rules() -> Rules {
    Rules { simulation_allowed: true, root: Some(client()), program: &Payments, ..Rules::default() }
}
