//! Many events in one body, whatever they are packed in, and the same again under a key.

use crate::on_both_engines;
use crate::server::{Answer, Client, Server};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::{Read, Write};

on_both_engines!(
    the_good_are_stored_although_others_are_bad,
    packed_bodies_are_unpacked,
    bombs_are_refused_and_memory_stays_flat,
    all_or_nothing,
    the_same_key_stores_nothing_twice,
    a_body_that_was_cut_off_goes_on_under_its_key,
    a_body_of_any_length_is_streamed,
    optional_fields_come_back_as_they_were_sent,
);

const LINES: &str = "application/x-ndjson";

fn line(n: usize, severity: &str) -> String {
    format!(
        "{{\"source_name\":\"fw\",\"event_type\":\"scan\",\"severity\":\"{severity}\",\"description\":\"number {n}\"}}\n"
    )
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), LINES, "{}", answer.text);
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn count(client: &Client<'_>, what: &str) -> i64 {
    client.get(&format!("/api/v1/{what}")).expect(200)["count"].as_i64().unwrap()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(body).unwrap();
    packer.finish().unwrap()
}

fn the_good_are_stored_although_others_are_bad(server: &Server) {
    let admin = server.admin();
    let text = [
        line(1, "LOW"),
        "{\"severity\":\"NOPE\"}\n".into(),
        line(3, "CRITICAL"),
        "nonsense\n".into(),
        line(5, "HIGH"),
    ]
    .concat();
    let array = format!(
        "[{}]",
        text.trim_end().replace("nonsense", "{\"a\":1]").replace("1]", "1}").replace('\n', ",")
    );
    for (kind, body) in [(LINES, &text), ("application/json", &array)] {
        let (events, alerts) = (count(&admin, "events"), count(&admin, "alerts"));
        let answer = admin.send("POST", "/api/v1/events/", kind, body.as_bytes());
        assert_eq!(answer.status, 207, "{}", answer.text);
        let said = lines(&answer);
        let numbers: Vec<i64> = said.iter().map(|line| line["n"].as_i64().unwrap()).collect();
        let statuses: Vec<i64> = said.iter().map(|line| line["status"].as_i64().unwrap()).collect();
        assert_eq!((numbers, statuses), (vec![1, 2, 3, 4, 5], vec![201, 400, 201, 400, 201]));
        assert_eq!(said[1]["errors"]["severity"][0], "\"NOPE\" is not a valid choice.");
        assert_eq!(said[0]["alert"], Value::Null);
        for (n, severity) in [(2_usize, "CRITICAL"), (4, "HIGH")] {
            let event = admin.get(&format!("/api/v1/events/{}", said[n]["id"])).expect(200);
            assert_eq!(
                (event["severity"].as_str(), event["description"].as_str()),
                (Some(severity), Some(&*format!("number {}", n + 1)))
            );
            let alert = admin.get(&format!("/api/v1/alerts/{}", said[n]["alert"])).expect(200);
            assert_eq!(alert["event_id"], said[n]["id"]);
        }
        assert_eq!((count(&admin, "events") - events, count(&admin, "alerts") - alerts), (3, 2));
    }
    let none = admin.send("POST", "/api/v1/events/", LINES, b"1\n2\n");
    assert_eq!((none.status, lines(&none).len()), (400, 2));
    let all = admin.send("POST", "/api/v1/events/", LINES, line(9, "LOW").as_bytes());
    assert_eq!((all.status, lines(&all).len()), (201, 1));
    for empty in ["[]", " [ ] "] {
        assert_eq!(admin.post_json("/api/v1/events/", empty).status, 201);
    }
    let cut = admin.post_json("/api/v1/events/", &format!("[{},", line(1, "LOW")));
    assert_eq!(cut.status, 207);
    assert_eq!(lines(&cut)[1]["from"], 2, "what follows isn't known: {}", cut.text);
    let analyst = server.user("ana", "ANALYST");
    assert_eq!(analyst.send("POST", "/api/v1/events/", LINES, line(1, "LOW").as_bytes()).status, 403);
    let wrong: String = (0..12_000).map(|_| "{}\n").collect();
    let stopped = admin.send("POST", "/api/v1/events/", LINES, wrong.as_bytes());
    assert_eq!((stopped.status, lines(&stopped).len()), (400, 10_002), "more of the same isn't read");
}

