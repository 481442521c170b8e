//! The judge of every durability test: what clients were told, and whether what is stored agrees with it.
//!
//! Each event has a description of its own, and is sent under a key. A client is told yes (with an id), no, or
//! nothing it can rely on. Afterwards what was acknowledged is there once, under its id and as it was sent; what was
//! refused isn't; of the rest each is there once or not at all, and sending it again under its key says which. Every
//! event of HIGH or CRITICAL has its alert and no other has one, and all counts are those of the rows.

use crate::server::{Client, Engine, Server};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const SEVERITIES: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];
/// Events in one body of many.
const MANY: usize = 17;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Stored under this id.
    Yes(i64),
    /// Not stored.
    No,
    /// Nobody knows.
    Unknown,
}

/// What was sent under a key: the descriptions, and what was said about each.
#[derive(Clone, Debug)]
struct Sent {
    events: Vec<(String, &'static str, Outcome)>,
}

/// What is told of a request, by its key.
type Witness = Box<dyn Fn(&str) + Send + Sync>;

pub(crate) struct Ledger {
    sent: Mutex<BTreeMap<String, Sent>>,
    next: AtomicUsize,
    acknowledged: AtomicUsize,
    /// The sensor key that everything is sent with: an `Idempotency-Key` belongs to its caller.
    pub(crate) credential: String,
    agent: ureq::Agent,
    /// Told of each request, by its key, whose answer said yes; before its writer goes on.
    pub(crate) witness: Option<Witness>,
    /// How many of those that nobody knows about are sent again to find out, the first ones first.
    curiosity: usize,
    /// Whether each request has one event only.
    pub(crate) single: bool,
    /// Whether everything was stored within the last hours, by whatever clock.
    pub(crate) by_hour: bool,
}

fn body(events: &[(String, &'static str, Outcome)]) -> String {
    let line = |(description, severity, _): &(String, &'static str, Outcome)| {
        json!({"source_name": "fw", "event_type": "t", "severity": severity, "description": description})
            .to_string()
    };
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What an answer says about each event.
fn outcomes(status: u16, text: &str, count: usize) -> Vec<Outcome> {
    let line = |line: &Value| match line["id"].as_i64() {
        Some(id) => Outcome::Yes(id),
        None if line["status"].as_i64() == Some(503) => Outcome::No,
        None => Outcome::Unknown,
    };
    let said: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    match status {
        201 | 207 if said.len() == count => said.iter().map(line).collect(),
        400..500 | 503 => vec![Outcome::No; count],
        _ => vec![Outcome::Unknown; count],
    }
}

impl Ledger {
    /// The next request of a writer: a key, and one event or many.
    fn take(&self, many: bool) -> (String, Sent) {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let event = |i: usize| (format!("number {n} part {i}"), SEVERITIES[(n + i) % 4], Outcome::Unknown);
        (format!("key-{n}"), Sent { events: (0..if many { MANY } else { 1 }).map(event).collect() })
    }

    /// A request with a key of its own, entered as unknown; for clients that don't wait for the answer.
    pub(crate) fn enter(&self) -> (String, String) {
        let (key, sent) = self.take(false);
        let body = body(&sent.events);
        self.sent.lock().unwrap().insert(key.clone(), sent);
        (key, body)
    }

    pub(crate) fn new(server: &Server) -> Self {
        Self {
            sent: Mutex::default(),
            next: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            credential: server.sensor().headers[0].1.clone(),
            agent: ureq::Agent::config_builder().http_status_as_error(false).build().into(),
            witness: None,
            curiosity: usize::MAX,
            single: false,
            by_hour: true,
        }
    }

    /// The ledger as it was when only these requests were answered yes, by their keys. So many of the others are sent
    /// again to find out about them.
    pub(crate) fn when(&self, answered: &[String], curiosity: usize) -> Self {
        let answered: BTreeSet<&String> = answered.iter().collect();
        let mut sent = self.sent.lock().unwrap().clone();
        for (_, sent) in sent.iter_mut().filter(|(name, _)| !answered.contains(name)) {
            let events = sent.events.iter_mut().filter(|event| matches!(event.2, Outcome::Yes(_)));
            events.for_each(|event| event.2 = Outcome::Unknown);
        }
        Self {
            sent: Mutex::new(sent),
            next: AtomicUsize::new(self.next.load(Ordering::Relaxed)),
            acknowledged: AtomicUsize::new(0),
            credential: self.credential.clone(),
            agent: self.agent.clone(),
            witness: None,
            curiosity,
            single: self.single,
            by_hour: self.by_hour,
        }
    }

    fn post(&self, server: &Server, name: &str, sent: &Sent) -> Option<(u16, String)> {
        let kind = if sent.events.len() > 1 { "application/x-ndjson" } else { "application/json" };
        let answer = self
            .agent
            .post(format!("{}/api/v1/events", server.address))
            .header("x-api-key", &self.credential)
            .header("idempotency-key", name)
            .header("content-type", kind)
            .send(body(&sent.events));
        let mut answer = answer.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.body_mut().read_to_string().ok()?))
    }

    /// Sends one request and enters what was said; the status of the answer, or nothing when the server is gone.
    pub(crate) fn send(&self, server: &Server, many: bool) -> Option<u16> {
        let (name, mut sent) = self.take(many);
        let answer = self.post(server, &name, &sent);
        let status = answer.as_ref().map(|(status, _)| *status);
        if let Some((status, text)) = answer {
            let said = outcomes(status, &text, sent.events.len());
            sent.events.iter_mut().zip(said).for_each(|(event, said)| event.2 = said);
        }
        self.sent.lock().unwrap().insert(name, sent);
        status
    }

    /// What was acknowledged so far: descriptions and ids.
    pub(crate) fn acknowledged(&self) -> Vec<(String, i64)> {
        let sent = self.sent.lock().unwrap();
        let events = sent.values().flat_map(|sent| &sent.events);
        events
            .filter_map(|(description, _, outcome)| match outcome {
                Outcome::Yes(id) => Some((description.clone(), *id)),
                Outcome::No | Outcome::Unknown => None,
            })
            .collect()
    }

    /// Eight writers, half of them with many events at once, until so many events are acknowledged (then `end` is
    /// called) and on until the server is gone.
    pub(crate) fn write(&self, server: &Server, enough: usize, end: impl FnOnce() + Send) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        let (reached, wait) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let reached = reached.clone();
                scope.spawn(move || {
                    loop {
                        let (name, mut sent) = self.take(writer % 2 == 1 && !self.single);
                        let answer = self.post(server, &name, &sent);
                        let gone = answer.is_none();
                        if let Some((status, text)) = answer {
                            let said = outcomes(status, &text, sent.events.len());
                            sent.events.iter_mut().zip(said).for_each(|(event, said)| event.2 = said);
                        }
                        let yes =
                            sent.events.iter().filter(|event| matches!(event.2, Outcome::Yes(_))).count();
                        self.sent.lock().unwrap().insert(name.clone(), sent);
                        if let (true, Some(witness)) = (yes > 0, &self.witness) {
                            witness(&name);
                        }
                        let now = self.acknowledged.fetch_add(yes, Ordering::Relaxed) + yes;
                        if gone || now - before >= enough {
                            reached.send(()).ok();
                        }
                        if gone {
                            return;
                        }
                    }
                });
            }
            drop(reached);
            wait.recv().ok();
            end();
        });
    }

    /// Sends again what nobody knows about, twice: both times the same is said, and now it is known.
    fn settle(&self, server: &Server) {
        let open: Vec<(String, Sent)> = {
            let sent = self.sent.lock().unwrap();
            let open =
                sent.iter().filter(|(_, sent)| sent.events.iter().any(|event| event.2 == Outcome::Unknown));
            let mut open: Vec<_> = open.map(|(name, sent)| (name.clone(), sent.clone())).collect();
            open.sort_by_key(|(name, _)| (name.len(), name.clone()));
            open
        };
        for (name, mut sent) in open.into_iter().take(self.curiosity) {
            let (first, second) =
                (self.post(server, &name, &sent).unwrap(), self.post(server, &name, &sent).unwrap());
            assert_eq!(first, second, "{name}: one answer, however often it is asked for");
            let said = outcomes(first.0, &first.1, sent.events.len());
            let said: Vec<Outcome> = match said.as_slice() {
                // A single event is answered whole.
                [Outcome::Unknown] | [Outcome::No] => panic!("{name}: {first:?}"),
                _ => said,
            };
            assert!(said.iter().all(|said| matches!(said, Outcome::Yes(_))), "{name}: {first:?}");
            sent.events.iter_mut().zip(said).for_each(|(event, said)| event.2 = said);
            self.sent.lock().unwrap().insert(name, sent);
        }
    }

    /// Whether what is stored is what was said; then settles what nobody knows, and looks once more.
    pub(crate) fn check(&self, server: &Server) {
        if server.engine() == Engine::Postgres {
            // What a process had sent before it was ended is still carried out by the database.
            server.database().wait_until_idle();
        }
        self.compare(server);
        self.settle(server);
        self.compare(server);
    }

    fn compare(&self, server: &Server) {
        let admin = server.admin();
        let mut stored: BTreeMap<String, (i64, String)> = BTreeMap::new();
        for event in all(&admin, "/api/v1/events?page_size=100") {
            let id = event["id"].as_i64().unwrap();
            let read = (id, event["severity"].as_str().unwrap().to_owned());
            let description = event["description"].as_str().unwrap().to_owned();
            assert_eq!(stored.insert(description.clone(), read), None, "{description} is stored twice");
        }
        let mut raised: BTreeMap<i64, usize> = BTreeMap::new();
        for alert in all(&admin, "/api/v1/alerts?page_size=100") {
            *raised.entry(alert["event_id"].as_i64().unwrap()).or_default() += 1;
        }
        for (description, (id, severity)) in &stored {
            let wanted = usize::from(severity == "HIGH" || severity == "CRITICAL");
            assert_eq!(raised.remove(id).unwrap_or(0), wanted, "alerts of {description}, {severity}");
        }
        assert!(raised.is_empty(), "alerts without an event: {raised:?}");
        for sent in self.sent.lock().unwrap().values() {
            for (description, severity, outcome) in &sent.events {
                let found = stored.remove(description);
                match (outcome, found) {
                    (Outcome::Yes(id), Some(found)) => {
                        assert_eq!((*id, *severity), (found.0, found.1.as_str()), "{description}");
                    }
                    (Outcome::Yes(_), None) => panic!("{description} was acknowledged and is lost"),
                    (Outcome::No, Some(_)) => panic!("{description} was refused and is stored"),
                    (Outcome::No, None) | (Outcome::Unknown, _) => {}
                }
            }
        }
        assert!(stored.is_empty(), "nobody sent {stored:?}");
        let totals = admin.get("/api/v1/stats/overview").expect(200);
        if !self.by_hour {
            return;
        }
        let hours = admin.get("/api/v1/stats/events?interval=hour&since=-2d&until=%2B1h").expect(200);
        let by_hour: i64 = hours["totals"].as_object().unwrap().values().map(|n| n.as_i64().unwrap()).sum();
        assert_eq!(totals["events_stored"], by_hour, "counts of all time and by the hour agree");
    }
}

/// All rows of a list, as `next` leads through it; its count is theirs.
pub(crate) fn all(client: &Client<'_>, first: &str) -> Vec<Value> {
    let (mut rows, mut path) = (Vec::new(), first.to_owned());
    loop {
        let page = client.get(&path).expect(200);
        rows.extend(page["results"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => path = next[next.find("/api/").unwrap()..].to_owned(),
            None => {
                assert_eq!(page["count"], rows.len(), "the count agrees with the list");
                return rows;
            }
        }
    }
}
