//! A PostgreSQL of one's own, thrown away afterwards.

use crate::tools::is_root;
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A running cluster; stopped and deleted when dropped.
pub(crate) struct Cluster {
    bin: PathBuf,
    folder: TempDir,
    port: u16,
}

/// The server refuses to run as root; these users exist where it is installed from a package, or anywhere.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A command as the user that owns the cluster.
fn as_owner(program: &Path) -> Result<Command> {
    if !is_root() {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("runuser");
    command.args(["-u", owner()?, "--"]).arg(program);
    Ok(command)
}

fn owner() -> Result<&'static str> {
    let exists = |user: &&str| {
        let id = Command::new("id").arg(user).stdout(Stdio::null()).stderr(Stdio::null()).status();
        id.is_ok_and(|status| status.success())
    };
    USERS.into_iter().find(|user| exists(user)).context("there is no user to run PostgreSQL as")
}

impl Cluster {
    /// Makes and starts a cluster with the settings that durability needs.
    pub(crate) fn start(bin: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("watchpost-postgres-").tempdir()?;
        if is_root() {
            let given = Command::new("chown").arg(owner()?).arg(folder.path()).status()?;
            if !given.success() {
                bail!("{} can't be given to another user", folder.path().display());
            }
        }
        let data = folder.path().join("data");
        let made = as_owner(&bin.join("initdb"))?
            .arg("-D")
            .arg(&data)
            .args(["--auth=trust", "--username=watchpost", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--data-checksums", "--no-sync"])
            .current_dir(folder.path())
            .output()?;
        if !made.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        }
        let port = free_port()?;
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c max_connections=300 \
             -c shared_buffers=128MB -c fsync=on -c full_page_writes=on -c synchronous_commit=on",
            folder.path().display()
        );
        let cluster = Self { bin: bin.to_owned(), folder, port };
        let log = cluster.folder.path().join("log");
        let started = as_owner(&bin.join("pg_ctl"))?
            .arg("-D")
            .arg(&data)
            .args(["-w", "-t", "60", "-o", &options, "-l"])
            .arg(&log)
            .arg("start")
            .current_dir(cluster.folder.path())
            .stdout(Stdio::null())
            .status()?;
        if !started.success() {
            bail!("PostgreSQL didn't start: {}", fs::read_to_string(&log).unwrap_or_default());
        }
        Ok(cluster)
    }

    /// Its address, without the name of a database: every test makes one of its own.
    pub(crate) fn url(&self) -> String {
        format!("postgres://watchpost@127.0.0.1:{}", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(mut stop) = as_owner(&self.bin.join("pg_ctl")) {
            let data = self.folder.path().join("data");
            stop.arg("-D").arg(data).args(["-m", "immediate", "-w", "stop"]);
            stop.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
