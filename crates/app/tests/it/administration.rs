//! What Admins manage: users, keys, sessions, the audit log, settings.

use crate::browser::Browser;
use crate::console::{form_token, sign_in};
use crate::on_both_engines;
use crate::security::{audited, bearer, tokens};
use crate::server::{ADMIN, Answer, Engine, PASSWORD, Server};
use serde_json::Value;

on_both_engines!(
    users_are_searched,
    sessions_of_others_are_seen_and_ended,
    the_audit_log_is_proven,
    users_by_form,
    keys_by_form,
    sessions_by_form,
    the_audit_log_as_a_page,
);

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
fn the_audit_log_is_proven_for_one_at_a_time() {
    let server = Server::start(Engine::Postgres);
    let admin = server.admin();
    let release = server.database().hold("BEGIN; LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE");
    let second = std::thread::scope(|scope| {
        let first = scope.spawn(|| server.sensor_like(&admin).get("/api/v1/audit/verify"));
        // Whoever comes first waits for the table; whoever comes then is told at once.
        while server.database().count(WAITING) == 0 {
            assert!(!first.is_finished(), "nothing held it up");
        }
        let other = server.sensor_like(&admin).get("/api/v1/audit/verify");
        release();
        assert_eq!(first.join().unwrap().expect(200)["intact"], true);
        other
    });
    assert_eq!(second.status, 503);
    assert!(second.text.contains("being looked at already") && second.header("retry-after") == "2");
    assert_eq!(admin.get("/api/v1/audit/verify").expect(200)["intact"], true);
}

/// Those who wait for a table.
const WAITING: &str =
    "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";

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

/// The text between two others.
#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} behind {before}")).0
}

/// Whether a page has a form whose field is marked as wrong, in focus, with a message beside it.
#[track_caller]
fn points_at(page: &Answer, form: &str, field: &str, message: &str) {
    let marked = format!(
        "id=\"{form}-{field}\" aria-invalid=\"true\" aria-describedby=\"wrong-{form}-{field}\" autofocus"
    );
    assert!(page.text.contains(&marked), "{marked}: {}", page.text);
    let said = between(&page.text, &format!("id=\"wrong-{form}-{field}\">"), "<");
    assert!(said.contains(message), "{said}");
}

