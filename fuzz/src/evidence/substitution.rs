//! Recorded collateral of which one part is replaced.

use cloister_attestation::{Collateral, bundle::Part};

use super::{RECORDED, Recorded};

/// Bytes in the place of one part of recorded collateral.
pub struct Substitution<'a> {
    /// Whose collateral: index into [`RECORDED`], modulo its length.
    pub platform: u8,
    /// Which part: index into [`PARTS`], modulo its length.
    pub part: u8,
    /// What stands there.
    pub bytes: &'a [u8],
}

impl<'a> Substitution<'a> {
    /// Platform, part, and the rest.
    pub fn read(input: &'a [u8]) -> Option<Self> {
        let ([platform, part], bytes) = input.split_first_chunk()?;
        Some(Self { platform: *platform, part: *part, bytes })
    }

    /// The platform.
    pub fn recorded(&self) -> &'static Recorded {
        &RECORDED[usize::from(self.platform) % RECORDED.len()]
    }

    /// The part.
    pub fn part(&self) -> Part {
        PARTS[usize::from(self.part) % PARTS.len()]
    }

    /// The collateral. `None` if it has no such part, or if the part has a fixed length and the bytes do not.
    pub fn collateral(&self) -> Option<Collateral> {
        let mut collateral = self.recorded().collateral.clone();
        let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = &mut collateral;
        let part = match self.part() {
            Part::TcbInfo => &mut tcb_info.body,
            Part::TcbInfoSignature => {
                tcb_info.signature = self.bytes.try_into().ok()?;
                return Some(collateral);
            }
            Part::TcbInfoChain => &mut tcb_info.issuer_chain,
            Part::QeIdentity => &mut qe_identity.body,
            Part::QeIdentitySignature => {
                qe_identity.signature = self.bytes.try_into().ok()?;
                return Some(collateral);
            }
            Part::QeIdentityChain => &mut qe_identity.issuer_chain,
            Part::RootCrl => root_crl.as_mut()?,
            Part::PckCrl => &mut pck_crl.as_mut()?.crl,
            Part::PckCrlChain => &mut pck_crl.as_mut()?.issuer_chain,
        };
        *part = self.bytes.to_vec();
        Some(collateral)
    }

    /// The same with every part in a file of its own, as the vendor hands them out.
    pub fn files(&self) -> Vec<&'a [u8]> {
        let collateral = &self.recorded().collateral;
        let file = |part| if part == self.part() { Some(self.bytes) } else { recorded_part(collateral, part) };
        PARTS.into_iter().filter_map(file).collect()
    }

    /// What the fuzzer starts with: every part as it is recorded.
    pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
        (0..).zip(RECORDED.iter()).flat_map(|(platform, recorded)| {
            (0..).zip(PARTS).filter_map(move |(index, part)| {
                let bytes = recorded_part(&recorded.collateral, part)?;
                Some([&[platform, index], bytes].concat())
            })
        })
    }
}

fn recorded_part(collateral: &Collateral, part: Part) -> Option<&[u8]> {
    let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = collateral;
    match part {
        Part::TcbInfo => Some(&tcb_info.body),
        Part::TcbInfoSignature => Some(&tcb_info.signature),
        Part::TcbInfoChain => Some(&tcb_info.issuer_chain),
        Part::QeIdentity => Some(&qe_identity.body),
        Part::QeIdentitySignature => Some(&qe_identity.signature),
        Part::QeIdentityChain => Some(&qe_identity.issuer_chain),
        Part::RootCrl => root_crl.as_deref(),
        Part::PckCrl => pck_crl.as_ref().map(|list| list.crl.as_slice()),
        Part::PckCrlChain => pck_crl.as_ref().map(|list| list.issuer_chain.as_slice()),
    }
}

/// All parts.
pub const PARTS: [Part; 9] = [
    Part::TcbInfo,
    Part::TcbInfoSignature,
    Part::TcbInfoChain,
    Part::QeIdentity,
    Part::QeIdentitySignature,
    Part::QeIdentityChain,
    Part::RootCrl,
    Part::PckCrl,
    Part::PckCrlChain,
];
