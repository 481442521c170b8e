//! The console asks for the password again, and goes on with what was to be done.

use super::factor::value;
use super::single_sign_on::{Liar, begin_at, come_back, entered, server_with_more, signed};
use super::step_up::set_up;
use super::{age_proofs, audited, count_in_database};
use crate::browser::Browser;
use crate::console::form_token;
use crate::on_both_engines;
use crate::server::{ADMIN, Answer, Client, Engine, PASSWORD, Server};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

on_both_engines!(a_form_is_kept_until_its_sender_is_confirmed, each_form_that_takes_a_proof_asks);

/// What a page keeps: sealed texts have no letters that HTML would have to escape.
fn held(page: &Answer) -> String {
    assert!(page.text.contains("Confirm your identity"), "{}: {}", page.status, page.text);
    value(page, "held").to_owned()
}

fn keys(server: &Server) -> i64 {
    count_in_database(server, "SELECT COUNT(*) FROM sensor_keys")
}

fn a_form_is_kept_until_its_sender_is_confirmed(server: &Server) {
    let (admin, other) = (server.console(ADMIN), server.console(ADMIN));
    let token = form_token(&admin.get("/admin/keys"));
    let others_token = form_token(&other.get("/admin/keys"));
    age_proofs(server);
    let form = format!("form_token={token}&name=edge+%26+%22fw%22&source_name=fw-1&rate=60%2Fm");
    let asked = admin.post_form("/admin/keys", &form);
    assert_eq!((asked.status, keys(server)), (401, 0));
    assert!(!asked.text.contains("edge &"), "what was filled in is sealed");
    let kept = held(&asked);
    let send = |client: &Client<'_>, path: &str, token: &str, kept: &str, password: &str| {
        client.post_form(path, &format!("form_token={token}&held={kept}&current_password={password}&otp="))
    };
    // A wrong password is said beside its field, is counted, and the form is kept.
    let wrong = send(&admin, "/admin/keys", &token, &kept, "nope");
    assert_eq!((wrong.status, keys(server)), (400, 0));
    assert!(wrong.text.contains("aria-invalid=\"true\"") && wrong.text.contains("The password is wrong."));
    assert!(!wrong.text.contains("nope"));
    assert_eq!(audited(server, "login.failed")[0]["detail"], "wrong password in a session");
    let kept = held(&wrong);
    // It is good for its session, where it was sent to, and as it was.
    for (what, answer) in [
        ("another session", send(&other, "/admin/keys", &others_token, &kept, PASSWORD)),
        ("another form", send(&admin, "/admin/users", &token, &kept, PASSWORD)),
        ("changed", send(&admin, "/admin/keys", &token, &kept[..kept.len() - 2], PASSWORD)),
        ("no token", send(&admin, "/admin/keys", "x", &kept, PASSWORD)),
    ] {
        assert_eq!((answer.status, keys(server)), (403, 0), "{what}");
    }
    let done = send(&admin, "/admin/keys", &token, &kept, PASSWORD);
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(done.text.contains("wp_") && done.text.contains("edge &amp; &quot;fw&quot;"), "{}", done.text);
    let made = server.admin().get("/api/v1/keys").expect(200)["results"][0].clone();
    assert_eq!((&made["source_name"], &made["rate"]), (&json!("fw-1"), &json!("60/m")));
    // It isn't asked again at once, and another session is.
    let next = admin.post_form("/admin/keys", &format!("form_token={token}&name=second"));
    assert!(next.text.contains("wp_"));
    held(&other.post_form("/admin/keys", &format!("form_token={others_token}&name=third")));
    assert_eq!(audited(server, "session.prove").len(), 1);
}

