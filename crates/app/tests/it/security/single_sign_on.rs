//! Single sign-on: with a real provider and a real browser, and with one that lies.

use super::audited;
use crate::browser::{Browser, tool};
use crate::server::{Answer, Engine, PASSWORD, Server};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "a secret of the tests: with / and +";
const ROLES: &str = "lead=Admin, soc=Responder, guest=Analyst";

/// `oidc-provider` in a process of its own.
struct Provider {
    process: Child,
    issuer: String,
}

impl Provider {
    fn start(claims: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/security/provider.mjs");
        let mut process = Command::new(tool("WATCHPOST_TEST_NODE"))
            .arg(script)
            .arg(tool("WATCHPOST_TEST_OPENID_PROVIDER"))
            .arg(claims)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let issuer = lines
            .find_map(|line| Some(line.strip_prefix("ISSUER ")?.to_owned()))
            .expect("it says where it is");
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, issuer }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn server_with(engine: Engine, issuer: &str) -> Server {
    server_with_more(engine, issuer, &[])
}

/// With further settings.
pub(super) fn server_with_more(engine: Engine, issuer: &str, more: &[(&str, &str)]) -> Server {
    let settings = [
        ("WATCHPOST_OIDC_ISSUER", issuer),
        ("WATCHPOST_OIDC_CLIENT_ID", "watchpost"),
        ("WATCHPOST_OIDC_CLIENT_SECRET", SECRET),
        ("WATCHPOST_OIDC_ROLES", ROLES),
        ("WATCHPOST_OIDC_NAME", "the test's provider"),
    ];
    Server::with(engine, &[&settings, more].concat())
}

/// Goes through the provider's own pages.
fn sign_in(browser: &Browser, server: &Server, name: &str) {
    browser.go(&format!("{}/admin/?page=1", server.address));
    assert_eq!(browser.text("main a.button"), "Sign in with the test's provider");
    browser.click("main a.button");
    browser.fill("input[name=login]", name);
    browser.fill("input[name=password]", "anything");
    browser.click("button[type=submit]");
    // It asks whether Watchpost may know who this is.
    browser.find("input[name=prompt][value=consent]");
    browser.click("button[type=submit]");
}

fn user(server: &Server, name: &str) -> Value {
    let users = server.admin().get("/api/v1/users?page_size=100").expect(200);
    let users = users["results"].as_array().unwrap().clone();
    users.into_iter().find(|user| user["username"] == name).unwrap_or_default()
}

#[test]
fn people_log_in_at_a_real_provider_in_a_real_browser() {
    for (engine, claims) in [(Engine::Sqlite, "in-token"), (Engine::Postgres, "elsewhere")] {
        let provider = Provider::start(claims);
        let server = server_with(engine, &provider.issuer);
        let browser = Browser::start(true);
        sign_in(&browser, &server, "lead.jane");
        // Where she wanted to go, as what her group makes her.
        browser.reads("h1", "Users");
        assert!(browser.text(".who a").contains("lead.jane Admin"), "{}", browser.text(".who a"));
        let mut complaints = browser.complaints();
        complaints.retain(|complaint| complaint.contains(&server.address));
        assert_eq!(complaints, Vec::<String>::new());
        let jane = user(&server, "lead.jane");
        assert_eq!((&jane["role"], &jane["single_sign_on"]), (&json!("ADMIN"), &json!(true)));
        assert_eq!(jane["email"], "lead.jane@example.com");
        // She has no password here, whatever is tried.
        for password in ["", "anything", PASSWORD] {
            let body = json!({"username": "lead.jane", "password": password}).to_string();
            assert!(server.anonymous().post_json("/api/v1/auth/login", &body).status >= 400);
        }
        let path = format!("/api/v1/users/{}", jane["id"]);
        let reset = server.admin().post_json(&format!("{path}/reset-password"), "");
        assert_eq!(reset.expect(409)["code"], "single_sign_on");
        let given = json!({"password": "wolkenbruch im mai"}).to_string();
        assert_eq!(server.admin().patch_json(&path, &given).expect(409)["code"], "single_sign_on");
        let log_ins = audited(&server, "login");
        let hers = log_ins.iter().find(|row| row["actor"] == "lead.jane").expect("her log-in is in the log");
        assert_eq!(hers["detail"], "console, single sign-on");
        // Deactivated here, she is out at once and doesn't come back.
        assert_eq!(server.admin().send("DELETE", &path, "", b"").status, 204);
        browser.go(&format!("{}/login", server.address));
        browser.click("main a.button");
        browser.find("input[name=prompt][value=consent]");
        browser.click("button[type=submit]");
        assert!(browser.text(".problem").contains("deactivated"));
        // Somebody without a role doesn't get in, and is nobody here.
        let other = Browser::start(false);
        sign_in(&other, &server, "stranger.joe");
        assert!(other.text(".problem").contains("nothing gives you a role"));
        assert_eq!(user(&server, "stranger.joe"), Value::Null);
    }
}

/// A provider that answers with whatever it is told to.
pub(super) struct Liar {
    pub(super) issuer: String,
    said: Arc<Mutex<Lies>>,
}

/// Makes a token out of the nonce that was asked with.
type Made = Box<dyn Fn(&str, &EcdsaKeyPair) -> String + Send>;

struct Lies {
    key: EcdsaKeyPair,
    listed: Vec<Value>,
    /// Makes the answer to a code out of the nonce.
    token: Made,
    discovery: Value,
    nonce: String,
}

fn encoded(part: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

fn listed(key: &EcdsaKeyPair, id: &str) -> Value {
    let point = key.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "x": encoded(&point[1..33]), "y": encoded(&point[33..])})
}

