// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! How GRANDPA is set up here.

use crate::service::FullClient;
use cloister_runtime::opaque::Block;
use sc_consensus_grandpa::{VotingRule, VotingRulesBuilder};
use sc_service::ChainType;
use std::time::Duration;

/// Every finalized target's justification is stored: light clients in enclaves follow the chain by justifications,
/// and one that was away asks for those that it missed.
pub const JUSTIFICATION_PERIOD: u32 = 1;

/// How quickly a validator votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// For the best block at once. Right where validators share a machine or a room: waiting would bring nothing.
    Eager,
    /// After the usual time for gossip, and not for the newest blocks, which the others may not have yet.
    Guarded,
}

impl Pace {
    /// The pace that fits a chain of this type.
    pub fn of(chain_type: &ChainType) -> Self {
        match chain_type {
            ChainType::Development | ChainType::Local => Self::Eager,
            ChainType::Live | ChainType::Custom(_) => Self::Guarded,
        }
    }

    /// How long a message takes to reach most validators; a round lasts some four times this.
    pub fn gossip_duration(self) -> Duration {
        match self {
            Self::Eager => Duration::from_millis(100),
            Self::Guarded => Duration::from_millis(333),
        }
    }

    /// Which block a validator votes for, given the best one.
    pub fn voting_rule(self) -> impl VotingRule<Block, FullClient> + Clone {
        match self {
            Self::Eager => VotingRulesBuilder::new(),
            Self::Guarded => VotingRulesBuilder::default(),
        }
        .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chains_of_one_operator_vote_eagerly() {
        assert_eq!(Pace::of(&ChainType::Development), Pace::Eager);
        assert_eq!(Pace::of(&ChainType::Local), Pace::Eager);
        assert_eq!(Pace::of(&ChainType::Live), Pace::Guarded);
        assert_eq!(Pace::of(&ChainType::Custom("staging".into())), Pace::Guarded);
    }
}