fn each_form_that_takes_a_proof_asks(server: &Server) {
    let jane = server.user("jane", "ANALYST");
    let id = jane.get("/api/v1/auth/me").expect(200)["id"].clone();
    let session = jane.get("/api/v1/auth/sessions").expect(200)[0]["id"].as_str().unwrap().to_owned();
    let (admin, user) = (server.console(ADMIN), format!("/admin/users/{id}"));
    let token = form_token(&admin.get("/account/"));
    age_proofs(server);
    let boss = format!("username=boss&password={PASSWORD}&role=ADMIN");
    for (path, form) in [
        ("/admin/users", boss.as_str()),
        (&user, "change=role&role=ADMIN"),
        (&user, "change=password"),
        (&user, "change=factor"),
        (&format!("{user}/sessions/end"), ""),
        (&format!("/admin/sessions/{session}/end"), ""),
        ("/developer/token", ""),
        ("/account/sessions/end-others", ""),
    ] {
        let asked = admin.post_form(path, &format!("form_token={token}&{form}"));
        assert_eq!(asked.status, 401, "{path}: {form}");
        held(&asked);
    }
    let plain = format!("form_token={token}&username=plain&password={PASSWORD}&role=ANALYST");
    assert_eq!(admin.post_form("/admin/users", &plain).status, 303, "an Analyst is made without");
    assert_eq!(admin.post_form(&user, &format!("form_token={token}&change=role&role=RESPONDER")).status, 303);
    // A file is a link away once it is confirmed.
    let sent = admin.get("/admin/audit/export?format=csv&action=login");
    let to = "/step-up?next=%2Fadmin%2Faudit%2Fexport%3Fformat%3Dcsv%26action%3Dlogin";
    assert_eq!((sent.status, sent.header("location")), (303, to));
    let page = admin.get(to);
    let form = format!("form_token={token}&held={}&current_password={PASSWORD}", held(&page));
    let confirmed = admin.post_form("/step-up", &form);
    let link = "href=\"&#x2f;admin&#x2f;audit&#x2f;export?format=csv&amp;action=login\"";
    assert!(confirmed.status == 200 && confirmed.text.contains(link), "{}", confirmed.text);
    assert!(admin.get("/admin/audit/export?format=csv&action=login").text.starts_with("id,at,actor"));
    let elsewhere = admin.get("/step-up?next=https%3A%2F%2Fevil.example");
    let form = format!("form_token={token}&held={}", held(&elsewhere));
    assert!(!admin.post_form("/step-up", &form).text.contains("evil"));
    // An Admin's own access isn't changed here.
    let me = server.admin().get("/api/v1/auth/me").expect(200)["id"].clone();
    let own = admin.post_form(&format!("/admin/users/{me}"), &format!("form_token={token}&change=password"));
    assert!(own.status == 403 && own.text.contains("This way is for other users"), "{}", own.text);
    assert!(!admin.get(&format!("/admin/users/{me}")).text.contains("value=\"password\""));
}

