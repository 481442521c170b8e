//! Pages that everybody can use: axe-core looks at all of them, light and dark, at a desk and on a phone.

use crate::browser::{Browser, tool};
use crate::security::totp::App;
use crate::server::{ADMIN, Engine, PASSWORD, Server};
use Who::{Admin, Analyst, Nobody};
use serde_json::{Value, json};
use std::fmt::Write;
use watchpost_web::site_map::site_map;

/// Who looks at a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Analyst,
    Admin,
}

/// The pages of the console: what one is called here, its path, who looks at it. What is in braces is an id that
/// [`fill`] gives.
const PAGES: [(&str, &str, Who); 35] = [
    ("sign-in", "/login", Nobody),
    ("overview", "/", Admin),
    ("overview, read only", "/", Analyst),
    ("handover", "/handover", Admin),
    ("alerts", "/alerts", Admin),
    ("alerts, folded", "/alerts?fold=group", Admin),
    ("alerts, narrowed", "/alerts?status=OPEN&severity=CRITICAL&search=scan&page_size=25", Admin),
    ("alerts, none fits", "/alerts?search=nothing-like-it", Admin),
    ("alerts, read only", "/alerts", Analyst),
    ("alert", "/alerts/{alert}", Admin),
    ("alert, read only", "/alerts/{alert}", Analyst),
    ("many alerts changed", "/alerts/jobs/{job}", Admin),
    ("events", "/events", Admin),
    (
        "events, narrowed",
        "/events?since=-24h&not_source_name=edge-fw-1&severity=CRITICAL,LOW&search=scan",
        Admin,
    ),
    ("events, none fits", "/events?since=-1h&host=nothing-like-it", Admin),
    ("event", "/events/{event}", Admin),
    ("users", "/admin/users", Admin),
    ("users, none fits", "/admin/users?search=nobody-like-it", Admin),
    ("a user", "/admin/users/{user}", Admin),
    ("a user who is deactivated", "/admin/users/4", Admin),
    ("oneself", "/admin/users/1", Admin),
    ("sensor keys", "/admin/keys", Admin),
    ("sessions", "/admin/sessions", Admin),
    ("sessions, none fits", "/admin/sessions?user=joe&kind=console", Admin),
    ("audit log", "/admin/audit", Admin),
    ("audit log, none fits", "/admin/audit?actor=nobody", Admin),
    ("audit log, proven", "/admin/audit/verify", Admin),
    ("settings", "/admin/settings", Admin),
    ("settings, changed", "/admin/settings?only=changed", Admin),
    ("API", "/developer/", Admin),
    ("API, read only", "/developer/", Analyst),
    ("identity, to be confirmed", "/step-up?next=%2Fadmin%2Faudit", Admin),
    ("account", "/account/", Admin),
    ("account, read only", "/account/", Analyst),
    ("administration", "/admin/", Admin),
];

/// Pages that say no, with what they say it.
const REFUSALS: [(&str, &str, Who, u16); 7] = [
    ("not there", "/nothing", Admin, 404),
    ("no such alert", "/alerts/999999", Admin, 404),
    ("not understood", "/alerts?severity=nope", Admin, 400),
    ("no such user's sessions", "/admin/sessions?user=nobody", Admin, 400),
    ("no such time", "/admin/audit?since=soon&until=later", Admin, 400),
    ("not for this role", "/admin/", Analyst, 403),
    ("events, not for this role", "/events", Analyst, 403),
];

/// Paths of the site map that nobody looks at here: they show nothing, or what others have written.
const LEFT_OUT: [&str; 11] = [
    "/static/{name}",
    "/stream",
    "/events/export",
    "/events/chart",
    "/admin/audit/export",
    "/docs-assets/{name}",
    "/api/docs",
    "/swagger",
    "/redoc",
    "/login/single-sign-on",
    "/login/single-sign-on/callback",
];

/// A way to look at a page.
#[derive(Clone, Copy)]
struct Look {
    name: &'static str,
    scheme: &'static str,
    width: u32,
    height: u32,
    phone: bool,
}

const LOOKS: [Look; 4] = [
    Look { name: "desktop, light", scheme: "light", width: 1280, height: 900, phone: false },
    Look { name: "desktop, dark", scheme: "dark", width: 1280, height: 900, phone: false },
    Look { name: "phone, light", scheme: "light", width: 390, height: 844, phone: true },
    Look { name: "phone, dark", scheme: "dark", width: 390, height: 844, phone: true },
];

