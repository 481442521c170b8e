//! TLS: 1.2 and 1.3 with authenticated ciphers alone, and certificates that are renewed while connections go on.

use super::certificate::expires;
use super::handshakes::Failures;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use watchpost_model::Timestamp;
use watchpost_pipeline::now;

/// How often to look whether the files are others.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What a connection that speaks TLS begins with.
const HANDSHAKE: u8 = 0x16;
/// What to say to one that doesn't.
const PLAIN: &str = "This port speaks TLS: use https:// instead of http://.\n";

/// Where certificate and key are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and those between it and its authority, as PEM.
    pub certificates: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// Why certificate and key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub struct TlsError {
    file: String,
    why: String,
}

struct Inner {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
    /// What the files held when they were last looked at, good or bad.
    seen: Mutex<Read>,
    failures: Failures,
}

/// What two files hold.
#[derive(PartialEq, Eq)]
struct Read {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

/// Speaks TLS with the certificate that is in use.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

fn unusable(file: &std::path::Path, why: impl fmt::Display) -> TlsError {
    TlsError { file: file.display().to_string(), why: why.to_string() }
}

impl TlsFiles {
    fn read(&self) -> Result<Read, TlsError> {
        let read = |file: &PathBuf| std::fs::read(file).map_err(|error| unusable(file, error));
        Ok(Read { certificates: read(&self.certificates)?, key: read(&self.key)? })
    }

    /// The certificates in the file, its own first.
    fn chain(&self, read: &Read) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read.certificates).collect();
        let chain = chain.map_err(|error| unusable(&self.certificates, error))?;
        match chain.is_empty() {
            true => Err(unusable(&self.certificates, "there is no certificate in it")),
            false => Ok(chain),
        }
    }

    fn config(&self, read: &Read) -> Result<ServerConfig, TlsError> {
        let chain = self.chain(read)?;
        let key = PrivateKeyDer::from_pem_slice(&read.key)
            .map_err(|error| unusable(&self.key, format!("there is no private key in it: {error}")))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| unusable(&self.certificates, error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| {
                unusable(&self.key, format!("certificate and key don't go together: {error}"))
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// When the certificate ends, if that can be told.
    pub(crate) fn expires(&self) -> Result<Option<Timestamp>, TlsError> {
        let chain = self.chain(&self.read()?)?;
        Ok(chain.first().and_then(|own| expires(own)))
    }
}

impl Tls {
    /// Reads certificate and key.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let read = files.read()?;
        let config = Arc::new(files.config(&read)?);
        let (config, seen) = (RwLock::new(config), Mutex::new(read));
        let tls = Self(Arc::new(Inner { files, config, seen, failures: Failures::default() }));
        tls.warn_of_the_end();
        Ok(tls)
    }

    fn warn_of_the_end(&self) {
        if let Ok(Some(end)) = self.0.files.expires()
            && end <= now()
        {
            tracing::error!(%end, "the TLS certificate has expired: browsers refuse it");
        }
    }

    /// Takes the files into use if they are others and good; whether they were.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let read = self.0.files.read()?;
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == read {
            return Ok(false);
        }
        let config = self.0.files.config(&read);
        *seen = read;
        drop(seen);
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config?);
        self.warn_of_the_end();
        Ok(true)
    }

    /// Looks for other files now and then, and at once when asked to, until it is dropped.
    pub(crate) async fn watch(self) {
        #[cfg(unix)]
        let mut asked = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
        loop {
            #[cfg(unix)]
            let asking = async {
                match &mut asked {
                    Some(asked) => drop(asked.recv().await),
                    None => std::future::pending().await,
                }
            };
            #[cfg(not(unix))]
            let asking = std::future::pending::<()>();
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = asking => {}
            }
            self.tell_of_failures(false);
            match self.reload() {
                Ok(true) => tracing::info!("another TLS certificate is in use for new connections"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "the new TLS certificate can't be used; the one before stays")
                }
            }
        }
    }

    pub(super) fn greeting_failed(&self, peer: IpAddr, why: &str) {
        self.0.failures.note(peer, why);
    }

    pub(super) fn tell_of_failures(&self, at_once: bool) {
        self.0.failures.tell(at_once);
    }

    /// Greets a connection. One that doesn't speak TLS is told so.
    pub(super) async fn greet(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut begins = [0];
        if stream.peek(&mut begins).await? == 1 && begins[0] != HANDSHAKE {
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PLAIN}",
                PLAIN.len()
            );
            // What was sent is taken, or closing would cut the answer off.
            let passed_over = stream.read(&mut [0; 8_192]).await?;
            tracing::debug!(passed_over, "a connection doesn't speak TLS");
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("it doesn't speak TLS"));
        }
        let config = self.0.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept(stream).await
    }
}
