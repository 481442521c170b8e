//! `cargo xtask soak`: more rounds of what every run makes a few of.

use crate::cluster::Cluster;
use crate::talk::say;
use crate::tools::{self, Tools};
use crate::{cargo, run, security};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::process::{Command, Stdio};

/// What a soak consists of when nobody chooses.
const SOAKED: [&str; 5] = ["durability", "overload", "shapes", "bombs", "same_key"];
/// The module of the tests of what fails beneath the server.
const FAULTS: &str = "faults::";

/// The write path, or one of the other soaks by its name.
pub(crate) fn soak(arguments: &[OsString]) -> Result<()> {
    match arguments.split_first() {
        Some((first, rest)) if first == "security" => soak_security(rest),
        Some((first, rest)) if first == "faults" => soak_faults(rest),
        _ => soak_write_path(arguments),
    }
}

/// The number of rounds, and the names of those that are chosen.
fn choice(arguments: &[OsString], usual: u32) -> Result<(u32, Vec<String>)> {
    let (mut rounds, mut names) = (usual, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let argument = argument.to_string_lossy();
        if argument == "--rounds" {
            let given = arguments.next().and_then(|n| n.to_str()).unwrap_or_default();
            rounds = given.parse().context("--rounds takes a number")?;
        } else if argument.starts_with('-') {
            bail!("there is no option {argument}; `cargo xtask help` lists them");
        } else {
            names.push(argument.into_owned());
        }
    }
    Ok((rounds, names))
}

/// The suite that drives the server, with these arguments for the test runner.
fn suite(tools: &Tools, cluster: &Cluster) -> Command {
    let mut command = cargo();
    command.args(["test", "-p", "watchpost", "--test", "it", "--features", "watchpost/faults", "--"]);
    tools.tell(&mut command);
    command.env("WATCHPOST_TEST_POSTGRES", cluster.url());
    command
}

fn soak_write_path(arguments: &[OsString]) -> Result<()> {
    let (rounds, mut names) = choice(arguments, 1_000)?;
    if names.is_empty() {
        names.extend(SOAKED.map(String::from));
    }
    let tools = tools::find_or_install()?;
    let cluster = Cluster::start(&tools.postgres)?;
    let mut command = suite(&tools, &cluster);
    run(command.arg("--nocapture").args(names).env("WATCHPOST_TEST_ROUNDS", rounds.to_string()))
}

/// The tests of the module `faults`, or those of them whose names hold one of these.
fn soak_faults(arguments: &[OsString]) -> Result<()> {
    let (rounds, names) = choice(arguments, 100)?;
    let tools = tools::find_or_install()?;
    let cluster = Cluster::start(&tools.postgres)?;
    let mut list = suite(&tools, &cluster);
    let listed = list.args(["--list", "--format", "terse"]).stderr(Stdio::inherit()).output()?;
    if !listed.status.success() {
        bail!("the tests can't be listed");
    }
    let listed = String::from_utf8_lossy(&listed.stdout);
    let wanted = |test: &str| names.is_empty() || names.iter().any(|name| test.contains(name.as_str()));
    let chosen: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|test| test.starts_with(FAULTS) && wanted(test))
        .collect();
    if chosen.is_empty() {
        bail!("no test of faults is named {}", names.join(" or "));
    }
    say(&format!("== {} tests of faults, {rounds} rounds each", chosen.len()));
    let mut command = suite(&tools, &cluster);
    // One after the other: each has disks, nodes or clocks of its own, and figures that belong to it.
    command.args(["--exact", "--nocapture", "--test-threads=1"]).args(chosen);
    run(command.env("WATCHPOST_TEST_ROUNDS", rounds.to_string()))
}

fn soak_security(arguments: &[OsString]) -> Result<()> {
    let minutes = match arguments {
        [] => 2,
        [option, number] if option == "--minutes" => {
            number.to_str().and_then(|n| n.parse().ok()).context("--minutes takes a number")?
        }
        _ => bail!("soak security takes --minutes N alone; `cargo xtask help` lists the commands"),
    };
    let tools = tools::find_or_install()?;
    let python = tools::find_or_install_python()?;
    let cluster = Cluster::start(&tools.postgres)?;
    security::soak(&tools, &python, &cluster, minutes)
}
