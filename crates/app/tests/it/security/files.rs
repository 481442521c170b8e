//! What is kept on the disk is for the server's own user.

use crate::server::{Engine, Server, watchpost};
use std::fs::{metadata, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Everything in a folder, and the folder.
fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.extend(if path.is_dir() { all(&path) } else { vec![path] });
    }
    found
}

#[track_caller]
fn is_private(folder: &Path, at_least: &[&str]) {
    let found = all(folder);
    for name in at_least {
        assert!(found.iter().any(|path| path.ends_with(name)), "{name} is missing in {found:?}");
    }
    for path in found {
        let (mode, wanted) =
            (metadata(&path).unwrap().permissions().mode(), if path.is_dir() { 0o700 } else { 0o600 });
        assert_eq!(mode & 0o777, wanted, "{}", path.display());
    }
}

const RUNNING: &[&str] = &[
    "watchpost.db",
    "watchpost.db-wal",
    "watchpost.db-shm",
    "watchpost-search.db",
    "watchpost-search.db-wal",
    "secret.key",
];

/// The binary with a umask that keeps nothing from anybody.
fn careless(folder: &TempDir, arguments: &str) {
    let binary = watchpost(folder).get_program().to_owned();
    let mut command = Command::new("sh");
    command.env_clear().current_dir(folder.path());
    command.args(["-c", &format!("umask 0000; exec \"$0\" {arguments}")]).arg(binary);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn whatever_the_umask_is_files_are_for_this_user_alone() {
    let folder = TempDir::new().unwrap();
    careless(&folder, "user create --username jane");
    is_private(&folder.path().join("watchpost-data"), &["watchpost.db", "watchpost-search.db"]);
    std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
    set_permissions(folder.path().join("elsewhere"), PermissionsExt::from_mode(0o755)).unwrap();
    careless(&folder, "migrate --database-url sqlite://elsewhere/own.db");
    let mode = |name: &str| metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("elsewhere/own.db"), mode("elsewhere/own-search.db")], [0o600, 0o600]);
    assert_eq!(mode("elsewhere"), 0o755, "a directory that isn't the data directory is somebody else's");
}

#[test]
fn what_others_could_read_is_taken_from_them() {
    let mut server = Server::start(Engine::Sqlite);
    server.admin().event("HIGH", "so that there is a log");
    let data = server.folder.path().join("watchpost-data");
    is_private(&data, RUNNING);
    server.kill();
    for path in all(&data) {
        let wide = if path.is_dir() { 0o777 } else { 0o666 };
        set_permissions(&path, PermissionsExt::from_mode(wide)).unwrap();
    }
    server.restart();
    server.admin().event("HIGH", "more of it");
    is_private(&data, RUNNING);
    let log = server.log.lock().unwrap();
    for name in ["watchpost-data\"", "watchpost.db\"", "watchpost.db-wal\"", "secret.key\""] {
        let told = log.lines().any(|line| line.contains("others could get at it") && line.contains(name));
        assert!(told, "{name}: {log}");
    }
}
