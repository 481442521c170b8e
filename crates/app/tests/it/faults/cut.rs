//! Connections to PostgreSQL that break, mostly around COMMIT, and a PostgreSQL that answers what it mustn't. What was
//! acknowledged is stored, what was refused isn't, and what nobody knows about can be found out.

use super::{rounds, scatter};
use crate::database::Database;
use crate::ledger::Ledger;
use crate::server::{Engine, Server};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Whether a batch was stored is given up soon, and the client asks again.
const SOON: (&str, &str) = ("FAULT_FIND_OUT_MS", "800");
/// How long PostgreSQL may take to carry out what it was given.
const MOMENT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to the connection that brings the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It ends before the commit.
    Before,
    /// It ends somewhere in what is sent with the commit.
    Within,
    /// The commit arrives and the answer doesn't.
    Behind,
    /// Nothing comes through any more, in one direction or both, and nobody is told.
    BlackHole,
    /// One side says that it sends no more.
    HalfClose,
    Delay,
    /// The answer ends in the middle.
    Truncated,
    /// What comes back is no message at all.
    Garbage,
    /// PostgreSQL says that it is shut down, after it has committed.
    ShutDown,
    /// It says that it is ready, and never what came of the commit.
    NoCompletion,
    /// It says no, and means it.
    Refusal,
}

const CUTS: [Cut; 11] = [
    Cut::Before,
    Cut::Behind,
    Cut::Within,
    Cut::Garbage,
    Cut::BlackHole,
    Cut::Refusal,
    Cut::Truncated,
    Cut::HalfClose,
    Cut::ShutDown,
    Cut::Delay,
    Cut::NoCompletion,
];

/// What the way back does with an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Back {
    Passes,
    Swallows,
    Halves,
}

/// Stands between a server and PostgreSQL.
struct Proxy {
    port: u16,
    /// What happens next, and a number that says where.
    next: Arc<Mutex<Option<(Cut, usize)>>>,
    done: Arc<AtomicUsize>,
}

