//! Events of layer one, decoded with the runtime's own description of them.

mod extent;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;

use cloister_chain_primitives::AccountId;
use codec::{Decode, DecodeAll};
use frame_metadata::{
    RuntimeMetadata, RuntimeMetadataPrefixed,
    v14::{RuntimeMetadataV14, StorageEntryType},
};
use scale_info::{TypeDef, TypeDefPrimitive, form::PortableForm};
use scale_value::{
    Composite, Primitive, Value, ValueDef, Variant,
    scale::{decode_as_type, encode_as_type},
};
use serde_json::json;
use sp_runtime::DispatchError;

use super::{Error, malformed, to_hex};

/// Something that happened in a block.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Place in the block of the extrinsic that caused it; absent for what the block itself does.
    pub extrinsic: Option<u32>,
    /// The pallet's name.
    pub pallet: String,
    /// The event's name.
    pub name: String,
    /// Its fields as JSON: accounts in SS58, bytes in hex, u128 as decimal strings.
    pub fields: serde_json::Value,
    failure: Option<DispatchFailure>,
}

/// Why a call failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DispatchFailure {
    /// As `enclaveBridge.UnknownShard` or `token.FundsUnavailable`.
    pub name: String,
    /// What the runtime says about it; may be empty.
    pub docs: String,
}

impl Event {
    /// The failure that the event reports, of the extrinsic or of what it called as root.
    pub fn failure(&self) -> Option<&DispatchFailure> {
        self.failure.as_ref()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{} {}", lower_camel(&self.pallet), self.name, self.fields)
    }
}

