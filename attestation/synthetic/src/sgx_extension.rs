//! Intel's extension of PCK certificates, 1.2.840.113741.1.13.1: what a platform is ("Intel SGX PCK Certificate and
//! Certificate Revocation List Profile Specification").

use crate::{
    certificate::Extension,
    der::{self, Oid},
};

/// The extension's identifier; its elements lie below.
pub const SGX_EXTENSION: Oid = Oid::new_unwrap("1.2.840.113741.1.13.1");

const PPID: Oid = Oid::new_unwrap("1.2.840.113741.1.13.1.1");
const TCB: Oid = Oid::new_unwrap("1.2.840.113741.1.13.1.2");
const PCE_ID: Oid = Oid::new_unwrap("1.2.840.113741.1.13.1.3");
const FMSPC: Oid = Oid::new_unwrap("1.2.840.113741.1.13.1.4");
const SGX_TYPE: Oid = Oid::new_unwrap("1.2.840.113741.1.13.1.5");
const PLATFORM_INSTANCE_ID: Oid = Oid::new_unwrap("1.2.840.113741.1.13.1.6");
const CONFIGURATION: Oid = Oid::new_unwrap("1.2.840.113741.1.13.1.7");

/// Intel's extension. What is `None` is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SgxExtension {
    /// Platform provisioning id; genuine ones have 16 bytes.
    pub ppid: Option<Vec<u8>>,
    /// TCB.
    pub tcb: Option<PckTcb>,
    /// Provisioning certification enclave; genuine ones have 2 bytes.
    pub pce_id: Option<Vec<u8>>,
    /// Family, model, stepping, platform type, custom SKU; genuine ones have 6 bytes.
    pub fmspc: Option<Vec<u8>>,
    /// 0 standard, 1 scalable, 2 scalable with integrity.
    pub sgx_type: Option<u8>,
    /// Under the Platform CA only; genuine ones have 16 bytes.
    pub platform_instance_id: Option<Vec<u8>>,
    /// Under the Platform CA only.
    pub configuration: Option<Configuration>,
    /// Encoded elements that follow (see [`entry`]).
    pub more: Vec<Vec<u8>>,
}

/// TCB of a platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PckTcb {
    /// Genuine ones are 16, each below 256.
    pub components: Vec<u64>,
    /// Of the provisioning certification enclave.
    pub pce_svn: Option<u64>,
    /// Genuine ones have 16 bytes.
    pub cpu_svn: Option<Vec<u8>>,
    /// Encoded elements that follow (see [`entry`]).
    pub more: Vec<Vec<u8>>,
}

/// Configuration of a multi-package platform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// Packages can be added.
    pub dynamic_platform: bool,
    /// Intel keeps the platform's root keys.
    pub cached_keys: bool,
    /// Simultaneous multithreading is on.
    pub smt_enabled: bool,
}

impl SgxExtension {
    /// As an extension of a certificate.
    pub fn extension(&self) -> Extension {
        Extension { oid: SGX_EXTENSION, critical: false, value: self.der() }
    }

    /// DER.
    pub fn der(&self) -> Vec<u8> {
        let octets = |oid, content: &Option<Vec<u8>>| content.as_ref().map(|content| entry(oid, der::octets(content)));
        let mut entries: Vec<_> = [
            octets(PPID, &self.ppid),
            self.tcb.as_ref().map(|tcb| entry(TCB, tcb.der())),
            octets(PCE_ID, &self.pce_id),
            octets(FMSPC, &self.fmspc),
            self.sgx_type.map(|sgx_type| entry(SGX_TYPE, der::enumerated(sgx_type))),
            octets(PLATFORM_INSTANCE_ID, &self.platform_instance_id),
            self.configuration.map(|configuration| entry(CONFIGURATION, configuration.der())),
        ]
        .into_iter()
        .flatten()
        .collect();
        entries.extend(self.more.clone());
        der::sequence(&entries)
    }
}

impl PckTcb {
    /// The identifier of the `number`-th element: components are 1 to 16, PCESVN 17, CPUSVN 18.
    pub fn oid(number: u32) -> Oid {
        TCB.push_arc(number).unwrap_or(TCB)
    }

    fn der(&self) -> Vec<u8> {
        // A 17th component takes the identifier of a second 16th, for there is none of its own.
        let mut entries: Vec<_> = (1u32..)
            .zip(&self.components)
            .map(|(number, component)| entry(Self::oid(number.min(16)), der::unsigned(*component)))
            .collect();
        entries.extend(self.pce_svn.map(|svn| entry(Self::oid(17), der::unsigned(svn))));
        entries.extend(self.cpu_svn.as_ref().map(|svn| entry(Self::oid(18), der::octets(svn))));
        entries.extend(self.more.clone());
        der::sequence(&entries)
    }
}

impl Configuration {
    fn der(&self) -> Vec<u8> {
        let flags = [self.dynamic_platform, self.cached_keys, self.smt_enabled];
        let flag = |(number, flag)| entry(CONFIGURATION.push_arc(number).unwrap_or(CONFIGURATION), der::boolean(flag));
        der::sequence(&(1u32..).zip(flags).map(flag).collect::<Vec<_>>())
    }
}

/// An element: SEQUENCE of identifier and value.
pub fn entry(oid: Oid, value: Vec<u8>) -> Vec<u8> {
    der::sequence(&[der::oid(oid), value])
}
