//! The binary as people call it: what it prints, and how it ends.

use crate::server::{Engine, PASSWORD, Server, watchpost};
use std::process::{Output, Stdio};
use tempfile::TempDir;

fn run(folder: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    watchpost(folder).args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn data(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn help_names_every_flag_and_command() {
    let folder = TempDir::new().unwrap();
    let help = run(&folder, &["--help"], &[]);
    assert!(help.status.success());
    for word in [
        "--listen",
        "--data-dir",
        "--database-url",
        "--throttle",
        "--public-url",
        "serve",
        "demo",
        "migrate",
        "user",
        "createsuperuser",
        "key",
        "tail",
        "doctor",
        "settings",
    ] {
        assert!(data(&help).contains(word), "{word}");
    }
    assert_eq!(run(&folder, &["--nonsense"], &[]).status.code(), Some(2));
    assert_eq!(run(&folder, &["user", "frobnicate"], &[]).status.code(), Some(2));
}

#[test]
fn flags_win_over_the_environment_and_that_over_files() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("watchpost.toml"), "listen = \"127.0.0.1:1\"\nallowed_hosts = [\"a\", \"b\"]\nsecret_key = \"0123456789012345678901234567890123456789\"").unwrap();
    let line =
        |output: &Output, name: &str| data(output).lines().find(|l| l.starts_with(name)).unwrap().to_owned();
    let from_toml = run(&folder, &["settings"], &[]);
    assert!(
        line(&from_toml, "WATCHPOST_LISTEN").contains("127.0.0.1:1")
            && line(&from_toml, "WATCHPOST_LISTEN").ends_with("watchpost.toml")
    );
    assert!(line(&from_toml, "ALLOWED_HOSTS").contains("a,b"));
    assert!(!data(&from_toml).contains("0123456789") && line(&from_toml, "SECRET_KEY").contains("(set)"));
    std::fs::write(folder.path().join(".env"), "WATCHPOST_LISTEN=127.0.0.1:2\n").unwrap();
    assert!(line(&run(&folder, &["settings"], &[]), "WATCHPOST_LISTEN").contains("127.0.0.1:2"));
    let environment = [("WATCHPOST_LISTEN", "127.0.0.1:3")];
    assert!(line(&run(&folder, &["settings"], &environment), "WATCHPOST_LISTEN").contains("127.0.0.1:3"));
    let flag = run(&folder, &["settings", "--listen", "127.0.0.1:4"], &environment);
    assert!(line(&flag, "WATCHPOST_LISTEN").contains("127.0.0.1:4"));
    let empty = TempDir::new().unwrap();
    assert!(
        line(&run(&empty, &["settings"], &[("PORT", "8123")]), "WATCHPOST_LISTEN").contains("0.0.0.0:8123")
    );
    let url = [("DATABASE_URL", "postgres://u:hunter2@h/db")];
    assert!(!data(&run(&empty, &["settings"], &url)).contains("hunter2"));
}

#[test]
fn unusable_settings_are_all_named_with_a_code_of_their_own() {
    let folder = TempDir::new().unwrap();
    let wrong = [
        ("WATCHPOST_THROTTLE", "maybe"),
        ("SECRET_KEY", "short-secret"),
        ("WATCHPOST_LISTEN", "nowhere"),
        ("DATABASE_URL", "mysql://h/db"),
        ("WATCHPOST_RATE_USER", "fast"),
    ];
    let output = run(&folder, &[], &wrong);
    assert_eq!(output.status.code(), Some(3));
    for (name, _) in wrong {
        assert!(said(&output).contains(name), "{name}: {}", said(&output));
    }
    assert!(!said(&output).contains("short-secret"));
    std::fs::write(folder.path().join("watchpost.toml"), "lissen = \"x\"").unwrap();
    let slip = run(&folder, &["settings"], &[]);
    assert_eq!(slip.status.code(), Some(3));
    assert!(said(&slip).contains("did you mean listen?"), "{}", said(&slip));
}

