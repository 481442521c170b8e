//! `watchpost backup`: copies a SQLite database as it is now, while the server runs.

use crate::config::Config;
use crate::exit::{AppError, ExitStatus};
use crate::printer::Printer;
use crate::{Outcome, start};
use clap::{Arg, ArgMatches, Command};
use std::fs::{DirBuilder, File, OpenOptions};
use std::path::{Path, PathBuf};
use watchpost_store::Location;

pub(crate) fn command() -> Command {
    Command::new("backup")
        .about(
            "Back up the SQLite database and the generated secret to a new directory, while the server runs",
        )
        .arg(Arg::new("directory").value_name("DIR").required(true).help("The directory to make"))
}

fn cant(path: &Path, error: &dyn std::fmt::Display) -> AppError {
    AppError::new(
        ExitStatus::Failed,
        format!("the backup can't be made: {}: {error}", path.display()),
        "name a directory that isn't there yet, on a disk with room for the whole database",
    )
}

pub(crate) async fn run(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    if let Location::Postgres(_) = config.location {
        return Err(AppError::new(
            ExitStatus::Usage,
            "a database on PostgreSQL is backed up by PostgreSQL's own means",
            "use pg_dump, or archive its log; docs/operations.md says how, and what else to keep",
        ));
    }
    let directory = PathBuf::from(asked.get_one::<String>("directory").map_or("", String::as_str));
    let db = start::open_current(config).await?;
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&directory).map_err(|error| cant(&directory, &error))?;
    let file = directory.join("watchpost.db");
    let size = db.back_up(&file).await?;
    db.close().await;
    let secret = keep_secret(config, &directory)?;
    #[cfg(unix)]
    File::open(&directory).and_then(|made| made.sync_all()).map_err(|error| cant(&directory, &error))?;
    printer.say(format!("{}: {:.1} MiB", file.display(), size as f64 / f64::from(1 << 20)));
    match secret {
        true => printer.say("secret.key is beside it: keep both where no other user can read them."),
        false => printer.say("SECRET_KEY is a setting here: keep it as well, apart from this."),
    }
    Ok(ExitStatus::Ok)
}

/// Copies the secret that was generated; whether there is one.
fn keep_secret(config: &Config, directory: &Path) -> Outcome<bool> {
    if config.secret_key.is_some() {
        return Ok(false);
    }
    let secret = start::secret_key(config)?;
    let path = directory.join("secret.key");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&path).and_then(|mut file: File| {
        std::io::Write::write_all(&mut file, format!("{secret}\n").as_bytes())?;
        file.sync_all()
    });
    written.map(|()| true).map_err(|error| cant(&path, &error))
}
