//! A running server in a folder of its own, and what a client of it does.

pub(crate) use crate::database::Database;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ureq::http::{HeaderMap, Request};

pub(crate) const ADMIN: &str = "admin";
pub(crate) const PASSWORD: &str = "correct-horse-battery";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// A server that is stopped when it is dropped.
pub(crate) struct Server {
    child: Mutex<Child>,
    pub(crate) address: String,
    pub(crate) folder: TempDir,
    pub(crate) log: Arc<Mutex<String>>,
    database: Option<Database>,
    extra: Vec<(String, String)>,
    /// What is started; the plain server when empty.
    arguments: Vec<String>,
    /// What the folder lies on, taken away once the process is gone.
    beneath: Option<Box<dyn Send + Sync>>,
}

/// The binary in a folder, with nothing of the surrounding environment.
pub(crate) fn watchpost(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchpost"));
    command.env_clear().current_dir(folder.path()).stdin(Stdio::null());
    command
}

impl Server {
    pub(crate) fn start(engine: Engine) -> Self {
        Self::with(engine, &[])
    }

    pub(crate) fn with(engine: Engine, settings: &[(&str, &str)]) -> Self {
        Self::running(engine, settings, &[])
    }

    /// A server on a database that is there.
    pub(crate) fn on(database: Database, settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let extra = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (child, address, log) = launch(&folder, Some(&database), &extra, &Vec::new());
        let (child, database) = (Mutex::new(child), Some(database));
        Self { child, address, folder, log, database, extra, arguments: Vec::new(), beneath: None }
    }

    /// A server that is started with these arguments.
    pub(crate) fn running(engine: Engine, settings: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let database = (engine == Engine::Postgres).then(Database::create);
        let extra = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (child, address, log) = launch(&folder, database.as_ref(), &extra, &arguments);
        Self { child: Mutex::new(child), address, folder, log, database, extra, arguments, beneath: None }
    }

    /// A server on SQLite in a folder that was prepared, which lies on something that goes when the server does.
    pub(crate) fn prepared(
        folder: TempDir,
        beneath: impl Send + Sync + 'static,
        settings: &[(&str, &str)],
    ) -> Self {
        // Taken away in the right order if it doesn't start, too.
        let (folder, beneath) = (folder, Box::new(beneath));
        let extra = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (child, address, log) = launch(&folder, None, &extra, &Vec::new());
        let child = Mutex::new(child);
        let (database, arguments) = (None, Vec::new());
        Self { child, address, folder, log, database, extra, arguments, beneath: Some(beneath) }
    }

    /// Starts the server again on its data, after it was killed.
    pub(crate) fn restart(&mut self) {
        let (child, address, log) =
            launch(&self.folder, self.database.as_ref(), &self.extra, &self.arguments);
        (self.child, self.address, self.log) = (Mutex::new(child), address, log);
    }

    /// Ends the process at once, without a chance to say goodbye.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the process to stop and waits until it has; its exit code.
    pub(crate) fn stop(&self) -> Option<i32> {
        let mut child = self.child.lock().unwrap();
        let told = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(told.success());
        child.wait().unwrap().code()
    }

    pub(crate) fn engine(&self) -> Engine {
        if self.database.is_some() { Engine::Postgres } else { Engine::Sqlite }
    }

    /// Another client with the same credential.
    pub(crate) fn sensor_like(&self, client: &Client<'_>) -> Client<'_> {
        let mut other = self.anonymous();
        other.headers = client.headers.clone();
        other
    }

    /// The number of the process.
    pub(crate) fn process(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(&self) {
        self.child.lock().unwrap().wait().unwrap();
    }

    /// The exit code of the process when it has ended by itself; waits for that a while.
    pub(crate) fn ended_within(&self, limit: Duration) -> Option<Option<i32>> {
        let late = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                return Some(status.code());
            }
            if Instant::now() > late {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts with these settings from now on.
    pub(crate) fn set(&mut self, settings: &[(&str, &str)]) {
        self.extra = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    }

    /// A second server on the same PostgreSQL, with the same secret. It goes before this one does.
    pub(crate) fn another_node(&self) -> Self {
        let folder = TempDir::new().unwrap();
        let database = self.database().again();
        let secret = std::fs::read_to_string(self.folder.path().join("watchpost-data/secret.key")).unwrap();
        let mut extra = self.extra.clone();
        extra.push(("SECRET_KEY".into(), secret.trim().into()));
        let (child, address, log) = launch(&folder, Some(&database), &extra, &Vec::new());
        let (child, database) = (Mutex::new(child), Some(database));
        Self { child, address, folder, log, database, extra, arguments: Vec::new(), beneath: None }
    }

    /// What the server says to these bytes, to the end of the connection.
    pub(crate) fn connect_and_say(&self, said: &str) -> String {
        let mut socket = self.connect();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // It may close before everything is said.
        socket.write_all(said.as_bytes()).ok();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Starts with these arguments from now on.
    pub(crate) fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    }

    /// Starts without further settings from now on.
    pub(crate) fn forget_extra(&mut self) {
        self.extra.clear();
    }

    /// What the process holds in memory now.
    pub(crate) fn memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process());
        let status = std::fs::read_to_string(path).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The database of a server on PostgreSQL.
    pub(crate) fn database(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    /// The command line, on this server's data.
    pub(crate) fn command(&self) -> Command {
        let mut command = watchpost(&self.folder);
        if let Some(database) = &self.database {
            command.env("DATABASE_URL", database.url());
        }
        command
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address.trim_start_matches("http://")).unwrap()
    }

    pub(crate) fn anonymous(&self) -> Client<'_> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        Client { server: self, agent: config.into(), headers: Vec::new() }
    }

    pub(crate) fn log_in(&self, username: &str, password: &str) -> Client<'_> {
        let body = format!(r#"{{"username":"{username}","password":"{password}"}}"#);
        let answer = self.anonymous().post_json("/api/v1/auth/login", &body);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let mut client = self.anonymous();
        client
            .headers
            .push(("authorization".into(), format!("Bearer {}", answer.json()["access"].as_str().unwrap())));
        client
    }

    pub(crate) fn admin(&self) -> Client<'_> {
        self.log_in(ADMIN, PASSWORD)
    }

