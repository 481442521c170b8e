//! What is told to callers who show nothing.

use crate::console::sign_in;
use crate::server::{ADMIN, Engine, Server, watchpost};

const TOKEN: &str = "a-token-for-the-scraper";

#[test]
fn metrics_take_a_token_where_others_reach_the_server() {
    let local = Server::with(Engine::Sqlite, &[("WATCHPOST_PUBLIC_URL", "http://localhost:8000")]);
    assert_eq!(local.anonymous().get("/metrics").status, 200, "nothing but this machine reaches it");
    let doctor = |server: &Server, settings: &[(&str, &str)]| {
        let output = server.command().envs(settings.iter().copied()).arg("doctor").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!doctor(&local, &[]).contains("/metrics"));
    for others in [
        ("WATCHPOST_PUBLIC_URL", "https://watchpost.example.com"),
        ("TRUSTED_PROXIES", "10.0.0.2"),
        ("WATCHPOST_LISTEN", "0.0.0.0:0"),
    ] {
        let mut settings = vec![("ALLOWED_HOSTS", "*"), others];
        let mut server = Server::with(Engine::Sqlite, &settings);
        let refused = server.anonymous().get("/metrics").expect(403);
        assert!(
            refused["detail"].as_str().unwrap().contains("WATCHPOST_METRICS_TOKEN"),
            "{others:?}: {refused}"
        );
        assert!(doctor(&server, &settings).contains("/metrics refuses every request"), "{others:?}");
        server.kill();
        settings.push(("WATCHPOST_METRICS_TOKEN", TOKEN));
        server.set(&settings);
        server.restart();
        assert_eq!(server.anonymous().get("/metrics").status, 401, "{others:?}");
        let scraper = server.anonymous().with("authorization", &format!("Bearer {TOKEN}"));
        assert_eq!(scraper.get("/metrics").status, 200, "{others:?}");
        assert!(!doctor(&server, &settings).contains("/metrics refuses every request"), "{others:?}");
    }
}

#[test]
fn the_documentation_can_be_for_users_only() {
    let server = Server::with(Engine::Sqlite, &[("WATCHPOST_API_DOCS", "signed-in")]);
    let (anyone, admin, sensor) = (server.anonymous(), server.admin(), server.sensor());
    let console = sign_in(&server, ADMIN);
    let ended = server.anonymous().with("cookie", "watchpost=0123456789012345678901234567890123456789");
    for path in ["/api/schema", "/api/v1/schema/"] {
        for (who, client) in [("anyone", &anyone), ("a sensor", &sensor), ("an ended session", &ended)] {
            assert_eq!(client.get(path).expect(401)["code"], "not_authenticated", "{who} {path}");
        }
        for (who, client) in [("a user", &admin), ("a session", &console)] {
            assert_eq!(client.get(path).expect(200)["openapi"], "3.1.0", "{who} {path}");
        }
    }
    for (path, next) in
        [("/api/docs/", "%2Fapi%2Fdocs%2F"), ("/swagger", "%2Fswagger"), ("/redoc/", "%2Fredoc%2F")]
    {
        let sent = anyone.get(path);
        assert_eq!((sent.status, sent.header("location")), (303, format!("/login?next={next}").as_str()));
        assert_eq!(sensor.get(path).status, 303, "{path}");
        assert_eq!([admin.get(path).status, console.get(path).status], [200, 200], "{path}");
    }
    let wrong = server.command().env("WATCHPOST_API_DOCS", "perhaps").arg("doctor").output().unwrap();
    assert_eq!(wrong.status.code(), Some(3));
}

#[test]
fn a_server_that_others_reach_without_tls_says_so() {
    let folder = tempfile::TempDir::new().unwrap();
    let doctor = |settings: &[(&str, &str)]| {
        let settings = settings.iter().copied().chain([("ALLOWED_HOSTS", "*")]);
        let output = watchpost(&folder).args(["doctor", "--quick"]).envs(settings).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains("without TLS")
    };
    let outside = ("WATCHPOST_LISTEN", "0.0.0.0:8000");
    assert!(doctor(&[outside]));
    assert!(doctor(&[outside, ("WATCHPOST_PUBLIC_URL", "http://watchpost.example.com")]));
    assert!(
        !doctor(&[outside, ("WATCHPOST_PUBLIC_URL", "https://watchpost.example.com")]),
        "a proxy speaks TLS"
    );
    assert!(!doctor(&[]), "nobody but this machine reaches it");
}
