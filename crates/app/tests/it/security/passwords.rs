//! Passwords that others gave, and those that are guessed first.

use crate::on_both_engines;
use crate::server::{ADMIN, Answer, Client, PASSWORD, Server, watchpost};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use tempfile::TempDir;

on_both_engines!(who_has_to_change_a_given_password, names_and_years_are_refused_on_every_way);

const OWN: &str = "wolkenbruch im mai";

fn log_in(server: &Server, body: &Value) -> Answer {
    server.anonymous().post_json("/api/v1/auth/login", &body.to_string())
}

/// Whether a log-in with a given password asks for another; if it does, the user chooses one and is in.
fn is_one_time(server: &Server, username: &str, password: &str) -> bool {
    let given = json!({"username": username, "password": password});
    let answer = log_in(server, &given);
    if answer.status == 200 {
        return false;
    }
    assert_eq!(answer.expect(403)["code"], "password_change_required", "{username}");
    let own = json!({"username": username, "password": password, "new_password": OWN});
    log_in(server, &own).expect(200);
    server.log_in(username, OWN);
    true
}

fn made(admin: &Client<'_>, path: &str, name: &str, told: Option<bool>) -> Value {
    let mut body = json!({"username": name, "password": PASSWORD, "role": "ANALYST"});
    if let Some(told) = told {
        body["must_change_password"] = json!(told);
    }
    admin.post_json(path, &body.to_string()).expect(201)
}

