//! How large a value would be, before it is decoded. A runtime's description is the node's: types in it may contain
//! themselves, and a few bytes may stand for any number of empty items.

use codec::{Compact, Decode};
use scale_info::{PortableRegistry, TypeDef, TypeDefPrimitive};

/// Walks along the encoding of a value without building it. The number of its bytes, or why it is not decoded.
pub(super) fn measure(types: &PortableRegistry, type_id: u32, bytes: &[u8]) -> Result<usize, &'static str> {
    let mut walk = Walk { types, rest: bytes, parts: 0 };
    walk.value(type_id, 0)?;
    Ok(bytes.len().saturating_sub(walk.rest.len()))
}

struct Walk<'a> {
    types: &'a PortableRegistry,
    rest: &'a [u8],
    /// Values passed, those inside of others counted.
    parts: usize,
}

impl<'a> Walk<'a> {
    fn value(&mut self, type_id: u32, depth: usize) -> Result<(), &'static str> {
        self.parts = self.parts.saturating_add(1);
        if self.parts > MAX_PARTS {
            return Err("it has too many parts");
        }
        let inner = depth.saturating_add(1);
        match self.resolve(type_id, depth)? {
            TypeDef::Composite(composite) => {
                composite.fields.iter().try_for_each(|field| self.value(field.ty.id, inner))
            }
            TypeDef::Tuple(tuple) => tuple.fields.iter().try_for_each(|field| self.value(field.id, inner)),
            TypeDef::Variant(variants) => {
                let index = self.take(1)?.first().copied();
                let variant = variants.variants.iter().find(|variant| Some(variant.index) == index);
                let variant = variant.ok_or("no variant has the index that stands there")?;
                variant.fields.iter().try_for_each(|field| self.value(field.ty.id, inner))
            }
            TypeDef::Sequence(sequence) => {
                let length = self.compact::<u32>()?;
                (0..length).try_for_each(|_| self.value(sequence.type_param.id, inner))
            }
            TypeDef::Array(array) => (0..array.len).try_for_each(|_| self.value(array.type_param.id, inner)),
            TypeDef::Primitive(TypeDefPrimitive::Str) => {
                let length = self.compact::<u32>()?;
                self.take(usize::try_from(length).unwrap_or(usize::MAX)).map(drop)
            }
            TypeDef::Primitive(primitive) => self.take(size(primitive)).map(drop),
            TypeDef::Compact(compact) => {
                self.require_number(compact.type_param.id, inner)?;
                self.compact::<u128>().map(drop)
            }
            TypeDef::BitSequence(_) => Err("it has bits, which no event of ours has"),
        }
    }

    /// What is written in compact form is a number, or wraps one.
    fn require_number(&self, type_id: u32, depth: usize) -> Result<(), &'static str> {
        match self.resolve(type_id, depth)? {
            TypeDef::Primitive(primitive) if matches!(size(primitive), 1..=16) => Ok(()),
            TypeDef::Composite(composite) if composite.fields.len() == 1 => {
                let inner = depth.saturating_add(1);
                composite.fields.iter().try_for_each(|field| self.require_number(field.ty.id, inner))
            }
            _ => Err("something is compact that is no number"),
        }
    }

    fn resolve(&self, type_id: u32, depth: usize) -> Result<&'a TypeDef<scale_info::form::PortableForm>, &'static str> {
        if depth > MAX_DEPTH {
            return Err("its types are nested too deeply");
        }
        self.types.resolve(type_id).map(|resolved| &resolved.type_def).ok_or("a type is not described")
    }

    fn compact<T>(&mut self) -> Result<T, &'static str>
    where
        Compact<T>: Decode,
    {
        Compact::<T>::decode(&mut self.rest).map(|Compact(number)| number).map_err(|_| "a compact number is malformed")
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("bytes are missing")?;
        self.rest = rest;
        Ok(taken)
    }
}

/// In bytes; of all but strings.
fn size(primitive: &TypeDefPrimitive) -> usize {
    use TypeDefPrimitive as P;
    match primitive {
        P::Bool | P::U8 | P::I8 => 1,
        P::U16 | P::I16 => 2,
        P::Char | P::U32 | P::I32 => 4,
        P::U64 | P::I64 => 8,
        P::U128 | P::I128 => 16,
        P::U256 | P::I256 => 32,
        P::Str => 0,
    }
}

/// Runtimes nest their events some ten deep.
const MAX_DEPTH: usize = 64;
/// Some 200 MB once decoded; a full block's events are a hundredth of it.
const MAX_PARTS: usize = 1 << 21;
