//! Names that stand for somebody or something else.

use super::single_sign_on::{Liar, entered, server_with_more, signed};
use crate::console::{form_token, sign_in};
use crate::on_both_engines;
use crate::server::{ADMIN, Client, Engine, PASSWORD, Server, watchpost};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

on_both_engines!(names_that_mislead_are_refused_on_every_way, a_name_that_was_given_up_is_nobody_elses);

/// A letter of another script, letters that all look Latin, nothing to see, the other direction, and what filters say.
const MISLEADING: [&str; 8] = [
    "\u{430}dmin",
    "\u{43e}\u{441}\u{430}",
    "ad\u{200b}min",
    "\u{202e}nimda",
    "none",
    "ME",
    "system",
    "unassigned",
];

fn names(admin: &Client<'_>) -> Vec<String> {
    let users = admin.get("/api/v1/users?page_size=100").expect(200);
    users["results"].as_array().unwrap().iter().map(|u| u["username"].as_str().unwrap().into()).collect()
}

fn names_that_mislead_are_refused_on_every_way(before: &Server) {
    let server = &Server::with(before.engine(), &[("WATCHPOST_SIGNUP", "on")]);
    let admin = server.admin();
    server.user("jane", "ANALYST");
    let console = sign_in(server, ADMIN);
    let token = form_token(&console.get("/admin/"));
    for name in MISLEADING {
        let new = json!({"username": name, "password": PASSWORD, "role": "ANALYST"}).to_string();
        let put = |path: &str| admin.send("PUT", path, "application/json", new.as_bytes());
        for (what, answer) in [
            ("create", admin.post_json("/api/v1/users", &new)),
            ("service D", admin.post_json("/api/users", &new)),
            ("service E", admin.post_json("/api/dashboard/create-analyst", &new)),
            ("rename", admin.patch_json("/api/v1/users/2", &new)),
            ("replace", put("/api/users/2")),
        ] {
            assert!(answer.expect(400)["username"][0].is_string(), "{what} {name:?}: {}", answer.text);
        }
        let signing_up = server.anonymous().post_json("/v1/auth/signup", &new).expect(400);
        assert!(signing_up["message"].as_str().unwrap().starts_with("username: "), "{name:?}: {signing_up}");
        let form = format!("form_token={token}&username={name}&email=&password=&role=ANALYST");
        let page = console.post_form("/admin/users", &form);
        assert!(page.status == 400 && page.text.contains("id=\"wrong-new-username\""), "{name:?}");
        let shell = server.command().args(["user", "create", "--username", name]).output().unwrap();
        assert_eq!(shell.status.code(), Some(2), "{name:?}");
    }
    assert_eq!(names(&admin), ["admin", "jane"]);
    // One way to write it: found to be taken, and found again.
    let wide =
        json!({"username": "\u{ff4a}\u{ff41}\u{ff4e}\u{ff45}", "password": PASSWORD, "role": "ANALYST"});
    let taken = admin.post_json("/api/v1/users", &wide.to_string()).expect(400);
    assert!(taken["username"][0].as_str().unwrap().contains("already exists"), "{taken}");
    let apart = json!({"username": "ju\u{308}rgen", "password": PASSWORD, "role": "ANALYST"}).to_string();
    assert_eq!(admin.post_json("/api/users", &apart).expect(201)["username"], "j\u{fc}rgen");
    server.log_in("J\u{dc}RGEN", PASSWORD);
    server.log_in("ju\u{308}rgen", PASSWORD);
}

fn a_name_that_was_given_up_is_nobody_elses(server: &Server) {
    let admin = server.admin();
    let jane = server.user("jane", "ANALYST").get("/api/v1/auth/me").expect(200);
    let path = format!("/api/v1/users/{}", jane["id"]);
    let rename = |to: &str| admin.patch_json(&path, &json!({"username": to}).to_string());
    rename("jill").expect(200);
    let new = json!({"username": "Jane", "password": PASSWORD, "role": "ADMIN"}).to_string();
    let refused = admin.post_json("/api/v1/users", &new).expect(400);
    assert!(refused["username"][0].as_str().unwrap().contains("Another user had this name"), "{refused}");
    let shell = server.command().args(["user", "create", "--username", "jane"]).output().unwrap();
    assert_eq!(shell.status.code(), Some(1), "{}", String::from_utf8_lossy(&shell.stderr));
    server.log_in("jill", PASSWORD);
    rename("jane").expect(200);
    // A deactivated user's name stays, too.
    assert_eq!(admin.send("DELETE", &path, "", b"").status, 204);
    assert_eq!(admin.post_json("/api/v1/users", &new).status, 400);
}

#[test]
fn a_name_of_the_provider_that_is_none_here_is_answered_clearly() {
    let liar = Arc::new(Liar::start());
    let server = server_with_more(Engine::Sqlite, &liar.issuer, &[]);
    let es256 = json!({"alg": "ES256", "kid": "one", "typ": "JWT"});
    let come = |preferred: &str, email: &str, subject: &str| {
        let (teller, header) = (liar.clone(), es256.clone());
        let said = json!({"preferred_username": preferred, "email": email, "sub": subject});
        liar.log_in(&server, move |nonce, key| {
            let mut claims: Value = teller.good(nonce);
            claims.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
            signed(key, &header, &claims)
        })
    };
    let refused = come("\u{430}dmin", "", "none");
    assert!(!entered(&refused) && refused.status >= 400, "{}", refused.status);
    assert!(refused.text.contains("which can&#x27;t be a user name here"), "{}", refused.text);
    assert_eq!(names(&server.admin()), ["admin"]);
    let log = super::audited(&server, "login.failed");
    assert!(log[0]["detail"].as_str().unwrap().contains("can't be a user name"), "{}", log[0]);
    // Another name that the provider knows them by will do.
    assert!(entered(&come("me", "mallory@example.com", "u-2")));
    assert_eq!(names(&server.admin()), ["admin", "mallory@example.com"]);
}

#[test]
fn the_first_admin_is_called_no_such_thing_either() {
    for name in ["none", "\u{430}dmin"] {
        let output = watchpost(&TempDir::new().unwrap())
            .args(["--listen", "127.0.0.1:0"])
            .env("WATCHPOST_ADMIN_USERNAME", name)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains("WATCHPOST_ADMIN_USERNAME"), "{said}");
    }
}
