//! A week in the life of a small company, for whoever wants to see Watchpost at work before there are sensors.

mod calendar;
mod cast;
mod dice;
mod facts;
mod fill;
mod habits;
mod intruders;
mod kinds;
mod live;
mod ordinary;
mod sight;
mod stories;
mod tales;
mod team;
mod words;

pub(crate) use fill::{Week, fill};
pub(crate) use live::Live;

use crate::Outcome;
use crate::exit::{AppError, ExitStatus};
use cast::Who;
use std::net::SocketAddr;
use watchpost_model::Timestamp;
use watchpost_pipeline::now;
use watchpost_store::{Db, StoreError};

/// What the data folder is called unless somebody says otherwise.
pub(crate) const FOLDER: &str = "./watchpost-demo";

/// What a database holds, as far as a demo is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Nothing, or empty tables of Watchpost.
    Nothing,
    /// A whole week.
    Week,
    /// A week whose making broke off.
    HalfAWeek,
    /// What is somebody's.
    SomebodysData,
}

/// Looks at what is in a database. An installation that nobody has used yet is brought up to date.
pub(crate) async fn look(db: &Db) -> Result<Holds, StoreError> {
    if db.is_bare().await? {
        return Ok(Holds::Nothing);
    }
    if !db.is_ours().await? {
        return Ok(Holds::SomebodysData);
    }
    if !db.has_users().await? {
        db.migrate(now()).await?;
        let log = db.audit_head().await?;
        return Ok(if log.last_id < log.first_id { Holds::Nothing } else { Holds::SomebodysData });
    }
    if !is_demo(db).await? {
        return Ok(Holds::SomebodysData);
    }
    match db.email_of(Who::LAST.name()).await? {
        Some(_) => Ok(Holds::Week),
        None => Ok(Holds::HalfAWeek),
    }
}

async fn is_demo(db: &Db) -> Result<bool, StoreError> {
    Ok(db.email_of(Who::Admin.name()).await? == Some(Who::Admin.email()))
}

/// Refuses to serve a demo to anybody but its own machine: its passwords are public.
pub(crate) async fn stays_here(db: &Db, address: SocketAddr) -> Outcome<()> {
    match address.ip().to_canonical().is_loopback() || !is_demo(db).await? {
        true => Ok(()),
        false => Err(strangers(address)),
    }
}

/// Why a demo isn't served at an address.
pub(crate) fn strangers(address: impl std::fmt::Display) -> AppError {
    AppError::new(
        ExitStatus::Setting,
        format!("a demo isn't served at {address}: everybody knows its passwords"),
        "choose an address of this machine alone, such as --listen 127.0.0.1:8000",
    )
}

/// How to log in to a demo.
pub(crate) fn log_ins() -> String {
    let all = Who::ALL.map(|who| format!("{} ({})", who.name(), who.role().title()));
    format!(
        "Log in as {} or {}; the password is {}",
        all[..all.len() - 1].join(", "),
        all[all.len() - 1],
        cast::PASSWORD
    )
}

/// When the week of a demo ended.
pub(crate) async fn ended(db: &Db) -> Result<Option<Timestamp>, StoreError> {
    let last = db.credentials_by_name(Who::LAST.name()).await?;
    Ok(last.map(|last| last.user.created_at))
}
