//! Calls of any length, in a pool that holds so many bytes and no more.

use cloister_chain_primitives::ShardId;

use super::*;
use crate::room::CALL_BYTES;

/// A call that takes so many bytes.
fn long_call(sender: u32, nonce: Nonce, bytes: usize) -> VerifiedCall {
    let scope = SignatureScope { mrenclave: [0; 32], shard: ShardId::default() };
    let pair = pair(sender);
    let call = TrustedCall::App(AccountId::new(pair.public().0), vec![7; bytes - CALL_BYTES]);
    let signature = pair.sign(&scope.call_bytes(&call, nonce)).into();
    let signed = TrustedCallSigned { call, nonce, signature };
    let call = verify(operation(sender, nonce), signed, &scope, &Rules::default()).unwrap();
    assert_eq!(bytes_of(&call), bytes);
    call
}

fn admit_long(pool: &mut Pool, sender: u32, nonce: Nonce, bytes: usize) -> Result<Vec<H256>, Refused> {
    let admitted = pool.admit(long_call(sender, nonce, bytes), 0).map(|admission| admission.displaced);
    assert!(pool.bytes + pool.taken_bytes <= MAX_BYTES, "{} and {}", pool.bytes, pool.taken_bytes);
    admitted
}

/// Sixteen senders fill the pool to the last byte with calls that wait for a first one.
fn full_of_long_ones() -> Pool {
    let mut pool = Pool::default();
    for sender in 0..16 {
        for nonce in 1..=256 {
            assert_eq!(pool.admit(long_call(sender, nonce, LONG), 0).unwrap().displaced, []);
        }
    }
    assert_eq!(pool.bytes, MAX_BYTES);
    pool
}

const LONG: usize = 16 << 10;

#[test]
fn one_sender_has_a_share_of_the_bytes_and_can_always_send_its_next_call() {
    let mut pool = Pool::default();
    for nonce in 1..=256 {
        assert_eq!(admit_long(&mut pool, 1, nonce, LONG), Ok(vec![]));
    }
    assert_eq!(admit_long(&mut pool, 1, 257, CALL_BYTES), Err(Refused::TooManyBytesOfSender));
    assert_eq!(admit_long(&mut pool, 1, 0, LONG), Ok(vec![]), "all others wait for it");
    assert_eq!(pool.take_ready(2, u64::MAX, |_| true).len(), 2);
    assert_eq!(admit_long(&mut pool, 1, 257, LONG), Ok(vec![]), "what was taken counts for all");
    assert_eq!(admit_long(&mut pool, 1, 258, CALL_BYTES), Err(Refused::TooManyBytesOfSender));
}

#[test]
fn in_a_pool_full_of_bytes_who_has_most_waiting_gives_way() {
    let mut pool = full_of_long_ones();
    let nonces = |displaced: Vec<H256>| displaced.iter().map(|it| it.to_low_u64_be() as u32).collect::<Vec<_>>();
    // One who waits, too, and takes little.
    assert_eq!(admit_long(&mut pool, 100, 7, CALL_BYTES).map(nonces), Ok(vec![256]));
    assert_eq!(admit_long(&mut pool, 101, 7, LONG - CALL_BYTES), Ok(vec![]), "there is room now");
    assert_eq!(admit_long(&mut pool, 0, 0, LONG).map(nonces), Ok(vec![256]), "whose turn it is");
    assert_eq!(pool.bytes, MAX_BYTES);
    // As many small ones as the newcomer needs give way, and no more.
    let mut pool = Pool::default();
    for sender in 0..16 {
        for nonce in 1..=1_000 {
            admit(&mut pool, sender, nonce).unwrap();
        }
    }
    let mut filler = 100;
    while pool.bytes + LONG <= MAX_BYTES {
        assert_eq!(pool.admit(long_call(filler, 0, LONG), 0).unwrap().displaced, []);
        filler += 1;
    }
    let free = MAX_BYTES - pool.bytes;
    let displaced = pool.admit(long_call(filler, 0, LONG), 0).unwrap().displaced;
    assert_eq!(displaced.len(), (LONG - free).div_ceil(CALL_BYTES));
    assert!(displaced.iter().all(|operation| !pool.known.contains(operation)));
    assert_sound(&pool).unwrap();
}

