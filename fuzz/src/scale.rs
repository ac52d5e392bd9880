//! What holds for every SCALE decoder.

use codec::{Decode, DecodeAll, Encode};

/// A decoder, and the encoding of something that it takes.
pub type Decoder = (fn(&[u8]), fn() -> Vec<u8>);

/// Whatever decodes has this one encoding: nobody can have two hashes or signatures for one thing.
pub fn canonical<T: Decode + Encode>(bytes: &[u8]) {
    decoded::<T>(bytes);
}

/// The same, for who goes on with the value.
pub fn decoded<T: Decode + Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::decode_all(&mut &*bytes).ok()?;
    assert_eq!(value.encode(), bytes, "a second encoding");
    assert_eq!(value.encoded_size(), bytes.len());
    Some(value)
}

/// Runs the decoder that the first byte chooses.
pub fn choose(decoders: &[Decoder], input: &[u8]) {
    if let Some((choice, bytes)) = input.split_first() {
        decoders[usize::from(*choice) % decoders.len()].0(bytes);
    }
}

/// A good input for each decoder.
pub fn seeds(decoders: &[Decoder]) -> Vec<Vec<u8>> {
    (0u8..).zip(decoders).map(|(choice, (_, good))| [vec![choice], good()].concat()).collect()
}
