//! `cargo xtask screenshots`: what the console looks like.

use crate::browser::{Browser, Process, said_behind};
use crate::talk::say;
use crate::{cargo, root, run, target, tools};
use Who::{Admin, Analyst, Nobody};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Who looks at a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Analyst,
    Admin,
}

impl Who {
    /// What this one is called in the demo.
    fn name(self) -> Option<&'static str> {
        match self {
            Nobody => None,
            Analyst => Some("lea"),
            Admin => Some("admin"),
        }
    }
}

/// What everybody in the demo signs in with.
const PASSWORD: &str = "watchpost-demo";

/// The pages: name, path, who looks. What is in braces is an id that [`IDS`] tells how to find; a `*` stands for the page
/// itself and for its parts: each page one step below that it links to.
const PAGES: [(&str, &str, Who); 15] = [
    ("sign-in", "/login", Nobody),
    ("overview", "/", Admin),
    ("handover", "/handover", Admin),
    ("alerts", "/alerts", Admin),
    ("alerts-narrowed", "/alerts?status=OPEN&severity=CRITICAL,HIGH", Admin),
    ("alerts-folded", "/alerts?fold=group", Admin),
    ("alerts-read-only", "/alerts", Analyst),
    ("alert", "/alerts/{alert}", Admin),
    ("alert-read-only", "/alerts/{alert}", Analyst),
    ("events", "/events", Admin),
    ("event", "/events/{event}", Admin),
    ("administration", "/admin/*", Admin),
    ("developer", "/developer/*", Admin),
    ("account", "/account/*", Admin),
    ("confirm-identity", "/step-up?next=%2Fadmin%2Faudit", Admin),
];

/// Where the API lists what has an id, and what fits best, first.
const IDS: [(&str, &str, &[&str]); 2] = [
    (
        "{alert}",
        "/api/v1/alerts",
        &["status=ACKNOWLEDGED&severity=CRITICAL", "status=ACKNOWLEDGED", "severity=CRITICAL", ""],
    ),
    ("{event}", "/api/v1/events", &["severity=CRITICAL", "severity=HIGH", ""]),
];

/// The pictures in the README: page and look.
const README: [(&str, &str); 4] = [
    ("overview", "desktop-light"),
    ("alerts", "desktop-dark"),
    ("alert", "desktop-light"),
    ("events", "phone-dark"),
];

/// What a picture in the README may have, so that the page loads soon.
const README_BYTES: usize = 400_000;
/// How much smaller one is made until it has that.
const README_SCALES: [f64; 4] = [1.0, 0.85, 0.7, 0.5];

/// Chromium draws no more than 16,384 pixels below each other; a phone has two for each of CSS.
const TALLEST: f64 = 8_000.0;

struct Look {
    name: &'static str,
    scheme: &'static str,
    width: u32,
    height: u32,
    density: u32,
    phone: bool,
}

const LOOKS: [Look; 4] = [
    Look { name: "desktop-light", scheme: "light", width: 1440, height: 900, density: 1, phone: false },
    Look { name: "desktop-dark", scheme: "dark", width: 1440, height: 900, density: 1, phone: false },
    Look { name: "phone-light", scheme: "light", width: 390, height: 844, density: 2, phone: true },
    Look { name: "phone-dark", scheme: "dark", width: 390, height: 844, density: 2, phone: true },
];

/// What was asked for.
#[derive(Default)]
struct Options {
    out: Option<PathBuf>,
    url: Option<String>,
    username: Option<String>,
    password: Option<String>,
    binary: Option<PathBuf>,
    readme: bool,
}

impl Options {
    fn read(arguments: &[OsString]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let name = argument.to_string_lossy();
            let mut value = || arguments.next().with_context(|| format!("{name} takes a value"));
            let text = |value: &OsString| value.to_string_lossy().into_owned();
            match name.as_ref() {
                "--out" => options.out = Some(value()?.into()),
                "--url" => options.url = Some(text(value()?).trim_end_matches('/').to_owned()),
                "--username" => options.username = Some(text(value()?)),
                "--password" => options.password = Some(text(value()?)),
                "--binary" => options.binary = Some(value()?.into()),
                "--readme" => options.readme = true,
                _ => bail!("there is no option {name}; `cargo xtask help` lists them"),
            }
        }
        let two = options.url.is_some() && options.binary.is_some();
        ensure!(!two, "--url is a server that runs, --binary is one to start: give one of them");
        Ok(options)
    }
}

