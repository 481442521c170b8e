//! A role that requires a second factor requires it of every session that is used, whenever and however it began.

use super::factor::value;
use super::single_sign_on::{Liar, begin, come_back, entered, server_with_more, signed};
use super::totp::App;
use super::{audited, bearer, tokens, within_five_seconds};
use crate::on_both_engines;
use crate::server::{Client, Engine, PASSWORD, Server};
use serde_json::{Value, json};
use std::sync::Arc;

on_both_engines!(
    a_promotion_counts_for_open_sessions_at_once,
    what_an_admin_takes_away_counts_at_once,
    a_requirement_that_comes_later_counts_for_sessions_from_before,
);

/// A server on which Responders have to have a second factor.
fn strict(before: &Server) -> Server {
    Server::with(before.engine(), &[("WATCHPOST_SECOND_FACTOR", "Responder")])
}

fn set_role(server: &Server, id: &Value, role: &str) {
    let body = json!({ "role": role }).to_string();
    server.admin().patch_json(&format!("/api/v1/users/{id}"), &body).expect(200);
}

fn id_of(client: &Client<'_>) -> Value {
    client.get("/api/v1/auth/me").expect(200)["id"].clone()
}

/// Sets a second factor up in a session.
fn set_up(client: &Client<'_>) -> App {
    let body = json!({"current_password": PASSWORD}).to_string();
    let offered = client.post_json("/api/v1/auth/factor/setup", &body).expect(200);
    let mut app = App::new(offered["secret"].as_str().unwrap());
    let first = json!({"otp": app.code(), "setup": offered["setup"]}).to_string();
    client.post_json("/api/v1/auth/factor", &first).expect(200);
    app
}

fn refresh(server: &Server, pair: &Value) -> crate::server::Answer {
    let body = json!({"refresh": pair["refresh"]}).to_string();
    server.anonymous().post_json("/api/v1/auth/refresh", &body)
}

fn a_promotion_counts_for_open_sessions_at_once(before: &Server) {
    let server = &strict(before);
    let jane = server.user("jane", "ANALYST");
    let id = id_of(&jane);
    let pair = tokens(server, "jane", PASSWORD);
    let access = bearer(server, pair["access"].as_str().unwrap());
    let console = server.console("jane");
    assert_eq!((access.get("/api/v1/alerts").status, console.get("/alerts").status), (200, 200));
    set_role(server, &id, "RESPONDER");
    assert_eq!(access.get("/api/v1/alerts").status, 401);
    set_role(server, &id, "ANALYST");
    assert_eq!((access.get("/api/v1/alerts").status, console.get("/alerts").status), (200, 200));
    set_role(server, &id, "RESPONDER");
    for path in ["/api/v1/alerts", "/api/v1/events", "/api/v1/auth/me", "/api/v1/stream", "/api/alerts/"] {
        let answer = access.get(path);
        assert_eq!(answer.expect(401)["code"], "second_factor_setup", "{path}");
        assert!(answer.header("www-authenticate").contains("insufficient_user_authentication"), "{path}");
    }
    assert_eq!(refresh(server, &pair).expect(401)["code"], "second_factor_setup", "a refresh token");
    let shown = json!({"token": pair["access"]}).to_string();
    assert_eq!(server.anonymous().post_json("/api/v1/auth/verify", &shown).status, 401);
    let away = console.get("/alerts?status=OPEN");
    assert_eq!(away.status, 303);
    let to = away.header("location");
    assert!(to.starts_with("/login?second-factor&next=%2Falerts"), "{to}");
    let page = console.get(to);
    assert!(page.status == 200 && page.text.contains("required for your role"), "{}", page.text);
    assert_eq!(console.get("/stream").status, 303, "the console's stream");
    // Whoever shows it goes on; who was demoted again goes on as before.
    let log_in = |more: Value| {
        let mut body = json!({"username": "jane", "password": PASSWORD});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.anonymous().post_json("/api/v1/auth/login", &body.to_string())
    };
    let offered = log_in(json!({})).expect(403);
    let mut app = App::new(offered["secret"].as_str().unwrap());
    let strong = log_in(json!({"otp": app.code(), "setup": offered["setup"]})).expect(200);
    assert_eq!(bearer(server, strong["access"].as_str().unwrap()).get("/api/v1/events").status, 200);
    refresh(server, &strong).expect(200);
    assert_eq!(
        access.get("/api/v1/alerts").expect(401)["code"],
        "token_not_valid",
        "it ends what was begun without"
    );
    assert_eq!((console.get("/alerts").status, refresh(server, &pair).status), (303, 401));
    // Ending a session takes nothing but its token.
    let body = json!({"refresh": tokens_of(server, &mut app)["refresh"]}).to_string();
    assert_eq!(server.anonymous().post_json("/api/v1/auth/logout", &body).status, 204);
}

