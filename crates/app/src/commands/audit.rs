//! `watchpost audit …`: shows that the audit log is what was written.

use crate::config::Config;
use crate::exit::{AppError, ExitStatus};
use crate::printer::Printer;
use crate::{Outcome, start};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io::Read;
use watchpost_model::Actor;
use watchpost_pipeline::now;
use watchpost_store::{AuditEntry, AuditHead, AuditProof, Db};
use watchpost_web::{Checkpoint, CheckpointError};

/// Rows between two lines that say how far it is.
const TELL_EVERY: i64 = 100_000;

pub(crate) fn command() -> Command {
    Command::new("audit")
        .about("Show that the audit log is what was written")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("verify")
                .about("Follow the chain of the whole log and its seals, and say where it breaks; exit code 8 when it does")
                .arg(Arg::new("reseal").long("reseal").action(ArgAction::SetTrue).help(
                    "Take the log as it stands, as long as its rows follow from one another: after a restore, a lost secret, or what \
                     an older version wrote",
                ))
                .arg(Arg::new("checkpoint").long("checkpoint").value_name("FILE").help(
                "A checkpoint that was kept: what was written before it has to be there still (- for stdin)",
            )),
        )
        .subcommand(
            Command::new("checkpoint")
                .about("Sign where the log stands; the checkpoint goes to stdout, to be kept somewhere else"),
        )
}

pub(crate) async fn run(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    match asked.subcommand() {
        Some(("verify", asked)) => verify(config, asked, printer).await,
        Some(("checkpoint", _)) => checkpoint(config, printer).await,
        _ => Ok(ExitStatus::Usage),
    }
}

async fn checkpoint(config: &Config, printer: &Printer) -> Outcome<ExitStatus> {
    let db = start::open_to_change(config).await?;
    db.note(&AuditEntry::local(now(), Actor::CommandLine), "audit.checkpoint", "audit", "").await?;
    let head = prove(&db, printer).await?;
    let checkpoint = Checkpoint::sign(&head, now(), &start::secret_key(config)?);
    printer.data(serde_json::to_string_pretty(&checkpoint).map_err(AppError::failed)?);
    db.close().await;
    Ok(ExitStatus::Ok)
}

/// Why the log isn't what was written.
fn broken(row: i64, how: &str) -> AppError {
    AppError::new(
        ExitStatus::Findings,
        format!("the audit log breaks at row {row}: {how}"),
        "something other than Watchpost wrote to it: compare it with a backup, and with an export of it",
    )
}

fn unvouched(row: i64, why: &str) -> AppError {
    AppError::new(
        ExitStatus::Findings,
        format!("the rows follow from one another, and nothing vouches for row {row}: {why}"),
        "the chain was computed anew, or rows were written, restored or sealed without the secret that is here: set \
         SECRET_KEY_PREVIOUS if it was changed; compare it with a backup, an export or a checkpoint; `watchpost audit verify --reseal` \
         takes it as it stands",
    )
}

/// Follows the chain to its end.
async fn prove(db: &Db, printer: &Printer) -> Outcome<AuditHead> {
    match look(db, printer).await? {
        AuditProof::Intact(head) => Ok(head),
        AuditProof::Broken(row, how) => Err(broken(row, how)),
        AuditProof::Unvouched(row, why) => Err(unvouched(row, why)),
    }
}

async fn look(db: &Db, printer: &Printer) -> Outcome<AuditProof> {
    let mut told = 0;
    let proof = db.prove_audit(|done, of| {
        if done - told >= TELL_EVERY {
            told = done;
            printer.say(format!("{done} of {of} rows"));
        }
    });
    Ok(proof.await?)
}

/// Takes the log as it stands, and says so in it.
async fn reseal(db: &Db, printer: &Printer) -> Outcome<()> {
    let found = match look(db, printer).await? {
        AuditProof::Intact(_) => "it was vouched for".to_owned(),
        AuditProof::Broken(row, why) | AuditProof::Unvouched(row, why) => format!("from row {row}: {why}"),
    };
    // A chain that breaks can't be mended, and nothing is written behind it.
    db.audit_key().await?;
    db.note(&AuditEntry::local(now(), Actor::CommandLine), "audit.reseal", "audit", found.as_str()).await?;
    match db.accept_audit_log(now()).await? {
        AuditProof::Intact(head) => {
            printer.say(format!("The log is sealed as it stands, up to row {} ({found}).", head.last_id));
            Ok(())
        }
        AuditProof::Broken(row, why) | AuditProof::Unvouched(row, why) => Err(broken(row, why)),
    }
}

fn no_secret() -> AppError {
    AppError::new(
        ExitStatus::Findings,
        "the rows follow from one another; whether they were computed anew can't be told without the secret",
        "set SECRET_KEY as the server has it, or run this in its data directory",
    )
}

fn read(file: &str) -> Outcome<Checkpoint> {
    let unusable = |error: &dyn std::fmt::Display| {
        let hint = "it is what `watchpost audit checkpoint` printed";
        AppError::new(ExitStatus::Usage, format!("the checkpoint can't be read: {error}"), hint)
    };
    let mut text = String::new();
    match file {
        "-" => std::io::stdin().read_to_string(&mut text).map(drop),
        file => std::fs::read_to_string(file).map(|read| text = read),
    }
    .map_err(|error| unusable(&error))?;
    // Of a file that each is added to, the last one counts.
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(&text).or_else(|_| serde_json::from_str(last)).map_err(|error| unusable(&error))
}

async fn verify(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let kept = asked.get_one::<String>("checkpoint").map(|file| read(file)).transpose()?;
    let db = start::open_current(config).await?;
    let secret = start::seal_if_there_is_a_secret(config)?;
    if asked.get_flag("reseal") {
        if !secret {
            return Err(no_secret());
        }
        reseal(&db, printer).await?;
    }
    let head = prove(&db, printer).await?;
    if !secret && db.audit_key().await?.is_some() {
        return Err(no_secret());
    }
    let rows = head.last_id - head.first_id + 1;
    printer.say(format!("The audit log is intact: {rows} rows, each following from the one before it."));
    if head.first_id > 1 {
        let before = head.first_id - 1;
        printer.say(format!("{before} rows were written before there were hashes; they are what they were when the log was first sealed."));
    }
    match kept {
        None => {
            printer.say(
                "Rows cut off its end with their seals, or a whole older log put back, only show with --checkpoint FILE.",
            );
        }
        Some(kept) => {
            let secret = start::secret_key(config)?;
            let secrets = [Some(secret.as_str()), config.previous_secret_key.as_deref()];
            kept.check(&db, secrets.into_iter().flatten()).await.map_err(|error| match error {
                CheckpointError::Store(error) => error.into(),
                error => AppError::new(
                    ExitStatus::Findings,
                    format!("the checkpoint of {} doesn't fit: {error}", kept.made_at),
                    "the log was cut or replaced since, or this is another server's checkpoint",
                ),
            })?;
            printer.say(format!("It holds everything up to row {}, as of {}.", kept.row, kept.made_at));
        }
    }
    db.close().await;
    Ok(ExitStatus::Ok)
}
