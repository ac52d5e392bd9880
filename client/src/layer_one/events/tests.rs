//! Events of a runtime that the test describes.

use codec::{Compact, Encode};
use frame_metadata::v14::{
    ExtrinsicMetadata, PalletErrorMetadata, PalletMetadata, PalletStorageMetadata, StorageEntryMetadata,
    StorageEntryModifier,
};
use scale_info::{TypeInfo, meta_type};
use sp_runtime::{ArithmeticError, ModuleError, TokenError};

use super::*;

#[derive(Encode, TypeInfo)]
struct EventRecord {
    phase: Phase,
    event: RuntimeEvent,
    topics: Vec<[u8; 32]>,
}

#[derive(Encode, TypeInfo)]
enum Phase {
    ApplyExtrinsic(u32),
    Finalization,
}

#[derive(Encode, TypeInfo)]
enum RuntimeEvent {
    #[codec(index = 0)]
    System(SystemEvent),
    #[codec(index = 5)]
    Sudo(SudoEvent),
    #[codec(index = 10)]
    Balances(BalancesEvent),
}

#[derive(Encode, TypeInfo)]
enum SystemEvent {
    #[codec(index = 1)]
    ExtrinsicFailed { dispatch_error: DispatchError, class: Option<u8> },
}

#[derive(Encode, TypeInfo)]
enum SudoEvent {
    #[codec(index = 0)]
    Sudid { sudo_result: Result<(), DispatchError> },
}

#[derive(Encode, TypeInfo)]
enum BalancesEvent {
    #[codec(index = 2)]
    Transfer { from: AccountId, amount: u128, fee: Compact<u128>, block: u32, note: Vec<u8>, tag: Option<[u8; 4]> },
}

#[derive(TypeInfo)]
#[allow(dead_code, reason = "only described")]
enum BridgeError {
    /// Another one.
    #[codec(index = 0)]
    Maintenance,
    /// No shard has this id.
    #[codec(index = 3)]
    UnknownShard,
    /// Refused.
    #[codec(index = 4)]
    Refused(Wrapper),
}

#[derive(TypeInfo)]
#[allow(dead_code, reason = "only described")]
struct Wrapper(Reason);

#[derive(TypeInfo)]
#[allow(dead_code, reason = "only described")]
enum Reason {
    /// At another time.
    #[codec(index = 7)]
    Expired,
}

fn pallet(name: &'static str, index: u8) -> PalletMetadata {
    PalletMetadata { name, storage: None, calls: None, event: None, constants: Vec::new(), error: None, index }
}

/// Encoded metadata of a runtime whose `System.Events` are `Records`.
pub(crate) fn runtime_metadata<Records: TypeInfo + 'static>(others: Vec<PalletMetadata>) -> Vec<u8> {
    let events = StorageEntryMetadata {
        name: "Events",
        modifier: StorageEntryModifier::Default,
        ty: StorageEntryType::Plain(meta_type::<Records>()),
        default: Vec::new(),
        docs: Vec::new(),
    };
    let mut system = pallet("System", 0);
    system.storage = Some(PalletStorageMetadata { prefix: "System", entries: vec![events] });
    let extrinsic = ExtrinsicMetadata { ty: meta_type::<()>(), version: 4, signed_extensions: Vec::new() };
    let pallets = [vec![system], others].concat();
    RuntimeMetadataPrefixed::from(RuntimeMetadataV14::new(pallets, extrinsic, meta_type::<()>())).encode()
}

fn metadata() -> Metadata {
    let mut bridge = pallet("EnclaveBridge", 54);
    bridge.error = Some(PalletErrorMetadata { ty: meta_type::<BridgeError>() });
    Metadata::decode(&runtime_metadata::<Vec<EventRecord>>(vec![bridge])).unwrap()
}

fn failed(dispatch_error: DispatchError) -> EventRecord {
    let event = RuntimeEvent::System(SystemEvent::ExtrinsicFailed { dispatch_error, class: None });
    EventRecord { phase: Phase::ApplyExtrinsic(2), event, topics: Vec::new() }
}

fn failure(error: DispatchError) -> String {
    let events = metadata().events(&vec![failed(error)].encode()).unwrap();
    assert_eq!(events[0].extrinsic, Some(2));
    events[0].failure().unwrap().name.clone()
}

