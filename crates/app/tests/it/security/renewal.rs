//! What is kept of passwords and second factors moves along with keys and parameters, and a change of either ends what
//! was begun before.

use super::step_up::set_up;
use super::totp::App;
use super::{age_proofs, count_in_database, run_in_database};
use crate::console::form_token;
use crate::on_both_engines;
use crate::server::{ADMIN, Client, PASSWORD, Server};
use serde_json::{Value, json};

on_both_engines!(
    a_factor_is_sealed_with_the_key_in_use_once_its_code_was_right,
    a_hash_of_other_parameters_is_made_anew_by_the_right_password,
    a_change_of_the_second_factor_ends_all_other_sessions,
    logging_out_has_the_browser_forget,
);

const OLD: &str = "the secret that was used until yesterday evening";
const NEW: &str = "the secret that is used from this morning onwards";

fn log_in(server: &Server, otp: &str) -> u16 {
    let body = json!({"username": "jane", "password": PASSWORD, "otp": otp}).to_string();
    server.anonymous().post_json("/api/v1/auth/login", &body).status
}

fn a_factor_is_sealed_with_the_key_in_use_once_its_code_was_right(before: &Server) {
    let mut server = Server::with(before.engine(), &[("SECRET_KEY", OLD)]);
    let (mut app, codes) = set_up(&server.user("jane", "ANALYST"));
    server.kill();
    server.set(&[("SECRET_KEY", NEW), ("SECRET_KEY_PREVIOUS", OLD)]);
    server.restart();
    let rows = |wanted: &str| {
        let all = "SELECT COUNT(*) FROM users WHERE username = 'jane' AND factor_secret";
        count_in_database(&server, &format!("{all} {wanted}"))
    };
    // A mark of what is stored, that a secret sealed anew doesn't have.
    run_in_database(
        &server,
        "CREATE TABLE sealed_before AS SELECT factor_secret FROM users WHERE username = 'jane'",
    );
    let as_before = "IN (SELECT factor_secret FROM sealed_before)";
    assert_eq!(log_in(&server, "000000"), 401);
    assert_eq!(log_in(&server, &codes[0]), 200);
    assert_eq!(rows(as_before), 1, "a wrong code and a recovery code change nothing");
    assert_eq!(log_in(&server, &app.code()), 200);
    assert_eq!((rows(as_before), rows("IS NOT NULL")), (0, 1), "it is sealed anew");
    // Codes are good once; without that this test would have to wait for the next.
    run_in_database(
        &server,
        "DROP TABLE sealed_before; UPDATE users SET factor_step = 0 WHERE username = 'jane'",
    );
    server.kill();
    server.set(&[("SECRET_KEY", NEW)]);
    server.restart();
    let code = App::new(app.secret()).code();
    assert_eq!(log_in(&server, &code), 200, "the old key isn't needed any more");
}

/// `correct-horse-battery`, with less memory and one pass, as somebody might have brought it along.
fn cheap_hash() -> String {
    use argon2::password_hash::PasswordHasher;
    let params = argon2::Params::new(1_024, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(PASSWORD.as_bytes()).unwrap().to_string()
}

fn a_hash_of_other_parameters_is_made_anew_by_the_right_password(server: &Server) {
    server.user("jane", "ANALYST");
    let hash = cheap_hash();
    run_in_database(server, &format!("UPDATE users SET password_hash = '{hash}' WHERE username = 'jane'"));
    let with = |parameters: &str| {
        let all =
            "SELECT COUNT(*) FROM users WHERE username = 'jane' AND password_hash LIKE '$argon2id$v=19$";
        count_in_database(server, &format!("{all}{parameters}$%'"))
    };
    let body = json!({"username": "jane", "password": "wrong"}).to_string();
    assert_eq!(server.anonymous().post_json("/api/v1/auth/login", &body).status, 401);
    assert_eq!(with("m=1024,t=1,p=1"), 1, "a wrong password changes nothing");
    let jane = server.log_in("jane", PASSWORD);
    assert_eq!((with("m=1024,t=1,p=1"), with("m=19456,t=2,p=1")), (0, 1));
    jane.get("/api/v1/auth/me").expect(200);
    server.log_in("jane", PASSWORD);
    // The same where it is asked for once more.
    run_in_database(server, &format!("UPDATE users SET password_hash = '{hash}' WHERE username = 'jane'"));
    jane.post_json("/api/v1/auth/step-up", &json!({"password": PASSWORD}).to_string()).expect(200);
    assert_eq!(with("m=19456,t=2,p=1"), 1);
}

fn a_change_of_the_second_factor_ends_all_other_sessions(server: &Server) {
    let jane = server.user("jane", "ANALYST");
    let others = || (server.log_in("jane", PASSWORD), server.console("jane"));
    let alive = |(token, console): &(Client<'_>, Client<'_>)| {
        (token.get("/api/v1/alerts").status, console.get("/alerts").status)
    };
    let before = others();
    assert_eq!(alive(&before), (200, 200));
    let (_, codes) = set_up(&jane);
    assert_eq!(alive(&before), (401, 303), "a second factor was added");
    jane.get("/api/v1/alerts").expect(200);

    let code = |n: usize| codes[n].as_str();
    let with = |otp: &str| {
        let body = json!({"username": "jane", "password": PASSWORD, "otp": otp}).to_string();
        let pair = server.anonymous().post_json("/api/v1/auth/login", &body).expect(200);
        super::bearer(server, pair["access"].as_str().unwrap())
    };
    let other = with(code(0));
    let body = json!({"current_password": PASSWORD, "otp": code(1)}).to_string();
    assert_eq!(jane.post_json("/api/v1/auth/factor/remove", &body).status, 204);
    assert_eq!(other.get("/api/v1/alerts").status, 401, "it was removed");
    jane.get("/api/v1/alerts").expect(200);

    set_up(&jane);
    let id = jane.get("/api/v1/auth/me").expect(200)["id"].clone();
    assert_eq!(server.admin().send("DELETE", &format!("/api/v1/users/{id}/factor"), "", b"").status, 204);
    assert_eq!(
        jane.get("/api/v1/alerts").status,
        401,
        "an Admin removed it: whoever is in began with another"
    );

    let jane = server.log_in("jane", PASSWORD);
    let before = others();
    let change = json!({"current_password": PASSWORD, "new_password": "wolkenbruch im mai"}).to_string();
    let pair: Value = jane.post_json("/api/v1/auth/password", &change).expect(200);
    assert_eq!(alive(&before), (401, 303), "the password was changed");
    super::bearer(server, pair["access"].as_str().unwrap()).get("/api/v1/alerts").expect(200);
}

fn logging_out_has_the_browser_forget(server: &Server) {
    let admin = server.console(ADMIN);
    age_proofs(server);
    let token = form_token(&admin.get("/"));
    let left = admin.post_form("/logout", &format!("form_token={token}"));
    assert_eq!((left.status, left.header("location")), (303, "/login"));
    assert_eq!(left.header("clear-site-data"), "\"cache\", \"storage\"");
    assert_eq!(admin.get("/").status, 303);
    let public = [("WATCHPOST_PUBLIC_URL", "https://watchpost.example")];
    let doctor = |more: &[(&str, &str)]| {
        let all = public.iter().chain(more).copied();
        let output = server.command().envs(all).args(["doctor", "--quick"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let warns = "Admins can log in with a password alone";
    assert!(doctor(&[]).contains(warns), "{}", doctor(&[]));
    assert!(!doctor(&[("WATCHPOST_SECOND_FACTOR", "Admin")]).contains(warns));
}
