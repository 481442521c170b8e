//! Setting up a second factor: each try has a secret of its own, which lives for minutes, in one place, with one
//! password, and is stored nowhere.

use super::factor::value;
use super::totp::App;
use super::{audited, count_in_database};
use crate::on_both_engines;
use crate::server::{Answer, Client, PASSWORD, Server};
use serde_json::{Value, json};

on_both_engines!(
    each_set_up_has_a_secret_of_its_own_in_its_own_session,
    who_had_the_password_before_owns_no_second_factor,
    what_an_admin_changes_meanwhile_costs_the_secret_and_not_the_log_in,
    a_page_shows_a_secret_only_after_the_password,
);

const SET_UP: &str = "/api/v1/auth/factor/setup";
const BEGIN: &str = "/api/v1/auth/factor";

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_else(|| panic!("{field}: {answer}")).to_owned()
}

fn offered(client: &Client<'_>) -> (App, String) {
    let body = json!({"current_password": PASSWORD}).to_string();
    let offered = client.post_json(SET_UP, &body).expect(200);
    (App::new(&text(&offered, "secret")), text(&offered, "setup"))
}

fn begin(client: &Client<'_>, otp: &str, setup: &str) -> Answer {
    client.post_json(BEGIN, &json!({"otp": otp, "setup": setup}).to_string())
}

fn each_set_up_has_a_secret_of_its_own_in_its_own_session(server: &Server) {
    let jane = server.user("jane", "ANALYST");
    let (mut first, first_setup) = offered(&jane);
    let (mut second, second_setup) = offered(&jane);
    assert_ne!(first.secret(), second.secret(), "a secret that was shown before");
    assert!(!second_setup.contains(second.secret()), "it is sealed");
    let waiting = "SELECT COUNT(*) FROM users WHERE factor_pending IS NOT NULL";
    assert_eq!(count_in_database(server, waiting), 0, "a secret that waits is stored nowhere");
    let code = second.code();
    assert!(jane.post_json(BEGIN, &json!({"otp": code}).to_string()).expect(400)["setup"].is_array());
    assert!(begin(&jane, &first.code(), &second_setup).expect(400)["otp"].is_array(), "of another secret");
    let other = server.log_in("jane", PASSWORD);
    let mut forged = second_setup.clone();
    forged.pop();
    for (who, setup) in [(&other, &second_setup), (&jane, &forged)] {
        assert!(begin(who, &code, setup).expect(400)["setup"].is_array(), "only where it was asked for");
    }
    // Whatever an Admin changes about her meanwhile, she begins again.
    let (mut third, third_setup) = offered(&jane);
    let id = jane.get("/api/v1/auth/me").expect(200)["id"].clone();
    let changed = r#"{"email":"jane@example.com"}"#;
    server.admin().patch_json(&format!("/api/v1/users/{id}"), changed).expect(200);
    assert_eq!(begin(&jane, &third.code(), &third_setup).expect(409)["code"], "conflict");
    assert_eq!(jane.get(BEGIN).expect(200)["enabled"], false);
    let (mut last, last_setup) = offered(&jane);
    begin(&jane, &last.code(), &last_setup).expect(200);
    assert_eq!(begin(&jane, &last.code(), &last_setup).expect(409)["code"], "factor_in_use", "once");
    assert_eq!(begin(&jane, &second.code(), &second_setup).expect(409)["code"], "factor_in_use");
    assert_eq!(begin(&jane, &first.code(), &first_setup).expect(409)["code"], "factor_in_use");
    assert_eq!((audited(server, "factor.setup").len(), audited(server, "factor.begin").len()), (4, 1));
}