/// A server with the demo's week in a folder of its own.
struct Demo {
    address: String,
    _process: Process,
    _folder: TempDir,
}

impl Demo {
    fn start(binary: &Path) -> Result<Self> {
        let binary = fs::canonicalize(binary).with_context(|| format!("there is no {}", binary.display()))?;
        let folder = tempfile::Builder::new().prefix("watchpost-screenshots-").tempdir()?;
        let mut command = Command::new(&binary);
        command.arg("demo").arg(folder.path().join("demo")).current_dir(folder.path());
        command.env_clear().env("WATCHPOST_LISTEN", "127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned = command.spawn().with_context(|| format!("can't start {}", binary.display()))?;
        let mut process = Process(spawned);
        let output = process.0.stderr.take().context("the demo has no output")?;
        let address = said_behind(output, " is ready: ")
            .with_context(|| format!("`{} demo` didn't start", binary.display()))?;
        Ok(Self { address: address.trim_end_matches('/').to_owned(), _process: process, _folder: folder })
    }
}

pub(crate) fn screenshots(arguments: &[OsString]) -> Result<()> {
    let options = Options::read(arguments)?;
    let tools = tools::find_or_install_browser()?;
    let demo = match (&options.url, &options.binary) {
        (Some(_), _) => None,
        (None, Some(binary)) => Some(Demo::start(binary)?),
        (None, None) => {
            run(cargo().args(["build", "--release", "-p", "watchpost"]))?;
            Some(Demo::start(&target().join("release/watchpost"))?)
        }
    };
    let address = match (&demo, options.url) {
        (Some(demo), _) => demo.address.clone(),
        (None, url) => url.context("there is no server to look at")?,
    };
    let usual = if options.readme { root().join("docs/images") } else { target().join("screenshots") };
    let out = options.out.unwrap_or(usual);
    fs::create_dir_all(&out)?;
    let server = Server {
        address,
        username: options.username,
        password: options.password.unwrap_or_else(|| PASSWORD.to_owned()),
        cookies: RefCell::default(),
        ids: RefCell::default(),
    };
    let photographer = Photographer { browser: Browser::start(&tools)?, server, out };
    match options.readme {
        true => photographer.readme(),
        false => photographer.everything(),
    }
}

/// The server that is looked at, and how to get in.
struct Server {
    address: String,
    /// Who looks at everything; otherwise those of the demo.
    username: Option<String>,
    password: String,
    /// The name and the value of the cookie of each who has signed in.
    cookies: RefCell<HashMap<String, (String, String)>>,
    /// What is put in place of what is in braces.
    ids: RefCell<HashMap<&'static str, String>>,
}

impl Server {
    fn agent() -> ureq::Agent {
        ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into()
    }

    fn name(&self, who: Who) -> Option<String> {
        who.name().map(|name| self.username.clone().unwrap_or_else(|| name.to_owned()))
    }

    /// Signs somebody in, once. Over HTTP, so that it doesn't matter what the page looks like.
    fn cookie(&self, name: &str) -> Result<(String, String)> {
        if let Some(cookie) = self.cookies.borrow().get(name) {
            return Ok(cookie.clone());
        }
        let answer = Self::agent()
            .post(format!("{}/login", self.address))
            .send_form([("username", name), ("password", &self.password)])
            .with_context(|| format!("{} doesn't answer", self.address))?;
        let status = answer.status();
        let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
        let Some((cookie, value)) = cookie.and_then(|cookie| cookie.split(';').next()?.split_once('='))
        else {
            bail!("{name} can't sign in ({status}): give --username and --password");
        };
        let cookie = (cookie.to_owned(), value.to_owned());
        self.cookies.borrow_mut().insert(name.to_owned(), cookie.clone());
        Ok(cookie)
    }

    /// A path with the ids of what the API lists as fitting best in place of what is in braces.
    fn fill(&self, path: &str) -> Result<String> {
        let mut filled = path.to_owned();
        for (id, list, queries) in IDS {
            if path.contains(id) {
                let known = self.ids.borrow().get(id).cloned();
                let found = known.map_or_else(|| self.first(list, queries), Ok)?;
                filled = filled.replace(id, &found);
                self.ids.borrow_mut().insert(id, found);
            }
        }
        Ok(filled)
    }