pub(super) fn signed(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let text = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", encoded(signature))
}

impl Liar {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let discovery = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
            "code_challenge_methods_supported": ["S256"]
        });
        let said = Arc::new(Mutex::new(Lies {
            listed: vec![listed(&key, "one")],
            key,
            token: Box::new(|_, _| String::new()),
            discovery,
            nonce: String::new(),
        }));
        let told = said.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut heard = [0; 16 << 10];
                let read = stream.read(&mut heard).unwrap_or(0);
                let heard = String::from_utf8_lossy(&heard[..read]).into_owned();
                let said = told.lock().unwrap();
                let body = match heard.split(' ').nth(1).unwrap_or_default() {
                    "/.well-known/openid-configuration" => said.discovery.clone(),
                    "/keys" => json!({"keys": said.listed}),
                    "/token" => {
                        json!({"id_token": (said.token)(&said.nonce, &said.key), "access_token": "x", "token_type": "Bearer"})
                    }
                    _ => Value::Null,
                };
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self { issuer, said }
    }

    pub(super) fn good(&self, nonce: &str) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        json!({
            "iss": self.issuer, "aud": "watchpost", "sub": "u-1", "exp": now + 300, "iat": now, "nonce": nonce,
            "groups": ["soc"], "preferred_username": "mallory", "email": "admin@example.com"
        })
    }

    /// Has it answer the next code with this token.
    pub(super) fn says(&self, token: impl Fn(&str, &EcdsaKeyPair) -> String + Send + 'static, nonce: String) {
        let mut said = self.said.lock().unwrap();
        said.token = Box::new(token);
        said.nonce = nonce;
    }

    /// What comes of a log-in whose code is swapped for this token.
    pub(super) fn log_in(
        &self,
        server: &Server,
        token: impl Fn(&str, &EcdsaKeyPair) -> String + Send + 'static,
    ) -> Answer {
        let (cookie, query) = begin(server);
        self.says(token, query("nonce"));
        come_back(server, &cookie, &format!("code=c&state={}", query("state")))
    }
}

/// Begins a log-in; its cookie, and what the provider is asked.
pub(super) fn begin(server: &Server) -> (String, impl Fn(&str) -> String + use<>) {
    begin_at(server, "/login/single-sign-on?next=%2Falerts%2F7", "x=y")
}

