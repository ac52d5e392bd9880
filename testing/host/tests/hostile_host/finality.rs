//! Lies about layer one, and about the time.

use std::sync::{Arc, Mutex};

use cloister_chain_primitives::storage;
use cloister_hostile_host::{Host, LayerOne, Passing, Start, account};
use cloister_link::{ToEnclave, ToHost};
use codec::Encode;

use crate::{PAID, SEED, funded, goes_on, pays, restarts, tells_the_truth};

const REFUSED: &str = "refused input from the host";

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_another_chain_with_the_same_specification_are_refused() {
    let (chain, other) = (LayerOne::start(), LayerOne::start_another());
    let impostor = other.clone();
    let start = Start::of(&chain, SEED).lying(move |passing| match passing {
        Passing::ToEnclave(ToEnclave::Finality { headers, .. }) => {
            let last = headers.last().unwrap().number;
            if impostor.height() < last {
                return vec![];
            }
            let (headers, justification) = impostor.finality(headers[0].number, last);
            vec![Passing::ToEnclave(ToEnclave::Finality { headers, justification })]
        }
        passing => vec![passing],
    });
    let host = Host::start(&chain, start).await;
    host.logs(&[REFUSED, "header 1 is not a child of the header before it"]).await;
    host.heard().await;
    let seen = host.seen();
    assert_eq!((seen.synced, seen.questions, seen.registered), (Some(0), 0, false));
    host.be_honest();
    host.until("serving", |seen| seen.serving.then_some(())).await;
}

