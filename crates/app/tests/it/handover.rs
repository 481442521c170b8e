//! What happened since somebody last looked, over the API, against a plain model that remembers everything.

use crate::on_both_engines;
use crate::server::{Client, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use watchpost_model::Timestamp;

on_both_engines!(
    whatever_happens_everybody_is_told_what_they_missed,
    what_was_seen_is_ones_own_and_only_moves_forward,
    wrong_questions_are_named,
);

const PATH: &str = "/api/v1/handover";
const STEPS: usize = 400;
const SEVERITIES: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

struct Change {
    at: String,
    alert: i64,
    actor: &'static str,
    from: String,
    /// The alert after it.
    after: Value,
    note: Option<String>,
}

/// Everything that happened; times are compared as they are written.
#[derive(Default)]
struct Model {
    alerts: BTreeMap<i64, Value>,
    changes: Vec<Change>,
    seen: BTreeMap<&'static str, String>,
}

impl Model {
    fn raise(&mut self, admin: &Client<'_>, dice: &mut Dice) {
        let (source, severity) = (["fw", "cam", "FW"][dice.below(3)], SEVERITIES[2 + dice.below(2)]);
        let body =
            json!({"source_name": source, "event_type": "scan", "severity": severity, "description": "x"});
        let alert =
            admin.post_json("/api/v1/events", &body.to_string()).expect(201)["alert"].as_i64().unwrap();
        self.alerts.insert(alert, admin.get(&format!("/api/v1/alerts/{alert}")).expect(200));
    }

    fn change(&mut self, client: &Client<'_>, actor: &'static str, dice: &mut Dice) {
        let Some(alert) = self.alerts.keys().nth(dice.below(self.alerts.len().max(1))).copied() else {
            return;
        };
        let (path, body) = match dice.below(9) {
            0 | 1 => ("ack", json!({"why": "mine"})),
            2 => ("unack", json!({})),
            3 => ("resolve", json!({"verdict": "BENIGN", "why": "seen before"})),
            4 => ("reopen", json!({})),
            5 => ("assign", json!({"assignee": "me"})),
            6 => ("assign", json!({"assignee": ""})),
            7 => ("severity", json!({"severity": SEVERITIES[dice.below(4)]})),
            _ => ("notes", json!({"text": format!("note {}", self.changes.len())})),
        };
        let answer = client.post_json(&format!("/api/v1/alerts/{alert}/{path}"), &body.to_string());
        if answer.status == 409 {
            return;
        }
        let (after, before) = (answer.expect(200), &self.alerts[&alert]);
        if after["version"] != before["version"] {
            self.changes.push(Change {
                at: after["updated_at"].as_str().unwrap().into(),
                alert,
                actor,
                from: before["status"].as_str().unwrap().into(),
                after: after.clone(),
                note: body["text"].as_str().map(str::to_owned),
            });
            self.alerts.insert(alert, after);
        }
    }

    fn by_severity(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let count = |severity: &str| {
            self.alerts.values().filter(|alert| wanted(alert) && alert["severity"] == severity).count()
        };
        SEVERITIES.iter().map(|severity| ((*severity).to_owned(), json!(count(severity)))).collect()
    }

    /// What somebody is to be told of a time.
    fn compare(&self, told: &Value, name: &str) {
        let (since, until) = (told["since"].as_str().unwrap(), told["until"].as_str().unwrap());
        let within = |at: &str| since <= at && at < until;
        let raised = |alert: &Value| within(alert["created_at"].as_str().unwrap());
        assert_eq!(told["raised"], self.by_severity(raised), "{told}");
        assert_eq!(told["still_open"], self.by_severity(|alert| alert["status"] == "OPEN"));
        let open = |owner: Value| {
            let open = |alert: &&Value| alert["status"] == "OPEN" && alert["assignee"] == owner;
            self.alerts.values().filter(open).count()
        };
        assert_eq!(
            (&told["unassigned_open"], &told["mine_open"]),
            (&json!(open(Value::Null)), &json!(open(name.into())))
        );
        let mut sources = [("cam", 0), ("fw", 0)];
        for alert in self.alerts.values().filter(|alert| raised(alert)) {
            sources[usize::from(alert["source_name"] != "cam")].1 += 1;
        }
        sources.sort_by_key(|(name, n)| (-n, *name));
        let shown = |source: &Value| {
            (source["value"].as_str().unwrap().to_lowercase(), source["count"].as_i64().unwrap())
        };
        let shown: Vec<_> = told["top_sources"].as_array().unwrap().iter().map(shown).collect();
        let wanted = sources.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n));
        assert_eq!(shown, wanted.collect::<Vec<_>>());
        self.compare_changes(told, within);
        // Nothing here is more than is counted.
        let flags = told.as_object().unwrap().keys().filter(|name| name.ends_with("_is_minimum")).count();
        assert_eq!((flags, &told["snoozes_ended"], &told["by_person_more"]), (0, &json!(0), &json!(false)));
    }

    fn compare_changes(&self, told: &Value, within: impl Fn(&str) -> bool) {
        let mut changes: Vec<&Change> = self.changes.iter().filter(|change| within(&change.at)).collect();
        changes.sort_by_key(|change| {
            std::cmp::Reverse((&change.at, change.alert, change.after["version"].as_i64()))
        });
        let count =
            |wanted: &dyn Fn(&Change) -> bool| changes.iter().filter(|change| wanted(change)).count() as i64;
        let is = |change: &Change, from: &str, to: &str| {
            (from.is_empty() || change.from == from) && (to.is_empty() || change.after["status"] == to)
        };
        let deeds = |who: &dyn Fn(&Change) -> bool| {
            json!({
                "acknowledged": count(&|change| who(change) && is(change, "OPEN", "ACKNOWLEDGED")),
                "resolved": count(&|change| who(change) && change.from != "RESOLVED" && is(change, "", "RESOLVED")),
                "reopened": count(&|change| who(change) && is(change, "RESOLVED", "") && !is(change, "", "RESOLVED")),
                "notes": count(&|change| who(change) && change.note.is_some()),
                "changes": count(who),
            })
        };
        let all = deeds(&|_| true);
        for what in ["acknowledged", "resolved", "reopened"] {
            assert_eq!(told[what], all[what], "{what}: {told}");
        }
        let people = ["rob", "eve"].into_iter().filter(|name| count(&|change| change.actor == *name) > 0);
        let people: Value =
            people.map(|name| (name.to_owned(), deeds(&|change| change.actor == name))).collect();
        assert_eq!(told["by_person"], people);
        let shown = |told: &Value, who: &str| {
            (told["at"].clone(), told["alert"].clone(), told[who].clone(), told["severity"].clone())
        };
        let is_told = |change: &&Change| {
            (
                json!(change.at),
                json!(change.alert),
                json!(change.actor),
                self.alerts[&change.alert]["severity"].clone(),
            )
        };
        let found: Vec<_> =
            told["changes"].as_array().unwrap().iter().map(|one| shown(one, "actor")).collect();
        assert_eq!(found, changes.iter().take(50).map(is_told).collect::<Vec<_>>());
        assert_eq!(told["changes_more"], changes.len() > 50);
        let notes: Vec<_> = changes.into_iter().filter(|change| change.note.is_some()).collect();
        let found: Vec<_> =
            told["notes"].as_array().unwrap().iter().map(|one| shown(one, "author")).collect();
        assert_eq!(found, notes.iter().take(20).map(is_told).collect::<Vec<_>>());
        let texts: Vec<_> =
            told["notes"].as_array().unwrap().iter().map(|note| note["text"].as_str().unwrap()).collect();
        assert_eq!(
            texts,
            notes.iter().take(20).map(|change| change.note.as_deref().unwrap()).collect::<Vec<_>>()
        );
        assert_eq!(told["notes_more"], notes.len() > 20);
    }

    /// A time at which something happened.
    fn moment(&self, dice: &mut Dice) -> Option<&str> {
        let raised = self.alerts.values().map(|alert| alert["created_at"].as_str().unwrap());
        let moments: Vec<&str> = raised.chain(self.changes.iter().map(|change| change.at.as_str())).collect();
        moments.get(dice.below(moments.len().max(1))).copied()
    }
}

