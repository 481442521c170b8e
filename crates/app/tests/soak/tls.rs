//! TLS, looked at by a scanner.

use crate::server::{Engine, Server};
use crate::tool;
use std::process::{Command, Stdio};

/// The report without the moduli of keys, which are longer than numbers of JSON may be here.
fn without_moduli(report: &str) -> String {
    let mut text = String::with_capacity(report.len());
    let mut digits = String::new();
    for c in report.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        text.push_str(if digits.len() > 18 { "0" } else { &digits });
        digits.clear();
        text.push(c);
    }
    text
}

#[test]
fn a_scanner_finds_nothing_about_tls() {
    let folder = tempfile::TempDir::new().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "30", "-subj", "/CN=localhost"])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let settings =
        [("WATCHPOST_TLS_CERT", certificate.to_str().unwrap()), ("WATCHPOST_TLS_KEY", key.to_str().unwrap())];
    let server = Server::with(Engine::Sqlite, &settings);
    let report = folder.path().join("report.json");
    let place = server.address.trim_start_matches("http://").replace("127.0.0.1", "localhost");
    let output = Command::new(tool("WATCHPOST_TEST_SSLYZE"))
        .args(["--json_out"])
        .arg(&report)
        .arg(&place)
        .output()
        .unwrap();
    let report = std::fs::read_to_string(&report)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let report: serde_json::Value = serde_json::from_str(&without_moduli(&report)).unwrap();
    let found = &report["server_scan_results"][0]["scan_result"];
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        let accepted = &found[format!("{old}_cipher_suites")]["result"]["accepted_cipher_suites"];
        assert_eq!(accepted.as_array().map(Vec::len), Some(0), "{old}: {accepted}");
    }
    for modern in ["tls_1_2", "tls_1_3"] {
        let accepted = &found[format!("{modern}_cipher_suites")]["result"]["accepted_cipher_suites"];
        let names: Vec<&str> = accepted
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|suite| suite["cipher_suite"]["name"].as_str())
            .collect();
        println!("{modern}: {}", names.join(", "));
        assert!(!names.is_empty());
        let sound = |name: &&str| name.contains("GCM") || name.contains("POLY1305");
        assert!(names.iter().all(sound), "{names:?}");
    }
    for (hole, field) in [
        ("heartbleed", "is_vulnerable_to_heartbleed"),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection"),
        ("tls_compression", "supports_compression"),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos"),
    ] {
        assert_eq!(found[hole]["result"][field], false, "{hole}: {}", found[hole]);
    }
    assert_eq!(found["robot"]["result"]["robot_result"], "NOT_VULNERABLE_RSA_NOT_SUPPORTED");
}
