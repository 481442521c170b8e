//! The same on PostgreSQL: its data lies on the disk that writes everything down, and it is started on each state that
//! the disk may be in, and the server on it.

use super::disk::{self, Disk, Mounted};
use super::{Found, LOAD, PHASE, Recording, eatmydata, found, is_noticed, judge, nothing_is_lost, witness};
use crate::faults::cluster::{Cluster, Template};
use crate::faults::rounds;
use crate::ledger::Ledger;
use crate::server::{Engine, Server};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// All servers have one secret, or what one sealed in the audit log is nothing to the next.
const SETTINGS: &[(&str, &str)] = &[("SECRET_KEY", "the secret of all servers on this disk")];

/// A folder that PostgreSQL's user can look into, and the one in it that a disk is mounted at.
fn place() -> (TempDir, PathBuf) {
    let folder = disk::folder();
    Cluster::give(folder.path());
    let place = folder.path().join("disk");
    std::fs::create_dir(&place).unwrap();
    (folder, place)
}

/// Eight writers, checkpoints and a kill, on a PostgreSQL that is started with this in its environment.
fn recorded(environment: &[(&str, &str)]) -> Recording {
    disk::sweep();
    let disk = Arc::new(Disk::new(512));
    let (folder, place) = place();
    let mounted = disk.mount(&place);
    Cluster::give(&place);
    let cluster = Template::new().put_into(&place);
    // The empty cluster is there; from here on the power may go.
    assert!(Command::new("sync").arg("-f").arg(&place).status().unwrap().success());
    cluster.start_with(environment);
    let begin = |phase: u64| disk.mark(PHASE, phase);
    begin(0);
    let mut server = Server::on(cluster.database(), SETTINGS);
    let mut ledger = Ledger::new(&server);
    let answered = witness(&mut ledger, &disk);
    begin(1);
    ledger.write(&server, LOAD, || {
        begin(2);
        server.database().run("CHECKPOINT");
        server.kill();
    });
    begin(3);
    server.restart();
    ledger.write(&server, LOAD, || server.kill());
    begin(4);
    drop(server);
    drop(cluster);
    drop(mounted);
    drop(folder);
    Recording::of(disk, ledger, answered)
}

/// Starts PostgreSQL and a server on an image and looks at all they have.
fn look(image: &Path, recording: &Recording, answered: usize) -> Found {
    found(|| {
        let (_folder, place) = place();
        let _mounted = Mounted::new(image, &place);
        let cluster = Cluster::left_in(&place);
        cluster.start();
        let server = Server::on(cluster.database(), SETTINGS);
        judge(&server, recording, answered, SETTINGS);
    })
}

#[test]
fn everything_acknowledged_survives_a_loss_of_power_on_postgres() {
    nothing_is_lost(Engine::Postgres, rounds(6), || recorded(&[]), look);
}

#[test]
fn a_postgres_that_never_asks_to_sync_is_noticed() {
    is_noticed("libeatmydata", &recorded(&[("LD_PRELOAD", &eatmydata())]), look);
}
