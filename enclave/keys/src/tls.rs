//! The key with which an enclave ends TLS.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, RemoteKeyPair};
use rustls::{
    ServerConfig, SignatureAlgorithm, SignatureScheme,
    crypto::aws_lc_rs::default_provider,
    pki_types::CertificateDer,
    server::NoServerSessionStorage,
    sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use sha2::{Digest, Sha256};

use crate::Error;

/// A P-256 key (browsers refuse ed25519) with a certificate that it signed itself.
///
/// The certificate says nothing: clients compare the key with the one that layer one records for the shard's member.
pub struct TlsIdentity {
    certificate: CertificateDer<'static>,
    spki_hash: [u8; 32],
    server_config: Arc<ServerConfig>,
}

impl TlsIdentity {
    /// A fresh key and its certificate.
    pub fn draw() -> Result<Self, Error> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| Error::Draw)?;
        let spki = pair.public_key().as_der().map_err(|_| Error::PublicKeyEncoding)?;
        let spki_hash = Sha256::digest(spki.as_ref()).into();
        let key = TlsKey(Arc::new(pair));
        let certificate = self_signed(&key)?;
        let server_config = server_config(key, certificate.clone())?;
        Ok(Self { certificate, spki_hash, server_config })
    }

    /// SHA-256 of the key's SubjectPublicKeyInfo (DER), as layer one records it.
    pub fn spki_hash(&self) -> [u8; 32] {
        self.spki_hash
    }

    /// The certificate, which anybody who connects sees.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// TLS 1.3 and 1.2 with this identity, without client certificates, without resumption.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server_config.clone()
    }
}

/// Serves both libraries that want to sign, so that the secret never leaves aws-lc's memory.
#[derive(Clone)]
struct TlsKey(Arc<EcdsaKeyPair>);

impl TlsKey {
    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.0.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TlsKey")
    }
}

impl RemoteKeyPair for TlsKey {
    fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(message).ok_or(rcgen::Error::RemoteKeyError)
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signature(message).ok_or_else(|| rustls::Error::General("signing was refused".into()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

fn self_signed(key: &TlsKey) -> Result<CertificateDer<'static>, Error> {
    let mut params = CertificateParams::new([SUBJECT_ALTERNATIVE_NAME.to_string()]).map_err(|_| Error::Certificate)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    let pair = rcgen::KeyPair::from_remote(Box::new(key.clone())).map_err(|_| Error::Certificate)?;
    let certificate = params.self_signed(&pair).map_err(|_| Error::Certificate)?;
    Ok(certificate.der().clone())
}

fn server_config(key: TlsKey, certificate: CertificateDer<'static>) -> Result<Arc<ServerConfig>, Error> {
    let certified = CertifiedKey::new(vec![certificate], Arc::new(key));
    // The provider is named: the process-wide default panics when a dependency brings a second one.
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|_| Error::TlsConfiguration)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // No resumption: a ticket key or a session store would be one more secret that outlives its connection.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

const COMMON_NAME: &str = "Cloister enclave";
/// What clients that insist on a name may expect: the key counts, not the name.
const SUBJECT_ALTERNATIVE_NAME: &str = "localhost";

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::{
        ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConnection,
        SupportedProtocolVersion, pki_types::ServerName, server::ParsedCertificate,
    };

    use super::*;

    fn client_config(trusted: &TlsIdentity, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.certificate().clone()).unwrap();
        Arc::new(
            ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    }

    fn connect(
        client: &Arc<ClientConfig>,
        identity: &TlsIdentity,
    ) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(client.clone(), name)?;
        let mut server = ServerConnection::new(identity.server_config())?;
        while client.is_handshaking() || server.is_handshaking() {
            pass(&mut client, &mut server)?;
            pass(&mut server, &mut client)?;
        }
        pass(&mut server, &mut client)?;
        Ok((client, server))
    }

    /// Carries what `from` has to say to `to`.
    fn pass<A, B>(
        from: &mut rustls::ConnectionCommon<A>,
        to: &mut rustls::ConnectionCommon<B>,
    ) -> Result<(), rustls::Error> {
        let mut wire = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            to.read_tls(&mut wire).unwrap();
            to.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn the_hash_is_of_the_key_in_the_certificate() {
        let identity = TlsIdentity::draw().unwrap();
        let certificate = ParsedCertificate::try_from(identity.certificate()).unwrap();
        let spki = certificate.subject_public_key_info();
        assert_eq!(spki.len(), 91, "an uncompressed P-256 key");
        assert_eq!(identity.spki_hash(), <[u8; 32]>::from(Sha256::digest(&spki)));
        assert_ne!(identity.spki_hash(), TlsIdentity::draw().unwrap().spki_hash());
    }

    #[test]
    fn both_protocol_versions_connect_and_none_resumes() {
        let identity = TlsIdentity::draw().unwrap();
        for (version, number) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
            let config = client_config(&identity, version);
            for _ in 0..2 {
                let (mut client, mut server) = connect(&config, &identity).unwrap();
                assert_eq!(client.protocol_version(), Some(number));
                assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
                client.writer().write_all(b"ping").unwrap();
                pass(&mut client, &mut server).unwrap();
                let mut received = [0; 4];
                server.reader().read_exact(&mut received).unwrap();
                assert_eq!(&received, b"ping");
            }
        }
    }

    #[test]
    fn the_certificate_of_another_start_is_refused() {
        let identity = TlsIdentity::draw().unwrap();
        let config = client_config(&TlsIdentity::draw().unwrap(), &TLS13);
        assert!(matches!(connect(&config, &identity), Err(rustls::Error::InvalidCertificate(_))));
    }
}
