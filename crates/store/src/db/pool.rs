//! Connections to PostgreSQL, each one checked before it is used.

use super::dialect::numbered_for_postgres;
use crate::StoreError;
use crate::migrations::{known_step, writers::introduction};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, CancelToken, Client, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long to wait for the server to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for one of the connections before it is told that there is none.
const POOL_TIMEOUT: Duration = Duration::from_secs(5);
/// When a vanished server is noticed although no answer says so.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// What gives a connection's statements the time that most of them have.
pub(super) const STATEMENT_LIMIT: &str = "SET statement_timeout = '30s'";
/// Prepared statements a connection keeps.
const PREPARED: usize = 512;
/// The oldest server the SQL is tried on.
const OLDEST_SERVER: i32 = 150_000;

/// How to reach a PostgreSQL server.
#[derive(Clone)]
pub struct PostgresOptions {
    /// The address as `postgres://…`.
    pub url: String,
    /// A PEM file with the authority that signed the server's certificate, instead of the system's.
    pub authority: Option<PathBuf>,
    /// How many connections may be open at once.
    pub connections: usize,
}

impl PostgresOptions {
    /// Whether the address can be understood; whether somebody is there shows when it is opened.
    pub fn is_well_formed(&self) -> bool {
        read_address(&self.url).is_ok()
    }
}

/// What an address of a database means. One that says nothing about TLS gets it, verified, unless the server is this
/// machine: what goes there passes no network.
fn read_address(url: &str) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
    const SAID: &str = "sslmode=";
    let (place, said) = url.rsplit_once('?').unwrap_or((url, ""));
    let mode = said.split('&').find_map(|one| one.strip_prefix(SAID));
    let mut config = match mode {
        // Certificates and names are always verified, so that these are the same as `require`.
        Some(verify @ ("verify-ca" | "verify-full")) => {
            let said = said.replace(&format!("{SAID}{verify}"), &format!("{SAID}require"));
            tokio_postgres::Config::from_str(&format!("{place}?{said}"))?
        }
        _ => tokio_postgres::Config::from_str(url)?,
    };
    if mode.is_none() {
        config.ssl_mode(if is_here(&config) { SslMode::Disable } else { SslMode::Require });
    }
    Ok(config)
}

/// Whether a server is on this machine by all that its address says. A name that isn't `localhost` is that of another,
/// also where `hostaddr` leads to it through a tunnel that begins here.
fn is_here(config: &tokio_postgres::Config) -> bool {
    let is_loopback = |address: &IpAddr| address.to_canonical().is_loopback();
    let named = |host: &Host| match host {
        Host::Tcp(name) => {
            name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address| is_loopback(&address))
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    config.get_hosts().iter().all(named) && config.get_hostaddrs().iter().all(is_loopback)
}

/// What to do about a connection that failed for its TLS.
fn tls_hint(error: &str) -> &'static str {
    if error.contains("server does not support TLS") {
        "; a PostgreSQL on another machine is spoken to over TLS only: set ssl = on there, or add ?sslmode=disable to \
         DATABASE_URL if no other machine can be on the network between"
    } else if error.contains("invalid peer certificate") {
        "; the certificate has to be for the host in DATABASE_URL, and WATCHPOST_DATABASE_CA names the file with the \
         authority that signed it"
    } else {
        ""
    }
}

impl std::fmt::Debug for PostgresOptions {
    /// Without the address: it holds a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// One connection with the statements it has prepared.
pub(super) struct Connection {
    pub(super) client: Client,
    prepared: HashMap<String, Statement>,
    /// The server committed here but may not have replicated: see [`Connection::take_doubt`].
    in_doubt: Arc<AtomicBool>,
}

impl Connection {
    /// The prepared form of a statement with `?1` parameters.
    pub(super) async fn prepare(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        // Filters make more texts than are worth keeping on the server.
        if self.prepared.len() >= PREPARED {
            self.prepared.clear();
        }
        let statement = self.client.prepare(&numbered_for_postgres(sql)).await?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Whether the server warned since the last call that a commit may not have reached its standby.
    ///
    /// PostgreSQL says COMMIT all the same: an acknowledged row that a failover would lose.
    pub(super) fn take_doubt(&self) -> bool {
        self.in_doubt.swap(false, Ordering::AcqRel)
    }
}

/// A bounded set of connections.
pub(super) struct Pool {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    /// Where the first connection led, see [`cluster_of`].
    pub(super) cluster: OnceLock<String>,
}

/// A connection on loan. Dropped without [`Pool::give_back`] it is closed, not reused.
pub(super) struct Loan {
    pub(super) connection: Connection,
    permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, StoreError> {
        let mut config = read_address(&options.url)
            .map_err(|error| StoreError::Unfit(format!("the address of the database is wrong: {error}")))?;
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(TCP_USER_TIMEOUT);
        if config.get_application_name().is_none() {
            config.application_name("watchpost");
        }
        let tls = MakeRustlsConnect::new(tls_config(options)?);
        let permits = Arc::new(Semaphore::new(options.connections));
        Ok(Self { config, tls, idle: Mutex::new(Vec::new()), permits, cluster: OnceLock::new() })
    }

