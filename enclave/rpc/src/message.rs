//! JSON-RPC 2.0 messages.

use cloister_wire::{DirectRequestStatus, H256, RpcReturnValue};
use codec::Encode;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::StatusUpdate;

/// What a client sent in one message.
#[derive(PartialEq, Debug)]
pub(crate) enum Incoming {
    /// One request.
    Single(Result<Request, Refused>),
    /// Several, to be answered in one message.
    Batch(Vec<Result<Request, Refused>>),
}

/// A request before its method's parameters were looked at.
#[derive(PartialEq, Debug)]
pub(crate) struct Request {
    /// Number, string or null. Absent for what JSON-RPC calls a notification, which has no answer.
    pub id: Option<Value>,
    pub method: String,
    pub params: Value,
}

/// What is answered by an error object: only what is no request to a known method. Published clients read an error
/// object as an empty success, so refusals of methods are [`RpcReturnValue`]s.
#[derive(PartialEq, Debug)]
pub(crate) struct Refused {
    pub id: Value,
    pub problem: Problem,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    ParseError,
    InvalidRequest,
    MethodNotFound,
    MessageTooLarge,
    BatchTooLarge,
    AnswersTooLarge,
}

impl Incoming {
    pub(crate) fn parse(bytes: &[u8], max_batch: usize) -> Self {
        match serde_json::from_slice(bytes) {
            Err(_) => Self::Single(Err(Refused { id: Value::Null, problem: Problem::ParseError })),
            Ok(Value::Array(entries)) if entries.is_empty() => Self::Single(Err(INVALID)),
            Ok(Value::Array(entries)) if entries.len() > max_batch => {
                Self::Single(Err(Refused { id: Value::Null, problem: Problem::BatchTooLarge }))
            }
            Ok(Value::Array(entries)) => Self::Batch(entries.into_iter().map(Request::parse).collect()),
            Ok(entry) => Self::Single(Request::parse(entry)),
        }
    }
}

impl Incoming {
    /// For how many requests a message counts: what cannot be read is not cheaper than what can.
    pub(crate) fn cost(&self, max_batch: usize) -> usize {
        match self {
            Self::Batch(requests) => requests.len(),
            Self::Single(Err(Refused { problem: Problem::BatchTooLarge, .. })) => max_batch,
            Self::Single(_) => 1,
        }
    }
}

impl Request {
    fn parse(entry: Value) -> Result<Self, Refused> {
        let Value::Object(mut fields) = entry else { return Err(INVALID) };
        let id = fields.remove("id");
        if !matches!(id, None | Some(Value::Null | Value::Number(_) | Value::String(_))) {
            return Err(INVALID);
        }
        let method = fields.remove("method");
        match (fields.get("jsonrpc"), method) {
            (Some(Value::String(version)), Some(Value::String(method))) if version == VERSION => {
                Ok(Self { id, method, params: flat(fields.remove("params").unwrap_or_default()) })
            }
            _ => Err(Refused { id: id.unwrap_or_default(), problem: Problem::InvalidRequest }),
        }
    }
}

/// Parameters without what no method reads. Nested JSON takes ninety times its length in memory, too much to be kept
/// while a request waits for its answer.
fn flat(params: Value) -> Value {
    match params {
        Value::Array(mut params) => {
            params.truncate(MAX_PARAMS);
            params.shrink_to_fit();
            for param in &mut params {
                if matches!(param, Value::Array(_) | Value::Object(_)) {
                    *param = Value::Null;
                }
            }
            Value::Array(params)
        }
        Value::Object(_) => Value::Object(Map::new()),
        scalar => scalar,
    }
}