/// The same in the midst of service.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_chain_brings_nothing_new() {
    let other = LayerOne::start_another();
    let host = funded().await;
    // It is as far as the chain that the enclave follows: nobody tells them apart by their heights.
    let known = host.seen().synced.unwrap();
    let (headers, justification) = other.finality(known + 1, other.height());
    host.say(ToEnclave::Finality { headers, justification });
    host.logs(&[REFUSED]).await;
    goes_on(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finality_that_nobody_justified_is_refused_and_asked_for_again() {
    let host = funded().await;
    let forged = Arc::new(Mutex::new(0));
    let count = forged.clone();
    host.lie(move |passing| match passing {
        Passing::ToEnclave(ToEnclave::Finality { headers, mut justification }) => {
            *count.lock().unwrap() += 1;
            *justification.last_mut().unwrap() ^= 1;
            vec![Passing::ToEnclave(ToEnclave::Finality { headers, justification })]
        }
        passing => vec![passing],
    });
    let known = host.seen().synced;
    host.logs(&[REFUSED]).await;
    while *forged.lock().unwrap() < 3 {
        host.heard().await;
    }
    assert_eq!(host.seen().synced, known);
    host.be_honest();
    goes_on(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_a_state_that_never_was_is_refused() {
    let host = funded().await;
    let (chain, shard) = (host.layer_one.clone(), host.identity().shard);
    let questions = Arc::new(Mutex::new(Vec::new()));
    host.lie(move |passing| match passing {
        Passing::ToHost(ToHost::ProofQuestion { question, at, keys }) => {
            questions.lock().unwrap().push((question, keys.clone()));
            let forged = chain.forge(&keys, |storage| {
                storage.insert(storage::inbox_length(&shard), 1_000u64.encode());
            });
            let answer = ToEnclave::ProofAnswer { question, proof: Ok(forged) };
            vec![Passing::ToEnclave(answer), Passing::ToHost(ToHost::ProofQuestion { question, at, keys })]
        }
        passing => vec![passing],
    });
    host.logs(&[REFUSED, "storage proof of another root than"]).await;
    assert_eq!(host.client("Alice").await.inbox().await.unwrap().consumed, 1);
    host.be_honest();
    goes_on(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_moves_nothing() {
    let host = funded().await;
    let now = host.layer_one.now();
    // The true time last: before the host's next word of it a query would be answered by the time that was said.
    for unix_ms in [0, 1, now - 1_000_000, now + 40_000, now + 10_000_000, u64::MAX - 1, u64::MAX, 0, u64::MAX, now] {
        host.say(ToEnclave::Tick { unix_ms });
    }
    goes_on(&host).await;
    // One that is always wrong makes no blocks, or none of another time.
    for (jump, pauses) in [(i64::MAX, true), (3_600_000, true), (-3_600_000, false), (i64::MIN, false)] {
        host.lie(move |passing| match passing {
            Passing::ToEnclave(ToEnclave::Tick { unix_ms }) => {
                vec![Passing::ToEnclave(ToEnclave::Tick { unix_ms: unix_ms.saturating_add_signed(jump) })]
            }
            passing => vec![passing],
        });
        host.until("the clock counts", |seen| (seen.paused.is_some() == pauses).then_some(())).await;
        let alice = host.client("Alice").await;
        let nonce = host.seen().block as u32;
        let paid = alice.send(&account("Bob"), PAID, nonce - 1).await;
        drop(paid);
    }
    host.be_honest();
    host.until("no pause", |seen| seen.paused.is_none().then_some(())).await;
    tells_the_truth_of_some(&host).await;
}

/// However many payments went through, the books are right.
async fn tells_the_truth_of_some(host: &Host) {
    let (alice, bob) = (host.client("Alice").await, host.client("Bob").await);
    host.anchored().await;
    let nonce = alice.nonce().await.unwrap();
    let cost = PAID + cloister_client::DIRECT_CALL_FEE;
    assert_eq!(alice.balance().await.unwrap(), crate::SHIELDED - u128::from(nonce) * cost);
    assert_eq!(bob.balance().await.unwrap(), u128::from(nonce) * PAID);
}

#[tokio::test(flavor = "multi_thread")]
async fn withheld_state_pauses_and_nothing_is_signed_meanwhile() {
    let host = funded().await;
    host.lie(|passing| match passing {
        Passing::ToEnclave(ToEnclave::ProofAnswer { .. }) => vec![],
        passing => vec![passing],
    });
    let pause = "layer one's state was proven too many finalized blocks ago";
    host.until("a pause", |seen| (seen.paused.as_deref() == Some(pause)).then_some(())).await;
    let alice = host.client("Alice").await;
    let refused = format!("the enclave refused: paused: {pause}");
    assert_eq!(alice.balance().await.unwrap_err().to_string(), refused);
    assert_eq!(alice.pay(&account("Bob"), PAID, 1).await.unwrap_err().to_string(), refused);
    assert_eq!(alice.inbox().await.unwrap_err().to_string(), refused);
    host.be_honest();
    host.until("no pause", |seen| seen.paused.is_none().then_some(())).await;
    goes_on(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn withheld_finality_pauses_blocks_and_what_was_taken_waits() {
    let host = funded().await;
    host.lie(|passing| match passing {
        Passing::ToEnclave(ToEnclave::Finality { .. }) => vec![],
        passing => vec![passing],
    });
    let pause = "layer one's finalized time is too old";
    host.until("a pause", |seen| (seen.paused.as_deref() == Some(pause)).then_some(())).await;
    let alice = host.client("Alice").await;
    let refused = format!("the enclave refused: paused: {pause}");
    assert_eq!(alice.pay(&account("Bob"), PAID, 1).await.unwrap_err().to_string(), refused);
    // An answer says how old what it rests on is.
    tells_the_truth(&host).await;
    host.be_honest();
    host.until("no pause", |seen| seen.paused.is_none().then_some(())).await;
    goes_on(&host).await;
}

/// What the host said to the start before is said to the next one, before anything else and in the midst of it.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_an_earlier_start_are_nothing_to_the_next() {
    let layer_one = LayerOne::start();
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let record = recorded.clone();
    let start = Start::of(&layer_one, SEED).lying(move |passing| {
        if let Passing::ToEnclave(
            message @ (ToEnclave::Finality { .. }
            | ToEnclave::ProofAnswer { .. }
            | ToEnclave::Stored { .. }
            | ToEnclave::Tick { .. }),
        ) = &passing
        {
            record.lock().unwrap().push(message.clone());
        }
        vec![passing]
    });
    let mut first = Host::served(&layer_one, start).await;
    first.shield(&account("Alice"), crate::SHIELDED).await;
    pays(&first.client("Alice").await, 0).await;
    first.anchored().await;
    first.kill();
    let recorded: Vec<_> = recorded.lock().unwrap().drain(..).map(Passing::ToEnclave).collect();
    let answers =
        recorded.iter().filter(|passing| matches!(passing, Passing::ToEnclave(ToEnclave::ProofAnswer { .. })));
    assert!(answers.count() > 3, "too little to say again");
    let earlier = recorded.clone();
    let start = Start::of(&layer_one, SEED).with_disk(first.disk()).lying(move |passing| match passing {
        Passing::ToEnclave(ToEnclave::Start { .. }) => [&[passing][..], &earlier].concat(),
        passing => vec![passing],
    });
    let second = Host::served(&layer_one, start).await;
    recorded.into_iter().for_each(|passing| second.inject(passing));
    goes_on(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_never_was_spoils_extrinsics_and_nothing_else() {
    let host = funded().await;
    host.say(ToEnclave::ChainVersion { spec_version: 99, transaction_version: 99 });
    pays(&host.client("Alice").await, 1).await;
    let (seen, anchors) = (host.seen(), host.layer_one.anchors(&host.identity().shard));
    host.until("asked in vain", |now| (now.submissions > seen.submissions + 1).then_some(())).await;
    assert_eq!(host.layer_one.anchors(&host.identity().shard), anchors, "nobody else could sign it");
    host.say(ToEnclave::ChainVersion { spec_version: 1, transaction_version: 1 });
    host.anchored().await;
    let alice = host.client("Alice").await;
    assert_eq!(alice.nonce().await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_registration_comes_again() {
    let layer_one = LayerOne::start();
    let mut lost = 0;
    let start = Start::of(&layer_one, SEED).lying(move |passing| match passing {
        Passing::ToHost(ToHost::Register { .. }) if lost < 2 => {
            lost += 1;
            vec![]
        }
        passing => vec![passing],
    });
    let mut host = Host::served(&layer_one, start).await;
    host.shield(&account("Alice"), crate::SHIELDED).await;
    pays(&host.client("Alice").await, 0).await;
    host.anchored().await;
    host.kill();
    restarts(&layer_one, host.disk()).await;
}
