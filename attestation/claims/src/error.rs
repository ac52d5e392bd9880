//! Why evidence or collateral is not genuine: one variant per check.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

macro_rules! errors {
    ($($index:literal $name:ident $message:literal,)*) => {
        /// Why evidence or collateral is not genuine.
        #[derive(
            Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo, thiserror::Error,
        )]
        #[non_exhaustive]
        pub enum Error {
            $(
                #[doc = concat!($message, ".")]
                #[error($message)]
                #[codec(index = $index)]
                $name,
            )*
        }

        impl Error {
            /// The variant's name, as clients and tools print it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

// Indices are part of layer one's error encoding: append, never renumber. 0-63 certificates and collateral; 64-127 quotes.
errors! {
    0 ChainMalformed "a certificate chain is not PEM of DER certificates",
    1 ChainLength "a certificate chain has the wrong number of certificates",
    2 RootUnknown "a certificate chain does not end in an accepted root",
    3 ChainTooLarge "a certificate chain is too large",
    4 CertificateVersion "a certificate is not of version 3",
    5 CertificateSerial "a certificate's serial number is not positive",
    6 CertificateAlgorithm "a certificate is not signed with ECDSA and SHA-256",
    7 CertificateAlgorithmMismatch "a certificate names two signature algorithms",
    8 CertificateKey "a certificate's key is not a point of P-256",
    9 CertificateIssuer "a certificate names another issuer than the next of its chain",
    10 CertificateSignature "a certificate is not signed by its issuer",
    11 CertificatePeriod "a certificate's validity ends before it begins",
    12 CertificateNotYetValid "a certificate is not valid yet",
    13 CertificateExpired "a certificate has expired",
    14 ExtensionDuplicate "a certificate has an extension twice",
    15 ExtensionMalformed "a certificate's extension is malformed",
    16 ExtensionUnknown "a certificate has a critical extension that is not understood",
    17 BasicConstraints "a certificate is an authority where it must not be, or is none where it must be",
    18 PathLength "a certificate's chain is longer than its authority allows",
    19 KeyUsage "a certificate's key is not meant for this use",
    20 PckSubject "the platform's certificate is not a PCK certificate",
    21 PckIssuer "an authority over PCK certificates is neither the processors' nor the platforms'",
    22 TcbSigner "a document's signer is not a TCB signing certificate",
    23 SgxExtensionMissing "the PCK certificate has no SGX extension",
    24 SgxExtensionMalformed "the PCK certificate's SGX extension is malformed",
    25 SgxExtensionDuplicate "the PCK certificate's SGX extension says something twice",
    26 SgxExtensionIncomplete "the PCK certificate's SGX extension lacks something",
    27 SgxType "the PCK certificate's SGX type is unknown",
    28 DocumentTooLarge "a signed document is too large",
    29 DocumentSignature "a document is not signed by its signer",
    30 DocumentMalformed "a signed document is not a JSON object",
    31 DocumentFieldDuplicate "a signed document has a field twice",
    32 DocumentFieldMissing "a signed document lacks a field",
    33 DocumentField "a field of a signed document has the wrong form",
    34 DocumentVersion "a signed document has another version",
    35 DocumentId "a signed document speaks about something else",
    36 DocumentTime "a time in a signed document is malformed",
    37 DocumentPeriod "a signed document's validity ends before it begins",
    38 DocumentNotYetValid "a signed document is not valid yet",
    39 DocumentExpired "a signed document has expired",
    40 TcbType "the TCB info's type of comparison is unknown",
    41 TcbComponents "a TCB level does not have exactly 16 components",
    42 TcbStatusUnknown "a TCB status is unknown",
    43 AdvisoryMalformed "an advisory's name is malformed",
    44 LevelsMissing "a signed document has no TCB levels",
    45 LevelsOrder "TCB levels are repeated or not sorted from newest to oldest",
    46 TdxUnexpected "TCB info of SGX platforms speaks about TDX",
    47 TdxModuleMissing "TCB info of TDX platforms has no TDX module",
    48 TdxModuleId "the name of a TDX module is malformed",
    49 TdxModuleDuplicate "TCB info has a TDX module twice",
    50 CrlTooLarge "a revocation list is too large",
    51 CrlMalformed "a revocation list is not DER",
    52 CrlVersion "a revocation list is not of version 2",
    53 CrlAlgorithm "a revocation list is not signed with ECDSA and SHA-256",
    54 CrlAlgorithmMismatch "a revocation list names two signature algorithms",
    55 CrlIssuer "a revocation list is issued by nobody of its chain",
    56 CrlSignature "a revocation list is not signed by its issuer",
    57 CrlExtension "a revocation list is partial, indirect or has a critical extension that is not understood",
    58 CrlExtensionMalformed "a revocation list has no number or a malformed extension",
    59 CrlNextUpdateMissing "a revocation list has no next update",
    60 CrlPeriod "a revocation list's validity ends before it begins",
    61 CrlNotYetValid "a revocation list is not valid yet",
    62 CrlExpired "a revocation list has expired",
    63 CrlSerial "a revocation list has a serial number that is not positive",
    64 QuoteTooLarge "the quote is too large",
    65 QuoteTruncated "the quote ends early",
    66 QuoteVersion "the quote's version is neither 3 nor 4",
    67 TeeType "the quote's TEE type does not belong to its version",
    68 AttestationKeyType "the attestation key's type is not ECDSA P-256",
    69 QeVendor "the quoting enclave is not Intel's",
    70 CertificationDataType "the quote does not carry its PCK certificate chain",
    71 SignatureDataLength "the lengths inside the quote's signature data do not add up",
    72 TrailingBytes "the quote is followed by bytes other than zero",
    73 QuoteRoot "the collateral hangs on another root than the quote",
    74 TcbInfoPlatform "the TCB info is for another type of platform than the quote's",
    75 QeIdentityPlatform "the quoting enclave's identity is for another type of platform than the quote's",
    76 FmspcMismatch "the TCB info is for another FMSPC than the platform's",
    77 PceIdMismatch "the TCB info is for another PCE than the platform's",
    78 RootCrlIssuer "the revocation list given as the root's is another's",
    79 PckCrlIssuer "the revocation list is not of the authority that issued the PCK certificate",
    80 PckRevoked "the PCK certificate is revoked",
    81 PckIssuerRevoked "the authority that issued the PCK certificate is revoked",
    82 TcbInfoSignerRevoked "the signer of the TCB info is revoked",
    83 QeIdentitySignerRevoked "the signer of the quoting enclave's identity is revoked",
    84 CrlSignerRevoked "the signer of a revocation list is revoked",
    85 QeReportSignature "the PCK key did not sign the quoting enclave's report",
    86 QeReportData "the quoting enclave's report does not vouch for the attestation key",
    87 QuoteSignature "the attestation key did not sign the quote",
    88 QeMrSigner "the quoting enclave has another signer than its identity",
    89 QeProductId "the quoting enclave has another product id than its identity",
    90 QeMiscSelect "the quoting enclave's MISCSELECT differs from its identity",
    91 QeAttributes "the quoting enclave's attributes differ from its identity",
    92 QeDebug "the quoting enclave is a debug enclave",
    93 QeSecurityVersion "the quoting enclave's security version is below every level",
    94 QeStatus "the quoting enclave's level has a status that quoting enclaves cannot have",
    95 TcbLevelMissing "no TCB level matches the platform",
    96 TdxModuleUnknown "the TCB info does not know the TDX module",
    97 TdxModuleSigner "the TDX module has another signer than its identity",
    98 TdxModuleAttributes "the TDX module's attributes differ from its identity",
    99 TdxModuleSecurityVersion "the TDX module's security version is below every level",
    100 TdxModuleStatus "the TDX module's level has a status that modules cannot have",
    101 TdAttributesReserved "reserved bits of the domain's attributes are set",
    102 TdMigratable "the domain can be migrated to another platform",
    103 TdSeptVe "the host can inject exceptions into the domain (SEPT_VE_DISABLE is not set)",
    104 DevelopmentKind "the development root vouches only for simulated enclaves of SGX's shape",
    105 AttestationKey "the attestation key is not a point of P-256",
    106 QeAuthenticationData "the quoting enclave's authentication data does not have 32 bytes",
}
