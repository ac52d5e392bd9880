//! Mutations of encoded evidence and collateral that nobody signs again.

use std::ops::Range;

use cloister_attestation::{Collateral, Signed, collateral, roots::Roots};
use p256::ecdsa::Signature;
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    comparison::Case,
    good::{recorded, synthetic},
    run::Drawn,
};

/// Changes some bytes of a good case.
pub fn draw(random: &mut ChaCha8Rng) -> Drawn {
    let mut case = good_case(random).clone();
    let (part, operation) = match random.gen_bool(0.5) {
        true => {
            let (part, region) = regions(&case.quote).choose(random).expect("regions").clone();
            (part, change(random, &mut case.quote, region))
        }
        false => {
            let parts: [(&str, fn(&mut Collateral) -> &mut Vec<u8>); 7] = [
                ("TCB info", |collateral| &mut collateral.tcb_info.body),
                ("TCB info's chain", |collateral| &mut collateral.tcb_info.issuer_chain),
                ("QE identity", |collateral| &mut collateral.qe_identity.body),
                ("QE identity's chain", |collateral| &mut collateral.qe_identity.issuer_chain),
                ("root's revocation list", |collateral| collateral.root_crl.as_mut().expect("a list")),
                ("PCK revocation list", |collateral| &mut collateral.pck_crl.as_mut().expect("a list").crl),
                ("chain of the PCK revocation list", |collateral| {
                    &mut collateral.pck_crl.as_mut().expect("a list").issuer_chain
                }),
            ];
            let (part, bytes) = parts.choose(random).expect("parts");
            let bytes = bytes(&mut case.collateral);
            let all = 0..bytes.len();
            (*part, change(random, bytes, all))
        }
    };
    (format!("{operation} in the {part}"), case)
}

/// Changes a signature: a bit, or r or s for a value at the edge, or s for n − s, which holds as well.
pub fn draw_signature(random: &mut ChaCha8Rng) -> Drawn {
    let mut case = good_case(random).clone();
    let quote_part = |name: &str| {
        let region = regions(&case.quote).into_iter().find(|(part, _)| *part == name).expect("a region").1;
        (case.quote[region.clone()].to_vec(), region)
    };
    let parts = ["quote's signature", "QE report's signature", "TCB info's signature", "QE identity's signature"];
    let part = *parts.choose(random).expect("parts");
    let (bytes, region) = match part {
        "TCB info's signature" => (case.collateral.tcb_info.signature.to_vec(), None),
        "QE identity's signature" => (case.collateral.qe_identity.signature.to_vec(), None),
        part => {
            let (bytes, region) = quote_part(part);
            (bytes, Some(region))
        }
    };
    let (operation, bytes) = changed_signature(random, &bytes);
    match region {
        Some(region) => case.quote[region].copy_from_slice(&bytes),
        None if part.starts_with("TCB") => case.collateral.tcb_info.signature.copy_from_slice(&bytes),
        None => case.collateral.qe_identity.signature.copy_from_slice(&bytes),
    }
    (format!("{operation} in the {part}"), case)
}

/// Puts parts of one case into another.
pub fn draw_swap(random: &mut ChaCha8Rng) -> Drawn {
    let mut case = good_case(random).clone();
    let other = good_case(random);
    let swaps: [(&str, fn(&mut Case, &Case)); 11] = [
        ("another's quote", |case, other| case.quote.clone_from(&other.quote)),
        ("another's collateral", |case, other| case.collateral.clone_from(&other.collateral)),
        ("another's TCB info", |case, other| case.collateral.tcb_info.clone_from(&other.collateral.tcb_info)),
        ("another's QE identity", |case, other| case.collateral.qe_identity.clone_from(&other.collateral.qe_identity)),
        ("another's root list", |case, other| case.collateral.root_crl.clone_from(&other.collateral.root_crl)),
        ("another's PCK list", |case, other| case.collateral.pck_crl.clone_from(&other.collateral.pck_crl)),
        ("another's TCB info, own chain", |case, other| {
            swap_body(&mut case.collateral.tcb_info, &other.collateral.tcb_info)
        }),
        ("TCB info in place of QE identity", |case, other| {
            case.collateral.qe_identity.clone_from(&other.collateral.tcb_info)
        }),
        ("QE identity in place of TCB info", |case, other| {
            case.collateral.tcb_info.clone_from(&other.collateral.qe_identity)
        }),
        ("revocation lists exchanged", |case, _| {
            let lists = (&mut case.collateral.root_crl, &mut case.collateral.pck_crl);
            if let (Some(root), Some(pck)) = lists {
                std::mem::swap(root, &mut pck.crl);
            }
        }),
        ("another's root", |case, other| case.root.clone_from(&other.root)),
    ];
    let (kind, swap) = swaps.choose(random).expect("swaps");
    swap(&mut case, other);
    (kind.to_string(), case)
}