fn users_by_form(server: &Server) {
    let admin = sign_in(server, ADMIN);
    let token = form_token(&admin.get("/admin/"));
    let post = |path: &str, rest: &str| admin.post_form(path, &format!("form_token={token}&{rest}"));
    let made = post("/admin/users", "username=jane&email=&password=&role=RESPONDER");
    assert!(made.status == 200 && made.text.contains("Password for jane"), "{}", made.text);
    let password = between(&made.text, "data-copy>", "<").to_owned();
    let log_in = |username: &str, password: &str| {
        let body = format!(r#"{{"username":"{username}","password":"{password}"}}"#);
        server.anonymous().post_json("/api/v1/auth/login", &body)
    };
    assert_eq!(log_in("jane", &password).expect(403)["code"], "password_change_required");
    assert!(made.text.contains("lets jane in once within 24 hours"));
    let ana = format!("username=ana&password={PASSWORD}&role=ANALYST");
    assert_eq!(post("/admin/users", &ana).header("location"), "/admin/users");
    assert_eq!(log_in("ana", PASSWORD).expect(403)["code"], "password_change_required", "given is given");
    let keeps = post(
        "/admin/users",
        &format!("username=kim&password={PASSWORD}&role=ANALYST&must_change_password=false"),
    );
    assert_eq!(keeps.header("location"), "/admin/users");
    server.log_in("kim", PASSWORD);
    let wrong = post("/admin/users", "username=a+b&email=nope&password=short&role=RESPONDER");
    assert_eq!(wrong.status, 400);
    points_at(&wrong, "new", "username", "valid username");
    assert!(wrong.text.contains("value=\"a b\"") && wrong.text.contains("id=\"wrong-new-password\""));
    assert!(wrong.text.contains("<option value=\"RESPONDER\" selected>"), "what was chosen stays chosen");
    assert!(!wrong.text.contains("value=\"short\""), "a password isn't shown again");
    let taken = post("/admin/users", "username=JANE&email=&password=&role=ANALYST");
    points_at(&taken, "new", "username", "already exists");
    // Found by a part of the name; each has a page of their own.
    let found = admin.get("/admin/users?search=AN");
    assert!(found.text.contains(">jane</a>") && found.text.contains(">ana</a>"));
    let found = admin.get("/admin/users?search=AN&role=ANALYST");
    assert!(!found.text.contains(">jane</a>") && found.text.contains(">ana</a>"));
    assert!(admin.get("/admin/users?search=nobody").text.contains("Nobody fits."));
    let page = admin.get("/admin/users/2");
    assert!(page.text.contains("user.create") && page.text.contains("Where jane is signed in"));
    assert_eq!(post("/admin/users/2", "change=role&role=ANALYST").header("location"), "/admin/users/2");
    assert_eq!(server.admin().get("/api/v1/users/2").expect(200)["role"], "ANALYST");
    let stale = post("/admin/users/2", "change=role&role=ADMIN&version=1");
    assert!(stale.status == 409 && stale.text.contains("changed by somebody else"));
    let given = post("/admin/users/2", "change=password");
    let password = between(&given.text, "data-copy>", "<").to_owned();
    assert_eq!(log_in("jane", &password).expect(403)["code"], "password_change_required");
    assert_eq!(post("/admin/users/2", "change=deactivate").status, 303);
    assert!(admin.get("/admin/users/2").text.contains("Deactivated"));
    assert_eq!(post("/admin/users/2", "change=activate").status, 303);
    let last = post("/admin/users/1", "change=deactivate");
    assert!(last.status == 409 && last.text.contains("Make somebody else an Admin first."));
    assert_eq!(post("/admin/users/2", "change=dance").status, 400);
    assert_eq!(admin.get("/admin/users/99").status, 404);
}

fn keys_by_form(server: &Server) {
    let admin = sign_in(server, ADMIN);
    let empty = admin.get("/admin/keys");
    assert!(empty.text.contains("No keys yet"));
    let token = form_token(&empty);
    let post = |path: &str, rest: &str| admin.post_form(path, &format!("form_token={token}&{rest}"));
    let made = post("/admin/keys", "name=edge&expires_in_days=&source_name=gate&max_severity=HIGH");
    let secret = between(&made.text, "data-copy>", "<").to_owned();
    assert!(
        secret.starts_with("wp_") && made.text.matches(secret.as_str()).count() == 7,
        "one for each program"
    );
    let sensor = server.anonymous().with("x-api-key", &secret);
    let event = r#"{"event_type":"x","severity":"HIGH","description":"y"}"#;
    assert_eq!(sensor.post_json("/api/v1/events", event).expect(201)["source_name"], "gate");
    let listed = admin.get("/admin/keys");
    assert!(listed.text.contains(&secret[..10]) && !listed.text.contains(&secret), "it can't be shown again");
    assert_eq!(post("/admin/keys/1/revoke", "").header("location"), "/admin/keys");
    assert!(admin.get("/admin/keys").text.contains("Revoked"));
    let wrong = post("/admin/keys", "name=cam&expires_in_days=x&networks=10.0.0.0%2F8&rate=fast");
    assert_eq!(wrong.status, 400);
    points_at(&wrong, "new", "rate", "");
    assert!(wrong.text.contains("value=\"cam\"") && wrong.text.contains("id=\"wrong-new-expires_in_days\""));
    assert!(wrong.text.replace("&#x2f;", "/").contains("value=\"10.0.0.0/8\""));
    assert_eq!(admin.get("/admin/keys?page=9").status, 404);
}

fn sessions_by_form(server: &Server) {
    server.user("jane", "ANALYST");
    let (admin, jane) = (sign_in(server, ADMIN), sign_in(server, "jane"));
    let listed = admin.get("/admin/sessions?user=jane&kind=console");
    assert_eq!(listed.text.matches(">End</button>").count(), 1);
    let token = form_token(&listed);
    let end = between(&listed.text, "action=\"/admin/sessions/", "\"").to_owned();
    let body = format!("form_token={token}");
    let back = format!("{}/admin/sessions?user=jane", server.address);
    let ended = server.anonymous().with("cookie", &admin.headers[0].1).with("referer", &back);
    let ended = ended.post_form(&format!("/admin/sessions/{end}"), &body);
    assert_eq!((ended.status, ended.header("location")), (303, "/admin/sessions?user=jane"));
    assert_eq!(jane.get("/").status, 303, "it has ended");
    assert_eq!(admin.post_form(&format!("/admin/sessions/{end}"), &body).status, 303, "once is enough");
    let again = sign_in(server, "jane");
    assert_eq!(again.get("/").status, 200);
    assert_eq!(admin.post_form("/admin/users/2/sessions/end", &body).header("location"), "/admin/users/2");
    assert_eq!(again.get("/").status, 303, "everywhere");
    assert_eq!(audited(server, "session.end").len(), 2);
    assert!(admin.get("/admin/sessions?user=jane").text.contains("No session fits."));
    let nobody = admin.get("/admin/sessions?user=nobody");
    assert_eq!(nobody.status, 400);
    points_at(&nobody, "filter", "user", "no such user");
    assert_eq!(again.post_form("/admin/sessions/x/end", &body).status, 303, "to sign in");
}

fn the_audit_log_as_a_page(server: &Server) {
    server.user("jane", "ANALYST");
    let admin = sign_in(server, ADMIN);
    let all = admin.get("/admin/audit");
    assert!(all.text.contains("user.create") && all.text.contains("href=\"&#x2f;admin&#x2f;users&#x2f;2\""));
    let jane = admin.get("/admin/audit?actor=jane&since=-1h");
    assert!(jane.text.contains("<code>login</code>") && !jane.text.contains("<code>user.create</code>"));
    assert!(admin.get("/admin/audit?actor=nobody").text.contains("Nothing fits."));
    let wrong = admin.get("/admin/audit?since=soon&actor=jane");
    assert_eq!(wrong.status, 400);
    points_at(&wrong, "filter", "since", "A time such as");
    assert!(wrong.text.contains("value=\"jane\""));
    // Handed out through the cookie as the API hands it out, and noted.
    for (format, kind) in [("csv", "text/csv; charset=utf-8"), ("ndjson", "application/x-ndjson")] {
        let query = format!("format={format}&actor=jane");
        let (page, api) = (
            admin.get(&format!("/admin/audit/export?{query}")),
            server.admin().get(&format!("/api/v1/audit/export?{query}")),
        );
        assert_eq!((page.status, page.header("content-type")), (200, kind));
        assert!(page.header("content-disposition").contains(&format!(".{format}\"")));
        assert_eq!(page.text, api.text);
        assert!(page.text.contains("login") && !page.text.contains("user.create"));
    }
    let noted = audited(server, "audit.export");
    assert_eq!((noted.len(), &noted[0]["detail"]), (4, &"format=ndjson&actor=jane".into()));
    assert!(admin.get("/admin/audit/verify").text.contains("That is all of the chain."));
    spoil(server, "UPDATE audit_log SET actor = 'nobody' WHERE id = 2");
    let broken = admin.get("/admin/audit/verify?actor=jane");
    assert!(broken.text.contains("It breaks at row 2") && broken.text.contains("value=\"jane\""));
    let analyst = sign_in(server, "jane");
    for path in
        ["/admin/audit", "/admin/audit/export", "/admin/audit/verify", "/admin/settings", "/admin/sessions"]
    {
        assert_eq!(analyst.get(path).status, 403, "{path}");
    }
}

#[test]
fn settings_are_shown_without_secrets() {
    let settings = [
        ("SECRET_KEY", "canary-secret-key-of-forty-characters-ab"),
        ("WATCHPOST_METRICS_TOKEN", "canary-metrics"),
        ("WATCHPOST_RATE_USER", "7000/m"),
    ];
    let server = Server::with(Engine::Sqlite, &settings);
    let admin = sign_in(&server, ADMIN);
    let page = admin.get("/admin/settings").text;
    assert!(!page.contains("canary") && !page.contains(PASSWORD));
    assert!(page.contains("7000&#x2f;m") && page.contains(">environment<") && page.contains(">set<"));
    let changed = admin.get("/admin/settings?only=changed").text;
    assert!(changed.contains("WATCHPOST_RATE_USER") && !changed.contains("WATCHPOST_MAX_BODY"));
}

/// As people do it, with scripts and without.
fn in_a_browser(scripts: bool) {
    let server = Server::start(Engine::Sqlite);
    let browser = Browser::start(scripts);
    browser.log_in(&server);
    browser.click(".top nav a[href*=admin]");
    browser.reads("h1", "Users");
    browser.fill("#new-username", "a b");
    browser.click("form[action='/admin/users'] button");
    browser.find("#new-username[aria-invalid]:focus");
    browser.fill("#new-username", "jane");
    browser.click("form[action='/admin/users'] button");
    browser.reads("#made", "Password for jane");
    let password = browser.text(".notice pre");
    browser.click(".notice p a");
    browser.reads("h1", "jane");
    browser.click("nav[aria-label=Administration] a[href$=keys]");
    browser.fill("#new-name", "cam-3");
    browser.click("form[action='/admin/keys'] button");
    browser.reads("#made", "Sensor key for cam-3");
    let secret = browser.text(".notice > pre");
    browser.click(".snippets details:nth-of-type(3) summary");
    assert!(browser.text("pre[data-snippet=rsyslog]").contains(&format!("X-Api-Key: {secret}")));
    assert_eq!(browser.count(".snippets details[open]"), 1, "one is open at a time");
    // Somebody else is signed in, and then no more.
    let form = format!("username=jane&password={password}&new_password=wolkenbruch+im+mai");
    let jane = server.anonymous().post_form("/login", &form);
    let jane = server.anonymous().with("cookie", jane.header("set-cookie").split(';').next().unwrap());
    assert_eq!(jane.get("/").status, 200);
    browser.click("nav[aria-label=Administration] a[href$=sessions]");
    browser.counts("td button", 1);
    browser.click("td button");
    browser.reads(".said", "The session has ended.");
    assert_eq!(jane.get("/").status, 303);
    browser.click("nav[aria-label=Administration] a[href$=audit]");
    browser.fill("#filter-action", "session.");
    browser.click(".filters button");
    browser.counts("tbody tr", 1);
    browser.click("a[href*=verify]");
    assert!(browser.text(".said").starts_with("Intact: "));
    assert_eq!(browser.path(&server), "/admin/audit/verify?action=session.");
    browser.click("nav[aria-label=Administration] a[href$=settings]");
    browser.click(".card .tabs a:last-child");
    assert!(browser.text(".tabs ~ .scroll tbody").contains("WATCHPOST_LISTEN"));
    let blocked: Vec<String> =
        browser.complaints().into_iter().filter(|said| !said.contains("status of 400")).collect();
    assert_eq!(blocked, Vec::<String>::new(), "no error, nothing blocked");
}

#[test]
fn administration_with_scripts() {
    in_a_browser(true);
}

#[test]
fn administration_without_scripts() {
    in_a_browser(false);
}
