//! What is kept is for this user alone: the data directory, the database with what SQLite puts beside it, the search
//! index, the secret and the lock.

use std::path::Path;

/// From here on this process makes files and directories for this user alone, whatever umask it was started with.
pub(crate) fn from_now_on() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Takes from others the files in a directory that are called so and something behind it: a database's log and index,
/// the lock and whatever else lies beside it.
pub(crate) fn tighten_own(directory: &Path, stem: &str) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(stem));
        if rest.is_some_and(|rest| rest.starts_with(['.', '-']))
            && entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            tighten(&entry.path());
        }
    }
}

/// Takes away from others what they may do with a file or a directory that is there already.
#[cfg(unix)]
pub(crate) fn tighten(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    /// In a directory with this bit, such as `/tmp`, others are meant to be.
    const STICKY: u32 = 0o1000;
    const OTHERS: u32 = 0o077;
    let Ok(found) = std::fs::metadata(path) else { return };
    let mode = found.permissions().mode();
    if mode & OTHERS == 0 || mode & STICKY != 0 {
        return;
    }
    let kept = if found.is_dir() { 0o700 } else { 0o600 };
    let shown = path.display();
    match std::fs::set_permissions(path, PermissionsExt::from_mode(mode & kept)) {
        Ok(()) => tracing::warn!(
            path = %shown,
            "others could get at it (mode {:o}); it is for this user alone now ({:o})",
            mode & 0o777,
            mode & kept
        ),
        Err(error) => {
            tracing::warn!(path = %shown, %error, "others can get at it (mode {:o}), and that can't be changed", mode & 0o777);
        }
    }
}

#[cfg(not(unix))]
pub(crate) fn tighten(_: &Path) {}
