//! The command line of `attest`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::WaitFor;

#[derive(Subcommand, Debug)]
pub enum Attest {
    /// Show a registered enclave; store its evidence and collateral
    #[command(after_long_help = SHOW_HELP)]
    Show {
        /// The enclave's account
        account: String,
        /// Also write evidence.bin and collateral.json, as layer one stores them, into this directory, and for simulated
        /// evidence a policy.json that takes it
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Verify evidence: is it genuine, and does a policy want it?
    ///
    /// Nobody needs to be asked: with collateral in files this command verifies what anybody shows.
    #[command(after_long_help = VERIFY_HELP)]
    Verify(VerifyArgs),
    /// Submit collateral to layer one, where registrations are verified with it
    ///
    /// Anybody may: the vendor's signature counts, and what is older than what the chain has is refused.
    #[command(after_long_help = SUBMIT_HELP)]
    Submit {
        /// Who signs and pays
        from: String,
        /// A JSON bundle, or one of the vendor's own files; may be repeated
        #[arg(long, value_name = "FILE", required = true)]
        collateral: Vec<PathBuf>,
        /// How long to wait
        #[arg(long, value_enum, default_value = "in-block")]
        wait: WaitFor,
    },
    /// Evict an enclave that is expired, no longer genuine or no longer wanted; anybody may
    Evict {
        /// Who signs and pays
        from: String,
        /// The enclave's account
        account: String,
        /// How long to wait
        #[arg(long, value_enum, default_value = "in-block")]
        wait: WaitFor,
    },
    /// Show what layer one demands of registrations
    #[command(after_long_help = POLICY_HELP)]
    Policy,
    /// Change what layer one demands of registrations (root)
    ///
    /// Enclaves that no longer meet it can be evicted by anybody, with `attest evict`.
    SetPolicy {
        /// Root's key
        from: String,
        /// The new policy, in the form that `attest policy --json` prints under "policy"
        file: PathBuf,
        /// How long to wait
        #[arg(long, value_enum, default_value = "in-block")]
        wait: WaitFor,
    },
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The evidence: a DCAP quote, raw or in hex
    pub file: PathBuf,
    /// A JSON bundle, or one of the vendor's own files; may be repeated
    #[arg(long, value_name = "FILE")]
    pub collateral: Vec<PathBuf>,
    /// When it must hold: Unix milliseconds, `now`, or `window` for a time inside all validities
    #[arg(long, value_name = "UNIX_MS|now|window", default_value = "now", value_parser = parse_at)]
    pub at: At,
    /// What is wanted of the evidence (JSON) [default: revocation lists, genuine hardware, no debugging, any status but
    /// Revoked]
    #[arg(long, value_name = "FILE", conflicts_with = "chain_policy")]
    pub policy: Option<PathBuf>,
    /// Want what layer one's own policy wants (with --node-url)
    #[arg(long)]
    pub chain_policy: bool,
}

/// A time for which evidence is verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// This machine's clock.
    Now,
    /// Inside all validities.
    Window,
    /// Unix milliseconds.
    Time(u64),
}

fn parse_at(text: &str) -> Result<At, &'static str> {
    match text {
        "now" => Ok(At::Now),
        "window" => Ok(At::Window),
        _ => text.parse().map(At::Time).map_err(|_| "a time is Unix milliseconds, `now` or `window`"),
    }
}

const SHOW_HELP: &str = "\
Example:
  cloister attest show 5F… --out evidence
  cloister attest verify evidence/evidence.bin --collateral evidence/collateral.json

Of a simulated enclave, with --policy evidence/policy.json besides.";

const VERIFY_HELP: &str = "\
Examples:
  cloister attest verify quote.bin --collateral collateral.json
  cloister attest verify quote.bin --collateral tcb.json --collateral qe.json --at window
  cloister attest verify quote.bin --node-url ws://127.0.0.1:9944 --chain-policy

Without --node-url (or --node-port) nothing is asked of anybody: evidence and collateral come from
files, the time from --at. If it stands on the command line (the variable does not count), the
runtime of that node's finalized head verifies and appraises, and collateral for which there is no
file comes from the chain.

Collateral: the JSON bundle that `attest show --out` and `cloister-worker dump-ra` write, or the
vendor's own files in any order: TCB info and QE identity as signed (with or without the wrapper
that holds the signature), signatures, certificates (PEM, DER, hex), revocation lists (PEM, DER,
hex).

Policy: a JSON object; what is left out is as in
  {\"kinds\": [\"sgx\", \"tdx\"], \"simulation\": \"forbidden\",
   \"tcb_statuses\": [\"UpToDate\", \"SWHardeningNeeded\", ...], \"advisories\": null,
   \"debug\": \"forbidden\", \"service_td\": \"forbidden\", \"crl\": \"required\",
   \"min_evaluation_number\": 0, \"max_collateral_age_ms\": null}

The last line of standard output (with --json the only one) is a JSON object: \"verdict\" (accepted
or rejected), \"kind\", \"tcb_status\", \"advisories\", \"measurement\" (MRENCLAVE or MRTD), \"signer\"
(MRSIGNER or MRSIGNERSEAM), \"report_data\", \"debug\", \"platform_id_hash\", \"reason\" (null, or the
name of the check that refused) and more. Bytes are bare hex; fields that only genuine evidence has
are null otherwise.

Exit codes of this command:
  0  accepted
  1  could not run: wrong usage, an unreadable file, no collateral, no connection
  2  rejected: not genuine, or not wanted";

const SUBMIT_HELP: &str = "\
Example:
  cloister attest submit //Alice --collateral tcb.json --collateral qe.json --collateral crl.der";

const POLICY_HELP: &str = "\
Example, the policy as a file to change and to give to `attest set-policy`:
  cloister --json attest policy | jq .policy > policy.json";
