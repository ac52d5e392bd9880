//! Fields of certificates and revocation lists.

use cloister_synthetic_evidence::{
    Certificate, Crl, Extension, Key, Name, PckTcb, Role, Scenario,
    der::{self, Oid},
    sgx_extension::entry,
};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Mutation, about_now, flip};

pub const MUTATIONS: &[Mutation] = &[
    ("PCK certificate", |scenario, random| certificate(&mut scenario.pck.certificate, random)),
    ("PCK authority's certificate", |scenario, random| {
        let issuer = scenario.issuer;
        certificate(&mut scenario.authority.pck_ca_mut(issuer).certificate, random)
    }),
    ("TCB signer's certificate", |scenario, random| {
        certificate(&mut scenario.authority.tcb_signing.certificate, random)
    }),
    ("pinned root's certificate", |scenario, random| {
        let root = &mut scenario.authority.root.certificate;
        certificate(root, random);
        // The oracle panics on roots that do not name themselves as their issuer.
        root.raw = None;
        root.issuer = root.subject.clone();
    }),
    ("PCK certificate straight under the root", |scenario, _| {
        let root = &scenario.authority.root;
        scenario.pck.certificate.issuer = root.certificate.subject.clone();
        let pck = scenario.pck_certificate().der(&root.key);
        scenario.pck_chain = Some(vec![pck, scenario.authority.root_der()]);
    }),
    ("SGX extension", sgx_extension),
    ("platform's security versions", |scenario, random| {
        if let Some(tcb) = scenario.sgx_extension.as_mut().and_then(|extension| extension.tcb.as_mut()) {
            let at = random.gen_range(0..17);
            let svn = random.gen_range(0..16);
            match tcb.components.get_mut(at) {
                Some(component) => *component = svn,
                None => tcb.pce_svn = Some(svn),
            }
            // The oracle matches CPUSVN, ours its components; genuine certificates write the same into both.
            tcb.cpu_svn = Some(tcb.components.iter().map(|component| *component as u8).collect());
        }
    }),
    ("root's revocation list", |scenario, random| {
        let serials = serials(scenario);
        if let Some(list) = &mut scenario.root_crl {
            revocation_list(list, &serials, random)
        }
    }),
    ("PCK revocation list", |scenario, random| {
        let serials = serials(scenario);
        if let Some(list) = &mut scenario.pck_crl {
            revocation_list(list, &serials, random)
        }
    }),
];

