//! The explorer where there is much: what it says is right, however much of it is only looked at in part.

use super::all;
use crate::console::sign_in;
use crate::on_both_engines;
use crate::server::{ADMIN, Client, Engine, Server};
use serde_json::{Value, json};
use std::fmt::Write;

on_both_engines!(what_is_said_of_many_events_is_right);

/// Events on SQLite and on PostgreSQL, in bodies of so many: more than is looked at for a page, than facets are of, and
/// than a shard of the index holds.
const EVENTS: usize = 220_000;
const BODY: usize = 20_000;
/// Every so many are from elsewhere.
const RARE: usize = 20_000;

fn source(n: usize) -> &'static str {
    if n % RARE == 7 { "quiet one" } else { "loud" }
}

fn fill(server: &Server) -> Client<'_> {
    let admin = server.admin();
    for first in (0..EVENTS).step_by(BODY) {
        let mut lines = String::with_capacity(BODY * 128);
        for n in first..first + BODY {
            writeln!(
                lines,
                r#"{{"source_name":"{}","event_type":"t{}","severity":"{}","description":"event {n}","host":"h{}"}}"#,
                source(n),
                n % 3,
                ["LOW", "MEDIUM"][n % 2],
                n % 1_000
            )
            .unwrap();
        }
        let sent = admin.send("POST", "/api/v1/events/", "application/x-ndjson", lines.as_bytes());
        assert_eq!(sent.status, 201, "{}", &sent.text[..sent.text.len().min(300)]);
    }
    // Each of these waits for a while by itself.
    while admin.get("/api/v1/events?search=event").expect(200)["search_is_behind"] == true {}
    admin
}

fn sum(buckets: &Value, severity: &str) -> i64 {
    buckets.as_array().unwrap().iter().filter_map(|bucket| bucket["by_severity"][severity].as_i64()).sum()
}

fn what_is_said_of_many_events_is_right(server: &Server) {
    let admin = fill(server);
    let rare = EVENTS / RARE;
    let histogram =
        |query: &str| admin.get(&format!("/api/v1/events/histogram?since=-1h&{query}")).expect(200);
    // By counts that are kept, whatever their number.
    let whole = histogram("");
    assert_eq!((&whole["total"], &whole["complete"]), (&json!(EVENTS), &json!(true)));
    assert_eq!(sum(&whole["buckets"], "LOW"), EVENTS as i64 / 2);
    let loud = histogram("source_name=LOUD");
    assert_eq!((&loud["total"], &loud["complete"]), (&json!(EVENTS - rare), &json!(true)));
    assert!(
        loud["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["count"] == 0 || one["by_severity"].is_null())
    );
    // By the index, all of it where it is little.
    let host = histogram("host=h7&not_severity=LOW");
    assert_eq!((&host["total"], &host["complete"]), (&json!(EVENTS / 1_000), &json!(true)));
    assert_eq!(sum(&host["buckets"], "MEDIUM"), EVENTS as i64 / 1_000);
    // And the newest of it where it is much, which is said.
    let much = histogram("search=event&not_host=h7");
    let counted = much["total"].as_i64().unwrap();
    let all_of_it = EVENTS as i64 - EVENTS as i64 / 1_000;
    // Shards are larger on PostgreSQL, and the one that is begun is counted to its end, unless that takes too long.
    let whole = much["complete"] == true;
    assert_eq!(much["whole_since"].is_string(), !whole, "{counted}");
    assert!(if whole { counted == all_of_it } else { counted < all_of_it }, "{counted}");
    let sqlite = server.engine() == Engine::Sqlite;
    assert!(!(whole && sqlite), "so many are not counted one by one");

    // Nearly everything is left out: each page looks at so much and says so, and together they are the list.
    let first = admin.get("/api/v1/events?not_host=h0&not_source_name=loud").expect(200);
    assert_eq!(first["page_is_partial"], true);
    assert!(first["results"].as_array().unwrap().len() <= 1 && first["next"].is_string());
    let found = all(&admin, "not_source_name=loud");
    let wanted: Vec<String> =
        (0..EVENTS).rev().filter(|n| source(*n) != "loud").map(|n| format!("event {n}")).collect();
    assert_eq!(found, wanted);
    let counted = admin.get("/api/v1/events?not_source_name=loud").expect(200);
    assert_eq!((&counted["count"], &counted["count_is_minimum"]), (&json!(rare), &Value::Null));
    // A value that shares its term with others is looked at, too.
    let both = all(&admin, "host=h7&not_source_name=quiet%20one");
    assert_eq!(both.len(), EVENTS / 1_000 - EVENTS / RARE);
    let facets = admin.get("/api/v1/events/facets").expect(200);
    assert_eq!(facets["facets"]["source_name"]["values"][1], json!({"value": "quiet one", "count": rare}));
    assert_eq!((&facets["of"], &facets["more"]), (&json!(1_000), &json!(true)));

    let page = sign_in(server, ADMIN).get("/events?not_host=h0&not_source_name=loud");
    assert!(page.text.contains("Among the 10,000 events that were looked at"), "{}", page.text);
    let page = sign_in(server, ADMIN).get("/events?search=event&not_host=h7&since=-1h");
    assert!(!sqlite || page.text.contains("There are too many to count them all"));

    // A file as long as that is no more in memory than a short one.
    let before = server.memory_kib();
    let file = admin.get("/api/v1/events/export?not_host=h1");
    assert_eq!(file.text.lines().count(), EVENTS - EVENTS / 1_000);
    let more = server.memory_kib().saturating_sub(before);
    assert!(more < 48 << 10, "{more} KiB more for {} KiB", file.text.len() >> 10);
}
