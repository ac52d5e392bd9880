use cloister_chain_primitives::{EXISTENTIAL_DEPOSIT, UNIT};
use codec::Encode;
use jsonrpsee::server::ServerHandle;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::*;
use crate::{
    funds::{BIRTH, FEES_IN_HAND, FUNDING},
    testing::{FEE, FakeNode, PATIENCE, State, account, collateral, purse, registration},
};

/// A registrar at a fake node.
struct Stage {
    node: FakeNode,
    newest: watch::Sender<Newest>,
    progress: mpsc::UnboundedReceiver<Progress>,
    shared: Arc<Shared>,
    address: String,
    registrar: JoinHandle<()>,
    _handle: ServerHandle,
}

async fn stage(sponsor: Sponsor, collateral: Option<Collateral>, prepare: impl FnOnce(&mut State)) -> Stage {
    let node = FakeNode::new();
    prepare(&mut node.state());
    let (address, _handle) = node.serve("127.0.0.1:0").await;
    let (tell, progress) = mpsc::unbounded_channel();
    let (newest, follow_newest) = watch::channel(None);
    let shared = Arc::new(Shared::new());
    let purse = purse(address);
    let address = purse.layer_one.url().to_string();
    let registrar = Registrar {
        purse,
        shared: shared.clone(),
        operator: Operator::listening(move |progress| tell.send(progress.clone()).unwrap_or_default()),
        sponsor,
        collateral,
        submit_collateral: "cloister attest submit".into(),
        pause: Duration::from_millis(10),
    };
    let registrar = tokio::spawn(registrar.run(follow_newest));
    Stage { node, newest, progress, shared, address, registrar, _handle }
}

impl Stage {
    fn register(&self, block_number: u32) {
        let pending = Pending { registration: registration(block_number), extrinsic: extrinsic(block_number) };
        self.newest.send_replace(Some(Arc::new(pending)));
    }

    async fn next(&mut self) -> Progress {
        timeout(PATIENCE, self.progress.recv()).await.expect("something happens").unwrap()
    }

