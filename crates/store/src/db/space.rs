//! The room on the disk of a SQLite database. When it runs out, a reserve is given up: what people do goes on with it,
//! events are refused, and as soon as there is room the reserve is made again and events are taken in.

use crate::faults;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Kept free for when the disk is full: as much as a checkpoint may need to make room in the log.
const RESERVE_BYTES: u64 = 16 << 20;
/// Given up at once: what is free is taken by others as well, and what comes next needs some, too.
const RESERVE_STEP_BYTES: u64 = 4 << 20;
/// Room beside the reserve that there has to be before events are taken in again.
const ROOM_BYTES: u64 = 8 << 20;
/// What is written to find out whether a disk is full or broken.
const TRIAL_BYTES: usize = 64 << 10;
/// How often is looked whether there is room again.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const BETWEEN_LINES: Duration = Duration::from_secs(60);
const FILE: &str = "watchpost.reserve";

pub(super) struct Space {
    directory: PathBuf,
    /// Whether this process keeps the reserve: a server does, a command doesn't.
    keeps: AtomicBool,
    full: watch::Sender<bool>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    look: Option<Instant>,
    line: Option<Instant>,
}

fn due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

impl Space {
    pub(super) fn of(database: &Path) -> Self {
        let directory = database.parent().unwrap_or(Path::new(".")).to_owned();
        Self { directory, keeps: false.into(), full: watch::Sender::new(false), last: Mutex::default() }
    }

    /// Keeps a reserve from now on. On a disk without room for it, events are refused from the beginning.
    pub(super) fn keep(&self) {
        self.keeps.store(true, Ordering::Relaxed);
        let kept = std::fs::metadata(self.reserve()).map_or(0, |found| found.len());
        if kept < RESERVE_BYTES && !self.make_reserve() {
            self.full.send_replace(true);
            self.say();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        *self.full.borrow()
    }

    pub(super) fn reserve(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Gives a piece of the reserve up; whether there was one.
    pub(super) fn give_up_reserve(&self) -> bool {
        if faults::mutant("no_reserve") {
            return false;
        }
        let kept = std::fs::metadata(self.reserve()).map_or(0, |found| found.len());
        let smaller = kept > RESERVE_STEP_BYTES
            && OpenOptions::new()
                .write(true)
                .open(self.reserve())
                .is_ok_and(|file| file.set_len(kept - RESERVE_STEP_BYTES).is_ok());
        smaller || std::fs::remove_file(self.reserve()).is_ok()
    }

    /// Something could not be written for want of room.
    pub(super) fn ran_out(&self) {
        self.give_up_reserve();
        self.full.send_replace(true);
        self.say();
    }

    /// Says that the disk is full, once a minute.
    pub(super) fn say(&self) {
        let is_due = self.last.lock().is_ok_and(|mut last| due(&mut last.line, BETWEEN_LINES));
        if is_due {
            tracing::error!(
                directory = %self.directory.display(),
                needed_mib = (RESERVE_BYTES + ROOM_BYTES) >> 20,
                "the disk is full: events are refused until there is room again"
            );
        }
    }

    /// Looks whether there is room again, now and then.
    pub(super) fn look(&self) {
        if !self.is_full() || !self.last.lock().is_ok_and(|mut last| due(&mut last.look, BETWEEN_LOOKS)) {
            return;
        }
        let keeps = self.keeps.load(Ordering::Relaxed);
        if if keeps { self.make_reserve() } else { self.is_roomy() } {
            tracing::info!("there is room on the disk again: events are taken in");
            self.full.send_replace(false);
            self.last.lock().map(|mut last| last.line = None).ok();
        } else {
            self.say();
        }
    }

    fn is_roomy(&self) -> bool {
        free_bytes(&self.directory).is_none_or(|free| free >= RESERVE_BYTES + ROOM_BYTES)
    }

    fn make_reserve(&self) -> bool {
        if !self.is_roomy() {
            return false;
        }
        let made = fill(&self.reserve()).is_ok();
        if !made {
            std::fs::remove_file(self.reserve()).ok();
        }
        made
    }

    /// Whether a write fails for want of room, and not because the disk is broken.
    pub(super) fn lacks_room(&self) -> bool {
        let trial = self.directory.join(format!(".watchpost-trial-{}", std::process::id()));
        let tried = File::create(&trial).and_then(|mut file| {
            file.write_all(&[1; TRIAL_BYTES])?;
            file.sync_all()
        });
        std::fs::remove_file(&trial).ok();
        let kind = tried.err().map(|error| error.kind());
        matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    }
}

/// Makes a file that takes up its room.
fn fill(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    #[cfg(target_os = "linux")]
    {
        let flags = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(&file, flags, 0, RESERVE_BYTES) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            done => return done.map_err(Into::into),
        }
    }
    // Numbers that no file system packs: what is packed takes up no room.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(1 << 20);
    for _ in 0..RESERVE_BYTES >> 20 {
        block.clear();
        while block.len() < 1 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all()
}

/// What is free there for this user, where the system says so.
fn free_bytes(directory: &Path) -> Option<u64> {
    #[cfg(target_os = "linux")]
    return rustix::fs::statvfs(directory).ok().map(|found| found.f_bavail * found.f_frsize);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = directory;
        None
    }
}