#[test]
fn fields_are_readable() {
    let event = BalancesEvent::Transfer {
        from: AccountId::new([1; 32]),
        amount: 5,
        fee: Compact(u128::MAX),
        block: 6,
        note: vec![7, 8],
        tag: Some([9; 4]),
    };
    let event = RuntimeEvent::Balances(event);
    let records = vec![EventRecord { phase: Phase::Finalization, event, topics: vec![[0; 32]] }];
    let events = metadata().events(&records.encode()).unwrap();
    let fields = json!({
        "from": AccountId::new([1; 32]).to_string(),
        "amount": "5",
        "fee": u128::MAX.to_string(),
        "block": 6,
        "note": "0x0708",
        "tag": "0x09090909",
    });
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.pallet.as_str(), event.name.as_str()), ("Balances", "Transfer"));
    assert_eq!((event.extrinsic, event.failure()), (None, None));
    assert_eq!(event.fields, fields);
    assert!(event.to_string().starts_with("balances.Transfer {"), "{event}");
}

#[test]
fn failures_have_the_names_that_the_runtime_gives_them() {
    let unknown = DispatchError::Module(ModuleError { index: 54, error: [3, 0, 0, 0], message: None });
    assert_eq!(failure(unknown), "enclaveBridge.UnknownShard");
    let nested = DispatchError::Module(ModuleError { index: 54, error: [4, 7, 0, 0], message: None });
    assert_eq!(failure(nested), "enclaveBridge.Refused(Expired)");
    assert_eq!(failure(DispatchError::Token(TokenError::FundsUnavailable)), "token.FundsUnavailable");
    assert_eq!(failure(DispatchError::Arithmetic(ArithmeticError::Overflow)), "arithmetic.Overflow");
    assert_eq!(failure(DispatchError::BadOrigin), "badOrigin");
    let failed = failed(DispatchError::Token(TokenError::BelowMinimum));
    let events = metadata().events(&vec![failed].encode()).unwrap();
    let failure_text = events[0].failure().unwrap().to_string();
    assert_eq!(failure_text, "token.BelowMinimum (Account cannot exist with the funds that would be given)");
    // An error that no pallet lists is still told apart.
    let foreign = DispatchError::Module(ModuleError { index: 77, error: [3, 0, 0, 0], message: None });
    assert_eq!(failure(foreign), "module");
}

#[test]
fn what_root_could_not_do_is_a_failure_too() {
    let sudid = |sudo_result| EventRecord {
        phase: Phase::ApplyExtrinsic(0),
        event: RuntimeEvent::Sudo(SudoEvent::Sudid { sudo_result }),
        topics: Vec::new(),
    };
    let records = vec![sudid(Ok(())), sudid(Err(DispatchError::BadOrigin))];
    let events = metadata().events(&records.encode()).unwrap();
    assert_eq!(events[0].failure(), None);
    assert_eq!(events[1].failure().unwrap().name, "badOrigin");
}

#[test]
fn bytes_that_are_no_events_are_refused() {
    let mut bytes = vec![failed(DispatchError::BadOrigin)].encode();
    bytes.push(0);
    assert!(matches!(metadata().events(&bytes), Err(Error::Malformed { what: "events", .. })));
    bytes.truncate(4);
    assert!(matches!(metadata().events(&bytes), Err(Error::Malformed { what: "events", .. })));
    assert!(matches!(Metadata::decode(b"meta\xff"), Err(Error::Malformed { what: "metadata", .. })));
}

#[test]
fn a_compact_form_of_itself_is_refused() {
    let mut metadata = metadata();
    let Some(compact) =
        metadata.runtime.types.types.iter_mut().find(|described| matches!(described.ty.type_def, TypeDef::Compact(_)))
    else {
        panic!("no compact type")
    };
    let TypeDef::Compact(inner) = &mut compact.ty.type_def else { unreachable!() };
    inner.type_param = compact.id.into();
    let event = BalancesEvent::Transfer {
        from: AccountId::new([1; 32]),
        amount: 5,
        fee: Compact(6),
        block: 6,
        note: Vec::new(),
        tag: None,
    };
    let event = RuntimeEvent::Balances(event);
    let records = vec![EventRecord { phase: Phase::Finalization, event, topics: Vec::new() }];
    let error = metadata.events(&records.encode()).unwrap_err().to_string();
    assert!(error.ends_with("something is compact that is no number"), "{error}");
}
