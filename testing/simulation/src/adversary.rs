//! Everybody lies at once: the host to the enclave, clients to it, users of layer one to both. Beside each lie stands what
//! it must end in; what it may not do to the shard, the life checks all along.

mod authorities;
mod clock;
mod inbox;
mod kept;
mod people;
mod proofs;
mod siege;
mod strangers;
mod twins;

use std::{collections::BTreeSet, sync::OnceLock};

use cloister_chain_primitives::{H256, ShardId};
use cloister_light_client::Error;
use cloister_sidechain::{Action, Engine, Figures, Kept, SnapshotRules};
use cloister_stf::Payments;
use cloister_synthetic_layer_one::Voters;
use rand::Rng;

use crate::{
    UNIT, World, account,
    life::Life,
    model::{Model, ensure},
    pooled::Pooled,
    world::Enclave,
};

pub use twins::Twin;

/// What liars need.
#[derive(Default)]
pub struct Adversary {
    /// Another start of the same sealed identity, which goes on beside the one that is looked at.
    twin: Option<Box<Twin>>,
    /// How many there were.
    twins: u32,
    /// An answer that was given.
    answered: Option<(u64, Vec<Vec<u8>>)>,
    /// Marks that were kept once.
    marks: Vec<Kept>,
    /// A snapshot that was kept once.
    snapshot: Vec<Kept>,
    /// Whether evidence was ever withheld.
    withheld: bool,
    /// Whether the enclave believes that layer one has another runtime.
    misled: bool,
    /// Extrinsics that were signed for that.
    spoilt: BTreeSet<Vec<u8>>,
    /// Whether nothing of the enclave but registrations gets into blocks.
    censors: bool,
}

impl Life {
    /// Somebody tells one lie.
    pub(crate) fn lie(&mut self) -> Result<(), String> {
        if self.random.gen_ratio(1, 4) {
            self.switch();
        }
        match self.random.gen_range(0..100) {
            0..20 => self.lie_about_finality(),
            20..38 => self.lie_in_a_proof(),
            38..46 => self.lie_about_what_is_stored(),
            46..53 => self.lie_about_the_clock(),
            53..58 => self.lie_about_the_chain(),
            58..68 => self.lie_in_a_call(),
            68..74 => self.lie_in_a_query(),
            74..80 => self.ask(),
            80..86 => self.lie_in_the_inbox(),
            86..94 => self.lie_on_layer_one(),
            94 if self.random.gen_ratio(1, 12) => self.besiege(),
            94 => {
                self.reorganise();
                Ok(())
            }
            95..97 => self.start_twin(),
            97..99 => self.back_up(),
            _ => self.pass_more_after_the_end(),
        }
    }

    /// Everybody tells the truth from now on.
    pub(crate) fn lies_cease(&mut self) -> Result<(), String> {
        if self.adversary.is_none() {
            return Ok(());
        }
        self.world.attests = true;
        self.tell_version(true);
        self.one_start_is_left()
    }

    /// What the engine makes public of itself.
    fn seen(&self) -> (Figures, Option<H256>, Vec<H256>, bool) {
        let engine = &self.world.engine;
        (engine.figures(), engine.header().map(|header| header.hash()), engine.pending(), engine.is_serving())
    }

    /// The engine refuses a lie by name, and nothing has changed.
    fn refused(
        &mut self,
        what: &'static str,
        lie: impl FnOnce(&mut Engine),
        expected: impl Fn(&Error) -> bool,
    ) -> Result<(), String> {
        self.world.take_actions();
        let before = self.seen();
        lie(&mut self.world.engine);
        let actions = self.world.engine.take_actions();
        let refused = matches!(&actions[..], [Action::Refused(error)] if expected(error));
        ensure(refused && self.seen() == before, || format!("lie not refused, {what}: {actions:?}"))?;
        self.count(what);
        Ok(())
    }

    /// The engine takes no notice of a lie.
    fn ignored(&mut self, what: &'static str, lie: impl FnOnce(&mut Engine)) -> Result<(), String> {
        self.world.take_actions();
        let before = self.seen();
        lie(&mut self.world.engine);
        let actions = self.world.engine.take_actions();
        ensure(actions.is_empty() && self.seen() == before, || format!("lie not ignored, {what}: {actions:?}"))?;
        self.count(what);
        Ok(())
    }

