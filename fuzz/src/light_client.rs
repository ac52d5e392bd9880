//! Headers, justifications and storage proofs.

use std::sync::LazyLock;

use cloister_chain_primitives::{H256, Header, storage};
use cloister_light_client::{LightClient, VerifiedHeader, check_layout};
use cloister_synthetic_layer_one::{Chain, State, Voters, child, justification};
use codec::{Decode, DecodeAll, Encode};
use sp_core::{Hasher, storage::StateVersion};
use sp_runtime::{Digest, DigestItem};

use crate::input::{Input, piece};

/// What is true.
struct World {
    chain: Chain,
    voters: Voters,
    next: Voters,
    state: State,
    values: Vec<(Vec<u8>, Vec<u8>)>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut values: Vec<(Vec<u8>, Vec<u8>)> = [
        (storage::enclave_bridge_version(), storage::ENCLAVE_BRIDGE_VERSION),
        (storage::teerex_version(), storage::TEEREX_VERSION),
        (storage::sidechain_version(), storage::SIDECHAIN_VERSION),
    ]
    .map(|(key, version)| (key, version.encode()))
    .to_vec();
    // Long ones stand outside of their nodes.
    values.extend((0..20u8).map(|number| (vec![number; 33], vec![number; 10 + usize::from(number) * 5])));
    let state = State::new(values.clone(), StateVersion::V1);
    let (voters, next) = (Voters::new(0, 1..=4), Voters::new(1, 5..=8));
    let mut chain = Chain::new(2);
    chain.push_change(&next, 1);
    chain.push(|header| header.state_root = state.root());
    chain.extend(3);
    World { chain, voters, next, state, values }
});

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    match input.byte() % 6 {
        0 => import(input),
        1 => digests(input),
        2 => votes(input),
        3 => proof(input),
        4 => hostile_state(input),
        _ => finalized_noise(input.rest()),
    }
}

/// Headers and justification, both as the host likes: what is accepted is the chain that the authorities finalized.
fn import(mut input: Input<'_>) {
    let World { chain, voters, next, .. } = &*WORLD;
    let mut client = chain.client(voters);
    while !input.is_empty() {
        let step = input.byte();
        if step % 2 == 1 {
            // The truth, to get further.
            let last = client.head().number + u32::from(step >> 1) % 4 + 1;
            if last < chain.headers.len() as u32 {
                let voters = if client.set_id() == 0 { voters } else { next };
                let _ = chain.import(&mut client, last, voters);
            }
            continue;
        }
        let (headers, justification) = (input.piece(), input.piece());
        let Ok(headers) = Vec::<Header>::decode_all(&mut &*headers) else { continue };
        check_import(&mut client, headers, justification);
    }
}

fn check_import(client: &mut LightClient, headers: Vec<Header>, justification: &[u8]) {
    let (before, set) = (client.head(), client.set_id());
    match client.import(headers, justification).map(VerifiedHeader::head) {
        Ok(head) => {
            assert!(head.number > before.number && client.head() == head);
            assert_eq!(
                WORLD.chain.headers.get(head.number as usize).map(Header::hash),
                Some(head.hash),
                "a second chain"
            );
        }
        Err(_) => assert_eq!((client.head(), client.set_id()), (before, set), "changed although refused"),
    }
}

/// Headers with hostile digests that the authorities have finalized.
fn digests(mut input: Input<'_>) {
    let World { chain, voters, .. } = &*WORLD;
    let mut client = chain.client(voters);
    let mut headers = vec![];
    while !input.is_empty() && headers.len() < 8 {
        let mut header = child(Some(headers.last().unwrap_or(chain.header(0))));
        header.digest = match input.byte() % 2 {
            0 => Digest::decode(&mut input.piece()).unwrap_or_default(),
            _ => Digest { logs: vec![DigestItem::Consensus(*b"FRNK", input.piece().to_vec())] },
        };
        headers.push(header);
    }
    let Some(last) = headers.last().cloned() else { return };
    let justification = voters.justify(&last).encode();
    match client.import(headers, &justification).map(VerifiedHeader::hash) {
        Ok(hash) => assert_eq!(hash, last.hash()),
        Err(_) => assert_eq!(client.head().number, 0, "changed although refused"),
    }
}

