//! Readers that are cut anywhere get everything once, from whichever node.

use super::{event, listen, store};
use crate::jobs::done;
use crate::ledger::all;
use crate::listener::Message;
use crate::server::{Client, Engine, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What readers of each kind want, and whether they want a thing.
type Kind = (&'static str, fn(&Value, &str) -> bool);

/// Whether they want it is decided by the event and the name of the message.
const KINDS: [Kind; 4] = [
    ("topics=alerts,events,counts", |_, _| true),
    ("topics=alerts&severity=CRITICAL", |event, name| name != "event" && event["severity"] == "CRITICAL"),
    ("topics=events&source_name=NOISY&source_name=b", |event, name| {
        name == "event" && event["source_name"] != "quiet"
    }),
    ("search=odd&host=h1&topics=events,alerts", |event, _| {
        event["description"].as_str().unwrap().contains("odd")
    }),
];

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

const SEVERITIES: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];
const WRITERS: u64 = 3;
const STEPS: usize = 15;

/// Events, alone and many at once, and changes of alerts, alone and many at once; the jobs that go on.
fn write(nodes: &[&Server], writer: u64) -> Vec<Value> {
    let (mut dice, mut jobs) = (Dice(writer), Vec::new());
    let clients: Vec<_> = nodes.iter().map(|node| node.admin()).collect();
    for step in 0..STEPS {
        let client = &clients[dice.throw(clients.len())];
        let mut one = || {
            let source = ["noisy", "quiet", "b"][dice.throw(3)];
            let word = ["odd", "even"][dice.throw(2)];
            event(source, SEVERITIES[dice.throw(4)], &format!("{word} {}", "x".repeat(dice.throw(300))))
        };
        match step % 5 {
            0 | 1 => assert_eq!(client.post_json("/api/v1/events", &one().to_string()).status, 201),
            2 => {
                let many: Vec<Value> = (0..40).map(|_| one()).collect();
                store(client, &many);
            }
            3 => {
                let list = client.get("/api/v1/alerts?page_size=20").expect(200);
                for alert in list["results"].as_array().unwrap() {
                    let path = format!("/api/v1/alerts/{}/notes", alert["id"]);
                    client.post_json(&path, r#"{"text":"hm"}"#).expect(200);
                }
            }
            _ => {
                let tag = format!("t{}", dice.throw(1_000));
                let body = json!({"action": "tags", "add": [tag], "filter": "status=OPEN"});
                jobs.push(client.post_json("/api/v1/alerts/bulk", &body.to_string()).expect(202));
            }
        }
    }
    jobs
}

/// Reads and is cut, now at one node and now at another, until so many things were seen as there are.
fn read(nodes: &[&Server], query: &str, start: String, seed: u64, there_are: &AtomicUsize) -> Seen {
    let mut dice = Dice(seed);
    let clients: Vec<_> = nodes.iter().map(|node| node.admin()).collect();
    let (mut seen, mut last) = (Seen::new(), start);
    let deadline = Instant::now() + Duration::from_secs(120);
    while seen.len() < there_are.load(Ordering::Acquire) && Instant::now() < deadline {
        let n = dice.throw(nodes.len());
        let most = [3_000, 30_000, 100_000][dice.throw(3)];
        let bytes = 100 + dice.throw(most);
        let mut stream = listen(nodes[n], &clients[n], query, &last).cut_after(bytes);
        assert_eq!(stream.status(), 200, "{}", stream.head);
        while let Some(message) = stream.next() {
            assert_ne!(message.name, "reset", "{last}");
            if message.is_thing() {
                *seen.entry(message.about()).or_default() += 1;
            }
        }
        last = stream.last;
    }
    seen
}

/// What was told, and how often.
type Seen = BTreeMap<String, usize>;

/// What there is to be told to readers of each kind: what the database says.
fn truth(admin: &Client<'_>) -> [Seen; 4] {
    let mut things: Vec<(String, &'static str, Value)> = Vec::new();
    for event in all(admin, "/api/v1/events?page_size=100") {
        things.push((format!("event {}", event["id"]), "event", event));
    }
    for alert in all(admin, "/api/v1/alerts?page_size=100") {
        let event = alert["event"].clone();
        for version in 2..=alert["version"].as_i64().unwrap() {
            things.push((format!("change {} {version}", alert["id"]), "change", event.clone()));
        }
        things.push((format!("alert {}", alert["id"]), "alert", event));
    }
    KINDS.map(|(_, wants)| {
        let wanted = things.iter().filter(|(_, name, event)| wants(event, name));
        wanted.map(|(about, ..)| (about.clone(), 1)).collect()
    })
}

pub(super) fn readers_that_are_cut_get_everything_once(server: &Server) {
    let other = (server.engine() == Engine::Postgres).then(|| server.another_node());
    let nodes: Vec<&Server> = std::iter::once(server).chain(&other).collect();
    let admin = server.admin();
    let starts = KINDS.map(|(query, _)| {
        let mut stream = listen(server, &admin, query, "");
        stream.block().unwrap();
        stream.last
    });
    let there_are: [AtomicUsize; 4] = std::array::from_fn(|_| AtomicUsize::new(usize::MAX));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                scope.spawn({
                    let nodes = &nodes;
                    move || write(nodes, n)
                })
            })
            .collect();
        let readers: Vec<_> = (0..8)
            .map(|n| {
                let (nodes, there_are, start) = (&nodes, &there_are[n % 4], starts[n % 4].clone());
                scope.spawn(move || read(nodes, KINDS[n % 4].0, start, n as u64, there_are))
            })
            .collect();
        let jobs = writers.into_iter().flat_map(|writer| writer.join().unwrap());
        jobs.for_each(|job| drop(done(&admin, &job)));
        let truth = truth(&admin);
        for (known, truth) in there_are.iter().zip(&truth) {
            assert!(truth.len() > 100, "there is something to tell: {}", truth.len());
            known.store(truth.len(), Ordering::Release);
        }
        for (n, reader) in readers.into_iter().enumerate() {
            let seen = reader.join().unwrap();
            let (query, truth) = (KINDS[n % 4].0, &truth[n % 4]);
            let wrong = |all: &Seen, others: &Seen| -> Vec<(String, usize)> {
                let differs = |(about, times): &(&String, &usize)| others.get(*about) != Some(*times);
                all.iter().filter(differs).map(|(about, times)| (about.clone(), *times)).collect()
            };
            let (missed, more) = (wrong(truth, &seen), wrong(&seen, truth));
            assert!(missed.is_empty() && more.is_empty(), "{query}: missed {missed:?}, told {more:?}");
        }
    });
}

