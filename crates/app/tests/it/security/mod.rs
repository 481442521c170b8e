//! Whoever doesn't belong here gets nothing, and what they try is remembered.

mod audit;
mod checkpoints;
mod database_tls;
mod factor;
mod files;
mod forgery;
mod guessing;
mod injection;
mod keys;
mod matrix;
mod names;
mod openness;
mod pages;
mod passwords;
mod refusals;
mod renewal;
mod requirement;
mod seals;
mod secrets;
mod sessions;
mod set_up;
mod sign_up;
mod single_sign_on;
mod smuggling;
mod step_up;
mod step_up_pages;
mod tls;
pub(crate) mod totp;

use crate::server::{Client, Engine, Server};
use serde_json::{Value, json};

/// What a log-in answers, with the access token and the refresh token in it.
#[track_caller]
pub(crate) fn tokens(server: &Server, username: &str, password: &str) -> Value {
    let body = json!({"username": username, "password": password}).to_string();
    server.anonymous().post_json("/api/v1/auth/login", &body).expect(200)
}

/// A client that shows a token.
pub(crate) fn bearer<'a>(server: &'a Server, token: &str) -> Client<'a> {
    server.anonymous().with("authorization", &format!("Bearer {token}"))
}

/// Waits until an answer is as it should be: what was changed elsewhere is seen within five seconds, and nothing
/// tells a client when.
#[track_caller]
pub(crate) fn within_five_seconds(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "{what}: not within five seconds");
    }
}

/// The number that a query gives, past Watchpost.
pub(crate) fn count_in_database(server: &Server, query: &str) -> i64 {
    match server.engine() {
        Engine::Postgres => server.database().count(query),
        Engine::Sqlite => {
            let connection = sqlite(server);
            connection.query_row(query, [], |row| row.get(0)).unwrap()
        }
    }
}

/// Runs statements on the database, past Watchpost.
pub(crate) fn run_in_database(server: &Server, statements: &str) {
    match server.engine() {
        // As a node that knows the schema says it does.
        Engine::Postgres => server.database().run(&format!("SET watchpost.step = '9999'; {statements}")),
        Engine::Sqlite => sqlite(server).execute_batch(statements).unwrap(),
    }
}

/// Makes it eleven minutes ago that whoever is logged in showed who they are. What the server remembers of sessions
/// that were used is forgotten with it.
pub(crate) fn age_proofs(server: &Server) {
    run_in_database(server, "UPDATE sessions SET proved_at = proved_at - 660000000");
    // Any change of access makes the server look again.
    let body = serde_json::json!({"theme": "light"}).to_string();
    server.admin().patch_json("/api/v1/account/preferences", &body).expect(200);
}

fn sqlite(server: &Server) -> rusqlite::Connection {
    let file = server.folder.path().join("watchpost-data/watchpost.db");
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    connection
}

/// The rows of the audit log about an action, newest first.
pub(crate) fn audited(server: &Server, action: &str) -> Vec<Value> {
    let page = server.admin().get(&format!("/api/v1/audit?page_size=100&action={action}")).expect(200);
    page["results"].as_array().unwrap().clone()
}