/// What axe-core finds, and what tells that it looked at what it was meant to look at.
const LOOK: &str = "
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    return axe.run(document, {runOnly: {type: 'tag', values: tags}}).then((found) => ({
        path: location.pathname,
        status: performance.getEntriesByType('navigation')[0].responseStatus,
        dark: matchMedia('(prefers-color-scheme: dark)').matches,
        width: innerWidth,
        passed: found.passes.length,
        wrong: found.violations.flatMap((rule) => rule.nodes.map((node) => ({
            rule: rule.id, target: node.target.flat().join(' '), why: node.failureSummary,
        }))),
    }));";

/// A browser that looks at pages through axe-core.
struct Inspector {
    browser: Browser,
    script: String,
}

impl Inspector {
    fn start() -> Self {
        let axe = std::fs::read_to_string(tool("WATCHPOST_TEST_AXE")).unwrap();
        Self { browser: Browser::start(true), script: format!("{axe};{LOOK}") }
    }

    fn look_from(&self, look: Look) {
        let Look { scheme, width, height, phone, .. } = look;
        // Colours on their way from one to the other would be measured.
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}
        ]);
        self.browser.command("Emulation.setEmulatedMedia", &json!({"features": features}));
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.browser.command("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Makes the browser that of somebody, without depending on what the page to sign in looks like.
    fn become_somebody(&self, server: &Server, who: Who) {
        self.browser.command("Network.clearBrowserCookies", &json!({}));
        let name = match who {
            Nobody => return,
            Analyst => "ana",
            Admin => ADMIN,
        };
        let form = format!("username={name}&password={PASSWORD}");
        let answer = server.anonymous().post_form("/login", &form);
        assert_eq!(answer.status, 303, "{}", answer.text);
        let cookie = answer.header("set-cookie").split(';').next().unwrap();
        let (cookie, value) = cookie.split_once('=').unwrap();
        let cookie = json!({"url": server.address, "name": cookie, "value": value});
        assert_eq!(self.browser.command("Network.setCookie", &cookie)["success"], true);
    }

    /// What is wrong with the page that is open, a line for each place.
    fn inspect(&self, page: &str, look: Look) -> (Value, Vec<String>) {
        let seen = self.browser.execute(&self.script);
        assert_eq!(
            (&seen["dark"], &seen["width"]),
            (&json!(look.scheme == "dark"), &json!(look.width)),
            "{page}"
        );
        assert!(seen["passed"].as_u64().is_some_and(|passed| passed > 5), "{page}: {seen}");
        let mut wrong = Vec::new();
        for place in seen["wrong"].as_array().unwrap() {
            let text = |name: &str| place[name].as_str().unwrap_or_default().replace('\n', " ");
            let (rule, target, why) = (text("rule"), text("target"), text("why"));
            wrong.push(format!("{page} ({}): {rule} at {target}: {why}", look.name));
        }
        (seen, wrong)
    }

    /// What is wrong with the page at a path, however it is looked at.
    fn visit(&self, server: &Server, page: &str, path: &str, status: u16) -> Vec<String> {
        let mut wrong = Vec::new();
        for look in LOOKS {
            self.look_from(look);
            self.browser.go(&format!("{}{path}", server.address));
            let (seen, found) = self.inspect(page, look);
            let meant = path.split('?').next().unwrap();
            assert_eq!(
                (&seen["path"], &seen["status"]),
                (&json!(meant), &json!(status)),
                "{page}: another page"
            );
            wrong.extend(found);
        }
        wrong
    }

    /// The same for a page that answers a form: it is looked at as it stands.
    fn look_around(&self, page: &str) -> Vec<String> {
        LOOKS
            .into_iter()
            .flat_map(|look| {
                self.look_from(look);
                self.inspect(page, look).1
            })
            .collect()
    }
}

#[track_caller]
fn assert_nothing(wrong: &[String]) {
    let mut said = String::new();
    wrong.iter().for_each(|line| writeln!(said, "{line}").unwrap());
    assert!(wrong.is_empty(), "{} places:\n{said}", wrong.len());
}

