//! TLS in the binary.

use crate::server::{ADMIN, Engine, PASSWORD, Server};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// A certificate for localhost that signs itself, made by openssl, and its key.
fn certificate(folder: &Path, name: &str, further: &[&str]) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.arg("-keyout").arg(&key).arg("-out").arg(&certificate).args(further);
    let made = command
        .stderr(Stdio::piped())
        .output()
        .expect("openssl is needed for this test: run `cargo xtask test`");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

struct Secure {
    server: Server,
    folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Secure {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (certificate, key) = certificate(folder.path(), "first", &["-days", "30"]);
        let settings = [
            ("WATCHPOST_TLS_CERT", certificate.to_str().unwrap()),
            ("WATCHPOST_TLS_KEY", key.to_str().unwrap()),
        ];
        let server = Server::with(Engine::Sqlite, &settings);
        Self { server, folder, certificate, key }
    }

    fn place(&self) -> &str {
        self.server.address.trim_start_matches("http://")
    }

    /// A connection that takes this certificate for good.
    fn connect(&self, trusted: &Path) -> std::io::Result<Stream> {
        use rustls_pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls_pki_types::CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let mut greeting = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = TcpStream::connect(self.place()).unwrap();
        while greeting.is_handshaking() {
            greeting.complete_io(&mut socket)?;
        }
        Ok(rustls::StreamOwned::new(greeting, socket))
    }

    /// What openssl's own client says about a way to speak: whether it worked.
    fn speaks(&self, how: &[&str]) -> bool {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", self.place()])
            .args(how)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        output.status.success() && !said.contains("Cipher is (NONE)") && !said.contains("Cipher    : 0000")
    }
}

type Stream = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// One request on a connection that goes on; the whole answer.
fn ask(stream: &mut Stream, head: &str, body: &str) -> String {
    let request = format!(
        "{head} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut heard = String::new();
    let mut piece = [0; 4_096];
    loop {
        if let Some((head, rest)) = heard.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).and_then(|l| l.lines().next()?.parse().ok());
            if length.is_none_or(|length: usize| rest.len() >= length) {
                return heard;
            }
        }
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the connection ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
}

#[test]
fn only_modern_tls_is_spoken_and_everything_is_secure() {
    let secure = Secure::start();
    assert!(secure.speaks(&["-tls1_3"]) && secure.speaks(&["-tls1_2"]));
    for old in ["-tls1", "-tls1_1"] {
        assert!(!secure.speaks(&[old, "-cipher", "ALL:@SECLEVEL=0"]), "{old}");
    }
    for cipher in [
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA384",
        "AES128-GCM-SHA256",
        "NULL-SHA256",
        "DHE-RSA-AES128-GCM-SHA256",
    ] {
        assert!(!secure.speaks(&["-tls1_2", "-cipher", &format!("{cipher}:@SECLEVEL=0")]), "{cipher}");
    }
    assert!(secure.speaks(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]));
    let mut stream = secure.connect(&secure.certificate).unwrap();
    let page = ask(&mut stream, "GET /login", "");
    assert!(page.to_ascii_lowercase().contains("strict-transport-security: max-age=31536000"), "{page}");
    let body = json!({"username": ADMIN, "password": PASSWORD}).to_string();
    let entered = ask(&mut stream, "POST /api/v1/auth/login", &body);
    assert!(entered.starts_with("HTTP/1.1 200"), "{entered}");
    let token = entered.split("\"access\":\"").nth(1).unwrap().split('"').next().unwrap();
    let listed = ask(
        &mut stream,
        &format!("GET /api/v1/alerts?page_size=1 HTTP/1.1\r\nAuthorization: Bearer {token}\r\nX:"),
        "",
    );
    assert!(listed.contains("\"count\":0"), "{listed}");
    let plain = secure.server.connect_and_say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(plain.starts_with("HTTP/1.1 400") && plain.contains("https://"), "{plain}");
    let silent = TcpStream::connect(secure.place()).unwrap();
    drop(silent);
    assert!(ask(&mut stream, "GET /healthz", "").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_renewed_certificate_is_used_without_ending_connections() {
    let secure = Secure::start();
    let mut before = secure.connect(&secure.certificate).unwrap();
    assert!(ask(&mut before, "GET /healthz", "").starts_with("HTTP/1.1 200"));
    let first = secure.folder.path().join("kept.pem");
    std::fs::copy(&secure.certificate, &first).unwrap();
    let replace = |certificate: &Path, key: &Path| {
        std::fs::copy(key, &secure.key).unwrap();
        std::fs::copy(certificate, &secure.certificate).unwrap();
        let told =
            Command::new("kill").args(["-HUP", &secure.server.process().to_string()]).status().unwrap();
        assert!(told.success());
    };
    let logged = |what: &str| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !secure.server.log.lock().unwrap().contains(what) {
            assert!(std::time::Instant::now() < deadline, "{what} isn't in the log");
        }
    };
    // A key that doesn't belong to it, and no certificate at all: the one before stays.
    let (second, second_key) = certificate(secure.folder.path(), "second", &["-days", "30"]);
    let first_key = secure.folder.path().join("first-kept.key");
    std::fs::copy(&secure.key, &first_key).unwrap();
    replace(&second, &first_key);
    logged("can't be used; the one before stays");
    assert!(secure.connect(&first).is_ok());
    replace(&second, &second_key);
    logged("another TLS certificate is in use");
    assert!(secure.connect(&second).is_ok() && secure.connect(&first).is_err());
    assert!(ask(&mut before, "GET /healthz", "").starts_with("HTTP/1.1 200"), "the old connection goes on");
}

