//! What a token that was stolen is not enough for: password and second factor, shown no longer than ten minutes ago.

use super::totp::App;
use super::{age_proofs, audited, bearer, count_in_database, tokens};
use crate::access::briefly;
use crate::on_both_engines;
use crate::server::{ADMIN, Answer, Client, PASSWORD, Server};
use serde_json::{Value, json};
use watchpost_model::Action;
use watchpost_model::access::Proof;
use watchpost_web::site_map::{RouteInfo, site_map};

on_both_engines!(
    each_listed_action_takes_a_fresh_proof,
    the_table_of_routes_is_what_happens,
    a_stolen_refresh_token_mints_nothing,
    wrong_proofs_are_attempts_to_log_in,
    the_second_factor_is_shown_as_well,
    an_admins_own_access_is_not_changed_by_the_way_for_others,
);

fn step_up(client: &Client<'_>, body: &Value) -> Answer {
    client.post_json("/api/v1/auth/step-up/", &body.to_string())
}

fn is_refused(answer: &Answer) -> bool {
    let asked = answer.header("www-authenticate");
    answer.status == 401
        && answer.json()["code"] == "step_up_required"
        && asked.contains("insufficient_user_authentication")
        && asked.contains("max_age=\"600\"")
}

/// Makes users for each thing that is done to one; their ids.
fn others(server: &Server, n: usize) -> Vec<String> {
    let id = |n| {
        server.user(&format!("other-{n}"), "ANALYST").get("/api/v1/auth/me").expect(200)["id"].to_string()
    };
    (0..n).map(id).collect()
}