    /// Somebody who is signed in to the console.
    pub(crate) fn console(&self, username: &str) -> Client<'_> {
        let form = format!("username={username}&password={PASSWORD}&next=/");
        let entered = self.anonymous().post_form("/login", &form);
        assert_eq!(entered.status, 303, "{}", entered.text);
        let cookie = entered.header("set-cookie").split(';').next().unwrap().to_owned();
        self.anonymous().with("cookie", &cookie).with("accept", "text/html")
    }

    /// A user of a role, made for this call.
    pub(crate) fn user(&self, username: &str, role: &str) -> Client<'_> {
        let body = format!(
            r#"{{"username":"{username}","password":"{PASSWORD}","role":"{role}","must_change_password":false}}"#
        );
        let made = self.admin().post_json("/api/v1/users", &body);
        assert_eq!(made.status, 201, "{}", made.text);
        self.log_in(username, PASSWORD)
    }

    /// A user who signs up, where that is switched on.
    pub(crate) fn signed_up(&self, username: &str) -> Client<'_> {
        let body = format!(r#"{{"username":"{username}","password":"{PASSWORD}"}}"#);
        self.anonymous().post_json("/v1/auth/signup/", &body).expect(201);
        self.log_in(username, PASSWORD)
    }

    /// A client with a sensor key, made for this call.
    pub(crate) fn sensor(&self) -> Client<'_> {
        let made = self.admin().post_json("/api/v1/keys", r#"{"name":"sensor"}"#);
        assert_eq!(made.status, 201, "{}", made.text);
        let mut client = self.anonymous();
        client.headers.push(("x-api-key".into(), made.json()["secret"].as_str().unwrap().into()));
        client
    }
}

fn launch(
    folder: &TempDir,
    database: Option<&Database>,
    extra: &Vec<(String, String)>,
    arguments: &Vec<String>,
) -> (Child, String, Arc<Mutex<String>>) {
    let mut command = watchpost(folder);
    command
        .args(arguments)
        .env("WATCHPOST_LISTEN", "127.0.0.1:0")
        .env("WATCHPOST_ADMIN_PASSWORD", PASSWORD)
        .env("WATCHPOST_THROTTLE", "off")
        .stderr(Stdio::piped())
        .stdout(Stdio::null());
    if let Some(database) = database {
        command.env("DATABASE_URL", database.url());
    }
    for (name, value) in extra {
        command.env(name, value);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    // The log says the real address, whatever people are told; the two lines come in any order.
    let address = loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the server didn't start:\n{said}");
        said.push_str(&line);
        let listening = said.split("\"address\":\"").nth(1).and_then(|rest| rest.split('"').next());
        if let (Some(address), true) = (listening, said.contains("is ready: ")) {
            break format!("http://{address}");
        }
    };
    let log = Arc::new(Mutex::new(said));
    let collected = log.clone();
    std::thread::spawn(move || {
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            collected.lock().unwrap().push_str(&line);
            line.clear();
        }
    });
    (child, address, log)
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        child.kill().ok();
        child.wait().ok();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            eprintln!("the server's log:\n{log}");
        }
        self.beneath = None;
    }
}

/// Someone who talks to a server with a credential, or without.
pub(crate) struct Client<'a> {
    server: &'a Server,
    agent: ureq::Agent,
    pub(crate) headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("not JSON ({}): {}", self.status, self.text))
    }

    /// The body, after making sure of the status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Client<'_> {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.server.address));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let request = request.body(body.to_vec()).unwrap();
        let agent = self.agent.clone();
        let mut response = agent.run(request).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let mut text = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), text }
    }

    /// Asks again as long as the answer says that what was stored just now may be missing from it.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.send("GET", path, "", b"");
            if !answer.text.contains("\"search_is_behind\":true") || Instant::now() > deadline {
                return answer;
            }
        }
    }

    pub(crate) fn post_json(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, "application/json", body.as_bytes())
    }

    pub(crate) fn post_form(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, "application/x-www-form-urlencoded", body.as_bytes())
    }

    pub(crate) fn patch_json(&self, path: &str, body: &str) -> Answer {
        self.send("PATCH", path, "application/json", body.as_bytes())
    }

    /// Hands in an event; its answer.
    pub(crate) fn event(&self, severity: &str, description: &str) -> Value {
        let body = serde_json::json!({
            "source_name": "edge-fw", "event_type": "intrusion", "severity": severity, "description": description
        });
        self.post_json("/api/v1/events/", &body.to_string()).expect(201)
    }
}