fn certificate(certificate: &mut Certificate, random: &mut ChaCha8Rng) {
    const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
    match random.gen_range(0..22) {
        0 => certificate.version = *[None, Some(0), Some(1), Some(3)].choose(random).expect("versions"),
        1 => certificate.serial = serial(random),
        2 => certificate.algorithm = ECDSA_WITH_SHA_384,
        3 => certificate.outer_algorithm = ECDSA_WITH_SHA_384,
        4 => (certificate.algorithm, certificate.outer_algorithm) = (ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_384),
        5 => certificate.issuer = Name::of("Intel SGX Root CA"),
        6 => certificate.not_before = about_now(random),
        7 => certificate.not_after = about_now(random),
        8 => certificate.subject = Name::of("Somebody"),
        9 => certificate.public_key = [&[4][..], &Key::from_seed(&random.r#gen(), "other").public()].concat(),
        10 => flip(&mut certificate.public_key, random),
        11 => certificate.signed_by = Some(Key::from_seed(&random.r#gen(), "other")),
        12 => {
            let at = random.gen_range(0..certificate.extensions.len());
            certificate.extensions.remove(at);
        }
        13 => {
            let again = certificate.extensions.choose(random).expect("extensions").clone();
            certificate.extensions.push(again);
        }
        14 => certificate.extensions.push(unknown_extension("1.2.3.4", random)),
        15 => certificate.extensions.push(unknown_extension("2.5.29.99", random)),
        16 => {
            let extension = certificate.extensions.choose_mut(random).expect("extensions");
            extension.critical ^= true;
        }
        17 => {
            let role = if random.r#gen() { Role::Leaf } else { Role::Authority(random.gen_range(0..3)) };
            let constraints = Extension::basic_constraints(role);
            certificate.remove_extension(constraints.oid);
            certificate.extensions.push(constraints);
        }
        18 => {
            let usage = Extension::key_usage(if random.r#gen() { Role::Leaf } else { Role::Authority(0) });
            certificate.remove_extension(usage.oid);
            certificate.extensions.push(usage);
        }
        19 => {
            // Authentication of servers, of clients.
            let purpose = *["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"].choose(random).expect("purposes");
            let value = der::sequence(&[der::oid(Oid::new_unwrap(purpose))]);
            let oid = Oid::new_unwrap(EXTENDED_KEY_USAGE);
            certificate.extensions.push(Extension { oid, critical: random.r#gen(), value });
        }
        20 => {
            let extension = certificate.extensions.choose_mut(random).expect("extensions");
            flip(&mut extension.value, random);
        }
        _ => {
            let mut raw = certificate.tbs();
            flip(&mut raw, random);
            certificate.raw = Some(raw);
        }
    }
}

fn revocation_list(list: &mut Crl, serials: &[Vec<u8>], random: &mut ChaCha8Rng) {
    match random.gen_range(0..17) {
        0 | 1 => list.revoked.push(serials.choose(random).expect("serials").clone()),
        2 => list.revoked = (0..random.gen_range(1..50)).map(|_| serial(random)).collect(),
        3 => list.version = *[None, Some(0), Some(2)].choose(random).expect("versions"),
        4 => list.algorithm = ECDSA_WITH_SHA_384,
        5 => list.outer_algorithm = ECDSA_WITH_SHA_384,
        6 => list.issuer = Name::of("Somebody"),
        7 => list.this_update = about_now(random),
        8 => list.next_update = Some(about_now(random)),
        9 => list.next_update = None,
        10 => list.extensions.clear(),
        11 => list.extensions.push(unknown_extension("1.2.3.4", random)),
        // A partial list; a list for some certificates only.
        12 => list.extensions.push(unknown_extension("2.5.29.27", random)),
        13 => {
            let mut extension = unknown_extension("2.5.29.28", random);
            if random.r#gen() {
                // The one that all synthetic certificates name.
                let url = der::element(0x86, b"https://cloister.invalid/development.crl");
                extension.value = der::sequence(&[der::explicit(0, &der::explicit(0, &url))]);
            }
            list.extensions.push(extension);
        }
        14 => {
            let number = if random.r#gen() { random.gen_range(0..u64::from(u32::MAX)) } else { 1 };
            list.extensions.insert(0, Crl::number(number));
        }
        15 => list.signed_by = Some(Key::from_seed(&random.r#gen(), "other")),
        _ => {
            let mut raw = list.tbs();
            flip(&mut raw, random);
            list.raw = Some(raw);
        }
    }
}

fn sgx_extension(scenario: &mut Scenario, random: &mut ChaCha8Rng) {
    let Some(extension) = &mut scenario.sgx_extension else { return };
    let Some(tcb) = &mut extension.tcb else { return };
    let length = random.gen_range(0..20);
    match random.gen_range(0..20) {
        0 => extension.ppid = None,
        1 => extension.ppid = Some(vec![7; length]),
        2 => extension.pce_id = None,
        3 => extension.pce_id = Some(vec![0; length]),
        4 => extension.pce_id = Some(vec![0, 1]),
        5 => extension.fmspc = None,
        6 => extension.fmspc = Some(vec![0; length]),
        7 => extension.sgx_type = None,
        8 => extension.sgx_type = Some(random.gen_range(0..5)),
        9 => extension.platform_instance_id = random.r#gen::<bool>().then(|| vec![1; length]),
        10 => extension.configuration = None,
        11 => extension.tcb = None,
        12 => tcb.components.truncate(15),
        13 => tcb.components.push(0),
        14 => tcb.components[3] = 256,
        15 => tcb.pce_svn = *[None, Some(65_535), Some(65_536)].choose(random).expect("versions"),
        16 => tcb.cpu_svn = Some(random.r#gen::<[u8; 16]>().to_vec()),
        17 => tcb.cpu_svn = random.r#gen::<bool>().then(|| vec![11; length]),
        18 => tcb.more.push(entry(PckTcb::oid(random.gen_range(1..20)), der::unsigned(255))),
        _ => {
            let mut twice = extension.clone();
            twice.more.push(entry(Oid::new_unwrap("1.2.840.113741.1.13.1.4"), der::octets(&[1; 6])));
            *extension = twice;
        }
    }
}

/// Of everybody whom a revocation list may name.
fn serials(scenario: &Scenario) -> Vec<Vec<u8>> {
    let authority = &scenario.authority;
    let certificates = [
        &scenario.pck,
        authority.pck_ca(scenario.issuer),
        &authority.tcb_signing,
        &authority.root,
        &authority.platform_ca,
    ];
    certificates.iter().map(|certified| certified.certificate.serial.clone()).collect()
}

fn serial(random: &mut ChaCha8Rng) -> Vec<u8> {
    match random.gen_range(0..5) {
        0 => vec![0],
        1 => vec![0x80; random.gen_range(1..22)],
        2 => vec![0x7f; random.gen_range(1..30)],
        3 => vec![0, 0x7f],
        _ => vec![1; random.gen_range(1..20)],
    }
}

fn unknown_extension(oid: &str, random: &mut ChaCha8Rng) -> Extension {
    Extension { oid: Oid::new_unwrap(oid), critical: random.r#gen(), value: der::unsigned(1) }
}

const ECDSA_WITH_SHA_384: Oid = Oid::new_unwrap("1.2.840.10045.4.3.3");