    pub(super) async fn lend(&self) -> Result<Loan, StoreError> {
        let waiting = tokio::time::timeout(POOL_TIMEOUT, self.permits.clone().acquire_owned());
        let permit = match waiting.await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(StoreError::Unavailable("the database was closed".into())),
            Err(_) => return Err(StoreError::Unavailable("all connections are in use".into())),
        };
        while let Some(connection) = self.idle.lock().ok().and_then(|mut idle| idle.pop()) {
            if !connection.client.is_closed() {
                return Ok(Loan { connection, permit });
            }
        }
        Ok(Loan { connection: self.connect().await?, permit })
    }

    pub(super) fn give_back(&self, loan: Loan) {
        let Loan { connection, permit } = loan;
        if !connection.client.is_closed()
            && !self.permits.is_closed()
            && let Ok(mut idle) = self.idle.lock()
        {
            idle.push(connection);
        }
        drop(permit);
    }

    /// Closes the connections that nobody has: when one of them was ended by the server, the others were, too.
    pub(super) fn forget_idle(&self) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.clear();
        }
    }

    /// Ends what a connection is doing; that it can't be told to is noticed by the limits of the statement.
    pub(super) async fn cancel(&self, token: CancelToken) {
        let told = match self.config.get_ssl_mode() {
            SslMode::Disable => token.cancel_query(NoTls).await,
            _ => token.cancel_query(self.tls.clone()).await,
        };
        if let Err(error) = told {
            tracing::debug!(%error, "a statement that nobody waits for goes on");
        }
    }

    pub(super) fn close(&self) {
        self.permits.close();
        if let Ok(mut idle) = self.idle.lock() {
            idle.clear();
        }
    }

    /// Opens a connection outside the pool's count and checks the server's settings.
    pub(super) async fn connect(&self) -> Result<Connection, StoreError> {
        let in_doubt = Arc::new(AtomicBool::new(false));
        let connected = if self.config.get_ssl_mode() == SslMode::Disable {
            self.config.connect(NoTls).await.map(|(client, connection)| {
                tokio::spawn(drive(connection, in_doubt.clone()));
                client
            })
        } else {
            self.config.connect(self.tls.clone()).await.map(|(client, connection)| {
                tokio::spawn(drive(connection, in_doubt.clone()));
                client
            })
        };
        let client = connected.map_err(|error| {
            let error = with_causes(&error);
            let hint = tls_hint(&error);
            StoreError::Unavailable(error + hint)
        })?;
        check_server(&client).await?;
        // What this process remembers (ids, where the feed is) is that of one database.
        let here = cluster_of(&client).await?;
        if *self.cluster.get_or_init(|| here.clone()) != here {
            return Err(StoreError::Unavailable(
                "DATABASE_URL leads to another database than when this server started: restart it".into(),
            ));
        }
        Ok(Connection { client, prepared: HashMap::new(), in_doubt })
    }
}

async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, in_doubt: Arc<AtomicBool>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) => {
                if [SqlState::WARNING, SqlState::ADMIN_SHUTDOWN].contains(notice.code()) {
                    in_doubt.store(true, Ordering::Release);
                    tracing::warn!(notice = notice.message(), "PostgreSQL warned");
                } else {
                    tracing::debug!(notice = notice.message(), "PostgreSQL says");
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection to PostgreSQL ended");
                return;
            }
        }
    }
}

