//! The console, as a browser without JavaScript uses it.

use crate::on_both_engines;
use crate::server::{ADMIN, Answer, Client, Engine, PASSWORD, Server};

on_both_engines!(
    signing_in_and_out,
    triage_by_form,
    many_by_form,
    what_happened_since_one_last_looked,
    forms_of_other_sites_are_refused,
    an_analyst_reads_only,
    what_sensors_send_is_escaped,
);

pub(crate) const HOSTILE: &str =
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'></td>{{7*7}}\u{202e}";

pub(crate) fn sign_in<'a>(server: &'a Server, username: &str) -> Client<'a> {
    let answer =
        server.anonymous().post_form("/login", &format!("username={username}&password={PASSWORD}&next=/"));
    assert_eq!((answer.status, answer.header("location")), (303, "/"), "{}", answer.text);
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    server.anonymous().with("cookie", &cookie)
}

/// The token that a page's forms carry.
pub(crate) fn form_token(page: &Answer) -> String {
    let (_, rest) = page.text.split_once("name=\"form_token\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

fn signing_in_and_out(server: &Server) {
    let anyone = server.anonymous();
    let sent = anyone.get("/alerts/7?x=1");
    assert_eq!((sent.status, sent.header("location")), (303, "/login?next=%2Falerts%2F7%3Fx%3D1"));
    let page = anyone.get("/login?next=%2Falerts%2F7%3Fx%3D1");
    assert!(page.text.contains("value=\"&#x2f;alerts&#x2f;7?x=1\""), "{}", page.text);
    assert!(page.header("content-security-policy").contains("script-src 'self'; style-src 'self';"));
    let wrong = anyone.post_form("/login", "username=admin&password=nope");
    assert_eq!(wrong.status, 401);
    assert!(
        wrong.text.contains("is wrong")
            && wrong.text.contains("value=\"admin\"")
            && wrong.header("set-cookie").is_empty()
    );
    let elsewhere =
        anyone.post_form("/login", &format!("username={ADMIN}&password={PASSWORD}&next=//evil.example"));
    assert_eq!(elsewhere.header("location"), "/");
    let cookie = elsewhere.header("set-cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"),
        "{cookie}"
    );

    let admin = sign_in(server, ADMIN);
    let page = admin.get("/");
    assert_eq!(page.status, 200);
    assert!(page.text.contains("Three steps to the first event"));
    assert_eq!(admin.get("/api/v1/alerts").status, 401, "the API looks at no cookie");
    let token = form_token(&page);
    assert_eq!(admin.post_form("/logout", &format!("form_token={token}")).status, 303);
    assert_eq!(admin.get("/").status, 303, "the session has ended, whoever kept the cookie");
    let again = sign_in(server, ADMIN);
    let boss = server.user("boss", "ADMIN");
    boss.patch_json("/api/v1/users/1", &format!(r#"{{"password":"{PASSWORD}2"}}"#)).expect(200);
    assert_eq!(again.get("/").status, 303, "a new password ends sessions");
    assert_eq!(
        server.anonymous().with("accept", "text/html").get("/nothing").header("content-type"),
        "text/html; charset=utf-8"
    );
}

fn triage_by_form(server: &Server) {
    server.admin().event("CRITICAL", "look at me");
    let admin = sign_in(server, ADMIN);
    let list = admin.get("/alerts?status=OPEN");
    assert!(list.text.contains("look at me") && list.text.contains("Acknowledge"));
    let token = form_token(&list);
    let body = |action: &str, version: u32| {
        format!("form_token={token}&action={action}&version={version}&list=%2Falerts%3Fstatus%3DOPEN")
    };
    let done = admin.post_form("/alerts/1/act", &body("ack", 1));
    let back = "/alerts/1?list=%2Falerts%3Fstatus%3DOPEN";
    assert_eq!((done.status, done.header("location")), (303, back));
    assert!(
        admin.get(back).text.replace("&#x2f;", "/").contains("href=\"/alerts?status=OPEN\" data-back>← Back")
    );
    let stale = admin.post_form("/alerts/1/act", &body("resolve", 1));
    assert_eq!(stale.status, 409);
    assert!(
        stale.text.contains("Somebody else was quicker")
            && stale.text.contains("Open → Acknowledged by admin")
    );
    assert_eq!(server.admin().get("/api/v1/alerts/1").expect(200)["status"], "ACKNOWLEDGED");
    for (action, rest) in [
        ("assign", "assignee=me"),
        ("snooze", "until=%2B4h"),
        ("tags", "add=vpn%2C+lab"),
        ("title", "title=Somebody+looks"),
        ("severity", "severity=MEDIUM&why=a+test"),
        ("notes", "text=Called+them."),
    ] {
        let body = format!("form_token={token}&action={action}&{rest}");
        assert_eq!(admin.post_form("/alerts/1/act", &body).status, 303, "{action}");
    }
    let page = admin.get("/alerts/1").text;
    for said in
        ["Somebody looks", "@admin", ">lab<", ">vpn<", "Called them.", "Severity Critical → Medium", "a test"]
    {
        assert!(page.contains(said), "{said}");
    }
    assert_eq!(admin.post_form("/alerts/1/act", &format!("form_token={token}&action=dance")).status, 404);
    assert_eq!(
        admin.post_form("/alerts/1/act", &format!("form_token={token}&action=snooze&until=x")).status,
        400
    );
    assert!(admin.get("/alerts?search=nothing-like-it").text.contains("Nothing matches"));
    assert_eq!(admin.get("/alerts/99").status, 404);
    assert_eq!(admin.get("/alerts?severity=nope").status, 400);
}

fn many_by_form(server: &Server) {
    for n in 0..6 {
        server.admin().event(if n < 4 { "HIGH" } else { "CRITICAL" }, &format!("number {n}"));
    }
    let admin = sign_in(server, ADMIN);
    let token = form_token(&admin.get("/alerts"));
    let statuses = || {
        let list = server.admin().get("/api/v1/alerts?ordering=created_at").expect(200);
        let of = |alert: &serde_json::Value| alert["status"].as_str().unwrap()[..1].to_owned();
        list["results"].as_array().unwrap().iter().map(of).collect::<String>()
    };
    let post = |path: &str, rest: &str| {
        let answer =
            admin.post_form(path, &format!("form_token={token}&back=%2Falerts%3Ffold%3Dgroup&{rest}"));
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/alerts?fold=group"),
            "{}",
            answer.text
        );
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        let cookies = format!("{}; {cookie}", admin.headers[0].1);
        let page = server.anonymous().with("cookie", &cookies).get("/alerts?fold=group").text;
        let undo = page
            .split("action=\"/alerts/jobs/")
            .nth(1)
            .map(|rest| rest.split('"').next().unwrap().to_owned());
        (page, undo.map(|undo| format!("/alerts/jobs/{undo}")))
    };
    // Some by their numbers, then a row's own button, whatever is chosen beside it.
    let (page, _) = post("/alerts/bulk", "action=ack&ids=1&ids=2&ids=99");
    assert!(page.contains("2 alerts acknowledged. 1 alert stayed as before"));
    assert_eq!(statuses(), "AAOOOO");
    post("/alerts/bulk", "one=resolve+3&ids=1&ids=2");
    assert_eq!(statuses(), "AAROOO");
    // All of a list, and back.
    let (page, undo) = post("/alerts/bulk", "action=resolve&all=1&filter=%3Fstatus%3DOPEN&ids=1");
    assert!(page.contains("3 alerts resolved."));
    assert_eq!(statuses(), "AARRRR");
    let (page, undo) = post(&undo.expect("it can be taken back"), "");
    assert!(page.contains("Undone for 3 alerts.") && undo.is_none());
    assert_eq!(statuses(), "AAROOO");
    // A group: what is open of it.
    let folded = admin.get("/alerts?fold=group&status=OPEN").text;
    assert_eq!(folded.matches("class=\"alert-row group").count(), 2, "two severities are two groups");
    let group = folded.split("name=\"group\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(group.contains("severity=CRITICAL"), "the one last seen comes first");
    let group = group.replace("&amp;", "%26").replace('=', "%3D");
    post("/alerts/bulk", &format!("action=resolve&verdict=BENIGN&group={group}"));
    assert_eq!(statuses(), "AARORR");
    let none = admin.post_form("/alerts/bulk", &format!("form_token={token}&action=ack"));
    assert!(none.status == 400 && none.text.contains("Choose at least one alert."));
    let elsewhere = admin
        .post_form("/alerts/bulk", &format!("form_token={token}&action=ack&ids=1&back=%2F%2Fevil.example"));
    assert_eq!(elsewhere.header("location"), "/alerts");
}

fn what_happened_since_one_last_looked(server: &Server) {
    server.user("lea", "ANALYST");
    let lea = sign_in(server, "lea");
    assert!(!lea.get("/").text.contains("I have seen it"), "nothing has happened yet");
    server.admin().event("CRITICAL", "first");
    server.admin().event("HIGH", "second");
    server.admin().post_json("/api/v1/alerts/1/resolve", r#"{"why": "a drill"}"#).expect(200);
    server.admin().post_json("/api/v1/alerts/2/notes", r#"{"text": "<b>Called</b> them."}"#).expect(200);
    let page = lea.get("/").text;
    assert!(page.contains("During the last 12 hours") && page.contains("<b>2</b> raised"));
    let all = lea.get("/handover").text;
    for said in ["Open → Resolved by admin", "&lt;b&gt;Called&lt;&#x2f;b&gt; them.", "<td class=\"n\">1</td>"]
    {
        assert!(all.contains(said), "{said}: {all}");
    }
    let until = page.split("name=\"until\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let seen = format!("form_token={}&until={until}", form_token(&lea.get("/")));
    assert_eq!(lea.post_form("/handover", &seen).status, 303);
    let after = lea.get("/").text;
    assert!(after.contains("Since you last looked") && after.contains("<b>0</b> raised"), "{after}");
    let again = lea.get("/handover?since=-1h").text;
    assert!(again.contains("<b>2</b> raised"), "one can look back");
    assert_eq!(lea.get("/handover?since=yesterday").status, 400);
    assert!(
        sign_in(server, ADMIN).get("/").text.contains("During the last 12 hours"),
        "each has a place of their own"
    );
}

fn forms_of_other_sites_are_refused(server: &Server) {
    server.admin().event("CRITICAL", "x");
    let admin = sign_in(server, ADMIN);
    let token = form_token(&admin.get("/"));
    let body = format!("form_token={token}&action=resolve");
    let other = sign_in(server, ADMIN);
    assert_eq!(other.post_form("/alerts/1/act", &body).status, 403, "the token of another session");
    assert_eq!(admin.post_form("/alerts/1/act", "action=resolve").status, 403, "no token");
    let cookie = admin.headers[0].1.clone();
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let forged = server.anonymous().with("cookie", &cookie).with(name, value);
        assert_eq!(forged.post_form("/alerts/1/act", &body).status, 403, "{name}: {value}");
        let login = server.anonymous().with(name, value);
        assert_eq!(
            login.post_form("/login", &format!("username={ADMIN}&password={PASSWORD}")).status,
            403,
            "{name}: {value}"
        );
    }
    assert_eq!(server.admin().get("/api/v1/alerts/1").expect(200)["status"], "OPEN");
    let own = server.anonymous().with("cookie", &cookie).with("sec-fetch-site", "same-origin");
    assert_eq!(own.post_form("/alerts/1/act", &body).status, 303);
}

fn an_analyst_reads_only(server: &Server) {
    server.admin().event("HIGH", "x");
    server.user("ana", "ANALYST");
    let analyst = sign_in(server, "ana");
    for path in ["/", "/alerts", "/alerts?fold=group", "/alerts/1"] {
        let page = analyst.get(path);
        assert_eq!(page.status, 200);
        assert!(
            !page.text.contains(">Acknowledge<") && !page.text.contains("Administration"),
            "no button that would be refused"
        );
    }
    let refused = analyst
        .post_form("/alerts/1/act", &format!("form_token={}&action=resolve", form_token(&analyst.get("/"))));
    assert_eq!(refused.status, 403);
    let administration = analyst.get("/admin/");
    assert_eq!(administration.status, 403);
    assert!(
        administration.text.contains("It needs the role Admin")
            || administration.text.contains("This needs the role Admin")
    );
}

fn what_sensors_send_is_escaped(server: &Server) {
    let body = serde_json::json!({"source_name": HOSTILE, "event_type": HOSTILE, "severity": "HIGH", "description": HOSTILE});
    server.admin().post_json("/api/v1/events", &body.to_string()).expect(201);
    let admin = sign_in(server, ADMIN);
    for path in [
        "/",
        "/alerts",
        "/alerts?fold=group",
        "/alerts/1",
        "/alerts?search=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    ] {
        let page = admin.get(path);
        assert_eq!(page.status, 200);
        assert!(!page.text.contains("<script>alert") && !page.text.contains("<img src=x"), "{path}");
        assert!(!page.text.contains('\u{202e}'), "{path}: nothing turns the reading direction");
        assert!(!page.text.contains("style=") && !page.text.contains(" onclick"), "{path}");
    }
    assert!(admin.get("/alerts/1").text.contains("{{7*7}}"), "shown as it was sent");
}

#[test]
fn behind_tls_the_cookie_is_bound_to_the_host() {
    let server = Server::with(Engine::Sqlite, &[("WATCHPOST_PUBLIC_URL", "https://watchpost.example")]);
    let client = server.anonymous().with("host", "watchpost.example");
    let answer = client.post_form("/login", &format!("username={ADMIN}&password={PASSWORD}"));
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-watchpost=") && cookie.contains("; Secure"), "{cookie}");
    assert!(!answer.header("strict-transport-security").is_empty());
    server.admin().event("HIGH", "x");
    server.admin().event("HIGH", "y");
    let page = server.admin().get("/api/alerts/?page_size=1").expect(200);
    let next = page["next"].as_str().unwrap();
    assert!(next.starts_with("https://watchpost.example/api/alerts/?page_size=1&"), "{next}");
    assert!(next.ends_with("&page=2"), "{next}");
}
