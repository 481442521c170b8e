//! Lists that people keep under a name, over the API.

use crate::on_both_engines;
use crate::server::{Answer, Client, Server};
use serde_json::{Value, json};

on_both_engines!(
    everybody_sees_their_own_and_what_is_for_all,
    what_is_wrong_is_named_and_nothing_is_kept,
    a_view_is_the_list_it_was_made_from,
    a_name_is_given_once_and_so_many_are_kept,
    whoever_changes_too_late_is_told,
);

const PATH: &str = "/api/v1/views";

fn keep(client: &Client<'_>, name: &str, query: &str, shared: bool) -> Answer {
    client.post_json(PATH, &json!({"name": name, "query": query, "shared": shared}).to_string())
}

fn one(view: &Value) -> String {
    format!("{PATH}/{}", view["id"])
}

/// The names that somebody sees, in order, with a mark at their own.
fn seen(client: &Client<'_>) -> Vec<String> {
    let page = client.get(&format!("{PATH}?page_size=100")).expect(200);
    let views = page["results"].as_array().unwrap();
    assert_eq!(page["count"], views.len());
    let mark = |view: &Value| if view["mine"] == true { "*" } else { "" };
    views.iter().map(|view| format!("{}{}", view["name"].as_str().unwrap(), mark(view))).collect()
}