fn packed_bodies_are_unpacked(server: &Server) {
    let admin = server.admin();
    let body: String = (0..3_000).map(|n| line(n, "LOW")).collect();
    let zstd = zstd::encode_all(body.as_bytes(), 3).unwrap();
    let half = body.len() / 2;
    let two = [gzip(&body.as_bytes()[..half]), gzip(&body.as_bytes()[half..])].concat();
    let mut stored = 0;
    for (encoding, packed) in [("gzip", gzip(body.as_bytes())), ("zstd", zstd.clone()), ("GZIP", two)] {
        let answer =
            server.admin().with("content-encoding", encoding).send("POST", "/api/v1/events/", LINES, &packed);
        assert_eq!((answer.status, lines(&answer).len()), (201, 3_000), "{encoding}");
        stored += 3_000;
    }
    let one = line(1, "HIGH");
    let single = server.admin().with("content-encoding", "zstd");
    single
        .send("POST", "/api/v1/events/", "application/json", &zstd::encode_all(one.as_bytes(), 3).unwrap())
        .expect(201);
    assert_eq!(count(&admin, "events"), stored + 1);
    for (encoding, packed, status) in [
        ("br", zstd.clone(), 415),
        ("gzip, gzip", zstd.clone(), 415),
        ("gzip", zstd.clone(), 400),
        ("zstd", b"nonsense".to_vec(), 400),
    ] {
        let answer =
            server.admin().with("content-encoding", encoding).send("POST", "/api/v1/events/", LINES, &packed);
        assert_eq!(answer.status, status, "{encoding}: {}", answer.text);
    }
    for (encoding, packed) in [("gzip", gzip(body.as_bytes())), ("zstd", zstd)] {
        let cut = &packed[..packed.len() - 20];
        let answer =
            server.admin().with("content-encoding", encoding).send("POST", "/api/v1/events/", LINES, cut);
        assert!(answer.status == 207 || answer.status == 400, "{encoding}: {}", answer.status);
        assert!(answer.text.contains("can't be unpacked"), "{encoding} that ends early");
    }
}

/// What unpacks to a thousand times its size, in every way it can be sent.
fn bombs_are_refused_and_memory_stays_flat(server: &Server) {
    let admin = server.admin();
    admin.event("LOW", "warm");
    let zeros = vec![b' '; 24 << 20];
    // Logging in takes memory of its own.
    let by_gzip = server.admin().with("content-encoding", "gzip");
    let by_zstd = server.admin().with("content-encoding", "zstd");
    let bombs = [(&by_gzip, gzip(&zeros)), (&by_zstd, zstd::encode_all(zeros.as_slice(), 3).unwrap())];
    let mut before = 0;
    for round in 0..4 {
        for (client, bomb) in &bombs {
            for kind in ["application/json", LINES] {
                let answer = client.send("POST", "/api/v1/events/", kind, bomb);
                assert_eq!(answer.status, 413, "{kind}: {}", answer.text);
            }
        }
        // The first of each leaves the allocator with room that all others use again.
        if round == 0 {
            before = server.memory_kib();
            assert!(before < 160 << 10, "{before} KiB");
        }
    }
    let nested = gzip(&gzip(&zeros));
    let answer = by_gzip.send("POST", "/api/v1/events/", LINES, &nested);
    assert_eq!(answer.status, 400, "unpacked once, it is no event");
    assert!(
        server.memory_kib() < before + (32 << 10),
        "{} KiB before, {} after",
        before,
        server.memory_kib()
    );
    assert_eq!(count(&admin, "events"), 1);
}

fn all_or_nothing(server: &Server) {
    let admin = server.admin();
    let path = "/api/v1/events/?atomic=true";
    let good: String = (0..2_500).map(|n| line(n, "HIGH")).collect();
    let stored = admin.send("POST", path, LINES, good.as_bytes());
    assert_eq!((stored.status, lines(&stored).len()), (201, 2_500));
    let bad = admin.send("POST", path, LINES, format!("{good}nonsense").as_bytes());
    let said = lines(&bad);
    assert_eq!(
        (bad.status, said[0]["status"].as_i64(), said[2_500]["status"].as_i64()),
        (400, Some(424), Some(400))
    );
    let many: String = (0..4_097).map(|n| line(n, "LOW")).collect();
    assert_eq!(admin.send("POST", path, LINES, many.as_bytes()).status, 413);
    assert_eq!(admin.post_json("/api/v1/events/?atomic=perhaps", "[]").status, 400);
    assert_eq!((count(&admin, "events"), count(&admin, "alerts")), (2_500, 2_500));
}

