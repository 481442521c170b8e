//! A PostgreSQL whose synchronous standby is away, and one that fails over: what was acknowledged is on the standby.

use super::cluster::{Pair, Template};
use super::{rounds, scatter};
use crate::ledger::Ledger;
use crate::server::{Client, Server};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How a wait for the standby is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Cancel,
    Terminate,
    Restart,
}

/// Clients that send one event each, again and again under one key, until they are told yes.
const CLIENTS: usize = 4;
/// So many answers that aren't yes are enough.
const TRIES: usize = 2;
/// Whether a batch was stored is given up soon, and the client asks again.
const SOON: (&str, &str) = ("FAULT_FIND_OUT_MS", "800");
const WAITING: &str = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

/// What was acknowledged: the event, and whether it raised an alert.
type Acknowledged = Mutex<Vec<(i64, bool)>>;

fn send(client: &Client<'_>, n: usize, said: &Acknowledged) -> bool {
    let severity = ["CRITICAL", "LOW", "HIGH", "MEDIUM"][n % 4];
    let body = format!(
        r#"{{"source_name":"fw","event_type":"t","severity":"{severity}","description":"number {n}"}}"#
    );
    let answer = client.post_json("/api/v1/events", &body);
    assert!([201, 503, 504].contains(&answer.status), "{} {}", answer.status, answer.text);
    if answer.status == 201 {
        let event = answer.json();
        let raised = n.is_multiple_of(2);
        assert_eq!(event["alert"].is_i64(), raised, "{event}");
        said.lock().unwrap().push((event["id"].as_i64().unwrap(), raised));
    }
    answer.status == 201
}

/// Ends waits for the standby until the clients have had enough.
fn cut(pair: &Pair, how: Cut, enough: &AtomicBool) {
    let database = pair.primary.database();
    let late = Instant::now() + Duration::from_secs(60);
    while database.count(&format!("SELECT COUNT(*) {WAITING}")) == 0 {
        assert!(Instant::now() < late, "nothing waits for the standby");
    }
    if how == Cut::Restart {
        let fast = scatter(pair.primary.port().into()).is_multiple_of(2);
        pair.primary.restart(if fast { "fast" } else { "immediate" });
    }
    let by = if how == Cut::Terminate { "pg_terminate_backend" } else { "pg_cancel_backend" };
    while !enough.load(Ordering::Acquire) {
        assert!(Instant::now() < late, "clients wait for ever");
        database.count(&format!("SELECT COUNT({by}(pid)) {WAITING}"));
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// One round; what was acknowledged and isn't on the standby once it is promoted.
fn lost_by(template: &Template, how: Cut, heals: bool, mutant: &str) -> Vec<String> {
    let pair = template.pair();
    let server = Server::on(pair.primary.database(), &[SOON, ("FAULT_MUTANT", mutant)]);
    let (sensor, said) = (server.sensor(), Acknowledged::default());
    assert!(send(&sensor, 0, &said), "while the standby is there");
    pair.standby.stop();
    let (enough, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for n in 1..=CLIENTS {
            let client = server.sensor_like(&sensor).with("idempotency-key", &format!("key {n}"));
            let (said, enough, done) = (&said, &enough, &done);
            scope.spawn(move || {
                let _ = (0..TRIES).any(|_| send(&client, n, said));
                if done.fetch_add(1, Ordering::AcqRel) + 1 == CLIENTS {
                    enough.store(true, Ordering::Release);
                }
            });
        }
        cut(&pair, how, &enough);
    });
    if heals {
        pair.standby.start();
        pair.wait_for_standby();
        for n in 1..=CLIENTS {
            let client = server.sensor_like(&sensor).with("idempotency-key", &format!("key {n}"));
            let late = Instant::now() + Duration::from_secs(60);
            while !send(&client, n, &said) {
                assert!(Instant::now() < late, "it doesn't heal");
            }
        }
        pair.standby.stop();
    }
    pair.primary.stop();
    server.kill();
    pair.standby.start();
    pair.standby.promote();
    let promoted = pair.standby.database();
    let missing = |(id, alert): &(i64, bool)| {
        let events = promoted.count(&format!("SELECT COUNT(*) FROM events WHERE id = {id}"));
        let alerts = promoted.count(&format!("SELECT COUNT(*) FROM alerts WHERE event_id = {id}"));
        ((events, alerts) != (1, i64::from(*alert)))
            .then(|| format!("{id}: {events} events, {alerts} alerts"))
    };
    said.into_inner().unwrap().iter().filter_map(missing).collect()
}

#[test]
fn what_was_acknowledged_is_on_the_standby_however_the_wait_for_it_was_cut_off() {
    let (template, rounds) = (Template::new(), rounds(3));
    for round in 0..rounds {
        let how = [Cut::Cancel, Cut::Terminate, Cut::Restart][round % 3];
        let lost = lost_by(&template, how, round.is_multiple_of(2), "");
        assert!(lost.is_empty(), "round {round}, {how:?}: acknowledged, then lost: {lost:?}");
    }
    println!("{rounds} failovers to a standby that was away, nothing lost");
    let lost = lost_by(&template, Cut::Cancel, false, "taken_is_stored");
    assert!(!lost.is_empty(), "an id that is taken is no proof, and that goes unnoticed");
}

/// The primary dies under load and the standby takes over; the server stays and finds it. Then what was said is checked.
fn fail_over_under_load(template: &Template, round: usize, mutant: &str) {
    let pair = template.pair();
    let both = pair.primary.database().or(pair.standby.port());
    let mut server = Server::on(both, &[("FAULT_MUTANT", mutant)]);
    let ledger = Ledger::new(&server);
    ledger.write(&server, 50 + scatter(round) % 400, || {
        pair.primary.kill();
        pair.standby.promote();
        let late = Instant::now() + Duration::from_secs(60);
        while server.anonymous().get("/readyz").status != 200 {
            assert!(Instant::now() < late, "the standby isn't found");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis((scatter(round) % 500) as u64));
        server.kill();
    });
    server.forget_extra();
    server.restart();
    ledger.check(&server);
}

#[test]
fn everything_acknowledged_survives_a_failover_under_load() {
    let (template, rounds) = (Template::new(), rounds(1));
    for round in 0..rounds {
        fail_over_under_load(&template, round, "");
    }
    println!("{rounds} failovers under load, nothing lost");
    let is_noticed = (0..5).any(|round| {
        let failing = || fail_over_under_load(&template, round, "ack_before_commit");
        catch_unwind(AssertUnwindSafe(failing)).is_err()
    });
    assert!(is_noticed, "a yes before the commit goes unnoticed");
}
