//! What a block changed.

use core::fmt;
use std::collections::BTreeMap;

use codec::{Decode, Encode, Error, Input};

/// New values by key, `None` where the key goes. Keys stand in strictly ascending order, so that a set of changes has
/// one encoding.
#[derive(Clone, PartialEq, Eq, Default, Encode)]
pub struct StateDiff(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl StateDiff {
    /// The changes, in the order of their keys.
    pub fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// How many keys change.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Vec<u8>, Option<Vec<u8>>)> for StateDiff {
    /// Of several changes of one key the last counts.
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>>(changes: I) -> Self {
        Self(changes.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }
}

impl Decode for StateDiff {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let changes = Vec::<(Vec<u8>, Option<Vec<u8>>)>::decode(input)?;
        if !changes.is_sorted_by(|(earlier, _), (later, _)| earlier < later) {
            return Err("keys of a state diff are not in ascending order".into());
        }
        Ok(Self(changes))
    }
}

impl fmt::Debug for StateDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateDiff({} keys)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use codec::DecodeAll;

    use super::*;

    #[test]
    fn changes_are_sorted_and_the_last_one_counts() {
        let diff: StateDiff =
            [(b"b".to_vec(), None), (b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), Some(b"2".to_vec()))]
                .into_iter()
                .collect();
        assert_eq!(diff.0, [(b"a".to_vec(), Some(b"2".to_vec())), (b"b".to_vec(), None)]);
        assert_eq!(hex::encode(diff.encode()), "080461010432046200");
        assert_eq!(StateDiff::decode_all(&mut diff.encode().as_slice()), Ok(diff));
    }

    #[test]
    fn only_the_canonical_encoding_decodes() {
        for changes in [
            vec![(b"b".to_vec(), None::<Vec<u8>>), (b"a".to_vec(), None)],
            vec![(b"a".to_vec(), None), (b"a".to_vec(), None)],
        ] {
            assert!(StateDiff::decode(&mut changes.encode().as_slice()).is_err());
        }
    }
}
