//! Sessions: swapped once, seen, ended, and dead everywhere within seconds.

use super::{audited, bearer, tokens, within_five_seconds};
use crate::on_both_engines;
use crate::server::{ADMIN, Client, Engine, PASSWORD, Server};
use serde_json::{Value, json};

on_both_engines!(
    a_stolen_refresh_token_ends_its_session,
    sessions_are_seen_and_ended_by_their_user_alone,
    a_new_password_ends_everything_else,
    logging_out_everywhere_is_everywhere,
    the_secret_changes_without_ending_sessions,
    a_cookie_is_new_at_each_log_in_and_dies_with_its_session,
);

fn refresh(server: &Server, token: &Value) -> crate::server::Answer {
    server.anonymous().post_json("/api/v1/auth/refresh", &json!({ "refresh": token }).to_string())
}

fn a_stolen_refresh_token_ends_its_session(server: &Server) {
    // Whoever is second, the thief or the owner: the session ends, and nothing of it goes on.
    for thief_first in [true, false] {
        let pair = tokens(server, ADMIN, PASSWORD);
        let stolen = pair["refresh"].clone();
        let first = refresh(server, &stolen).expect(200);
        let again = match thief_first {
            true => first.clone(),
            // The winner goes on for a while before the other one comes.
            false => refresh(server, &first["refresh"]).expect(200),
        };
        assert_eq!(bearer(server, again["access"].as_str().unwrap()).get("/api/v1/auth/me").status, 200);
        assert_eq!(refresh(server, &stolen).status, 401);
        assert_eq!(refresh(server, &again["refresh"]).status, 401, "the family is dead");
        for access in [&pair["access"], &first["access"], &again["access"]] {
            assert_eq!(bearer(server, access.as_str().unwrap()).get("/api/v1/auth/me").status, 401);
        }
    }
    let rows = audited(server, "session.reuse");
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["actor"], &rows[0]["address"]), (&json!(ADMIN), &json!("127.0.0.1")));
    // An ended session's token comes again: nothing more happens, and another session lives on.
    let other = tokens(server, ADMIN, PASSWORD);
    assert_eq!(bearer(server, other["access"].as_str().unwrap()).get("/api/v1/auth/me").status, 200);
}

fn sessions_of(client: &Client<'_>) -> Vec<Value> {
    client.get("/api/v1/auth/sessions").expect(200).as_array().unwrap().clone()
}

fn sessions_are_seen_and_ended_by_their_user_alone(server: &Server) {
    let admin = server.admin();
    let jane = server.user("jane", "ANALYST");
    let phone = server.anonymous().with("user-agent", "phone\u{1b}[31m".replace('\u{1b}', "").as_str());
    let body = json!({"username": "jane", "password": PASSWORD}).to_string();
    let second = phone.post_json("/api/v1/auth/login", &body).expect(200);
    let second = bearer(server, second["access"].as_str().unwrap());
    let seen = sessions_of(&jane);
    assert_eq!(seen.len(), 2);
    let (own, others): (Vec<&Value>, Vec<&Value>) =
        seen.iter().partition(|session| session["current"] == true);
    assert_eq!((own.len(), others.len()), (1, 1));
    assert_eq!((&others[0]["agent"], &others[0]["address"]), (&json!("phone[31m"), &json!("127.0.0.1")));
    assert!(!seen.iter().any(|session| session.to_string().contains("hash")));
    let id = others[0]["id"].as_str().unwrap();
    let path = format!("/api/v1/auth/sessions/{id}");
    // Somebody else's session is no session, even for an Admin who may end it by another path.
    let made_up = "/api/v1/auth/sessions/aaaaaaaaaaaaaaaa";
    let (other, none) = (admin.send("DELETE", &path, "", b""), admin.send("DELETE", made_up, "", b""));
    assert_eq!((other.status, &other.text), (404, &none.text), "no way to tell whether it is there");
    assert_eq!(second.get("/api/v1/auth/me").status, 200);
    assert_eq!(jane.send("DELETE", &path, "", b"").status, 204);
    assert_eq!(second.get("/api/v1/auth/me").status, 401, "at once");
    assert_eq!(jane.send("DELETE", &path, "", b"").status, 404);
    assert_eq!(jane.get("/api/v1/auth/me").status, 200, "the other one goes on");
    assert_eq!(audited(server, "session.end").len(), 1);

    let jane_id = jane.get("/api/v1/auth/me").expect(200)["id"].clone();
    let path = format!("/api/v1/users/{jane_id}/sessions");
    assert_eq!(admin.get(&path).expect(200).as_array().unwrap().len(), 1);
    assert_eq!(jane.get(&path).status, 403);
    assert_eq!(jane.send("DELETE", &path, "", b"").status, 403);
    assert_eq!(admin.send("DELETE", &path, "", b"").status, 204);
    assert_eq!(jane.get("/api/v1/auth/me").status, 401);
}

fn a_new_password_ends_everything_else(server: &Server) {
    let jane = server.user("jane", "RESPONDER");
    let other = tokens(server, "jane", PASSWORD);
    let change = |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new}).to_string();
        jane.post_json("/api/v1/auth/password", &body)
    };
    assert_eq!(
        change("wrong", "wolkenbruch im mai").expect(400)["current_password"][0],
        "The password is wrong."
    );
    for (new, said) in [
        ("kurz", "at least 12"),
        ("password1234", "common"),
        ("jane jane jane", "username"),
        (PASSWORD, "the password you had"),
        ("aaaaaaaaaaaaaaaa", "common"),
        (&"x".repeat(129), "no more than 128"),
    ] {
        let answer = change(PASSWORD, new).expect(400);
        let message = answer["new_password"][0].as_str().unwrap_or_default().to_lowercase();
        assert!(message.contains(said), "{new}: {answer}");
    }
    let fresh = change(PASSWORD, "wolkenbruch im mai").expect(200);
    assert_eq!(jane.get("/api/v1/auth/me").status, 401, "the session that asked ended as well");
    assert_eq!(bearer(server, other["access"].as_str().unwrap()).get("/api/v1/auth/me").status, 401);
    assert_eq!(refresh(server, &other["refresh"]).status, 401);
    assert_eq!(bearer(server, fresh["access"].as_str().unwrap()).get("/api/v1/auth/me").status, 200);
    tokens(server, "jane", "wolkenbruch im mai");
}

