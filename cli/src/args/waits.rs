//! How long commands wait.

use clap::ValueEnum;
use cloister_client::Wait;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum WaitFor {
    /// Until the node has it
    Submitted,
    /// Until it is in a block
    InBlock,
    /// Until its block is final
    Finalized,
}

impl From<WaitFor> for Wait {
    fn from(wait: WaitFor) -> Self {
        match wait {
            WaitFor::Submitted => Self::Submitted,
            WaitFor::InBlock => Self::InBlock,
            WaitFor::Finalized => Self::Finalized,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ShieldWaitFor {
    /// Until the node has it
    Submitted,
    /// Until it is in a block
    InBlock,
    /// Until its block is final
    Finalized,
    /// Until the shard has credited it
    Credited,
}

impl ShieldWaitFor {
    /// What layer one must have done by then.
    pub fn on_layer_one(self) -> Wait {
        match self {
            Self::Submitted => Wait::Submitted,
            Self::InBlock => Wait::InBlock,
            Self::Finalized | Self::Credited => Wait::Finalized,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TrustedWaitFor {
    /// Until it is executed, in a block of the shard
    InBlock,
    /// Until that block is anchored in a finalized block of layer one
    Finalized,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum UnshieldWaitFor {
    /// Until it is executed, in a block of the shard
    InBlock,
    /// Until that block is anchored in a finalized block of layer one
    Finalized,
    /// Until layer one has paid it, or refused it and the shard has credited it again
    Settled,
}