fn whatever_happens_everybody_is_told_what_they_missed(server: &Server) {
    let people = [("ann", "ANALYST"), ("rob", "RESPONDER"), ("eve", "RESPONDER")];
    let people = people.map(|(name, role)| (name, server.user(name, role)));
    let (mut model, mut dice) = (Model::default(), Dice(7));
    let (admin, mut asked) = (server.admin(), 0);
    for _ in 0..STEPS {
        let (name, client) = &people[dice.below(3)];
        let responder = &people[1 + dice.below(2)];
        match dice.below(16) {
            0 | 1 => model.raise(&admin, &mut dice),
            2 => {
                let told = client.get(PATH).expect(200);
                model.compare(&told, name);
                let body = json!({"until": told["until"]});
                assert_eq!(
                    client.post_json(PATH, &body.to_string()).expect(200)["seen_until"],
                    told["until"]
                );
                model.seen.insert(name, told["until"].as_str().unwrap().into());
            }
            3 => {
                let Some(since) = model.moment(&mut dice) else { continue };
                let told = client.get(&format!("{PATH}?since={since}")).expect(200);
                assert_eq!(told["since"], since);
                model.compare(&told, name);
                asked += 1;
            }
            4 => {
                let told = client.get(PATH).expect(200);
                match model.seen.get(name) {
                    Some(seen) => {
                        assert_eq!((&told["since"], &told["seen_until"]), (&json!(seen), &json!(seen)))
                    }
                    None => {
                        let time = |name: &str| Timestamp::parse(told[name].as_str().unwrap()).unwrap();
                        assert_eq!(time("since"), time("until").plus_seconds(-12 * 3_600));
                        assert!(told["seen_until"].is_null());
                    }
                }
                model.compare(&told, name);
                asked += 1;
            }
            _ => model.change(&responder.1, responder.0, &mut dice),
        }
    }
    assert!(
        asked > 20 && model.seen.len() == 3 && model.changes.len() > 80,
        "little happened: {asked} {}",
        model.changes.len()
    );
    let (name, ann) = &people[0];
    let told = ann.get(&format!("{PATH}?since=-31d")).expect(200);
    model.compare(&told, name);
    let (first, change) = (&told["changes"][0], model.changes.last().unwrap());
    assert_eq!((&first["version"], &first["title"]), (&change.after["version"], &change.after["title"]));
    let reason =
        told["changes"].as_array().unwrap().iter().find(|change| change["to"] == "RESOLVED").unwrap();
    assert_eq!(
        (&reason["action"], &reason["verdict"], &reason["why"]),
        (&json!("status"), &json!("BENIGN"), &json!("seen before"))
    );
    // Whoever has seen everything has missed nothing.
    ann.post_json(PATH, "").expect(200);
    let told = ann.get(PATH).expect(200);
    model.compare(&told, name);
    assert_eq!(
        (&told["changes"], &told["by_person"], &told["top_sources"]),
        (&json!([]), &json!({}), &json!([]))
    );
}

