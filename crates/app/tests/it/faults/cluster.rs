//! A PostgreSQL of a test's own: a primary and a standby that has to have what is acknowledged, made to be broken.

use crate::database::{Database, answer};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The user that owns clusters.
const OWNER: &str = "watchpost";
/// How long a cluster may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// The server refuses to run as root; these users exist where it is installed from a package, or anywhere.
const USERS: [&str; 2] = ["postgres", "nobody"];

fn says_yes(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The user that a cluster is run as: nobody else, unless this is root.
fn other_user() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().unwrap();
    let exists = |user: &&str| says_yes(Command::new("id").arg(user));
    (id.stdout.trim_ascii() == b"0").then(|| USERS.into_iter().find(exists).unwrap())
}

/// One of PostgreSQL's programs, of the version that the tests run on, as the user that may run it.
pub(crate) fn program(name: &str) -> Command {
    let bin = answer(&base_url(), "SELECT setting FROM pg_config() WHERE name = 'BINDIR'");
    let path = Path::new(&bin).join(name);
    match other_user() {
        None => Command::new(path),
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--"]).arg(path);
            command
        }
    }
}

fn base_url() -> String {
    let base = std::env::var("WATCHPOST_TEST_POSTGRES");
    format!("{}/postgres", base.expect("PostgreSQL is needed for this test: run `cargo xtask test`"))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A folder that the user of the clusters may write to.
pub(super) fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("watchpost-cluster-").tempdir().unwrap();
    if let Some(user) = other_user() {
        run(Command::new("chown").arg(user).arg(folder.path()));
    }
    folder
}

/// A primary and its standby as they were made: copies of it are quicker to have.
pub(crate) struct Template {
    folder: TempDir,
}

impl Template {
    pub(crate) fn new() -> Self {
        let (folder, cluster) = Cluster::fresh();
        let standby = folder.path().join("standby");
        run(program("pg_basebackup")
            .arg("-D")
            .arg(&standby)
            .args(["-R", "--no-sync", "--checkpoint=fast", "-h", "127.0.0.1", "-U", OWNER])
            .args(["-p", &cluster.port.to_string()])
            .current_dir(folder.path()));
        drop(cluster);
        Self { folder }
    }

    fn copy(&self, name: &str) -> (TempDir, Cluster) {
        let own = folder();
        run(Command::new("cp").arg("-a").arg(self.folder.path().join(name)).arg(own.path()));
        let data = own.path().join(name);
        (own, Cluster { data, port: free_port() })
    }

    /// A primary with its data in a folder.
    pub(crate) fn put_into(&self, folder: &Path) -> Cluster {
        run(Command::new("cp").arg("-a").arg(self.folder.path().join("primary")).arg(folder));
        let cluster = Cluster { data: folder.join("primary"), port: free_port() };
        cluster.configure(&[]);
        cluster
    }

    /// A primary that commits nothing before its standby has it.
    pub(crate) fn pair(&self) -> Pair {
        let (first, primary) = self.copy("primary");
        primary.configure(&[("synchronous_standby_names", "standby")]);
        primary.start();
        let (second, standby) = self.copy("standby");
        let from = format!("host=127.0.0.1 port={} user={OWNER} application_name=standby", primary.port);
        standby.configure(&[("primary_conninfo", &from)]);
        standby.start();
        let pair = Pair { primary, standby, _folders: [first, second] };
        pair.wait_for_standby();
        pair
    }
}

/// A cluster; stopped when it is dropped.
pub(crate) struct Cluster {
    data: PathBuf,
    port: u16,
}

