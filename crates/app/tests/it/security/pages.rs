//! Pages in a real browser: hostile text that comes through every door, and other sites.

use crate::browser::Browser;
use crate::server::{ADMIN, Engine, PASSWORD, Server};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;

/// Things that would run where text becomes markup, an attribute, an address, a style or a script.
fn payloads() -> Vec<String> {
    let run = "document.title='owned'";
    let mut all: Vec<String> = [
        "<script>RUN</script>",
        "</script><script>RUN</script>",
        "<ScRiPt>RUN</sCrIpT>",
        "<script/x>RUN</script>",
        "<<script>RUN//<</script>",
        "<img src=x onerror=RUN>",
        "<img/src=x/onerror=RUN>",
        "<img src=x onerror='RUN'>",
        "\"><img src=x onerror=RUN>",
        "'><img src=x onerror=RUN>",
        "<svg onload=RUN>",
        "<svg/onload=RUN>",
        "<svg><script>RUN</script></svg>",
        "<svg><animate onbegin=RUN attributeName=x dur=1s>",
        "<math><mtext><script>RUN</script></mtext></math>",
        "<body onload=RUN>",
        "<iframe src=\"javascript:parent.RUN\">",
        "<iframe srcdoc=\"<script>parent.RUN</script>\">",
        "<object data=\"javascript:RUN\">",
        "<embed src=\"javascript:RUN\">",
        "<a href=\"javascript:RUN\">x</a>",
        "javascript:RUN",
        "JaVaScRiPt:RUN",
        "data:text/html,<script>RUN</script>",
        "<details open ontoggle=RUN>",
        "<input autofocus onfocus=RUN>",
        "\" autofocus onfocus=RUN x=\"",
        "' autofocus onfocus=RUN x='",
        "\" onmouseover=RUN \"",
        "` onmouseover=RUN `",
        "<select autofocus onfocus=RUN>",
        "<textarea autofocus onfocus=RUN>",
        "</textarea><script>RUN</script>",
        "</title><script>RUN</script>",
        "</style><script>RUN</script>",
        "--><script>RUN</script>",
        "]]><script>RUN</script>",
        "<!--<script>RUN</script>",
        "</pre><script>RUN</script>",
        "</option></select><script>RUN</script>",
        "<style>@import 'javascript:RUN';</style>",
        "<link rel=stylesheet href=\"javascript:RUN\">",
        "<meta http-equiv=refresh content=\"0;url=javascript:RUN\">",
        "<base href=\"javascript:RUN//\">",
        "<form action=\"javascript:RUN\"><button autofocus>x",
        "<video><source onerror=RUN></video>",
        "<audio src=x onerror=RUN>",
        "<marquee onstart=RUN>",
        "<template><script>RUN</script></template>",
        "<noscript><p title=\"</noscript><img src=x onerror=RUN>\">",
        "{{constructor.constructor('RUN')()}}",
        "{{7*7}}{% raw %}",
        "${RUN}",
        "#{RUN}",
        "<%= RUN %>",
        "\\u003cscript\\u003eRUN\\u003c/script\\u003e",
        "&lt;script&gt;RUN&lt;/script&gt;",
        "&#60;script&#62;RUN&#60;/script&#62;",
        "%3Cscript%3ERUN%3C/script%3E",
        "＜script＞RUN＜/script＞",
        "<scr\u{0}ipt>RUN</scr\u{0}ipt>",
        "<script\u{2028}>RUN</script>",
        "\u{feff}<script>RUN</script>",
        "+ADw-script+AD4-RUN+ADw-/script+AD4-",
    ]
    .iter()
    .map(|payload| payload.replace("RUN", run))
    .collect();
    all.push(format!("<x-{}>", "a".repeat(3_000)));
    all
}

