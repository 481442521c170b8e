//! What Admins manage: users, keys, sessions, the audit log, settings.

use crate::on_both_engines;
use crate::security::{audited, bearer, tokens};
use crate::server::{ADMIN, Engine, PASSWORD, Server};
use serde_json::Value;

on_both_engines!(users_are_searched, sessions_of_others_are_seen_and_ended, the_audit_log_is_proven);

fn texts(rows: &Value, field: &str) -> Vec<String> {
    let rows = rows["results"].as_array().unwrap_or_else(|| panic!("no page: {rows}"));
    rows.iter().map(|row| row[field].as_str().unwrap_or_default().to_owned()).collect()
}

fn users_are_searched(server: &Server) {
    let admin = server.admin();
    for (name, role) in [("ana.b", "ANALYST"), ("Anatol", "RESPONDER"), ("rob", "ANALYST")] {
        server.user(name, role);
    }
    let names = |query: &str| texts(&admin.get(&format!("/api/v1/users?{query}")).expect(200), "username");
    assert_eq!(names("search=ANA"), ["ana.b", "Anatol"]);
    assert_eq!(names("search=a.b"), ["ana.b"]);
    assert_eq!(names("role=analyst&search=b"), ["ana.b", "rob"]);
    assert_eq!(names("search=%25"), Vec::<String>::new(), "a sign of patterns is a sign");
    let page = admin.get("/api/v1/users?search=ana&page_size=1").expect(200);
    assert_eq!((page["count"].as_i64(), texts(&page, "username")), (Some(2), vec!["ana.b".to_owned()]));
    assert!(page["next"].as_str().unwrap().contains("search=ana"));
    admin.send("DELETE", "/api/v1/users/2", "", b"");
    assert_eq!(names("is_active=false"), ["ana.b"]);
    assert_eq!(names("is_active=true&search=ana"), ["Anatol"]);
    let wrong = admin.get("/api/v1/users?role=king&is_active=perhaps&colour=red").expect(400);
    assert_eq!(wrong.as_object().unwrap().keys().collect::<Vec<_>>(), ["colour", "is_active", "role"]);
}

fn sessions_of_others_are_seen_and_ended(server: &Server) {
    server.user("jane", "ANALYST");
    let token = tokens(server, "jane", PASSWORD);
    let jane = bearer(server, token["access"].as_str().unwrap());
    jane.get("/api/v1/alerts").expect(200);
    let form = format!("username=jane&password={PASSWORD}");
    let browser = server.anonymous().with("user-agent", "a browser").post_form("/login", &form);
    let cookie = browser.header("set-cookie").split(';').next().unwrap().to_owned();
    let admin = server.admin();
    let listed = admin.get("/api/v1/sessions?user=JANE&page_size=100").expect(200);
    assert_eq!(listed["count"], 3, "two with tokens, one in a browser: {listed}");
    let console = admin.get("/api/v1/sessions?user=jane&kind=console").expect(200);
    let session = &console["results"][0];
    assert_eq!((&session["username"], &session["kind"]), (&"jane".into(), &"console".into()));
    assert_eq!((&session["agent"], &session["current"]), (&"a browser".into(), &false.into()));
    let own = admin.get(&format!("/api/v1/sessions?user={ADMIN}&page_size=100")).expect(200);
    let current = own["results"].as_array().unwrap().iter().filter(|session| session["current"] == true);
    assert_eq!(current.count(), 1);
    // Nobody but an Admin sees or ends others' sessions.
    let path = format!("/api/v1/sessions/{}", session["id"].as_str().unwrap());
    assert_eq!([jane.get("/api/v1/sessions").status, jane.send("DELETE", &path, "", b"").status], [403, 403]);
    let in_console = server.anonymous().with("cookie", &cookie);
    assert_eq!(in_console.get("/").status, 200);
    assert_eq!(admin.send("DELETE", &path, "", b"").status, 204);
    assert_eq!(in_console.get("/").status, 303, "it has ended");
    assert_eq!(admin.send("DELETE", &path, "", b"").status, 404);
    assert_eq!(admin.send("DELETE", "/api/v1/sessions/a%00b", "", b"").status, 404);
    let ended = audited(server, "session.end");
    assert_eq!((&ended[0]["actor"], &ended[0]["object"]), (&ADMIN.into(), &"user:2".into()));
    assert!(ended[0]["detail"].as_str().unwrap().starts_with("console from 127.0.0.1"));
    let wrong = admin.get("/api/v1/sessions?user=nobody&kind=magic&page_size=0").expect(400);
    assert_eq!(wrong.as_object().unwrap().keys().collect::<Vec<_>>(), ["kind", "page_size", "user"]);
}

