//! `misbehaving-enclave`: an enclave whose calls loop, grow, panic or end it, depending on the amount. For tests only.

use std::process::ExitCode;

use cloister_enclave::Payments;
use cloister_stf::{Execution, Program};
use cloister_testing::misbehaviour::{ABORTS, COMPUTES, GROWS, PANICS, READS, WEIGHS, WEIGHT, WRITES};
use cloister_wire::TrustedCall;

fn main() -> ExitCode {
    cloister_enclave::main("misbehaving-enclave", &cloister_tee::sim::Simulated, &Misbehaving)
}

/// Payments, but for some amounts.
struct Misbehaving;

impl Program for Misbehaving {
    fn weight(&self, call: &TrustedCall) -> u64 {
        match call {
            TrustedCall::BalanceTransfer(.., WEIGHS) => WEIGHT,
            call => Payments.weight(call),
        }
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        let TrustedCall::BalanceTransfer(.., amount) = call else { return Payments.execute(call, execution) };
        match *amount {
            READS => loop {
                sp_io::storage::exists(b"misbehaviour");
            },
            WRITES => loop {
                sp_io::storage::set(b"misbehaviour", b"");
            },
            GROWS => {
                let mut value = vec![0];
                loop {
                    value.extend_from_within(..);
                    sp_io::storage::set(b"misbehaviour", &value);
                }
            }
            COMPUTES => loop {
                std::hint::spin_loop();
            },
            PANICS => panic!("the call wants it so"),
            ABORTS => std::process::abort(),
            _ => Payments.execute(call, execution),
        }
    }
}
