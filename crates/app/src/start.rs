//! What a command needs before it can begin: the data directory, the secret, the database.

use crate::Outcome;
use crate::config::Config;
use crate::exit::{AppError, ExitStatus};
use crate::net::{Tls, TlsFiles};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;
use watchpost_store::{Db, Location};

/// Characters of a generated secret: 238 bits.
const SECRET_CHARS: usize = 40;
const SECRET_FILE: &str = "secret.key";
const LOCK_FILE: &str = "watchpost.lock";

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> AppError {
    AppError::new(
        ExitStatus::DataDirectory,
        format!("the data directory can't be used: {}: {error}", path.display()),
        "choose another with --data-dir, or make it writable for this user",
    )
}

/// Makes the data directory, for this user alone.
pub(crate) fn data_dir(config: &Config) -> Outcome<()> {
    let path = &config.data_dir;
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| unusable(path, &error))
}

/// Keeps a second server from using the same SQLite file; held as long as the file is open.
pub(crate) fn lock(config: &Config) -> Outcome<Option<File>> {
    let Location::Sqlite(database) = &config.location else { return Ok(None) };
    let directory = database.parent().unwrap_or(Path::new("."));
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.map_err(|error| unusable(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(AppError::new(
            ExitStatus::DataDirectory,
            format!("another Watchpost server uses {}", database.display()),
            "stop it first, or give this one another --data-dir; several servers can share PostgreSQL",
        )),
        Err(TryLockError::Error(error)) => Err(unusable(&path, &error)),
    }
}

/// Certificate and key, ready for use.
pub(crate) fn tls(files: TlsFiles) -> Outcome<Tls> {
    let hint = "WATCHPOST_TLS_CERT and WATCHPOST_TLS_KEY are PEM files that this user can read";
    Tls::load(files).map_err(|error| AppError::new(ExitStatus::Setting, error, hint))
}

/// The secret that tokens are signed with: the setting, or the one in the data directory, made on the first start.
pub(crate) fn secret_key(config: &Config) -> Outcome<String> {
    if let Some(secret) = &config.secret_key {
        return Ok(secret.clone());
    }
    let path = config.data_dir.join(SECRET_FILE);
    if let Ok(text) = std::fs::read_to_string(&path) {
        let text = text.trim().to_owned();
        if text.len() < 32 {
            return Err(unusable(&path, &"the secret in it is too short; delete it to have one made"));
        }
        return Ok(text);
    }
    let secret = watchpost_web::random_secret(SECRET_CHARS);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&path).and_then(|mut file| {
        writeln!(file, "{secret}")?;
        file.sync_all()
    });
    written.map_err(|error| unusable(&path, &error))?;
    Ok(secret)
}

/// Opens the database, making the directory of its file if need be.
pub(crate) async fn open(config: &Config) -> Outcome<Db> {
    if let Location::Sqlite(_) = &config.location {
        data_dir(config)?;
    }
    Ok(Db::open(&config.location).await?)
}

/// Opens a database that has to be up to date already.
pub(crate) async fn open_current(config: &Config) -> Outcome<Db> {
    let db = open(config).await?;
    let pending = db.pending_migrations().await?;
    if pending.is_empty() {
        return Ok(db);
    }
    Err(AppError::new(
        ExitStatus::DatabaseUnfit,
        format!("the database lacks {} step(s) that this Watchpost needs", pending.len()),
        "run `watchpost migrate`, or start the server once",
    ))
}