/// Puts every text into every field that takes texts, through the API.
fn fill_every_field(server: &Server, payloads: &[String]) {
    let admin = server.admin();
    let post = |path: &str, body: Value| admin.post_json(path, &body.to_string());
    for (n, payload) in payloads.iter().enumerate() {
        let long = payload.replace('\0', "");
        let short: String = long.chars().take(90).collect();
        let event = json!({
            "source_name": short, "event_type": short, "severity": "CRITICAL", "description": long,
            "host": short, "user": short, "attributes": {short.clone(): long}
        });
        match n % 2 {
            0 => drop(admin.post_json("/api/v1/events", &event.to_string())),
            _ => drop(admin.send(
                "POST",
                "/api/v1/events",
                "application/x-ndjson",
                event.to_string().as_bytes(),
            )),
        }
        post("/api/v1/keys", json!({"name": short, "source_name": short}));
        let name: String = format!("{n} {short}").chars().take(60).collect();
        post("/api/v1/views", json!({"name": name, "query": "status=OPEN", "shared": n % 2 == 0}));
        let agent: String = short.chars().filter(char::is_ascii_graphic).collect();
        let body = json!({"username": ADMIN, "password": PASSWORD}).to_string();
        if n % 8 == 0 {
            server.anonymous().with("user-agent", &agent).post_json("/api/v1/auth/login", &body).expect(200);
        }
        let body = json!({"username": short, "password": "wrong"}).to_string();
        server.anonymous().post_json("/api/v1/auth/login", &body);
    }
    let alerts = admin.get("/api/v1/alerts?page_size=100").expect(200);
    for (alert, payload) in alerts["results"].as_array().unwrap().iter().zip(payloads) {
        let text = payload.replace('\0', "");
        let short: String = text.chars().take(90).collect();
        let path = |action: &str| format!("/api/v1/alerts/{}/{action}", alert["id"]);
        post(&path("title"), json!({"title": short, "why": short}));
        post(&path("severity"), json!({"severity": "HIGH", "why": text}));
        post(&path("snooze"), json!({"until": "+1h", "why": text}));
        post(&path("notes"), json!({"text": text}));
        post(&path("resolve"), json!({"verdict": "BENIGN", "why": text}));
    }
}

/// Every page, with texts in every parameter as well.
fn every_page(server: &Server, payloads: &[String]) -> Vec<String> {
    let alerts = server.admin().get("/api/v1/alerts?page_size=100").expect(200);
    let alerts = alerts["results"].as_array().unwrap();
    assert!(alerts.len() >= 55, "{} alerts hold a payload", alerts.len());
    let mut pages: Vec<String> = [
        "/",
        "/handover",
        "/alerts",
        "/alerts?page=2",
        "/alerts?page=3",
        "/alerts?fold=group",
        "/alerts?fold=group&page=2",
        "/events",
        "/events?since=-1h&page_size=100",
        "/events?page=2",
        "/account/",
        "/admin/",
        "/admin/keys",
        "/admin/keys?page=2",
        "/admin/keys?page=3",
        "/admin/sessions",
        "/admin/audit",
        "/admin/audit?page=2",
        "/admin/users/1",
        "/developer/",
    ]
    .map(str::to_owned)
    .into();
    pages.extend(alerts.iter().map(|alert| format!("/alerts/{}", alert["id"])));
    pages.extend(alerts.iter().map(|alert| format!("/events/{}", alert["event_id"])));
    let quoted = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    for payload in payloads.iter().take(10).map(|payload| quoted(payload)) {
        let filters = format!("search={payload}&source_name={payload}&host={payload}&not_user={payload}");
        pages.push(format!("/alerts?{filters}&tag={payload}&assignee={payload}&since={payload}"));
        pages.extend([format!("/alerts?{filters}"), format!("/events?{filters}")]);
        pages.extend([format!("/handover?since={payload}"), format!("/login?next={payload}")]);
        pages.extend([format!("/alerts/{payload}"), format!("/alerts/jobs/{payload}")]);
        pages.extend([format!("/alerts/1?list={payload}"), format!("/?range={payload}")]);
        pages.extend([format!("/admin/users?search={payload}"), format!("/admin/audit?actor={payload}")]);
    }
    pages
}

#[test]
fn hostile_text_from_every_door_never_runs() {
    let server = Server::start(Engine::Sqlite);
    let payloads = payloads();
    assert!(payloads.len() >= 60, "{}", payloads.len());
    fill_every_field(&server, &payloads);
    let pages = every_page(&server, &payloads);
    let browser = Browser::start(true);
    browser.log_in(&server);
    browser.find("main .tiles");
    for page in &pages {
        browser.go(&format!("{}{page}", server.address));
        browser.find("main");
        let title = browser.get("title");
        assert_ne!(title, json!("owned"), "{page}");
        assert!(title.as_str().is_some_and(|title| title.ends_with("Watchpost")), "{page}: {title}");
    }
    let complaints: Vec<String> = browser.complaints();
    let blocked: Vec<&String> =
        complaints.iter().filter(|said| !said.contains("the server responded with a status of")).collect();
    assert!(blocked.is_empty(), "the policy had something to stop: {blocked:#?}");
    assert!(pages.len() > 200);
}

