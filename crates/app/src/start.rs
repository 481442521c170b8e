//! What a command needs before it can begin: the data directory, the secret, the database.

use crate::config::Config;
use crate::exit::{AppError, ExitStatus};
use crate::net::{Tls, TlsFiles};
use crate::{Outcome, private};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;
use watchpost_store::{Db, Location, seal_audit_log_with};
use watchpost_web::audit_keys;

/// Characters of a generated secret: 238 bits.
const SECRET_CHARS: usize = 40;
/// What a secret has to have at least.
const SHORTEST_SECRET: usize = 32;
const SECRET_FILE: &str = "secret.key";
const LOCK_FILE: &str = "watchpost.lock";

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> AppError {
    AppError::new(
        ExitStatus::DataDirectory,
        format!("the data directory can't be used: {}: {error}", path.display()),
        "choose another with --data-dir, or make it writable for this user",
    )
}

/// Makes the data directory, for this user alone; what is there already is taken from others.
pub(crate) fn data_dir(config: &Config) -> Outcome<()> {
    let path = &config.data_dir;
    if path.is_dir() {
        private::tighten(path);
        private::tighten_own(path, "watchpost");
        private::tighten(&path.join(SECRET_FILE));
        if let Some(database) = config.location.database_file() {
            let stem = database.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            private::tighten_own(database.parent().unwrap_or(Path::new(".")), &stem);
            private::tighten(&database.with_file_name(LOCK_FILE));
        }
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| unusable(path, &error))
}

/// What keeps a second server from using the same SQLite file, as long as it is held.
pub(crate) struct Lock {
    _files: Vec<File>,
}

/// Keeps a second server from using the same SQLite file, by whatever path it comes to it.
///
/// The lock beside the file holds against older servers. The lock on the file itself holds where the same file can be reached
/// in two directories; it must stay until SQLite has let go of the file, whose locks would go with it otherwise.
pub(crate) fn lock(config: &Config) -> Outcome<Option<Lock>> {
    let Some(database) = config.location.database_file() else { return Ok(None) };
    let path = database.with_file_name(LOCK_FILE);
    let beside = OpenOptions::new().create(true).append(true).open(&path);
    let mut files = vec![locked(beside.map_err(|error| unusable(&path, &error))?, &path, &database)?];
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&database).map_err(|error| unusable(&database, &error))?;
        let names = file.metadata().map_err(|error| unusable(&database, &error))?.nlink();
        if names > 1 {
            return Err(AppError::new(
                ExitStatus::DataDirectory,
                format!("{} has {names} names (hard links)", database.display()),
                "SQLite keeps its log by name, so a second name loses data: remove the other one, or make a real copy",
            ));
        }
        files.push(locked(file, &database, &database)?);
    }
    Ok(Some(Lock { _files: files }))
}

fn locked(file: File, path: &Path, database: &Path) -> Outcome<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AppError::new(
            ExitStatus::DataDirectory,
            format!("another Watchpost server uses {}", database.display()),
            "stop it first, or give this one another --data-dir; several servers can share PostgreSQL",
        )),
        Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
    }
}

/// Certificate and key, ready for use.
pub(crate) fn tls(files: TlsFiles) -> Outcome<Tls> {
    let hint = "WATCHPOST_TLS_CERT and WATCHPOST_TLS_KEY are PEM files that this user can read";
    Tls::load(files).map_err(|error| AppError::new(ExitStatus::Setting, error, hint))
}

/// The secret that tokens are signed with: the setting, or the one in the data directory, made on the first start.
pub(crate) fn secret_key(config: &Config) -> Outcome<String> {
    if let Some(secret) = secret_so_far(config)? {
        return Ok(secret);
    }
    let path = config.data_dir.join(SECRET_FILE);
    let secret = watchpost_web::random_secret(SECRET_CHARS);
    keep_secret(&path, &secret).map_err(|error| unusable(&path, &error))?;
    Ok(secret)
}

/// The same, if there is one already.
fn secret_so_far(config: &Config) -> Outcome<Option<String>> {
    if let Some(secret) = &config.secret_key {
        return Ok(Some(secret.clone()));
    }
    let path = config.data_dir.join(SECRET_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= SHORTEST_SECRET => Ok(Some(text.trim().to_owned())),
        // A first start that didn't get to its end: nothing was signed with it.
        Ok(_) if nothing_stored(config) => Ok(None),
        Ok(text) => Err(AppError::new(
            ExitStatus::DataDirectory,
            format!("the secret in {} is too short: {} characters", path.display(), text.trim().len()),
            "restore the file from a backup, or set SECRET_KEY to what it was. Deleting it has a new one made, which ends all \
             sessions and makes second factors unreadable",
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(&path, &error)),
    }
}

/// Seals what this process writes to the audit log with the secret, if there is one; whether there is.
pub(crate) fn seal_if_there_is_a_secret(config: &Config) -> Outcome<bool> {
    let secret = secret_so_far(config)?;
    if let Some(secret) = &secret {
        seal_audit_log_with(audit_keys(secret, config.previous_secret_key.as_deref()));
    }
    Ok(secret.is_some())
}

/// Seals what a command writes to the audit log. Without the secret of the servers it writes nothing: nobody could
/// vouch for that.
pub(crate) async fn seal_as_the_server(config: &Config, db: &Db) -> Outcome<()> {
    let refuse = |why: &str| {
        let hint = "set SECRET_KEY (and SECRET_KEY_PREVIOUS while there is one) as the server has it, or run this in its data directory";
        AppError::new(
            ExitStatus::Setting,
            format!("what is done here goes to the audit log, and {why}"),
            hint,
        )
    };
    let sealed_with = db.audit_key().await?;
    let secret = match (secret_so_far(config)?, &sealed_with) {
        (Some(secret), _) => secret,
        (None, Some(_)) => return Err(refuse("there is no secret here to seal it with")),
        (None, None) => {
            data_dir(config)?;
            secret_key(config)?
        }
    };
    let keys = audit_keys(&secret, config.previous_secret_key.as_deref());
    if sealed_with.is_some_and(|key| !keys.knows(&key)) {
        return Err(refuse("the secret here isn't the one that the server seals it with"));
    }
    seal_audit_log_with(keys);
    Ok(())
}

/// Opens a database that has to be up to date already, for a command that changes something.
pub(crate) async fn open_to_change(config: &Config) -> Outcome<Db> {
    let db = open_current(config).await?;
    seal_as_the_server(config, &db).await?;
    Ok(db)
}

/// Whether there is no database yet, as far as can be told without opening one.
fn nothing_stored(config: &Config) -> bool {
    config
        .location
        .database_file()
        .is_some_and(|file| std::fs::metadata(file).map_or(true, |found| found.len() == 0))
}

/// Writes the secret beside its place and moves it there when the disk has it: never is there half of one.
fn keep_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&aside).and_then(|mut file| {
        writeln!(file, "{secret}")?;
        file.sync_all()?;
        std::fs::rename(&aside, path)?;
        // The name is kept by the directory.
        #[cfg(unix)]
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    });
    if written.is_err() {
        std::fs::remove_file(&aside).ok();
    }
    written
}

/// Opens the database, making the directory of its file if need be.
pub(crate) async fn open(config: &Config) -> Outcome<Db> {
    if let Location::Sqlite(_) = &config.location {
        data_dir(config)?;
    }
    Ok(Db::open(&config.location).await?)
}

/// Opens the database for a server.
pub(crate) async fn open_to_serve(config: &Config) -> Outcome<Db> {
    Ok(Db::open_to_serve(&config.location).await?)
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