impl Cluster {
    /// A cluster of its own, running, with an empty database.
    pub(crate) fn fresh() -> (TempDir, Self) {
        let folder = folder();
        let primary = folder.path().join("primary");
        run(program("initdb")
            .arg("-D")
            .arg(&primary)
            .args(["--auth=trust", &format!("--username={OWNER}"), "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--data-checksums", "--no-sync", "--wal-segsize=1"])
            .current_dir(folder.path()));
        let cluster = Self { data: primary, port: free_port() };
        cluster.configure(&[]);
        cluster.start();
        run(program("createdb")
            .args(["-h", "127.0.0.1", "-U", OWNER, "-p", &cluster.port.to_string(), "watchpost"])
            .current_dir(folder.path()));
        (folder, cluster)
    }

    /// Lets the user that clusters are run as own a folder.
    pub(crate) fn give(folder: &Path) {
        if let Some(user) = other_user() {
            run(Command::new("chown").arg(user).arg(folder));
        }
    }

    /// The primary that was running in a folder when its machine ended.
    pub(crate) fn left_in(folder: &Path) -> Self {
        let cluster = Self { data: folder.join("primary"), port: free_port() };
        // The process that it names is no longer there, or is somebody else's.
        std::fs::remove_file(cluster.data.join("postmaster.pid")).ok();
        cluster.configure(&[]);
        cluster
    }

    fn configure(&self, settings: &[(&str, &str)]) {
        let socket = self.data.parent().unwrap().display().to_string();
        let port = self.port.to_string();
        let usual = [
            ("port", port.as_str()),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", socket.as_str()),
            ("shared_buffers", "16MB"),
            ("wal_retrieve_retry_interval", "100ms"),
            // How soon a standby that is gone is noticed is no matter here.
            ("wal_sender_timeout", "5s"),
        ];
        let lines = usual.iter().chain(settings).map(|(name, value)| format!("{name} = '{value}'\n"));
        let text: String = lines.collect();
        let path = self.data.join("postgresql.auto.conf");
        std::fs::write(&path, text).unwrap();
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let mut command = program("pg_ctl");
        command.arg("-D").arg(&self.data).args(arguments).current_dir(self.data.parent().unwrap());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(crate) fn start(&self) {
        self.start_with(&[]);
    }

    /// Starts it with more in its environment.
    pub(crate) fn start_with(&self, environment: &[(&str, &str)]) {
        let log = self.data.parent().unwrap().join("log");
        let mut command = self.control(&["-w", "-t", "60", "-l"]);
        command.envs(environment.iter().copied());
        let started = command.arg(&log).arg("start").status().unwrap();
        assert!(started.success(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    }

    /// Stops it without a chance to finish anything.
    pub(crate) fn stop(&self) {
        assert!(self.control(&["-m", "immediate", "-w", "stop"]).status().unwrap().success());
    }

    /// Ends its first process as a crash of the machine would; the others follow.
    pub(crate) fn kill(&self) {
        let pid = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap();
        run(Command::new("kill").args(["-9", pid.lines().next().unwrap()]));
    }

    /// Stops it and starts it again.
    pub(crate) fn restart(&self, mode: &str) {
        assert!(self.control(&["-m", mode, "-w", "restart"]).status().unwrap().success());
    }

    pub(crate) fn promote(&self) {
        assert!(self.control(&["-w", "-t", "60", "promote"]).status().unwrap().success());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its database.
    pub(crate) fn database(&self) -> Database {
        Database::at(&format!("postgres://{OWNER}@127.0.0.1:{}", self.port), "watchpost")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.control(&["-m", "immediate", "-w", "stop"]).status().ok();
    }
}

/// A primary and its synchronous standby.
pub(crate) struct Pair {
    pub(crate) primary: Cluster,
    pub(crate) standby: Cluster,
    _folders: [TempDir; 2],
}

impl Pair {
    /// Waits until the standby gets everything before it is committed.
    pub(crate) fn wait_for_standby(&self) {
        let in_step = "SELECT COUNT(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let (database, late) = (self.primary.database(), Instant::now() + PATIENCE);
        while database.count(in_step) == 0 {
            assert!(Instant::now() < late, "the standby doesn't come");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