/// A site that sends whatever it is told to in the browser of whoever visits it.
fn other_site(victim: &str) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let page = format!(
        "<!DOCTYPE html><title>other</title><body><script>
        const victim = '{victim}';
        const forms = [
            ['/admin/users', {{username: 'mallory', password: 'wolkenbruch im mai', role: 'ADMIN'}}],
            ['/admin/keys', {{name: 'mallory'}}],
            ['/alerts/1/act', {{action: 'resolve', version: '1'}}],
            ['/account/sessions/end-others', {{}}],
            ['/logout', {{}}],
            ['/login', {{username: 'mallory', password: 'wolkenbruch im mai', next: '/'}}],
        ];
        const sent = [];
        for (const [path, fields] of forms) {{
            const body = new URLSearchParams(fields).toString();
            for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data; boundary=x'])
                sent.push(fetch(victim + path, {{method: 'POST', mode: 'no-cors', credentials: 'include', body, headers: {{'content-type': type}}}}));
            sent.push(fetch(victim + path + '?' + body, {{mode: 'no-cors', credentials: 'include'}}));
            sent.push(fetch(victim + path, {{method: 'POST', credentials: 'include', body, headers: {{'content-type': 'application/json', 'x-csrf': '1'}}}}));
            const frame = document.createElement('iframe');
            frame.name = 'f' + path;
            document.body.append(frame);
            const form = document.createElement('form');
            Object.assign(form, {{method: 'post', action: victim + path, target: frame.name}});
            for (const [name, value] of Object.entries(fields)) {{
                const input = document.createElement('input');
                Object.assign(input, {{name, value}});
                form.append(input);
            }}
            document.body.append(form);
            form.submit();
        }}
        for (const path of ['/api/v1/alerts', '/api/v1/users', '/account/'])
            sent.push(fetch(victim + path, {{credentials: 'include'}}).then((answer) => answer.text()).then(() => document.title = 'read'));
        Promise.allSettled(sent).then((all) => setTimeout(() => {{
            const done = document.createElement('p');
            done.id = 'done';
            done.textContent = all.length;
            document.body.append(done);
        }}, 0));
        </script>"
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, page) = (stream.unwrap(), page.clone());
            // Browsers open connections that they may never use.
            std::thread::spawn(move || {
                let mut heard = [0; 8 << 10];
                if stream.read(&mut heard).unwrap_or(0) == 0 {
                    return;
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                    page.len()
                );
                stream.write_all(answer.as_bytes()).ok();
            });
        }
    });
    port
}

#[test]
fn other_sites_can_do_and_read_nothing() {
    let server = Server::start(Engine::Sqlite);
    let admin = server.admin();
    admin.event("CRITICAL", "something to resolve");
    let counts = || {
        let count = |path: &str| admin.get(path).expect(200)["count"].clone();
        let status = admin.get("/api/v1/alerts").expect(200)["results"][0]["status"].clone();
        (count("/api/v1/users"), count("/api/v1/keys"), status)
    };
    let before = counts();
    let browser = Browser::start(true);
    browser.log_in(&server);
    browser.find(".who");
    let port = other_site(&server.address);
    // The same site by another port gets the cookie sent along; another site doesn't.
    for origin in [format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/")] {
        browser.go(&origin);
        assert_eq!(browser.text("#done"), "33", "{origin}: everything was tried");
        assert_eq!(browser.get("title"), Value::from("other"), "{origin}: nothing was read");
        assert_eq!(counts(), before, "{origin}");
        browser.go(&format!("{}/", server.address));
        browser.find("main .tiles");
    }
    // Nor can it show a page of ours in a frame.
    browser.go(&format!("{}/login", server.address));
    let policy = server.anonymous().get("/login");
    assert!(policy.header("content-security-policy").contains("frame-ancestors 'none'"));
}
