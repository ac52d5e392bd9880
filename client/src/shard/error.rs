//! Why a shard could not be used or not be believed.

use std::time::Duration;

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, MIN_SHIELD, Moment, Nonce, ShardId};

use crate::{layer_one, worker};

/// Why a shard could not be used or not be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Layer one.
    #[error(transparent)]
    LayerOne(#[from] layer_one::Error),
    /// The worker.
    #[error(transparent)]
    Worker(#[from] worker::Error),
    /// No such shard at the finalized head.
    #[error("layer one knows no finalized shard 0x{}", hex::encode(.0))]
    UnknownShard(ShardId),
    /// No shard at all, or none with the wanted code.
    #[error("layer one knows no finalized shard{}", .mrenclave.map(|code| format!(" of enclaves with fingerprint 0x{}", hex::encode(code))).unwrap_or_default())]
    NoShard {
        /// The wanted code.
        mrenclave: Option<[u8; 32]>,
    },
    /// The shard's enclaves run other code than wanted.
    #[error("the shard is served by enclaves with fingerprint 0x{}, not 0x{}", hex::encode(.found), hex::encode(.wanted))]
    WrongMeasurement {
        /// What the entry says.
        found: [u8; 32],
        /// What was asked for.
        wanted: [u8; 32],
    },
    /// The shard's enclave is not known to run the wanted code: its evidence is simulated, its fingerprint only claimed.
    #[error("the enclave {enclave} is simulated: nothing proves its fingerprint")]
    Simulated {
        /// The enclave.
        enclave: AccountId,
    },
    /// The shard's enclave runs the wanted code in debug mode: who runs the machine can read and change its memory.
    #[error("the enclave {enclave} runs in debug mode: its host can read and change everything in it")]
    Debug {
        /// The enclave.
        enclave: AccountId,
    },
    /// The worker's enclave serves another shard than the one that is meant, whose state it may have lost.
    #[error("the worker's enclave serves shard 0x{}, not 0x{}", hex::encode(.served), hex::encode(.wanted))]
    OtherShard {
        /// What the enclave says.
        served: ShardId,
        /// What is meant.
        wanted: ShardId,
    },
    /// The worker's enclave says that it serves a shard whose enclave is another one.
    #[error(
        "the worker's enclave claims shard 0x{}, but has not the TLS key that layer one records for {enclave}",
        hex::encode(.shard)
    )]
    OtherTlsKey {
        /// The shard.
        shard: ShardId,
        /// Its enclave.
        enclave: AccountId,
    },
    /// The shard's enclave is not in layer one's registry: it never was, or it was evicted, or it left.
    #[error("the enclave {enclave} of shard 0x{} is not registered on layer one", hex::encode(.shard))]
    NotRegistered {
        /// The shard.
        shard: ShardId,
        /// Its enclave.
        enclave: AccountId,
    },
    /// The enclave runs other code than its shard's configuration allows.
    #[error(
        "the enclave {enclave} is registered with fingerprint 0x{}, and its shard allows only 0x{}",
        hex::encode(.found),
        hex::encode(.wanted)
    )]
    FingerprintMismatch {
        /// The enclave.
        enclave: AccountId,
        /// What its evidence proved.
        found: [u8; 32],
        /// What the shard's configuration says.
        wanted: [u8; 32],
    },
    /// Layer one's policy no longer wants the enclave; it may only hand over its keys.
    #[error("layer one is evicting the enclave {enclave}")]
    Leaving {
        /// The enclave.
        enclave: AccountId,
        /// End of its grace, Unix milliseconds.
        until: Moment,
    },
    /// The enclave did not renew its registration.
    #[error(
        "the registration of the enclave {enclave} expired {} s ago",
        .now.saturating_sub(*.expires_at) / 1000
    )]
    Expired {
        /// The enclave.
        enclave: AccountId,
        /// When, Unix milliseconds.
        expires_at: Moment,
        /// Layer one's time.
        now: Moment,
    },
    /// The enclave was started again: the start behind this connection no longer counts.
    #[error("layer one knows a newer incarnation of the enclave {enclave} than the one connected to")]
    Retired {
        /// The enclave.
        enclave: AccountId,
    },
    /// The shard's key is none to which one can encrypt, or what is encrypted is too long.
    #[error("cannot encrypt to the shard: {0}")]
    Encryption(String),
    /// Signed by another account than the one that the call spends from or the query asks about.
    #[error("{signer} cannot sign for {owner}")]
    WrongSigner {
        /// Who would sign.
        signer: AccountId,
        /// Who must.
        owner: AccountId,
    },
    /// The enclave named the operation otherwise than we do: it decrypted something else.
    #[error("the enclave took the operation {found:?} instead of {sent:?}")]
    OtherOperation {
        /// Our hash.
        sent: H256,
        /// Its hash.
        found: H256,
    },
    /// The enclave gave no answer to a query.
    #[error("the enclave does not answer the query")]
    NoAnswer,
    /// The answer does not decode.
    #[error("the enclave's answer does not decode")]
    Undecodable,
    /// The answer is to another query.
    #[error("the answer belongs to another query")]
    OtherQuery,
    /// The answer is not signed by the shard's enclave.
    #[error("the answer is not signed by the shard's enclave")]
    BadAnswerSignature,
    /// The enclave has not followed layer one: its state may be an old one that its host shows.
    #[error(
        "stale answer: the enclave has seen layer one up to block {seen}, {} s behind finalized block {finalized}",
        .behind_ms / 1000
    )]
    StaleAnswer {
        /// Newest finalized block that the enclave has seen.
        seen: BlockNumber,
        /// Newest finalized block of the own node.
        finalized: BlockNumber,
        /// Milliseconds between the two blocks' times.
        behind_ms: u64,
    },
    /// The enclave follows a chain on which the own node is not.
    #[error("the enclave has seen block {number} as {seen:?}, this node has it as {own:?}")]
    OtherChain {
        /// Height.
        number: BlockNumber,
        /// The enclave's hash.
        seen: H256,
        /// The own node's hash.
        own: H256,
    },
    /// The shard has not reported in time that it consumed its inbox up to the block of an indirect call.
    #[error(
        "layer one's block {block_number} holds the call, and the shard has not reported that it processed the block \
         after {} s",
        .limit.as_secs()
    )]
    NotProcessed {
        /// Height of the block.
        block_number: BlockNumber,
        /// How long was waited.
        limit: Duration,
    },
    /// The shard consumed an indirect call and did not execute it: why there is [`Self::NoEffectYet`].
    #[error(
        "the shard processed it without executing it: nonce too high (the sender's next one is {next}), sender unknown, \
         expired or not decryptable"
    )]
    WithoutEffect {
        /// The sender's next nonce.
        next: Nonce,
    },
    /// An indirect call was not executed so far. What layer one was sent is public: anybody can submit it again, until its
    /// last block is anchored or its nonce is used. Then it is [`Self::CallExpired`], or executed. A call with the same
    /// nonce can be sent at once, because one of the two is executed at most.
    #[error(
        "the call {operation:?} had no effect so far, and may still be executed until block {last_block} of the shard, \
         because anybody can submit it again"
    )]
    NoEffectYet {
        /// The operation.
        operation: H256,
        /// Its nonce.
        nonce: Nonce,
        /// The last block that may hold it.
        last_block: u64,
        /// Why it had none.
        #[source]
        source: Box<Error>,
    },
    /// The nonce that was asked for is used.
    #[error("a call with the nonce {nonce} was executed already: the sender's next one is {next}")]
    NonceUsed {
        /// What was asked for.
        nonce: Nonce,
        /// The sender's next nonce.
        next: Nonce,
    },
    /// A call's last block has passed, and its nonce is not used: it was not executed and never will be.
    #[error(
        "the call {operation:?} was not executed and never will be: its last block was {last_block}, and the shard has \
         come to block {block}"
    )]
    CallExpired {
        /// The operation.
        operation: H256,
        /// The last block that could have held it.
        last_block: u64,
        /// The shard's newest block.
        block: u64,
    },
    /// The shard no longer tells what became of a call. It was executed, or another one took its nonce.
    #[error("the shard does not tell what became of the call {operation:?}")]
    NoOutcome {
        /// The operation.
        operation: H256,
    },
    /// A call was sent, and then its enclave could not be asked, or not be believed, what became of it.
    #[error("the call {operation:?} was sent, and what became of it is not known")]
    PerhapsExecuted {
        /// The operation.
        operation: H256,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// Several calls were sent in one message, and then nothing was heard of them, or nothing that can be understood.
    #[error("{} calls were sent, and what became of them is not known", .operations.len())]
    BatchPerhapsExecuted {
        /// The operations.
        operations: Vec<H256>,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// An unshielding was executed, and the enclave names no entry of the outbox for it.
    #[error("the enclave says that the call {operation:?} opened nothing in the shard's outbox")]
    NothingOpened {
        /// The operation.
        operation: H256,
    },
    /// Layer one takes no shielding that could not be returned.
    #[error("{amount} planck are less than the {MIN_SHIELD} that a shielding has at least")]
    BelowMinimumShield {
        /// Planck.
        amount: Balance,
    },
    /// The shard did not credit a shielding, and returns it to who paid it.
    #[error("the shard could not credit entry {number} of its inbox, and returns the money to who paid it")]
    ShieldReturned {
        /// The entry's number.
        number: u64,
    },
    /// The shard returned one of several shieldings.
    #[error("the shard has returned a shielding, and it may be this one, entry {number} of its inbox")]
    ShieldPerhapsReturned {
        /// The entry's number.
        number: u64,
    },
    /// A shielding is on layer one, and which entry of the shard's inbox it is could not be found out.
    #[error(
        "the shielding is on layer one, by the extrinsic {extrinsic:?}, and its entry in the shard's inbox is not found"
    )]
    ShieldUnnumbered {
        /// The extrinsic.
        extrinsic: H256,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A shielding is on layer one, and then the enclave could not be asked, or not be believed, what became of it.
    #[error("entry {number} of the shard's inbox is on layer one, and whether it is credited is not known")]
    PerhapsCredited {
        /// The entry's number.
        number: u64,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// The shard has not consumed an entry of its inbox in time.
    #[error("entry {number} of the shard's inbox is final on layer one, and not consumed after {} s", .limit.as_secs())]
    NotConsumed {
        /// The entry's number.
        number: u64,
        /// How long was waited.
        limit: Duration,
    },
    /// Layer one has no verdict on an entry of the outbox in time.
    #[error("layer one has not settled entry {number} of the shard's outbox after {} s", .limit.as_secs())]
    NotSettled {
        /// The entry's number.
        number: u64,
        /// How long was waited.
        limit: Duration,
    },
    /// Layer one settled an entry of the outbox, and what it said is no longer in its state.
    #[error("layer one has settled entry {number} of the shard's outbox, and forgotten whether it was paid")]
    VerdictForgotten {
        /// The entry's number.
        number: u64,
    },
    /// The shard has not credited what layer one refused in time.
    #[error("layer one refused entry {number} of the outbox, and the shard has not credited it after {} s", .limit.as_secs())]
    NotClosed {
        /// The entry's number.
        number: u64,
        /// How long was waited.
        limit: Duration,
    },
    /// The enclave owes more on layer one than a shard can.
    #[error("the enclave says that the shard owes more than {most} entries of its outbox")]
    TooMuchOwed {
        /// How many are read at most.
        most: usize,
    },
    /// The enclave that told of a block was started again, or lost its registration, before layer one had anchored the
    /// block. Its host may have had it go on from an older one, and another block may have this height now.
    #[error(
        "layer one no longer has the start of the enclave that told of block {height} of the shard registered, and had \
         not anchored the block before: whether it still counts is not known"
    )]
    PerhapsRewound {
        /// Height of the shard's block.
        height: u64,
    },
    /// A block of the shard was not anchored in time.
    #[error("block {height} of the shard is not anchored in a finalized block of layer one after {} s", .limit.as_secs())]
    NotAnchored {
        /// Height of the shard's block.
        height: u64,
        /// How long was waited.
        limit: Duration,
    },
}