/// Votes of authorities for blocks and with ancestries that do not fit together.
fn votes(mut input: Input<'_>) {
    let World { chain, voters, next, .. } = &*WORLD;
    let mut client = chain.client(voters);
    let last = u32::from(input.byte()) % 4 + 1;
    let (mut votes, mut ancestries) = (vec![], vec![]);
    while !input.is_empty() && votes.len() < 12 {
        let [who, block, shift, ancestry] = input.array();
        let set = if who & 0x80 == 0 { voters } else { next };
        let block = chain.header(u32::from(block) % chain.headers.len() as u32);
        let number = block.number.wrapping_add_signed((shift as i8).into());
        votes.push(set.vote_for(usize::from(who) % 4, block.hash(), number));
        if ancestry & 1 == 1 {
            ancestries.push(chain.header(u32::from(ancestry >> 1) % chain.headers.len() as u32).clone());
        }
    }
    let mut justification = justification(chain.header(last), votes, ancestries);
    if input.byte() == 1 {
        justification.round = input.number();
    }
    check_import(&mut client, chain.range(1, last), &justification.encode());
}

/// Nodes of a proof as the host likes: a value that is read is the state's, and so is an absence.
fn proof(mut input: Input<'_>) {
    let World { state, values, .. } = &*WORLD;
    let client = state.finalized();
    let header = client.finalized_header().expect("finalized");
    let key = match values.get(usize::from(input.byte())) {
        Some((key, _)) => key.clone(),
        None => input.piece().to_vec(),
    };
    let truth = state.prove(std::slice::from_ref(&key));
    let mut nodes = vec![];
    while !input.is_empty() && nodes.len() < 64 {
        let choice = input.byte();
        match truth.get(usize::from(choice)) {
            Some(node) => nodes.push(node.clone()),
            None => nodes.push(input.piece().to_vec()),
        }
    }
    if let Ok(read) = header.read(nodes, std::slice::from_ref(&key)) {
        let value = values.iter().find(|(of, _)| *of == key).map(|(_, value)| value.as_slice());
        assert_eq!(read.get(&key), Ok(value), "a proof of what is not so");
        assert!(read.get(b"not asked").is_err() && check_layout(&read).is_err());
    }
}

/// A state that is malformed itself, under its own root.
fn hostile_state(mut input: Input<'_>) {
    let World { chain, voters, .. } = &*WORLD;
    let key = input.piece().to_vec();
    let mut nodes = vec![];
    while !input.is_empty() && nodes.len() < 64 {
        nodes.push(input.piece().to_vec());
    }
    let mut header = child(Some(chain.header(0)));
    header.state_root = nodes.first().map(|node| cloister_chain_primitives::Hashing::hash(node)).unwrap_or_default();
    let mut client = chain.client(voters);
    let justification = voters.justify(&header).encode();
    let header = client.import(vec![header], &justification).expect("finalized");
    let _ = header.read(nodes, &[key, storage::timestamp()]);
}

/// SCALE of a single header and its justification, without script: what a minimiser likes best.
fn finalized_noise(bytes: &[u8]) {
    let Ok((headers, justification)) = <(Vec<Header>, Vec<u8>)>::decode_all(&mut &*bytes) else { return };
    check_import(&mut WORLD.chain.client(&WORLD.voters), headers, &justification);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let World { chain, voters, next, state, values } = &*WORLD;
    let headers = chain.range(1, 2);
    let justified = voters.justify(chain.header(2)).encode();
    let change = chain.header(3).digest.encode();
    let key = [9; 33].to_vec();
    let nodes = state.prove(std::slice::from_ref(&key));
    let pieces = |nodes: &[Vec<u8>]| nodes.iter().flat_map(|node| piece(node)).collect::<Vec<u8>>();
    let consensus = |header: &Header| match header.digest.logs.last() {
        Some(DigestItem::Consensus(_, log)) => log.clone(),
        _ => vec![],
    };
    vec![
        [vec![0, 0], piece(&headers.encode()), piece(&justified)].concat(),
        [vec![0, 3, 5, 0], piece(&chain.range(5, 6).encode()), piece(&next.justify(chain.header(6)).encode())].concat(),
        [vec![1, 0], piece(&change), vec![1], piece(&consensus(chain.header(3)))].concat(),
        [vec![1, 1], piece(&consensus(chain.header(3)))].concat(),
        vec![2, 1, 0, 2, 0, 0, 1, 2, 0, 0, 2, 2, 0, 0],
        vec![2, 1, 0, 3, 0, 7, 1, 2, 0, 0, 2, 2, 0, 0, 3, 3, 0, 0],
        vec![3, 3, 0, 1, 2, 3],
        [vec![3, 200], piece(&values[5].0), vec![200], pieces(&nodes)].concat(),
        [vec![4], piece(&key), pieces(&nodes)].concat(),
        [vec![5], (headers, justified).encode()].concat(),
        [vec![5], (Vec::<Header>::new(), H256::zero().encode()).encode()].concat(),
    ]
}
