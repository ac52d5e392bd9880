//! Strict reading of the vendor's JSON: no repeated fields anywhere, numbers unsigned, every field of one form. Fields that
//! are not known are left alone, because vendors add some.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, btree_map::Entry},
    string::String,
    vec::Vec,
};
use core::{cell::Cell, fmt};

use cloister_claims::Error;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON object.
#[derive(Debug, Default)]
pub(crate) struct Object(BTreeMap<String, Json>);

impl Object {
    /// Reads a document: one object and nothing after it. Nesting is bounded by the parser, size by the caller.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, Error> {
        let repeated = Cell::new(false);
        let mut parser = serde_json::Deserializer::from_slice(document);
        let json = Tree(&repeated).deserialize(&mut parser).map_err(|_| Error::DocumentMalformed)?;
        parser.end().map_err(|_| Error::DocumentMalformed)?;
        // One reader of a repeated field may take the first and another the last.
        if repeated.get() {
            return Err(Error::DocumentFieldDuplicate);
        }
        match json {
            Json::Object(object) => Ok(object),
            _ => Err(Error::DocumentMalformed),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn string(&self, name: &str) -> Result<&str, Error> {
        self.get(name)?.as_string()
    }

    /// An unsigned integer that fits.
    pub(crate) fn number<T: TryFrom<u64>>(&self, name: &str) -> Result<T, Error> {
        match self.get(name)? {
            Json::Number(number) => T::try_from(*number).map_err(|_| Error::DocumentField),
            _ => Err(Error::DocumentField),
        }
    }

    /// Exactly `N` bytes in hexadecimal, upper or lower case.
    pub(crate) fn bytes<const N: usize>(&self, name: &str) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        hex::decode_to_slice(self.string(name)?, &mut bytes).map_err(|_| Error::DocumentField)?;
        Ok(bytes)
    }

    pub(crate) fn object(&self, name: &str) -> Result<&Self, Error> {
        self.get(name)?.as_object()
    }

    pub(crate) fn array(&self, name: &str) -> Result<&[Json], Error> {
        match self.get(name)? {
            Json::Array(items) => Ok(items),
            _ => Err(Error::DocumentField),
        }
    }

    fn get(&self, name: &str) -> Result<&Json, Error> {
        self.0.get(name).ok_or(Error::DocumentFieldMissing)
    }
}

/// A JSON value.
#[derive(Debug)]
pub(crate) enum Json {
    Object(Object),
    Array(Vec<Self>),
    String(String),
    Number(u64),
    /// Null, a truth value, a negative or fractional number: nothing that a known field may be.
    Other,
}

impl Json {
    pub(crate) fn as_object(&self) -> Result<&Object, Error> {
        match self {
            Self::Object(object) => Ok(object),
            _ => Err(Error::DocumentField),
        }
    }

    pub(crate) fn as_string(&self) -> Result<&str, Error> {
        match self {
            Self::String(string) => Ok(string),
            _ => Err(Error::DocumentField),
        }
    }
}

/// Builds a tree, and remembers whether any object has a field twice.
#[derive(Clone, Copy)]
struct Tree<'a>(&'a Cell<bool>);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            match fields.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(_) => self.0.set(true),
            }
        }
        Ok(Json::Object(Object(fields)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_str<E: serde::de::Error>(self, string: &str) -> Result<Json, E> {
        Ok(Json::String(string.to_owned()))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }
}