impl Error {
    /// Whether the chain or the shard said no, as opposed to not having been heard.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::LayerOne(error) => error.is_refusal(),
            Self::Worker(error) => error.is_refusal(),
            Self::UnknownShard(_)
            | Self::NoShard { .. }
            | Self::WrongMeasurement { .. }
            | Self::Simulated { .. }
            | Self::Debug { .. }
            | Self::OtherShard { .. }
            | Self::OtherTlsKey { .. }
            | Self::NonceUsed { .. }
            | Self::CallExpired { .. }
            | Self::ShieldReturned { .. } => true,
            error => error.is_registry(),
        }
    }

    /// The same about an operation that was sent. By itself it would read as if nothing had happened.
    pub(super) fn of_sent(self, operation: H256) -> Self {
        Self::PerhapsExecuted { operation, source: Box::new(self) }
    }

    /// What a worker said of an operation, by the operation's name if it was sent.
    pub(super) fn of_operation(error: worker::Error, operation: H256) -> Self {
        match error {
            worker::Error::PerhapsExecuted { source, .. } => Self::from(*source).of_sent(operation),
            error => error.into(),
        }
    }

    /// Whether layer one's registry does not let the shard's enclave serve.
    pub fn is_registry(&self) -> bool {
        matches!(
            self,
            Self::NotRegistered { .. }
                | Self::FingerprintMismatch { .. }
                | Self::Leaving { .. }
                | Self::Expired { .. }
                | Self::Retired { .. }
        )
    }
}
