//! The books of the anchored block against layer one. Pure: everything was read at one finalized block.

use std::collections::BTreeMap;

use cloister_chain_primitives::{Anchor, Balance, Verdict};
use cloister_wire::sidechain::{Books, SignedBlock};

use super::Check;
use crate::layer_one::BridgeState;

/// What layer one knows of entries that are on their way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerOneFacts {
    /// Planck of shieldings in the inbox that no anchored block has consumed.
    pub shields_unconsumed: Balance,
    /// Verdicts on entries of the outbox from the first that the anchored block has not closed.
    pub verdicts: BTreeMap<u64, Verdict>,
    /// Planck that the escrow's account keeps beside the escrow.
    pub existential_deposit: Balance,
}

/// The block to which the walk led is the one that layer one has anchored.
pub(super) fn anchored_block(newest: &SignedBlock, anchor: &Anchor) -> Check {
    let found = newest.anchor();
    let detail = match found == *anchor {
        true => format!("block {} {:?}", anchor.number, anchor.header_hash),
        false => format!("block {} {:?} states another anchor than layer one", found.number, found.header_hash),
    };
    Check::new("anchor is the newest block's", found == *anchor, detail)
}

/// Who wrote the anchored block is registered.
pub(super) fn author(key: [u8; 32], registered: bool) -> Check {
    let detail = match registered {
        true => format!("incarnation 0x{}", hex::encode(key)),
        false => format!("the registry knows no incarnation 0x{} of the founder", hex::encode(key)),
    };
    Check::new("author is registered", registered, detail)
}

/// Everything that must hold between the books after the anchored block and layer one.
pub fn check_books(bridge: &BridgeState, books: &Books, facts: &LayerOneFacts) -> Vec<Check> {
    let (flows, escrow, fees) = (bridge.flows, bridge.escrow, books.fees);
    let LayerOneFacts { shields_unconsumed: waiting, existential_deposit: deposit, .. } = *facts;
    let consumed = bridge.unconsumed();
    let reached = bridge.inbox_pruned <= consumed.start && consumed.start <= consumed.end;
    let shielded = flows.shielded.checked_sub(waiting);
    let held = flows.shielded.checked_sub(flows.paid).and_then(|held| held.checked_sub(flows.repaid));
    vec![
        Check::new(
            "inbox is where the anchor says",
            reached,
            format!("{} entries, {} consumed, {} pruned", consumed.end, consumed.start, bridge.inbox_pruned),
        ),
        Check::new(
            "shielded, by both books",
            shielded == Some(books.shielded),
            format!("shard {}, layer one {} with {waiting} not consumed yet", books.shielded, flows.shielded),
        ),
        Check::new(
            "escrow is what came less what went",
            held == Some(escrow),
            format!("{escrow} = {} shielded - {} paid - {} repaid", flows.shielded, flows.paid, flows.repaid),
        ),
        Check::new(
            "fees cover what was repaid",
            fees >= flows.repaid,
            format!("{fees} taken, {} repaid", flows.repaid),
        ),
        paid(bridge, books, facts),
        covered(bridge, books, waiting),
        Check::new(
            "escrow's account has the money",
            escrow
                .checked_add(bridge.unclaimed)
                .and_then(|least| least.checked_add(deposit))
                .is_some_and(|least| bridge.escrow_balance >= least),
            format!(
                "{} there, {escrow} in the escrow, {} unclaimed, {deposit} existential deposit",
                bridge.escrow_balance, bridge.unclaimed
            ),
        ),
    ]
}

/// Planck that layer one has paid, and the shard does not know yet. `None` if the shard claims more than was paid.
fn ahead(bridge: &BridgeState, books: &Books) -> Option<Balance> {
    bridge.flows.paid.checked_sub(books.paid)
}

/// Layer one pays first, and the shard learns of it: what is ahead are open entries that have the verdict.
fn paid(bridge: &BridgeState, books: &Books, facts: &LayerOneFacts) -> Check {
    let name = "paid, by both books";
    let known = facts.verdicts.values().filter(|verdict| **verdict == Verdict::Paid).count();
    let stated = format!("shard {}, layer one {}", books.paid, bridge.flows.paid);
    let Some(ahead) = ahead(bridge, books) else {
        return Check::new(name, false, format!("{stated}: the shard counts what was not paid"));
    };
    // A verdict does not say how much it was. The shard learns of it soon, and then the sums decide.
    let detail = match (ahead, known) {
        (0, _) => stated,
        (_, 0) => format!("{stated}: no open entry explains {ahead}"),
        _ => format!(
            "{stated}: {ahead} were paid since the anchored block; audit again when it has anchored a later one"
        ),
    };
    Check::new(name, ahead == 0, detail)
}

/// The escrow has what all accounts have, what is owed, what is left of the fees and what waits to be credited, and
/// nothing else.
fn covered(bridge: &BridgeState, books: &Books, waiting: Balance) -> Check {
    let name = "escrow covers the shard";
    let owed = || {
        let (issuance, open) = (books.issuance()?, books.open()?.checked_sub(ahead(bridge, books)?)?);
        let left = books.fees.checked_sub(bridge.flows.repaid)?;
        Some((issuance, open, left, issuance.checked_add(open)?.checked_add(left)?.checked_add(waiting)?))
    };
    let Some((issuance, open, left, owed)) = owed() else {
        return Check::new(name, false, "the books give no sum of what is owed");
    };
    let stated =
        format!("{} against {issuance} on accounts + {open} open + {left} of fees + {waiting} waiting", bridge.escrow);
    let passed = bridge.escrow == owed;
    let minted = match (passed, books.minted) {
        (true, _) | (_, 0) => String::new(),
        (false, minted) => format!("; {minted} were set out of nothing, where simulation is allowed"),
    };
    Check::new(name, passed, stated + &minted)
}
