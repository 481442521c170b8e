//! Whoever is refused something is in the audit log: every kind of refusal, once, and whatever others do meanwhile.

use super::totp::App;
use super::{audited, bearer, tokens};
use crate::on_both_engines;
use crate::server::{Client, Engine, PASSWORD, Server};
use serde_json::{Value, json};

on_both_engines!(
    a_flood_leaves_few_rows_and_hides_nobody,
    every_kind_of_refusal_has_a_row,
    reading_the_log_is_in_it
);

/// Distinct paths that are refused; more than are remembered of all callers together.
const FLOOD: usize = 10_200;
/// More than a caller's rows in a minute, of the few minutes that the flood may take on a slow machine.
const MAX_ROWS: usize = 150;

/// The rows about refusals of a user, or of everybody.
fn refusals(server: &Server, of: &str) -> Vec<Value> {
    let exported = server.admin().get(&format!("/api/v1/audit/export?format=ndjson&action=refused{of}"));
    assert_eq!(exported.status, 200, "{}", exported.text);
    exported.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The numbers that sums name, with what was told by itself.
fn all_told(rows: &[Value]) -> usize {
    let number = |row: &Value| match row["object"] == "requests" {
        true => row["detail"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap(),
        false => 1,
    };
    rows.iter().map(number).sum()
}

fn a_flood_leaves_few_rows_and_hides_nobody(before: &Server) {
    let mut server = Server::with(before.engine(), &[]);
    {
        let flooder = server.user("flooder", "ANALYST");
        let others: Vec<Client<'_>> = (0..5).map(|n| server.user(&format!("other-{n}"), "ANALYST")).collect();
        let padding = "x".repeat(7_000);
        std::thread::scope(|scope| {
            for half in 0..2 {
                let (client, padding) = (server.sensor_like(&flooder), &padding);
                scope.spawn(move || {
                    for n in (half..FLOOD).step_by(2) {
                        let path = format!("/api/v1/users/{n}{}?a=1", &padding[..n % 7_000]);
                        assert_eq!(client.send("GET", &path, "", b"").status, 403);
                    }
                });
            }
        });
        for other in &others {
            assert_eq!(other.get("/api/v1/users/1").status, 403);
        }
        for n in 0..5 {
            let rows = refusals(&server, &format!("&actor=other-{n}"));
            assert_eq!(rows.len(), 1, "{rows:?}");
            assert_eq!(rows[0]["object"], "GET /api/v1/users/{id}");
        }
    }
    // What was only counted is told when the server stops, though the caller never comes again.
    assert_eq!(server.stop(), Some(0));
    server.restart();
    let rows = refusals(&server, "&actor=flooder");
    assert!(rows.len() >= 2 && rows.len() <= MAX_ROWS, "{} rows", rows.len());
    assert_eq!(all_told(&rows), FLOOD, "each is counted: {rows:?}");
    for row in &rows {
        assert!(row.to_string().len() < 1_000, "{row}");
    }
}

/// What was asked for, and why it was refused.
fn said(rows: &[Value]) -> Vec<String> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let said = |row| format!("{} | {} | {}", text(row, "actor"), text(row, "object"), text(row, "detail"));
    rows.iter().map(said).collect()
}

fn set_up_factor(client: &Client<'_>) {
    let body = json!({"current_password": PASSWORD}).to_string();
    let offered = client.post_json("/api/v1/auth/factor/setup", &body).expect(200);
    let mut app = App::new(offered["secret"].as_str().unwrap());
    let first = json!({"otp": app.code(), "setup": offered["setup"]}).to_string();
    client.post_json("/api/v1/auth/factor", &first).expect(200);
}

/// Everything that is refused but what comes too fast.
fn be_refused(server: &Server) -> Vec<String> {
    let admin = server.admin();
    let (ana, rob, eve) =
        (server.user("ana", "ANALYST"), server.user("rob", "RESPONDER"), server.user("eve", "RESPONDER"));
    let anyone = server.anonymous();
    // A role that is too low, over the API and on a page.
    assert_eq!(ana.get("/api/v1/users/7").status, 403);
    assert_eq!(server.console("ana").get("/admin/keys").status, 403);
    // A password without the second factor.
    set_up_factor(&eve);
    let right = json!({"username": "eve", "password": PASSWORD}).to_string();
    assert_eq!(anyone.post_json("/api/v1/auth/login", &right).expect(401)["code"], "otp_required");
    // Forged forms: of another site, and of another session.
    let console = server.console("rob");
    let other_site = server.sensor_like(&console).with("sec-fetch-site", "cross-site");
    assert_eq!(other_site.post_form("/account/preferences", "theme=dark").status, 403);
    assert_eq!(console.post_form("/account/password", "form_token=0000").status, 403);
    assert_eq!(
        server.anonymous().with("sec-fetch-site", "cross-site").post_form("/login", "a=b").status,
        403
    );
    // A shared view of another user.
    let view = json!({"name": "mine", "query": "status=OPEN", "shared": true}).to_string();
    let view = admin.post_json("/api/v1/views", &view).expect(201);
    let path = format!("/api/v1/views/{}", view["id"]);
    assert_eq!(rob.patch_json(&path, r#"{"name":"yours"}"#).status, 403);
    // An undo of another user's job.
    admin.event("HIGH", "x");
    let alert = admin.get("/api/v1/alerts").expect(200)["results"][0]["id"].clone();
    let job = json!({"action": "ack", "ids": [alert]}).to_string();
    let job = admin.post_json("/api/v1/alerts/bulk", &job);
    let job = job.json()["id"].as_str().unwrap_or_else(|| panic!("{}", job.text)).to_owned();
    assert_eq!(rob.post_json(&format!("/api/v1/alerts/bulk/{job}/undo"), "").status, 403);
    // A role at sign-up.
    let asked = json!({"username": "mallory", "password": PASSWORD, "role": "Admin"}).to_string();
    assert_eq!(anyone.post_json("/v1/auth/signup/", &asked).status, 403);
    // A key from an address it isn't for, and one that says more than it may.
    let far = admin.post_json("/api/v1/keys", r#"{"name":"far","networks":"10.0.0.0/8"}"#).expect(201);
    let far_key = far["secret"].as_str().unwrap().to_owned();
    assert_eq!(server.anonymous().with("x-api-key", &far_key).post_json("/api/v1/events", "{}").status, 401);
    let low = admin.post_json("/api/v1/keys", r#"{"name":"low","max_severity":"LOW"}"#).expect(201);
    let low = server.anonymous().with("x-api-key", low["secret"].as_str().unwrap());
    let event = r#"{"source_name":"a","event_type":"b","severity":"HIGH","description":"c"}"#;
    assert_eq!(low.post_json("/api/v1/events", event).status, 400);
    // Credentials that aren't good: summed up.
    let pair = tokens(server, "rob", PASSWORD);
    let forged = format!("{}x", pair["access"].as_str().unwrap());
    for _ in 0..3 {
        assert_eq!(bearer(server, &forged).get("/api/v1/alerts").status, 401);
        assert_eq!(
            server.anonymous().with("x-api-key", "wp_canary-wrong-key").get("/api/v1/alerts").status,
            401
        );
    }
    let wrong = json!({"refresh": "canary-wrong-refresh"}).to_string();
    assert_eq!(anyone.post_json("/api/v1/auth/refresh", &wrong).status, 401);
    assert_eq!(
        server.anonymous().with("authorization", "Bearer canary-wrong-metrics").get("/metrics").status,
        401
    );
    let secret = forged.split('.').nth(2).unwrap().to_owned();
    vec![far_key, secret, "canary".into(), PASSWORD.into()]
}

fn every_kind_of_refusal_has_a_row(before: &Server) {
    let settings = [("WATCHPOST_SIGNUP", "on"), ("WATCHPOST_METRICS_TOKEN", "a-token-for-metrics")];
    let mut server = Server::with(before.engine(), &settings);
    let secrets = be_refused(&server);
    assert_eq!(server.stop(), Some(0));
    server.restart();
    let rows = said(&refusals(&server, ""));
    for wanted in [
        "ana | GET /api/v1/users/{id} | needs the role Admin; at /api/v1/users/7",
        "ana | GET /admin/keys | needs the role Admin",
        "eve | log-in | the password was right: otp_required",
        "rob | POST /account/preferences | the form wasn't sent by a page of this session",
        "rob | POST /account/password | the form wasn't sent by a page of this session",
        "anonymous | POST /login | the form wasn't sent by a page of this session",
        "rob | view:1 | only its owner or an Admin changes a view that is for all",
        "rob | job:",
        "anonymous | sign-up | only Analysts sign up",
        "key:far | key | the key may not be used from this address",
        "key:low | events | events from another source or of a worse severity than the key may report",
    ] {
        assert_eq!(rows.iter().filter(|row| row.starts_with(wanted)).count(), 1, "{wanted}: {rows:#?}");
    }
    let sums: Vec<_> = rows.iter().filter(|row| row.starts_with("anonymous | requests | ")).collect();
    for wanted in ["4 tokens that aren't good", "sensor keys that aren't good", "1 wrong tokens for metrics"]
    {
        assert!(sums.iter().any(|row| row.contains(wanted)), "{wanted}: {rows:#?}");
    }
    let told = server.admin().get("/api/v1/audit/export?format=csv").text;
    for secret in secrets {
        assert!(!told.contains(&secret), "{secret} is in the log");
    }
}

fn reading_the_log_is_in_it(before: &Server) {
    let mut server = Server::with(before.engine(), &[]);
    {
        let (admin, console) = (server.admin(), server.console("admin"));
        for _ in 0..3 {
            admin.get("/api/v1/audit").expect(200);
            console.get("/admin/audit");
        }
        admin.get("/api/v1/audit/verify").expect(200);
        admin.get("/api/v1/audit/checkpoint").expect(200);
        admin.get("/api/v1/audit/export");
    }
    assert_eq!(server.stop(), Some(0));
    server.restart();
    let reads = audited(&server, "audit.");
    let of = |action: &str| reads.iter().filter(|row| row["action"] == action).collect::<Vec<_>>();
    assert_eq!((of("audit.checkpoint").len(), of("audit.export").len()), (1, 1), "{reads:?}");
    // One row for each minute that ended meanwhile, and not for each look.
    let read = of("audit.read");
    let numbers = read.iter().map(|row| row["detail"].as_str().unwrap().split(' ').next().unwrap());
    assert_eq!(numbers.map(|number| number.parse::<u64>().unwrap()).sum::<u64>(), 7, "{reads:?}");
    assert!(read.iter().all(|row| row["actor"] == "admin" && row["actor_id"] == "user:1"), "{reads:?}");
}

#[test]
fn callers_that_are_too_fast_are_summed_up() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let settings = [
            ("WATCHPOST_THROTTLE", "on"),
            ("WATCHPOST_RATE_ANONYMOUS", "1/h"),
            ("WATCHPOST_RATE_USER", "3/h"),
        ];
        let mut server = Server::with(engine, &settings);
        let (mut of_user, mut of_address) = (0, 0);
        {
            let admin = server.admin();
            for _ in 0..10 {
                of_user += usize::from(admin.get("/api/v1/alerts").status == 429);
                of_address += usize::from(server.anonymous().get("/api/v1/alerts").status == 429);
            }
        }
        assert!(of_user > 5 && of_address > 5);
        server.stop();
        let log = server.log.lock().unwrap().clone();
        assert!(log.contains("more refused") && log.contains(&format!("{of_user} throttled")), "{log}");
        server.set(&[]);
        server.restart();
        let rows = said(&refusals(&server, ""));
        for wanted in [format!("{of_user} throttled"), format!("{of_address} throttled")] {
            assert!(rows.iter().any(|row| row.contains(&wanted)), "{wanted}: {rows:#?}");
        }
    }
}
