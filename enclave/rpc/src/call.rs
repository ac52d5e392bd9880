//! Methods and their parameters.

use cloister_chain_primitives::inbox::MAX_CYPHERTEXT;
use cloister_wire::{H256, Request, ShardId};
use codec::{Compact, Decode, DecodeAll};
use serde_json::Value;

macro_rules! methods {
    ($($(#[$doc:meta])* $method:ident = $name:literal,)*) => {
        /// The published methods of this path.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Method {
            $($(#[$doc])* $method,)*
        }

        impl Method {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$method),*];

            /// As clients call it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$method => $name,)*
                }
            }
        }
    };
}

methods! {
    /// Names of the methods: a SCALE `Vec<String>`. Answered without the handler.
    RpcMethods = "rpc_methods",
    /// The RSA-3072 key: a SCALE `String` of JSON.
    ShieldingKey = "author_getShieldingKey",
    /// The shard: 32 bytes.
    Shard = "author_getShard",
    /// The enclave's measurement: 32 bytes.
    Fingerprint = "author_getFingerprint",
    /// Key epoch and X25519 key.
    HpkeKey = "author_getHpkeKey",
    /// The shard's account on another chain.
    ShardVault = "author_getShardVault",
    /// URL for remote attestation: a SCALE `String`.
    MuRaUrl = "author_getMuRaUrl",
    /// URL of the host's own server: a SCALE `String`.
    UntrustedUrl = "author_getUntrustedUrl",
    /// Takes an operation.
    Submit = "author_submitExtrinsic",
    /// Takes many operations in one message: a SCALE `Vec<Result<H256, String>>` in their order.
    SubmitBatch = "author_submitBatch",
    /// Takes an operation and tells how it goes on.
    SubmitAndWatch = "author_submitAndWatchExtrinsic",
    /// Hashes of the operations that wait.
    PendingExtrinsics = "author_pendingExtrinsics",
    /// Answers a query.
    ExecuteGetter = "state_executeGetter",
    /// Metadata of the state transition function.
    Metadata = "state_getMetadata",
    /// Header of the shard's newest block.
    Header = "chain_getHeader",
    /// Health of the worker: a SCALE `String`.
    Health = "system_health",
    /// Name of the worker: a SCALE `String`.
    Name = "system_name",
    /// Version of the worker: a SCALE `String`.
    Version = "system_version",
}

impl Method {
    /// The method that clients call by `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A method with its checked parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// [`Method::ShieldingKey`].
    ShieldingKey,
    /// [`Method::Shard`].
    Shard,
    /// [`Method::Fingerprint`].
    Fingerprint,
    /// [`Method::HpkeKey`].
    HpkeKey,
    /// [`Method::ShardVault`].
    ShardVault,
    /// [`Method::MuRaUrl`].
    MuRaUrl,
    /// [`Method::UntrustedUrl`].
    UntrustedUrl,
    /// [`Method::Submit`].
    Submit(Request),
    /// [`Method::SubmitBatch`]: [`MAX_SUBMIT_BATCH`] at most.
    SubmitBatch(Vec<Request>),
    /// [`Method::SubmitAndWatch`].
    SubmitAndWatch(Request),
    /// [`Method::PendingExtrinsics`]: of these shards.
    PendingExtrinsics(Vec<ShardId>),
    /// [`Method::ExecuteGetter`].
    ExecuteGetter(Request),
    /// [`Method::Metadata`].
    Metadata,
    /// [`Method::Header`].
    Header,
    /// [`Method::Health`].
    Health,
    /// [`Method::Name`].
    Name,
    /// [`Method::Version`].
    Version,
    /// A method of the shard's own business logic, one of [`crate::Handler::own_methods`].
    Own {
        /// Its name.
        method: &'static str,
        /// What it was given.
        params: Vec<u8>,
    },
}

/// Why a method's parameters were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// Only parameters by position exist.
    #[error("the parameters are not an array")]
    NotAnArray,
    /// A request is above its bound.
    #[error("the request is too large")]
    RequestTooLarge,
    /// Not one hex-encoded request and nothing after it. One answer for all ways to get it wrong.
    #[error("the first parameter is not a hex-encoded request")]
    MalformedRequest,
    /// Not one hex-encoded list of requests and nothing after it.
    #[error("the first parameter is not a hex-encoded list of requests")]
    MalformedBatch,
    /// More requests than [`MAX_SUBMIT_BATCH`].
    #[error("a batch has at most {MAX_SUBMIT_BATCH} requests")]
    TooManyRequests,
    /// Not one hex-encoded parameter of a method of the shard's own.
    #[error("the first parameter is not hex-encoded")]
    MalformedHex,
    /// More shards than [`MAX_SHARDS`].
    #[error("too many shards are named")]
    TooManyShards,
    /// Not 32 bytes in base58.
    #[error("a parameter is not a base58-encoded shard")]
    MalformedShard,
}

