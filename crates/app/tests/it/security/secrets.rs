//! Secrets are nowhere but where they belong.

use super::totp::App;
use super::{bearer, tokens};
use crate::on_both_engines;
use crate::server::{ADMIN, PASSWORD, Server};
use serde_json::json;

on_both_engines!(no_secret_is_told_even_at_trace);

const KEY: &str = "canary-secret-key-canary-secret-key-canary";
const OLD_KEY: &str = "canary-older-key-canary-older-key-canary-x";
const METRICS: &str = "canary-metrics-token-canary";

fn no_secret_is_told_even_at_trace(before: &Server) {
    let settings = [
        ("SECRET_KEY", KEY),
        ("SECRET_KEY_PREVIOUS", OLD_KEY),
        ("WATCHPOST_METRICS_TOKEN", METRICS),
        ("WATCHPOST_LOG", "trace"),
        ("WATCHPOST_OIDC_ISSUER", "http://127.0.0.1:9"),
        ("WATCHPOST_OIDC_CLIENT_ID", "watchpost"),
        ("WATCHPOST_OIDC_CLIENT_SECRET", "canary-client-secret"),
        ("WATCHPOST_OIDC_ROLES", "*=Analyst"),
    ];
    let server = &Server::with(before.engine(), &settings);
    let mut secrets: Vec<String> =
        [KEY, OLD_KEY, METRICS, "canary-client-secret", PASSWORD].map(str::to_owned).into();
    let mut told = String::new();
    let mut keep = |secret: &str| secrets.push(secret.to_owned());

    let pair = tokens(server, ADMIN, PASSWORD);
    let admin = bearer(server, pair["access"].as_str().unwrap());
    keep(pair["access"].as_str().unwrap().split('.').nth(2).unwrap());
    keep(pair["refresh"].as_str().unwrap().split('.').nth(2).unwrap());
    let key = admin.post_json("/api/v1/keys", r#"{"name":"canary"}"#).expect(201);
    let secret = key["secret"].as_str().unwrap();
    keep(secret);
    let sensor = server.anonymous().with("x-api-key", secret);
    sensor.event("CRITICAL", "an event");
    let body = json!({"username": "jane", "password": "canary-password-jane", "role": "ANALYST"}).to_string();
    let jane = admin.post_json("/api/v1/users", &body).expect(201);
    keep("canary-password-jane");
    let reset = admin.post_json(&format!("/api/v1/users/{}/reset-password", jane["id"]), "").expect(200);
    keep(reset["password"].as_str().unwrap());
    let offered =
        admin.post_json("/api/v1/auth/factor/setup", &json!({"current_password": PASSWORD}).to_string());
    let offered = offered.expect(200);
    keep(offered["secret"].as_str().unwrap());
    let mut app = App::new(offered["secret"].as_str().unwrap());
    keep(offered["setup"].as_str().unwrap());
    let first = json!({"otp": app.code(), "setup": offered["setup"]}).to_string();
    let begun = admin.post_json("/api/v1/auth/factor", &first).expect(200);
    keep(begun["recovery_codes"][0].as_str().unwrap());
    let form = format!("username={ADMIN}&password={PASSWORD}&next=/");
    let step = server.anonymous().post_form("/login", &form);
    let halfway = step.text.split("name=\"halfway\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let entered = server.anonymous().post_form("/login", &format!("halfway={halfway}&otp={}", app.code()));
    let cookie =
        entered.header("set-cookie").split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
    keep(&cookie);
    let console = server.anonymous().with("cookie", &format!("watchpost={cookie}"));
    // Everything that answers, is broken, or says no.
    for path in [
        "/",
        "/account/",
        "/admin/",
        "/admin/users/1",
        "/admin/keys",
        "/admin/sessions",
        "/admin/audit",
        "/admin/audit/export",
        "/admin/settings",
        "/developer/",
        "/nope",
        "/login",
        "/login/single-sign-on",
        "/api/v1/schema",
    ] {
        told += &console.get(path).text;
    }
    for path in [
        "/api/v1/users",
        "/api/v1/keys",
        "/api/v1/audit",
        "/api/v1/audit/export",
        "/api/v1/audit/checkpoint",
        "/api/v1/health",
        "/api/v1/stats/overview",
        "/api/v1/auth/me",
        "/api/v1/auth/sessions",
        "/debug",
        "/api/v1/settings",
    ] {
        told += &admin.get(path).text;
        told += &server.anonymous().get(path).text;
    }
    told += &server.anonymous().with("authorization", &format!("Bearer {METRICS}")).get("/metrics").text;
    let wrong = json!({"username": ADMIN, "password": "canary-wrong-password", "refresh": "canary-wrong-refresh", "token": "canary-wrong-token"});
    for path in [
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/api/v1/auth/verify",
        "/api/v1/auth/logout",
        "/api/v1/auth/password",
    ] {
        told += &admin.post_json(path, &wrong.to_string()).text;
    }
    told += &sensor.post_json("/api/v1/events", "{\"source_name\": ").text;
    told += &server.anonymous().with("x-api-key", "wp_canary-wrong-key").get("/api/v1/alerts").text;
    for command in [&["settings"][..], &["doctor"], &["key", "list"], &["user", "list"], &["audit", "verify"]]
    {
        let output = server.command().envs(settings).args(command).output().unwrap();
        told += &String::from_utf8_lossy(&output.stdout);
        told += &String::from_utf8_lossy(&output.stderr);
    }
    told += &std::fs::read_to_string(format!("/proc/{}/cmdline", server.process())).unwrap();
    told += &server.log.lock().unwrap();
    secrets.extend(
        ["canary-wrong-password", "canary-wrong-refresh", "canary-wrong-token", "canary-wrong-key"]
            .map(str::to_owned),
    );
    // What is shown once was answered above, and isn't in what was collected since.
    for secret in &secrets {
        assert!(!told.contains(secret.as_str()), "{secret} was told: …{}", around(&told, secret));
    }
    let log = server.log.lock().unwrap();
    assert!(log.contains("\"level\":\"DEBUG\""), "the log tells a lot");
}

fn around<'a>(text: &'a str, secret: &str) -> &'a str {
    let at = text.find(secret).unwrap_or(0);
    let from = (at.saturating_sub(200)..=at).find(|from| text.is_char_boundary(*from)).unwrap_or(0);
    &text[from..at]
}