    /// The id of what fits best in a list of the API.
    fn first(&self, list: &str, queries: &[&str]) -> Result<String> {
        let (agent, name) = (Self::agent(), self.name(Admin).unwrap_or_default());
        let body = json!({"username": name, "password": self.password});
        let tokens: Value = agent
            .post(format!("{}/api/v1/auth/login", self.address))
            .send_json(body)?
            .body_mut()
            .read_json()?;
        let token = tokens["access"].as_str().with_context(|| format!("{name} gets no token: {tokens}"))?;
        for query in queries {
            let url = format!("{}{list}?page_size=1&{query}", self.address);
            let answer = agent.get(&url).header("authorization", format!("Bearer {token}")).call();
            let page: Value = answer?.body_mut().read_json()?;
            let results = page["results"].as_array().with_context(|| format!("{list} answers {page}"))?;
            if let Some(first) = results.first() {
                return Ok(first["id"].to_string());
            }
        }
        bail!("{list} lists nothing")
    }
}

/// Somebody with a browser.
struct Photographer {
    browser: Browser,
    server: Server,
    out: PathBuf,
}

impl Photographer {
    fn everything(&self) -> Result<()> {
        let mut failed = Vec::new();
        for (name, path, who) in PAGES {
            for look in &LOOKS {
                if let Err(error) = self.page(name, path, who, look) {
                    failed.push(format!("{name}, {}: {error:#}", look.name));
                }
            }
        }
        ensure!(failed.is_empty(), "not everything could be photographed:\n{}", failed.join("\n"));
        Ok(())
    }

    /// A page and its parts, each in full.
    fn page(&self, name: &str, path: &str, who: Who, look: &Look) -> Result<()> {
        let whole = path.strip_suffix('*');
        self.visit(whole.unwrap_or(path), who, look)?;
        self.write(name, look, &self.picture(look, true, 1.0)?)?;
        let Some(whole) = whole else { return Ok(()) };
        for part in self.parts(whole)? {
            self.visit(&format!("{whole}{part}"), who, look)?;
            self.write(&format!("{name}-{part}"), look, &self.picture(look, true, 1.0)?)?;
        }
        Ok(())
    }

    fn readme(&self) -> Result<()> {
        for (name, look) in README {
            let page = PAGES.iter().find(|page| page.0 == name);
            let (_, path, who) = page.with_context(|| format!("there is no page {name}"))?;
            let look = LOOKS.iter().find(|known| known.name == look);
            let look = look.with_context(|| format!("there is no look for {name}"))?;
            self.visit(path, *who, look)?;
            let mut picture = Vec::new();
            for scale in README_SCALES {
                picture = self.picture(look, false, scale)?;
                if picture.len() <= README_BYTES {
                    break;
                }
            }
            ensure!(picture.len() <= README_BYTES, "{name} has {} bytes, however small", picture.len());
            self.write(name, look, &picture)?;
        }
        Ok(())
    }

    /// Opens a page as somebody.
    fn visit(&self, path: &str, who: Who, look: &Look) -> Result<()> {
        self.look_from(look)?;
        self.browser.command("Network.clearBrowserCookies", &json!({}))?;
        if let Some(name) = self.server.name(who) {
            let (cookie, value) = self.server.cookie(&name)?;
            let cookie = json!({"url": self.server.address, "name": cookie, "value": value});
            self.browser.command("Network.setCookie", &cookie)?;
        }
        let path = self.server.fill(path)?;
        self.browser.go(&format!("{}{path}", self.server.address))?;
        let seen = self.browser.execute(
            "return [performance.getEntriesByType('navigation')[0].responseStatus, location.pathname];",
        )?;
        let without_end =
            |path: &str| path.split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
        match seen[0].as_u64() {
            Some(404) => bail!("this server has no page {path}"),
            Some(200) => {}
            _ => bail!("{path} answers {}", seen[0]),
        }
        let shown = seen[1].as_str().unwrap_or_default();
        ensure!(without_end(shown) == without_end(&path), "{path} leads to {shown}");
        Ok(())
    }

