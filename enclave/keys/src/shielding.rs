//! The pair of keys to which clients encrypt.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey},
};
use cloister_chain_primitives::{ShieldingKeys, inbox::MAX_CYPHERTEXT, shard::RSA_MODULUS_BYTES};
use cloister_wire::envelope::{self, Context, SecretKey};
use zeroize::Zeroizing;

use crate::{Error, envelope::EnvelopeKey};

/// A shard's keys of one epoch: X25519 for the HPKE envelope, RSA-3072 for published clients.
pub struct ShieldingKeyPair {
    hpke: EnvelopeKey,
    rsa: OaepPrivateDecryptingKey,
    kept: Kept,
    public: ShieldingKeys,
}

/// The secrets as they are sealed.
struct Kept {
    hpke: Zeroizing<[u8; 32]>,
    rsa: Zeroizing<Vec<u8>>,
}

impl ShieldingKeyPair {
    /// Fresh keys. Takes about a second: it searches two primes.
    pub fn draw(epoch: u32) -> Result<Self, Error> {
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(secret.as_mut_slice()).map_err(|_| Error::Draw)?;
        // Only aws-lc decrypts with a running time that does not depend on the key (RUSTSEC-2023-0071).
        let rsa = PrivateDecryptingKey::generate(KeySize::Rsa3072).map_err(|_| Error::Draw)?;
        let kept = Kept { hpke: secret, rsa: encoded(&rsa)? };
        Self::new(epoch, kept, rsa)
    }

    /// The keys of [`Self::to_bytes`].
    ///
    /// # Errors
    /// `PrivateKeyEncoding` for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = Error::PrivateKeyEncoding;
        let (epoch, rest) = bytes.split_first_chunk().ok_or(malformed)?;
        let (hpke, pkcs8) = rest.split_first_chunk().ok_or(malformed)?;
        let rsa = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| malformed)?;
        let kept = Kept { hpke: Zeroizing::new(*hpke), rsa: encoded(&rsa)? };
        // The parser leaves alone what follows the key.
        if kept.rsa.as_slice() != pkcs8 {
            return Err(malformed);
        }
        Self::new(u32::from_le_bytes(*epoch), kept, rsa)
    }

    /// For sealing, and for nothing else: epoch (u32, little endian) ‖ X25519 secret (32 bytes) ‖ PKCS#8 of the RSA key.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let parts = [&self.public.epoch.to_le_bytes(), self.kept.hpke.as_slice(), &self.kept.rsa];
        // Never grows, so that no copy stays behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    fn new(epoch: u32, kept: Kept, rsa: PrivateDecryptingKey) -> Result<Self, Error> {
        let hpke = EnvelopeKey::new(&kept.hpke);
        let spki = rsa.public_key().as_der().map_err(|_| Error::PublicKeyEncoding)?;
        let public = ShieldingKeys {
            epoch,
            hpke: SecretKey::from_bytes(*kept.hpke).public().map_err(|_| Error::PublicKeyEncoding)?,
            rsa_modulus: modulus(&spki).ok_or(Error::PublicKeyEncoding)?,
        };
        let rsa = OaepPrivateDecryptingKey::new(rsa).map_err(|_| Error::Draw)?;
        Ok(Self { hpke, rsa, kept, public })
    }

    /// What clients encrypt to.
    pub fn public(&self) -> &ShieldingKeys {
        &self.public
    }

    /// Decrypts an envelope of the present epoch. Every failure is [`Error::DoesNotOpen`].
    pub fn open_envelope(&self, context: &Context, cyphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        if !self.is_envelope(cyphertext) || cyphertext.len() > usize::try_from(MAX_CYPHERTEXT).unwrap_or(usize::MAX) {
            return Err(Error::DoesNotOpen);
        }
        self.hpke.open(context, cyphertext)
    }

    /// Whether the bytes name the present epoch as an envelope does; anybody can see that.
    pub fn is_envelope(&self, cyphertext: &[u8]) -> bool {
        envelope::epoch(cyphertext) == Some(self.public.epoch)
    }

    /// Decrypts a request or beneficiary in either form. What lacks the envelope's magic or does not open as one is
    /// tried as RSA. At most [`MAX_CYPHERTEXT`] bytes. Every failure is [`Error::DoesNotOpen`].
    pub fn open(&self, context: &Context, cyphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.open_envelope(context, cyphertext).or_else(|_| self.open_published(cyphertext))
    }

    /// Decrypts the published form, at most [`MAX_CYPHERTEXT`] bytes. Every failure is [`Error::DoesNotOpen`].
    ///
    /// Chunks of 318 bytes, the last one of at most that, each as a block of 384 bytes. The published client handles the
    /// ciphertext of its one chunk as a number and strips leading zeros.
    ///
    /// A block says nothing about what stands beside it. Were shorter chunks taken anywhere but at the end, somebody else's
    /// block could be put between blocks of one's own, and the answer would tell what is in it.
    pub fn open_published(&self, cyphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        if cyphertext.len() > usize::try_from(MAX_CYPHERTEXT).unwrap_or(usize::MAX) {
            return Err(Error::DoesNotOpen);
        }
        let mut padded = [0; RSA_MODULUS_BYTES];
        let cyphertext = match RSA_MODULUS_BYTES.checked_sub(cyphertext.len()).and_then(|zeros| padded.get_mut(zeros..))
        {
            Some(end) => {
                end.copy_from_slice(cyphertext);
                padded.as_slice()
            }
            None => cyphertext,
        };
        let (blocks, rest) = cyphertext.as_chunks::<RSA_MODULUS_BYTES>();
        if !rest.is_empty() {
            return Err(Error::DoesNotOpen);
        }
        // Never grows, so that no copy of the plaintext stays behind.
        let mut plaintext = Zeroizing::new(Vec::with_capacity(cyphertext.len()));
        let mut chunk = Zeroizing::new([0; RSA_MODULUS_BYTES]);
        for (place, block) in blocks.iter().enumerate() {
            let chunk = self
                .rsa
                .decrypt(&OAEP_SHA256_MGF1SHA256, block, chunk.as_mut_slice(), None)
                .map_err(|_| Error::DoesNotOpen)?;
            let is_last = place.saturating_add(1) == blocks.len();
            if !is_last && chunk.len() != RSA_CHUNK_BYTES {
                return Err(Error::DoesNotOpen);
            }
            plaintext.extend_from_slice(chunk);
        }
        Ok(plaintext)
    }
}

