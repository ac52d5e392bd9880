use cloister_chain_primitives::{EXISTENTIAL_DEPOSIT, H256, calls::Call};
use codec::Encode;
use jsonrpsee::server::ServerHandle;
use tokio::sync::mpsc;

use super::*;
use crate::{
    funds::{BIRTH, FEES_IN_HAND, FUNDING},
    operator::Progress,
    testing::{FEE, FakeNode, State, account, birth, purse, shard},
};

const LEAST: u128 = FEE + EXISTENTIAL_DEPOSIT;

struct Stage {
    node: FakeNode,
    submitter: Submitter,
    shared: Arc<Shared>,
    progress: mpsc::UnboundedReceiver<Progress>,
    _handle: ServerHandle,
}

async fn stage(sponsor: Sponsor, prepare: impl FnOnce(&mut State)) -> Stage {
    let node = FakeNode::new();
    prepare(&mut node.state());
    let (address, _handle) = node.serve("127.0.0.1:0").await;
    let (tell, progress) = mpsc::unbounded_channel();
    let operator = Operator::listening(move |progress| tell.send(progress.clone()).unwrap_or_default());
    let shared = Arc::new(Shared::new());
    let submitter = Submitter::new(purse(address), sponsor, operator, shared.clone());
    Stage { node, submitter, shared, progress, _handle }
}

fn confirmation() -> Vec<u8> {
    let call = Call::confirm_processed_parentchain_block(&shard(), &H256::zero(), 1, &H256::zero());
    [vec![0xee], call.encode()].concat()
}

fn bearing() -> Vec<u8> {
    [vec![0xee], Call::create_shard(&birth()).encode()].concat()
}

fn lacks(free: u128, needed: u128) -> Progress {
    Progress::Waiting { account: account(), obstacle: Obstacle::Funds { free, needed } }
}

#[tokio::test]
async fn what_cannot_be_paid_is_told_with_account_and_amount_once() {
    let mut stage = stage(Sponsor::Operator, |state| state.fund(&account(), 1)).await;
    stage.node.state().refuse_extrinsics = Some("Inability to pay some fees (e.g. account balance too low)");
    let reason = "Invalid Transaction: \"Inability to pay some fees (e.g. account balance too low)\"";
    assert_eq!(stage.submitter.submit(&confirmation()).await.unwrap_err(), reason);
    let needed = LEAST + FEES_IN_HAND * FEE;
    assert_eq!(stage.progress.try_recv().unwrap(), lacks(1, needed));
    assert_eq!(stage.submitter.submit(&confirmation()).await.unwrap_err(), reason);
    assert!(stage.progress.try_recv().is_err(), "told once");
    let shown = stage.shared.status().obstacles;
    assert_eq!((shown.len(), shown[0].missing.clone()), (1, Some((needed - 1).to_string())));

    stage.node.state().fund(&account(), needed);
    stage.node.state().refuse_extrinsics = None;
    stage.submitter.submit(&confirmation()).await.unwrap();
    assert_eq!(stage.shared.status().obstacles, []);
    assert_eq!(stage.node.state().submitted, [confirmation()]);
    stage.node.state().fund(&account(), 2);
    stage.node.state().refuse_extrinsics = Some("payment");
    stage.submitter.submit(&confirmation()).await.unwrap_err();
    assert_eq!(stage.progress.try_recv().unwrap(), lacks(2, needed), "news again");
}

#[tokio::test]
async fn what_is_refused_for_other_reasons_is_no_matter_of_money() {
    let mut stage = stage(Sponsor::Operator, |state| state.fund(&account(), LEAST)).await;
    stage.node.state().refuse_extrinsics = Some("Transaction is outdated");
    let reason = stage.submitter.submit(&confirmation()).await.unwrap_err();
    assert_eq!(reason, "Invalid Transaction: \"Transaction is outdated\"");
    assert!(stage.progress.try_recv().is_err());
}

#[tokio::test]
async fn a_birth_without_its_deposit_is_not_submitted() {
    let least = LEAST + BIRTH;
    let mut stage = stage(Sponsor::Operator, |state| state.fund(&account(), least - 1)).await;
    let needed = least + FEES_IN_HAND * FEE;
    let reason = stage.submitter.submit(&bearing()).await.unwrap_err();
    assert_eq!(reason, Obstacle::Funds { free: least - 1, needed }.to_string());
    assert_eq!(stage.progress.try_recv().unwrap(), lacks(least - 1, needed));
    assert!(stage.node.state().submitted.is_empty());
    // Nothing else needs the deposit.
    stage.submitter.submit(&confirmation()).await.unwrap();
    stage.node.state().fund(&account(), least);
    stage.submitter.submit(&bearing()).await.unwrap();
    assert_eq!(stage.node.state().submitted, [confirmation(), bearing()]);
}

#[tokio::test]
async fn on_a_development_chain_alice_pays() {
    fn effect(state: &mut State, extrinsic: &[u8]) {
        if extrinsic.ends_with(&Call::transfer_allow_death(&account(), FUNDING).encode()) {
            state.fund(&account(), FUNDING);
        }
    }
    let mut stage = stage(Sponsor::Alice, |state| state.effect = Some(effect)).await;
    stage.submitter.submit(&bearing()).await.unwrap();
    assert_eq!(stage.node.state().submitted.last(), Some(&bearing()));
    assert_eq!(stage.node.state().submitted.len(), 2);
    assert!(stage.progress.try_recv().is_err());
}
