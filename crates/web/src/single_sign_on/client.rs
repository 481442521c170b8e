//! As much of an HTTP client as talking to one provider, or to a receiver of checkpoints, takes: no redirects, no proxies, short answers, little time.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long an answer may take, in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any list of keys.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Why there is no answer; for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("{0} is no address of the kind that is asked")]
    Address(String),
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    #[error("it took too long")]
    TooSlow,
    #[error("it answered with status {0}")]
    Status(StatusCode),
}

fn unreachable(error: impl std::fmt::Display) -> Failed {
    Failed::Unreachable(error.to_string())
}

pub(crate) struct Client {
    tls: TlsConnector,
}

impl Client {
    /// Trusts these authorities, or those of the system.
    pub(crate) fn new(authorities: &[Vec<u8>]) -> Self {
        let mut roots = RootCertStore::empty();
        match authorities.is_empty() {
            true => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
            false => roots.add_parsable_certificates(
                authorities.iter().map(|der| CertificateDer::from_slice(der).into_owned()),
            ),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)) }
    }

    pub(super) async fn get(&self, address: &str) -> Result<Bytes, Failed> {
        self.get_with(address, HeaderMap::new()).await
    }

    pub(super) async fn get_with(&self, address: &str, headers: HeaderMap) -> Result<Bytes, Failed> {
        self.ask(Method::GET, address, headers, Bytes::new()).await
    }

    /// Sends a form.
    pub(super) async fn post(
        &self,
        address: &str,
        mut headers: HeaderMap,
        form: String,
    ) -> Result<Bytes, Failed> {
        let kind = header::HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, kind);
        self.ask(Method::POST, address, headers, form.into()).await
    }

    /// Sends JSON; what is answered doesn't matter beyond its status.
    pub(crate) async fn post_json(
        &self,
        address: &str,
        mut headers: HeaderMap,
        body: String,
    ) -> Result<(), Failed> {
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        self.ask(Method::POST, address, headers, body.into()).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        address: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Bytes, Failed> {
        let asking = self.ask_in_time(method, address, headers, body);
        tokio::time::timeout(PATIENCE, asking).await.map_err(|_| Failed::TooSlow)?
    }

    async fn ask_in_time(
        &self,
        method: Method,
        address: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Bytes, Failed> {
        let wrong = || Failed::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?.clone();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, authority.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|_| wrong())?;
        request.headers_mut().extend(headers);
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
        if !secure {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(host).map_err(|_| wrong())?;
        exchange(self.tls.connect(name, stream).await.map_err(unreachable)?, request).await
    }
}

async fn exchange<I>(stream: I, request: Request<Full<Bytes>>) -> Result<Bytes, Failed>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Failed::Status(status));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        Ok(body.collect().await.map_err(unreachable)?.to_bytes())
    };
    let answer = answer.await;
    connection.abort();
    answer
}
