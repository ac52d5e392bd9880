//! By concern. All evidence hangs on the development root and is verified as on a real chain.

mod collateral;
mod eviction;
mod layout;
mod policy;
mod registration;

use cloister_chain_primitives::RegistrationRefused;
use sp_runtime::DispatchError;

use crate::{Error, mock::*};

/// Events of this pallet in this block, in order.
fn events() -> Vec<crate::Event<Test>> {
    let ours = |record: frame_system::EventRecord<RuntimeEvent, _>| match record.event {
        RuntimeEvent::Teerex(event) => Some(event),
        _ => None,
    };
    System::events().into_iter().filter_map(ours).collect()
}

fn refused(refused: RegistrationRefused) -> DispatchError {
    Error::<Test>::Registration(refused.into()).into()
}

fn not_genuine(error: cloister_attestation::Error) -> DispatchError {
    Error::<Test>::Collateral(error.into()).into()
}
