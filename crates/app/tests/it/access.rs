//! Every route as every kind of caller: what the table says is what happens, and nothing is outside the table.

use crate::on_both_engines;
use crate::server::{Client, Server};
use watchpost_model::access::allows;
use watchpost_model::{Action, Rank, Role};
use watchpost_web::site_map::{RouteInfo, site_map};

on_both_engines!(every_route_as_every_role, a_change_of_access_acts_at_once, other_credentials_open_nothing);

/// A path that answers and ends: of a stream, one that is refused for what it is asked.
pub(crate) fn briefly(path: &str) -> String {
    if path.ends_with("/stream") { format!("{path}?topics=none") } else { path.to_owned() }
}

/// Bodies that change nothing when they are let through: what they lack or name is refused with 400 or 404.
fn probe(client: &Client<'_>, route: &RouteInfo) -> u16 {
    // An id that nothing has.
    let path = briefly(route.path)
        .replace("{id}", "4503599627370000")
        .replace("{name}", "none")
        .replace("{session}", "none")
        .replace("{job}", "none");
    let body: &[u8] = match route.method.as_str() {
        "POST" | "PUT" | "PATCH" => br#"{"status":"nope","severity":"nope","username":"","name":""}"#,
        _ => b"",
    };
    let kind = if body.is_empty() { "" } else { "application/json" };
    client.send(route.method.as_str(), &path, kind, body).status
}

fn every_route_as_every_role(before: &Server) {
    let server = &Server::with(before.engine(), &[("WATCHPOST_SIGNUP", "on")]);
    let mut routes = site_map();
    // Whoever logs out everywhere is nobody afterwards.
    routes.sort_by_key(|route| route.path.ends_with("/logout-all"));
    assert!(routes.len() > 60, "only {} routes: the walk is broken", routes.len());
    let callers = [
        (Rank::Anonymous, server.anonymous()),
        (Rank::Sensor, server.sensor()),
        (Rank::SignedUp(Role::Analyst), server.signed_up("walk-self")),
        (Rank::User(Role::Analyst), server.user("walk-analyst", "ANALYST")),
        (Rank::User(Role::Responder), server.user("walk-responder", "RESPONDER")),
        (Rank::User(Role::Admin), server.user("walk-admin", "ADMIN")),
    ];
    let mut wrong = Vec::new();
    for route in routes.iter().filter(|route| !route.page) {
        for (rank, client) in &callers {
            let status = probe(client, route);
            let allowed = allows(*rank, route.action);
            let fits = match (allowed, rank) {
                // A made-up analyst or test event is what these two answer to a body that names nothing usable.
                (true, _) => !matches!(status, 401 | 403) && status < 500 || login_says_401(route, status),
                (false, Rank::Anonymous) => status == 401,
                (false, _) => status == 403,
            };
            if !fits {
                wrong.push(format!("{} {} as {rank:?}: {status}", route.method, route.path));
            }
        }
    }
    // Pages look at no token: whoever has only that is sent to sign in, or sees what anybody may.
    for route in routes.iter().filter(|route| route.page) {
        for (rank, client) in &callers {
            let status = probe(client, route);
            let fits = match route.action {
                Action::EnterAnonymously => status < 500,
                _ => status == 303,
            };
            if !fits {
                wrong.push(format!("page {} {} as {rank:?}: {status}", route.method, route.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Paths where 401 is about the body, not about the caller.
fn login_says_401(route: &RouteInfo, status: u16) -> bool {
    route.action == Action::EnterAnonymously && status == 401 && route.path.contains("/auth/")
}

fn a_change_of_access_acts_at_once(server: &Server) {
    let admin = server.admin();
    let jane = server.user("jane", "RESPONDER");
    assert_eq!(jane.get("/api/v1/events").status, 200);
    let id = jane.get("/api/v1/auth/me").expect(200)["id"].clone();
    let path = format!("/api/v1/users/{id}");
    admin.patch_json(&path, r#"{"role":"ANALYST"}"#).expect(200);
    assert_eq!(jane.get("/api/v1/events").status, 403, "the role in the token isn't believed");
    assert_eq!(
        admin.patch_json(&path, r#"{"email":"x@example.com","version":1}"#).status,
        409,
        "version 1 is old"
    );
    assert_eq!(admin.send("DELETE", &path, "", b"").status, 204);
    assert_eq!(jane.get("/api/v1/alerts").expect(401)["code"], "token_not_valid");
    admin.patch_json(&path, r#"{"is_active":true}"#).expect(200);
    assert_eq!(jane.get("/api/v1/alerts").status, 401, "a token that died stays dead");

    let sensor = server.sensor();
    sensor.event("LOW", "x");
    let keys = admin.get("/api/v1/keys?page_size=100").expect(200);
    let key = keys["results"].as_array().unwrap().last().unwrap()["id"].clone();
    assert_eq!(admin.send("DELETE", &format!("/api/v1/keys/{key}"), "", b"").status, 204);
    let body = r#"{"source_name":"a","event_type":"b","severity":"LOW","description":"c"}"#;
    assert_eq!(sensor.post_json("/api/v1/events", body).expect(401)["code"], "key_not_valid");
    assert!(admin.get("/api/v1/audit").expect(200)["results"][0]["action"] == "key.revoke");
}

fn other_credentials_open_nothing(server: &Server) {
    let body = format!(r#"{{"username":"admin","password":"{}"}}"#, crate::server::PASSWORD);
    let tokens = server.anonymous().post_json("/api/auth/login/", &body).expect(200);
    let (access, refresh) = (tokens["access"].as_str().unwrap(), tokens["refresh"].as_str().unwrap());
    let status = |name: &str, value: &str, path: &str| {
        let client = server.anonymous().with(name, value);
        client.get(path).status
    };
    let path = "/api/v1/alerts/";
    assert_eq!(status("authorization", &format!("Bearer {access}"), path), 200);
    for (name, value) in [
        ("authorization", format!("Bearer {refresh}")),
        ("authorization", format!("Token {access}")),
        ("authorization", format!("Basic {access}")),
        ("authorization", "Bearer".to_owned()),
        ("authorization", format!("Bearer {}x", access)),
        ("authorization", format!("Bearer {}", &access[..access.len() - 4])),
        (
            "authorization",
            format!("Bearer {}.{}.", access.split('.').next().unwrap(), access.split('.').nth(1).unwrap()),
        ),
        ("authorization", "Bearer wp_nothing".to_owned()),
        ("x-api-key", access.to_owned()),
        ("x-api-key", String::new()),
        ("cookie", format!("watchpost={access}")),
    ] {
        assert_eq!(status(name, &value, path), 401, "{name}: {value}");
    }
    assert_eq!(
        status("x-nothing", "x", &format!("{path}?access_token={access}")),
        401,
        "a token in the address is ignored"
    );
    let refreshed =
        server.anonymous().post_json("/api/auth/refresh/", &format!(r#"{{"refresh":"{access}"}}"#));
    assert_eq!(refreshed.status, 401, "an access token refreshes nothing");
    let none =
        base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, br#"{"alg":"none","typ":"JWT"}"#);
    let payload = access.split('.').nth(1).unwrap();
    assert_eq!(status("authorization", &format!("Bearer {none}.{payload}."), path), 401);
}
