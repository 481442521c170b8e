//! A browser that looks at pages, driven over WebDriver.

use crate::tools;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long one command, or what a page waits for, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A process that ends when it is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What a process says behind some words; its other lines are read and forgotten. When it ends without them, what it
/// said instead is the error.
pub(crate) fn said_behind(output: impl std::io::Read + Send + 'static, words: &str) -> Result<String> {
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let found = lines.find_map(|line| {
        let found = line.split_once(words).map(|(_, rest)| rest.trim().to_owned());
        said.push(line);
        found
    });
    // It goes on talking; somebody has to listen.
    std::thread::spawn(move || lines.for_each(drop));
    found.ok_or_else(|| anyhow!("{}", said.join("\n")))
}

/// Two frames after the fonts are there, what a page has to show is drawn.
const DRAWN: &str = "return document.fonts.ready.then(() => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(() => done(true)))));";

/// What a page waits for: addresses by the ids of their requests.
type Awaited = BTreeMap<String, String>;

/// Follows what Chromium tells of its network. A stream of events never ends, so nobody waits for it.
fn follow(awaited: &mut Awaited, told: &Value) {
    let about = &told["params"];
    let id = about["requestId"].as_str().unwrap_or_default();
    match told["method"].as_str().unwrap_or_default() {
        "Network.requestWillBeSent" => {
            awaited.insert(id.to_owned(), about["request"]["url"].as_str().unwrap_or_default().to_owned());
        }
        "Network.responseReceived" if about["response"]["mimeType"] != "text/event-stream" => {}
        "Network.responseReceived" | "Network.loadingFinished" | "Network.loadingFailed" => {
            awaited.remove(id);
        }
        _ => {}
    }
}

pub(crate) struct Browser {
    agent: ureq::Agent,
    session: String,
    _driver: Process,
    _profile: TempDir,
}

impl Browser {
    pub(crate) fn start(tools: &tools::Browser) -> Result<Self> {
        let mut driver = Command::new(&tools.chromedriver);
        driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = Process(driver.spawn().context("ChromeDriver doesn't start")?);
        let output = driver.0.stdout.take().context("ChromeDriver has no output")?;
        let port =
            said_behind(output, "started successfully on port ").context("ChromeDriver doesn't start")?;
        let profile = tempfile::Builder::new().prefix("watchpost-browser-").tempdir()?;
        let mut arguments: Vec<String> = FLAGS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": tools.chromium, "args": arguments},
            "goog:loggingPrefs": {"performance": "ALL"},
        }}});
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent: ureq::Agent = config.build().into();
        let base = format!("http://127.0.0.1:{}/session", port.trim_end_matches('.'));
        let made: Value = agent.post(&base).send_json(&wanted)?.body_mut().read_json()?;
        let id = made["value"]["sessionId"].as_str().with_context(|| format!("no browser: {made}"))?;
        Ok(Self { agent, session: format!("{base}/{id}"), _driver: driver, _profile: profile })
    }

    fn send(&self, path: &str, body: &Value) -> Result<Value> {
        let mut answer = self.agent.post(format!("{}/{path}", self.session)).send_json(body)?;
        // Pictures are large.
        let mut given: Value = answer.body_mut().with_config().limit(256 << 20).read_json()?;
        let value = given["value"].take();
        match value["error"].as_str() {
            Some(error) => bail!("the browser says {error}: {}", value["message"]),
            None => Ok(value),
        }
    }

    /// What Chromium has told of its network since this was asked last.
    fn told(&self) -> Result<Vec<Value>> {
        let log = self.send("se/log", &json!({"type": "performance"}))?;
        let lines = log.as_array().context("the browser keeps no log")?;
        let read = |line: &Value| {
            let text = line["message"].as_str().context("a line of the browser's log is empty")?;
            Ok(serde_json::from_str::<Value>(text)?["message"].take())
        };
        lines.iter().map(read).collect()
    }

    /// Opens a page and waits until it is drawn and nothing is on its way to it.
    pub(crate) fn go(&self, url: &str) -> Result<()> {
        // What the page before waited for is nobody's concern any more.
        self.told()?;
        self.send("url", &json!({"url": url}))?;
        let late = Instant::now() + PATIENCE;
        let mut awaited = Awaited::new();
        // What has come may be what a script waits for to ask for more, so it has to stay quiet once more.
        let mut quiet = 0;
        while quiet < 2 {
            self.execute(DRAWN)?;
            self.told()?.iter().for_each(|told| follow(&mut awaited, told));
            quiet = if awaited.is_empty() { quiet + 1 } else { 0 };
            ensure!(Instant::now() < late, "the page still waits for {:?}", awaited.values());
        }
        Ok(())
    }

    /// What a script gives, or what its promise becomes.
    pub(crate) fn execute(&self, script: &str) -> Result<Value> {
        self.send("execute/sync", &json!({"script": script, "args": []}))
    }

    /// What Chromium says to a command of its own protocol.
    pub(crate) fn command(&self, name: &str, parameters: &Value) -> Result<Value> {
        self.send("goog/cdp/execute", &json!({"cmd": name, "params": parameters}))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium goes with its session, before its driver and its profile do.
        self.agent.delete(&self.session).call().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_waits_for_what_it_asked_for_and_not_for_streams() {
        let mut awaited = Awaited::new();
        let told = |method: &str, id: &str, about: Value| json!({"method": format!("Network.{method}"), "params": {"requestId": id, "request": about, "response": about}});
        for id in ["page", "stream"] {
            follow(&mut awaited, &told("requestWillBeSent", id, json!({"url": id})));
        }
        follow(&mut awaited, &told("responseReceived", "page", json!({"mimeType": "text/html"})));
        assert_eq!(awaited.len(), 2, "an answer that has begun isn't there yet");
        follow(&mut awaited, &told("responseReceived", "stream", json!({"mimeType": "text/event-stream"})));
        assert_eq!(awaited.values().collect::<Vec<_>>(), ["page"]);
        follow(&mut awaited, &told("loadingFinished", "page", Value::Null));
        assert!(awaited.is_empty());
    }

    #[test]
    fn a_process_that_says_something_else_is_quoted() {
        assert_eq!(said_behind(&b"a\nready: here \nb"[..], "ready: ").expect("it is said"), "here");
        let error = said_behind(&b"error: no such command\n"[..], "ready: ").expect_err("it isn't said");
        assert_eq!(error.to_string(), "error: no such command");
    }
}