#[test]
fn every_way_to_fail_has_a_line_and_a_code() {
    let server = Server::start(Engine::Sqlite);
    let second = server.command().env("WATCHPOST_LISTEN", "127.0.0.1:0").output().unwrap();
    assert_eq!(second.status.code(), Some(7), "{}", said(&second));
    assert!(said(&second).contains("another Watchpost server uses"));
    let folder = TempDir::new().unwrap();
    let busy = run(
        &folder,
        &["--listen", server.address.trim_start_matches("http://")],
        &[("WATCHPOST_ADMIN_PASSWORD", PASSWORD)],
    );
    assert_eq!(busy.status.code(), Some(6), "{}", said(&busy));
    assert!(said(&busy).contains("hint: another program has that port"));
    let away = run(&folder, &["--database-url", "postgres://watchpost@127.0.0.1:1/none", "migrate"], &[]);
    assert_eq!(away.status.code(), Some(4), "{}", said(&away));
    let garbled =
        run(&folder, &["--database-url", "postgres://watchpost@127.0.0.1:port/none", "migrate"], &[]);
    assert_eq!(garbled.status.code(), Some(3), "{}", said(&garbled));
    std::fs::write(folder.path().join("junk.db"), "this is no database, whatever its name says ".repeat(100))
        .unwrap();
    let junk = run(&folder, &["--database-url", "sqlite://junk.db", "migrate"], &[]);
    assert_eq!(junk.status.code(), Some(5), "{}", said(&junk));
    let file = run(&folder, &["--data-dir", "junk.db/x"], &[]);
    assert_eq!(file.status.code(), Some(7), "{}", said(&file));
    let weak = run(&folder, &["--listen", "127.0.0.1:0"], &[("WATCHPOST_ADMIN_PASSWORD", "short")]);
    assert_eq!(weak.status.code(), Some(3), "{}", said(&weak));
    for output in [&second, &busy, &away, &junk, &file, &weak] {
        assert!(!said(output).contains("panicked"), "{}", said(output));
        assert!(
            said(output).lines().filter(|line| line.starts_with("error: ")).count() == 1,
            "{}",
            said(output)
        );
    }
}

#[test]
fn the_first_start_makes_everything_for_this_user_alone() {
    let folder = TempDir::new().unwrap();
    let mut child =
        watchpost(&folder).args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let login = lines.find(|line| line.as_ref().unwrap().contains("Log in as admin with the password"));
    assert!(login.is_some());
    let rest = lines.next().unwrap().unwrap();
    assert!(rest.contains("has to be changed at the first log-in, within 24 hours"), "{rest}");
    child.kill().unwrap();
    child.wait().unwrap();
    use std::os::unix::fs::PermissionsExt;
    let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("watchpost-data"), 0o700);
    assert_eq!(mode("watchpost-data/secret.key"), 0o600);
}

#[test]
fn users_and_keys_from_the_shell() {
    let folder = TempDir::new().unwrap();
    let django = [
        ("DJANGO_SUPERUSER_USERNAME", "root"),
        ("DJANGO_SUPERUSER_PASSWORD", PASSWORD),
        ("DJANGO_SUPERUSER_EMAIL", "r@example.com"),
    ];
    let made = run(&folder, &["createsuperuser", "--noinput"], &django);
    assert!(made.status.success(), "{}", said(&made));
    let again = run(&folder, &["createsuperuser", "--noinput"], &django);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    let generated = run(&folder, &["user", "create", "--username", "jane", "--role", "responder"], &[]);
    assert!(generated.status.success() && data(&generated).trim().len() >= 12, "{}", said(&generated));
    let wrong = run(&folder, &["user", "create", "--username", "a b", "--role", "king"], &[]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said(&wrong).contains("username:") && said(&wrong).contains("role:"), "{}", said(&wrong));
    let list = data(&run(&folder, &["user", "list"], &[]));
    assert!(list.contains("root") && list.contains("Responder"), "{list}");
    let last = run(&folder, &["user", "disable", "root"], &[]);
    assert_eq!(last.status.code(), Some(1));
    assert!(said(&last).contains("last active Admin"));
    assert!(run(&folder, &["user", "disable", "jane"], &[]).status.success());
    let key = run(&folder, &["key", "create", "fw", "--expires-in-days", "30"], &[]);
    assert!(data(&key).starts_with("wp_"), "{}", said(&key));
    assert!(run(&folder, &["key", "revoke", "1"], &[]).status.success());
    assert!(data(&run(&folder, &["key", "list"], &[])).contains("revoked"));
    assert_eq!(run(&folder, &["key", "revoke", "77"], &[]).status.code(), Some(1));
}

#[test]
fn migrate_and_doctor_say_what_is_so() {
    let folder = TempDir::new().unwrap();
    let check = run(&folder, &["migrate", "--check"], &[]);
    assert_eq!(check.status.code(), Some(8));
    assert!(data(&check).contains("missing: 1"));
    assert!(run(&folder, &["migrate"], &[]).status.success());
    assert!(run(&folder, &["migrate", "--check"], &[]).status.success());
    let doctor = run(&folder, &["doctor", "--json"], &[]);
    assert!(doctor.status.success(), "{}", data(&doctor));
    for line in data(&doctor).lines() {
        let finding: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(finding["ok"], true, "{line}");
    }
    let newer = rusqlite::Connection::open(folder.path().join("watchpost-data/watchpost.db")).unwrap();
    newer
        .execute(
            "INSERT INTO schema_migrations (version, name, hash, applied_at) VALUES (999, 'later', 'x', 0)",
            [],
        )
        .unwrap();
    newer.close().unwrap();
    let refused = run(&folder, &["--listen", "127.0.0.1:0"], &[]);
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    assert!(said(&refused).contains("hint: install the newer Watchpost"), "{}", said(&refused));
    let open = run(&folder, &["doctor"], &[("WATCHPOST_LISTEN", "0.0.0.0:8000")]);
    assert_eq!(open.status.code(), Some(8));
    assert!(data(&open).contains("ALLOWED_HOSTS"), "{}", data(&open));
}