impl Proxy {
    fn to(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (next, done) = (Arc::<Mutex<Option<(Cut, usize)>>>::default(), Arc::<AtomicUsize>::default());
        let (armed, counted) = (next.clone(), done.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                let way = Way { client, server, back: Arc::new(Mutex::new(Back::Passes)) };
                let (armed, counted) = (armed.clone(), counted.clone());
                let other = way.clone();
                std::thread::spawn(move || other.back());
                std::thread::spawn(move || way.forth(&armed, &counted));
            }
        });
        Self { port, next, done }
    }

    /// Has something happen at the next commit, and waits until it has.
    fn cut(&self, cut: Cut, n: usize) {
        let (before, late) = (self.done.load(Ordering::Acquire), Instant::now() + PATIENCE);
        *self.next.lock().unwrap() = Some((cut, n));
        while self.done.load(Ordering::Acquire) == before {
            assert!(Instant::now() < late, "{cut:?}: nothing is committed any more");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

struct Way {
    client: TcpStream,
    server: TcpStream,
    back: Arc<Mutex<Back>>,
}

impl Clone for Way {
    fn clone(&self) -> Self {
        let (client, server) = (self.client.try_clone().unwrap(), self.server.try_clone().unwrap());
        Self { client, server, back: self.back.clone() }
    }
}

/// A message of PostgreSQL that says no, and that it is ready.
fn refusal(severity: &str, code: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0C{code}\0Mfrom the proxy\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E".as_slice(), &length.to_be_bytes(), fields.as_bytes(), b"Z\0\0\0\x05I"].concat()
}

impl Way {
    fn close(&self) {
        self.client.shutdown(Shutdown::Both).ok();
        self.server.shutdown(Shutdown::Both).ok();
    }

    fn forth(mut self, armed: &Mutex<Option<(Cut, usize)>>, done: &AtomicUsize) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = self.client.read(&mut buffer) {
            let sent = &buffer[..read];
            let commits = sent.windows(7).any(|part| part == b"COMMIT\0");
            let next = if commits { armed.lock().unwrap().take() } else { None };
            let goes_on = match next {
                None => self.server.write_all(sent).is_ok(),
                Some((cut, n)) => {
                    let goes_on = self.happen(cut, n, sent);
                    done.fetch_add(1, Ordering::Release);
                    goes_on
                }
            };
            if !goes_on {
                break;
            }
        }
        self.close();
    }

    /// Carries out what was armed; whether the connection goes on.
    fn happen(&mut self, cut: Cut, n: usize, sent: &[u8]) -> bool {
        let is_odd = n % 2 == 1;
        *self.back.lock().unwrap() = match cut {
            Cut::Before | Cut::Within | Cut::HalfClose | Cut::Delay => Back::Passes,
            Cut::Truncated => Back::Halves,
            _ => Back::Swallows,
        };
        let arrives = match cut {
            Cut::Before | Cut::Refusal => &sent[..0],
            Cut::Within => &sent[..n % sent.len()],
            Cut::BlackHole if is_odd => &sent[..0],
            _ => sent,
        };
        if cut == Cut::Delay {
            std::thread::sleep(Duration::from_millis((n % 300) as u64));
        }
        self.server.write_all(arrives).ok();
        let answer = match cut {
            Cut::Delay => return true,
            Cut::HalfClose if is_odd => return self.client.shutdown(Shutdown::Write).is_ok(),
            Cut::HalfClose => return self.server.shutdown(Shutdown::Write).is_ok(),
            Cut::BlackHole => {
                std::thread::sleep(Duration::from_millis(1_200));
                Vec::new()
            }
            Cut::Garbage => (0..n % 500 + 5).map(|i| scatter(n + i) as u8).collect(),
            Cut::ShutDown => refusal("FATAL", "57P01"),
            Cut::NoCompletion => b"Z\0\0\0\x05I".to_vec(),
            Cut::Refusal => refusal("ERROR", "40001"),
            Cut::Before | Cut::Within | Cut::Behind | Cut::Truncated => Vec::new(),
        };
        if !arrives.is_empty() {
            std::thread::sleep(MOMENT);
        }
        self.client.write_all(&answer).ok();
        std::thread::sleep(MOMENT);
        false
    }

    fn back(mut self) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = self.server.read(&mut buffer) {
            let back = *self.back.lock().unwrap();
            let goes_on = match back {
                Back::Passes => self.client.write_all(&buffer[..read]).is_ok(),
                Back::Swallows => true,
                Back::Halves => {
                    self.client.write_all(&buffer[..read / 2]).ok();
                    false
                }
            };
            if !goes_on {
                break;
            }
        }
        self.close();
    }
}

/// Cuts connections under load, so often; the server stays and gets ready again.
fn cut_under_load(server: &Server, proxy: &Proxy, ledger: &Ledger, cuts: &[Cut], rounds: usize) {
    ledger.write(server, 1, || {
        for round in 0..rounds {
            proxy.cut(cuts[round % cuts.len()], scatter(round + 1));
        }
        let late = Instant::now() + PATIENCE;
        while server.anonymous().get("/readyz").status != 200 {
            assert!(Instant::now() < late, "it doesn't get ready again");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(server.ended_within(Duration::ZERO), None, "it ended");
        server.kill();
    });
}

#[test]
fn what_was_said_holds_however_connections_to_the_database_break() {
    let (database, rounds) = (Database::create(), rounds(2 * CUTS.len()));
    let proxy = Proxy::to(database.place());
    let mut server = Server::on(database.through(proxy.port), &[SOON]);
    assert_eq!(server.engine(), Engine::Postgres);
    let ledger = Ledger::new(&server);
    cut_under_load(&server, &proxy, &ledger, &CUTS, rounds);
    assert!(!server.log.lock().unwrap().contains("panicked"));
    server.restart();
    ledger.check(&server);
    println!("{rounds} connections cut, nothing lost, doubled or half stored");
}

#[test]
fn an_answer_before_the_commit_does_not_survive_a_cut() {
    let database = Database::create();
    let proxy = Proxy::to(database.place());
    let mut server = Server::on(database.through(proxy.port), &[SOON, ("FAULT_MUTANT", "ack_before_commit")]);
    let ledger = Ledger::new(&server);
    cut_under_load(&server, &proxy, &ledger, &[Cut::Before], 8);
    server.restart();
    let noticed = catch_unwind(AssertUnwindSafe(|| ledger.check(&server))).is_err();
    assert!(noticed, "events were acknowledged and cut off before their commit, and that goes unnoticed");
}
