//! TLS on both sides: the certificate that we show, and what we ask of a next hop's.
//!
//! Whether TLS is used at all is decided elsewhere.

use crate::config::{ConfigError, Place, TlsFiles};
use mail::TlsMode;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use std::{
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: rustls_pki_types::pem::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    #[error("{path} holds no certificate")]
    NoCertificate { path: String },
    #[error("the certificate and the key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

impl TlsError {
    /// As a mistake of the file that names the certificate.
    pub fn in_file(&self, file: &Path) -> ConfigError {
        Place::of_file(file).error(format!("[tls]: {self}"), None)
    }
}

/// What listeners show: a handshake takes what is there when it begins.
pub struct ServerTls(RwLock<Arc<ServerConfig>>);

impl ServerTls {
    pub fn new(files: Option<&TlsFiles>, hostname: &str, data_dir: &Path) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(RwLock::new(server_config(files, hostname, data_dir)?))))
    }
    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Check, then swap.
    pub fn load(&self, files: Option<&TlsFiles>, hostname: &str, data_dir: &Path) -> Result<(), TlsError> {
        let config = server_config(files, hostname, data_dir)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}

/// Without files, a self-signed pair is made once and kept in the data directory.
fn server_config(files: Option<&TlsFiles>, hostname: &str, data_dir: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    match files {
        Some(files) => usable(&files.certificate, &files.key),
        None => self_signed(hostname, data_dir),
    }
}

fn usable(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let read = |path: &Path, source| TlsError::Read { path: path.display().to_string(), source };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|e| read(certificate, e))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| read(key, e))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)?;
    Ok(Arc::new(config))
}

/// Whether listeners could show them.
pub fn check_files(files: &TlsFiles) -> Result<(), TlsError> {
    server_config(Some(files), "", Path::new("")).map(drop)
}

fn self_signed(hostname: &str, data_dir: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let (certificate, key) = (data_dir.join("self-signed.crt"), data_dir.join("self-signed.key"));
    if certificate.exists() && key.exists() {
        match usable(&certificate, &key) {
            Ok(config) => return Ok(config),
            // Nobody relies on it: a power failure that has emptied it must not keep the gateway from starting.
            Err(error) => tracing::warn!(%error, file = %certificate.display(), "self-signed certificate made anew"),
        }
    }
    let pair = rcgen::generate_simple_self_signed(vec![hostname.to_owned()])?;
    write_private(&key, &pair.signing_key.serialize_pem())?;
    write_private(&certificate, &pair.cert.pem())?;
    usable(&certificate, &key)
}

fn write_private(path: &Path, text: &str) -> Result<(), TlsError> {
    let wrong = |source| TlsError::Write { path: path.display().to_string(), source };
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(wrong)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(wrong)
}

/// The ways to look at a next hop's certificate.
pub struct ClientTls {
    any: Arc<ClientConfig>,
    verified: Arc<ClientConfig>,
    /// None where nobody is trusted to vouch for names.
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

impl ClientTls {
    /// Reads the system's certificate authorities.
    pub fn new() -> Result<Self, TlsError> {
        Self::with_authorities(None)
    }

    /// Those of this file are believed too.
    pub fn with_authorities(file: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (_, unusable) = roots.add_parsable_certificates(found.certs);
        if let Some(file) = file {
            roots.add_parsable_certificates(read_authorities(file)?);
        }
        if roots.is_empty() {
            tracing::warn!(unusable, errors = ?found.errors, "no certificate authorities found: tls = \"verified\" will always fail; install ca-certificates");
        }
        let roots = Arc::new(roots);
        let verified = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let any = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
            .with_no_client_auth();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().ok();
        Ok(Self { any: Arc::new(any), verified: Arc::new(verified), verifier })
    }
    pub fn config(&self, mode: TlsMode) -> Arc<ClientConfig> {
        if mode == TlsMode::Verified { self.verified.clone() } else { self.any.clone() }
    }

    /// Whether an authority that is believed vouches for this name of whoever has shown `chain`, now.
    pub fn vouch(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> Result<(), rustls::Error> {
        match &self.verifier {
            Some(verifier) => vouched_by(verifier, chain, name),
            None => Err(rustls::Error::General("no certificate authority is believed here".to_owned())),
        }
    }
}

/// The same where only these are believed (RFC 7672 §3.1.2).
pub fn vouched_by_anchors(
    anchors: Vec<CertificateDer<'static>>,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(anchors);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    vouched_by(&*verifier.map_err(|error| rustls::Error::General(error.to_string()))?, chain, name)
}

fn vouched_by(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> Result<(), rustls::Error> {
    let (end_entity, intermediates) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
    verifier.verify_server_cert(end_entity, intermediates, name, &[], UnixTime::now()).map(drop)
}

/// Not empty.
pub fn read_authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    let path = || file.display().to_string();
    match read {
        Ok(found) if found.is_empty() => Err(TlsError::NoCertificate { path: path() }),
        Ok(found) => Ok(found),
        Err(source) => Err(TlsError::Read { path: path(), source }),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// RFC 7435: encrypted to whoever answers. The signature over the handshake is checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
