//! Whoever doesn't belong here gets nothing, and what they try is remembered.

mod audit;
mod factor;
mod forgery;
mod guessing;
mod injection;
mod keys;
mod matrix;
mod pages;
mod secrets;
mod sessions;
mod single_sign_on;
mod smuggling;
mod tls;
pub(crate) mod totp;

use crate::server::{Client, Server};
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

/// The rows of the audit log about an action, newest first.
pub(crate) fn audited(server: &Server, action: &str) -> Vec<Value> {
    let page = server.admin().get(&format!("/api/v1/audit?page_size=100&action={action}")).expect(200);
    page["results"].as_array().unwrap().clone()
}
