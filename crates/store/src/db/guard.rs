//! What a database file must not stand on.

use crate::StoreError;
use std::path::{Path, PathBuf};

/// The path of a file without the links that lead to it, whether the file is there already or not: two names of one database
/// must not look like two databases.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf, StoreError> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Ok(real) = path.canonicalize() {
            return Ok(real);
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = parent
            .canonicalize()
            .map_err(|error| StoreError::Unavailable(format!("can't open {}: {error}", path.display())))?;
        let here = parent.join(path.file_name().unwrap_or_default());
        // A link to a file that isn't there yet.
        match std::fs::read_link(&here) {
            Ok(target) => path = parent.join(target),
            Err(_) => return Ok(here),
        }
    }
    Err(StoreError::Unavailable(format!("can't open {}: too many links", path.display())))
}

/// Links that are followed to a file.
const MAX_LINKS: usize = 40;

/// File systems on which locks and syncs don't hold what SQLite needs of them.
const NETWORK_FILE_SYSTEMS: [&str; 9] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "fuse.sshfs", "fuse.s3fs"];

/// The kind of network file system a path is on, when it is on one. Only Linux tells; elsewhere the
/// answer is always `None`.
pub(super) fn network_file_system(path: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let path = path.canonicalize().ok()?;
    let kind = file_system_of(&path, &mounts)?;
    NETWORK_FILE_SYSTEMS.contains(&kind).then(|| kind.to_owned())
}

fn file_system_of<'a>(path: &Path, mounts: &'a str) -> Option<&'a str> {
    mounts
        .lines()
        .filter_map(|line| {
            let (mount, rest) = line.split_once(" - ")?;
            let point = mount.split(' ').nth(4)?;
            path.starts_with(point).then(|| (point.len(), rest.split(' ').next()))
        })
        // The last of the longest: a later mount hides an earlier one on the same point.
        .max_by_key(|(length, _)| *length)
        .and_then(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_decides() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:9 / /srv/share rw - nfs4 host:/x rw\n";
        assert_eq!(file_system_of(Path::new("/srv/share/data"), mounts), Some("nfs4"));
        assert_eq!(file_system_of(Path::new("/srv/sharedata"), mounts), Some("ext4"));
    }
}