    async fn obstacle(&mut self) -> Obstacle {
        match self.next().await {
            Progress::Waiting { account, obstacle } => {
                assert_eq!(account, super::tests::account());
                obstacle
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the registrar has looked at least `count` more times.
    async fn looks(&self, count: usize) {
        let enough = self.node.state().tried.len() + count;
        let looked = async {
            while self.node.state().tried.len() < enough {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, looked).await.unwrap();
    }
}

fn extrinsic(block_number: u32) -> Vec<u8> {
    vec![0xee, block_number as u8]
}

fn rich(state: &mut State) {
    state.fund(&account(), 100 * UNIT);
}

/// What a first start must have: deposits, the fees of registration and birth, and those in hand.
const FIRST_START: Balance = REGISTRATION_DEPOSIT + BIRTH + (2 + FEES_IN_HAND) * FEE + EXISTENTIAL_DEPOSIT;

#[tokio::test]
async fn a_registration_that_layer_one_would_take_is_submitted() {
    let mut stage = stage(Sponsor::Operator, None, rich).await;
    stage.register(5);
    assert_eq!(stage.next().await, Progress::Registering { block_number: 5 });
    assert_eq!(stage.node.state().submitted, [extrinsic(5)]);
    assert_eq!(stage.node.state().tried, [(account(), registration(5))]);
    // A renewal.
    stage.newest.send_replace(None);
    stage.register(9);
    assert_eq!(stage.next().await, Progress::Registering { block_number: 9 });
    assert_eq!(stage.node.state().submitted, [extrinsic(5), extrinsic(9)]);
    drop(stage.newest);
    timeout(PATIENCE, stage.registrar).await.expect("ends with the session").unwrap();
}

#[tokio::test]
async fn the_operator_is_told_once_what_is_missing_and_the_registration_waits_for_it() {
    let nothing = |state: &mut State| state.refusal = Some(RegistrationRefused::TcbInfoMissing);
    let mut stage = stage(Sponsor::Operator, Some(collateral()), nothing).await;
    stage.register(5);
    assert_eq!(stage.obstacle().await, Obstacle::Funds { free: 0, needed: FIRST_START });
    let command = "cloister attest submit".to_owned();
    let missing = |refusal| Obstacle::Collateral { refusal, command: command.clone() };
    assert_eq!(stage.obstacle().await, missing(RegistrationRefused::TcbInfoMissing));
    stage.looks(3).await;
    assert!(stage.progress.try_recv().is_err(), "told once");
    // Its status says it for as long as it lasts.
    let (address, needed) = (account().to_ss58check(), units(FIRST_START));
    let transfer = format!("cloister transfer SURI {address} {} --node-url {}", needed.replace(' ', ""), stage.address);
    let funds = Shown {
        waits_for: "funds".into(),
        reason: format!("it has 0 UNIT of the {needed} that it needs for deposits and fees; send it {needed}"),
        missing: Some(FIRST_START.to_string()),
        command: Some(transfer),
    };
    let shown = stage.shared.status().obstacles;
    assert_eq!(shown.first(), Some(&funds));
    assert_eq!((shown.len(), shown[1].waits_for.as_str()), (2, "collateral"));
    assert_eq!((shown[1].missing.as_ref(), shown[1].command.as_ref()), (None, Some(&command)));

    stage.node.state().fund(&account(), FIRST_START);
    stage.node.state().refusal = Some(RegistrationRefused::QeIdentityMissing);
    assert_eq!(stage.obstacle().await, missing(RegistrationRefused::QeIdentityMissing));
    let crl = RegistrationRefused::Policy(Refusal::CrlMissing);
    stage.node.state().refusal = Some(crl);
    assert_eq!(stage.obstacle().await, missing(crl));
    assert!(stage.node.state().submitted.is_empty());
    stage.node.state().refusal = None;
    assert_eq!(stage.next().await, Progress::Registering { block_number: 5 });
    assert_eq!(stage.shared.status().obstacles, []);
}

/// Without that, an enclave would register and then not bear its shard.
#[tokio::test]
async fn an_account_must_be_able_to_pay_for_all_that_a_start_brings() {
    let mut stage = stage(Sponsor::Operator, None, |state| state.fund(&account(), FIRST_START - 1)).await;
    stage.register(5);
    assert_eq!(stage.obstacle().await, Obstacle::Funds { free: FIRST_START - 1, needed: FIRST_START });
    // A predecessor's deposit counts for the identity.
    let needed = FIRST_START - REGISTRATION_DEPOSIT;
    stage.node.state().fund(&account(), needed - 1);
    stage.node.state().record();
    let mut obstacle = stage.obstacle().await;
    // A look may have been under way.
    while obstacle != (Obstacle::Funds { free: needed - 1, needed }) {
        obstacle = stage.obstacle().await;
    }
    stage.node.state().fund(&account(), needed);
    assert_eq!(stage.next().await, Progress::Registering { block_number: 5 });
}

#[tokio::test]
async fn a_renewal_does_not_wait_for_the_money_for_the_next() {
    let least = FEE + EXISTENTIAL_DEPOSIT;
    let serving = |state: &mut State| {
        state.record();
        state.bear();
        state.fund(&account(), least - 1);
    };
    let mut stage = stage(Sponsor::Operator, None, serving).await;
    stage.register(5);
    let needed = least + FEES_IN_HAND * FEE;
    assert_eq!(stage.obstacle().await, Obstacle::Funds { free: least - 1, needed });
    stage.node.state().fund(&account(), least);
    assert_eq!(stage.next().await, Progress::Registering { block_number: 5 });
}

#[tokio::test]
async fn a_deposit_that_layer_one_cannot_hold_is_a_matter_of_money() {
    let mut stage = stage(Sponsor::Operator, None, rich).await;
    stage.node.state().refusal = Some(RegistrationRefused::Deposit);
    stage.register(5);
    let needed = 100 * UNIT + REGISTRATION_DEPOSIT;
    assert_eq!(stage.obstacle().await, Obstacle::Funds { free: 100 * UNIT, needed });
    stage.node.state().fund(&account(), 1);
    assert_eq!(stage.obstacle().await, Obstacle::Funds { free: 1, needed: FIRST_START });
    stage.looks(3).await;
    assert!(stage.progress.try_recv().is_err(), "the same is not told twice");
    assert!(stage.node.state().submitted.is_empty());
}

#[tokio::test]
async fn collateral_that_ran_out_or_is_too_old_is_asked_for_with_the_command() {
    use RegistrationRefused::{NotGenuine, Policy};
    let mut stage = stage(Sponsor::Operator, None, rich).await;
    let refusals = [
        NotGenuine(Error::DocumentExpired),
        NotGenuine(Error::CrlExpired),
        Policy(Refusal::CollateralAge),
        Policy(Refusal::EvaluationNumber),
    ];
    stage.node.state().refusal = Some(refusals[0]);
    stage.register(5);
    for refusal in refusals {
        stage.node.state().refusal = Some(refusal);
        let expected = Obstacle::Collateral { refusal, command: "cloister attest submit".into() };
        let mut obstacle = stage.obstacle().await;
        // A look may have been under way.
        while obstacle != expected {
            obstacle = stage.obstacle().await;
        }
    }
    assert!(stage.node.state().submitted.is_empty());
}

#[tokio::test]
async fn refusals_that_neither_money_nor_collateral_cure_are_told_and_tried_again() {
    for sponsor in [Sponsor::Operator, Sponsor::Alice] {
        let mut stage = stage(sponsor, Some(collateral()), rich).await;
        let refusals = [
            RegistrationRefused::TooSoon,
            RegistrationRefused::EvidenceTooOld,
            RegistrationRefused::Policy(Refusal::Debug),
            RegistrationRefused::NotGenuine(Error::ChainMalformed),
        ];
        stage.node.state().refusal = Some(refusals[0]);
        stage.register(5);
        for refusal in refusals {
            stage.node.state().refusal = Some(refusal);
            let mut obstacle = stage.obstacle().await;
            // A look may have been under way.
            while obstacle != Obstacle::Refused(refusal) {
                obstacle = stage.obstacle().await;
            }
        }
        assert!(stage.node.state().submitted.is_empty());
        stage.node.state().refusal = None;
        assert_eq!(stage.next().await, Progress::Registering { block_number: 5 });
    }
}

#[tokio::test]
async fn what_the_next_block_removes_is_not_worth_a_word() {
    let mut stage = stage(Sponsor::Operator, None, rich).await;
    stage.node.state().refusal = Some(RegistrationRefused::UnknownBlock);
    stage.register(5);
    stage.looks(3).await;
    assert_eq!(stage.shared.status().obstacles, []);
    stage.node.state().refusal = None;
    assert_eq!(stage.next().await, Progress::Registering { block_number: 5 });
}

#[tokio::test]
async fn the_newest_registration_wins() {
    let mut stage = stage(Sponsor::Operator, None, rich).await;
    stage.node.state().refusal = Some(RegistrationRefused::EvidenceTooOld);
    stage.register(5);
    assert_eq!(stage.obstacle().await, Obstacle::Refused(RegistrationRefused::EvidenceTooOld));
    stage.register(6);
    let newer = async {
        while stage.node.state().tried.last().is_none_or(|(_, tried)| tried.block_number != 6) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, newer).await.unwrap();
    stage.node.state().refusal = None;
    assert_eq!(stage.next().await, Progress::Registering { block_number: 6 });
    assert_eq!(stage.node.state().submitted, [extrinsic(6)]);
}

#[tokio::test]
async fn what_the_node_does_not_take_is_told() {
    let mut stage = stage(Sponsor::Operator, None, rich).await;
    stage.node.state().refuse_extrinsics = Some("payment");
    stage.register(5);
    assert_eq!(stage.obstacle().await, Obstacle::NotTaken("Invalid Transaction: \"payment\"".into()));
    stage.node.state().refuse_extrinsics = None;
    assert_eq!(stage.next().await, Progress::Registering { block_number: 5 });
}

#[tokio::test]
async fn a_registration_whose_nonce_or_era_is_over_waits_for_the_next_without_a_word() {
    let mut stage = stage(Sponsor::Operator, None, rich).await;
    stage.register(5);
    let words =
        ["Transaction is outdated", "Transaction has an ancient birth block", "Transaction has a bad signature"];
    for words in words {
        stage.node.state().refuse_extrinsics = Some(words);
        stage.looks(3).await;
    }
    stage.node.state().refuse_extrinsics = None;
    stage.register(15);
    let mut progress = stage.next().await;
    // The older one may be tried once more.
    while progress == (Progress::Registering { block_number: 5 }) {
        progress = stage.next().await;
    }
    assert_eq!(progress, Progress::Registering { block_number: 15 });
}

#[tokio::test]
async fn on_a_development_chain_alice_pays_and_submits_the_enclaves_collateral() {
    /// Whatever the order and however often.
    fn effect(state: &mut State, extrinsic: &[u8]) {
        let carries = |call: &Call| extrinsic.windows(call.encoded_size()).any(|window| window == call.encode());
        if carries(&Call::transfer_allow_death(&account(), FUNDING)) {
            state.fund(&account(), FUNDING);
        }
        if let Some(last) = collateral_calls(&collateral()).last()
            && carries(last)
        {
            state.refusal = None;
        }
    }
    let poor = |state: &mut State| {
        state.refusal = Some(RegistrationRefused::TcbInfoMissing);
        // Another worker acts as //Alice, too.
        state.collisions = 3;
        state.effect = Some(effect);
    };
    let mut stage = stage(Sponsor::Alice, Some(collateral()), poor).await;
    stage.register(5);
    assert_eq!(stage.next().await, Progress::Registering { block_number: 5 });
    let submitted = stage.node.state().submitted.clone();
    let calls = collateral_calls(&collateral());
    assert_eq!((submitted.len(), calls.len()), (5, 3));
    for (extrinsic, call) in submitted[1..].iter().zip(&calls) {
        assert!(extrinsic.ends_with(&call.encode()));
    }
    assert_eq!(submitted[4], extrinsic(5));
}

#[tokio::test]
async fn alice_cannot_help_with_collateral_that_nobody_has() {
    let mut stage = stage(Sponsor::Alice, None, rich).await;
    stage.node.state().refusal = Some(RegistrationRefused::TcbInfoMissing);
    stage.register(5);
    assert!(matches!(stage.obstacle().await, Obstacle::Collateral { .. }));
    assert!(stage.node.state().submitted.is_empty());
}

#[test]
fn each_list_is_submitted_with_a_chain_that_it_hangs_on() {
    let mut given = collateral();
    let all = Call::register_crls(&[vec![0x30, 1], vec![0x30, 2]], b"PEM of the issuer");
    assert_eq!(collateral_calls(&given).last(), Some(&all));
    given.pck_crl = None;
    assert_eq!(collateral_calls(&given).last(), Some(&Call::register_crls(&[vec![0x30, 1]], b"PEM")));
    given.root_crl = None;
    assert_eq!(collateral_calls(&given).len(), 2);
}