fn tls_config(options: &PostgresOptions) -> Result<ClientConfig, StoreError> {
    let mut roots = RootCertStore::empty();
    match &options.authority {
        Some(file) => {
            let unreadable = |error: &dyn std::fmt::Display| {
                StoreError::Unfit(format!("can't read the certificates in {}: {error}", file.display()))
            };
            let certificates = CertificateDer::pem_file_iter(file).map_err(|e| unreadable(&e))?;
            for certificate in certificates {
                roots.add(certificate.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Unfit(format!("TLS can't be set up: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

const CLUSTER_AND_DATABASE: &str = "SELECT CAST(c.system_identifier AS TEXT) || '/' || CAST(d.oid AS TEXT) FROM pg_control_system() c, pg_database d WHERE d.datname = current_database()";
const DATABASE: &str = "SELECT '/' || CAST(oid AS TEXT) FROM pg_database WHERE datname = current_database()";

/// The settings without which an acknowledged event could be lost, and what each has to be.
const PROMISES: [(&str, &[&str]); 5] = [
    ("fsync", &["on"]),
    ("full_page_writes", &["on"]),
    ("synchronous_commit", &["on", "remote_apply"]),
    ("server_encoding", &["UTF8"]),
    ("default_transaction_read_only", &["off"]),
];

/// Which cluster this is, and which of its databases. A standby that takes over is the same; what a dump was restored
/// into is another.
async fn cluster_of(client: &Client) -> Result<String, StoreError> {
    let unavailable = |error: tokio_postgres::Error| StoreError::Unavailable(with_causes(&error));
    let mut answer = client.simple_query(CLUSTER_AND_DATABASE).await;
    // Some operators keep this from users: then the database alone has to say it.
    if answer.as_ref().is_err_and(|error| error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)) {
        answer = client.simple_query(DATABASE).await;
    }
    let said = answer.map_err(unavailable)?.into_iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    said.ok_or_else(|| StoreError::Unavailable("the server didn't tell which database this is".into()))
}

async fn check_server(client: &Client) -> Result<(), StoreError> {
    let unavailable = |error: tokio_postgres::Error| StoreError::Unavailable(with_causes(&error));
    client
        .batch_execute(&format!(
            "SET client_min_messages = warning; SET idle_in_transaction_session_timeout = '10s'; \
             {STATEMENT_LIMIT}; SET lock_timeout = '10s'; SET timezone = 'UTC'; {}",
            introduction(known_step())
        ))
        .await
        .map_err(unavailable)?;
    let mut asked = String::from("SELECT current_setting('server_version_num')");
    for (setting, _) in PROMISES {
        asked.push_str(&format!(", current_setting('{setting}')"));
    }
    let answers = client.simple_query(&asked).await.map_err(unavailable)?;
    let row = answers.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(|| StoreError::Unavailable("the server didn't tell its settings".into()))?;
    let version = row.get(0).and_then(|text| text.parse::<i32>().ok()).unwrap_or(0);
    if version < OLDEST_SERVER {
        return Err(StoreError::Unfit(format!("PostgreSQL {version} is too old; 15 or later is needed")));
    }
    for (i, (setting, wanted)) in PROMISES.iter().enumerate() {
        let found = row.get(i + 1).unwrap_or_default();
        if !wanted.contains(&found) {
            return Err(StoreError::Unfit(format!(
                "PostgreSQL runs with {setting}={found}, which can lose or garble acknowledged events; set it to {}",
                wanted[0]
            )));
        }
    }
    Ok(())
}

/// An error and what caused it, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_verified_unless_the_server_is_here_or_the_address_says_otherwise() {
        for (url, wanted) in [
            ("postgres://u@db.example/w", SslMode::Require),
            ("postgres://u:a?b@db.example:5433/w", SslMode::Require),
            ("postgres://u@10.0.0.2/w", SslMode::Require),
            ("postgres://u@[fd00::1]/w", SslMode::Require),
            ("postgres://u@localhost.example/w", SslMode::Require),
            ("postgres://u@localhost,db.example/w", SslMode::Require),
            ("postgres://u@db.example/w?hostaddr=127.0.0.1", SslMode::Require),
            ("postgres://u@localhost/w?hostaddr=10.0.0.2", SslMode::Require),
            ("postgres://u@db.example/w?application_name=sslmode", SslMode::Require),
            ("postgres://u@localhost/w", SslMode::Disable),
            ("postgres://u@LOCALHOST/w", SslMode::Disable),
            ("postgres://u@127.0.0.1:5432/w", SslMode::Disable),
            ("postgres://u@127.8.8.8/w", SslMode::Disable),
            ("postgres://u@[::1]/w", SslMode::Disable),
            ("postgres://u@%2Fvar%2Frun%2Fpostgresql/w", SslMode::Disable),
            ("postgres:///w?host=/var/run/postgresql", SslMode::Disable),
            ("postgres://u@db.example/w?sslmode=disable", SslMode::Disable),
            ("postgres://u@db.example/w?connect_timeout=9&sslmode=prefer", SslMode::Prefer),
            ("postgres://u@localhost/w?sslmode=require", SslMode::Require),
            ("postgres://u@localhost/w?sslmode=verify-full", SslMode::Require),
            ("postgres://u@localhost/w?sslmode=verify-ca&connect_timeout=9", SslMode::Require),
        ] {
            let config = read_address(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(config.get_ssl_mode(), wanted, "{url}");
        }
        assert!(read_address("postgres://u@h/w?sslmode=perhaps").is_err());
    }
}