/// The same from elsewhere, with cookies of before.
pub(super) fn begin_at(
    server: &Server,
    at: &str,
    cookies: &str,
) -> (String, impl Fn(&str) -> String + use<>) {
    let sent = server.anonymous().with("cookie", cookies).get(at);
    assert_eq!(sent.status, 303, "{}", sent.text);
    let location = sent.header("location").to_owned();
    let cookie = sent.header("set-cookie").split(';').next().unwrap().to_owned();
    let query = move |name: &str| {
        let (_, rest) =
            location.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{name}: {location}"));
        rest.split('&').next().unwrap().to_owned()
    };
    (cookie, query)
}

pub(super) fn come_back(server: &Server, cookie: &str, query: &str) -> Answer {
    server.anonymous().with("cookie", cookie).get(&format!("/login/single-sign-on/callback?{query}"))
}

/// Whether somebody is signed in by an answer.
pub(super) fn entered(answer: &Answer) -> bool {
    answer
        .headers
        .get_all("set-cookie")
        .iter()
        .any(|cookie| cookie.to_str().unwrap().starts_with("watchpost="))
}

#[test]
fn nothing_a_lying_provider_or_a_stranger_sends_lets_anybody_in() {
    let liar = Arc::new(Liar::start());
    let server = server_with(Engine::Sqlite, &liar.issuer);
    let es256 = json!({"alg": "ES256", "kid": "one", "typ": "JWT"});
    let header = es256.clone();
    let teller = liar.clone();
    let good = liar.log_in(&server, move |nonce, key| signed(key, &header, &teller.good(nonce)));
    assert_eq!(
        (good.status, good.header("location"), entered(&good)),
        (303, "/alerts/7", true),
        "{}",
        good.text
    );
    assert_eq!(user(&server, "mallory")["role"], "RESPONDER");

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims: Vec<(&str, &str, Value)> = vec![
        ("another issuer", "iss", json!("https://elsewhere.example")),
        ("for another", "aud", json!("another")),
        ("for several without a party", "aud", json!(["watchpost", "another"])),
        ("another party", "azp", json!("another")),
        ("expired", "exp", json!(now - 3_600)),
        ("never expires", "exp", Value::Null),
        ("not yet", "nbf", json!(now + 3_600)),
        ("another nonce", "nonce", json!("another")),
        ("no nonce", "nonce", Value::Null),
        ("nobody", "sub", json!("")),
        ("no subject", "sub", Value::Null),
        ("a number for a subject", "sub", json!(1)),
    ];
    for (what, name, value) in claims {
        let (header, teller) = (es256.clone(), liar.clone());
        let answer = liar.log_in(&server, move |nonce, key| {
            let mut claims = teller.good(nonce);
            match &value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
            signed(key, &header, &claims)
        });
        assert!(answer.status == 401 && !entered(&answer), "{what}: {}", answer.status);
    }
    let (first, second, third, fourth) = (liar.clone(), liar.clone(), liar.clone(), liar.clone());
    let stranger = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let weak = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    assert!(!weak.public_key().as_ref().is_empty());
    let tokens: Vec<(&str, Made)> = vec![
        (
            "unsigned",
            Box::new(move |nonce, _| {
                format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded(first.good(nonce).to_string()))
            }),
        ),
        (
            "signed with what both know",
            Box::new(move |nonce, _| {
                let text = format!(
                    "{}.{}",
                    encoded(r#"{"alg":"HS256","kid":"one"}"#),
                    encoded(second.good(nonce).to_string())
                );
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes());
                format!("{text}.{}", encoded(tag))
            }),
        ),
        (
            "signed by a stranger",
            Box::new(move |nonce, _| {
                signed(&stranger, &json!({"alg": "ES256", "kid": "one"}), &third.good(nonce))
            }),
        ),
        (
            "signed with a key that isn't listed",
            Box::new(move |nonce, key| {
                signed(key, &json!({"alg": "ES256", "kid": "two"}), &fourth.good(nonce))
            }),
        ),
        ("no token", Box::new(|_, _| "x".into())),
        ("nothing", Box::new(|_, _| String::new())),
        ("endless", Box::new(|_, _| "a".repeat(300 << 10))),
    ];
    for (what, token) in tokens {
        let answer = liar.log_in(&server, token);
        assert!(answer.status == 401 && !entered(&answer), "{what}: {}", answer.status);
    }
    strangers(&server, &liar);
    assert_eq!(user(&server, "admin")["single_sign_on"], false, "an address or a name joins no accounts");
    assert!(audited(&server, "login.failed").len() >= 18);
}