/// The answer to one request.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Response {
    Result { jsonrpc: &'static str, result: String, id: Value },
    Error { jsonrpc: &'static str, error: ErrorObject, id: Value },
}

#[derive(Serialize)]
pub(crate) struct ErrorObject {
    code: i32,
    message: &'static str,
}

impl Response {
    /// The usual result: a [`RpcReturnValue`] in hex.
    pub(crate) fn value(value: &RpcReturnValue, id: Value) -> Self {
        Self::Result { jsonrpc: VERSION, result: prefixed_hex(&value.encode()), id }
    }

    /// The first answer to a watched submission: the bare hash.
    pub(crate) fn hash(hash: &H256, id: Value) -> Self {
        Self::Result { jsonrpc: VERSION, result: prefixed_hex(hash.as_bytes()), id }
    }

    /// Bytes that wait to be sent, but for the few around them.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Result { result, .. } => result.len(),
            Self::Error { .. } => 0,
        }
    }

    /// An error object.
    pub(crate) fn refused(refused: Refused) -> Self {
        let (code, message) = match refused.problem {
            Problem::ParseError => (-32_700, "Parse error"),
            Problem::InvalidRequest => (-32_600, "Invalid request"),
            Problem::MethodNotFound => (-32_601, "Method not found"),
            // As the node's server says it.
            Problem::MessageTooLarge => (-32_007, "Request is too big"),
            Problem::BatchTooLarge => (-32_010, "The batch request was too large"),
            Problem::AnswersTooLarge => (-32_011, "The batch response was too large"),
        };
        Self::Error { jsonrpc: VERSION, error: ErrorObject { code, message }, id: refused.id }
    }
}

/// A change of status as published clients expect it: under the method's own name, under a constant id.
#[derive(Serialize)]
pub(crate) struct Notification {
    jsonrpc: &'static str,
    id: u8,
    method: &'static str,
    params: NotificationParams,
}

#[derive(Serialize)]
struct NotificationParams {
    error: Option<String>,
    result: String,
    subscription: String,
}

impl Notification {
    pub(crate) fn new(operation: &H256, update: StatusUpdate) -> Self {
        let status = DirectRequestStatus::TrustedOperationStatus(update.status);
        Self {
            jsonrpc: VERSION,
            id: 1,
            method: crate::Method::SubmitAndWatch.name(),
            params: NotificationParams {
                error: update.error,
                result: prefixed_hex(&status.encode()),
                subscription: prefixed_hex(operation.as_bytes()),
            },
        }
    }
}

fn prefixed_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

const VERSION: &str = "2.0";
/// Parameters that are kept: above what any method takes.
const MAX_PARAMS: usize = 32;
const INVALID: Refused = Refused { id: Value::Null, problem: Problem::InvalidRequest };

#[cfg(test)]
mod tests {
    use cloister_wire::TrustedOperationStatus;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Incoming {
        Incoming::parse(text.as_bytes(), 3)
    }

    fn problem(id: Value, problem: Problem) -> Result<Request, Refused> {
        Err(Refused { id, problem })
    }