fn who_has_to_change_a_given_password(server: &Server) {
    let admin = server.admin();
    let ways = [
        ("/api/v1/users/", None, true),
        ("/api/v1/users/", Some(true), true),
        ("/api/v1/users/", Some(false), false),
        ("/api/users/", None, false),
        ("/api/users/", Some(true), true),
    ];
    for (n, (path, told, one_time)) in ways.into_iter().enumerate() {
        let name = format!("walker{n}");
        let user = made(&admin, path, &name, told);
        assert_eq!(user["must_change_password"], one_time, "{path} {told:?}");
        assert_eq!(is_one_time(server, &name, PASSWORD), one_time, "{path} {told:?}");
        assert_eq!(
            admin.get(&format!("/api/v1/users/{}", user["id"])).expect(200)["must_change_password"],
            false
        );
        // Given again, by a change.
        for (path, one_time) in [("/api/v1/users", true), ("/api/users", false)] {
            let path = format!("{path}/{}/", user["id"]);
            let given = format!("sunlit-{n}-marble-stairs");
            admin.patch_json(&path, &json!({"password": given}).to_string()).expect(200);
            assert_eq!(is_one_time(server, &name, &given), one_time, "PATCH {path}");
            let replaced = json!({"username": name, "role": "ANALYST", "password": given});
            admin.send("PUT", &path, "application/json", replaced.to_string().as_bytes()).expect(200);
            assert_eq!(is_one_time(server, &name, &given), one_time, "PUT {path}");
        }
    }
    // Without a password there is nothing to change.
    let path = format!("/api/v1/users/{}", made(&admin, "/api/users/", "quiet", None)["id"]);
    let changed =
        admin.patch_json(&path, r#"{"email":"q@example.com","must_change_password":true}"#).expect(200);
    assert_eq!(changed["must_change_password"], false);
    let wrong = json!({"username": "x", "password": "short", "must_change_password": "perhaps"});
    let wrong = admin.post_json("/api/v1/users/", &wrong.to_string()).expect(400);
    assert_eq!(wrong.as_object().unwrap().keys().collect::<Vec<_>>(), ["must_change_password", "password"]);
    let program = admin.post_json("/api/dashboard/create-analyst/", "{}").expect(201);
    let text = |field: &str| program[field].as_str().unwrap().to_owned();
    assert!(
        !is_one_time(server, &text("username"), &text("password")),
        "service E's clients know no such step"
    );
    let asked = json!({"username": "erin", "password": PASSWORD, "must_change_password": true}).to_string();
    admin.post_json("/api/dashboard/create-analyst/", &asked).expect(201);
    assert!(is_one_time(server, "erin", PASSWORD));
    assert!(!is_one_time(server, ADMIN, PASSWORD), "the operator chose it");
    for (name, more, one_time) in [("shell", &[][..], true), ("kept", &["--keep-password"], false)] {
        let made = server.command().args(["user", "create", "--username", name]).args(more).output().unwrap();
        assert!(made.status.success());
        let said = String::from_utf8_lossy(&made.stderr);
        assert_eq!(
            said.contains("has to be changed at the first log-in, within 24 hours"),
            one_time,
            "{said}"
        );
        let password = String::from_utf8(made.stdout).unwrap();
        assert_eq!(is_one_time(server, name, password.trim()), one_time, "{name}");
    }
    for (name, given) in [("django", true), ("django2", false)] {
        let mut command = server.command();
        command.args(["createsuperuser", "--noinput"]).env("DJANGO_SUPERUSER_USERNAME", name);
        command.envs(given.then_some(("DJANGO_SUPERUSER_PASSWORD", PASSWORD)));
        let made = command.output().unwrap();
        let printed = String::from_utf8(made.stdout).unwrap();
        let password = if given { PASSWORD } else { printed.trim() };
        assert_eq!(is_one_time(server, name, password), !given, "{name}");
    }
}

/// Names of the product, the user and the server with a year are what is tried first.
fn names_and_years_are_refused_on_every_way(before: &Server) {
    let settings =
        [("WATCHPOST_SIGNUP", "on"), ("WATCHPOST_PUBLIC_URL", "http://siem.acme-corp.example:8000")];
    let server = &Server::with(before.engine(), &settings);
    let admin = server.admin();
    let jane = made(&admin, "/api/users/", "jane.doe", None);
    let own = server.log_in("jane.doe", PASSWORD);
    for weak in ["watchpost2026!", "Sommer2026Sommer", "AcmeCorp-2026-Siem", "Doe-Jane-1985!!"] {
        let new =
            json!({"username": "jane.doe", "password": weak, "email": "x@example.com", "role": "ANALYST"});
        let (new, password) = (new.to_string(), json!({"password": weak}).to_string());
        let change = json!({"current_password": PASSWORD, "new_password": weak}).to_string();
        let path = format!("/api/v1/users/{}", jane["id"]);
        for (what, answer, field) in [
            ("create", admin.post_json("/api/v1/users", &new), "password"),
            ("service D", admin.post_json("/api/users", &new), "password"),
            ("service E", admin.post_json("/api/dashboard/create-analyst", &new), "password"),
            ("change", admin.patch_json(&path, &password), "password"),
            ("one's own", own.post_json("/api/v1/auth/password", &change), "new_password"),
        ] {
            let wrong = answer.expect(400);
            let said = wrong[field][0].as_str().unwrap_or_default();
            assert!(said.contains("made of names") || said.contains("similar"), "{what} {weak}: {wrong}");
        }
        let signing_up = server.anonymous().post_json("/v1/auth/signup", &new).expect(400);
        assert!(signing_up["message"].as_str().unwrap().contains("password:"), "{signing_up}");
        let mut command = server.command();
        command.args(["user", "create", "--noinput", "--username", "jane.doe"]);
        command.env("WATCHPOST_PUBLIC_URL", settings[1].1).env("DJANGO_SUPERUSER_PASSWORD", weak);
        assert_eq!(command.output().unwrap().status.code(), Some(2), "{weak}");
    }
}

#[test]
fn a_generated_first_password_has_to_be_changed() {
    let folder = TempDir::new().unwrap();
    let mut child = watchpost(&folder)
        .args(["--listen", "127.0.0.1:0"])
        .env("WATCHPOST_LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let after = |line: &str, mark: &str| line.split_once(mark).map(|(_, rest)| rest.trim().to_owned());
    let (mut address, mut password) = (None, None);
    while address.is_none() || password.is_none() {
        let line = lines.next().expect("it starts");
        address = address.or(after(&line, "is ready: "));
        password = password.or(after(&line, "with the password "));
    }
    let send = |body: Value| {
        let request = ureq::post(format!("{}/api/v1/auth/login", address.as_ref().unwrap()))
            .config()
            .http_status_as_error(false)
            .build();
        let mut answer = request.content_type("application/json").send(body.to_string()).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let given = password.unwrap();
    let (status, text) = send(json!({"username": "admin", "password": given}));
    assert!(status == 403 && text.contains("password_change_required"), "{status} {text}");
    let (status, text) = send(json!({"username": "admin", "password": given, "new_password": OWN}));
    assert_eq!(status, 200, "{text}");
    assert_eq!(send(json!({"username": "admin", "password": OWN})).0, 200);
    child.kill().unwrap();
    child.wait().unwrap();
    let weak = watchpost(&TempDir::new().unwrap())
        .args(["--listen", "127.0.0.1:0"])
        .env("WATCHPOST_ADMIN_PASSWORD", "Watchpost-2026")
        .output()
        .unwrap();
    assert_eq!(weak.status.code(), Some(3), "{}", String::from_utf8_lossy(&weak.stderr));
}