/// Writes to the audit log past Watchpost.
fn spoil(server: &Server, statement: &str) {
    match server.engine() {
        Engine::Postgres => server.database().run(statement),
        Engine::Sqlite => {
            let file = server.folder.path().join("watchpost-data/watchpost.db");
            let connection = rusqlite::Connection::open(file).unwrap();
            connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
            connection.execute_batch(statement).unwrap();
        }
    }
}

fn the_audit_log_is_proven(server: &Server) {
    let admin = server.admin();
    server.user("jane", "ANALYST");
    let proof = admin.get("/api/v1/audit/verify").expect(200);
    assert_eq!(
        (&proof["intact"], &proof["complete"], &proof["first"]),
        (&true.into(), &true.into(), &1.into())
    );
    assert_eq!(proof["last"], admin.get("/api/v1/audit").expect(200)["results"][0]["id"]);
    assert_eq!((&proof["broken_at"], &proof["why"]), (&Value::Null, &Value::Null));
    spoil(server, "UPDATE audit_log SET detail = 'nothing happened' WHERE id = 2");
    let proof = admin.get("/api/v1/audit/verify").expect(200);
    assert_eq!((&proof["intact"], &proof["broken_at"]), (&false.into(), &2.into()));
    assert_eq!(proof["why"], "it isn't what was written");
}

#[test]
fn settings_in_force_are_listed_without_secrets() {
    let secret = "canary-secret-key-of-forty-characters-ab";
    let settings = [
        ("SECRET_KEY", secret),
        ("WATCHPOST_METRICS_TOKEN", "canary-metrics"),
        ("WATCHPOST_RATE_USER", "7000/m"),
    ];
    let server = Server::with(Engine::Sqlite, &settings);
    let answer = server.admin().get("/api/v1/settings");
    assert!(!answer.text.contains("canary") && !answer.text.contains(PASSWORD), "{}", answer.text);
    let listed = answer.expect(200);
    let found = |name: &str| {
        let all = listed.as_array().unwrap();
        all.iter()
            .find(|setting| setting["name"] == name)
            .unwrap_or_else(|| panic!("{name} is missing"))
            .clone()
    };
    let rate = found("WATCHPOST_RATE_USER");
    assert_eq!((&rate["value"], &rate["from"]), (&"7000/m".into(), &"environment".into()));
    assert_eq!((&rate["default"], &rate["is_set"]), (&"6000/m".into(), &true.into()));
    let listen = found("WATCHPOST_LISTEN");
    assert_eq!(listen["flag"], "--listen");
    for name in ["SECRET_KEY", "WATCHPOST_METRICS_TOKEN", "WATCHPOST_ADMIN_PASSWORD"] {
        let setting = found(name);
        assert_eq!((&setting["is_secret"], &setting["is_set"]), (&true.into(), &true.into()), "{name}");
        assert_eq!(setting["value"], Value::Null, "{name}");
    }
    let previous = found("SECRET_KEY_PREVIOUS");
    assert_eq!((&previous["is_set"], &previous["from"]), (&false.into(), &"default".into()));
    // The same table as that of the documentation.
    let table = server.command().args(["settings", "--markdown"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert_eq!(table.lines().count() - 2, listed.as_array().unwrap().len());
}
