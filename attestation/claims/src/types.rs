//! Terms that verification, policies, layer one's registry and clients share.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use alloc::{string::String, vec::Vec};

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// What kind of environment evidence speaks of.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum TeeKind {
    /// Intel SGX enclave.
    #[codec(index = 0)]
    Sgx,
    /// Intel TDX trust domain.
    #[codec(index = 1)]
    Tdx,
    /// An ordinary process whose evidence hangs on the public development root. It proves nothing.
    #[codec(index = 2)]
    Simulated,
}

impl TeeKind {
    /// As written in files and output: `sgx`, `tdx`, `simulated`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
            Self::Simulated => "simulated",
        }
    }
}

/// How up to date a platform's trusted computing base is, by the vendor's word. Spelled as Intel's collateral does.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub enum TcbStatus {
    /// Newest.
    #[codec(index = 0)]
    UpToDate,
    /// Software must mitigate known weaknesses.
    #[codec(index = 1)]
    #[serde(rename = "SWHardeningNeeded")]
    SwHardeningNeeded,
    /// The platform must be configured otherwise.
    #[codec(index = 2)]
    ConfigurationNeeded,
    /// Both.
    #[codec(index = 3)]
    #[serde(rename = "ConfigurationAndSWHardeningNeeded")]
    ConfigurationAndSwHardeningNeeded,
    /// Known weaknesses are not patched.
    #[codec(index = 4)]
    OutOfDate,
    /// Unpatched, and the configuration is wrong too.
    #[codec(index = 5)]
    OutOfDateConfigurationNeeded,
    /// Not to be trusted at all. No policy can accept it.
    #[codec(index = 6)]
    Revoked,
}

impl TcbStatus {
    /// As Intel spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::Revoked => "Revoked",
        }
    }
}

/// The name of a security advisory, for example `INTEL-SA-00289`; at most [`Advisory::MAX_BYTES`] printable ASCII bytes.
#[derive(
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Advisory(String);

impl Advisory {
    /// Longest name.
    pub const MAX_BYTES: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Advisory {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        match plain && name.len() <= Self::MAX_BYTES {
            true => Ok(Self(name)),
            false => Err("an advisory's name has 1 to 64 printable ASCII characters"),
        }
    }
}

impl From<Advisory> for String {
    fn from(advisory: Advisory) -> Self {
        advisory.0
    }
}

/// Raw evidence by format.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub enum Evidence {
    /// A DCAP quote: SGX version 3 or TDX version 4. The kind is decided by its bytes and by the root it hangs on.
    #[codec(index = 0)]
    Dcap(Vec<u8>),
}

impl Evidence {
    /// Most bytes of any evidence. Genuine quotes with their certificates have some 5 kB.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Dcap(quote) => quote,
        }
    }
}

/// A span of time, Unix milliseconds, both ends included.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct Validity {
    /// First millisecond.
    pub from: u64,
    /// Last millisecond.
    pub until: u64,
}

impl Validity {
    /// Whether `at` lies inside.
    pub const fn contains(&self, at: u64) -> bool {
        self.from <= at && at <= self.until
    }

    /// The time inside both; empty (`from > until`) if there is none.
    pub fn intersect(&self, other: &Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }
}