    /// Whether layer one's runtime refuses the extrinsic because the enclave signed it for another runtime.
    pub(crate) fn is_spoilt(&mut self, extrinsic: &[u8]) -> bool {
        let was_good = self
            .known
            .iter()
            .any(|known| matches!(known, Pooled::Enclave { extrinsic: good, .. } if good == extrinsic));
        let Some(adversary) = &mut self.adversary else { return false };
        if adversary.misled && !was_good {
            adversary.spoilt.insert(extrinsic.to_vec());
        }
        adversary.spoilt.contains(extrinsic)
    }

    /// Whether nobody on layer one includes it.
    pub(crate) fn is_censored(&self, pooled: &Pooled) -> bool {
        self.adversary.as_ref().is_some_and(|adversary| adversary.censors)
            && matches!(pooled, Pooled::Enclave { registration: None, .. } | Pooled::Stranger(_))
    }

    pub(crate) fn twin(&self) -> Option<&Twin> {
        self.adversary.as_ref()?.twin.as_deref()
    }

    /// Whether there were ever two starts at once.
    pub(crate) fn had_twins(&self) -> bool {
        self.adversary.as_ref().is_some_and(|adversary| adversary.twins > 0)
    }

    /// All that may be the shard's truth, by the blocks that hosts keep.
    pub(crate) fn histories(&self) -> impl Iterator<Item = &Model> {
        let saved = self.saved.as_ref().map(|saved| &saved.1);
        [&self.model].into_iter().chain(saved).chain(self.twin().map(Twin::model))
    }

    /// Of those the one to which the incarnation belongs that layer one has registered.
    pub(crate) fn registered_shard(&self) -> &Model {
        let registered = self.registered.last().map(|(_, incarnation)| incarnation);
        let twin = self.twin().filter(|twin| registered.is_some_and(|incarnation| twin.had(incarnation)));
        match (twin, &self.saved) {
            (Some(twin), _) => twin.model(),
            (None, Some(saved)) => &saved.1,
            (None, None) => &self.model,
        }
    }

    /// One more copy of all that is kept, to be given back some day.
    fn back_up(&mut self) -> Result<(), String> {
        if self.saved.is_none() && self.twin().is_none() && self.defect.is_none() {
            self.backup = Some((self.media.copy()?, self.model.height()));
        }
        Ok(())
    }
}

/// Another shard on the same layer one, by an enclave of the same code with another identity.
struct Foreign {
    shard: ShardId,
    kept: Vec<Kept>,
    /// Of its state of layer one.
    proof: Vec<Vec<u8>>,
}

fn foreign() -> &'static Foreign {
    static FOREIGN: OnceLock<Foreign> = OnceLock::new();
    FOREIGN.get_or_init(|| {
        let snapshots = SnapshotRules { journal_bytes: 1, piece_bytes: 200 };
        let enclave = Enclave { program: &Payments, snapshots, identity: [0xf0; 32] };
        let mut world = World::of(enclave, Voters::new(0, 1..=VOTERS), None);
        world.recover();
        world.finalize();
        world.register();
        world.finalize();
        world.bear();
        world.shield(&account("Alice"), 10 * UNIT);
        world.finalize();
        for nonce in 0..30 {
            world.tick();
            let call = world.transfer("Alice", "Bob", UNIT / 10, nonce);
            // Its statuses are nobody's business here.
            drop(world.engine.submit(call));
        }
        let kept = world.disk.kept();
        assert!(
            ["Mark", "Manifest", "Piece", "Block"]
                .iter()
                .all(|kind| { kept.iter().any(|kept| format!("{kept:?}").starts_with(kind)) })
        );
        world.build();
        world.tell_finality();
        let (_, at, keys) = world.questions.remove(0);
        let proof = world.states[&at].prove(&keys);
        Foreign { shard: world.shard(), kept, proof }
    })
}

/// Layer one's authorities where some of them lie. Three of them finalize.
pub const VOTERS: u8 = 4;
