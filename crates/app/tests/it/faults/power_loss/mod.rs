//! Power that goes while the server writes, on SQLite (`postgres.rs` has the other engine): a disk writes down everything that is done to it, when clients
//! were told yes as well, and from that the states are made that the disk may be in when the power goes. The server
//! is started on each, and the ledger judges what it finds.

mod disk;
mod log;
mod postgres;

use crate::faults::rounds;
use crate::ledger::Ledger;
use crate::server::{Engine, Server};
use disk::{Disk, Mounted};
use log::{Dice, Images, Log};
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Marks of the first kind say where a phase begins: a start, a load, a stop.
const PHASE: u64 = 1;
/// The second kind says how many requests were answered yes.
const ANSWERED: u64 = 2;
/// Images of one recording; more need another.
const IMAGES: usize = 250;
/// Events that are acknowledged before a load ends.
const LOAD: usize = 60;
/// Those whose answer was on its way are sent again, at most so many.
const CURIOSITY: usize = 6;

/// A server's life on a disk that writes everything down.
struct Recording {
    log: Log,
    ledger: Ledger,
    /// The requests that were answered yes, in the order in which that was written down.
    answered: Vec<String>,
}

/// Waits until the log of SQLite was begun anew, as it is behind a checkpoint. Its head counts how often that was.
fn wait_for_a_checkpoint(server: &Server) {
    let log = server.folder.path().join("watchpost-data/watchpost.db-wal");
    let late = Instant::now() + Duration::from_secs(60);
    loop {
        let mut head = [0; 16];
        // A log that was cut to nothing has no head until the next commit.
        let read = File::open(&log).unwrap().read_exact(&mut head);
        if read.is_ok() && head[12..] != [0; 4] {
            return;
        }
        assert!(Instant::now() < late, "no checkpoint falls into the load");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The keys of requests, in the order in which they were answered yes.
type Answered = Arc<Mutex<Vec<String>>>;

/// Writes down on a disk which requests of a ledger are answered yes, and when.
fn witness(ledger: &mut Ledger, disk: &Arc<Disk>) -> Answered {
    let answered = Answered::default();
    let (list, marked) = (answered.clone(), disk.clone());
    ledger.witness = Some(Box::new(move |name: &str| {
        let mut list = list.lock().unwrap();
        list.push(name.to_owned());
        marked.mark(ANSWERED, list.len() as u64);
    }));
    answered
}

/// Eight writers, a stop and a kill, with these settings.
fn recorded(settings: &[(&str, &str)]) -> Recording {
    disk::sweep();
    let disk = Arc::new(Disk::new(64));
    let folder = disk::folder();
    let place = folder.path().join("watchpost-data");
    std::fs::create_dir(&place).unwrap();
    let mounted = disk.mount(&place);
    let begin = |phase: u64| disk.mark(PHASE, phase);
    begin(0);
    let mut server = Server::prepared(folder, mounted, settings);
    let mut ledger = Ledger::new(&server);
    let answered = witness(&mut ledger, &disk);
    begin(1);
    ledger.write(&server, LOAD, || {
        begin(2);
        assert_eq!(server.stop(), Some(0));
    });
    begin(3);
    server.restart();
    begin(4);
    // Many commits make a long log, and few events are soon looked at.
    ledger.single = true;
    ledger.write(&server, LOAD, || {
        wait_for_a_checkpoint(&server);
        server.kill();
    });
    begin(5);
    server.restart();
    begin(6);
    ledger.single = false;
    ledger.write(&server, LOAD, || server.kill());
    begin(7);
    drop(server);
    Recording::of(disk, ledger, answered)
}

impl Recording {
    /// What was recorded, once nothing is mounted any more.
    fn of(disk: Arc<Disk>, mut ledger: Ledger, answered: Answered) -> Self {
        ledger.witness = None;
        let disk = Arc::into_inner(disk).expect("nobody else marks any more");
        let answered = Arc::into_inner(answered).unwrap().into_inner().unwrap();
        Self { log: disk.finish(), ledger, answered }
    }

    /// Where each phase begins, and where the last one ends.
    fn phases(&self) -> Vec<usize> {
        self.log.marks.iter().filter(|mark| mark.kind == PHASE).map(|mark| mark.entry).collect()
    }

    /// How many requests were answered yes when an entry was written down.
    fn answered_by(&self, entry: usize) -> usize {
        let marks = self.log.marks.iter().take_while(|mark| mark.entry <= entry);
        marks.filter(|mark| mark.kind == ANSWERED).last().map_or(0, |mark| mark.number as usize)
    }

    /// Moments for the power to go: half of them anywhere, the others in each phase as many.
    fn moments(&self, count: usize, seed: usize) -> Vec<usize> {
        let (begins, mut dice) = (self.phases(), Dice::new(seed));
        let mut moments: Vec<usize> = (0..count)
            .map(|n| {
                let phases = begins.len() - 1;
                let phase = n / 2 % phases;
                let within = if n % 2 == 0 { (0, phases) } else { (phase, phase + 1) };
                let (first, last) = (begins[within.0], begins[within.1]);
                let moment = first + dice.roll((last - first).max(1));
                // Most is at stake just before the disk is asked to keep it.
                if dice.roll(2) == 0 { self.log.before_the_next_flush(moment) } else { moment }
            })
            .collect();
        moments.sort_unstable();
        moments
    }
}

/// What a server makes of a disk whose power went.
enum Found {
    Whole,
    /// What was acknowledged isn't there.
    Lost(String),
    /// It doesn't start, or what it has doesn't fit together.
    Broken(String),
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Lost(said) => write!(f, "lost: {said}"),
            Self::Broken(said) => write!(f, "broken: {said}"),
        }
    }
}