impl Call {
    /// Checks the parameters of `method`; there is no call for [`Method::RpcMethods`]. Methods without parameters ignore
    /// what they are given.
    pub(crate) fn parse(method: Method, params: &Value) -> Result<Option<Self>, ParamsError> {
        let params = match params {
            Value::Null => &[],
            Value::Array(params) => params.as_slice(),
            _ => return Err(ParamsError::NotAnArray),
        };
        Ok(Some(match method {
            Method::RpcMethods => return Ok(None),
            Method::ShieldingKey => Self::ShieldingKey,
            Method::Shard => Self::Shard,
            Method::Fingerprint => Self::Fingerprint,
            Method::HpkeKey => Self::HpkeKey,
            Method::ShardVault => Self::ShardVault,
            Method::MuRaUrl => Self::MuRaUrl,
            Method::UntrustedUrl => Self::UntrustedUrl,
            Method::Submit => Self::Submit(request(params)?),
            Method::SubmitBatch => Self::SubmitBatch(batch(params)?),
            Method::SubmitAndWatch => Self::SubmitAndWatch(request(params)?),
            Method::PendingExtrinsics => Self::PendingExtrinsics(shards(params)?),
            Method::ExecuteGetter => Self::ExecuteGetter(request(params)?),
            Method::Metadata => Self::Metadata,
            Method::Header => Self::Header,
            Method::Health => Self::Health,
            Method::Name => Self::Name,
            Method::Version => Self::Version,
        }))
    }

    /// Checks the parameters of a method of the shard's own: none, or one that is hex-encoded.
    pub(crate) fn parse_own(method: &'static str, params: &Value) -> Result<Self, ParamsError> {
        let param = match params {
            Value::Null => None,
            Value::Array(params) => params.first(),
            _ => return Err(ParamsError::NotAnArray),
        };
        let hex = param.map_or(Some(""), Value::as_str).ok_or(ParamsError::MalformedHex)?;
        let hex = hex.strip_prefix("0x").unwrap_or(hex);
        if hex.len() > MAX_REQUEST_HEX {
            return Err(ParamsError::RequestTooLarge);
        }
        Ok(Self::Own { method, params: hex::decode(hex).map_err(|_| ParamsError::MalformedHex)? })
    }

    /// For how many requests a call counts.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::SubmitBatch(requests) => requests.len().max(1),
            _ => 1,
        }
    }
}

impl ParamsError {
    /// For how many requests a call of `method` with such parameters counts: what cannot be read is not cheaper than what
    /// can.
    pub(crate) fn cost(method: Method) -> usize {
        if method == Method::SubmitBatch { MAX_SUBMIT_BATCH } else { 1 }
    }
}

fn request(params: &[Value]) -> Result<Request, ParamsError> {
    let hex = params.first().and_then(Value::as_str).ok_or(ParamsError::MalformedRequest)?;
    let hex = hex.strip_prefix("0x").unwrap_or(hex);
    if hex.len() > MAX_REQUEST_HEX {
        return Err(ParamsError::RequestTooLarge);
    }
    let bytes = hex::decode(hex).map_err(|_| ParamsError::MalformedRequest)?;
    Request::decode_all(&mut bytes.as_slice()).map_err(|_| ParamsError::MalformedRequest)
}

fn batch(params: &[Value]) -> Result<Vec<Request>, ParamsError> {
    let malformed = ParamsError::MalformedBatch;
    let hex = params.first().and_then(Value::as_str).ok_or(malformed)?;
    let bytes = hex::decode(hex.strip_prefix("0x").unwrap_or(hex)).map_err(|_| malformed)?;
    let mut input = bytes.as_slice();
    let Compact(length) = Compact::<u32>::decode(&mut input).map_err(|_| malformed)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_SUBMIT_BATCH {
        return Err(ParamsError::TooManyRequests);
    }
    let requests = (0..length).map(|_| Request::decode(&mut input)).collect::<Result<_, _>>().map_err(|_| malformed)?;
    if input.is_empty() { Ok(requests) } else { Err(malformed) }
}

fn shards(params: &[Value]) -> Result<Vec<ShardId>, ParamsError> {
    if params.len() > MAX_SHARDS {
        return Err(ParamsError::TooManyShards);
    }
    params.iter().map(|param| param.as_str().and_then(shard).ok_or(ParamsError::MalformedShard)).collect()
}

fn shard(base58: &str) -> Option<ShardId> {
    // Decoding takes quadratic time.
    if base58.len() > MAX_SHARD_BASE58 {
        return None;
    }
    let mut bytes = [0; 32];
    let length = bs58::decode(base58).onto(&mut bytes).ok()?;
    (length == bytes.len()).then_some(ShardId(H256(bytes)))
}