impl fmt::Display for DispatchFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if !self.docs.is_empty() {
            write!(formatter, " ({})", self.docs.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

/// Decodes the value of `System.Events` by a runtime's metadata (SCALE, version 14).
pub fn decode_events(metadata: &[u8], events: &[u8]) -> Result<Vec<Event>, Error> {
    Metadata::decode(metadata)?.events(events)
}

/// A runtime's description of itself.
pub(super) struct Metadata {
    runtime: RuntimeMetadataV14,
    events_type: u32,
}

impl Metadata {
    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, Error> {
        let RuntimeMetadataPrefixed(_, metadata) =
            Decode::decode(&mut bytes).map_err(|error| malformed("metadata", error))?;
        let RuntimeMetadata::V14(runtime) = metadata else {
            return Err(malformed("metadata", format_args!("version {} instead of 14", metadata.version())));
        };
        Self::new(runtime)
    }

    fn new(runtime: RuntimeMetadataV14) -> Result<Self, Error> {
        let entries = runtime.pallets.iter().filter(|pallet| pallet.name == "System").filter_map(|pallet| {
            let storage = pallet.storage.as_ref()?;
            storage.entries.iter().find(|entry| entry.name == "Events")
        });
        let events_type = entries
            .filter_map(|entry| match &entry.ty {
                StorageEntryType::Plain(type_id) => Some(type_id.id),
                StorageEntryType::Map { .. } => None,
            })
            .next();
        let events_type = events_type.ok_or_else(|| malformed("metadata", "it has no System.Events"))?;
        Ok(Self { runtime, events_type })
    }

    /// A constant of a pallet.
    pub(super) fn constant<T: DecodeAll>(&self, pallet: &str, name: &str) -> Option<T> {
        let pallet = self.runtime.pallets.iter().find(|other| other.name == pallet)?;
        let constant = pallet.constants.iter().find(|constant| constant.name == name)?;
        T::decode_all(&mut constant.value.as_slice()).ok()
    }

    /// Decodes the value of `System.Events`.
    pub(super) fn events(&self, mut bytes: &[u8]) -> Result<Vec<Event>, Error> {
        let extent = extent::measure(&self.runtime.types, self.events_type, bytes);
        if extent.map_err(|reason| malformed("events", reason))? < bytes.len() {
            return Err(malformed("events", "bytes are left over"));
        }
        let records = decode_as_type(&mut bytes, self.events_type, &self.runtime.types)
            .map_err(|error| malformed("events", error))?;
        let ValueDef::Composite(Composite::Unnamed(records)) = &records.value else {
            return Err(malformed("events", "they are no list"));
        };
        records.iter().map(|record| self.event(record).ok_or_else(|| malformed("events", "not an event"))).collect()
    }

    fn event(&self, record: &Value<u32>) -> Option<Event> {
        let phase = variant(field(record, "phase")?)?;
        let extrinsic = match phase.name.as_str() {
            "ApplyExtrinsic" => Some(u32::try_from(first(&phase.values)?.as_u128()?).ok()?),
            _ => None,
        };
        let pallet = variant(field(record, "event")?)?;
        let event = variant(first(&pallet.values)?)?;
        let failure = match (pallet.name.as_str(), event.name.as_str()) {
            ("System", "ExtrinsicFailed") => named(&event.values, "dispatch_error"),
            ("Sudo", "Sudid" | "SudoAsDone") => named(&event.values, "sudo_result")
                .and_then(variant)
                .filter(|result| result.name == "Err")
                .and_then(|result| first(&result.values)),
            _ => None,
        };
        Some(Event {
            extrinsic,
            pallet: pallet.name.clone(),
            name: event.name.clone(),
            fields: self.fields(&event.values),
            failure: failure.map(|error| self.failure(error)),
        })
    }

    /// Names a `DispatchError`; one of a pallet by the pallet's own list of errors.
    fn failure(&self, error: &Value<u32>) -> DispatchFailure {
        let Some(kind) = variant(error) else {
            return DispatchFailure { name: self.json(error).to_string(), docs: String::new() };
        };
        if kind.name == "Module"
            && let Some(failure) = self.module_failure(first(&kind.values).unwrap_or(error), &kind.values)
        {
            return failure;
        }
        let name = match first(&kind.values).and_then(variant) {
            Some(detail) => format!("{}.{}", lower_camel(&kind.name), detail.name),
            None => lower_camel(&kind.name),
        };
        DispatchFailure { name, docs: self.plain_words(error).unwrap_or_default().into() }
    }

    /// What the framework says about an error that is no pallet's; runtimes do not describe those.
    fn plain_words(&self, error: &Value<u32>) -> Option<&'static str> {
        let mut bytes = Vec::new();
        encode_as_type(error, error.context, &self.runtime.types, &mut bytes).ok()?;
        DispatchError::decode(&mut bytes.as_slice()).ok().map(Into::into)
    }

    fn module_failure(&self, inner: &Value<u32>, values: &Composite<u32>) -> Option<DispatchFailure> {
        let part = |name| field(inner, name).or_else(|| named(values, name));
        let index = part("index")?.as_u128()?;
        let error = self.bytes(part("error")?)?;
        let pallet = self.runtime.pallets.iter().find(|pallet| u128::from(pallet.index) == index)?;
        let error_type = pallet.error.as_ref()?.ty.id;
        extent::measure(&self.runtime.types, error_type, &error).ok()?;
        let error = decode_as_type(&mut error.as_slice(), error_type, &self.runtime.types).ok()?;
        let (name, docs) = self.nested_variants(&error)?;
        Some(DispatchFailure { name: format!("{}.{name}", lower_camel(&pallet.name)), docs })
    }

    /// An error with the reasons inside it, as `Registration(NotGenuine(QuoteTruncated))`, and what the runtime says about
    /// the innermost.
    fn nested_variants(&self, error: &Value<u32>) -> Option<(String, String)> {
        match &error.value {
            ValueDef::Variant(reason) => {
                Some(match first(&reason.values).and_then(|inner| self.nested_variants(inner)) {
                    Some((inner, docs)) => (format!("{}({inner})", reason.name), docs),
                    None => {
                        (reason.name.clone(), self.variant_docs(error.context, |variant| variant.name == reason.name))
                    }
                })
            }
            ValueDef::Composite(fields) => self.nested_variants(first(fields)?),
            _ => None,
        }
    }

    fn variant_docs(&self, type_id: u32, is: impl Fn(&scale_info::Variant<PortableForm>) -> bool) -> String {
        match self.runtime.types.resolve(type_id).map(|resolved| &resolved.type_def) {
            Some(TypeDef::Variant(variants)) => {
                let docs = variants.variants.iter().find(|variant| is(variant)).map(|variant| variant.docs.join(" "));
                docs.unwrap_or_default().trim().to_string()
            }
            _ => String::new(),
        }
    }

    fn fields(&self, values: &Composite<u32>) -> serde_json::Value {
        match values {
            Composite::Named(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.json(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Composite::Unnamed(fields) => fields.iter().map(|value| self.json(value)).collect::<Vec<_>>().into(),
        }
    }

    fn json(&self, value: &Value<u32>) -> serde_json::Value {
        if let Some(bytes) = self.bytes(value) {
            let account = self.type_name(value.context) == Some("AccountId32");
            return match <[u8; 32]>::try_from(bytes.as_slice()) {
                Ok(account_id) if account => AccountId::from(account_id).to_string().into(),
                _ => to_hex(&bytes).into(),
            };
        }
        match &value.value {
            ValueDef::Primitive(primitive) => match primitive {
                Primitive::Bool(value) => json!(value),
                Primitive::Char(value) => json!(value),
                Primitive::String(value) => json!(value),
                Primitive::U128(number) => match u64::try_from(*number) {
                    // Amounts are always strings, so that their JSON type does not depend on their value.
                    Ok(small) if small <= MAX_EXACT_NUMBER && !self.is_u128(value.context) => json!(small),
                    _ => json!(number.to_string()),
                },
                Primitive::I128(number) => json!(number.to_string()),
                Primitive::U256(bytes) | Primitive::I256(bytes) => to_hex(bytes).into(),
            },
            ValueDef::BitSequence(bits) => {
                bits.iter().map(|bit| if bit { '1' } else { '0' }).collect::<String>().into()
            }
            ValueDef::Variant(variant) => {
                let fields = &variant.values;
                match (variant.name.as_str(), first(fields), fields.len()) {
                    ("None", None, 0) => serde_json::Value::Null,
                    ("Some", Some(inner), 1) => self.json(inner),
                    (name, None, _) => name.into(),
                    (name, Some(inner), 1) if matches!(fields, Composite::Unnamed(_)) => {
                        json!({ name: self.json(inner) })
                    }
                    (name, Some(_), _) => json!({ name: self.fields(fields) }),
                }
            }
            ValueDef::Composite(fields) => self.fields(fields),
        }
    }

    /// The bytes of a list of u8, or of a type that wraps one.
    fn bytes(&self, value: &Value<u32>) -> Option<Vec<u8>> {
        let ValueDef::Composite(Composite::Unnamed(values)) = &value.value else { return None };
        let item = match &self.runtime.types.resolve(value.context)?.type_def {
            TypeDef::Array(array) => array.type_param.id,
            TypeDef::Sequence(sequence) => sequence.type_param.id,
            TypeDef::Composite(_) if values.len() == 1 => return self.bytes(values.first()?),
            _ => return None,
        };
        if !matches!(self.runtime.types.resolve(item)?.type_def, TypeDef::Primitive(TypeDefPrimitive::U8)) {
            return None;
        }
        values.iter().map(|byte| byte.as_u128().and_then(|byte| u8::try_from(byte).ok())).collect()
    }

    fn is_u128(&self, type_id: u32) -> bool {
        match self.runtime.types.resolve(type_id).map(|resolved| &resolved.type_def) {
            Some(TypeDef::Primitive(primitive)) => matches!(primitive, TypeDefPrimitive::U128),
            Some(TypeDef::Compact(compact)) => self.is_u128(compact.type_param.id),
            _ => false,
        }
    }

    fn type_name(&self, type_id: u32) -> Option<&str> {
        self.runtime.types.resolve(type_id)?.path.segments.last().map(String::as_str)
    }
}

fn variant(value: &Value<u32>) -> Option<&Variant<u32>> {
    match &value.value {
        ValueDef::Variant(variant) => Some(variant),
        _ => None,
    }
}

fn field<'a>(value: &'a Value<u32>, name: &str) -> Option<&'a Value<u32>> {
    match &value.value {
        ValueDef::Composite(fields) => named(fields, name),
        _ => None,
    }
}

fn named<'a>(fields: &'a Composite<u32>, name: &str) -> Option<&'a Value<u32>> {
    match fields {
        Composite::Named(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
        Composite::Unnamed(_) => None,
    }
}

fn first(fields: &Composite<u32>) -> Option<&Value<u32>> {
    fields.values().next()
}

/// `EnclaveBridge` as clients write it: `enclaveBridge`.
fn lower_camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|letter| letter.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// 2^53 - 1: what every JSON reader keeps exactly.
const MAX_EXACT_NUMBER: u64 = (1 << 53) - 1;