fn each_listed_action_takes_a_fresh_proof(server: &Server) {
    let ids = others(server, 6);
    let inactive = {
        let made = json!({"username": "eve", "password": PASSWORD, "role": "ADMIN"}).to_string();
        let id = server.admin().post_json("/api/v1/users", &made).expect(201)["id"].to_string();
        assert_eq!(server.admin().send("DELETE", &format!("/api/v1/users/{id}"), "", b"").status, 204);
        id
    };
    let user = |n: usize| format!("/api/v1/users/{}", ids[n]);
    let new =
        |name: &str, role: &str| json!({"username": name, "password": PASSWORD, "role": role}).to_string();
    let session = server.admin().get(&format!("{}/sessions", user(4))).expect(200)[0]["id"].clone();
    let actions: Vec<(&str, String, String)> = vec![
        ("POST", "/api/v1/users".into(), new("boss", "ADMIN")),
        ("POST", "/api/users/".into(), new("boss-2", "admin")),
        ("PATCH", user(0), json!({"role": "ADMIN"}).to_string()),
        ("PUT", user(1), json!({"username": "other-1", "role": "ADMIN"}).to_string()),
        ("PATCH", format!("/api/v1/users/{inactive}"), json!({"is_active": true}).to_string()),
        ("PATCH", user(2), json!({"password": "wolkenbruch im mai"}).to_string()),
        ("PATCH", format!("/api/users/{}/", ids[2]), json!({"password": "sonnenschein im juni"}).to_string()),
        ("POST", format!("{}/reset-password", user(3)), String::new()),
        ("DELETE", format!("{}/factor", user(3)), String::new()),
        ("DELETE", format!("/api/v1/sessions/{}", session.as_str().unwrap()), String::new()),
        ("DELETE", format!("{}/sessions", user(5)), String::new()),
        ("POST", "/api/v1/keys".into(), json!({"name": "fw"}).to_string()),
        ("GET", "/api/v1/audit/export".into(), String::new()),
    ];
    let admin = server.admin();
    age_proofs(server);
    let send = |(method, path, body): &(&str, String, String)| {
        let kind = if body.is_empty() { "" } else { "application/json" };
        admin.send(method, path, kind, body.as_bytes())
    };
    let state = |what: &str| count_in_database(server, what);
    let counts = || {
        [
            "users WHERE role = 'ADMIN' AND active = 1",
            "sensor_keys",
            "sessions",
            "audit_log WHERE action = 'audit.export'",
        ]
        .map(|what| state(&format!("SELECT COUNT(*) FROM {what}")))
    };
    let before = counts();
    for action in &actions {
        let answer = send(action);
        assert!(is_refused(&answer), "{action:?}: {} {}", answer.status, answer.text);
        assert!(answer.text.contains("/api/v1/auth/step-up/"), "it says what to do: {}", answer.text);
    }
    assert_eq!(counts(), before, "nothing was done");
    assert!(audited(server, "refused").len() >= 5);
    // What an Admin does all day takes none.
    admin.get("/api/v1/users").expect(200);
    admin.post_json("/api/v1/users", &new("plain", "ANALYST")).expect(201);
    admin.patch_json(&user(0), r#"{"email":"x@example.com","role":"RESPONDER"}"#).expect(200);
    admin.post_json("/api/dashboard/create-analyst/", "{}").expect(201);

    let until = step_up(&admin, &json!({"password": PASSWORD})).expect(200);
    assert!(until["until"].as_str().unwrap().ends_with('Z'), "{until}");
    for action in &actions {
        let answer = send(action);
        assert!(answer.status < 300, "{action:?}: {} {}", answer.status, answer.text);
    }
    let proven = audited(server, "session.prove");
    assert_eq!(
        (proven.len(), &proven[0]["actor"], &proven[0]["detail"]),
        (1, &json!(ADMIN), &json!("password"))
    );
}

/// Sends what changes nothing when it is let through.
fn probe(client: &Client<'_>, route: &RouteInfo, token: Option<&str>) -> Answer {
    let path = briefly(route.path)
        .replace("{id}", "4503599627370000")
        .replace("{name}", "none")
        .replace("{session}", "none")
        .replace("{job}", "none");
    let sends = matches!(route.method.as_str(), "POST" | "PUT" | "PATCH");
    match token {
        Some(token) if sends => client.post_form(&path, &format!("form_token={token}&status=nope&username=")),
        _ if sends => {
            let body = br#"{"status":"nope","severity":"nope","username":"","name":""}"#;
            client.send(route.method.as_str(), &path, "application/json", body)
        }
        _ => client.send(route.method.as_str(), &path, "", b""),
    }
}

fn the_table_of_routes_is_what_happens(server: &Server) {
    let (admin, console) = (server.admin(), server.console(ADMIN));
    let token = crate::console::form_token(&console.get("/account/"));
    age_proofs(server);
    let mut routes = site_map();
    routes.retain(|route| route.action != Action::EnterAnonymously);
    routes.sort_by_key(|route| route.path == "/logout");
    let mut wrong = Vec::new();
    let mut always = 0;
    for route in &routes {
        let answer = match route.page {
            true => probe(&console, route, Some(&token)),
            false => probe(&admin, route, None),
        };
        let refused = match route.page {
            true => {
                answer.text.contains("Confirm your identity")
                    || answer.header("location").starts_with("/step-up?next=")
            }
            false => answer.text.contains("step_up_required"),
        };
        // Its page is the one that asks.
        let refused = refused && !(route.path == "/step-up" && route.method == "GET");
        if refused != (route.proof == Proof::Always) {
            wrong.push(format!("{} {}: {} {}", route.method, route.path, answer.status, answer.text));
        }
        always += usize::from(route.proof == Proof::Always);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(always >= 16, "only {always} routes take a proof: the walk is broken");
    let document = server.admin().get("/api/v1/schema/").expect(200);
    let about = |path: &str, method: &str| document["paths"][path][method]["description"].to_string();
    assert!(about("/api/v1/keys", "post").contains("no older than ten minutes"));
    assert!(
        about("/api/v1/users", "post").contains("making a user an Admin")
            || about("/api/v1/users", "post").contains("Making a user an Admin")
    );
    assert!(!about("/api/v1/keys", "get").contains("ten minutes"));
}

fn a_stolen_refresh_token_mints_nothing(server: &Server) {
    let pair = tokens(server, ADMIN, PASSWORD);
    age_proofs(server);
    let body = json!({"refresh": pair["refresh"]}).to_string();
    let next = server.anonymous().post_json("/api/v1/auth/refresh", &body).expect(200);
    let stolen = bearer(server, next["access"].as_str().unwrap());
    stolen.get("/api/v1/users").expect(200);
    assert!(is_refused(&stolen.post_json("/api/v1/keys", r#"{"name":"mine"}"#)), "refreshing is no proof");
    let boss = json!({"username": "boss", "password": PASSWORD, "role": "ADMIN"}).to_string();
    assert!(is_refused(&stolen.post_json("/api/v1/users", &boss)));
    assert!(is_refused(&stolen.post_json("/api/v1/auth/logout-all", "")), "nor does it put its owner out");
    // One who logs in and acts goes on working, and so do sensors.
    server.admin().post_json("/api/v1/keys", r#"{"name":"fw"}"#).expect(201);
    server.sensor().event("LOW", "x");
}

fn wrong_proofs_are_attempts_to_log_in(server: &Server) {
    let jane = server.user("jane", "ADMIN");
    age_proofs(server);
    for body in [json!({}), json!({"password": ""}), json!({"current_password": PASSWORD})] {
        assert!(step_up(&jane, &body).expect(400)["password"].is_array(), "{body}");
    }
    let mut statuses = Vec::new();
    for n in 0..40 {
        let answer = step_up(&jane, &json!({"password": format!("guess number {n}")}));
        statuses.push(answer.status);
        if answer.status == 429 {
            assert!(!answer.header("retry-after").is_empty());
            break;
        }
        assert!(answer.expect(400)["password"].is_array());
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert!((8..30).contains(&statuses.len()), "{statuses:?}");
    let held = step_up(&jane, &json!({"password": PASSWORD}));
    assert_eq!(held.status, 429, "the right one isn't looked at either");
    assert!(is_refused(&jane.post_json("/api/v1/keys", r#"{"name":"mine"}"#)));
    let failed = audited(server, "login.failed");
    assert_eq!(failed.len(), statuses.len() - 1);
    assert!(
        failed.iter().all(|row| row["actor"] == "jane" && row["detail"] == "wrong password in a session")
    );
    // It is the same count as for logging in.
    let body = json!({"username": "jane", "password": PASSWORD}).to_string();
    assert_eq!(server.anonymous().post_json("/api/v1/auth/login", &body).status, 429);
    assert_eq!(step_up(&server.anonymous(), &json!({"password": PASSWORD})).status, 401);
    assert_eq!(step_up(&server.sensor(), &json!({"password": PASSWORD})).status, 403);
}

/// Sets a second factor up in a session.
pub(super) fn set_up(client: &Client<'_>) -> (App, Vec<String>) {
    let body = json!({"current_password": PASSWORD}).to_string();
    let offered = client.post_json("/api/v1/auth/factor/setup", &body).expect(200);
    let mut app = App::new(offered["secret"].as_str().unwrap());
    let first = json!({"otp": app.code(), "setup": offered["setup"]}).to_string();
    let begun = client.post_json("/api/v1/auth/factor", &first).expect(200);
    let codes = begun["recovery_codes"].as_array().unwrap().iter();
    (app, codes.map(|code| code.as_str().unwrap().to_owned()).collect())
}

fn the_second_factor_is_shown_as_well(server: &Server) {
    let jane = server.user("jane", "ADMIN");
    let (_, codes) = set_up(&jane);
    age_proofs(server);
    assert!(step_up(&jane, &json!({"password": PASSWORD})).expect(400)["otp"].is_array());
    assert!(step_up(&jane, &json!({"password": PASSWORD, "otp": "000000"})).expect(400)["otp"].is_array());
    assert!(is_refused(&jane.post_json("/api/v1/keys", r#"{"name":"fw"}"#)));
    step_up(&jane, &json!({"password": PASSWORD, "otp": codes[0]})).expect(200);
    jane.post_json("/api/v1/keys", r#"{"name":"fw"}"#).expect(201);
    age_proofs(server);
    let again = step_up(&jane, &json!({"password": PASSWORD, "otp": codes[0]}));
    assert_eq!(again.status, 400, "a code is good once");
    assert_eq!(audited(server, "session.prove")[0]["detail"], "password and second factor");
}

fn an_admins_own_access_is_not_changed_by_the_way_for_others(server: &Server) {
    let admin = server.admin();
    let me = admin.get("/api/v1/auth/me").expect(200)["id"].clone();
    let paths = [format!("/api/v1/users/{me}"), format!("/api/users/{me}/")];
    // The last Admin can't be removed or demoted whoever tries.
    for path in &paths {
        assert_eq!(admin.patch_json(path, r#"{"role":"ANALYST"}"#).expect(409)["code"], "last_admin");
        assert_eq!(admin.send("DELETE", path, "", b"").expect(409)["code"], "last_admin");
    }
    let jane = server.user("jane", "ADMIN");
    let says = |answer: Answer| {
        assert_eq!(answer.status, 403, "{}", answer.text);
        assert!(
            answer.text.contains("/api/v1/auth/password/"),
            "it names the way for oneself: {}",
            answer.text
        );
    };
    for path in &paths {
        says(admin.patch_json(path, r#"{"password":"wolkenbruch im mai"}"#));
        says(admin.patch_json(path, r#"{"role":"ANALYST"}"#));
        says(admin.patch_json(path, r#"{"is_active":false}"#));
        let all = json!({"username": ADMIN, "role": "RESPONDER"}).to_string();
        says(admin.send("PUT", path, "application/json", all.as_bytes()));
        says(admin.send("DELETE", path, "", b""));
    }
    says(admin.post_json(&format!("/api/v1/users/{me}/reset-password"), ""));
    says(admin.send("DELETE", &format!("/api/v1/users/{me}/factor"), "", b""));
    // What isn't about access can be changed, with all fields as they are, too.
    let same =
        json!({"username": ADMIN, "role": "ADMIN", "is_active": true, "email": "a@example.com"}).to_string();
    let put = admin.send("PUT", &paths[1], "application/json", same.as_bytes()).expect(200);
    assert_eq!((&put["email"], &put["role"]), (&json!("a@example.com"), &json!("ADMIN")));
    let refused = audited(server, "refused");
    assert!(refused.iter().any(|row| row["object"] == format!("user:{me}")), "{refused:?}");
    server.log_in(ADMIN, PASSWORD);
    // Another Admin can.
    jane.patch_json(&paths[0], r#"{"role":"ANALYST"}"#).expect(200);
    assert_eq!(admin.get("/api/v1/users").status, 403);
}