/// Most requests in one [`Call::SubmitBatch`]: in envelopes they take some 15 ms to open and verify, less than the longest
/// ciphertext of the published form.
pub const MAX_SUBMIT_BATCH: usize = 128;
/// Shard, length and ciphertext, two digits a byte.
const MAX_REQUEST_HEX: usize = 2 * (32 + 4 + MAX_CYPHERTEXT as usize);
/// Base58 digits of 32 bytes.
const MAX_SHARD_BASE58: usize = 44;
/// Most shards whose pending operations are asked for at once.
const MAX_SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use codec::Encode;
    use serde_json::json;

    use super::*;

    fn sample(length: usize) -> Request {
        Request { shard: ShardId(H256::repeat_byte(7)), cyphertext: vec![1; length].try_into().unwrap() }
    }

    #[test]
    fn names_lead_to_their_methods() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.name()), Some(method));
        }
        assert_eq!(Method::from_name("author_submitextrinsic"), None);
        assert_eq!(Method::ALL.len(), 18);
    }

    #[test]
    fn requests_come_with_or_without_prefix() {
        for length in [0, 3, MAX_CYPHERTEXT as usize] {
            let hex = hex::encode(sample(length).encode());
            for param in [hex.clone(), format!("0x{hex}"), hex.to_uppercase()] {
                let call = Call::parse(Method::Submit, &json!([param])).unwrap();
                assert_eq!(call, Some(Call::Submit(sample(length))));
            }
        }
    }

    #[test]
    fn malformed_requests_have_one_answer() {
        let hex = hex::encode(sample(3).encode());
        let too_long = {
            let mut bytes = sample(0).shard.encode();
            vec![0u8; MAX_CYPHERTEXT as usize + 1].encode_to(&mut bytes);
            bytes.truncate(MAX_REQUEST_HEX / 2);
            hex::encode(bytes)
        };
        for params in [
            json!(null),
            json!([]),
            json!([null]),
            json!([1]),
            json!([[hex]]),
            json!([""]),
            json!(["0x"]),
            json!(["0x0"]),
            json!(["zz"]),
            json!([format!("0x0x{hex}")]),
            json!([format!("{hex}00")]),
            json!([hex[..hex.len() - 2]]),
            json!([too_long]),
        ] {
            for method in [Method::Submit, Method::SubmitAndWatch, Method::ExecuteGetter] {
                assert_eq!(Call::parse(method, &params), Err(ParamsError::MalformedRequest), "{params}");
            }
        }
    }

    #[test]
    fn an_oversized_request_is_named_so() {
        let params = json!(["00".repeat(MAX_REQUEST_HEX / 2 + 1)]);
        assert_eq!(Call::parse(Method::Submit, &params), Err(ParamsError::RequestTooLarge));
    }

    #[test]
    fn parameters_by_name_are_refused() {
        for params in [json!({"request": "00"}), json!("00"), json!(1), json!(true)] {
            assert_eq!(Call::parse(Method::Submit, &params), Err(ParamsError::NotAnArray));
            assert_eq!(Call::parse(Method::Shard, &params), Err(ParamsError::NotAnArray));
        }
    }

    #[test]
    fn methods_of_the_shards_own_take_one_hex_parameter_or_none() {
        let own = |params: &[u8]| Ok(Call::Own { method: "game_last", params: params.to_vec() });
        for (params, expected) in [
            (json!(null), own(&[])),
            (json!([]), own(&[])),
            (json!([""]), own(&[])),
            (json!(["0x"]), own(&[])),
            (json!(["0x01ff"]), own(&[1, 255])),
            (json!(["01FF", 7]), own(&[1, 255])),
            (json!({}), Err(ParamsError::NotAnArray)),
            (json!("01"), Err(ParamsError::NotAnArray)),
            (json!([1]), Err(ParamsError::MalformedHex)),
            (json!([null]), Err(ParamsError::MalformedHex)),
            (json!(["0x1"]), Err(ParamsError::MalformedHex)),
            (json!(["zz"]), Err(ParamsError::MalformedHex)),
            (json!(["00".repeat(MAX_REQUEST_HEX / 2 + 1)]), Err(ParamsError::RequestTooLarge)),
        ] {
            assert_eq!(Call::parse_own("game_last", &params), expected, "{params}");
        }
    }

    #[test]
    fn superfluous_parameters_are_ignored() {
        assert_eq!(Call::parse(Method::Shard, &json!([1, {}])), Ok(Some(Call::Shard)));
        assert_eq!(Call::parse(Method::RpcMethods, &json!([1])), Ok(None));
    }

    #[test]
    fn shards_are_base58() {
        let shards = [ShardId(H256::zero()), ShardId(H256::repeat_byte(0xff))];
        let params = shards.map(|shard| bs58::encode(shard.0).into_string());
        assert_eq!(
            Call::parse(Method::PendingExtrinsics, &json!(params)),
            Ok(Some(Call::PendingExtrinsics(shards.to_vec())))
        );
        assert_eq!(Call::parse(Method::PendingExtrinsics, &json!([])), Ok(Some(Call::PendingExtrinsics(vec![]))));
        for malformed in [
            json!([""]),
            json!([1]),
            json!(["0OIl"]),
            json!([bs58::encode([1; 31]).into_string()]),
            json!([bs58::encode([1; 33]).into_string()]),
            json!(["1".repeat(100_000)]),
            json!(["é".repeat(23)]),
            json!([&params[..]]),
        ] {
            assert_eq!(Call::parse(Method::PendingExtrinsics, &malformed), Err(ParamsError::MalformedShard));
        }
        let many = vec![params[0].clone(); MAX_SHARDS + 1];
        assert_eq!(Call::parse(Method::PendingExtrinsics, &json!(many)), Err(ParamsError::TooManyShards));
    }
}
