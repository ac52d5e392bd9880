//! A shard's blocks, one after another: that they are one history, and that the books in them move as books may.

use cloister_chain_primitives::{Anchor, H256, ShardId};
use cloister_wire::sidechain::{Books, SignedBlock};
use sp_core::{Pair, ed25519};

use super::Check;

/// What every block is checked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockCheck {
    /// It follows the one before: height, hash, shard, body, commitment to the state.
    Linked,
    /// Its author signed it.
    Signed,
    /// It consumes the inbox where the one before stopped, and takes no money otherwise.
    Inbox,
    /// No figure in its books decreases.
    Books,
    /// The numbers of its outbox advance with what is opened and closed.
    Outbox,
    /// Its books have an issuance, and open entries are worth nothing or more.
    Sums,
}

/// What the blocks' checks found.
pub type BlockChecks = Vec<Check>;

/// What is known of the block before.
struct Before {
    number: u64,
    hash: H256,
    /// Entries of the inbox consumed after it.
    inbox: u64,
    /// Absent if the walk began at an anchor, which does not tell.
    commitment: Option<H256>,
    books: Option<Books>,
}

/// A walk along a shard's blocks.
pub struct Walk {
    genesis: H256,
    shard: ShardId,
    before: Before,
    newest: Option<SignedBlock>,
    taken: u64,
    /// Per check, what was wrong first.
    failed: Vec<(BlockCheck, String)>,
}

impl Walk {
    /// From a shard's first block on. `commitment` is that to the state before it.
    pub fn from_birth(genesis: H256, shard: ShardId, commitment: H256) -> Self {
        let books = Some(Books::default());
        let before = Before { number: 0, hash: H256::zero(), inbox: 0, commitment: Some(commitment), books };
        Self { genesis, shard, before, newest: None, taken: 0, failed: Vec::new() }
    }

    /// From the block on that follows an anchored one.
    pub fn from_anchor(genesis: H256, shard: ShardId, anchor: &Anchor) -> Self {
        let Anchor { number, header_hash: hash, inbox_consumed: inbox, .. } = *anchor;
        let before = Before { number, hash, inbox, commitment: None, books: None };
        Self { genesis, shard, before, newest: None, taken: 0, failed: Vec::new() }
    }

    /// Height of the block that comes next.
    pub fn next_number(&self) -> u64 {
        self.before.number.saturating_add(1)
    }

    /// Hash of the newest block.
    pub fn newest(&self) -> H256 {
        self.before.hash
    }

    /// Takes the next block; `false` if it does not follow, and the walk is over.
    pub fn take(&mut self, block: SignedBlock) -> bool {
        let SignedBlock { header, block_data: data, signature } = &block;
        let number = header.block_number;
        let follows = (number, header.parent_hash, header.shard_id)
            == (self.next_number(), self.before.hash, self.shard)
            && header.block_data_hash == data.hash()
            && self.before.commitment.is_none_or(|commitment| commitment == data.commitment_before);
        self.require(BlockCheck::Linked, follows, || {
            format!("block {number} does not follow block {}", number.saturating_sub(1))
        });
        if !follows {
            return false;
        }
        let author = ed25519::Public::from_raw(data.block_author);
        let signature = ed25519::Signature::from_raw(*signature);
        let signed = ed25519::Pair::verify(&signature, header.signed_bytes(&self.genesis), &author);
        self.require(BlockCheck::Signed, signed, || format!("block {number} is not signed by its author"));

        let (books, inbox, root) = (data.books, (data.inbox_from, data.inbox_to), data.outbox_root);
        let contiguous = inbox.0 == self.before.inbox && inbox.0 <= inbox.1;
        let consumed = (self.before.inbox, inbox);
        self.require(BlockCheck::Inbox, contiguous, || {
            format!("block {number} consumes entries {} to {} after entry {}", inbox.0, inbox.1, consumed.0)
        });
        self.require(BlockCheck::Sums, books.issuance().is_some() && books.open().is_some(), || {
            format!("the books of block {number} have no issuance, or less than nothing is open")
        });
        let all_closed = books.outbox_closed == books.outbox_next;
        let closed =
            books.outbox_closed <= books.outbox_next && (!all_closed || (books.open() == Some(0) && root.is_zero()));
        self.require(BlockCheck::Outbox, closed, || {
            format!("block {number} has closed more than it opened, or owes nobody")
        });
        if let Some(before) = self.before.books {
            self.compare(number, &before, &books, inbox.0 == inbox.1);
        }
        self.before = Before {
            number,
            hash: header.hash(),
            inbox: inbox.1,
            commitment: Some(data.commitment_after),
            books: Some(books),
        };
        self.newest = Some(block);
        self.taken = self.taken.saturating_add(1);
        true
    }

    fn compare(&mut self, number: u64, before: &Books, after: &Books, no_inbox: bool) {
        let figures = |books: &Books| {
            let Books { shielded, opened, paid, refunded, fees, minted, burnt, outbox_next, outbox_closed } = *books;
            let numbers = [u128::from(outbox_next), u128::from(outbox_closed)];
            [[shielded, opened, paid, refunded].as_slice(), &[fees, minted, burnt], &numbers].concat()
        };
        let decreased = figures(before).into_iter().zip(figures(after)).any(|(before, after)| after < before);
        self.require(BlockCheck::Books, !decreased, || {
            format!("a figure of block {number} is below that of the one before")
        });
        let opens = (after.outbox_next > before.outbox_next) == (after.opened > before.opened);
        self.require(BlockCheck::Outbox, opens, || {
            format!(
                "block {number} opens {} planck in entries {} to {}",
                after.opened.saturating_sub(before.opened),
                before.outbox_next,
                after.outbox_next
            )
        });
        let quiet = !no_inbox || after.shielded == before.shielded;
        self.require(BlockCheck::Inbox, quiet, || format!("block {number} takes money without an entry of the inbox"));
    }

    fn require(&mut self, check: BlockCheck, holds: bool, reason: impl FnOnce() -> String) {
        if !holds && self.failed.iter().all(|(failed, _)| *failed != check) {
            self.failed.push((check, reason()));
        }
    }

    /// What was found, and the newest block.
    pub fn finish(self) -> (BlockChecks, Option<SignedBlock>) {
        let checks = [
            (BlockCheck::Linked, "blocks follow each other"),
            (BlockCheck::Signed, "authors signed their blocks"),
            (BlockCheck::Inbox, "inbox consumed in order"),
            (BlockCheck::Books, "books never decrease"),
            (BlockCheck::Outbox, "outbox numbers advance"),
            (BlockCheck::Sums, "issuance is defined"),
        ];
        let found = checks.into_iter().map(|(check, name)| {
            let failed = self.failed.iter().find(|(failed, _)| *failed == check).map(|(_, reason)| reason.clone());
            Check::new(name, failed.is_none(), failed.unwrap_or_else(|| format!("{} blocks", self.taken)))
        });
        (found.collect(), self.newest)
    }
}