/// What a look at an image finds.
fn found(look: impl FnOnce()) -> Found {
    let Err(said) = catch_unwind(AssertUnwindSafe(look)) else { return Found::Whole };
    let said = said.downcast_ref::<String>().cloned().unwrap_or_else(|| {
        said.downcast_ref::<&str>().map_or_else(|| "it failed".to_owned(), |said| (*said).to_owned())
    });
    match said.contains("was acknowledged and is lost") {
        true => Found::Lost(said),
        false => Found::Broken(said),
    }
}

/// Asks the ledger, as it was when so many requests were answered yes, and the audit log, with the settings of the server.
fn judge(server: &Server, recording: &Recording, answered: usize, settings: &[(&str, &str)]) {
    // Before the first answer nobody has a key yet.
    let curiosity = if answered > 0 { CURIOSITY } else { 0 };
    recording.ledger.when(&recording.answered[..answered], curiosity).check(server);
    let newest = |query: &str| {
        let page = server.admin().get(&format!("/api/v1/events?page_size=1{query}")).expect(200);
        page["results"][0]["id"].as_i64()
    };
    assert_eq!(newest("&search=number"), newest(""), "search finds what is stored");
    let verified =
        server.command().envs(settings.iter().copied()).args(["audit", "verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// Starts a server on an image and looks at all it has.
fn look(image: &Path, recording: &Recording, answered: usize) -> Found {
    found(|| {
        let folder = disk::folder();
        let place = folder.path().join("watchpost-data");
        std::fs::create_dir(&place).unwrap();
        let mounted = Mounted::new(image, &place);
        let server = Server::prepared(folder, mounted, &[]);
        judge(&server, recording, answered, &[]);
        server.kill();
        for file in ["watchpost.db", "watchpost-search.db"] {
            let database = rusqlite::Connection::open(place.join(file)).unwrap();
            let said: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(said, "ok", "{file}");
        }
    })
}

/// How an image is looked at, when so many requests had been answered yes.
type Look = fn(&Path, &Recording, usize) -> Found;

/// What came of each image, with its moment.
struct Looked {
    found: Vec<(usize, Found)>,
    unflushed: usize,
}

/// Makes an image for each moment and looks at it, two at a time, until one is as it is wanted.
fn look_at_all(
    recording: &Recording,
    moments: &[usize],
    seed: usize,
    (look, enough): (Look, fn(&Found) -> bool),
) -> Looked {
    let folder = disk::folder();
    let certain = folder.path().join("certain");
    let images = Mutex::new((Images::new(&recording.log, &certain), moments.iter().enumerate()));
    let (found, done) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let image = folder.path().join(format!("image-{worker}"));
            let (images, found, done) = (&images, &found, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let moment = {
                        let mut images = images.lock().unwrap();
                        let Some((round, moment)) = images.1.next() else { return };
                        images.0.make(*moment, seed * IMAGES + round, &image);
                        *moment
                    };
                    let one = look(&image, recording, recording.answered_by(moment));
                    done.fetch_or(enough(&one), Ordering::Relaxed);
                    found.lock().unwrap().push((moment, one));
                }
            });
        }
    });
    let unflushed = images.into_inner().unwrap().0.unflushed;
    Looked { found: found.into_inner().unwrap(), unflushed }
}