/// Shifts the time, mostly to where some validity begins or ends.
pub fn draw_time(random: &mut ChaCha8Rng) -> Drawn {
    let mut case = good_case(random).clone();
    let edges = edges(&case);
    let edge = edges.choose(random).expect("edges") / 1000;
    let (kind, at_seconds) = match random.gen_range(0..4) {
        0 => ("at an edge", edge),
        1 => ("just before an edge", edge.saturating_sub(1)),
        2 => ("just after an edge", edge + 1),
        _ => ("at any time", random.gen_range(0..4_000_000_000)),
    };
    case.at_seconds = at_seconds;
    (kind.to_string(), case)
}

fn good_case(random: &mut ChaCha8Rng) -> &'static Case {
    let cases = if random.gen_bool(0.5) { recorded() } else { synthetic() };
    cases.choose(random).expect("cases")
}

/// Where the validities of a good case's documents begin and end, milliseconds.
fn edges(case: &Case) -> Vec<u64> {
    let roots = Roots::new(&[(collateral::RootOfTrust::Intel, &case.root)]).expect("a root");
    let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = &case.collateral;
    let tcb = collateral::TcbInfo::verify(tcb_info, &roots).expect("good");
    let qe = collateral::QeIdentity::verify(qe_identity, &roots).expect("good");
    let root = root_crl.as_ref().expect("a list");
    let root = collateral::RevocationList::verify(root, &tcb_info.issuer_chain, &roots).expect("good");
    let pck = pck_crl.as_ref().expect("a list");
    let pck = collateral::RevocationList::verify(&pck.crl, &pck.issuer_chain, &roots).expect("good");
    [tcb.validity, tcb.signer.validity, qe.validity, qe.signer.validity, root.validity, pck.validity]
        .iter()
        .flat_map(|validity| [validity.from, validity.until])
        .collect()
}

fn swap_body(ours: &mut Signed, other: &Signed) {
    ours.body.clone_from(&other.body);
    ours.signature = other.signature;
}

/// Changes bytes in a region. Returns what was done.
fn change(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, region: Range<usize>) -> &'static str {
    if region.is_empty() {
        bytes.push(random.r#gen());
        return "extension";
    }
    let at = random.gen_range(region.clone());
    match random.gen_range(0..12) {
        0..6 => {
            bytes[at] ^= 1 << random.gen_range(0..8);
            "bit flip"
        }
        6..8 => {
            bytes[at] = *[0, 1, 0x7f, 0x80, 0xff, b'0', b'"', b'-'].choose(random).expect("bytes");
            "byte set"
        }
        8 => {
            bytes.truncate(at);
            "truncation"
        }
        9 => {
            bytes.insert(at, random.r#gen());
            "insertion"
        }
        10 => {
            bytes.remove(at);
            "removal"
        }
        _ => {
            let filling = if random.gen_bool(0.5) { 0 } else { random.r#gen() };
            bytes.extend(vec![filling; random.gen_range(1..100)]);
            "extension"
        }
    }
}

fn changed_signature(random: &mut ChaCha8Rng, bytes: &[u8]) -> (&'static str, Vec<u8>) {
    let mut bytes = bytes.to_vec();
    match random.gen_range(0..5) {
        0 => {
            let (r, s) = Signature::from_slice(&bytes).expect("a signature").split_scalars();
            let other = Signature::from_scalars(*r, -*s).expect("a signature");
            ("n - s", other.to_bytes().to_vec())
        }
        1 => {
            let half = random.gen_range(0..2) * 32;
            bytes[half..half + 32].fill(0);
            ("zero", bytes)
        }
        2 => {
            let half = random.gen_range(0..2) * 32;
            bytes[half..half + 32].copy_from_slice(&ORDER);
            ("the group's order", bytes)
        }
        3 => {
            bytes.rotate_left(32);
            ("r and s exchanged", bytes)
        }
        _ => {
            let at = random.gen_range(0..bytes.len());
            bytes[at] ^= 1 << random.gen_range(0..8);
            ("bit flip", bytes)
        }
    }
}

/// Where the parts of a good quote lie; the gaps are the lengths and types between them.
fn regions(quote: &[u8]) -> Vec<(&'static str, Range<usize>)> {
    let (body, nested) = if quote[0] == 3 { (384, 0) } else { (584, 6) };
    let fixed = [
        ("header", 48),
        ("report", body),
        ("signature data's length", 4),
        ("quote's signature", 64),
        ("attestation key", 64),
        ("outer certification data's header", nested),
        ("QE report", 384),
        ("QE report's signature", 64),
        ("QE authentication data", 2 + 32),
        ("certification data's header", 6),
    ];
    let mut end = 0;
    let mut regions = Vec::new();
    for (part, length) in fixed {
        regions.push((part, end..end + length));
        end += length;
    }
    let signature_data = 48 + body + 4;
    let declared = quote[signature_data - 4..signature_data].try_into().map(u32::from_le_bytes).expect("4 bytes");
    let chain_ends = signature_data + declared as usize;
    regions.extend([("PCK chain", end..chain_ends), ("quote's tail", chain_ends..quote.len())]);
    regions.retain(|(part, region)| !region.is_empty() || *part == "quote's tail");
    regions
}

/// n of P-256 (SEC 2, section 2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