/// A server with something on each page; the ids to go to.
fn fill(server: &Server) -> Vec<(&'static str, String)> {
    let admin = server.admin();
    let post = |path: &str, body: Value| admin.post_json(path, &body.to_string());
    let events: Vec<Value> = (0..60)
        .map(|n| {
            json!({
                "source_name": format!("edge-fw-{}", n % 3), "event_type": "port_scan",
                "severity": (["CRITICAL", "HIGH", "MEDIUM", "LOW"][n % 4]),
                "description": format!("Port scan {n} from 203.0.113.7"), "host": "edge-1", "user": "root",
                "src_ip": "203.0.113.7", "dst_ip": "192.0.2.1", "attributes": {"ports": "22,80,443"}
            })
        })
        .collect();
    assert_eq!(post("/api/v1/events", Value::Array(events)).status, 201);
    let seen = post(
        "/api/v1/events",
        json!({"source_name": "cam-3", "event_type": "motion", "severity": "CRITICAL", "description": "Server room"}),
    )
    .expect(201);
    let (event, alert) = (seen["id"].as_i64().unwrap(), seen["alert"].as_i64().unwrap());
    for (name, role) in [("ana", "ANALYST"), ("rob", "RESPONDER"), ("lea", "RESPONDER"), ("joe", "ADMIN")] {
        server.user(name, role);
    }
    assert_eq!(admin.send("DELETE", "/api/v1/users/4", "", b"").status, 204);
    post("/api/v1/keys", json!({"name": "edge firewalls"})).expect(201);
    let held =
        json!({"name": "cam-3", "source_name": "cam-3", "max_severity": "HIGH", "networks": "10.0.0.0/8"});
    post("/api/v1/keys", held).expect(201);
    let gone = post("/api/v1/keys", json!({"name": "old"})).expect(201)["id"].clone();
    assert_eq!(admin.send("DELETE", &format!("/api/v1/keys/{gone}"), "", b"").status, 204);
    for (action, body) in [
        ("ack", json!({"why": "mine"})),
        ("assign", json!({"assignee": "rob"})),
        ("tags", json!({"add": ["lab", "vpn"]})),
        ("title", json!({"title": "Somebody in the server room"})),
        ("notes", json!({"text": "Called the owner.\nHe comes at nine."})),
        ("snooze", json!({"until": "+4h", "why": "the owner is on his way"})),
    ] {
        post(&format!("/api/v1/alerts/{alert}/{action}"), body).expect(200);
    }
    let verdict = json!({"verdict": "false-positive", "why": "a test"});
    post(&format!("/api/v1/alerts/{}/resolve", alert - 1), verdict).expect(200);
    let many = post("/api/v1/alerts/bulk", json!({"action": "ack", "ids": [1, 2, alert]})).expect(202);
    let job = many["id"].as_str().unwrap().to_owned();
    vec![
        ("{alert}", alert.to_string()),
        ("{event}", event.to_string()),
        ("{job}", job),
        ("{user}", "2".to_owned()),
    ]
}

#[test]
fn every_page_can_be_used_by_everybody() {
    let server = Server::start(Engine::Sqlite);
    let ids = fill(&server);
    let inspector = Inspector::start();
    let mut wrong = Vec::new();
    for who in [Nobody, Analyst, Admin] {
        inspector.become_somebody(&server, who);
        let pages = PAGES.map(|(name, path, who)| (name, path, who, 200));
        for (name, path, whose, status) in pages.into_iter().chain(REFUSALS) {
            if whose == who {
                let path = ids.iter().fold(path.to_owned(), |path, (id, n)| path.replace(id, n));
                wrong.extend(inspector.visit(&server, name, &path, status));
            }
        }
    }
    assert_nothing(&wrong);
}

#[test]
fn what_is_shown_before_there_is_anything_and_after_a_mistake_can_be_used_by_everybody() {
    let server = Server::start(Engine::Sqlite);
    let inspector = Inspector::start();
    inspector.become_somebody(&server, Admin);
    let mut wrong = inspector.visit(&server, "no alerts yet", "/", 200);
    let browser = &inspector.browser;
    browser.go(&format!("{}/admin/", server.address));
    browser.fill("form[action='/admin/users'] input[name=username]", "a b");
    browser.click("form[action='/admin/users'] button");
    browser.find("[aria-invalid]");
    wrong.extend(inspector.look_around("a user that can't be made"));
    wrong.extend(inspector.visit(&server, "no keys yet", "/admin/keys", 200));
    browser.fill("form[action='/admin/keys'] input[name=name]", "cam-3");
    browser.click("form[action='/admin/keys'] button");
    assert!(browser.text(".notice pre").starts_with("wp_"));
    wrong.extend(inspector.look_around("a key's secret"));
    browser.go(&format!("{}/developer/", server.address));
    browser.click("form[action='/developer/token'] button");
    browser.find("#new-token");
    wrong.extend(inspector.look_around("a token"));
    browser.click("form[action='/developer/event'] button");
    browser.find("#answer");
    wrong.extend(inspector.look_around("a test event"));
    browser.go(&format!("{}/", server.address));
    browser.counts(".mark.done", 3);
    wrong.extend(inspector.look_around("the first run, done"));
    inspector.become_somebody(&server, Nobody);
    browser.go(&format!("{}/login", server.address));
    browser.fill("input[name=username]", "nobody");
    browser.fill("input[name=password]", "nope");
    browser.click("main form button");
    assert!(browser.text(".problem").contains("is wrong"));
    wrong.extend(inspector.look_around("a wrong password"));
    assert_nothing(&wrong);
}

