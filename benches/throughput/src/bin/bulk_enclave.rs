//! `bulk-enclave`: an enclave whose shard pays, and opens many accounts in one call. For measurements only.

use std::process::ExitCode;

use cloister_throughput::bulk::Bulk;

fn main() -> ExitCode {
    cloister_enclave::main("bulk-enclave", &cloister_tee::sim::Simulated, &Bulk)
}