fn the_same_key_stores_nothing_twice(server: &Server) {
    let keyed = |key: &str| server.admin().with("idempotency-key", key);
    let one = json!({"source_name": "fw", "event_type": "scan", "severity": "HIGH", "description": "once"})
        .to_string();
    let first = keyed("a").post_json("/api/v1/events/", &one);
    let again = keyed("a").post_json("/api/v1/events/", &one);
    assert_eq!((first.status, again.status, &first.text), (201, 201, &again.text));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    let other = keyed("a").post_json("/api/v1/events/", &one.replace("once", "twice"));
    assert_eq!(other.expect(409)["code"], "idempotency_mismatch");
    keyed("b").post_json("/api/v1/events/", &one).expect(201);
    let admin = server.admin();
    assert_eq!((count(&admin, "events"), count(&admin, "alerts")), (2, 2));
    // Another caller's key is another key.
    let sensor = server.sensor().with("idempotency-key", "a");
    assert_ne!(sensor.post_json("/api/v1/events/", &one).expect(201)["id"], first.json()["id"]);

    let body: String =
        (0..2_345).map(|n| if n % 10 == 0 { "bad\n".into() } else { line(n, "CRITICAL") }).collect();
    let first = keyed("many").send("POST", "/api/v1/events/", LINES, body.as_bytes());
    let before = (count(&admin, "events"), count(&admin, "alerts"));
    let again = keyed("many").send("POST", "/api/v1/events/", LINES, body.as_bytes());
    assert_eq!((first.status, again.status, &first.text), (207, 207, &again.text));
    assert_eq!((count(&admin, "events"), count(&admin, "alerts")), before);
    for other in [
        format!("{body}{}", line(9, "LOW")),
        body[..body.len() / 2].into(),
        body.replacen("number 7", "other", 1),
    ] {
        assert_eq!(keyed("many").send("POST", "/api/v1/events/", LINES, other.as_bytes()).status, 409);
    }
    assert_eq!((count(&admin, "events"), count(&admin, "alerts")), before);
    for wrong in ["x".repeat(256), " ".into()] {
        assert_eq!(keyed(&wrong).post_json("/api/v1/events/", &one).status, 400, "{wrong}");
    }
    // Sent at the same time, it is stored once; whoever comes second is told to ask again.
    let answers = std::thread::scope(|scope| {
        let send = || keyed("race").post_json("/api/v1/events/", &one);
        let tasks: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(answers.iter().all(|answer| answer.status == 201 || answer.json()["code"] == "in_progress"));
    assert_eq!(count(&admin, "events"), before.0 + 1);
}

fn a_body_that_was_cut_off_goes_on_under_its_key(server: &Server) {
    let admin = server.admin();
    let body: String = (0..5_000).map(|n| line(n, "HIGH")).collect();
    let (path, token) = ("/api/v1/events/", admin.headers[0].1.clone());
    // The connection breaks after half of the body: some pieces of it are stored, and nobody was told.
    let mut stream = server.connect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\nContent-Type: {LINES}\r\nIdempotency-Key: k\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..body.len() / 2]).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while count(&admin, "events") < 2_000 {
        assert!(std::time::Instant::now() < deadline, "what came is not stored");
    }
    drop(stream);
    let retry = || server.admin().with("idempotency-key", "k").send("POST", path, LINES, body.as_bytes());
    // Until the server has noticed that the first one is gone.
    let mut answer = retry();
    while answer.status == 409 {
        assert_eq!(answer.json()["code"], "in_progress");
        assert!(std::time::Instant::now() < deadline, "the first one is never given up");
        answer = retry();
    }
    assert_eq!(
        (answer.status, lines(&answer).len()),
        (201, 5_000),
        "{}",
        &answer.text[..200.min(answer.text.len())]
    );
    assert_eq!((count(&admin, "events"), count(&admin, "alerts")), (5_000, 5_000), "each once");
    assert_eq!(retry().text, answer.text);
}

