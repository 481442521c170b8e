//! The second factor: asked for on every path that takes a password, and good once.

use super::totp::App;
use super::{audited, bearer};
use crate::on_both_engines;
use crate::server::{ADMIN, Answer, PASSWORD, Server};
use serde_json::{Value, json};

on_both_engines!(
    every_path_asks_for_the_code_and_takes_it_once,
    recovery_codes_let_in_once,
    a_role_can_be_required_to_have_one,
    one_time_passwords_have_to_be_changed,
    the_console_asks_step_by_step,
);

const LOG_INS: [&str; 4] = ["/api/v1/auth/login", "/api/auth/login/", "/api/auth/token/", "/v1/auth/login/"];

fn log_in(server: &Server, path: &str, body: Value) -> Answer {
    server.anonymous().post_json(path, &body.to_string())
}

/// Sets a second factor up for a user with the suite's password; the app and the recovery codes.
fn set_up(server: &Server, username: &str) -> (App, Vec<String>) {
    let client = server.log_in(username, PASSWORD);
    let wrong = client.post_json("/api/v1/auth/factor/setup", r#"{"current_password":"wrong"}"#);
    assert_eq!(wrong.status, 400, "a stolen session isn't enough");
    let body = json!({"current_password": PASSWORD}).to_string();
    let offered = client.post_json("/api/v1/auth/factor/setup", &body).expect(200);
    assert!(offered["qr_svg"].as_str().unwrap().starts_with("<svg"));
    assert!(offered["otpauth_url"].as_str().unwrap().contains(offered["secret"].as_str().unwrap()));
    assert_eq!(client.get("/api/v1/auth/factor").expect(200)["enabled"], false, "not before the first code");
    let begin = |otp: &str| {
        let body = json!({"otp": otp, "setup": offered["setup"]}).to_string();
        client.post_json("/api/v1/auth/factor", &body)
    };
    assert!(begin("000000").expect(400)["otp"].is_array());
    let mut app = App::new(offered["secret"].as_str().unwrap());
    let begun = begin(&app.code()).expect(200);
    let codes = begun["recovery_codes"].as_array().unwrap();
    assert_eq!(codes.len(), 10);
    (app, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
}

fn every_path_asks_for_the_code_and_takes_it_once(server: &Server) {
    server.user("jane", "RESPONDER");
    let (mut app, _) = set_up(server, "jane");
    let plain = json!({"username": "jane", "password": PASSWORD});
    for path in LOG_INS {
        assert_eq!(log_in(server, path, plain.clone()).expect(401)["code"], "otp_required", "{path}");
        let null = json!({"username": "jane", "password": PASSWORD, "otp": null});
        assert_eq!(log_in(server, path, null).expect(401)["code"], "otp_required", "{path}");
    }
    // Whoever has the code and not the password learns nothing.
    let no_password = json!({"username": "jane", "password": "wrong", "otp": "123456"});
    assert_eq!(log_in(server, LOG_INS[0], no_password).expect(401)["code"], "no_active_account");
    let code = app.code();
    let with = |code: &str| json!({"username": "jane", "password": PASSWORD, "otp": code});
    let pair =
        log_in(server, "/api/auth/token/", with(&format!(" {} {}", &code[..3], &code[3..]))).expect(200);
    assert_eq!(
        log_in(server, LOG_INS[1], with(&code)).expect(401)["code"],
        "otp_wrong",
        "a code is good once"
    );
    let jane = bearer(server, pair["access"].as_str().unwrap());
    assert_eq!(jane.get("/api/v1/auth/factor").expect(200)["enabled"], true);
    // Taking it away needs both again; the code of the next step is left for it.
    let only_password = json!({"current_password": PASSWORD}).to_string();
    assert!(jane.post_json("/api/v1/auth/factor/remove", &only_password).expect(400)["otp"].is_array());
    let both = json!({"current_password": PASSWORD, "otp": app.code()}).to_string();
    assert_eq!(jane.post_json("/api/v1/auth/factor/remove", &both).status, 204);
    log_in(server, LOG_INS[0], plain).expect(200);
    assert_eq!((audited(server, "factor.begin").len(), audited(server, "factor.end").len()), (1, 1));
    let rows = json!(audited(server, "login.failed")).to_string();
    assert!(rows.contains("wrong second factor") && !rows.contains(&code));
}

fn recovery_codes_let_in_once(server: &Server) {
    server.user("jane", "ANALYST");
    let (mut app, codes) = set_up(server, "jane");
    let with = |code: &str| json!({"username": "jane", "password": PASSWORD, "otp": code});
    let spaced = codes[0].replace('-', " ");
    let pair = log_in(server, LOG_INS[0], with(&spaced)).expect(200);
    assert_eq!(log_in(server, LOG_INS[0], with(&codes[0])).expect(401)["code"], "otp_wrong");
    let jane = bearer(server, pair["access"].as_str().unwrap());
    assert_eq!(jane.get("/api/v1/auth/factor").expect(200)["recovery_codes_left"], 9);
    let again = json!({"current_password": PASSWORD, "otp": app.code()}).to_string();
    let new = jane.post_json("/api/v1/auth/factor/recovery-codes", &again).expect(200);
    assert_eq!(log_in(server, LOG_INS[0], with(&codes[1])).status, 401, "the old ones are worth nothing");
    log_in(server, LOG_INS[0], with(new["recovery_codes"][0].as_str().unwrap())).expect(200);
    assert_eq!(audited(server, "factor.recovery").len(), 2);
    // An Admin helps whoever lost everything.
    let id = jane.get("/api/v1/auth/me").expect(200)["id"].clone();
    assert_eq!(server.admin().send("DELETE", &format!("/api/v1/users/{id}/factor"), "", b"").status, 204);
    server.log_in("jane", PASSWORD);
}

fn a_role_can_be_required_to_have_one(before: &Server) {
    let server = &Server::with(before.engine(), &[("WATCHPOST_SECOND_FACTOR", "admin, Responder")]);
    let plain = json!({"username": ADMIN, "password": PASSWORD});
    for path in LOG_INS {
        assert_eq!(log_in(server, path, plain.clone()).expect(403)["code"], "second_factor_setup", "{path}");
    }
    let wrong = json!({"username": ADMIN, "password": "wrong"});
    let refused = log_in(server, LOG_INS[0], wrong).expect(401);
    assert!(refused["secret"].is_null(), "the secret is shown to whoever has the password only");
    let offered = log_in(server, LOG_INS[0], plain.clone()).expect(403);
    let mut app = App::new(offered["secret"].as_str().unwrap());
    let with =
        |otp: &str| json!({"username": ADMIN, "password": PASSWORD, "otp": otp, "setup": offered["setup"]});
    let still = log_in(server, LOG_INS[0], with("000000")).expect(403);
    assert_eq!(still["secret"], offered["secret"], "the same secret until its first code");
    let with = with(&app.code());
    let pair = log_in(server, LOG_INS[0], with).expect(200);
    assert_eq!(pair["recovery_codes"].as_array().unwrap().len(), 10);
    let admin = bearer(server, pair["access"].as_str().unwrap());
    let both = json!({"current_password": PASSWORD, "otp": app.code()}).to_string();
    assert_eq!(admin.post_json("/api/v1/auth/factor/remove", &both).expect(409)["code"], "factor_required");
    // The other roles do without.
    let ann =
        json!({"username": "ann", "password": PASSWORD, "role": "ANALYST", "must_change_password": false});
    admin.post_json("/api/v1/users", &ann.to_string()).expect(201);
    server.log_in("ann", PASSWORD);
}

fn one_time_passwords_have_to_be_changed(server: &Server) {
    let jane = server.user("jane", "ANALYST");
    let id = jane.get("/api/v1/auth/me").expect(200)["id"].clone();
    let reset = server.admin().post_json(&format!("/api/v1/users/{id}/reset-password"), "").expect(200);
    let given = reset["password"].as_str().unwrap();
    assert_eq!(jane.get("/api/v1/auth/me").status, 401);
    assert_eq!(log_in(server, LOG_INS[0], json!({"username": "jane", "password": PASSWORD})).status, 401);
    for path in LOG_INS {
        let body = json!({"username": "jane", "password": given});
        assert_eq!(log_in(server, path, body).expect(403)["code"], "password_change_required", "{path}");
    }
    let with = |new: &str| json!({"username": "jane", "password": given, "new_password": new});
    assert!(log_in(server, LOG_INS[0], with("short")).expect(400)["new_password"].is_array());
    assert!(log_in(server, LOG_INS[0], with(given)).expect(400)["new_password"].is_array(), "the same again");
    log_in(server, LOG_INS[0], with("wolkenbruch im mai")).expect(200);
    assert_eq!(log_in(server, LOG_INS[0], with("sonnenschein im juni")).status, 401, "it worked once");
    server.log_in("jane", "wolkenbruch im mai");
}

/// What stands in a field of a page.
pub(super) fn value<'a>(page: &'a Answer, name: &str) -> &'a str {
    let (_, rest) = page
        .text
        .split_once(&format!("name=\"{name}\" value=\""))
        .unwrap_or_else(|| panic!("{name}: {}", page.text));
    rest.split('"').next().unwrap()
}