/// Answers that belong to no log-in of this browser.
fn strangers(server: &Server, liar: &Arc<Liar>) {
    let teller = liar.clone();
    liar.said.lock().unwrap().token =
        Box::new(move |nonce, key| signed(key, &json!({"alg": "ES256", "kid": "one"}), &teller.good(nonce)));
    let (cookie, query) = begin(server);
    let (other_cookie, other) = begin(server);
    liar.said.lock().unwrap().nonce = query("nonce");
    for (what, cookie, asked) in [
        ("no cookie", "x=y", format!("code=c&state={}", query("state"))),
        ("another browser's cookie", other_cookie.as_str(), format!("code=c&state={}", query("state"))),
        ("another state", cookie.as_str(), format!("code=c&state={}", other("state"))),
        ("no state", &cookie, "code=c".into()),
        ("no code", &cookie, format!("state={}", query("state"))),
        ("the provider said no", &cookie, format!("error=access_denied&code=c&state={}", query("state"))),
        (
            "another provider answers",
            &cookie,
            format!("iss=https%3A%2F%2Fevil.example&code=c&state={}", query("state")),
        ),
        (
            "a cookie that was changed",
            &cookie[..cookie.len() - 2],
            format!("code=c&state={}", query("state")),
        ),
    ] {
        let answer = come_back(server, cookie, &asked);
        assert!(answer.status >= 400 && !entered(&answer), "{what}: {}", answer.status);
    }
    for next in ["//evil.example", "https://evil.example", "/\\evil.example"] {
        let sent =
            server.anonymous().get(&format!("/login/single-sign-on?next={}", next.replace('/', "%2F")));
        let cookie = sent.header("set-cookie").split(';').next().unwrap().to_owned();
        let location = sent.header("location").to_owned();
        let part = |name: &str| {
            location.split(&format!("{name}=")).nth(1).unwrap().split('&').next().unwrap().to_owned()
        };
        liar.said.lock().unwrap().nonce = part("nonce");
        let answer = come_back(server, &cookie, &format!("code=c&state={}", part("state")));
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{next}");
    }
}

#[test]
fn a_provider_that_isn_t_there_or_is_another_stops_nobody_else() {
    let liar = Liar::start();
    for (what, name, value) in [
        ("another name", "issuer", json!("https://elsewhere.example")),
        ("no PKCE", "code_challenge_methods_supported", json!(["plain"])),
        ("no page", "authorization_endpoint", Value::Null),
    ] {
        let server = server_with(Engine::Sqlite, &liar.issuer);
        let before = liar.said.lock().unwrap().discovery.clone();
        liar.said.lock().unwrap().discovery[name] = value;
        let answer = server.anonymous().get("/login/single-sign-on");
        assert_eq!(answer.status, 401, "{what}: {}", answer.text);
        assert!(answer.text.contains("isn&#x27;t possible right now"), "{what}: {}", answer.text);
        liar.said.lock().unwrap().discovery = before;
        assert_eq!(server.anonymous().get("/login/single-sign-on").status, 303, "it is asked again");
    }
    let nowhere = server_with(Engine::Sqlite, "http://127.0.0.1:9");
    assert_eq!(nowhere.anonymous().get("/login/single-sign-on").status, 401);
    nowhere.admin();
    let without = Server::start(Engine::Sqlite);
    assert_eq!(without.anonymous().get("/login/single-sign-on").status, 404);
    assert!(!without.anonymous().get("/login").text.contains("single-sign-on"));
}