#[test]
fn what_is_asked_for_besides_a_password_can_be_used_by_everybody() {
    let server = Server::start(Engine::Sqlite);
    let id = server.user("ana", "ANALYST").get("/api/v1/auth/me").expect(200)["id"].clone();
    let inspector = Inspector::start();
    inspector.become_somebody(&server, Analyst);
    let browser = &inspector.browser;
    browser.go(&format!("{}/account/", server.address));
    browser.fill("form[action='/account/factor/setup'] input[name=current_password]", PASSWORD);
    browser.click("form[action='/account/factor/setup'] button");
    let mut app = App::new(&browser.text(".qr + p code"));
    let mut wrong = inspector.look_around("a second factor to set up");
    browser.fill("form[action='/account/factor'] input[name=otp]", &app.code());
    browser.click("form[action='/account/factor'] button");
    browser.reads("h1", "Recovery codes");
    wrong.extend(inspector.look_around("recovery codes"));
    wrong.extend(inspector.visit(&server, "account with a second factor", "/account/", 200));
    let reset = server.admin().post_json(&format!("/api/v1/users/{id}/reset-password"), "").expect(200);
    inspector.become_somebody(&server, Nobody);
    browser.go(&format!("{}/login", server.address));
    browser.fill("input[name=username]", "ana");
    browser.fill("input[name=password]", reset["password"].as_str().unwrap());
    browser.click("main form button");
    browser.find("input[name=new_password]");
    browser.find("input[name=otp]");
    wrong.extend(inspector.look_around("a new password and a code to give"));
    assert_nothing(&wrong);
}

#[test]
fn every_page_of_the_console_is_looked_at() {
    let parts = |path: &'static str| {
        let path = path.split('?').next().unwrap().trim_end_matches('/');
        path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>()
    };
    let seen: Vec<_> = PAGES.iter().map(|(_, path, _)| parts(path)).collect();
    let pages: Vec<_> = site_map().into_iter().filter(|route| route.page && route.method == "GET").collect();
    let gone: Vec<_> = LEFT_OUT.iter().filter(|path| pages.iter().all(|page| page.path != **path)).collect();
    assert!(gone.is_empty(), "no pages: {gone:?}");
    let unseen: Vec<_> = pages
        .iter()
        .filter(|page| !LEFT_OUT.contains(&page.path) && !seen.contains(&parts(page.path)))
        .map(|page| page.path)
        .collect();
    assert!(unseen.is_empty(), "give each a row in PAGES: {unseen:?}");
}

#[test]
fn what_keeps_people_from_using_a_page_is_found() {
    let server = Server::start(Engine::Sqlite);
    let inspector = Inspector::start();
    let defects = [
        ("image-alt", "<img src='/static/icon.svg'>", "all"),
        ("color-contrast", "<p data-style='color: #999; background: #aaa'>hardly to be read</p>", "all"),
        ("color-contrast", "<p data-style='color: #222'>hardly to be read on what is dark</p>", "dark"),
        ("label", "<input name='nameless'>", "all"),
        (
            "target-size",
            "<a href='/1' data-style='font-size: 6px'>a</a><a href='/2' data-style='font-size: 6px'>b</a>",
            "all",
        ),
        ("heading-order", "<h5>too deep</h5>", "all"),
    ];
    for look in LOOKS {
        inspector.look_from(look);
        for (rule, markup, scheme) in defects {
            inspector.browser.go(&format!("{}/login", server.address));
            assert_nothing(&inspector.inspect("sign-in", look).1);
            let markup = json!(markup);
            inspector.browser.execute(&format!(
                "const defect = document.createElement('div');
                 defect.innerHTML = {markup};
                 // Styles in markup are what the page's policy does hold back.
                 for (const part of defect.querySelectorAll('[data-style]')) part.style.cssText = part.dataset.style;
                 document.querySelector('main').append(defect);"
            ));
            let found = inspector.inspect("with a defect", look).1;
            let noticed = found.iter().any(|line| line.contains(&format!(": {rule} at ")));
            assert_eq!(noticed, scheme == "all" || scheme == look.scheme, "{rule}, {}: {found:?}", look.name);
        }
    }
}