/// What a block of RSA-3072 with OAEP and SHA-256 holds at most (RFC 8017, section 7.1.1).
const RSA_CHUNK_BYTES: usize = 318;

fn encoded(rsa: &PrivateDecryptingKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let pkcs8: Pkcs8V1Der<'_> = rsa.as_der().map_err(|_| Error::PrivateKeyEncoding)?;
    Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
}

/// The modulus in an RSA-3072 SubjectPublicKeyInfo. With this size and exponent everything else in it is constant
/// (RFC 8017, appendix A.1.1; the modulus' top bit is set, so it has a zero byte before it).
fn modulus(spki: &PublicKeyX509Der<'_>) -> Option<[u8; RSA_MODULUS_BYTES]> {
    spki.as_ref().strip_prefix(SPKI_BEFORE_MODULUS)?.strip_suffix(SPKI_AFTER_MODULUS)?.try_into().ok()
}

/// SEQUENCE { SEQUENCE { rsaEncryption, NULL }, BIT STRING { SEQUENCE { INTEGER of 385 bytes.
const SPKI_BEFORE_MODULUS: &[u8] = &[
    0x30, 0x82, 0x01, 0xa2, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    0x03, 0x82, 0x01, 0x8f, 0x00, 0x30, 0x82, 0x01, 0x8a, 0x02, 0x82, 0x01, 0x81, 0x00,
];
/// INTEGER 65537.
const SPKI_AFTER_MODULUS: &[u8] = &[0x02, 0x03, 0x01, 0x00, 0x01];

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use aws_lc_rs::rsa::{OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
    use cloister_chain_primitives::{H256, ShardId, shard::RSA_PUBLIC_EXPONENT};
    use cloister_wire::{envelope::Purpose, shielding_key::PublishedShieldingKey};

    use super::*;

    const EPOCH: u32 = 3;

    /// One for all tests, because drawing it is slow.
    fn pair() -> &'static ShieldingKeyPair {
        static PAIR: OnceLock<ShieldingKeyPair> = OnceLock::new();
        PAIR.get_or_init(|| ShieldingKeyPair::draw(EPOCH).unwrap())
    }

    fn context() -> Context {
        Context { genesis: H256::repeat_byte(1), shard: ShardId(H256::repeat_byte(2)), purpose: Purpose::Request }
    }

    fn open(cyphertext: &[u8]) -> Result<Vec<u8>, Error> {
        pair().open(&context(), cyphertext).map(|plaintext| plaintext.to_vec())
    }

    fn sealed(plaintext: &[u8]) -> Vec<u8> {
        envelope::seal(&context(), EPOCH, &pair().public().hpke, plaintext).unwrap()
    }

    /// As a published client does: from the numbers that it is told, in chunks of 318 bytes.
    fn rsa_encrypted(plaintext: &[u8]) -> Vec<u8> {
        let published = PublishedShieldingKey::new(&pair().public().rsa_modulus);
        let big_endian = |number: &[u8]| number.iter().rev().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
        let components = PublicKeyComponents { n: big_endian(&published.n), e: big_endian(&published.e) };
        let key: PublicEncryptingKey = components.try_into().unwrap();
        let key = OaepPublicEncryptingKey::new(key).unwrap();
        assert_eq!(key.max_plaintext_size(&OAEP_SHA256_MGF1SHA256), 318);
        let mut cyphertext = Vec::new();
        for chunk in plaintext.chunks(318) {
            let mut block = [0; 384];
            key.encrypt(&OAEP_SHA256_MGF1SHA256, chunk, &mut block, None).unwrap();
            cyphertext.extend_from_slice(&block);
        }
        cyphertext
    }

    #[test]
    fn the_modulus_has_3072_bits_and_is_odd() {
        let public = pair().public();
        assert!(public.rsa_modulus[0] >= 0x80 && public.rsa_modulus[383] & 1 == 1);
        assert_eq!(RSA_PUBLIC_EXPONENT, 65_537);
        assert_eq!(public.epoch, EPOCH);
    }

    #[test]
    fn a_public_key_of_another_size_is_not_taken_for_one() {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        assert_eq!(modulus(&key.public_key().as_der().unwrap()), None);
    }

    #[test]
    fn kept_keys_open_what_was_encrypted_before() {
        let bytes = pair().to_bytes();
        let again = ShieldingKeyPair::from_bytes(&bytes).unwrap();
        assert_eq!(again.public(), pair().public());
        for cyphertext in [sealed(b"own"), rsa_encrypted(b"own")] {
            assert_eq!(again.open(&context(), &cyphertext).unwrap().as_slice(), b"own");
        }
        assert_eq!(again.to_bytes(), bytes);
    }

    #[test]
    fn other_bytes_are_no_keys() {
        let bytes = pair().to_bytes();
        let smaller = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = smaller.as_der().unwrap();
        for (malformed, error) in [
            (vec![], Error::PrivateKeyEncoding),
            (bytes[..36].to_vec(), Error::PrivateKeyEncoding),
            (bytes[..bytes.len() - 1].to_vec(), Error::PrivateKeyEncoding),
            ([&bytes[..], &[0]].concat(), Error::PrivateKeyEncoding),
            ([&bytes[..36], pkcs8.as_ref()].concat(), Error::PublicKeyEncoding),
        ] {
            assert_eq!(ShieldingKeyPair::from_bytes(&malformed).err(), Some(error));
        }
    }

    #[test]
    fn opens_an_envelope() {
        for length in [0, 1, 384 - envelope::OVERHEAD, 5_000] {
            assert_eq!(open(&sealed(&vec![7; length])), Ok(vec![7; length]));
        }
    }

    #[test]
    fn opens_one_and_many_rsa_chunks() {
        for length in [1, 32, 317, 318, 319, 3 * 318, 42 * 318] {
            let plaintext: Vec<u8> = (0..length).map(|index| index as u8).collect();
            assert_eq!(open(&rsa_encrypted(&plaintext)), Ok(plaintext));
        }
    }

    #[test]
    fn opens_an_rsa_block_whose_leading_zeros_were_stripped() {
        let stripped = std::iter::repeat_with(|| rsa_encrypted(b"published"))
            .find(|block| block[0] == 0)
            .map(|block| block.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>())
            .unwrap();
        assert!(stripped.len() < 384);
        assert_eq!(open(&stripped), Ok(b"published".to_vec()));
    }

    #[test]
    fn what_looks_like_an_envelope_and_is_neither_form_does_not_open() {
        let mut spoiled = sealed(&[7; 384 - envelope::OVERHEAD]);
        assert_eq!(spoiled.len(), 384);
        spoiled[383] ^= 1;
        assert_eq!(open(&spoiled), Err(Error::DoesNotOpen));
        let mut junk = rsa_encrypted(b"published");
        junk[..4].copy_from_slice(&envelope::MAGIC);
        assert_eq!(open(&junk), Err(Error::DoesNotOpen));
    }

    #[test]
    fn every_failure_is_the_same() {
        let block = rsa_encrypted(b"published");
        let flipped = |mut bytes: Vec<u8>, at: usize| {
            bytes[at] ^= 1;
            bytes
        };
        let two = rsa_encrypted(&[1; 319]);
        for cyphertext in [
            vec![],
            vec![0; 384],
            vec![0xff; 384],
            block[..383].to_vec(),
            [&block[..], &[0]].concat(),
            flipped(block.clone(), 383),
            flipped(two.clone(), 767),
            two[..767].to_vec(),
            [&block[1..], &block[..]].concat(),
            envelope::MAGIC.to_vec(),
            flipped(sealed(b"own"), envelope::OVERHEAD),
            vec![0; 43 * 384],
        ] {
            assert_eq!(open(&cyphertext), Err(Error::DoesNotOpen));
        }
    }

    #[test]
    fn somebody_elses_rsa_block_opens_nowhere_but_alone_or_at_the_end() {
        let (full, full_again) = (rsa_encrypted(&[1; 318]), rsa_encrypted(&[2; 318]));
        let (prefix, victim, end) = (rsa_encrypted(b"\x01\x02"), rsa_encrypted(&[7; 32]), rsa_encrypted(b"signed"));
        for spliced in [
            [&prefix[..], &victim, &end].concat(),
            [&victim[..], &end].concat(),
            [&prefix[..], &victim].concat(),
            [&full[..], &victim, &end].concat(),
            [&rsa_encrypted(&[1; 317])[..], &victim].concat(),
        ] {
            assert_eq!(open(&spliced), Err(Error::DoesNotOpen));
        }
        assert_eq!(open(&victim), Ok(vec![7; 32]));
        assert_eq!(open(&[&full[..], &full_again, &victim].concat()).map(|plain| plain.len()), Ok(2 * 318 + 32));
    }

    #[test]
    fn another_epoch_or_purpose_does_not_open() {
        let later = envelope::seal(&context(), EPOCH + 1, &pair().public().hpke, b"own").unwrap();
        assert_eq!(open(&later), Err(Error::DoesNotOpen));
        let beneficiary = Context { purpose: Purpose::Beneficiary, ..context() };
        assert_eq!(pair().open(&beneficiary, &sealed(b"own")).unwrap_err(), Error::DoesNotOpen);
    }

    #[test]
    fn what_is_above_the_bound_is_not_tried() {
        let bound = usize::try_from(MAX_CYPHERTEXT).unwrap();
        let within = vec![7; bound - envelope::OVERHEAD];
        assert_eq!(open(&sealed(&within)), Ok(within));
        assert_eq!(open(&sealed(&vec![7; bound - envelope::OVERHEAD + 1])), Err(Error::DoesNotOpen));
    }
}
