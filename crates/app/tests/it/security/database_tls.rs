//! What goes to a PostgreSQL on another machine goes over verified TLS.

use crate::database::{Database, answer};
use crate::server::{Engine, Server};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A certificate that signs itself, made by the server's own user where the server looks for it.
const CERTIFICATE: &str = "COPY (SELECT 1) TO PROGRAM 'openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
     -subj /CN=db.watchpost.test -addext subjectAltName=DNS:db.watchpost.test -addext basicConstraints=critical,CA:FALSE \
     -days 30 -keyout server.key -out server.crt 2>&1'";

/// Switches TLS of the cluster on or off and waits until it is. Off again when it is dropped: others use the cluster.
struct ClusterTls(Database);

impl ClusterTls {
    fn set(&self, on: bool) {
        self.0.administer(&format!("ALTER SYSTEM SET ssl = {}", if on { "on" } else { "off" }));
        let late = Instant::now() + Duration::from_secs(30);
        let (now, wanted) =
            ("SELECT COUNT(*) FROM pg_settings WHERE name = 'ssl' AND setting = 'on'", i64::from(on));
        while self.0.count(now) != wanted {
            assert!(Instant::now() < late, "TLS of PostgreSQL isn't {}", if on { "on" } else { "off" });
            self.0.administer("SELECT pg_reload_conf()");
        }
    }
}

impl Drop for ClusterTls {
    fn drop(&mut self) {
        self.0.administer("ALTER SYSTEM RESET ssl");
        self.0.administer("SELECT pg_reload_conf()");
    }
}

/// The database under a name that isn't this machine's, and what is said behind it.
fn elsewhere(database: &Database, name: &str, said: &str) -> String {
    database.url().replace("@127.0.0.1:", &format!("@{name}:")) + "?hostaddr=127.0.0.1" + said
}

/// What becomes of a command there: its exit code and what it said.
fn migrate(server: &Server, url: &str, authority: Option<&Path>) -> (Option<i32>, String) {
    let mut command = server.command();
    command
        .env("DATABASE_URL", url)
        .arg("migrate")
        .envs(authority.map(|file| ("WATCHPOST_DATABASE_CA", file)));
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn another_machine_is_spoken_to_over_verified_tls() {
    let mut server = Server::start(Engine::Postgres);
    server.kill();
    let folder = tempfile::TempDir::new().unwrap();
    let (good, other) = (folder.path().join("good.pem"), folder.path().join("other.pem"));
    let tls = ClusterTls(server.database().again());
    let named = elsewhere(server.database(), "db.watchpost.test", "");
    {
        let url = |name: &str, said: &str| elsewhere(server.database(), name, said);
        // Without TLS there: nothing is sent unless the address says so.
        tls.set(false);
        let (code, said) = migrate(&server, &named, None);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("over TLS only") && said.contains("?sslmode=disable"), "{said}");
        assert_eq!(migrate(&server, &url("db.watchpost.test", "&sslmode=disable"), None).0, Some(0));
        assert_eq!(migrate(&server, &server.database().url(), None).0, Some(0), "this machine needs none");

        server.database().administer(CERTIFICATE);
        std::fs::write(&good, answer(&server.database().url(), "SELECT pg_read_file('server.crt')")).unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args([
                "-subj",
                "/CN=db.watchpost.test",
                "-addext",
                "subjectAltName=DNS:db.watchpost.test",
                "-keyout",
            ])
            .arg(folder.path().join("other.key"))
            .arg("-out")
            .arg(&other)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        tls.set(true);
        for (what, url, authority) in [
            ("an authority nobody named", named.clone(), None),
            ("another authority", named.clone(), Some(other.as_path())),
            ("another name", url("db.other.test", ""), Some(&good)),
            ("asked for on this machine, too", server.database().url() + "?sslmode=require", None),
            ("by another word", server.database().url() + "?sslmode=verify-full", Some(&other)),
        ] {
            let (code, said) = migrate(&server, &url, authority);
            assert_eq!(code, Some(4), "{what}: {said}");
            assert!(
                said.contains("invalid peer certificate") && said.contains("WATCHPOST_DATABASE_CA"),
                "{what}: {said}"
            );
        }
        assert_eq!(
            migrate(&server, &server.database().url(), None).0,
            Some(0),
            "this machine is spoken to plainly"
        );
        let (code, said) = migrate(&server, &named, Some(&good));
        assert_eq!(code, Some(0), "{said}");
    }
    // A server that runs so, with each of its connections.
    server.set(&[("DATABASE_URL", &named), ("WATCHPOST_DATABASE_CA", good.to_str().unwrap())]);
    server.restart();
    server.admin().event("HIGH", "over TLS");
    let connections = |ssl: &str| {
        let others = "pid <> pg_backend_pid() AND datname = current_database()";
        let sql = format!(
            "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE {others} AND {ssl}"
        );
        server.database().count(&sql)
    };
    assert!(connections("ssl") > 0 && connections("NOT ssl") == 0);
}
