//! `cargo xtask soak security`: what takes longer than every day allows.

use crate::cluster::Cluster;
use crate::talk::say;
use crate::tools::{Tools, trust_the_system};
use crate::{cargo, run, target};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A fuzzer that reads the API's own document, and a scanner of TLS.
const PACKAGES: [&str; 2] = ["schemathesis==4.32.5", "sslyze==6.3.1"];

/// Installs both in a folder of their own; where their programs are.
fn programs(python: &Path) -> Result<PathBuf> {
    let folder = target().join("tools/security");
    let programs = folder.join("bin");
    if programs.join("schemathesis").is_file() && programs.join("sslyze").is_file() {
        return Ok(programs);
    }
    say(&format!("installing {}", PACKAGES.join(" and ")));
    let made = Command::new(python).args(["-m", "venv"]).arg(&folder).stdout(Stdio::null()).status();
    let mut install = Command::new(programs.join("pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    trust_the_system(&mut install, "PIP_CERT");
    let installed =
        made.is_ok_and(|made| made.success()) && install.status().is_ok_and(|installed| installed.success());
    match installed {
        true => Ok(programs),
        false => bail!("the soak needs {}; run: pip install {}", PACKAGES.join(" and "), PACKAGES.join(" ")),
    }
}

pub(crate) fn soak(tools: &Tools, python: &Path, cluster: &Cluster, minutes: u32) -> Result<()> {
    let programs = programs(python)?;
    run(cargo().args(["build", "--release", "-p", "watchpost", "-p", "watchpost-bench"]))?;
    say("== the time of attempts to log in");
    let release = target().join("release");
    let mut compared = Command::new(release.join("watchpost-bench"));
    run(compared.args(["--only", "log-ins"]).env("WATCHPOST_BIN", release.join("watchpost")))?;
    say("== the API with each role, TLS, the audit log, floods, slow bodies, searches and exports");
    let mut tests = cargo();
    tests.args(["test", "--release", "-p", "watchpost", "--features", "watchpost/faults", "--test", "soak"]);
    tests.args(["--", "--nocapture", "--test-threads=1"]);
    tests
        .env("WATCHPOST_TEST_POSTGRES", cluster.url())
        .env("WATCHPOST_TEST_CHROMIUM", &tools.chromium)
        .env("WATCHPOST_TEST_SCHEMATHESIS", programs.join("schemathesis"))
        .env("WATCHPOST_TEST_SSLYZE", programs.join("sslyze"))
        .env("WATCHPOST_TEST_MINUTES", minutes.to_string());
    run(&mut tests)
}
