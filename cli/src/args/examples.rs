//! What stands below the arguments in a command's help.

pub const CLOISTER: &str = "\
`cloister COMMAND --help` shows examples; `cloister --help` also tells of accounts, amounts, exit codes and variables.";

pub const CLOISTER_LONG: &str = "\
Accounts: an SS58 address or 0x and a public key (keys for signing come from the keystore); a
development account like //Alice; or - for a secret phrase that is read from --suri-file, from
CLOISTER_SURI or from standard input.

Amounts: decimal UNIT like 1000, 0.5 or 300UNIT, or planck like 123planck (1 UNIT = 10^12 planck).
In JSON, amounts are planck in decimal strings.

Examples, with a node and a worker in development on this machine:
  cloister list-workers                                  whom layer one has attested
  cloister shield-funds //Alice //Alice 1000             money into a confidential account
  cloister trusted balance //Alice                       what it has
  cloister trusted --direct transfer //Alice //Bob 300   a private payment
  cloister trusted unshield-funds //Bob //Ferdie 50      money out again

Exit codes:
  0  done
  1  could not run, or how it ended is not known: no connection, no answer in time, an answer
     that cannot be believed, no access to a file. What was sent by then may count all the same:
     look before you send it again
  2  wrong usage or input
  3  refused by the chain or the shard, or by what the chain says about the enclave; of
     `worker status`: it does not serve
  4  refused at the other end, and the money came back: an unshielding by layer one, a shielding
     by the shard
  5  of `audit`: something does not agree
`attest verify` has its own: 0 accepted, 1 could not run (wrong usage too), 2 rejected.

Variables: CLOISTER_NODE_URL, CLOISTER_WORKER_URL, CLOISTER_WORKER_STATUS_URL,
CLOISTER_WORKER_BLOCKS_URL, CLOISTER_SURI, XDG_DATA_HOME.";

pub const BALANCE: &str = "\
Examples:
  cloister balance //Alice
  cloister --json balance 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY | jq -r .free";

pub const TRANSFER: &str = "\
Examples:
  cloister transfer //Alice //Bob 12.5
  cloister transfer - //Bob 12.5 --wait finalized < phrase.txt";

pub const SHIELD_FUNDS: &str = "\
Examples:
  cloister shield-funds //Alice //Alice 1000
  cloister shield-funds //Alice //Bob 1000 --mrenclave FINGERPRINT   only to this code

Fingerprints are in `cloister list-workers`; least amount and fees in `cloister fees`.";

pub const TRUSTED: &str = "\
Examples:
  cloister trusted balance //Alice
  cloister trusted --direct transfer //Alice //Bob 300
  cloister trusted --mrenclave FINGERPRINT --shard SHARD transfer //Alice //Bob 300

Without --shard and --mrenclave the worker's own shard is taken, and what its enclave is stands on
standard error first.";

pub const TRUSTED_TRANSFER: &str = "\
Examples:
  cloister trusted transfer //Alice //Bob 300                     through layer one's inbox
  cloister trusted transfer //Alice //Bob 300 --payer //Charlie   whose fee another account pays
  cloister trusted --direct transfer //Alice //Bob 300            straight to the enclave
  cloister trusted --direct transfer //Alice //Bob 300 --wait finalized";

pub const UNSHIELD_FUNDS: &str = "\
Examples:
  cloister trusted --direct unshield-funds //Bob //Ferdie 50          until layer one has paid
  cloister trusted unshield-funds //Bob //Ferdie 50 --wait in-block   the rest happens by itself";

pub const OUTCOME: &str = "\
Example:
  cloister --json trusted --direct transfer //Alice //Bob 1 | jq -r .operation
  cloister trusted outcome //Alice 0x5f…";

pub const NEW_ACCOUNT: &str = "\
Examples:
  cloister new-account                   prints the account
  cloister new-account --show-phrase     and the secret phrase, to be written down";

pub const AUDIT: &str = "\
Example:
  cloister audit --shard \"$(cloister --json worker status | jq -r .shard)\"

It shows that books, anchor and escrow agree. That the enclave counted right inside its blocks is
the word of its code.";

pub const LIST_WORKERS: &str = "\
Example, the fingerprint of the first enclave for later commands:
  MRENCLAVE=$(cloister list-workers | awk '/  MRENCLAVE: / { print $2; exit }')
  cloister trusted --mrenclave $MRENCLAVE balance //Alice

In development, where enclaves are simulated, only with --allow-simulated besides.";

pub const LISTEN: &str = "\
Examples:
  cloister listen --blocks 10
  cloister --json listen --until-event UnshieldedFunds";

pub const PRINT_METADATA: &str = "\
Example:
  cloister print-metadata --out metadata.scale";

pub const SUBMIT_CALL: &str = "\
Example, system.remark_with_event(\"hi\"):
  cloister submit-call //Alice 0x0007086869";

pub const COMPLETIONS: &str = "\
Examples:
  cloister completions bash > ~/.local/share/bash-completion/completions/cloister
  cloister completions zsh > ~/.zfunc/_cloister
  cloister completions fish > ~/.config/fish/completions/cloister.fish";

pub const MAN: &str = "\
Examples:
  cloister man | man -l -
  cloister man trusted transfer | man -l -
  cloister man --out ~/.local/share/man/man1";

pub const WORKER_STATUS: &str = "\
Examples:
  cloister worker status
  cloister worker status --url http://worker.example:4545 --watch

What it says is the host's own word: nothing of it is proven.";

pub const OUTBOX_SETTLE: &str = "\
Examples:
  cloister outbox list
  cloister outbox settle //Alice
  cloister outbox settle //Alice --number 7";

pub const SHARD_SHOW: &str = "\
Examples:
  cloister shard show
  cloister --json shard show --shard SHARD | jq -r .escrow";

pub const SHARD_CONFIG: &str = "\
Example:
  cloister shard config --shard SHARD --sudo //Alice --maintenance on --delay 600";

pub const SHARD_LIMIT: &str = "\
Examples:
  cloister shard limit 50000 3600 --shard SHARD --sudo //Alice
  cloister shard limit default --shard SHARD --sudo //Alice";

pub const TRANSFER_BATCH: &str = "\
Example:
  cloister trusted transfer-batch //Alice wages.txt

wages.txt:
    # June
    5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty  100
    //Charlie  0.5";
