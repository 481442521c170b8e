//! Tokens that nobody was given, and credentials in places that aren't theirs.

use super::{bearer, tokens};
use crate::on_both_engines;
use crate::server::{ADMIN, Engine, PASSWORD, Server};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use watchpost_model::Action;
use watchpost_web::site_map::site_map;

on_both_engines!(a_credential_of_one_kind_is_none_of_another);

const SECRET: &str = "a secret that is known to this suite alone";

fn encoded(part: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

/// A token that is signed as the server signs: what is wrong with it is all that is wrong with it.
fn signed_with(algorithm: hmac::Algorithm, header: &str, payload: &str) -> String {
    let key: [u8; 32] = Sha256::new()
        .chain_update("watchpost tokens")
        .chain_update("\0")
        .chain_update(SECRET)
        .finalize()
        .into();
    let signed = format!("{}.{}", encoded(header), encoded(payload));
    let signature = hmac::sign(&hmac::Key::new(algorithm, &key), signed.as_bytes());
    format!("{signed}.{}", encoded(signature))
}

fn signed(header: &str, payload: &str) -> String {
    signed_with(hmac::HMAC_SHA256, header, payload)
}

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// The claims of a good token, with one of them changed. Nothing takes it away.
fn with(good: &Value, name: &str, value: Option<Value>) -> String {
    let mut claims = good.as_object().unwrap().clone();
    match value {
        Some(value) => claims.insert(name.into(), value),
        None => claims.remove(name),
    };
    Value::from(claims).to_string()
}

/// Headers that would choose a key, an algorithm or a meaning.
fn headers() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = [
        "none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256",
        " HS256",
    ]
    .iter()
    .map(|alg| (format!("alg {alg:?}"), json!({"typ": "JWT", "alg": alg}).to_string()))
    .collect();
    for (name, value) in [
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!("a\u{0}b")),
        ("kid", json!("k".repeat(4_096))),
        ("jku", json!("https://evil.example/keys.json")),
        ("jwk", json!({"kty": "oct", "k": encoded(SECRET)})),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ] {
        all.push((format!("header {name}"), json!({"typ": "JWT", "alg": "HS256", name: value}).to_string()));
    }
    for (name, text) in [
        ("no alg", r#"{"typ":"JWT"}"#),
        ("alg twice", r#"{"typ":"JWT","alg":"none","alg":"HS256"}"#),
        ("alg null", r#"{"typ":"JWT","alg":null}"#),
        ("typ other", r#"{"typ":"at+jwt","alg":"HS256"}"#),
        ("no typ", r#"{"alg":"HS256"}"#),
        ("header is a list", r#"["JWT","HS256"]"#),
        ("header is a text", r#""HS256""#),
        ("header is nothing", ""),
        ("header goes on", r#"{"typ":"JWT","alg":"HS256"} x"#),
    ] {
        all.push((name.into(), text.into()));
    }
    all
}

/// What the payload may be made to say.
fn payloads(good: &Value) -> Vec<(String, String)> {
    let now = good["iat"].as_i64().unwrap();
    let mut all: Vec<(String, String)> = Vec::new();
    let changed = [
        ("exp", Some(json!((now + 900).to_string()))),
        ("exp", Some(json!(now as f64 + 900.5))),
        ("exp", Some(json!(-1))),
        ("exp", Some(json!(now - 1))),
        ("exp", Some(Value::Null)),
        ("exp", Some(json!(true))),
        ("exp", Some(json!(i64::MAX))),
        ("exp", None),
        ("iat", None),
        ("iat", Some(json!(now + 3_600))),
        ("nbf", Some(json!(now + 3_600))),
        ("iss", Some(json!("elsewhere"))),
        ("iss", Some(json!(["watchpost", "elsewhere"]))),
        ("iss", None),
        ("aud", Some(json!("elsewhere"))),
        ("aud", Some(json!([]))),
        ("aud", None),
        ("token_type", Some(json!("refresh"))),
        ("token_type", Some(json!("ACCESS"))),
        ("token_type", Some(Value::Null)),
        ("token_type", None),
        ("user_id", Some(json!("2"))),
        ("user_id", Some(json!(1))),
        ("user_id", Some(json!("1 OR 1=1"))),
        ("user_id", Some(json!("-1"))),
        ("user_id", None),
        ("sid", Some(json!("another"))),
        ("sid", Some(json!(""))),
        ("sid", Some(json!("a\u{0}b"))),
        ("sid", None),
        ("epoch", Some(json!(99))),
        ("epoch", Some(json!("1"))),
        ("epoch", None),
        ("jti", None),
        ("superuser", Some(json!(true))),
    ];
    all.extend(changed.into_iter().map(|(name, value)| {
        (
            format!("{name} {}", value.as_ref().map_or("missing".into(), Value::to_string)),
            with(good, name, value),
        )
    }));
    let text = good.to_string();
    let twice = |name: &str, value: &str| text.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    all.extend([
        ("exp twice".into(), twice("exp", "9999999999")),
        ("user twice".into(), twice("user_id", "\"2\"")),
        ("exp beyond numbers".into(), text.replacen(&good["exp"].to_string(), "1e400", 1)),
        (
            "a list".into(),
            Value::from(good.as_object().unwrap().values().cloned().collect::<Vec<_>>()).to_string(),
        ),
        ("null".into(), "null".into()),
        ("a text".into(), "\"x\"".into()),
        ("nothing".into(), String::new()),
        ("no JSON".into(), "{".into()),
        ("goes on".into(), format!("{text}{text}")),
    ]);
    all
}

/// Every mutant with its name.
fn mutants(access: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = access.split('.').collect();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let good: Value = serde_json::from_slice(&payload).unwrap();
    let (head, body, end) = (parts[0], parts[1], parts[2]);
    let mut all: Vec<(String, String)> =
        headers().into_iter().map(|(name, header)| (name, signed(&header, &good.to_string()))).collect();
    all.extend(payloads(&good).into_iter().map(|(name, payload)| (name, signed(HEADER, &payload))));
    let flipped = |text: &str, at: usize| {
        let mut bytes = text.to_owned().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    all.extend([
        ("unsigned".into(), format!("{}.{body}.", encoded(r#"{"typ":"JWT","alg":"none"}"#))),
        ("no signature".into(), format!("{head}.{body}.")),
        ("no third part".into(), format!("{head}.{body}")),
        ("half a signature".into(), format!("{head}.{body}.{}", &end[..end.len() / 2])),
        ("another signature".into(), format!("{head}.{body}.{}", flipped(end, 3))),
        ("another payload".into(), format!("{head}.{}.{end}", flipped(body, 9))),
        ("padded".into(), format!("{head}.{body}.{end}=")),
        ("padded payload".into(), format!("{head}.{body}==.{end}")),
        ("five parts".into(), format!("{head}.{body}.{end}.x.y")),
        ("four parts".into(), format!("{head}.{body}.{end}.")),
        ("blank inside".into(), format!("{head}. {body}.{end}")),
        ("not Base64".into(), format!("{head}.{body}.{}", "*".repeat(43))),
        ("another alphabet".into(), format!("{head}.{body}.+/{}", &end[2..])),
        (
            "a longer hash".into(),
            signed_with(hmac::HMAC_SHA512, r#"{"typ":"JWT","alg":"HS512"}"#, &good.to_string()),
        ),
        ("an unclaimed longer hash".into(), signed_with(hmac::HMAC_SHA512, HEADER, &good.to_string())),
        ("empty".into(), String::new()),
        ("dots".into(), "..".into()),
        ("large".into(), "a".repeat(20 << 10)),
    ]);
    all
}

/// Routes that take a token, one of each kind of what they let do.
fn protected() -> Vec<(String, String)> {
    let routes = site_map().into_iter().filter(|route| {
        !route.page && route.action != Action::EnterAnonymously && route.path.starts_with("/api/v1/")
    });
    routes
        .map(|route| {
            let path = route.path.replace("{id}", "1").replace("{session}", "none").replace("{job}", "none");
            (route.method.to_string(), path)
        })
        .collect()
}

#[test]
fn no_forged_token_opens_any_route() {
    let server = Server::with(Engine::Sqlite, &[("SECRET_KEY", SECRET), ("WATCHPOST_LOG", "trace")]);
    let access = tokens(&server, ADMIN, PASSWORD)["access"].as_str().unwrap().to_owned();
    assert_eq!(bearer(&server, &access).get("/api/v1/auth/me").status, 200);
    // The suite's own signature is the server's: otherwise every mutant would be refused for that alone.
    let good = BASE64_URL_SAFE_NO_PAD.decode(access.split('.').nth(1).unwrap()).unwrap();
    let same = signed(HEADER, std::str::from_utf8(&good).unwrap());
    assert_eq!(bearer(&server, &same).get("/api/v1/auth/me").status, 200);

    let mutants = mutants(&access);
    assert!(mutants.len() >= 60, "{} mutants", mutants.len());
    let routes = protected();
    assert!(routes.len() >= 30, "{} routes", routes.len());
    let constant = bearer(&server, "x").get("/api/v1/alerts").text;
    let mut wrong = Vec::new();
    for (name, token) in &mutants {
        let client = bearer(&server, token);
        for (method, path) in &routes {
            let answer = client.send(method, path, "application/json", b"{}");
            // A header that is too long is refused before anybody looks at it.
            let fits = answer.status == 401 && (answer.text == constant || token.is_empty());
            if !fits {
                wrong.push(format!("{name}: {method} {path}: {} {}", answer.status, answer.text));
            }
        }
        // Otherwise what comes now would be refused for the session's end alone.
        assert_eq!(
            bearer(&server, &access).get("/api/v1/auth/me").status,
            200,
            "{name} did something: {wrong:?}"
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let huge = server.connect_and_say(&format!(
        "GET /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        "a".repeat(1 << 20)
    ));
    assert!(huge.starts_with("HTTP/1.1 431") || huge.is_empty(), "{huge}");
    let log = server.log.lock().unwrap();
    for (name, token) in mutants.iter().filter(|(_, token)| token.len() > 40) {
        let tail = &token[token.len() - 30..];
        assert!(tail.contains("aaaa") || !log.contains(tail), "{name} is in the log");
    }
}

fn a_credential_of_one_kind_is_none_of_another(server: &Server) {
    let pair = tokens(server, ADMIN, PASSWORD);
    let (access, refresh) = (pair["access"].as_str().unwrap(), pair["refresh"].as_str().unwrap());
    let entered =
        server.anonymous().post_form("/login", &format!("username={ADMIN}&password={PASSWORD}&next=/"));
    let cookie = entered.header("set-cookie").split(';').next().unwrap().to_owned();
    let session = cookie.split_once('=').unwrap().1.to_owned();
    let key = server.admin().post_json("/api/v1/keys", r#"{"name":"k"}"#).expect(201);
    let key = key["secret"].as_str().unwrap();
    let status = |name: &str, value: &str, path: &str| server.anonymous().with(name, value).get(path).status;
    for (what, name, value) in [
        ("a refresh token", "authorization", format!("Bearer {refresh}")),
        ("a console session", "authorization", format!("Bearer {session}")),
        ("a console cookie", "cookie", cookie.clone()),
        ("a key as a token of three parts", "authorization", format!("Bearer {key}.{key}.{key}")),
        ("an access token as a key", "x-api-key", access.to_owned()),
        ("a key in a cookie", "cookie", format!("watchpost={key}")),
        ("an access token in a cookie", "cookie", format!("watchpost={access}; access={access}")),
        (
            "a name and a password",
            "authorization",
            format!("Basic {}", encoded(format!("{ADMIN}:{PASSWORD}"))),
        ),
        ("another scheme", "authorization", format!("Token {access}")),
    ] {
        assert_eq!(status(name, &value, "/api/v1/auth/me"), 401, "{what}");
        assert_eq!(status(name, &value, "/api/v1/users"), 401, "{what}");
    }
    for query in ["token", "access_token", "access", "jwt", "key", "api_key"] {
        let path = format!("/api/v1/auth/me?{query}={access}");
        assert_eq!(server.anonymous().get(&path).status, 401, "{query} in the address");
    }
    for body in [json!({"refresh": access}), json!({"refresh": session}), json!({"refresh": key})] {
        assert_eq!(server.anonymous().post_json("/api/v1/auth/refresh", &body.to_string()).status, 401);
    }
    let page = |value: &str| server.anonymous().with("cookie", &format!("watchpost={value}")).get("/").status;
    assert_eq!((page(&session), page(access), page(refresh), page(key)), (200, 303, 303, 303));
    assert_eq!(status("x-api-key", key, "/api/v1/auth/me"), 403, "a key is no user");
}
