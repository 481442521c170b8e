//! One server on a database, by whatever path it is reached.

use super::start_refused;
use crate::server::{Engine, Server, watchpost};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn database(server: &Server) -> PathBuf {
    server.folder.path().join("watchpost-data/watchpost.db")
}

/// Starts a server on a path that must not start; what it says.
#[track_caller]
fn refused(path: &str, directory: &Path) -> String {
    let (code, said) = start_refused(&[("DATABASE_URL", &format!("sqlite://{path}"))], directory);
    assert_eq!(code, Some(7), "{path}: {said}");
    said
}

#[test]
fn no_second_server_by_another_path() {
    let server = Server::start(Engine::Sqlite);
    let (real, elsewhere) = (database(&server), TempDir::new().unwrap());
    let link = |name: &str, to: &Path| {
        let link = elsewhere.path().join(name);
        std::os::unix::fs::symlink(to, &link).unwrap();
        link
    };
    let to_file = link("file.db", &real);
    let to_link = link("link.db", &to_file);
    let to_folder = link("folder", real.parent().unwrap()).join("watchpost.db");
    for path in [&real, &to_file, &to_link, &to_folder] {
        let said = refused(path.to_str().unwrap(), elsewhere.path());
        assert!(said.contains("another Watchpost server uses"), "{said}");
    }
    refused("folder/../folder/watchpost.db", elsewhere.path());
    // The same file in another directory, where nothing lies beside it.
    let mounted = elsewhere.path().join("mounted.db");
    std::fs::write(&mounted, "").unwrap();
    let mount = Command::new("mount").arg("--bind").args([&real, &mounted]).status();
    assert!(
        mount.is_ok_and(|status| status.success()),
        "this test mounts a file: run it as root, or all of them with `unshare -Urm cargo xtask test`"
    );
    let said = std::panic::catch_unwind(|| refused(mounted.to_str().unwrap(), elsewhere.path()));
    Command::new("umount").arg("-l").arg(&mounted).status().unwrap();
    assert!(said.unwrap().contains("another Watchpost server uses"));
    // Commands go on beside the server, by any path.
    let made = watchpost(&server.folder)
        .args(["key", "create", "by a link"])
        .env("DATABASE_URL", format!("sqlite://{}", to_link.display()))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_database_with_two_names_is_refused_and_one_behind_a_link_has_one_index() {
    let mut server = Server::start(Engine::Sqlite);
    server.admin().event("LOW", "needle in the stack");
    assert_eq!(server.stop(), Some(0));
    let (real, elsewhere) = (database(&server), TempDir::new().unwrap());
    let second = real.with_file_name("second.db");
    std::fs::hard_link(&real, &second).unwrap();
    for path in [&real, &second] {
        assert!(refused(path.to_str().unwrap(), elsewhere.path()).contains("hard links"));
    }
    std::fs::remove_file(second).unwrap();
    let link = elsewhere.path().join("link.db");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    server.set(&[("DATABASE_URL", &format!("sqlite://{}", link.display()))]);
    server.restart();
    assert_eq!(server.admin().get("/api/v1/events?search=needle").expect(200)["count"], 1);
    let beside: Vec<_> =
        std::fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["link.db"], "index and log lie beside the real file");
}
