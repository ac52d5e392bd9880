//! What a node may not tell, however well formed: keys that were not asked for, lists without an end, types that
//! contain themselves.

use cloister_chain_primitives::{AccountId, EnclaveRecord, H256, ShardId, storage};
use cloister_claims::Advisory;
use codec::{Compact, Encode};
use jsonrpsee::{
    RpcModule,
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
};
use scale_info::TypeInfo;
use serde_json::{Value, json};
use sp_crypto_hashing::blake2_256;

use super::*;
use crate::shard::tests::record;

const HEAD: H256 = H256([1; 32]);

/// A node that answers all questions for storage as it likes; `keys` and `value` are given the method's parameters.
async fn node(
    keys: impl Fn(&[Value]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    value: impl Fn(&str) -> Option<Vec<u8>> + Clone + Send + Sync + 'static,
    metadata: Vec<u8>,
) -> (LayerOne, ServerHandle) {
    let mut module = RpcModule::new(());
    module.register_method("chain_getBlockHash", |_, _, _| json!(HEAD)).unwrap();
    module.register_method("chain_getFinalizedHead", |_, _, _| json!(HEAD)).unwrap();
    module
        .register_method("state_getRuntimeVersion", |_, _, _| json!({ "specVersion": 1, "transactionVersion": 1 }))
        .unwrap();
    module.register_method("state_getMetadata", move |_, _, _| to_hex(&metadata)).unwrap();
    module
        .register_method("state_getKeysPaged", move |parameters, _, _| {
            let parameters: Vec<Value> = parameters.parse()?;
            Ok::<_, ErrorObjectOwned>(keys(&parameters).iter().map(|key| to_hex(key)).collect::<Vec<_>>())
        })
        .unwrap();
    let stored = value.clone();
    module
        .register_method("state_getStorage", move |parameters, _, _| {
            let (key, _): (String, H256) = parameters.parse()?;
            Ok::<_, ErrorObjectOwned>(stored(&key).map(|value| to_hex(&value)))
        })
        .unwrap();
    module
        .register_method("state_queryStorageAt", move |parameters, _, _| {
            let (keys, at): (Vec<String>, H256) = parameters.parse()?;
            let changes: Vec<_> = keys.iter().map(|key| (key, value(key).map(|value| to_hex(&value)))).collect();
            Ok::<_, ErrorObjectOwned>(json!([{ "block": at, "changes": changes }]))
        })
        .unwrap();
    let server = Server::builder().max_response_body_size(1 << 30).build("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let handle = server.start(module);
    (LayerOne::connect(&url).await.unwrap(), handle)
}

/// Why the registry of a node with these keys is not read.
async fn unread(keys: impl Fn(&[Value]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Error {
    let (layer_one, _handle) = node(keys, |_| Some(record().encode()), Vec::new()).await;
    layer_one.enclaves().await.unwrap_err()
}

fn account(number: u32) -> AccountId {
    AccountId::new(blake2_256(&number.encode()))
}

/// A page of the registry's keys.
fn page(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    let mut keys: Vec<_> = numbers.map(|number| storage::enclave(&account(number))).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn storage_map_keys_that_were_not_asked_for_are_refused() {
    let (registered, other) = (storage::enclave(&account(1)), storage::shard(&ShardId(H256::repeat_byte(7))));
    let altered = |change: fn(&mut Vec<u8>)| {
        let mut key = registered.clone();
        change(&mut key);
        key
    };
    let strangers = [
        other,
        storage::enclaves_prefix(),
        Vec::new(),
        // Another account under the same hash, and what is longer or shorter than a key.
        altered(|key| *key.last_mut().unwrap() ^= 1),
        altered(|key| key.insert(32, 7)),
        altered(|key| {
            key.truncate(63);
        }),
    ];
    for stranger in strangers {
        let error = unread(move |_| vec![stranger.clone()]).await;
        assert_eq!(
            error.to_string(),
            "the node's answer about storage keys is malformed: a key that was not asked for"
        );
    }
    let (layer_one, _handle) = node(move |_| vec![registered.clone()], |_| Some(record().encode()), Vec::new()).await;
    assert_eq!(layer_one.enclaves().await.unwrap(), [(account(1), record())]);
}

#[tokio::test]
async fn a_storage_map_that_begins_again_is_not_read_for_ever() {
    // The same full page whatever was asked for, one that goes back by a key, and a key twice.
    let again = unread(|_| page(0..256)).await;
    let back = unread(|parameters| match &parameters[2] {
        Value::Null => page(0..256),
        _ => page(255..300),
    })
    .await;
    let twice = unread(|_| [page(0..1), page(0..1)].concat()).await;
    for error in [again, back, twice] {
        assert_eq!(error.to_string(), "the node's answer about storage keys is malformed: they do not ascend");
    }
    let error = unread(|_| page(0..257)).await;
    let expected = "the node's answer about storage keys is malformed: more of them than were asked for";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_storage_map_without_an_end_is_not_read_for_ever() {
    let advisory = Advisory::try_from("INTEL-SA-".to_string() + &"9".repeat(51)).unwrap();
    let large = EnclaveRecord { advisories: vec![advisory; 900], ..record() }.encode();
    // Ascending, page after page.
    let mut keys: Vec<Vec<u8>> = page(0..4_096);
    keys.dedup();
    let next = move |parameters: &[Value]| {
        let start = parameters[2].as_str().map(|start| hex::decode(&start[2..]).unwrap());
        let after = keys.iter().filter(|key| start.as_ref().is_none_or(|start| *key > start));
        after.take(256).cloned().collect()
    };
    let (layer_one, _handle) = node(next, move |_| Some(large.clone()), Vec::new()).await;
    let error = layer_one.enclaves().await.unwrap_err();
    assert!(matches!(error, Error::TooMany { what: "bytes in a storage map", .. }) && !error.is_refusal(), "{error}");
}

#[tokio::test]
async fn more_numbers_than_there_can_be_are_not_asked_for() {
    let (layer_one, _handle) = node(|_| Vec::new(), |_| None, Vec::new()).await;
    let shard = ShardId::default();
    let (shields, verdicts) = tokio::join!(
        layer_one.shields_at(&shard, 0..u64::MAX, HEAD),
        layer_one.verdicts_at(&shard, 1..(1 << 20) + 2, HEAD)
    );
    let [shields, verdicts] = [shields.unwrap_err(), verdicts.unwrap_err()];
    assert_eq!(shields.to_string(), "the node tells of more than 1048576 entries of an inbox");
    assert_eq!(verdicts.to_string(), "the node tells of more than 1048576 entries of an outbox");
    // Numbers that run backwards are none, and an entry that is missing ends the reading.
    #[allow(clippy::reversed_empty_ranges, reason = "what a node may state")]
    let backwards = layer_one.shields_at(&shard, 9..2, HEAD).await.unwrap();
    assert_eq!(backwards, 0);
    let error = layer_one.shields_at(&shard, 0..1 << 20, HEAD).await.unwrap_err();
    assert_eq!(error.to_string(), "the node's answer about the inbox is malformed: an entry is missing");
}

#[derive(TypeInfo)]
#[allow(dead_code, reason = "only described")]
struct Endless(Box<Endless>);

#[derive(TypeInfo)]
#[allow(dead_code, reason = "only described")]
enum Nested {
    Deeper(Box<Nested>),
}

type Doubled<T> = (T, T);
type Sixteen = Doubled<Doubled<Doubled<Doubled<()>>>>;
type Many = [[[[[Sixteen; 16]; 16]; 16]; 16]; 16];

/// Why these bytes are not read as events that a runtime describes so.
async fn undecoded<Records: TypeInfo + 'static>(bytes: Vec<u8>) -> String {
    let (layer_one, _handle) =
        node(|_| Vec::new(), move |_| Some(bytes.clone()), runtime_metadata::<Records>(Vec::new())).await;
    let error = layer_one.events(HEAD).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn events_of_types_that_contain_themselves_are_refused() {
    let malformed = |reason| format!("the node's answer about events is malformed: {reason}");
    assert_eq!(undecoded::<Vec<Endless>>(vec![1 << 2]).await, malformed("its types are nested too deeply"));
    let deep = [vec![1 << 2], vec![0; 1 << 20]].concat();
    assert_eq!(undecoded::<Vec<Nested>>(deep).await, malformed("its types are nested too deeply"));
}

#[tokio::test]
async fn a_few_bytes_are_not_read_as_billions_of_events() {
    let malformed = "the node's answer about events is malformed: it has too many parts";
    assert_eq!(undecoded::<Vec<()>>(Compact(u32::MAX).encode()).await, malformed);
    assert_eq!(undecoded::<Vec<Many>>(Compact(7u32).encode()).await, malformed);
    assert_eq!(undecoded::<[(); 1 << 30]>(Vec::new()).await, malformed);
    // As long as an answer can be.
    let bytes = vec![0u8; 4 << 20];
    assert_eq!(undecoded::<Vec<u8>>(bytes.encode()).await, malformed);
}
