//! Passwords and tokens.

use crate::on_both_engines;
use crate::server::{ADMIN, PASSWORD, Server};
use serde_json::json;
use std::process::Stdio;

on_both_engines!(
    odd_credentials_are_refused_alike,
    refresh_tokens_are_swapped_once,
    the_command_line_changes_a_running_server
);

fn odd_credentials_are_refused_alike(server: &Server) {
    let anyone = server.anonymous();
    for (n, path) in ["/api/auth/login/", "/api/v1/auth/login/", "/v1/auth/login/", "/api/auth/token/"]
        .into_iter()
        .enumerate()
    {
        // Attempts with one name add up.
        let name = format!("walker{n}");
        server.user(&name, "ANALYST");
        let (missing, broken) = (format!("nobody{n}"), format!("wal\0ker{n}"));
        let none = anyone.post_json(path, "{}").expect(400);
        assert_eq!(
            none,
            json!({"username": ["This field is required."], "password": ["This field is required."]})
        );
        let empty = json!({"username": ADMIN, "password": ""}).to_string();
        assert_eq!(anyone.post_json(path, &empty).expect(400)["password"][0], "This field may not be blank.");
        let null = json!({"username": ADMIN, "password": null}).to_string();
        assert_eq!(anyone.post_json(path, &null).expect(400)["password"][0], "This field may not be null.");
        let long = "x".repeat(10_240);
        for (username, password) in [
            (name.as_str(), "wrong"),
            (&name, " "),
            (&missing, PASSWORD),
            (&name, "a\u{0}b"),
            (&broken, PASSWORD),
            (&name, long.as_str()),
            (&name, &PASSWORD[..PASSWORD.len() - 1]),
        ] {
            let answer =
                anyone.post_json(path, &json!({"username": username, "password": password}).to_string());
            assert_eq!(answer.expect(401)["detail"], "No active account found with the given credentials");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    }
    let log = server.log.lock().unwrap();
    assert!(!log.contains(PASSWORD), "no password in the log");
}

fn refresh_tokens_are_swapped_once(server: &Server) {
    let login = json!({"username": ADMIN, "password": PASSWORD}).to_string();
    let first = server.anonymous().post_json("/api/auth/login/", &login).expect(200);
    let body = json!({"refresh": first["refresh"]}).to_string();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| server.anonymous().post_json("/api/auth/refresh/", &body).status))
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 49, "{statuses:?}");

    let second = server.anonymous().post_json("/api/auth/login/", &login).expect(200);
    let stolen = json!({"refresh": second["refresh"]}).to_string();
    let next = server.anonymous().post_json("/api/auth/refresh/", &stolen).expect(200);
    assert_eq!(server.anonymous().post_json("/api/auth/refresh/", &stolen).status, 401);
    let family = json!({"refresh": next["refresh"]}).to_string();
    assert_eq!(
        server.anonymous().post_json("/api/auth/refresh/", &family).status,
        401,
        "a second use ends the family"
    );

    let third = server.anonymous().post_json("/api/auth/login/", &login).expect(200);
    let token = json!({"refresh": third["refresh"]}).to_string();
    let verify = json!({"token": third["refresh"]}).to_string();
    server.anonymous().post_json("/api/v1/auth/verify", &verify).expect(200);
    assert_eq!(server.anonymous().post_json("/api/v1/auth/logout", &token).status, 204);
    assert_eq!(server.anonymous().post_json("/api/v1/auth/verify", &verify).status, 401);
    assert_eq!(server.anonymous().post_json("/api/auth/refresh/", &token).status, 401);
}

fn the_command_line_changes_a_running_server(server: &Server) {
    let jane = server.user("jane", "ANALYST");
    let reset =
        server.command().args(["user", "reset-password", "JANE"]).stdout(Stdio::piped()).output().unwrap();
    assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    let password = String::from_utf8(reset.stdout).unwrap();
    // The server looks for changes made elsewhere every second; nothing tells the client when it has.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while jane.get("/api/v1/alerts").status != 401 {
        assert!(std::time::Instant::now() < deadline, "an old token has to die within five seconds");
    }
    let log_in =
        |body: serde_json::Value| server.anonymous().post_json("/api/v1/auth/login", &body.to_string());
    let given = json!({"username": "jane", "password": password.trim()});
    assert_eq!(log_in(given).expect(403)["code"], "password_change_required");
    let own = json!({"username": "jane", "password": password.trim(), "new_password": "wolkenbruch im mai"});
    log_in(own).expect(200);
    server.log_in("jane", "wolkenbruch im mai");
    let made = server.command().args(["key", "create", "probe"]).output().unwrap();
    let secret = String::from_utf8(made.stdout).unwrap();
    server
        .anonymous()
        .with("authorization", &format!("Bearer {}", secret.trim()))
        .event("LOW", "with a key of the command line");
}
