//! How pages look for somebody, over the API.

use crate::on_both_engines;
use crate::server::Server;
use serde_json::{Value, json};

on_both_engines!(everybody_chooses_for_themselves, what_is_wrong_is_said_and_changes_nothing);

const PATH: &str = "/api/v1/account/preferences";

fn everybody_chooses_for_themselves(server: &Server) {
    let people = [("ann", "ANALYST"), ("rob", "RESPONDER"), ("eve", "ADMIN")];
    let people = people.map(|(name, role)| server.user(name, role));
    for client in &people {
        let me = client.get("/api/v1/auth/me").expect(200);
        assert_eq!(client.get(PATH).expect(200), json!({"theme": "system", "time_zone": "browser"}));
        let dark = client.patch_json(PATH, r#"{"theme":"Dark"}"#).expect(200);
        assert_eq!(dark, json!({"theme": "dark", "time_zone": "browser"}), "what is left out stays");
        let form = client.send("PATCH", PATH, "application/x-www-form-urlencoded", b"time_zone=utc");
        assert_eq!(form.expect(200), json!({"theme": "dark", "time_zone": "UTC"}));
        assert_eq!(client.get(PATH).expect(200), form.json());
        assert_eq!(client.patch_json(PATH, "{}").expect(200), form.json());
        assert_eq!(client.patch_json(PATH, r#"{"theme":"dark","time_zone":"UTC"}"#).expect(200), form.json());
        assert_eq!(client.get("/api/v1/auth/me").expect(200)["version"], me["version"]);
        let audit = format!("/api/v1/audit?action=user.prefer&object=user:{}", me["id"]);
        let audit = server.admin().get(&audit).expect(200);
        let said: Vec<&Value> =
            audit["results"].as_array().unwrap().iter().map(|row| &row["detail"]).collect();
        assert_eq!(said, ["times UTC", "theme dark"], "what is so already is no change");
    }
    people[0].patch_json(PATH, r#"{"theme":"light","time_zone":"browser"}"#).expect(200);
    assert_eq!(people[1].get(PATH).expect(200), json!({"theme": "dark", "time_zone": "UTC"}));
    assert_eq!(server.sensor().get(PATH).expect(403)["code"], "permission_denied");
    assert_eq!(server.anonymous().patch_json(PATH, r#"{"theme":"light"}"#).status, 401);
}

fn what_is_wrong_is_said_and_changes_nothing(server: &Server) {
    let ann = server.user("ann", "ANALYST");
    for (body, fields) in [
        (json!({"theme": "pink"}), vec!["theme"]),
        (json!({"theme": ""}), vec!["theme"]),
        (json!({"theme": null}), vec!["theme"]),
        (json!({"theme": ["dark"]}), vec!["theme"]),
        (json!({"theme": true}), vec!["theme"]),
        (json!({"time_zone": "Europe/Berlin"}), vec!["time_zone"]),
        (json!({"time_zone": "dark", "theme": "UTC"}), vec!["theme", "time_zone"]),
        (json!({"theme": "dark", "time_zone": 1}), vec!["time_zone"]),
    ] {
        let wrong = ann.patch_json(PATH, &body.to_string()).expect(400);
        assert_eq!(wrong.as_object().unwrap().keys().collect::<Vec<_>>(), fields, "{body}");
    }
    let named = ann.patch_json(PATH, r#"{"theme":"pink"}"#).expect(400);
    assert_eq!(named["theme"][0], "\"pink\" is not a valid choice. Choose one of: system, light, dark.");
    assert_eq!(ann.get(PATH).expect(200), json!({"theme": "system", "time_zone": "browser"}));
}
