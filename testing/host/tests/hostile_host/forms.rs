//! The stronger forms of what clients send, before a real enclave.

use cloister_client::{DIRECT_CALL_FEE, worker::Error};
use cloister_hostile_host::{Host, LayerOne, Start, account};
use cloister_wire::TrustedGetter;

use crate::{LEFT, PAID, SEED, SHIELDED, funded};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_executed_in_its_order_and_an_expired_call_never() {
    let host = funded().await;
    let (alice, bob) = (host.client("Alice").await, account("Bob"));
    let call = || alice.transfer(&bob, PAID);
    let newest = host.seen().block;
    let mut requests: Vec<_> = (1..100).map(|nonce| alice.request_until(newest + 1_000, call(), nonce)).collect();
    requests.insert(7, alice.request_until(newest, call(), 100));
    let answers = alice.worker.submit_batch(&requests).await.unwrap();
    let refused: Vec<_> = (0..100).filter(|place| answers[*place].is_err()).collect();
    assert_eq!(refused, [7]);
    let Err(Error::Refused(why)) = &answers[7] else { panic!("{:?}", answers[7]) };
    assert!(why.starts_with(&format!("the call has expired: its last block is {newest}")), "{why}");

    // The last of them is watched, in the published form.
    alice.pay(&bob, PAID, 100).await.unwrap();
    assert_eq!(alice.nonce().await.unwrap(), 101);
    assert_eq!(alice.balance().await.unwrap(), LEFT - 100 * (PAID + DIRECT_CALL_FEE));
    let again = alice.worker.submit_batch(&requests[..2]).await.unwrap();
    assert!(
        again.iter().all(|answer| matches!(answer, Err(Error::Refused(why)) if why.contains("is used"))),
        "{again:?}"
    );
    host.anchored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enclave_without_replayable_queries_says_what_to_use() {
    let balance = || TrustedGetter::FreeBalance(account("Alice"));
    for (layer_one, allowed) in [(LayerOne::start(), true), (LayerOne::without_unbound_getters(), false)] {
        let host = Host::served(&layer_one, Start::of(&layer_one, SEED)).await;
        host.shield(&account("Alice"), SHIELDED).await;
        let alice = host.client("Alice").await;
        match (alice.read_unbound::<u128>(balance()).await, allowed) {
            (Ok(found), true) => assert_eq!(found, Some(SHIELDED)),
            (Err(Error::Refused(why)), false) => assert_eq!(
                why,
                "this shard does not answer queries about accounts that can be replayed: use a bound getter (see \
                 docs/wire.md)"
            ),
            (answer, _) => panic!("{answer:?}"),
        }
        assert_eq!(alice.balance().await.unwrap(), SHIELDED);
        // Nobody is asked about an account by a stranger.
        let stranger = host.client("Bob").await.read_unbound::<u128>(balance()).await;
        assert!(matches!(stranger, Err(Error::Refused(_))), "{stranger:?}");
    }
}