#[test]
fn no_two_senders_push_each_other_out_for_ever() {
    let mut pool = full_of_long_ones();
    let (mut newcomers, mut refused) = (0, 0);
    for nonce in 1..=256 {
        for sender in 16..20 {
            match admit_long(&mut pool, sender, nonce, LONG) {
                Ok(displaced) => newcomers += displaced.len(),
                Err(Refused::TooManyBytes) => refused += 1,
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }
    assert_sound(&pool).unwrap();
    let waiting: Vec<_> = pool.waiting.iter().map(|(bytes, _)| bytes / LONG).collect();
    assert_eq!((waiting.len(), waiting.iter().sum::<usize>()), (20, 4_096));
    assert!(waiting[19] - waiting[0] <= 2, "twenty share what sixteen had: {waiting:?}");
    assert_eq!((newcomers, refused), (pool.len() / 20 * 4, 1_024 - pool.len() / 20 * 4));
    let held: Vec<_> = pool.known.iter().copied().collect();
    for sender in 0..20 {
        assert_eq!(admit_long(&mut pool, sender, 300, LONG), Err(Refused::TooManyBytes));
    }
    assert!(pool.known.iter().copied().eq(held), "a refusal changes nothing");
}

#[test]
fn what_is_taken_counts_until_it_is_settled() {
    let mut pool = Pool::default();
    let senders = (MAX_BYTES / LONG) as u32;
    for sender in 0..senders {
        pool.admit(long_call(sender, 0, LONG), 0).unwrap();
    }
    let newcomer = senders;
    assert_eq!(admit_long(&mut pool, newcomer, 0, CALL_BYTES), Err(Refused::TooManyBytes), "nobody waits");
    let mut taken = pool.take_ready(3, u64::MAX, |_| true);
    assert_eq!((pool.taken_bytes, pool.bytes), (3 * LONG, MAX_BYTES - 3 * LONG));
    assert_eq!(admit_long(&mut pool, newcomer, 0, CALL_BYTES), Err(Refused::TooManyBytes));
    // One will not be executed, one waits on, one is executed.
    let gone = taken.remove(0);
    pool.give_back(&gone, Vec::new(), 0);
    assert_eq!(admit_long(&mut pool, newcomer, 0, LONG), Ok(vec![]));
    assert_eq!(admit_long(&mut pool, newcomer, 1, CALL_BYTES), Err(Refused::TooManyBytes));
    pool.settled(&taken[..1]);
    assert_eq!(pool.taken_bytes, LONG);
    assert_eq!(admit_long(&mut pool, newcomer, 1, LONG), Ok(vec![]));
    assert_eq!(admit_long(&mut pool, newcomer + 1, 0, LONG), Ok(vec![operation(newcomer, 1)]), "it waits");
}

#[test]
fn keys_of_layer_one_count() {
    struct Reads;
    impl Program for Reads {
        fn weight(&self, _: &TrustedCall) -> u64 {
            0
        }

        fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
            Payments.execute(call, execution)
        }

        fn layer_one_reads(&self, _: &TrustedCall) -> Vec<Vec<u8>> {
            vec![vec![1; 100]; 4]
        }
    }
    let scope = SignatureScope { mrenclave: [0; 32], shard: ShardId::default() };
    let call = TrustedCall::App(account(1), vec![0; 1_000]);
    let signature = pair(1).sign(&scope.call_bytes(&call, 0)).into();
    let rules = Rules { program: &Reads, ..Rules::default() };
    let call = verify(operation(1, 0), TrustedCallSigned { call, nonce: 0, signature }, &scope, &rules).unwrap();
    assert_eq!(bytes_of(&call), CALL_BYTES + 1_000 + 4 * (100 + size_of::<Vec<u8>>()));
}
