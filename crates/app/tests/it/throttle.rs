//! Callers that are too fast are told to wait, each class by its own measure.

use crate::console::sign_in;
use crate::server::{Engine, Server};

#[test]
fn each_class_has_its_own_bucket() {
    let rates = [
        ("WATCHPOST_THROTTLE", "on"),
        ("WATCHPOST_RATE_ANONYMOUS", "5/h"),
        ("WATCHPOST_RATE_LOGIN", "3/h"),
        ("WATCHPOST_RATE_USER", "4/h"),
        ("WATCHPOST_RATE_KEY", "1000/s"),
    ];
    let server = Server::with(Engine::Sqlite, &rates);
    let admin = server.admin();
    let made = admin.post_json("/api/v1/keys", r#"{"name":"fast"}"#).expect(201);
    let sensor = server.anonymous().with("x-api-key", made["secret"].as_str().unwrap());
    for n in 0..3 {
        assert_eq!(admin.get("/api/v1/alerts").status, 200, "request {n}");
    }
    let refused = admin.get("/api/v1/alerts");
    assert_eq!(refused.expect(429)["code"], "throttled");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
    for _ in 0..50 {
        sensor.event("LOW", "a sensor has its own measure");
    }
    let anonymous = server.anonymous();
    // The log-in above took one of the five.
    let statuses: Vec<u16> = (0..5).map(|_| anonymous.get("/api/v1/alerts").status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 429]);
    for path in ["/healthz", "/readyz", "/metrics", "/static/app.css", "/api/docs/"] {
        assert_eq!(anonymous.get(path).status, 200, "{path} answers whatever else an address asked for");
    }
}

#[test]
fn guessing_passwords_is_slow() {
    let server =
        Server::with(Engine::Sqlite, &[("WATCHPOST_THROTTLE", "on"), ("WATCHPOST_RATE_LOGIN", "3/h")]);
    let body = r#"{"username":"admin","password":"wrong"}"#;
    let statuses: Vec<u16> =
        (0..4).map(|_| server.anonymous().post_json("/api/auth/token/", body).status).collect();
    assert_eq!(statuses, [401, 401, 401, 429]);
    let spoofed = server.anonymous().with("x-forwarded-for", "203.0.113.9");
    assert_eq!(
        spoofed.post_json("/api/auth/login/", body).status,
        429,
        "an address that the client made up counts for nothing"
    );
}

#[test]
fn accounts_made_by_sign_up_have_a_rate_of_their_own() {
    let rates = [
        ("WATCHPOST_SIGNUP", "on"),
        ("WATCHPOST_THROTTLE", "on"),
        ("WATCHPOST_RATE_USER", "1000/s"),
        ("WATCHPOST_RATE_SIGNUP", "3/h"),
    ];
    let server = Server::with(Engine::Sqlite, &rates);
    for name in ["sue", "sam"] {
        let client = server.signed_up(name);
        let statuses: Vec<u16> = (0..4).map(|_| client.get("/api/v1/alerts").status).collect();
        assert_eq!(statuses, [200, 200, 200, 429], "{name}");
        assert_eq!(sign_in(&server, name).get("/").status, 429, "{name}: the console counts as well");
    }
    let ana = server.user("ana", "ANALYST");
    for _ in 0..10 {
        assert_eq!(ana.get("/api/v1/alerts").status, 200, "others have theirs");
    }
}
