//! The console and the documentation in a real browser, driven over WebDriver.

use crate::security::totp::App;
use crate::server::{ADMIN, Engine, PASSWORD, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long something on a page may take to appear on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How WebDriver names an element in its answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    _profile: TempDir,
}

pub(crate) fn tool(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is needed for this test: run `cargo xtask test`"))
}

impl Browser {
    pub(crate) fn start(scripts: bool) -> Self {
        let mut driver = Command::new(tool("WATCHPOST_TEST_CHROMEDRIVER"))
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            Some(line.split_once("started successfully on port ")?.1.trim_end_matches('.').to_owned())
        });
        let port = port.expect("ChromeDriver says its port");
        // It goes on talking; somebody has to listen.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = TempDir::new().unwrap();
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,900",
        ];
        let mut arguments: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let scripts = if scripts { 1 } else { 2 };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {
                "binary": tool("WATCHPOST_TEST_CHROMIUM"),
                "args": arguments,
                "prefs": {"profile.managed_default_content_settings.javascript": scripts},
            },
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let base = format!("http://127.0.0.1:{port}");
        let made: Value =
            agent.post(format!("{base}/session")).send_json(&wanted).unwrap().body_mut().read_json().unwrap();
        let id =
            made["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned();
        Self { driver, agent, session: format!("{base}/session/{id}"), _profile: profile }
    }

    /// What a script gives, or what its promise becomes. The policy of the page doesn't hold it back.
    #[track_caller]
    pub(crate) fn execute(&self, script: &str) -> Value {
        let given = self.post("execute/sync", &json!({"script": script, "args": []}));
        assert!(given["error"].is_null(), "{given}");
        given
    }

    /// What Chromium says to a command of its own protocol.
    #[track_caller]
    pub(crate) fn command(&self, name: &str, parameters: &Value) -> Value {
        let given = self.post("goog/cdp/execute", &json!({"cmd": name, "params": parameters}));
        assert!(given["error"].is_null(), "{name}: {given}");
        given
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let mut answer = self.agent.post(format!("{}/{path}", self.session)).send_json(body).unwrap();
        answer.body_mut().read_json::<Value>().unwrap()["value"].clone()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let mut answer = self.agent.get(format!("{}/{path}", self.session)).call().unwrap();
        answer.body_mut().read_json::<Value>().unwrap()["value"].clone()
    }

    pub(crate) fn go(&self, url: &str) {
        self.post("url", &json!({"url": url}));
    }

    /// What a script on the page gives back.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    /// The element that a CSS selector names, as soon as it is there.
    #[track_caller]
    pub(crate) fn find(&self, selector: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.post("element", &json!({"using": "css selector", "value": selector}));
            if let Some(id) = found[ELEMENT].as_str() {
                return id.to_owned();
            }
            assert!(Instant::now() < deadline, "{selector} isn't on the page: {}", self.get("source"));
        }
    }

    /// Does something with an element, anew when the page went away in between.
    #[track_caller]
    fn with(&self, selector: &str, act: impl Fn(&str) -> Value) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let given = act(&self.find(selector));
            if given["error"].is_null() {
                return given;
            }
            assert!(Instant::now() < deadline, "{selector}: {given}");
        }
    }

    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.with(selector, |id| self.get(&format!("element/{id}/text")));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element reads so: what is there may still belong to the page before.
    #[track_caller]
    pub(crate) fn reads(&self, selector: &str, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text(selector);
            if text == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{selector} reads {text:?}, not {wanted:?}");
        }
    }

    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.with(selector, |id| self.post(&format!("element/{id}/click"), &json!({})));
    }

    #[track_caller]
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        self.with(selector, |id| self.post(&format!("element/{id}/clear"), &json!({})));
        self.with(selector, |id| self.post(&format!("element/{id}/value"), &json!({"text": text})));
    }

    /// Presses keys one after the other, wherever the page is focused.
    pub(crate) fn press(&self, keys: &[&str]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})))
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        let done = self.post("actions", &actions);
        assert!(done.is_null(), "{done}");
    }

    /// Draws with the mouse over an element, from one part of its width to another.
    #[track_caller]
    pub(crate) fn draw_over(&self, selector: &str, from: f64, to: f64) {
        self.find(selector);
        let place = format!(
            "const box = document.querySelector({}).getBoundingClientRect(); \
             return [box.left, box.width, box.top + box.height / 2];",
            json!(selector)
        );
        let place = self.execute(&place);
        let number = |n: usize| place[n].as_f64().unwrap();
        let at = |part: f64| (number(0) + number(1) * part) as i64;
        let move_to =
            |part: f64| json!({"type": "pointerMove", "duration": 0, "x": at(part), "y": number(2) as i64});
        let actions = json!([
            move_to(from),
            {"type": "pointerDown", "button": 0},
            move_to((from + to) / 2.0),
            move_to(to),
            {"type": "pointerUp", "button": 0},
        ]);
        let mouse = json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions});
        let done = self.post("actions", &json!({"actions": [mouse]}));
        assert!(done.is_null(), "{done}");
    }

    /// How many elements a selector names now.
    pub(crate) fn count(&self, selector: &str) -> usize {
        let found = self.post("elements", &json!({"using": "css selector", "value": selector}));
        found.as_array().map_or(0, Vec::len)
    }

    /// Waits until a selector names so many elements.
    #[track_caller]
    pub(crate) fn counts(&self, selector: &str, wanted: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(selector) != wanted {
            assert!(Instant::now() < deadline, "{} of {selector}, not {wanted}", self.count(selector));
        }
    }

    /// The address of the page, without the server's.
    pub(crate) fn path(&self, server: &Server) -> String {
        let address = self.get("url");
        address.as_str().unwrap_or_default().replacen(&server.address, "", 1)
    }

    /// Loads the page again.
    pub(crate) fn reload(&self) {
        self.post("refresh", &json!({}));
    }

    /// Goes back to the page before.
    pub(crate) fn back(&self) {
        self.post("back", &json!({}));
    }

    /// What the page complained about: errors of scripts, and things that its policy didn't let it load.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", &json!({"type": "browser"}));
        let lines = log.as_array().cloned().unwrap_or_default();
        lines
            .iter()
            .filter(|line| line["level"] == "SEVERE")
            .map(|line| line["message"].to_string())
            .collect()
    }

    pub(crate) fn log_in(&self, server: &Server) {
        self.log_in_as(server, ADMIN);
    }

    pub(crate) fn log_in_as(&self, server: &Server, name: &str) {
        self.go(&format!("{}/", server.address));
        self.fill("input[name=username]", name);
        self.fill("input[name=password]", PASSWORD);
        self.click("main form button");
        self.find(".who");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.agent.delete(&self.session).call().ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

fn triage(scripts: bool) {
    let server = Server::start(Engine::Sqlite);
    let browser = Browser::start(scripts);
    browser.log_in(&server);
    browser.reads("#first-run", "Three steps to the first event");
    browser.go(&format!("{}/alerts", server.address));
    browser.reads("main .card h2", "No alerts yet");
    let hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    server.admin().event("CRITICAL", hostile);
    browser.go(&format!("{}/alerts?status=OPEN", server.address));
    assert!(browser.text(".alert-row .what").contains(hostile), "shown as text");
    browser.click(".alert-row .what a");
    assert!(browser.text("main pre").contains(hostile));
    assert_eq!(browser.get("title"), "Alert 1 · Watchpost", "nothing of it ran");
    browser.click("form:has(input[value=ack]) button");
    browser.reads(".badge.acknowledged", "Acknowledged");
    browser.click("form:has(input[value=resolve]) button");
    browser.reads(".badge.resolved", "Resolved");
    assert!(browser.text(".history li:first-child").contains("Acknowledged → Resolved by admin"));
    browser.go(&format!("{}/admin/keys", server.address));
    browser.fill("form[action='/admin/keys'] input[name=name]", "camera-7");
    browser.click("form[action='/admin/keys'] button");
    assert!(browser.text(".notice pre").starts_with("wp_"));
    assert_eq!(browser.complaints(), Vec::<String>::new(), "no error, nothing blocked");
    browser.click(".who button");
    browser.find("input[name=password]");
}

/// Signs in with and without a second factor.
fn sign_in_with_a_factor(scripts: bool) {
    let server = Server::start(Engine::Sqlite);
    server.user("ana", "RESPONDER");
    let browser = Browser::start(scripts);
    browser.log_in_as(&server, "ana");
    browser.click(".who a");
    browser.fill("form[action='/account/factor/setup'] input[name=current_password]", PASSWORD);
    browser.click("form[action='/account/factor/setup'] button");
    let mut app = App::new(&browser.text(".qr + p code"));
    browser.fill("form[action='/account/factor'] input[name=otp]", &app.code());
    browser.click("form[action='/account/factor'] button");
    browser.reads("h1", "Recovery codes");
    browser.go(&format!("{}/account/", server.address));
    browser.click(".who button");
    browser.find("input[name=password]");
    let wanted = "/alerts?status=RESOLVED";
    browser.go(&format!("{}{wanted}", server.address));
    browser.fill("input[name=username]", "ana");
    browser.fill("input[name=password]", PASSWORD);
    browser.click("main form button");
    browser.fill("input[name=otp]", "000000");
    browser.click("main form button");
    browser.find(".problem");
    assert_eq!(browser.count(".who"), 0, "a wrong code opens nothing");
    browser.fill("input[name=otp]", &app.code());
    browser.click("main form button");
    browser.find(".who");
    assert_eq!(browser.path(&server), wanted, "and then where one wanted to go");
}

#[test]
fn a_second_factor_with_scripts() {
    sign_in_with_a_factor(true);
}

#[test]
fn a_second_factor_without_scripts() {
    sign_in_with_a_factor(false);
}

#[test]
fn triage_with_scripts() {
    triage(true);
}

#[test]
fn triage_without_scripts() {
    triage(false);
}

#[test]
fn the_documentation_works_and_loads_nothing_from_elsewhere() {
    let server = Server::start(Engine::Sqlite);
    let browser = Browser::start(true);
    browser.go(&format!("{}/redoc/", server.address));
    assert_eq!(browser.text("#redoc h1"), format!("Watchpost ({})", env!("CARGO_PKG_VERSION")));
    assert_eq!(browser.complaints(), Vec::<String>::new(), "ReDoc");

    browser.go(&format!("{}/api/docs/", server.address));
    // Log in through the page's own form, then use the token for another call.
    browser.click("#operations-Log_in-logIn .opblock-summary-control");
    browser.click("#operations-Log_in-logIn .try-out__btn");
    let body = json!({"username": ADMIN, "password": PASSWORD}).to_string();
    browser.fill("#operations-Log_in-logIn textarea.body-param__text", &body);
    browser.click("#operations-Log_in-logIn button.execute");
    let answer = browser.text("#operations-Log_in-logIn .live-responses-table .highlight-code");
    let token = answer
        .split("\"access\": \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("{answer}"));
    browser.click("button.authorize");
    browser.fill(".auth-container input", token);
    browser.click(".auth-container button[type=submit]");
    browser.click(".auth-btn-wrapper .btn-done");
    browser.click("#operations-Log_in-whoAmI .opblock-summary-control");
    browser.click("#operations-Log_in-whoAmI .try-out__btn");
    browser.click("#operations-Log_in-whoAmI button.execute");
    let me = browser.text("#operations-Log_in-whoAmI .live-responses-table .highlight-code");
    assert!(me.contains("\"username\": \"admin\""), "{me}");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "Swagger UI");
}
