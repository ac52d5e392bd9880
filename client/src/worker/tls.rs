//! TLS to a worker: no authority vouches for its key, layer one does.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use sha2::{Digest, Sha256};
use x509_cert::{
    Certificate,
    der::{Decode, Encode},
};

/// Which TLS keys of a worker are accepted. A key is named by the SHA-256 of its SubjectPublicKeyInfo (DER), as in
/// `EnclaveRecord::tls_key_hash`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pin {
    /// This one.
    TlsKey([u8; 32]),
    /// Any of these; [`Worker::tls_key`](super::Worker::tls_key) says which it was.
    AnyOf(Vec<[u8; 32]>),
    /// Whatever comes. Whoever sits between can read and answer everything: for diagnosis only.
    Unverified,
}

/// The worker has a key that is not pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the worker's TLS key {} is not pinned", hex::encode(.found))]
pub(super) struct KeyNotPinned {
    pub found: [u8; 32],
}

/// How to speak TLS with a worker: version 1.3 only, no resumption, so that every connection proves the key.
pub(super) fn client_config(pin: Pin) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinVerifier { pin, algorithms }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo. `None` if it is malformed, or larger than an enclave's by far: a reader
/// that sorts its names would be busy with a large one for long.
pub fn key_hash(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    if certificate.len() > MAX_CERTIFICATE_BYTES {
        return None;
    }
    let certificate = Certificate::from_der(certificate).ok()?;
    let key = certificate.tbs_certificate.subject_public_key_info.to_der().ok()?;
    Some(Sha256::digest(key).into())
}

#[derive(Debug)]
struct PinVerifier {
    pin: Pin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinVerifier {
    /// Names, dates and issuers in the certificate mean nothing here: it only carries the key.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = key_hash(end_entity).ok_or(CertificateError::BadEncoding)?;
        let accepted = match &self.pin {
            Pin::TlsKey(key) => *key == found,
            Pin::AnyOf(keys) => keys.contains(&found),
            Pin::Unverified => true,
        };
        if accepted {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::Other(OtherError(Arc::new(KeyNotPinned { found }))).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    /// The handshake's signature proves that the peer has the pinned key; without it anybody could show the
    /// certificate.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The key that the verifier did not accept, if that is why a handshake failed.
pub(super) fn rejected_key(error: &std::io::Error) -> Option<[u8; 32]> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => {
            reason.downcast_ref::<KeyNotPinned>().map(|rejected| rejected.found)
        }
        _ => None,
    }
}

/// An enclave's own has some 400.
const MAX_CERTIFICATE_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::{
        ClientConnection, ServerConfig, ServerConnection,
        pki_types::PrivateKeyDer,
        server::{ClientHello, ResolvesServerCert},
        sign::{CertifiedKey, SigningKey},
    };

    use super::*;

    struct Identity {
        certificate: CertificateDer<'static>,
        key: KeyPair,
        hash: [u8; 32],
    }

    fn identity() -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["worker".to_string()]).unwrap().self_signed(&key).unwrap();
        let hash = Sha256::digest(key.public_key_der()).into();
        Identity { certificate: certificate.der().clone(), key, hash }
    }

    fn signing_key(key: &KeyPair) -> Arc<dyn SigningKey> {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        aws_lc_rs::sign::any_ecdsa_type(&key).unwrap()
    }

    /// Shows a certificate, signs with any key.
    #[derive(Debug)]
    struct Server(Arc<CertifiedKey>);

    impl ResolvesServerCert for Server {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }

    fn handshake(
        pin: Pin,
        certificate: CertificateDer<'static>,
        key: Arc<dyn SigningKey>,
    ) -> Result<(), rustls::Error> {
        let server = Server(Arc::new(CertifiedKey::new(vec![certificate], key)));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(server));
        let mut server = ServerConnection::new(Arc::new(config)).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut client = ClientConnection::new(client_config(pin).unwrap(), name).unwrap();
        while client.is_handshaking() {
            let mut sent = Vec::new();
            client.write_tls(&mut sent).unwrap();
            server.read_tls(&mut sent.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut answered = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answered).unwrap();
            }
            client.read_tls(&mut answered.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn the_pinned_key_is_accepted_whatever_its_certificate_says() {
        let worker = identity();
        for pin in [Pin::TlsKey(worker.hash), Pin::AnyOf(vec![[0; 32], worker.hash]), Pin::Unverified] {
            handshake(pin, worker.certificate.clone(), signing_key(&worker.key)).unwrap();
        }
        assert_eq!(key_hash(&worker.certificate), Some(worker.hash));
    }

    #[test]
    fn another_key_is_refused_by_name() {
        let (worker, stranger) = (identity(), identity());
        for pin in [Pin::TlsKey(worker.hash), Pin::AnyOf(vec![worker.hash]), Pin::AnyOf(Vec::new())] {
            let key = signing_key(&stranger.key);
            let error = handshake(pin, stranger.certificate.clone(), key).unwrap_err();
            assert_eq!(rejected_key(&std::io::Error::other(error)), Some(stranger.hash));
        }
    }

    #[test]
    fn the_pinned_certificate_without_its_key_is_refused() {
        let (worker, stranger) = (identity(), identity());
        for pin in [Pin::TlsKey(worker.hash), Pin::Unverified] {
            let key = signing_key(&stranger.key);
            let error = handshake(pin, worker.certificate.clone(), key).unwrap_err();
            assert_eq!(error, rustls::Error::InvalidCertificate(CertificateError::BadSignature));
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_key() {
        assert_eq!(key_hash(&CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x00])), None);
    }

    #[test]
    fn a_certificate_of_absurd_size_is_not_read() {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = (0..400).map(|number| format!("worker-{number}")).collect();
        let large = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        assert!(large.der().len() > MAX_CERTIFICATE_BYTES);
        assert_eq!(key_hash(large.der()), None);
    }
}