fn logging_out_everywhere_is_everywhere(server: &Server) {
    let jane = server.user("jane", "ANALYST");
    let other = tokens(server, "jane", PASSWORD);
    let entered =
        server.anonymous().post_form("/login", &format!("username=jane&password={PASSWORD}&next=/"));
    let cookie = entered.header("set-cookie").split(';').next().unwrap().to_owned();
    let console = server.anonymous().with("cookie", &cookie);
    assert_eq!(console.get("/").status, 200);
    assert_eq!(jane.post_json("/api/v1/auth/logout-all", "").status, 204);
    assert_eq!(jane.get("/api/v1/auth/me").status, 401);
    assert_eq!(refresh(server, &other["refresh"]).status, 401);
    assert_eq!(console.get("/").status, 303);
}

#[test]
fn every_node_hears_of_a_change_within_five_seconds() {
    let server = Server::start(Engine::Postgres);
    let node = server.another_node();
    let (admin, jane) = (server.admin(), server.user("jane", "RESPONDER"));
    let there = |path: &str| {
        let token = jane.headers.last().unwrap().1.trim_start_matches("Bearer ").to_owned();
        bearer(&node, &token).get(path).status
    };
    assert_eq!(there("/api/v1/events"), 200);
    let id = jane.get("/api/v1/auth/me").expect(200)["id"].clone();
    let path = format!("/api/v1/users/{id}");
    admin.patch_json(&path, r#"{"role":"ANALYST"}"#).expect(200);
    within_five_seconds("a role", || there("/api/v1/events") == 403);
    assert_eq!(there("/api/v1/alerts"), 200);
    assert_eq!(jane.post_json("/api/v1/auth/logout-all", "").status, 204);
    within_five_seconds("a log-out", || there("/api/v1/alerts") == 401);

    let pair = tokens(&node, "jane", PASSWORD);
    let jane = bearer(&server, pair["access"].as_str().unwrap());
    assert_eq!(jane.get("/api/v1/alerts").status, 200);
    assert_eq!(admin.send("DELETE", &path, "", b"").status, 204);
    let on_node = bearer(&node, pair["access"].as_str().unwrap());
    within_five_seconds("a deactivation", || on_node.get("/api/v1/alerts").status == 401);
    assert_eq!(refresh(&node, &pair["refresh"]).status, 401, "refreshing asks the database");

    let made = admin.post_json("/api/v1/keys", r#"{"name":"fw"}"#).expect(201);
    let key = node.anonymous().with("x-api-key", made["secret"].as_str().unwrap());
    within_five_seconds("a key", || key.post_json("/api/v1/events", "{}").status == 400);
    assert_eq!(admin.send("DELETE", &format!("/api/v1/keys/{}", made["id"]), "", b"").status, 204);
    within_five_seconds("a revocation", || key.post_json("/api/v1/events", "{}").status == 401);
}

fn the_secret_changes_without_ending_sessions(before: &Server) {
    let old = "the secret that was used until yesterday evening";
    let new = "the secret that is used from this morning onwards";
    let mut server = Server::with(before.engine(), &[("SECRET_KEY", old)]);
    let pair = tokens(&server, ADMIN, PASSWORD);
    server.kill();
    server.set(&[("SECRET_KEY", new), ("SECRET_KEY_PREVIOUS", old)]);
    server.restart();
    let access = pair["access"].as_str().unwrap();
    assert_eq!(bearer(&server, access).get("/api/v1/auth/me").status, 200, "the old one still verifies");
    let next = refresh(&server, &pair["refresh"]).expect(200);
    server.kill();
    server.set(&[("SECRET_KEY", new)]);
    server.restart();
    assert_eq!(bearer(&server, access).get("/api/v1/auth/me").status, 401, "the old one is gone");
    let next = next["access"].as_str().unwrap();
    assert_eq!(bearer(&server, next).get("/api/v1/auth/me").status, 200, "the new one signed since");
}

fn a_cookie_is_new_at_each_log_in_and_dies_with_its_session(server: &Server) {
    let enter = |cookie: &str| {
        let form = format!("username={ADMIN}&password={PASSWORD}&next=/");
        let answer = server.anonymous().with("cookie", cookie).post_form("/login", &form);
        assert_eq!(answer.status, 303);
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    };
    let status = |cookie: &str| server.anonymous().with("cookie", cookie).get("/").status;
    let planted = "watchpost=attackerattackerattackerattackerattacker";
    let first = enter(planted);
    assert_ne!(first, planted);
    assert_eq!((status(planted), status(&first)), (303, 200));
    let second = enter(&first);
    assert_ne!(first, second);
    assert_eq!((status(&first), status(&second)), (303, 200), "the one before is dead");
    let secure = Server::with(server.engine(), &[("WATCHPOST_PUBLIC_URL", "https://watchpost.example")]);
    let form = format!("username={ADMIN}&password={PASSWORD}&next=/");
    let answer = secure.anonymous().with("host", "watchpost.example").post_form("/login", &form);
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-watchpost="), "{cookie}");
    for flag in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(flag), "{flag}: {cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert!(answer.header("strict-transport-security").contains("max-age="));
}
