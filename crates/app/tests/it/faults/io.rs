//! The n-th call of the system fails: nothing that was acknowledged is lost, and the server ends where it must not go on.

use super::inject::Injected;
use super::{rounds, scatter};
use crate::ledger::Ledger;
use crate::server::{Engine, Server};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Calls that fail, and how; whether the server has to end.
const FAULTS: [(&str, &str, bool); 8] = [
    ("fsync,fdatasync", "error=EIO", true),
    ("pwrite64", "error=EIO", true),
    ("pwrite64", "error=ENOSPC", false),
    ("fsync,fdatasync", "error=EIO", true),
    ("pwrite64", "error=EINTR", false),
    ("fsync,fdatasync", "error=ENOSPC", true),
    ("ftruncate", "error=EIO", true),
    ("pwrite64", "error=EDQUOT", true),
];
/// Requests after which a server that goes on is ended.
const ENOUGH: usize = 40;

/// Lets the n-th such call on one of the database's files fail while events come in, ends the server if it doesn't end
/// itself, and starts it again as it should be.
fn faulted(call: &str, how: &str, nth: usize, mutant: &str) -> (Server, Ledger, bool) {
    let mut server =
        Server::with(Engine::Sqlite, &[("FAULT_CHECKPOINT_PAGES", "100"), ("FAULT_MUTANT", mutant)]);
    let ledger = Ledger::new(&server);
    ledger.send(&server, true);
    let data = server.folder.path().join("watchpost-data");
    // Now one file, now the other: what is acknowledged is in the log, and later in the database.
    let file = data.join(if nth.is_multiple_of(3) { "watchpost.db" } else { "watchpost.db-wal" });
    // A disk that lies goes on lying.
    let on = if how.starts_with("retval") { "+" } else { "" };
    let injected = Injected::into(&server, &[&format!("{call}:{how}:when={nth}{on}")], Some(file.as_path()));
    for n in 0..ENOUGH {
        if ledger.send(&server, n % 2 == 0).is_none() {
            break;
        }
    }
    server.kill();
    drop(injected);
    let ended_itself = server.log.lock().unwrap().contains("the disk failed");
    server.forget_extra();
    server.restart();
    (server, ledger, ended_itself)
}

#[test]
fn nothing_acknowledged_is_lost_when_a_call_fails() {
    let rounds = rounds(FAULTS.len());
    let mut ended = 0;
    for round in 0..rounds {
        let (call, how, must_end) = FAULTS[round % FAULTS.len()];
        let nth = 1 + scatter(round) % 12;
        let (server, ledger, ended_itself) = faulted(call, how, nth, "");
        ledger.check(&server);
        // A call that was never made can't end it.
        assert!(
            must_end || !ended_itself,
            "{call} {how}, the {nth}th: it ended for what it could go on with"
        );
        ended += usize::from(ended_itself);
    }
    assert!(ended > 0, "no fault was felt");
    println!("{rounds} faults, {ended} of them ended the server, nothing lost");
}

/// Whether the ledger notices a mistake, or a disk that lies.
fn is_noticed(call: &str, how: &str, mutant: &str) -> bool {
    (1..=6).any(|nth| {
        let (server, ledger, _) = faulted(call, how, 3 * nth + 1, mutant);
        catch_unwind(AssertUnwindSafe(|| ledger.check(&server))).is_err()
    })
}

#[test]
fn a_failed_commit_that_is_acknowledged_is_noticed() {
    assert!(is_noticed("fsync,fdatasync", "error=EIO", "failed_commit_acknowledged"));
}

#[test]
fn a_disk_that_says_it_wrote_and_did_not_is_noticed() {
    assert!(is_noticed("pwrite64", "retval=4096", ""));
}

#[test]
fn a_disk_that_fails_ends_the_server_with_exit_code_1() {
    let server = Server::start(Engine::Sqlite);
    let admin = server.admin();
    let injected = Injected::into(&server, &["fsync,fdatasync:error=EIO"], None);
    let body = r#"{"source_name":"fw","event_type":"t","severity":"LOW","description":"never kept"}"#;
    // The connection may be gone before the answer.
    let answer = catch_unwind(AssertUnwindSafe(|| admin.post_json("/api/v1/events", body).status));
    assert!(answer.is_err() || matches!(answer, Ok(500..)), "{answer:?}");
    assert_eq!(server.ended_within(Duration::from_secs(60)), Some(Some(1)));
    drop(injected);
}