fn who_had_the_password_before_owns_no_second_factor(before: &Server) {
    let server = &Server::with(before.engine(), &[("WATCHPOST_SECOND_FACTOR", "Analyst")]);
    let log_in = |body: Value| server.anonymous().post_json("/api/auth/login/", &body.to_string());
    let admin = server.admin();
    let new =
        json!({"username": "jane", "password": PASSWORD, "role": "ANALYST", "must_change_password": false})
            .to_string();
    let id = admin.post_json("/api/v1/users", &new).expect(201)["id"].clone();
    let stolen = log_in(json!({"username": "jane", "password": PASSWORD})).expect(403);
    assert_eq!(stolen["code"], "second_factor_setup");
    let again = log_in(json!({"username": "jane", "password": PASSWORD})).expect(403);
    assert_ne!(stolen["secret"], again["secret"], "each log-in has its own");
    let reset = admin.post_json(&format!("/api/v1/users/{id}/reset-password"), "").expect(200);
    let own = |more: Value| {
        let mut body =
            json!({"username": "jane", "password": reset["password"], "new_password": "wolkenbruch im mai"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        log_in(body)
    };
    let hers = own(json!({})).expect(403);
    assert_eq!(hers["code"], "second_factor_setup");
    for known in [&stolen, &again] {
        assert_ne!(hers["secret"], known["secret"], "who had her old password knows the secret");
        let mut app = App::new(&text(known, "secret"));
        // Alone it stands for a password that is gone; beside the new one it is as if it weren't there.
        assert_eq!(log_in(json!({"setup": known["setup"], "otp": app.code()})).status, 401);
        let other = own(json!({"otp": app.code(), "setup": known["setup"]})).expect(403);
        assert_eq!(other["code"], "second_factor_setup");
        assert!(other["secret"] != known["secret"] && other["secret"] != hers["secret"]);
    }
    let mut app = App::new(&text(&hers, "secret"));
    let wrong = own(json!({"otp": "000000", "setup": hers["setup"]})).expect(403);
    assert_eq!(wrong["secret"], hers["secret"], "a slip doesn't cost her the secret in her app");
    let pair = own(json!({"otp": app.code(), "setup": wrong["setup"]})).expect(200);
    assert_eq!(pair["recovery_codes"].as_array().unwrap().len(), 10);
    let waiting = "SELECT COUNT(*) FROM users WHERE factor_pending IS NOT NULL";
    assert_eq!(count_in_database(server, waiting), 0);
}

fn what_an_admin_changes_meanwhile_costs_the_secret_and_not_the_log_in(before: &Server) {
    let server = &Server::with(before.engine(), &[("WATCHPOST_SECOND_FACTOR", "Analyst")]);
    let new =
        json!({"username": "jane", "password": PASSWORD, "role": "ANALYST", "must_change_password": false});
    let id = server.admin().post_json("/api/v1/users", &new.to_string()).expect(201)["id"].clone();
    let log_in = |body: Value| server.anonymous().post_json("/api/v1/auth/login", &body.to_string());
    let first = log_in(json!({"username": "jane", "password": PASSWORD})).expect(403);
    let changed = r#"{"email":"jane@example.com"}"#;
    server.admin().patch_json(&format!("/api/v1/users/{id}"), changed).expect(200);
    let mut app = App::new(&text(&first, "secret"));
    let second = log_in(json!({"otp": app.code(), "setup": first["setup"]})).expect(403);
    assert!(second["code"] == "second_factor_setup" && second["secret"] != first["secret"], "{second}");
    let mut app = App::new(&text(&second, "secret"));
    log_in(json!({"otp": app.code(), "setup": second["setup"]})).expect(200);
}

fn a_page_shows_a_secret_only_after_the_password(server: &Server) {
    server.user("jane", "ANALYST");
    let console = server.console("jane");
    let page = console.get("/account/");
    let token = value(&page, "form_token").to_owned();
    let send = |path: &str, fields: &str| console.post_form(path, &format!("form_token={token}&{fields}"));
    let shown = send("/account/factor/setup", &format!("current_password={PASSWORD}"));
    assert_eq!(shown.status, 200, "{}", shown.text);
    let setup = value(&shown, "setup").to_owned();
    let (_, rest) = shown.text.split_once("<code tabindex=\"0\" data-copy>").unwrap();
    let secret = rest.split('<').next().unwrap().to_owned();
    assert!(secret.len() >= 32, "{secret}");
    let stolen = send("/account/factor", "otp=000000");
    assert_eq!(stolen.status, 400);
    assert!(!stolen.text.contains(&secret), "a stolen session reads the secret off the page");
    let kept = send("/account/factor", &format!("otp=000000&setup={setup}"));
    assert!(kept.status == 400 && kept.text.contains(&secret), "it stays where it was asked for");
    let mut app = App::new(&secret);
    let elsewhere = server.console("jane");
    let their_token = value(&elsewhere.get("/account/"), "form_token").to_owned();
    let body = format!("form_token={their_token}&otp={}&setup={setup}", app.code());
    let refused = elsewhere.post_form("/account/factor", &body);
    assert!(refused.status == 400 && !refused.text.contains(&secret), "{}", refused.text);
    let begun = send("/account/factor", &format!("otp={}&setup={setup}", app.code()));
    assert!(begun.status == 200 && begun.text.contains("Recovery codes"), "{}", begun.text);
}
