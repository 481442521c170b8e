//! `watchpost migrate`: brings the database up to date.

use crate::config::Config;
use crate::exit::ExitStatus;
use crate::printer::Printer;
use crate::{Outcome, start};
use clap::{Arg, ArgAction, ArgMatches, Command};
use watchpost_pipeline::now;

pub(crate) fn command() -> Command {
    let check = Arg::new("check").long("check").action(ArgAction::SetTrue);
    Command::new("migrate")
        .about("Bring the database up to date (starting the server does it, too)")
        .arg(check.help("Only say what is missing; exit code 8 when something is"))
}

pub(crate) async fn run(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let db = start::open(config).await?;
    if asked.get_flag("check") {
        let pending = db.pending_migrations().await?;
        pending.iter().for_each(|step| printer.data(format!("missing: {} {}", step.number, step.name)));
        if !pending.is_empty() {
            return Ok(ExitStatus::Findings);
        }
        printer.say("The database is up to date.");
        return Ok(ExitStatus::Ok);
    }
    let applied = db.migrate(now()).await?;
    applied.iter().for_each(|step| printer.data(format!("applied: {} {}", step.number, step.name)));
    printer.say("The database is up to date.");
    db.close().await;
    Ok(ExitStatus::Ok)
}