fn the_console_asks_step_by_step(server: &Server) {
    let jane = server.user("jane", "ANALYST");
    let id = jane.get("/api/v1/auth/me").expect(200)["id"].clone();
    let (mut app, codes) = set_up(server, "jane");
    let reset = server.admin().post_json(&format!("/api/v1/users/{id}/reset-password"), "").expect(200);
    let given = reset["password"].as_str().unwrap();
    let anyone = server.anonymous();
    let page = anyone.post_form("/login", &format!("username=jane&password={given}&next=/alerts/7"));
    assert_eq!(page.status, 403);
    assert!(page.header("set-cookie").is_empty(), "nobody is in yet");
    assert!(page.text.contains("name=\"new_password\"") && page.text.contains("name=\"otp\""));
    assert!(!page.text.contains(given), "the password isn't in the page");
    let halfway = value(&page, "halfway").to_owned();
    let send = |new: &str, otp: &str| {
        let form = format!("halfway={halfway}&next=%2Falerts%2F7&new_password={new}&otp={otp}");
        anyone.post_form("/login", &form)
    };
    let short = send("kurz", &codes[3]);
    assert_eq!(short.status, 400);
    assert!(short.text.contains("at least 12") && short.text.contains("name=\"otp\""), "{}", short.text);
    let wrong = send("wolkenbruch%20im%20mai", "000000");
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("The code is wrong"), "{}", wrong.text);
    let entered = send("wolkenbruch%20im%20mai", &app.code());
    assert_eq!((entered.status, entered.header("location")), (303, "/alerts/7"), "{}", entered.text);
    let cookie = entered.header("set-cookie").split(';').next().unwrap().to_owned();
    let console = server.anonymous().with("cookie", &cookie);
    assert_eq!(console.get("/account/").status, 200);
    // What was kept between the steps lets nobody in a second time: the password it stood for is gone.
    assert_eq!(send("sonnenschein%20im%20juni", &codes[4]).status, 401);
    for forged in ["", "x", &halfway[..halfway.len() - 1]] {
        let form = format!("halfway={forged}&otp={}", codes[5]);
        assert!(anyone.post_form("/login", &form).status >= 400);
    }
}
