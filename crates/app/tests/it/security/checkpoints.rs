//! Checkpoints of the audit log go by themselves to where the database isn't, and find there what was cut off here.

use crate::on_both_engines;
use crate::server::Server;
use aws_lc_rs::hmac;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

on_both_engines!(
    a_file_gets_them_and_finds_a_cut_log,
    a_directory_gets_one_each,
    a_receiver_gets_them_signed
);

/// Waits until a file is as it should be: nothing else tells when a server has shipped something.
fn awaited<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The exit code of `audit verify` with a checkpoint, and what it said.
fn verified(server: &Server, checkpoint: &Path) -> (Option<i32>, String) {
    let output = server.command().args(["audit", "verify", "--checkpoint"]).arg(checkpoint).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn a_file_gets_them_and_finds_a_cut_log(before: &Server) {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("checkpoints.jsonl");
    let settings = [("WATCHPOST_AUDIT_CHECKPOINT_TO", file.to_str().unwrap())];
    let mut server = Server::with(before.engine(), &settings);
    awaited("the first start ships one", || (lines(&file).len() == 1).then_some(()));
    server.user("ana", "ANALYST");
    server.stop();
    server.restart();
    awaited("so does the second", || (lines(&file).len() == 2).then_some(()));
    let metrics = server.anonymous().get("/metrics").text;
    assert!(metrics.contains("watchpost_audit_checkpoints_shipped_total 1"), "{metrics}");
    server.stop();
    let shipped = lines(&file);
    assert!(shipped[1]["row"].as_i64() > shipped[0]["row"].as_i64());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (code, said) = verified(&server, &file);
    assert_eq!(code, Some(0), "{said}");
    let doctor = server.command().envs(settings).args(["doctor", "--quick"]).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("ok   checkpoints: the last one in"), "{said}");
    // The end is cut off with all that vouched for it: here nothing misses it.
    let row = shipped[0]["row"].as_i64().unwrap();
    super::run_in_database(
        &server,
        &format!(
            "DELETE FROM audit_log WHERE id > {row}; DELETE FROM audit_seals WHERE row_id > {row};
             UPDATE audit_head SET last_id = {row}, hash = (SELECT hash FROM audit_log WHERE id = {row})"
        ),
    );
    assert!(server.command().args(["audit", "verify"]).output().unwrap().status.success());
    let (code, said) = verified(&server, &file);
    assert!(code == Some(8) && said.contains("not in the audit log any more"), "{said}");
}

fn a_directory_gets_one_each(before: &Server) {
    let folder = tempfile::TempDir::new().unwrap();
    let settings = [("WATCHPOST_AUDIT_CHECKPOINT_TO", folder.path().to_str().unwrap())];
    let mut server = Server::with(before.engine(), &settings);
    let files = || {
        let read = std::fs::read_dir(folder.path()).unwrap();
        read.map(|entry| entry.unwrap().path()).filter(|path| lines(path).len() == 1).collect::<Vec<_>>()
    };
    awaited("the first start ships one", || (files().len() == 1).then_some(()));
    server.stop();
    server.restart();
    awaited("so does the second", || (files().len() == 2).then_some(()));
    for file in files() {
        let (code, said) = verified(&server, &file);
        assert_eq!(code, Some(0), "{said}");
    }
    // A log that isn't what was written is vouched for by nobody.
    server.stop();
    super::run_in_database(
        &server,
        "UPDATE audit_log SET actor = 'joe' WHERE id = (SELECT last_id FROM audit_head)",
    );
    server.restart();
    awaited("the server says so", || {
        server
            .log
            .lock()
            .unwrap()
            .contains("a checkpoint of the audit log could not be shipped")
            .then_some(())
    });
    assert_eq!(files().len(), 2);
}

/// What a receiver got: its request line and headers, and the body.
type Received = (String, String);

/// A receiver that answers the first request with an error, the second elsewhere, and all others well.
fn receiver() -> (String, Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook/canary-path", listener.local_addr().unwrap());
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).unwrap() > 2 {}
            let length = head.to_lowercase().split("content-length: ").nth(1).unwrap().to_owned();
            let mut body = vec![0; length.lines().next().unwrap().trim().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let answer = match n {
                0 => "500 Internal Server Error\r\n",
                1 => "307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/\r\n",
                _ => "204 No Content\r\n",
            };
            write!(stream, "HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            if sender.send((head, String::from_utf8(body).unwrap())).is_err() {
                return;
            }
        }
    });
    (address, received)
}

fn a_receiver_gets_them_signed(before: &Server) {
    let (address, received) = receiver();
    let secret = "what the receiver knows";
    let settings = [
        ("WATCHPOST_AUDIT_CHECKPOINT_TO", address.as_str()),
        ("WATCHPOST_AUDIT_CHECKPOINT_SECRET", secret),
        ("WATCHPOST_AUDIT_CHECKPOINT_EVERY", "1h"),
    ];
    let server = Server::with(before.engine(), &settings);
    let wait = Duration::from_secs(60);
    // What failed is tried again, and no redirect is followed.
    let all: Vec<Received> = (0..3).map(|_| received.recv_timeout(wait).unwrap()).collect();
    for (head, body) in &all {
        assert!(head.starts_with("POST /hook/canary-path HTTP/1.1"), "{head}");
        let signature =
            head.lines().find_map(|line| line.strip_prefix("x-watchpost-signature: sha256=")).unwrap();
        let bytes: Vec<u8> =
            (0..32).map(|n| u8::from_str_radix(&signature[2 * n..2 * n + 2], 16).unwrap()).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hmac::verify(&key, body.as_bytes(), &bytes).unwrap();
    }
    let file = server.folder.path().join("received.json");
    std::fs::write(&file, &all[2].1).unwrap();
    let (code, said) = verified(&server, &file);
    assert_eq!(code, Some(0), "{said}");
    awaited("two failures and one success are counted", || {
        let metrics = server.anonymous().get("/metrics").text;
        let counted = |line: &str| metrics.contains(line);
        (counted("watchpost_audit_checkpoints_failed_total 2")
            && counted("watchpost_audit_checkpoints_shipped_total 1"))
        .then_some(())
    });
    let log = server.log.lock().unwrap();
    assert!(!log.contains(secret) && !log.contains("canary-path"), "{log}");
}

#[test]
fn what_can_t_be_shipped_to_is_said_before_anything_starts() {
    let folder = tempfile::TempDir::new().unwrap();
    for (name, value) in [
        ("WATCHPOST_AUDIT_CHECKPOINT_TO", "http://example.com/hook"),
        ("WATCHPOST_AUDIT_CHECKPOINT_TO", "ftp://example.com/hook"),
        ("WATCHPOST_AUDIT_CHECKPOINT_EVERY", "59s"),
        ("WATCHPOST_AUDIT_CHECKPOINT_EVERY", "daily"),
    ] {
        let output = crate::server::watchpost(&folder).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{name}={value}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(name));
    }
}