fn tokens_of(server: &Server, app: &mut App) -> Value {
    let body = json!({"username": "jane", "password": PASSWORD, "otp": app.code()}).to_string();
    server.anonymous().post_json("/api/v1/auth/login", &body).expect(200)
}

fn what_an_admin_takes_away_counts_at_once(before: &Server) {
    let server = &strict(before);
    let ana = server.user("ana", "ANALYST");
    let (id, weak) = (id_of(&ana), server.log_in("ana", PASSWORD));
    set_up(&ana);
    set_role(server, &id, "RESPONDER");
    assert_eq!(ana.get("/api/v1/events").status, 200, "it was set up in this session");
    assert_eq!(weak.get("/api/v1/events").expect(401)["code"], "token_not_valid", "which ended this one");
    let path = format!("/api/v1/users/{id}/factor");
    assert_eq!(server.admin().send("DELETE", &path, "", b"").status, 204);
    for client in [&ana, &weak] {
        assert_eq!(client.get("/api/v1/events").expect(401)["code"], "token_not_valid");
    }
    assert_eq!(audited(server, "factor.end").len(), 1);
}

fn a_requirement_that_comes_later_counts_for_sessions_from_before(before: &Server) {
    let mut server = Server::with(before.engine(), &[]);
    server.user("rob", "RESPONDER");
    let pair = tokens(&server, "rob", PASSWORD);
    server.kill();
    server.set(&[("WATCHPOST_SECOND_FACTOR", "Responder")]);
    server.restart();
    let rob = bearer(&server, pair["access"].as_str().unwrap());
    assert_eq!(rob.get("/api/v1/events").expect(401)["code"], "second_factor_setup");
    assert_eq!(refresh(&server, &pair).status, 401);
    server.admin().get("/api/v1/events").expect(200);
}

#[test]
fn a_promotion_counts_on_every_node_within_five_seconds() {
    let server = Server::with(Engine::Postgres, &[("WATCHPOST_SECOND_FACTOR", "Responder")]);
    let node = server.another_node();
    let jane = server.user("jane", "ANALYST");
    let id = id_of(&jane);
    let pair = tokens(&node, "jane", PASSWORD);
    let there = bearer(&node, pair["access"].as_str().unwrap());
    let console = node.console("jane");
    assert_eq!((there.get("/api/v1/alerts").status, console.get("/alerts").status), (200, 200));
    set_role(&server, &id, "RESPONDER");
    within_five_seconds("a token", || there.get("/api/v1/alerts").status == 401);
    within_five_seconds("a session", || console.get("/alerts").status == 303);
    assert_eq!(refresh(&node, &pair).status, 401);
}

/// What comes of a log-in at a provider that adds this to what it says.
fn log_in(liar: &Arc<Liar>, server: &Server, more: Value) -> crate::server::Answer {
    let teller = liar.clone();
    liar.log_in(server, move |nonce, key| {
        let mut claims = teller.good(nonce);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        signed(key, &json!({"alg": "ES256", "kid": "one", "typ": "JWT"}), &claims)
    })
}