pub(super) fn one_goes_on_in_the_middle_of_a_transaction(server: &Server) {
    let admin = server.admin();
    let mut stream = listen(server, &admin, "topics=alerts,events", "");
    stream.block().unwrap();
    let start = stream.last.clone();
    let mixed: Vec<Value> = (0..12)
        .map(|n| event(if n % 3 == 0 { "a" } else { "b" }, SEVERITIES[n % 4], &format!("{n}")))
        .collect();
    store(&admin, &mixed);
    store(&admin, &mixed[..1]);
    let told: Vec<Message> = (0..12 + 6 + 1).map(|_| stream.next().unwrap()).collect();
    let names: Vec<_> = told.iter().map(|message| message.name.as_str()).collect();
    assert_eq!(names, [["alert"; 6].as_slice(), &["event"; 13]].concat(), "alerts come before events");
    // The last of a transaction has its id, those before it say how far in it they are.
    let parts: Vec<usize> = told.iter().map(|message| message.id.split('.').count()).collect();
    assert_eq!(parts, [[4; 17].as_slice(), &[3, 3]].concat());
    for query in ["topics=alerts,events", "topics=events,alerts&source_name=A", "topics=alerts&severity=HIGH"]
    {
        let wanted = |message: &Message| match query {
            "topics=alerts&severity=HIGH" => message.name == "alert" && message.data["severity"] == "HIGH",
            "topics=events,alerts&source_name=A" => message.data["source_name"] == "a",
            _ => true,
        };
        for n in 0..=told.len() {
            let rest: Vec<String> = told[n..].iter().filter(|one| wanted(one)).map(Message::about).collect();
            let last = if n == 0 { &start } else { &told[n - 1].id };
            // By the header as browsers do it, and by the parameter; the header is newer.
            let (query, header) = match n % 2 {
                0 => (format!("{query}&last_event_id={last}"), ""),
                _ => (format!("{query}&last_event_id={start}"), last.as_str()),
            };
            let mut again = listen(server, &admin, &query, header);
            let found: Vec<String> = (0..rest.len()).map(|_| again.next().unwrap().about()).collect();
            assert_eq!(found, rest, "{query} behind {last}");
        }
    }
    // Whoever shows only the bad ones hears that one isn't bad any more.
    let mut bad = listen(server, &admin, "topics=alerts&severity=CRITICAL", "");
    bad.block().unwrap();
    let critical = told.iter().find(|one| one.data["severity"] == "CRITICAL").unwrap().data["id"].clone();
    let rate = |severity: &str| {
        let body = json!({ "severity": severity }).to_string();
        admin.post_json(&format!("/api/v1/alerts/{critical}/severity"), &body).expect(200);
    };
    for severity in ["LOW", "MEDIUM"] {
        rate(severity);
        assert_eq!(stream.expect("change").data["alert"]["severity"], severity);
    }
    assert_eq!(bad.expect("change").data["alert"]["severity"], "LOW");
    rate("CRITICAL");
    assert_eq!(bad.expect("change").data["change"]["from"], "MEDIUM", "what is neither isn't told");
}