fn a_body_of_any_length_is_streamed(server: &Server) {
    let admin = server.admin();
    admin.event("LOW", "warm");
    let long = "x".repeat(2_000);
    let one = line(1, "LOW").replace("number 1", &long);
    let (lines, before) = (80_000, server.memory_kib());
    let mut stream = server.connect();
    let head = format!(
        "POST /api/v1/events/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: {}\r\nContent-Type: {LINES}\r\nContent-Length: {}\r\n\r\n",
        admin.headers[0].1,
        one.len() * lines
    );
    stream.write_all(head.as_bytes()).unwrap();
    let thousand = one.repeat(1_000);
    let mut most = 0;
    for _ in 0..lines / 1_000 {
        // Nothing of the answer is read before everything is sent, as simple clients do it.
        stream.write_all(thousand.as_bytes()).unwrap();
        most = most.max(server.memory_kib());
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{}", &answer[..200]);
    assert_eq!(answer.matches("\"status\":201").count(), lines);
    assert_eq!(count(&admin, "events"), lines as i64 + 1);
    // 160 MB came; what is held at a time are a few pieces of it, and the caches of the database.
    assert!(most < before + (100 << 10), "{before} KiB before, {most} at most");
}

fn optional_fields_come_back_as_they_were_sent(server: &Server) {
    let admin = server.admin();
    let sent = json!({
        "source_name": "fw", "event_type": "scan", "severity": "HIGH", "description": "x",
        "occurred_at": "2026-11-20T23:05:45+01:00", "host": "db-1", "user": "bob", "src_ip": "203.0.113.7",
        "dst_ip": "2001:DB8::1", "attributes": {"ports": [22, 443], "deep": {"a": [{"b": null}]}, "big": 12345678901234567890_u64}
    });
    let made = admin.post_json("/api/v1/events/", &sent.to_string()).expect(201);
    let read = admin.get(&format!("/api/v1/events/{}", made["id"])).expect(200);
    for (field, value) in [
        ("occurred_at", json!("2026-11-20T22:05:45.000000Z")),
        ("host", json!("db-1")),
        ("user", json!("bob")),
        ("src_ip", json!("203.0.113.7")),
        ("dst_ip", json!("2001:db8::1")),
        ("attributes", sent["attributes"].clone()),
    ] {
        assert_eq!((&made[field], &read[field]), (&value, &value), "{field}");
    }
    for query in [
        "host=DB-1",
        "user=bob&src_ip=203.0.113.7",
        "dst_ip=2001:db8::1",
        "search=12345678901234567890",
        "host=x&host=db-1",
        "since=-1h&until=now&host=db-1",
    ] {
        for list in ["events", "alerts"] {
            assert_eq!(
                admin.get(&format!("/api/v1/{list}?{query}")).expect(200)["count"],
                1,
                "{list} {query}"
            );
        }
    }
    for query in ["host=other", "since=now", "search=%22203.0.113%22", "until=-1h&search=x"] {
        assert_eq!(admin.get(&format!("/api/v1/events?{query}")).expect(200)["count"], 0, "{query}");
    }
    let plain = admin.event("LOW", "plain");
    assert_eq!((&plain["host"], &plain["attributes"]), (&Value::Null, &Value::Null));
    let form = admin.post_form(
        "/api/v1/events/",
        "source_name=f&event_type=t&severity=LOW&description=d&attributes=%7B%22a%22%3A1%7D&host=",
    );
    assert_eq!(form.expect(201)["attributes"], json!({"a": 1}));
    for (field, wrong) in [
        ("occurred_at", json!("yesterday")),
        ("src_ip", json!("300.1.1.1")),
        ("attributes", json!([1])),
        ("attributes", json!({"a": "\u{0}"})),
        ("attributes", json!({"a": "x".repeat(17_000)})),
        ("host", json!("x".repeat(256))),
        ("user", json!({"name": "bob"})),
    ] {
        let mut body = sent.clone();
        body[field] = wrong;
        assert!(
            admin.post_json("/api/v1/events/", &body.to_string()).expect(400)[field].is_array(),
            "{field}"
        );
    }
}
