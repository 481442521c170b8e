//! `watchpost audit …`: shows that the audit log is what was written.

use crate::config::Config;
use crate::exit::{AppError, ExitStatus};
use crate::printer::Printer;
use crate::{Outcome, start};
use clap::{Arg, ArgMatches, Command};
use std::io::Read;
use watchpost_pipeline::now;
use watchpost_store::{AuditHead, AuditProof, Db};
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
                .about("Follow the chain of the whole log, and say where it breaks")
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
    let db = start::open_current(config).await?;
    let head = prove(&db, printer).await?;
    let checkpoint = Checkpoint::sign(&head, now(), &start::secret_key(config)?);
    printer.data(serde_json::to_string_pretty(&checkpoint).map_err(AppError::failed)?);
    db.close().await;
    Ok(ExitStatus::Ok)
}

/// Follows the chain to its end.
async fn prove(db: &Db, printer: &Printer) -> Outcome<AuditHead> {
    let mut told = 0;
    let proof = db.prove_audit(|done, of| {
        if done - told >= TELL_EVERY {
            told = done;
            printer.say(format!("{done} of {of} rows"));
        }
    });
    match proof.await? {
        AuditProof::Intact(head) => Ok(head),
        AuditProof::Broken(row, how) => Err(AppError::new(
            ExitStatus::Failed,
            format!("the audit log breaks at row {row}: {how}"),
            "somebody wrote to it past Watchpost: compare it with a backup, and with an export of it",
        )),
    }
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
    serde_json::from_str(&text).map_err(|error| unusable(&error))
}

async fn verify(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let kept = asked.get_one::<String>("checkpoint").map(|file| read(file)).transpose()?;
    let db = start::open_current(config).await?;
    let head = prove(&db, printer).await?;
    let rows = head.last_id - head.first_id + 1;
    printer.say(format!("The audit log is intact: {rows} rows, each following from the one before it."));
    if head.first_id > 1 {
        let before = head.first_id - 1;
        printer.say(format!("{before} rows were written before there were hashes, and aren't vouched for."));
    }
    match kept {
        None => {
            printer.say(
                "Rows cut off its end, or a whole older log put back, only show with --checkpoint FILE.",
            );
        }
        Some(kept) => {
            let secret = start::secret_key(config)?;
            let secrets = [Some(secret.as_str()), config.previous_secret_key.as_deref()];
            kept.check(&db, secrets.into_iter().flatten()).await.map_err(|error| match error {
                CheckpointError::Store(error) => error.into(),
                error => AppError::new(
                    ExitStatus::Failed,
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