#[test]
fn what_can_t_be_used_is_said_before_anything_starts() {
    let folder = TempDir::new().unwrap();
    let (good, key) = certificate(folder.path(), "good", &["-days", "30"]);
    let (_, other) = certificate(folder.path(), "other", &["-days", "30"]);
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let weak = folder.path().join("weak.key");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "rsa:1024", "-subj", "/CN=weak", "-days", "9", "-keyout"])
        .arg(&weak)
        .arg("-out")
        .arg(folder.path().join("weak.pem"))
        .output()
        .unwrap();
    assert!(made.status.success());
    let run = |certificate: &Path, key: &Path, command: &str| {
        let mut watchpost = crate::server::watchpost(&folder);
        watchpost
            .env("WATCHPOST_TLS_CERT", certificate)
            .env("WATCHPOST_TLS_KEY", key)
            .env("WATCHPOST_LISTEN", "127.0.0.1:0");
        let output = watchpost.arg(command).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    for (what, certificate, key) in [
        ("another key", good.as_path(), other.as_path()),
        ("nothing in it", &empty, &key),
        ("no key in it", &good, &empty),
        ("no file", Path::new("/nowhere.pem"), &key),
        ("a weak key", &folder.path().join("weak.pem"), &weak),
    ] {
        let (code, said) = run(certificate, key, "serve");
        assert_eq!(code, Some(3), "{what}: {said}");
        assert!(said.contains(".pem") || said.contains(".key"), "{what}: it names the file: {said}");
    }
    let (code, said) = run(&good, &key, "doctor");
    assert!(said.contains("ok   certificate: it is good until 20"), "{code:?} {said}");
    let (soon, soon_key) = certificate(folder.path(), "soon", &["-days", "2"]);
    let (code, said) = run(&soon, &soon_key, "doctor");
    assert!(code == Some(8) && said.contains("BAD  certificate: it expires at"), "{said}");
}

#[test]
fn handshakes_that_fail_are_summed_up_in_the_log() {
    let secure = Secure::start();
    for n in 0..7_u8 {
        let mut socket = TcpStream::connect(secure.place()).unwrap();
        // The beginning of a handshake, and nonsense; one is plain HTTP.
        let said: &[u8] = if n == 0 { b"GET / HTTP/1.1\r\n\r\n" } else { &[0x16, 3, 1, 0, 5, 9, 9, 9, 9, n] };
        socket.write_all(said).unwrap();
        socket.read_to_end(&mut Vec::new()).ok();
    }
    assert_eq!(secure.server.stop(), Some(0));
    let log = secure.server.log.lock().unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("TLS handshakes failed")).collect();
    assert!(
        lines.len() == 1 && lines[0].contains("\"count\":7") && lines[0].contains("\"level\":\"WARN\""),
        "{log}"
    );
}
