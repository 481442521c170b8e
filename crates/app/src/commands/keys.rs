//! `watchpost key …`: sensor keys, from a shell on the server.

use super::all_rows;
use crate::config::Config;
use crate::exit::{AppError, ExitStatus};
use crate::printer::{Printer, table};
use crate::{Outcome, start};
use clap::{Arg, ArgMatches, Command};
use watchpost_model::key::{GivenKey, NewKey, SensorKey};
use watchpost_model::text::Given;
use watchpost_model::{Actor, KeyId, Timestamp};
use watchpost_pipeline::now;
use watchpost_store::{AuditEntry, StoreError};
use watchpost_web::generate_key;

pub(crate) fn command() -> Command {
    Command::new("key")
        .about("Manage sensor keys: the credential of things that send events")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("create")
                .about("Make a key; its secret goes to stdout, once")
                .arg(Arg::new("name").value_name("NAME").required(true).help("What the key is for"))
                .arg(
                    Arg::new("days")
                        .long("expires-in-days")
                        .value_name("DAYS")
                        .help("Days until it stops working; never when left out"),
                )
                .arg(
                    Arg::new("source")
                        .long("source")
                        .value_name("NAME")
                        .help("The only source it speaks for; events needn't name it then"),
                )
                .arg(
                    Arg::new("max-severity")
                        .long("max-severity")
                        .value_name("SEVERITY")
                        .help("The worst it may report: LOW, MEDIUM, HIGH or CRITICAL"),
                )
                .arg(
                    Arg::new("from")
                        .long("from")
                        .value_name("RANGES")
                        .help("From where it may be used, such as 10.0.0.0/8,192.0.2.7"),
                )
                .arg(
                    Arg::new("rate")
                        .long("rate")
                        .value_name("RATE")
                        .help("How fast, such as 600/m, instead of what all keys have"),
                ),
        )
        .subcommand(Command::new("list").about("List keys, without their secrets"))
        .subcommand(
            Command::new("revoke").about("Revoke a key: it stops working at once").arg(
                Arg::new("id").value_name("ID").required(true).help("The key's id, as `key list` shows it"),
            ),
        )
}

pub(crate) async fn run(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    match asked.subcommand() {
        Some(("create", asked)) => create(config, asked, printer).await,
        Some(("list", _)) => list(config, printer).await,
        Some(("revoke", asked)) => revoke(config, asked, printer).await,
        _ => Ok(ExitStatus::Usage),
    }
}

fn by_command_line() -> AuditEntry {
    AuditEntry::local(now(), Actor::CommandLine)
}

async fn create(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let given = |name: &str| match asked.get_one::<String>(name) {
        Some(text) => Given::Text(text.clone().into()),
        None => Given::Missing,
    };
    let asked_for = GivenKey {
        name: given("name"),
        expires_in_days: given("days"),
        source_name: given("source"),
        max_severity: given("max-severity"),
        networks: given("from"),
        rate: given("rate"),
    };
    let new = NewKey::check(&asked_for).map_err(|wrong| {
        let said: Vec<_> =
            wrong.fields().iter().map(|(f, said)| format!("{f}: {}", said.join(" "))).collect();
        AppError::new(
            ExitStatus::Usage,
            said.join("\nerror: "),
            "`watchpost key create --help` says what is expected",
        )
    })?;
    let db = start::open_to_change(config).await?;
    let (secret, prefix, hash) = generate_key();
    let key = db.create_key(new, &prefix, &hash, &by_command_line()).await?;
    let held_to = match key.limits.to_string() {
        none if none.is_empty() => none,
        limits => format!(" ({limits})"),
    };
    printer.say(format!("Key {} for {}{held_to} is made. The secret, shown this once:", key.id, key.name));
    printer.data(secret);
    db.close().await;
    Ok(ExitStatus::Ok)
}

async fn list(config: &Config, printer: &Printer) -> Outcome<ExitStatus> {
    let db = start::open_current(config).await?;
    let row = |key: SensorKey| {
        let state = match (key.revoked_at, key.works_at(now())) {
            (Some(_), _) => "revoked",
            (None, true) => "active",
            (None, false) => "expired",
        };
        let time = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
        let (expires, used, limits) = (time(key.expires_at), time(key.last_used_at), key.limits.to_string());
        vec![key.id.to_string(), key.name, format!("{}…", key.prefix), state.into(), expires, used, limits]
    };
    let keys = all_rows(|page| db.keys(page)).await?;
    let rows: Vec<_> = keys.into_iter().map(row).collect();
    match rows.is_empty() {
        true => printer.say("There are no keys yet. `watchpost key create NAME` makes one."),
        false => {
            printer.data(table(&["ID", "NAME", "SECRET", "STATE", "EXPIRES", "LAST USED", "HELD TO"], &rows))
        }
    }
    Ok(ExitStatus::Ok)
}

async fn revoke(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let text = asked.get_one::<String>("id").cloned().unwrap_or_default();
    let no_such = || {
        AppError::new(
            ExitStatus::Failed,
            format!("there is no key {text}"),
            "`watchpost key list` shows all of them",
        )
    };
    let id: KeyId = text.parse().map_err(|_| no_such())?;
    let db = start::open_to_change(config).await?;
    let key = db.revoke_key(id, &by_command_line()).await.map_err(|error| match error {
        StoreError::NotFound => no_such(),
        error => error.into(),
    })?;
    printer.say(format!("Key {id} ({}) is revoked.", key.name));
    db.close().await;
    Ok(ExitStatus::Ok)
}
