//! What was kept, altered, swapped, cut, foreign and old, given back before the truth is.

use cloister_sidechain::{Kept, Stop};
use rand::{Rng, seq::SliceRandom};

use super::foreign;
use crate::{life::Life, model::ensure};

/// What comes of a lie about what was kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// It is noticed at once.
    Refused,
    /// It is noticed, or it is no lie: the state is that of a block that was kept.
    Harmless,
}

impl Life {
    /// The host gives lies to some starts, and what is as good as the truth to the next.
    pub(crate) fn lie_before_the_truth(&mut self, mut kept: Vec<Kept>) -> Result<Vec<Kept>, String> {
        if self.adversary.is_none() {
            return Ok(kept);
        }
        // The new start knows what is true.
        self.tell_version(true);
        let lies = if self.draining { 0 } else { self.random.gen_range(0..3) };
        for _ in 0..lies {
            let Some((what, ends, lie)) = self.altered(&kept) else { continue };
            for kept in lie {
                self.world.engine.kept(kept);
            }
            self.world.engine.kept_all();
            self.world.take_actions();
            match self.world.stopped.take() {
                Some(Stop::Kept(_)) => self.count(what),
                None if ends == Ends::Harmless => {
                    let height = self.world.engine.figures().block;
                    let header = self.world.engine.header().map(|header| header.hash());
                    let truth = self.model.block(height).map(|block| block.hash);
                    ensure(header == truth, || format!("{what}: another block {height}"))?;
                    self.count(what);
                }
                stop => return Err(format!("{what}: {stop:?}")),
            }
            ensure(!self.world.engine.is_serving() && !self.world.serving, || format!("{what}: it serves"))?;
            self.world.replace_engine();
        }
        let Some(adversary) = &mut self.adversary else { return Ok(kept) };
        let is_mark = |kept: &Kept| matches!(kept, Kept::Mark(_));
        let is_snapshot = |kept: &&Kept| matches!(kept, Kept::Manifest(_) | Kept::Piece(_));
        adversary.marks.extend(kept.iter().find(|kept| is_mark(kept)).cloned());
        if adversary.snapshot.is_empty() || self.random.gen_ratio(1, 3) {
            adversary.snapshot = kept.iter().filter(is_snapshot).cloned().collect();
        }
        // A mark only says what may have ended an enclave.
        if let (Some(at), true) = (kept.iter().position(is_mark), self.random.gen_ratio(1, 4)) {
            match adversary.marks.choose(&mut self.random).cloned() {
                Some(old) if self.random.gen_bool(0.7) => kept[at] = old,
                _ => drop(kept.remove(at)),
            }
            self.count("lie: another mark");
        }
        Ok(kept)
    }

    fn altered(&mut self, kept: &[Kept]) -> Option<(&'static str, Ends, Vec<Kept>)> {
        let mut kept = kept.to_vec();
        let blocks: Vec<usize> = (0..kept.len()).filter(|at| matches!(kept[*at], Kept::Block(_))).collect();
        let pieces: Vec<usize> = (0..kept.len()).filter(|at| matches!(kept[*at], Kept::Piece(_))).collect();
        let at = self.random.gen_range(0..kept.len().max(1));
        let block = self.random.gen_range(0..blocks.len().max(1));
        Some(match self.random.gen_range(0..14) {
            // Of blocks below a snapshot only what is public in them is checked.
            0 if !kept.is_empty() => {
                let bytes = bytes(&mut kept[at]);
                let byte = self.random.gen_range(0..bytes.len());
                bytes[byte] ^= 1 << self.random.gen_range(0..8);
                ("lie: kept altered", Ends::Harmless, kept)
            }
            1 if !kept.is_empty() => {
                let bytes = bytes(&mut kept[at]);
                bytes.truncate(self.random.gen_range(0..bytes.len()));
                ("lie: kept cut", Ends::Refused, kept)
            }
            2 if blocks.len() > 2 => {
                // The first may be one that nothing needs.
                kept.remove(blocks[self.random.gen_range(1..blocks.len() - 1)]);
                ("lie: kept block left out", Ends::Refused, kept)
            }
            3 if blocks.len() > 1 => {
                kept.swap(blocks[0], blocks[blocks.len() - 1]);
                ("lie: kept blocks swapped", Ends::Refused, kept)
            }
            4 if !blocks.is_empty() => {
                kept.insert(blocks[block], kept[blocks[block]].clone());
                ("lie: kept block twice", Ends::Refused, kept)
            }
            5 if !pieces.is_empty() && !blocks.is_empty() => {
                kept.remove(*pieces.choose(&mut self.random)?);
                ("lie: kept piece left out", Ends::Refused, kept)
            }
            6 if pieces.len() > 1 => {
                kept.swap(pieces[0], pieces[pieces.len() - 1]);
                ("lie: kept pieces swapped", Ends::Refused, kept)
            }
            7 if !pieces.is_empty() => {
                kept.retain(|kept| !matches!(kept, Kept::Manifest(_)));
                ("lie: kept pieces of nothing", Ends::Refused, kept)
            }
            8 if !pieces.is_empty() && !blocks.is_empty() => {
                // In front are the blocks on which it would rest.
                let first = kept.iter().position(|kept| matches!(kept, Kept::Manifest(_)))?;
                let last = kept.remove(*blocks.last()?);
                kept.insert(first, last);
                ("lie: kept snapshot after blocks", Ends::Refused, kept)
            }
            9 => {
                let stranger = foreign().kept.choose(&mut self.random)?.clone();
                let alike = |kept: &Kept| std::mem::discriminant(kept) == std::mem::discriminant(&stranger);
                match kept.iter().position(alike) {
                    Some(at) => kept[at] = stranger,
                    None => kept.insert(0, stranger),
                }
                ("lie: kept by another enclave", Ends::Refused, kept)
            }
            10 => ("lie: kept by another shard", Ends::Refused, foreign().kept.clone()),
            11 if !blocks.is_empty() => {
                kept.truncate(blocks[block]);
                ("lie: kept tail left out", Ends::Harmless, kept)
            }
            12 => ("lie: nothing kept", Ends::Harmless, vec![]),
            13 => {
                let older = self.adversary.as_ref().map(|adversary| adversary.snapshot.clone()).unwrap_or_default();
                if older.is_empty() {
                    return None;
                }
                kept.retain(|kept| !matches!(kept, Kept::Manifest(_) | Kept::Piece(_)));
                kept.splice(0..0, older);
                ("lie: older snapshot", Ends::Harmless, kept)
            }
            _ => return None,
        })
    }
}

fn bytes(kept: &mut Kept) -> &mut Vec<u8> {
    match kept {
        Kept::Mark(bytes) | Kept::Manifest(bytes) | Kept::Piece(bytes) | Kept::Block(bytes) => bytes,
    }
}