#[test]
fn single_sign_on_counts_as_a_second_factor_only_if_the_provider_says_so() {
    let liar = Arc::new(Liar::start());
    let strict = [("WATCHPOST_SECOND_FACTOR", "Responder")];
    let server = server_with_more(Engine::Sqlite, &liar.issuer, &strict);
    for (what, said) in [
        ("nothing", json!({})),
        ("a password", json!({"amr": ["pwd"]})),
        ("something else", json!({"amr": ["pwd", "MFA", "otp"], "acr": "mfa"})),
        ("no list", json!({"amr": {"mfa": true}})),
    ] {
        let answer = log_in(&liar, &server, said);
        assert!(answer.status == 403 && !entered(&answer), "{what}: {}", answer.status);
        assert!(answer.text.contains("name=\"otp\"") && answer.text.contains("<svg"), "{what}");
    }
    for said in [json!({"amr": ["pwd", "mfa"]}), json!({"amr": "mfa"})] {
        let answer = log_in(&liar, &server, said);
        assert!(answer.status == 303 && entered(&answer), "{}", answer.text);
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        assert_eq!(server.anonymous().with("cookie", &cookie).get("/events").status, 200);
    }
    // Without the provider's word: one of Watchpost's own, once to set up and then each time.
    let asked = log_in(&liar, &server, json!({}));
    let halfway = value(&asked, "halfway").to_owned();
    let (_, rest) = asked.text.split_once("<code tabindex=\"0\" data-copy>").unwrap();
    let mut app = App::new(rest.split('<').next().unwrap());
    let send = |halfway: &str, otp: &str| {
        let form = format!("halfway={halfway}&next=%2Falerts%2F7&otp={otp}");
        server.anonymous().post_form("/login", &form)
    };
    assert!(!entered(&send(&halfway, "000000")));
    let begun = send(&halfway, &app.code());
    assert!(entered(&begun) && begun.text.contains("Recovery codes"), "{}", begun.text);
    let asked = log_in(&liar, &server, json!({}));
    assert!(asked.status == 401 && !entered(&asked) && !asked.text.contains("<svg"), "{}", asked.text);
    let again = send(value(&asked, "halfway"), &app.code());
    assert_eq!((again.status, again.header("location"), entered(&again)), (303, "/alerts/7", true));
    let rows = json!(audited(&server, "login")).to_string();
    for how in ["single sign-on and a new second factor", "single sign-on and second factor"] {
        assert!(rows.contains(how), "{how}: {rows}");
    }
}

#[test]
fn what_the_provider_calls_a_second_factor_is_a_setting() {
    let liar = Arc::new(Liar::start());
    let settings = [
        ("WATCHPOST_SECOND_FACTOR", "Responder"),
        ("WATCHPOST_OIDC_SECOND_FACTOR_ACR", "urn:gold, urn:silver"),
        ("WATCHPOST_OIDC_SECOND_FACTOR_AMR", "hwk"),
    ];
    let server = server_with_more(Engine::Sqlite, &liar.issuer, &settings);
    let (cookie, query) = begin(&server);
    assert_eq!(query("acr_values"), "urn%3Agold+urn%3Asilver", "it is asked for what counts");
    assert!(!entered(&come_back(&server, &cookie, "code=c")));
    for (said, counts) in [
        (json!({"acr": "urn:gold"}), true),
        (json!({"acr": "urn:silver", "amr": ["pwd"]}), true),
        (json!({"amr": ["hwk"]}), true),
        (json!({"amr": ["mfa"]}), false),
        (json!({"acr": "urn:bronze"}), false),
        (json!({"acr": 1}), false),
    ] {
        let answer = log_in(&liar, &server, said.clone());
        assert_eq!(entered(&answer), counts, "{said}: {}", answer.status);
    }
}
