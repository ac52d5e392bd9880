//! Requests at once: what is verified first and written last must still be so when it is written.

use std::collections::BTreeSet;

use cloister_client::{DIRECT_CALL_FEE, worker::Error};
use cloister_hostile_host::{Client, Host, account};
use cloister_wire::TrustedCall;
use futures::future::join_all;

use crate::{LEFT, PAID, funded, pays};

const COST: u128 = PAID + DIRECT_CALL_FEE;

async fn clients(host: &Host, who: &str, count: usize) -> Vec<Client> {
    join_all((0..count).map(|_| host.client(who))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_on_many_connections_at_once_is_executed_once() {
    let host = funded().await;
    let connections = clients(&host, "Alice", 8).await;
    let bob = account("Bob");
    for nonce in 1..6 {
        // One ciphertext, and so one operation.
        let request = connections[0].request(connections[0].transfer(&bob, PAID), nonce);
        let results = join_all(connections.iter().map(async |client| {
            let mut operation = client.worker.submit_and_watch(&request).await?;
            operation.in_block().await
        }));
        let mut taken = 0;
        for result in results.await {
            match result {
                Ok(_) => taken += 1,
                Err(Error::Refused(why)) => {
                    let used = format!("nonce {nonce} is used, the next one is {}", nonce + 1);
                    assert!(why == "the same operation is already pending" || why == used, "{why}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(taken, 1);
        assert_eq!(connections[0].nonce().await.unwrap(), nonce + 1);
        assert_eq!(connections[0].balance().await.unwrap(), LEFT - u128::from(nonce) * COST);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_calls_with_one_nonce_one_is_executed() {
    let host = funded().await;
    let connections = clients(&host, "Alice", 8).await;
    for nonce in 1..6 {
        let results = join_all(connections.iter().enumerate().map(async |(index, client)| {
            // To eight different accounts.
            client.pay(&account(&format!("Friend{index}")), PAID, nonce).await
        }));
        let done = results.await.into_iter().filter(|result| match result {
            Ok(_) => true,
            Err(Error::Refused(_) | Error::Usurped { .. } | Error::Dropped { .. } | Error::CallFailed { .. }) => false,
            Err(error) => panic!("{error}"),
        });
        assert_eq!(done.count(), 1);
        assert_eq!(connections[0].nonce().await.unwrap(), nonce + 1);
        assert_eq!(connections[0].balance().await.unwrap(), LEFT - u128::from(nonce) * COST);
    }
    let mut sum = 0;
    for index in 0..8 {
        sum += host.client(&format!("Friend{index}")).await.balance().await.unwrap();
    }
    assert_eq!(sum, 5 * PAID);
}

/// The same call through layer one's inbox and directly, at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_both_ways_is_executed_on_one_of_them() {
    let host = funded().await;
    let (alice, shard) = (host.client("Alice").await, host.identity().shard);
    for round in 1..4 {
        let call = || TrustedCall::BalanceTransfer(account("Alice"), account("Bob"), PAID);
        let consumed = host.seen().inbox_consumed;
        host.layer_one.invoke(shard, alice.invocation(call(), round));
        let direct = alice.worker.submit(&alice.request(call(), round)).await;
        assert!(matches!(direct, Ok(_) | Err(Error::Refused(_))), "{direct:?}");
        host.until("both", |seen| (seen.inbox_consumed > consumed).then_some(())).await;
        assert_eq!(alice.nonce().await.unwrap(), round + 1);
        let bob = host.client("Bob").await.balance().await.unwrap();
        assert_eq!(bob, PAID + u128::from(round) * PAID);
    }
}

/// Answers between payments are those of some state that was, and never of an older one than before.
#[tokio::test(flavor = "multi_thread")]
async fn queries_at_the_same_time_as_calls_see_whole_states_in_order() {
    let host = funded().await;
    let (payer, reader, other) = (host.client("Alice").await, host.client("Alice").await, host.client("Bob").await);
    let valid: BTreeSet<_> = (0..=20).map(|paid| LEFT - paid * COST).collect();
    let received: BTreeSet<_> = (0..=20).map(|paid| PAID + paid * PAID).collect();
    let paying = async {
        for nonce in 1..=20 {
            pays(&payer, nonce).await;
        }
    };
    let reading = async {
        let (mut last, mut last_received) = (u128::MAX, 0);
        while last > LEFT - 20 * COST {
            let (balance, bob) = tokio::join!(reader.balance(), other.balance());
            let (balance, bob) = (balance.unwrap(), bob.unwrap());
            assert!(valid.contains(&balance) && balance <= last, "{balance} after {last}");
            assert!(received.contains(&bob) && bob >= last_received, "{bob} after {last_received}");
            (last, last_received) = (balance, bob);
        }
    };
    tokio::join!(paying, reading);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_in_any_order_are_all_executed_in_theirs() {
    let host = funded().await;
    let connections = clients(&host, "Alice", 4).await;
    let bob = account("Bob");
    // Later nonces first.
    let operations = (1..=40u32).rev().map(|nonce| connections[nonce as usize % 4].send(&bob, PAID, nonce));
    for operation in join_all(operations).await {
        operation.unwrap().in_block().await.unwrap();
    }
    assert_eq!(connections[0].nonce().await.unwrap(), 41);
    assert_eq!(connections[0].balance().await.unwrap(), LEFT - 40 * COST);
    assert_eq!(host.client("Bob").await.balance().await.unwrap(), PAID + 40 * PAID);
    host.anchored().await;
}

/// More than there is, by calls that each alone could be paid.
#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_that_together_cost_too_much_do_not_overdraw() {
    let host = funded().await;
    let connections = clients(&host, "Alice", 4).await;
    let (bob, half) = (account("Bob"), LEFT / 2);
    let results = join_all(
        (0..4).map(async |index| connections[index].send(&bob, half, index as u32 + 1).await?.in_block().await),
    );
    let done = results.await.into_iter().filter(Result::is_ok).count() as u128;
    assert_eq!(done, 1, "two halves and their fees are more than all");
    assert_eq!(host.client("Bob").await.balance().await.unwrap(), PAID + half);
    let spent = half + u128::from(connections[0].nonce().await.unwrap() - 1) * DIRECT_CALL_FEE;
    assert_eq!(connections[0].balance().await.unwrap(), LEFT - spent);
}
