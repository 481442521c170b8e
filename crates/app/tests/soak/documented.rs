//! The API as its document says, asked by a fuzzer that reads it.

use crate::server::{Engine, Server};
use crate::{minutes, tool};
use std::process::{Command, Stdio};

/// What the fuzzer would end its own session with, and what answers without an end.
const NOT_ASKED: [&str; 3] = ["logOutEverywhere", "changePassword", "stream"];

#[test]
fn every_role_is_answered_as_documented() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for role in ["ADMIN", "RESPONDER", "ANALYST", "sensor"] {
            let server = Server::start(engine);
            let client = match role {
                "sensor" => server.sensor(),
                role => server.user("fuzzer", role),
            };
            let (name, value) = client.headers.last().unwrap();
            let seconds = minutes() * 60;
            let mut command = Command::new(tool("WATCHPOST_TEST_SCHEMATHESIS"));
            command
                .arg("run")
                .arg(format!("{}/api/schema/", server.address))
                .args(["--header", &format!("{name}: {value}"), "--max-time", &seconds.to_string()])
                .args(["--continue-on-failure", "--workers", "1", "--suppress-health-check", "all", "--checks"])
                .arg("not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance")
                .current_dir(server.folder.path());
            for operation in NOT_ASKED {
                command.args(["--exclude-operation-id", operation]);
            }
            let output = command.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let summary = said.lines().rev().find(|line| line.contains("===")).unwrap_or_default();
            println!("{engine:?} as {role}: {}", summary.trim_matches(['=', ' ']));
            assert!(output.status.success(), "{said}");
            assert_eq!(server.anonymous().get("/readyz").status, 200);
            let log = server.log.lock().unwrap();
            assert!(!log.contains("something that can't happen did"), "{log}");
        }
    }
}
