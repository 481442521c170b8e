//! Settings: what is refused, and that nothing secret is ever shown.

use crate::server::watchpost;
use std::process::Output;
use tempfile::TempDir;

const SECRET: &str = "hunter2-hunter2";

fn run(folder: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    watchpost(folder).args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn everything(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn secrets_are_not_shown_when_their_setting_is_wrong() {
    let folder = TempDir::new().unwrap();
    for url in [
        format!("mysql://u:{SECRET}@h/db"),
        format!("postgress://u:{SECRET}@h/db"),
        format!("postgres:u:{SECRET}@h/db"),
        format!("postgres://h/db?user=u&password={SECRET}"),
        format!("postgres://u:{SECRET}@h:nope/db"),
    ] {
        for arguments in [&["settings"], &["migrate"]] {
            let output = run(&folder, arguments, &[("DATABASE_URL", &url)]);
            assert!(!everything(&output).contains("hunter2"), "{url}: {}", everything(&output));
        }
        let output = run(&folder, &["settings", "--database-url", &url], &[]);
        assert!(!everything(&output).contains("hunter2"), "{url}: {}", everything(&output));
    }
}

#[test]
fn files_that_cannot_be_understood_are_refused_without_quoting_them() {
    for (name, text, line) in [
        (".env", format!("DEBUG=true\nSECRET_KEY={SECRET} and more\n"), "line 2"),
        (".env", format!("SECRET_KEY='{SECRET}\n"), ".env"),
        ("watchpost.toml", format!("debug = true\nadmin_password = \"{SECRET}\n"), "line 2"),
        ("watchpost.toml", format!("secret_key = {SECRET}\n"), "line 1"),
        ("watchpost.toml", format!("secret_key = [[\"{SECRET}\"]]\n"), "secret_key"),
    ] {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join(name), &text).unwrap();
        let output = run(&folder, &["settings"], &[]);
        let said = everything(&output);
        assert_eq!(output.status.code(), Some(3), "{text}: {said}");
        assert!(said.contains(name) && said.contains(line) && !said.contains("hunter2"), "{text}: {said}");
    }
}

#[test]
fn a_file_that_is_there_is_not_passed_over() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("watchpost.toml"), b"listen = \"127.0.0.1:1\" # \xff\n").unwrap();
    let output = run(&folder, &["settings"], &[]);
    assert_eq!(output.status.code(), Some(3), "{}", everything(&output));
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("watchpost.toml")).unwrap();
    let output = run(&folder, &["settings"], &[]);
    assert_eq!(output.status.code(), Some(3), "{}", everything(&output));
    assert!(everything(&output).contains("watchpost.toml can't be read"), "{}", everything(&output));
}

#[test]
fn values_without_a_meaning_are_refused() {
    let folder = TempDir::new().unwrap();
    for (name, value) in [("WATCHPOST_DATA_DIR", ""), ("WATCHPOST_PUBLIC_URL", "https://a.example:port")] {
        let output = run(&folder, &["migrate"], &[(name, value)]);
        assert_eq!(output.status.code(), Some(3), "{name}: {}", everything(&output));
        assert!(everything(&output).contains(name), "{}", everything(&output));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made before that");
}

#[test]
fn help_names_every_flag_of_the_table() {
    let folder = TempDir::new().unwrap();
    let help = everything(&run(&folder, &["--help"], &[]));
    let table = everything(&run(&folder, &["settings", "--markdown"], &[]));
    let flags: Vec<_> = table.split('`').filter(|part| part.starts_with("--")).collect();
    assert!(flags.len() >= 5, "{table}");
    for flag in flags {
        assert!(help.contains(flag), "{flag}");
    }
}
