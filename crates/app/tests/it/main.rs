//! Drives the real binary over HTTP, on both engines.

#![allow(clippy::print_stdout, reason = "figures for whoever asks for more rounds")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that fails says where")]

mod access;
mod administration;
mod api_corner;
mod axe;
mod bad_input;
mod browser;
mod bulk;
mod command_line;
mod console;
mod contract;
mod database;
mod demo;
mod documentation;
mod durability;
mod explorer;
mod faults;
mod first_run;
mod handover;
mod inside;
mod jobs;
mod keyboard;
mod ledger;
mod listener;
mod login;
mod net;
mod overload;
mod pages;
mod preferences;
mod queue;
mod security;
mod server;
mod settings;
mod shapes;
mod stats;
mod tail;
mod throttle;
mod triage;
mod views;
mod watching;

/// Makes two tests of each function that takes a server: one on SQLite, one on PostgreSQL.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(&$crate::server::Server::start($crate::server::Engine::Sqlite)); })*
        }
        mod postgres {
            $(#[test] fn $name() { super::$name(&$crate::server::Server::start($crate::server::Engine::Postgres)); })*
        }
    };
}
pub(crate) use on_both_engines;
