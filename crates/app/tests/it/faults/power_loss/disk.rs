//! A disk made of a file, whose every write and flush is written down in the order it came; and crash images of it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Marks are written behind whatever the file system has of the disk.
pub(super) const MARKS: u64 = 1 << 30;
const DISK: u64 = MARKS + (1 << 20);
const LOG: u64 = 16 << 30;
pub(super) const MARK: &[u8; 8] = b"a mark: ";
/// What every folder of this is named, with the process it belongs to.
const NAME: &str = "watchpost-power-loss-";

fn run(program: &str, arguments: &[&str]) {
    let told = Command::new(program).args(arguments).output();
    let output = told.unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed; disks made of files need root, /dev/fuse and loop devices: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder that a later run recognizes when this one is killed.
pub(super) fn folder() -> TempDir {
    tempfile::Builder::new().prefix(&format!("{NAME}{}-", std::process::id())).tempdir().unwrap()
}

/// Takes away what is mounted for processes that are gone: a test that is killed can't.
pub(super) fn sweep() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    for place in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        let process = place.split_once(NAME).and_then(|(_, rest)| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            Command::new("umount").args(["-l", place]).status().ok();
        }
    }
}

/// A mounted disk, until it is dropped.
pub(super) struct Mounted {
    place: PathBuf,
}

impl Mounted {
    /// Mounts the file system in a file; its journal is replayed.
    pub(super) fn new(image: &Path, place: &Path) -> Self {
        run("mount", &["-o", "loop", image.to_str().unwrap(), place.to_str().unwrap()]);
        Self { place: place.to_owned() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let quietly = |arguments: &[&str]| {
            let mut command = Command::new("umount");
            command.args(arguments).arg(&self.place).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        // Lazily, if something still holds it.
        if !quietly(&[]) {
            quietly(&["-l"]);
        }
    }
}

/// A disk that writes down what is done to it.
pub(super) struct Disk {
    folder: TempDir,
    daemon: Child,
    /// For marks: each goes straight to the daemon, and asks for no flush.
    marks: File,
}

impl Disk {
    /// A disk with an empty file system of so many MiB.
    pub(super) fn new(size: u32) -> Self {
        let folder = folder();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        File::create(file("disk")).unwrap().set_len(DISK).unwrap();
        File::create(file("log")).unwrap().set_len(LOG).unwrap();
        File::create(file("exported")).unwrap();
        let blocks =
            |name: &str| format!("driver=file,node-name={name},filename={},cache.no-flush=on", file(name));
        let daemon = Command::new("setpriv")
            // Never longer than the test.
            .args(["--pdeathsig", "KILL", "qemu-storage-daemon"])
            .args(["--blockdev", &blocks("disk"), "--blockdev", &blocks("log")])
            .args([
                "--blockdev",
                "driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512",
            ])
            .arg("--export")
            .arg(format!(
                "type=fuse,id=exported,node-name=logged,mountpoint={},writable=on",
                file("exported")
            ))
            .args(["--pidfile", &file("ready")])
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-storage-daemon is needed for this test: run `cargo xtask test`");
        let exported = PathBuf::from(file("exported"));
        let mut disk = Self { folder, daemon, marks: File::open("/dev/null").unwrap() };
        let late = Instant::now() + Duration::from_secs(60);
        while std::fs::metadata(&exported).map_or(0, |exported| exported.len()) != DISK {
            let ended = disk.daemon.try_wait().unwrap();
            assert!(ended.is_none(), "qemu-storage-daemon ended; it needs root and /dev/fuse");
            assert!(Instant::now() < late, "qemu-storage-daemon exports nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        let made_at_once = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        run("mkfs.ext4", &["-q", "-F", "-E", made_at_once, exported.to_str().unwrap(), &format!("{size}M")]);
        disk.marks = OpenOptions::new().write(true).open(&exported).unwrap();
        disk
    }

    pub(super) fn mount(&self, place: &Path) -> Mounted {
        Mounted::new(&self.folder.path().join("exported"), place)
    }

    /// Writes a number down behind all that was written until now.
    pub(super) fn mark(&self, kind: u64, number: u64) {
        let mut block = [0; 512];
        block[..8].copy_from_slice(MARK);
        block[8..16].copy_from_slice(&kind.to_le_bytes());
        block[16..24].copy_from_slice(&number.to_le_bytes());
        self.marks.write_all_at(&block, MARKS).unwrap();
    }

    /// Ends the recording, once nothing is mounted any more; what was done, from the file system's first write on.
    pub(super) fn finish(mut self) -> super::log::Log {
        self.marks = File::open("/dev/null").unwrap();
        let told = Command::new("kill").arg(self.daemon.id().to_string()).status().unwrap();
        assert!(told.success() && self.daemon.wait().unwrap().success(), "the log was written to its end");
        super::log::Log::read(File::open(self.folder.path().join("log")).unwrap())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.daemon.kill().ok();
        self.daemon.wait().ok();
        // Where the daemon was killed, its export is still there.
        let exported = self.folder.path().join("exported");
        Command::new("umount").arg("-l").arg(exported).stderr(Stdio::null()).status().ok();
    }
}