    #[test]
    fn ids_are_numbers_strings_null_or_absent() {
        for (field, id) in [
            (r#","id":1"#, Some(json!(1))),
            (r#","id":-9007199254740993"#, Some(json!(-9_007_199_254_740_993_i64))),
            (r#","id":"a\"b""#, Some(json!("a\"b"))),
            (r#","id":null"#, Some(Value::Null)),
            ("", None),
        ] {
            let request = Request { id, method: "m".into(), params: Value::Null };
            assert_eq!(parse(&format!(r#"{{"jsonrpc":"2.0","method":"m"{field}}}"#)), Incoming::Single(Ok(request)));
        }
        for id in ["true", "[1]", "{}"] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#);
            assert_eq!(parse(&text), Incoming::Single(problem(Value::Null, Problem::InvalidRequest)));
        }
    }

    #[test]
    fn what_is_no_json_is_a_parse_error() {
        for text in ["", "{", "nonsense", r#"{"jsonrpc":"2.0"} x"#, "\u{feff}{}", &"[".repeat(100_000)] {
            assert_eq!(parse(text), Incoming::Single(problem(Value::Null, Problem::ParseError)));
        }
        assert_eq!(Incoming::parse(&[0xff], 3), Incoming::Single(problem(Value::Null, Problem::ParseError)));
    }

    #[test]
    fn what_is_no_request_is_invalid() {
        for (text, id) in [
            ("1", json!(null)),
            ("null", json!(null)),
            ("[]", json!(null)),
            ("{}", json!(null)),
            (r#"{"method":"m","id":4}"#, json!(4)),
            (r#"{"jsonrpc":"1.0","method":"m","id":"x"}"#, json!("x")),
            (r#"{"jsonrpc":2.0,"method":"m","id":4}"#, json!(4)),
            (r#"{"jsonrpc":"2.0","method":1,"id":4}"#, json!(4)),
            (r#"{"jsonrpc":"2.0","id":4}"#, json!(4)),
        ] {
            assert_eq!(parse(text), Incoming::Single(problem(id, Problem::InvalidRequest)), "{text}");
        }
    }

    #[test]
    fn what_no_method_reads_is_not_kept() {
        for (params, kept) in [
            (json!([{"a": [1]}, "x", [["y"]], 7]), json!([null, "x", null, 7])),
            (json!(vec![1; 10_000]), json!(vec![1; MAX_PARAMS])),
            (json!({"a": {}}), json!({})),
            (json!("x"), json!("x")),
        ] {
            let text = json!({"jsonrpc": "2.0", "method": "m", "params": params}).to_string();
            let Incoming::Single(Ok(request)) = parse(&text) else { panic!("a request") };
            assert_eq!(request.params, kept);
            if let Value::Array(params) = request.params {
                assert!(params.capacity() <= MAX_PARAMS);
            }
        }
    }

    #[test]
    fn batches_are_bounded_and_keep_their_order() {
        let Incoming::Batch(entries) = parse(r#"[{"jsonrpc":"2.0","method":"a","id":1},2,{"id":3}]"#) else {
            panic!("a batch")
        };
        assert_eq!(entries[0], Ok(Request { id: Some(json!(1)), method: "a".into(), params: Value::Null }));
        assert_eq!(entries[1], problem(Value::Null, Problem::InvalidRequest));
        assert_eq!(entries[2], problem(json!(3), Problem::InvalidRequest));
        assert_eq!(parse("[1,2,3,4]"), Incoming::Single(problem(Value::Null, Problem::BatchTooLarge)));
    }

    #[test]
    fn answers_are_frozen() {
        let text = |response: &Response| serde_json::to_string(response).unwrap();
        assert_eq!(
            text(&Response::value(&RpcReturnValue::ok(7u32), json!(1))),
            r#"{"jsonrpc":"2.0","result":"0x10070000000000","id":1}"#
        );
        assert_eq!(
            text(&Response::hash(&H256::repeat_byte(0xab), json!("x"))),
            format!(r#"{{"jsonrpc":"2.0","result":"0x{}","id":"x"}}"#, "ab".repeat(32))
        );
        for (problem, code, message) in [
            (Problem::ParseError, -32_700, "Parse error"),
            (Problem::InvalidRequest, -32_600, "Invalid request"),
            (Problem::MethodNotFound, -32_601, "Method not found"),
            (Problem::MessageTooLarge, -32_007, "Request is too big"),
            (Problem::BatchTooLarge, -32_010, "The batch request was too large"),
            (Problem::AnswersTooLarge, -32_011, "The batch response was too large"),
        ] {
            assert_eq!(
                text(&Response::refused(Refused { id: Value::Null, problem })),
                format!(r#"{{"jsonrpc":"2.0","error":{{"code":{code},"message":"{message}"}},"id":null}}"#)
            );
        }
    }

    #[test]
    fn notifications_are_frozen() {
        let text = |status, error: Option<&str>| {
            let update = StatusUpdate { status, error: error.map(Into::into), last: false };
            serde_json::to_string(&Notification::new(&H256::repeat_byte(0xab), update)).unwrap()
        };
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"author_submitAndWatchExtrinsic","params":"#;
        let subscription = format!(r#""subscription":"0x{}"}}}}"#, "ab".repeat(32));
        assert_eq!(
            text(TrustedOperationStatus::InSidechainBlock(H256::repeat_byte(0xcd)), None),
            format!(r#"{head}{{"error":null,"result":"0x0104{}",{subscription}"#, "cd".repeat(32))
        );
        assert_eq!(
            text(TrustedOperationStatus::Invalid, Some("too \"little\" money")),
            format!(r#"{head}{{"error":"too \"little\" money","result":"0x010a",{subscription}"#)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Incoming::parse(&bytes, 3);
        }

        #[test]
        fn any_json_like_text_is_a_message(text in r#"[\[\]{}:,"a-z0-9. ]{0,80}"#) {
            parse(&text);
        }
    }
}