#[test]
fn an_admin_is_made_in_a_browser_by_keyboard_with_and_without_scripts() {
    let server = Server::start(Engine::Sqlite);
    let (_, codes) = set_up(&server.admin());
    for (n, scripts) in [(0, true), (1, false)] {
        let browser = Browser::start(scripts);
        browser.go(&format!("{}/login", server.address));
        browser.fill("input[name=username]", ADMIN);
        browser.fill("input[name=password]", PASSWORD);
        browser.click("main form button");
        browser.fill("input[name=otp]", &codes[2 * n]);
        browser.click("main form button");
        browser.go(&format!("{}/admin/users", server.address));
        let name = format!("boss-{n}");
        let form = "form[action='/admin/users'] ";
        browser.fill(&format!("{form}input[name=username]"), &name);
        browser.fill(&format!("{form}input[name=password]"), PASSWORD);
        browser.fill(&format!("{form}input[name=email]"), "boss@example.com");
        browser.click(&format!("{form}option[value=ADMIN]"));
        super::run_in_database(&server, "UPDATE sessions SET proved_at = proved_at - 660000000");
        browser.click(&format!("{form}button"));
        browser.reads("h1", "Confirm your identity");
        // The password field has the focus: a wrong one, then what is right, all by keyboard.
        let tab = "\u{e004}";
        let letters = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let press = |keys: &[String]| browser.press(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        press(
            &[letters("nope"), vec![tab.into()], letters(&codes[2 * n + 1]), vec!["\u{e007}".into()]]
                .concat(),
        );
        assert!(browser.text(".problem").contains("The password is wrong."));
        assert_eq!(browser.text("#wrong-proof-current_password"), "The password is wrong.");
        press(
            &[letters(PASSWORD), vec![tab.into()], letters(&codes[2 * n + 1]), vec!["\u{e007}".into()]]
                .concat(),
        );
        browser.reads("h1", "Users");
        assert_eq!(browser.text(".said"), "The user was made.");
        assert_eq!(browser.complaints().iter().filter(|line| !line.contains("40")).count(), 0);
        let is_boss = format!(
            "SELECT COUNT(*) FROM users WHERE username = '{name}' AND role = 'ADMIN' AND email = 'boss@example.com'"
        );
        assert_eq!(count_in_database(&server, &is_boss), 1);
    }
}

fn seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// Has the provider say more of somebody, and of whom.
fn said(
    liar: &Arc<Liar>,
    more: Value,
) -> impl Fn(&str, &aws_lc_rs::signature::EcdsaKeyPair) -> String + Send + use<> {
    let teller = liar.clone();
    move |nonce, key| {
        let mut claims = teller.good(nonce);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        signed(key, &json!({"alg": "ES256", "kid": "one", "typ": "JWT"}), &claims)
    }
}

#[test]
fn users_of_single_sign_on_are_asked_by_their_provider() {
    let liar = Arc::new(Liar::start());
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = server_with_more(engine, &liar.issuer, &[("WATCHPOST_OIDC_ROLES", "soc=Admin")]);
        let first = liar.log_in(&server, said(&liar, json!({})));
        assert!(entered(&first), "{}", first.text);
        let session = first.header("set-cookie").split(';').next().unwrap().to_owned();
        let lea = server.anonymous().with("cookie", &session);
        let token = form_token(&lea.get("/admin/keys"));
        age_proofs(&server);
        let asked = lea.post_form("/admin/keys", &format!("form_token={token}&name=fw&rate=60%2Fm"));
        assert!(asked.status == 401 && !asked.text.contains("name=\"current_password\""), "{}", asked.text);
        let (_, rest) = asked.text.split_once("single-sign-on?again=").expect("the way to the provider");
        let way = format!("/login/single-sign-on?again={}", rest.split('"').next().unwrap());
        // What it says has to be that it asked just now, and whom.
        let again = |more: Value| {
            let (cookie, query) = begin_at(&server, &way, &session);
            assert_eq!((query("prompt"), query("max_age")), ("login".into(), "0".into()));
            liar.says(said(&liar, more), query("nonce"));
            come_back(&server, &format!("{session}; {cookie}"), &format!("code=c&state={}", query("state")))
        };
        for more in [
            json!({}),
            json!({"auth_time": seconds() - 700}),
            json!({"auth_time": seconds().to_string()}),
            json!({"auth_time": seconds(), "sub": "u-2", "preferred_username": "eve"}),
        ] {
            let answer = again(more.clone());
            assert!(answer.status >= 400 && !entered(&answer), "{more}: {} {}", answer.status, answer.text);
            assert_eq!(audited(&server, "session.prove").len(), 0, "{more}");
        }
        let confirmed = again(json!({"auth_time": seconds()}));
        assert!(confirmed.status == 200 && !entered(&confirmed), "{}", confirmed.text);
        assert!(confirmed.text.contains("Identity confirmed"), "{}", confirmed.text);
        let form = format!("form_token={token}&held={}", value(&confirmed, "held"));
        let made = lea.post_form("/admin/keys", &form);
        assert!(made.text.contains("wp_"), "{}", made.text);
        assert_eq!(server.admin().get("/api/v1/keys").expect(200)["results"][0]["rate"], "60/m");
        assert_eq!(audited(&server, "session.prove")[0]["detail"], "single sign-on");
        // A token that is made now has the proof; over the API there is no password to show.
        let page = lea.post_form("/developer/token", &format!("form_token={token}"));
        let (_, rest) = page.text.split_once("id=\"new-token\">").unwrap();
        let api = super::bearer(&server, rest.split('<').next().unwrap());
        api.post_json("/api/v1/keys", r#"{"name":"second"}"#).expect(201);
        let shown = api.post_json("/api/v1/auth/step-up", r#"{"password":"anything"}"#);
        assert!(shown.status == 403 && shown.text.contains("from the console"), "{}", shown.text);
    }
}