/// Makes so many disks whose power went, and fails when one of them lost something.
fn nothing_is_lost(engine: Engine, rounds: usize, recorded: fn() -> Recording, look: Look) {
    let started = Instant::now();
    let (mut left, mut seed, mut unflushed, mut writes, mut answers) = (rounds, 0, 0, 0, 0);
    while left > 0 {
        let recording = recorded();
        let moments = recording.moments(left.min(IMAGES), seed);
        let looked = look_at_all(&recording, &moments, seed, (look, |found| !matches!(found, Found::Whole)));
        let wrong: Vec<_> = looked.found.iter().filter(|one| !matches!(one.1, Found::Whole)).collect();
        assert!(wrong.is_empty(), "seed {seed}, entries of {}: {wrong:?}", recording.log.len());
        left -= moments.len();
        seed += 1;
        unflushed += looked.unflushed;
        writes += recording.log.len();
        answers += recording.answered.len();
    }
    assert!(unflushed > 0, "there was nothing to lose");
    println!(
        "{rounds} disks of {engine:?} whose power went ({writes} writes, {answers} answers, {:.1} unflushed writes a disk, \
         {} ms a disk): nothing lost, fewer than {:.1} % lose something",
        unflushed as f64 / rounds as f64,
        started.elapsed().as_millis() as usize / rounds,
        300.0 / rounds as f64
    );
}

#[test]
fn everything_acknowledged_survives_a_loss_of_power() {
    nothing_is_lost(Engine::Sqlite, rounds(100), || recorded(&[]), look);
}

/// A server or database that doesn't keep what it says loses something on one of a few disks.
fn is_noticed(what: &str, recording: &Recording, look: Look) {
    // From the first answer on.
    let (begins, seed) = (recording.phases()[1], 7);
    let moments: Vec<usize> =
        recording.moments(40, seed).into_iter().filter(|moment| *moment > begins).collect();
    let looked = look_at_all(recording, &moments, seed, (look, |found| matches!(found, Found::Lost(_))));
    let lost = looked.found.iter().filter(|one| matches!(one.1, Found::Lost(_))).count();
    println!("control, {what}: {lost} of the first {} disks lost something", looked.found.len());
    assert!(lost > 0, "{what} goes unnoticed: {:?}", looked.found);
}

/// The library that lets nothing be synced.
fn eatmydata() -> String {
    std::env::var("WATCHPOST_TEST_EATMYDATA")
        .expect("libeatmydata is needed for this test: run `cargo xtask test`")
}

#[test]
fn a_log_that_isnt_synced_at_each_commit_is_noticed() {
    let recording = recorded(&[("FAULT_MUTANT", "synchronous_normal")]);
    is_noticed("synchronous_normal", &recording, look);
}

#[test]
fn a_disk_that_is_never_asked_to_sync_is_noticed() {
    is_noticed("libeatmydata", &recorded(&[("LD_PRELOAD", &eatmydata())]), look);
}