fn everybody_sees_their_own_and_what_is_for_all(server: &Server) {
    let (ann, rob) = (server.user("ann", "ANALYST"), server.user("rob", "RESPONDER"));
    let (eve, admin) = (server.user("eve", "RESPONDER"), server.admin());
    let anns = keep(&ann, " mine ", "status=open", false).expect(201);
    assert_eq!(
        (&anns["name"], &anns["query"], &anns["owner"], &anns["mine"], &anns["shared"]),
        (&json!("mine"), &json!("status=OPEN"), &json!("ann"), &json!(true), &json!(false))
    );
    let refused = keep(&ann, "ours", "", true).expect(403);
    assert_eq!(refused["code"], "permission_denied");
    assert!(refused["detail"].as_str().unwrap().contains("Responder or Admin"), "{refused}");
    assert_eq!(ann.patch_json(&one(&anns), r#"{"shared":true}"#).status, 403);
    let robs = keep(&rob, "Bad <b>VPN</b>", "search=vpn", true).expect(201);
    let secret = keep(&rob, "almost", "", false).expect(201);
    let eves = keep(&eve, "bad vpn 2", "tag=vpn", true).expect(201);
    assert_eq!(seen(&ann), ["Bad <b>VPN</b>", "bad vpn 2", "mine*"]);
    assert_eq!(seen(&rob), ["almost*", "Bad <b>VPN</b>*", "bad vpn 2"]);
    assert_eq!(seen(&admin), ["Bad <b>VPN</b>", "bad vpn 2"], "what isn't for all isn't for Admins, either");
    let page = ann.get(&format!("{PATH}?page_size=1&page=2")).expect(200);
    assert_eq!((&page["count"], &page["results"][0]["owner"]), (&json!(3), &json!("eve")));
    assert!(page["next"].is_string() && page["previous"].is_string());

    // What one doesn't see isn't there, for Admins as well.
    for client in [&ann, &eve, &admin] {
        for method in ["GET", "PATCH", "DELETE"] {
            let answer = client.send(method, &one(&secret), "application/json", b"{}");
            assert_eq!(
                answer.text,
                client.send(method, &format!("{PATH}/999999"), "application/json", b"{}").text
            );
            assert_eq!(answer.status, 404, "{method}");
        }
    }
    // What is for all is its owner's and the Admins' to change.
    for (client, status) in [(&ann, 403), (&eve, 403), (&admin, 200), (&rob, 200)] {
        assert_eq!(client.get(&one(&robs)).expect(200)["owner"], "rob");
        assert_eq!(client.patch_json(&one(&robs), r#"{"name":"Renamed"}"#).status, status);
    }
    for client in [&ann, &eve] {
        assert_eq!(client.send("DELETE", &one(&robs), "", b"").status, 403);
    }
    for (client, status) in [(&server.sensor(), 403), (&server.anonymous(), 401)] {
        assert_eq!(client.get(PATH).status, status);
        assert_eq!(keep(client, "x", "", false).status, status);
        assert_eq!(client.send("DELETE", &one(&robs), "", b"").status, status);
    }
    // Whoever may no longer share keeps what they shared, and can only take it back.
    let id = rob.get("/api/v1/auth/me").expect(200)["id"].clone();
    admin.patch_json(&format!("/api/v1/users/{id}"), r#"{"role":"ANALYST"}"#).expect(200);
    assert_eq!(rob.patch_json(&one(&robs), r#"{"query":"status=OPEN"}"#).status, 403);
    assert_eq!(rob.patch_json(&one(&robs), r#"{"shared":"no"}"#).expect(200)["shared"], false);
    assert_eq!(seen(&ann), ["bad vpn 2", "mine*"]);
    // Who is gone leaves what is for all.
    let id = eve.get("/api/v1/auth/me").expect(200)["id"].clone();
    assert_eq!(admin.send("DELETE", &format!("/api/v1/users/{id}"), "", b"").status, 204);
    assert_eq!(ann.get(&one(&eves)).expect(200)["owner"], "eve");
    assert_eq!(admin.send("DELETE", &one(&eves), "", b"").status, 204);
    assert_eq!((ann.get(&one(&eves)).status, admin.send("DELETE", &one(&eves), "", b"").status), (404, 404));
    assert_eq!(ann.send("DELETE", &one(&anns), "", b"").status, 204);
    assert_eq!(seen(&ann), [""; 0]);
    audited(&admin, &robs);
}

/// What was done with a view is remembered, and who was refused; what only its owner sees is not told.
fn audited(admin: &Client<'_>, view: &Value) {
    let rows = admin.get(&format!("/api/v1/audit?object=view:{}", view["id"])).expect(200)["results"].clone();
    let said: Vec<String> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {} {}", row["actor"], row["action"], row["detail"]).replace('"', ""))
        .collect();
    assert_eq!(
        said,
        [
            "rob view.update Renamed, for its owner alone",
            "admin view.update Renamed, for all",
            "eve refused only its owner or an Admin changes a view that is for all",
            "ann refused only its owner or an Admin changes a view that is for all",
            "rob view.create Bad <b>VPN</b>, for all",
        ]
    );
    let all = admin.get("/api/v1/audit?action=view.&page_size=100").text;
    assert!(!all.contains("almost") && !all.contains("mine") && all.contains("for oneself"), "{all}");
}

fn what_is_wrong_is_named_and_nothing_is_kept(server: &Server) {
    let rob = server.user("rob", "RESPONDER");
    let view = keep(&rob, "fine", "status=OPEN", true).expect(201);
    let long_names = format!("source_name={0}&source_name={0}", "é".repeat(250));
    let many: String = "tag=a&".repeat(101);
    let named: &[(Value, &str, &str)] = &[
        (json!({"name": ""}), "name", "blank"),
        (json!({"name": " \n "}), "name", "blank"),
        (json!({"name": null}), "name", "null"),
        (json!({"name": ["x"]}), "name", "string"),
        (json!({"name": "é".repeat(61)}), "name", "60"),
        (json!({"name": "a\nb"}), "name", "Control"),
        (json!({"name": "a\u{1b}[2Jb"}), "name", "Control"),
        (json!({"name": "a\u{0}b"}), "name", "Null"),
        (json!({"query": null}), "query", "null"),
        (json!({"query": true}), "query", "string"),
        (json!({"query": "x".repeat(2_001)}), "query", "2000"),
        (json!({"query": long_names}), "query", "2000"),
        (json!({"query": many}), "query", "100"),
        (json!({"query": "severity=NOPE"}), "query", "severity: \"NOPE\""),
        (json!({"query": "colour=red"}), "query", "colour: Unknown parameter"),
        (json!({"query": "since=soon"}), "query", "since: "),
        (json!({"query": "tag=a%20b"}), "query", "tag: "),
        (json!({"query": "id=x"}), "query", "id: "),
        (json!({"query": "assignee=nobody-here"}), "query", "assignee: There is no user"),
        (json!({"query": "search=a%00b"}), "query", "search: "),
        (json!({"shared": "perhaps"}), "shared", "boolean"),
        (json!({"shared": null}), "shared", "null"),
    ];
    for (wrong, field, message) in named {
        let mut body = json!({"name": "new", "query": "", "shared": false});
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        for answer in
            [rob.post_json(PATH, &body.to_string()), rob.patch_json(&one(&view), &wrong.to_string())]
        {
            let said = answer.expect(400);
            assert_eq!(said.as_object().unwrap().keys().collect::<Vec<_>>(), [field], "{wrong}");
            assert!(said[field][0].as_str().unwrap().contains(message), "{wrong}: {said}");
        }
    }
    let nothing = rob.post_json(PATH, "{}").expect(400);
    assert_eq!(nothing.as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "query"]);
    let all = json!({"name": "", "query": "severity=x&status=y", "shared": 7}).to_string();
    let all = rob.post_json(PATH, &all).expect(400);
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "query", "shared"]);
    assert_eq!(all["query"].as_array().unwrap().len(), 2, "{all}");
    for id in ["0", "-1", "abc", "1.0", "%00"] {
        assert_eq!(rob.get(&format!("{PATH}/{id}")).status, 404, "{id}");
    }
    assert!(rob.get(&format!("{PATH}?colour=red")).expect(400)["colour"].is_array());
    assert_eq!(rob.get(&one(&view)).expect(200), view);
    assert_eq!(seen(&rob), ["fine*"]);
}

fn a_view_is_the_list_it_was_made_from(server: &Server) {
    let rob = server.user("rob", "RESPONDER");
    for n in 0..6 {
        let body = json!({
            "source_name": (["fw&1", "cam"][n % 2]), "event_type": "scan", "severity": (["HIGH", "CRITICAL"][n / 3]), "description": format!("vpn {n}")
        });
        let alert = raised(server, &body);
        if n == 0 {
            rob.post_json(&format!("/api/v1/alerts/{alert}/assign"), r#"{"assignee":"me"}"#).expect(200);
        }
    }
    let list = |client: &Client<'_>, query: &str| {
        client.get(&format!("/api/v1/alerts?page_size=100&{query}")).expect(200)["results"].clone()
    };
    for (n, (given, kept)) in [
        ("", ""),
        ("?status=open&page=7&page_size=1&cursor=x", "status=OPEN"),
        ("ordering=-SEVERITY&severity=critical,high", "severity=HIGH,CRITICAL&ordering=-severity"),
        ("source_name=FW%261&since=-1h", "source_name=FW%261&since=-1h"),
        ("search=\"vpn\" 3&format=json", "search=%22vpn%22%203"),
        ("assignee=me&snoozed=false", "assignee=me&snoozed=false"),
    ]
    .into_iter()
    .enumerate()
    {
        let view = keep(&rob, &format!("{n}"), given, true).expect(201);
        assert_eq!(view["query"], kept);
        assert_eq!(rob.get(&one(&view)).expect(200), view);
        let again = rob.patch_json(&one(&view), &json!({"query": kept}).to_string()).expect(200);
        assert_eq!(again, view, "what is so already is no change");
        let plain = given
            .trim_start_matches('?')
            .split('&')
            .filter(|pair| !pair.starts_with("page") && !pair.starts_with("cursor"));
        let plain = plain.collect::<Vec<_>>().join("&").replace(' ', "%20").replace('"', "%22");
        assert_eq!(list(&rob, kept), list(&rob, &plain), "{given}");
    }
    // Whose list it is, is whoever looks at it.
    let mine = |client: &Client<'_>| list(client, "assignee=me&snoozed=false").as_array().unwrap().len();
    assert_eq!((mine(&rob), mine(&server.admin())), (1, 0));
}

fn raised(server: &Server, body: &Value) -> Value {
    server.admin().post_json("/api/v1/events", &body.to_string()).expect(201)["alert"].clone()
}

fn a_name_is_given_once_and_so_many_are_kept(server: &Server) {
    let (rob, eve) = (server.user("rob", "RESPONDER"), server.user("eve", "RESPONDER"));
    let at_once = |names: [&str; 8]| -> Vec<Answer> {
        std::thread::scope(|scope| {
            let begin = |name| {
                let client = server.sensor_like(&rob);
                scope.spawn(move || keep(&client, name, "", false))
            };
            let tasks: Vec<_> = names.map(begin).into_iter().collect();
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        })
    };
    let counted =
        |answers: &[Answer], status| answers.iter().filter(|answer| answer.status == status).count();
    let answers = at_once(["Größe"; 8]);
    assert_eq!((counted(&answers, 201), counted(&answers, 400)), (1, 7), "{answers:?}");
    let refused = keep(&rob, "  gRÖßE ", "", false).expect(400);
    assert_eq!(refused["name"][0], "There is a view with that name already.");
    let eves = keep(&eve, "größe", "", false).expect(201);
    let second = keep(&rob, "second", "", false).expect(201);
    let taken = rob.patch_json(&one(&second), r#"{"name":"GRÖßE"}"#).expect(400);
    assert_eq!(taken, refused);
    rob.patch_json(&one(&second), r#"{"name":"SECOND"}"#).expect(200);

    for n in 0..94 {
        keep(&rob, &format!("view {n}"), "", false).expect(201);
    }
    let answers = at_once(["a", "b", "c", "d", "e", "f", "g", "h"]);
    assert_eq!((counted(&answers, 201), counted(&answers, 409)), (4, 4), "{answers:?}");
    let refused = keep(&rob, "one more", "", false).expect(409);
    assert_eq!(refused["code"], "too_many_views");
    assert_eq!(seen(&rob).len(), 100);
    assert_eq!(rob.send("DELETE", &one(&second), "", b"").status, 204);
    keep(&rob, "one more", "", false).expect(201);
    assert_eq!(eve.get(&one(&eves)).expect(200), eves, "others have room of their own");
}

fn whoever_changes_too_late_is_told(server: &Server) {
    let rob = server.user("rob", "RESPONDER");
    let view = keep(&rob, "x", "", true).expect(201);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let begin = |n: usize| {
            let (client, path) = (server.sensor_like(&rob), one(&view));
            scope.spawn(move || {
                let body = json!({"name": format!("x{n}"), "version": 1});
                client.patch_json(&path, &body.to_string())
            })
        };
        let tasks: Vec<_> = (0..8).map(begin).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    let won: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.json()["code"] == "conflict"));
    assert_eq!(rob.get(&one(&view)).expect(200), won[0].json());
    assert_eq!(won[0].json()["version"], 2);
    let by_header = server.sensor_like(&rob).with("if-match", "\"1\"");
    assert_eq!(by_header.patch_json(&one(&view), r#"{"shared":false}"#).status, 409);
    let by_header = server.sensor_like(&rob).with("if-match", "\"2\"");
    assert_eq!(by_header.patch_json(&one(&view), r#"{"shared":false}"#).expect(200)["version"], 3);
}