    fn look_from(&self, look: &Look) -> Result<()> {
        let Look { scheme, width, height, density, phone, .. } = look;
        // Nothing is on its way from one place or colour to another.
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}
        ]);
        self.browser.command("Emulation.setEmulatedMedia", &json!({"features": features}))?;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": density, "mobile": phone});
        self.browser.command("Emulation.setDeviceMetricsOverride", &metrics).map(drop)
    }

    /// What comes behind the path of the page that is open in its links to pages one step below it.
    fn parts(&self, whole: &str) -> Result<Vec<String>> {
        let whole = json!(whole);
        let found = self.browser.execute(&format!(
            "return [...new Set([...document.querySelectorAll('a[href]')]
                .filter((link) => link.origin === location.origin && link.pathname.startsWith({whole}))
                .map((link) => link.pathname.slice({whole}.length).replace(/[/]$/, ''))
                .filter((part) => /^[a-z][a-z-]*$/.test(part)))];"
        ))?;
        Ok(serde_json::from_value(found)?)
    }

    /// A PNG of the page that is open: of what fits a window, or all of it.
    fn picture(&self, look: &Look, all: bool, scale: f64) -> Result<Vec<u8>> {
        let mut height = f64::from(look.height);
        if all {
            let metrics = self.browser.command("Page.getLayoutMetrics", &json!({}))?;
            let content = metrics["cssContentSize"]["height"].as_f64().context("the page has no height")?;
            height = content.clamp(height, TALLEST);
        }
        let clip = json!({"x": 0, "y": 0, "width": look.width, "height": height, "scale": scale});
        let wanted = json!({"format": "png", "captureBeyondViewport": all, "clip": clip});
        let taken = self.browser.command("Page.captureScreenshot", &wanted)?;
        let data = taken["data"].as_str().context("there is no picture")?;
        BASE64_STANDARD.decode(data).context("the picture can't be read")
    }

    fn write(&self, name: &str, look: &Look, picture: &[u8]) -> Result<()> {
        let file = self.out.join(format!("{name}-{}.png", look.name));
        fs::write(&file, picture).with_context(|| format!("can't write {}", file.display()))?;
        say(&format!("{} ({} KB)", file.display(), picture.len().div_ceil(1_000)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_pages_and_looks_that_there_are() {
        for (page, look) in README {
            assert!(PAGES.iter().any(|known| known.0 == page && !known.1.contains('*')), "{page}");
            assert!(LOOKS.iter().any(|known| known.name == look), "{look}");
        }
    }

    /// What is a file, a part of a page, leads elsewhere, or is there only after something was done.
    const LEFT_OUT: [&str; 5] =
        ["/login/single-sign-on", "/alerts/jobs/{job}", "/events/chart", "/events/export", "/stream"];

    #[test]
    fn every_page_of_the_console_is_photographed() {
        let routes = fs::read_to_string(root().join("crates/web/src/console/mod.rs")).expect("its routes");
        let pages: Vec<&str> = routes
            .lines()
            .filter(|line| line.contains("], page(), "))
            .filter_map(|line| line.split_once("routes.add(&[\"")?.1.split('"').next())
            .filter(|path| !path.starts_with("/static/") && !LEFT_OUT.contains(path))
            .collect();
        assert!(pages.len() > 4, "only {pages:?}: the walk is broken");
        let shown = |page: &str| {
            let paths = PAGES.iter().filter_map(|(_, path, _)| path.split('?').next());
            paths.into_iter().any(|path| {
                path.strip_suffix("/*").is_some_and(|whole| page.starts_with(whole)) || alike(path, page)
            })
        };
        let missing: Vec<_> = pages.into_iter().filter(|page| !shown(page)).collect();
        assert!(missing.is_empty(), "give each a row in PAGES: {missing:?}");
    }

    /// Whether two paths are the same but for what ids are called.
    fn alike(one: &str, other: &str) -> bool {
        let parts = |path: &str| -> Vec<String> {
            path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }.to_owned()).collect()
        };
        parts(one) == parts(other)
    }

    #[test]
    fn what_is_asked_for_is_understood_or_refused() {
        let read = |given: &[&str]| Options::read(&given.iter().map(Into::into).collect::<Vec<_>>());
        let options = read(&["--readme", "--url", "http://127.0.0.1:8000/"]).expect("these belong together");
        assert!(options.readme && options.url.as_deref() == Some("http://127.0.0.1:8000"));
        for wrong in [&["--out"][..], &["--what"], &["--url", "http://x", "--binary", "y"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
