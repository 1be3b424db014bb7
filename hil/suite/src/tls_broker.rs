//! The run's broker behind TLS, with whatever certificate a scenario wants it to show.
//!
//! A proxy ends TLS and hands the bytes on to the broker, so that every broker has every certificate.
//! Authorities and certificates are made anew for each use, and worth nothing afterwards.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig, SupportedProtocolVersion, crypto::ring,
};

/// Why there is no such broker: a mistake in the scenario, or the host's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsBrokerError {
    #[error("can't make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("no such year")]
    Year(#[from] time::error::ComponentRange),
    #[error("the certificate's key can't be read: {0}")]
    Key(&'static str),
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
    #[error("clients can't be verified")]
    Verifier(#[from] VerifierBuilderError),
    #[error("can't listen")]
    Listen(#[from] io::Error),
}

/// An authority that signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    /// X.509, DER.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// PKCS #8, DER.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Result<Self, TlsBrokerError> {
        let mut parameters = CertificateParams::new(vec![])?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.der().clone();
        Ok(Self {
            issuer: Issuer::new(parameters, key),
            certificate,
        })
    }

    /// X.509, DER.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A certificate for `name`, a host name or an address; valid in these years.
    pub(crate) fn sign(&self, name: &str, years: (i32, i32)) -> Result<Identity, TlsBrokerError> {
        let mut parameters = CertificateParams::new(vec![name.to_owned()])?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.not_before = new_year(years.0)?;
        parameters.not_after = new_year(years.1)?;
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
        })
    }
}

fn new_year(year: i32) -> Result<OffsetDateTime, TlsBrokerError> {
    let day = time::Date::from_ordinal_date(year, 1)?;
    Ok(day.midnight().assume_utc())
}

/// What it shows and asks for.
pub(crate) struct TlsSettings<'s> {
    /// Its certificate.
    pub(crate) identity: &'s Identity,
    /// The authority whose certificates clients must show; none when they need not show one.
    pub(crate) clients: Option<&'s Authority>,
    /// The version of TLS that it speaks.
    pub(crate) version: &'static SupportedProtocolVersion,
}

/// The proxy; dropping it closes the port, and every connection through it.
#[derive(Debug)]
pub(crate) struct TlsBroker {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl TlsBroker {
    /// Listens on a free port of `listen`, in front of the broker at `broker`.
    pub(crate) async fn start(
        listen: Ipv4Addr,
        broker: String,
        settings: &TlsSettings<'_>,
    ) -> Result<Self, TlsBrokerError> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(settings)?));
        let listener = TcpListener::bind((listen, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                // What becomes of a connection is the device's affair.
                connections.spawn(serve(acceptor.clone(), socket, broker.clone()));
            }
        });
        Ok(Self { address, task })
    }

    /// TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for TlsBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(acceptor: TlsAcceptor, socket: TcpStream, broker: String) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut device = acceptor.accept(socket).await?;
    let mut broker = TcpStream::connect(broker).await?;
    broker.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut device, &mut broker).await?;
    Ok(())
}

fn server_config(settings: &TlsSettings<'_>) -> Result<ServerConfig, TlsBrokerError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[settings.version])?;
    let builder = match settings.clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.clone())?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key =
        PrivateKeyDer::try_from(settings.identity.key.clone()).map_err(TlsBrokerError::Key)?;
    let chain = vec![settings.identity.certificate.clone()];
    Ok(builder.with_single_cert(chain, key)?)
}

/// Both versions that the device speaks.
pub(crate) const VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [
    ("TLS 1.2", &rustls::version::TLS12),
    ("TLS 1.3", &rustls::version::TLS13),
];
