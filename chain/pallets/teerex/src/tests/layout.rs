//! What enclaves, clients and published tools know of this pallet without its metadata. The runtime's tests compare storage
//! keys and call indices.

use cloister_chain_primitives::{RegistrationRefused, storage};
use codec::{Decode, Encode};
use frame_support::traits::GetStorageVersion;

use crate::{Error, Event, mock::*};

#[test]
fn storage_version_stands_in_the_genesis() {
    run(|| {
        assert_eq!(Teerex::on_chain_storage_version(), storage::TEEREX_VERSION);
        let stored = sp_io::storage::get(&storage::teerex_version()).expect("written at genesis");
        assert_eq!(u16::decode(&mut &stored[..]), Ok(storage::TEEREX_VERSION));
    });
}

#[test]
fn events_and_errors_keep_their_numbers() {
    let account = enclave().account;
    let until = 0;
    let reason = RegistrationRefused::TooSoon;
    assert_eq!(Event::<Test>::RemovedSovereignEnclave(account.clone()).encode()[0], 1);
    assert_eq!(Event::<Test>::LeavingEnclave { account, reason, until }.encode()[0], 3);
    assert_eq!(Event::<Test>::PolicyChanged.encode(), [6]);
    assert_eq!(Error::<Test>::Registration(reason.into()).encode(), [0, 7]);
    assert_eq!(Error::<Test>::Registration(RegistrationRefused::Deposit.into()).encode(), [0, 10]);
    assert_eq!(Error::<Test>::Collateral(cloister_attestation::Error::RootUnknown.into()).encode(), [1, 2]);
    assert_eq!(Error::<Test>::EvidenceAgeOutOfRange.encode(), [11]);
    assert_eq!(Error::<Test>::EvaluationTooNew.encode(), [14]);
    assert_eq!(Event::<Test>::EvaluationLimitSet(None).encode(), [7, 0]);
    assert_eq!(crate::Call::<Test>::set_evaluation_limit { limit: Some(17) }.encode(), [14, 1, 17, 0, 0, 0]);
}
