//! Encryption to a shard: HPKE (RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305).
//!
//! An envelope is magic (4 bytes, the last one the version) ‖ key epoch (u32, little endian) ‖ encapsulated key (32
//! bytes) ‖ ciphertext with its tag (16 bytes). Key epoch, shard, genesis and purpose are bound into the key schedule,
//! so that a ciphertext opens for nothing else than it was made for.

use cloister_chain_primitives::{H256, ShardId, domain};
use hpke::{
    Deserializable, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::X25519HkdfSha256,
    single_shot_open, single_shot_seal,
};
use rand_core::{OsRng, TryRngCore};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// First bytes of every envelope.
pub const MAGIC: [u8; 4] = *b"CLH\x01";
/// Bytes that an envelope adds to its plaintext.
pub const OVERHEAD: usize = 4 + 4 + 32 + 16;

/// An envelope taken apart. Whether it opens, its parts do not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts<'a> {
    /// Epoch of the key to which it was encrypted.
    pub epoch: u32,
    /// The sender's ephemeral key (`enc` of RFC 9180).
    pub encapsulated: &'a [u8; 32],
    /// With its tag at the end.
    pub ciphertext: &'a [u8],
}

/// What an envelope is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A trusted operation in a request.
    Request,
    /// The beneficiary of a shielding.
    Beneficiary,
}

/// What an envelope is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// Layer one's genesis.
    pub genesis: H256,
    /// The shard that can open it.
    pub shard: ShardId,
    /// What it is for.
    pub purpose: Purpose,
}

/// Why an envelope was not made or not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipient's key is not a point to which one may encrypt.
    #[error("the shielding key is not a valid X25519 key")]
    InvalidRecipient,
    /// The bytes are no envelope for this key, context or at all.
    #[error("the envelope does not open")]
    DoesNotOpen,
}

/// An X25519 secret key, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// From 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key that clients encrypt to.
    pub fn public(&self) -> Result<[u8; 32], Error> {
        use hpke::Kem;
        let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&self.0).map_err(|_| Error::InvalidRecipient)?;
        let mut public = [0; 32];
        X25519HkdfSha256::sk_to_pk(&secret).write_exact(&mut public);
        Ok(public)
    }
}

/// Encrypts `plaintext` to a shard's key of `epoch`.
pub fn seal(context: &Context, epoch: u32, recipient: &[u8; 32], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    use hpke::Kem;
    let recipient = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(recipient).map_err(|_| Error::InvalidRecipient)?;
    let (encapsulated, ciphertext) = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256, _>(
        &OpModeS::Base,
        &recipient,
        &context.info(epoch),
        plaintext,
        &context.associated_data(),
        &mut OsRng.unwrap_err(),
    )
    .map_err(|_| Error::InvalidRecipient)?;
    Ok([&MAGIC[..], &epoch.to_le_bytes(), &encapsulated.to_bytes(), &ciphertext].concat())
}

/// The key epoch that an envelope names, if the bytes look like one.
pub fn epoch(envelope: &[u8]) -> Option<u32> {
    let rest = envelope.strip_prefix(&MAGIC)?;
    rest.first_chunk().map(|epoch| u32::from_le_bytes(*epoch))
}

/// Takes an envelope apart, if the bytes have the length and the magic of one.
pub fn parts(envelope: &[u8]) -> Option<Parts<'_>> {
    let rest = envelope.strip_prefix(&MAGIC)?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (encapsulated, ciphertext) = rest.split_first_chunk()?;
    Some(Parts { epoch: u32::from_le_bytes(*epoch), encapsulated, ciphertext })
}

/// Decrypts an envelope with the shard's key of the epoch that it names. Enclaves have a faster way (`cloister-keys`).
pub fn open(context: &Context, secret: &SecretKey, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    use hpke::Kem;
    let Parts { epoch, encapsulated, ciphertext } = parts(envelope).ok_or(Error::DoesNotOpen)?;
    let encapsulated =
        <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| Error::DoesNotOpen)?;
    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&secret.0).map_err(|_| Error::DoesNotOpen)?;
    single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &encapsulated,
        &context.info(epoch),
        ciphertext,
        &context.associated_data(),
    )
    .map(Zeroizing::new)
    .map_err(|_| Error::DoesNotOpen)
}

impl Context {
    /// `info` of the key schedule (RFC 9180, section 5.1).
    pub fn info(&self, epoch: u32) -> Vec<u8> {
        domain::message("envelope", &self.genesis, &[self.shard.as_ref(), &epoch.to_le_bytes()])
    }

    /// `aad` of the one message that the envelope holds.
    pub fn associated_data(&self) -> Vec<u8> {
        let purpose: &[u8] = match self.purpose {
            Purpose::Request => b"request",
            Purpose::Beneficiary => b"beneficiary",
        };
        domain::message("envelope-purpose", &self.genesis, &[self.shard.as_ref(), purpose])
    }
}
