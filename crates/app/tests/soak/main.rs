//! What takes too long for every day: `cargo xtask soak security`. One file a topic.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that fails says where")]
#![allow(clippy::print_stdout, reason = "figures for whoever watches")]

mod audit;
mod broken;
#[path = "../it/database.rs"]
#[allow(dead_code, reason = "the daily suite uses all of it")]
mod database;
mod documented;
mod flood;
mod inside;
#[path = "../it/server.rs"]
#[allow(dead_code, reason = "the daily suite uses all of it")]
mod server;
mod slow;
mod tls;

fn tool(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is needed: run `cargo xtask soak security`"))
}

/// Minutes that a fuzzer has for each role.
fn minutes() -> u64 {
    std::env::var("WATCHPOST_TEST_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}