fn what_was_seen_is_ones_own_and_only_moves_forward(server: &Server) {
    let (ann, rob) = (server.user("ann", "ANALYST"), server.user("rob", "RESPONDER"));
    let see = |client: &Client<'_>, body: Value| {
        let seen = client.post_json(PATH, &body.to_string()).expect(200)["seen_until"].clone();
        seen.as_str().unwrap().to_owned()
    };
    let long_ago = see(&ann, json!({"until": "2026-01-01"}));
    assert_eq!(long_ago, "2026-01-01T00:00:00.000000Z");
    let told = ann.get(PATH).expect(200);
    let time = |name: &str| Timestamp::parse(told[name].as_str().unwrap()).unwrap();
    assert_eq!(
        time("since"),
        time("until").plus_seconds(-31 * 86_400).max(time("seen_until")),
        "a month at most"
    );
    let hour_ago = see(&ann, json!({"until": "-1h"}));
    assert!(hour_ago > long_ago);
    assert_eq!(see(&ann, json!({"until": long_ago})), hour_ago, "it never moves back");
    let now = see(&ann, json!({"until": "+1h"}));
    assert!(now > hour_ago && *now < *ann.get(PATH).expect(200)["until"].as_str().unwrap(), "nor beyond now");
    let form = ann.post_form(PATH, "until=").expect(200)["seen_until"].as_str().unwrap().to_owned();
    assert!(form > now, "nothing means now");
    assert_eq!(ann.get(PATH).expect(200)["since"], form);
    assert!(rob.get(PATH).expect(200)["seen_until"].is_null(), "others have seen nothing");
    // Many at once leave the latest.
    let latest = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let client = server.sensor_like(&rob);
                scope.spawn(move || {
                    let body = json!({"until": format!("-{}m", n + 1)}).to_string();
                    client.post_json(PATH, &body).expect(200)["seen_until"].as_str().unwrap().to_owned()
                })
            })
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).max().unwrap()
    });
    assert_eq!(rob.get(PATH).expect(200)["since"], latest);
    assert_eq!(rob.get("/api/v1/auth/me").expect(200)["version"], 1, "it is no change of the user");
    for (client, status, code) in
        [(server.sensor(), 403, "permission_denied"), (server.anonymous(), 401, "not_authenticated")]
    {
        assert_eq!(client.get(PATH).expect(status)["code"], code);
        assert_eq!(client.post_json(PATH, "{}").expect(status)["code"], code);
    }
}

fn wrong_questions_are_named(server: &Server) {
    let ann = server.user("ann", "ANALYST");
    for (query, field) in [
        ("since=soon", "since"),
        ("since=%2B1h", "since"),
        ("since=-32d", "since"),
        ("since=2020-01-01", "since"),
        ("until=-1h", "until"),
        ("page=2", "page"),
    ] {
        assert!(ann.get(&format!("{PATH}?{query}")).expect(400)[field].is_array(), "{query}");
    }
    for query in ["since=-31d", "since=now", "since=", "since=-0s"] {
        assert_eq!(ann.get(&format!("{PATH}?{query}")).status, 200, "{query}");
    }
    for body in
        [json!({"until": "soon"}), json!({"until": true}), json!({"until": [1]}), json!({"until": "12:00"})]
    {
        assert!(ann.post_json(PATH, &body.to_string()).expect(400)["until"].is_array(), "{body}");
    }
    assert!(ann.get(PATH).expect(200)["seen_until"].is_null(), "what was refused changed nothing");
}
