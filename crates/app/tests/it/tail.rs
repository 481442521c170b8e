//! `watchpost tail`, as somebody in a shell uses it.

use crate::on_both_engines;
use crate::server::{Engine, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

on_both_engines!(what_happens_is_shown_line_by_line, filters_leave_out_and_programs_read_json);

/// How long a line may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Tail {
    child: Child,
    lines: Receiver<String>,
}

impl Tail {
    fn start(server: &Server, arguments: &[&str]) -> Self {
        Self::of(server.command().arg("tail").args(arguments))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let output: ChildStdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|read| read > 0) {
                // Whoever waited for lines may be gone, and reads no more.
                if sender.send(line.trim_end_matches('\n').to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line comes")
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Tells it to end, as Ctrl-C does; its exit code, and what it said besides.
    fn interrupt(mut self) -> (Option<i32>, Vec<String>) {
        let told = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        (self.child.wait().unwrap().code(), self.lines.iter().collect())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn event(source: &str, severity: &str, description: &str) -> String {
    json!({
        "source_name": source, "event_type": "scan", "severity": severity, "description": description, "host": "edge-1",
        "user": "bob", "src_ip": "192.0.2.7"
    })
    .to_string()
}

/// The line without its time.
fn told(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.len() == "2026-11-20T22:05:45Z".len() && time.ends_with('Z'), "{line}");
    rest
}

fn what_happens_is_shown_line_by_line(server: &Server) {
    let admin = server.admin();
    for n in 1..=12 {
        admin.event("HIGH", &format!("number {n}"));
    }
    let tail = Tail::start(server, &["-n", "3"]);
    for n in 10..=12 {
        assert_eq!(told(&tail.line()), format!("HIGH     #{n} intrusion at edge-fw number {n}"));
    }
    let everything = Tail::start(server, &["--events", "--lines=1", "--color", "always"]);
    assert!(everything.line().contains("\u{1b}[31m#12 intrusion at edge-fw\u{1b}[0m number 12"));
    // What a sensor sends moves no cursor, names no window, begins no line and turns nothing round.
    let hostile = "a\u{1b}]0;mine\u{7}\r\nHIGH #1 forged\u{9b}31m\u{202e}\tz\u{2028}";
    admin.post_json("/api/v1/events", &event("fw", "CRITICAL", hostile)).expect(201);
    let shown = "a\u{fffd}]0;mine\u{fffd}\u{fffd} HIGH #1 forged\u{fffd}31m\u{fffd} z\u{fffd}";
    let expected = format!("CRITICAL #13 scan at fw host=edge-1 user=bob from=192.0.2.7 {shown}");
    assert_eq!(told(&tail.line()), expected);
    let worst = "\u{1b}[1;31mCRITICAL\u{1b}[0m \u{1b}[1;31m";
    assert!(everything.line().contains(&format!("{worst}#13 scan at fw\u{1b}[0m host=edge-1")));
    assert!(everything.line().contains(&format!("{worst}event: scan at fw\u{1b}[0m host=edge-1")));
    let act = |path: &str, body: &str| {
        admin.post_json(&format!("/api/v1/alerts/13/{path}"), body).expect(200);
    };
    act("resolve", r#"{"why":"our own"}"#);
    act("assign", r#"{"assignee":"me"}"#);
    act("notes", r#"{"text":"first\nsecond"}"#);
    for done in [
        "#13 status by admin: OPEN → RESOLVED (our own)",
        "#13 assign by admin: none → admin",
        "#13 note by admin: first second",
    ] {
        assert_eq!(told(&tail.line()), format!("CRITICAL {done} scan at fw"));
        assert!(everything.line().contains(done));
    }
    admin.event("LOW", "quiet");
    assert!(everything.line().ends_with("\u{1b}[0m LOW      event: intrusion at edge-fw quiet"), "as it is");
    assert_eq!(tail.interrupt(), (Some(0), vec![]), "an event alone is not shown unless asked for");
    assert_eq!(everything.interrupt().0, Some(0));
}

fn filters_leave_out_and_programs_read_json(server: &Server) {
    let admin = server.admin();
    let post = |source: &str, severity: &str, description: &str| {
        admin.post_json("/api/v1/events", &event(source, severity, description)).expect(201)
    };
    post("a", "CRITICAL", "odd one");
    post("b", "HIGH", "even one");
    let tails = [
        ("CRITICAL", vec!["--severity", "critical,low"]),
        ("source", vec!["--source", "A", "--source", "c"]),
        ("search", vec!["--search", "odd \"one\"", "--host", "EDGE-1", "--user", "bob", "--type", "scan"]),
        ("events", vec!["--events", "--severity", "LOW"]),
    ];
    let tails = tails.map(|(name, filter)| {
        let arguments: Vec<&str> = ["--json", "-n", "2"].into_iter().chain(filter).collect();
        (name, Tail::start(server, &arguments))
    });
    // The first line says that it is there, but where nothing is listed.
    for (name, tail) in &tails[..3] {
        let listed = tail.json();
        assert_eq!(listed["alert"], admin.get("/api/v1/alerts/1").expect(200), "{name}");
    }
    post("b", "HIGH", "even again");
    let hidden = post("c", "CRITICAL", "odd one \u{9b}31m\u{202e}\u{7f}");
    for (name, tail) in &tails[..3] {
        let line = tail.line();
        assert!(
            line.contains("\\u009b31m\\u202e\\u007f") && !line.contains(['\u{9b}', '\u{202e}', '\u{7f}']),
            "{line}"
        );
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["alert"]["id"], hidden["alert"], "{name}");
        assert_eq!(told["alert"]["event"]["description"], "odd one \u{9b}31m\u{202e}\u{7f}", "{name}");
    }
    // Where nothing was listed, nothing said that it was there yet.
    let events = &tails[3].1;
    while events.lines.recv_timeout(Duration::from_millis(200)).is_err() {
        post("d", "LOW", "odd one");
    }
    let newest = post("d", "LOW", "even one")["id"].clone();
    while events.json()["event"]["id"] != newest {}
    let path = format!("/api/v1/alerts/{}", hidden["alert"]);
    admin.post_json(&format!("{path}/severity"), r#"{"severity":"LOW"}"#).expect(200);
    for (name, tail) in tails {
        let told = tail.json();
        assert_eq!(
            (&told["change"]["change"]["to"], &told["change"]["alert"]["severity"]),
            (&json!("LOW"), &json!("LOW")),
            "{name}"
        );
        assert_eq!(tail.interrupt(), (Some(0), vec![]), "{name}");
    }
}

#[test]
fn it_ends_with_whoever_reads_it_also_when_nothing_happens() {
    let server = Server::start(Engine::Sqlite);
    server.admin().event("HIGH", "x");
    let mut command = server.command();
    let mut child = command.args(["tail"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.contains("#1"), "{line}");
    drop(output);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn what_cannot_be_done_is_said() {
    let server = Server::start(Engine::Sqlite);
    for arguments in [["--severity", "BAD"], ["--lines", "-1"], ["--lines", "10001"], ["--color", "red"]] {
        let output = server.command().arg("tail").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let empty = tempfile::TempDir::new().unwrap();
    let nothing = crate::server::watchpost(&empty).arg("tail").output().unwrap();
    assert_eq!(nothing.status.code(), Some(5), "{}", String::from_utf8_lossy(&nothing.stderr));
}
