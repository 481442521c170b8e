//! The servers that are measured, each a process of its own.

use crate::http::Connection;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a server may take to come to rest, and how often to look.
const MAX_SETTLING: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The same stack without storing: the limit.
    Nothing,
    Sqlite,
    Postgres,
}

impl Target {
    pub(crate) const ALL: [Self; 3] = [Self::Nothing, Self::Sqlite, Self::Postgres];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no store",
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    child: Child,
    database: Option<String>,
    /// Deleted with it.
    folder: Option<TempDir>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Running {
    pub(crate) async fn start(target: Target) -> Result<Self> {
        let folder = TempDir::new()?;
        if target == Target::Nothing {
            let mut child = Command::new(std::env::current_exe()?)
                .arg(crate::baseline::ARGUMENT)
                .arg(folder.path())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
            let mut line = || lines.next().context("the baseline didn't start")?.map_err(anyhow::Error::from);
            let (address, token) = (line()?.parse()?, line()?);
            return Ok(Self { target, address, token, child, database: None, folder: Some(folder) });
        }
        let database = match target {
            Target::Postgres => Some(make_database("bench").await?),
            _ => None,
        };
        Self::launch(target, folder, database).await
    }

    async fn launch(target: Target, folder: TempDir, database: Option<String>) -> Result<Self> {
        let binary = std::env::var_os("WATCHPOST_BIN").context("run `cargo xtask bench`")?;
        let mut command = Command::new(binary);
        command
            .current_dir(folder.path())
            .env("WATCHPOST_LISTEN", "127.0.0.1:0")
            .env("WATCHPOST_ADMIN_PASSWORD", PASSWORD)
            .env("WATCHPOST_THROTTLE", "off")
            .env("WATCHPOST_LOG", "warn")
            .stderr(Stdio::piped());
        if let Some(database) = &database {
            command.env("DATABASE_URL", database);
        }
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stderr.take().context("its output is piped")?).lines();
        let ready =
            lines.map_while(Result::ok).find_map(|l| Some(l.split_once("is ready: http://")?.1.to_owned()));
        let address = ready.context("the server didn't start")?.trim().parse()?;
        let token = log_in(address).await?;
        Ok(Self { target, address, token, child, database, folder: Some(folder) })
    }

    /// Stops the server and starts another on its data.
    pub(crate) async fn restart(mut self) -> Result<Self> {
        self.child.kill()?;
        self.child.wait()?;
        let folder = self.folder.take().context("a server has a folder")?;
        Self::launch(self.target, folder, self.database.take()).await
    }

    /// Gets a new token.
    pub(crate) async fn log_in(&mut self) -> Result<()> {
        self.token = log_in(self.address).await?;
        Ok(())
    }

    /// Waits until the search index has followed: it says twice that nothing waits.
    pub(crate) async fn settle(&self) -> Result<()> {
        if self.target == Target::Nothing {
            return Ok(());
        }
        let mut connection = Connection::open(self.address).await?;
        let deadline = Instant::now() + MAX_SETTLING;
        let mut quiet = 0;
        while quiet < 2 && Instant::now() < deadline {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            let metrics = connection.get("/metrics", &self.token).await?;
            let lag = metrics.lines().find_map(|line| line.strip_prefix("watchpost_search_lag_seconds "));
            let lag: f64 = lag.context("no lag of the search index")?.trim().parse()?;
            quiet = if lag == 0.0 { quiet + 1 } else { 0 };
        }
        Ok(())
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it holds in memory now.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }
}

/// A database of one's own.
pub(crate) async fn make_database(name: &str) -> Result<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{name}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let base = std::env::var("WATCHPOST_TEST_POSTGRES").context("run `cargo xtask bench`")?;
    let (client, connection) =
        tokio_postgres::connect(&format!("{base}/postgres"), tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await?;
    Ok(format!("{base}/{name}"))
}

async fn log_in(address: SocketAddr) -> Result<String> {
    let body = format!(r#"{{"username":"admin","password":"{PASSWORD}"}}"#);
    let request = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let Some((_, body)) = answer.split_once("\r\n\r\n") else { bail!("no answer to the log-in: {answer}") };
    let answer: serde_json::Value = serde_json::from_str(body)?;
    Ok(answer["access"].as_str().context("no token in the answer")?.to_owned())
}
