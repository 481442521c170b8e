//! The commands that developers run: `cargo xtask help`.

mod browser;
mod cluster;
mod docs;
mod screenshots;
mod security;
mod soak;
mod talk;
mod tools;

use anyhow::{Context, Result, bail};
use cluster::Cluster;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;
use talk::say;

const HELP: &str = "\
cargo xtask COMMAND

  test [-- ARGS]      install or name what the tests need, then run all of them (ARGS go to cargo test)
  ci                  format, lints, documentation, licences, then all tests: what .ci/run does
  bench [-- ARGS]     build for release and run the side-by-side benchmark (ARGS go to it; --help lists them)
  soak [--rounds N] [NAME…]
                      run the tests of the write path with N rounds each (1000 unless told) and print their figures;
                      names choose some: killed, every_point, clients_go_away, flood, stands_still, bombs, shape
  soak faults [--rounds N] [NAME…]
                      let power, disks, clocks, nodes and the way to the database fail, with N rounds each (100 unless
                      told), and print how many were clean and which controls were noticed; names choose some. Needs
                      root: disks are made of files
  soak security [--minutes N]
                      compare the time of attempts to log in, fuzz the API with each role on each engine for N minutes (2
                      unless told), scan TLS, change a thousand rows of the audit log, flood it with refusals, keep
                      places with bodies that come a byte at a time
  postgres [-- CMD]   run CMD with a throw-away PostgreSQL in WATCHPOST_TEST_POSTGRES
  screenshots [--out DIR] [--readme] [--binary PATH | --url URL] [--username NAME] [--password PASSWORD]
                      photograph each page of the console, at a desk and on a phone, light and dark: of the demo of the
                      release binary (or of PATH), or of a server that runs (plain HTTP); into target/screenshots unless
                      told. --readme makes those of the README, in docs/images
  docs [--check]      write the table of settings into docs/operations.md, or fail when it isn't current
  help                this text";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let mut rest: Vec<OsString> = arguments.collect();
    // What comes behind the first of these is for the command that is run, whatever it holds.
    if let Some(at) = rest.iter().position(|argument| argument == "--") {
        rest.remove(at);
    }
    let done = match command.to_str() {
        Some("test") => test(&rest),
        Some("ci") => ci(),
        Some("bench") => bench(&rest),
        Some("soak") => soak::soak(&rest),
        Some("postgres") => postgres(&rest),
        Some("screenshots") => screenshots::screenshots(&rest),
        Some("docs") => docs::settings(&root(), rest.iter().any(|argument| argument == "--check")),
        Some("" | "help" | "--help" | "-h") => {
            say(HELP);
            Ok(())
        }
        _ => Err(anyhow::anyhow!("there is no command {}; `cargo xtask help` lists them", command.display())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the project").to_owned()
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("can't start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

fn test(arguments: &[OsString]) -> Result<()> {
    let tools = tools::find_or_install()?;
    let cluster = Cluster::start(&tools.postgres)?;
    let mut command = cargo();
    // With the points where tests end the process, and the mistakes they have to notice.
    command.args(["test", "--workspace", "--features", "watchpost/faults"]);
    // One binary that fails keeps none of the others from being run: who reads the end sees all that is wrong.
    if !arguments.iter().any(|argument| argument == "--no-fail-fast") {
        command.arg("--no-fail-fast");
    }
    command.args(arguments);
    tools.tell(&mut command);
    run(command.env("WATCHPOST_TEST_POSTGRES", cluster.url()))
}

fn ci() -> Result<()> {
    let step = |name: &str, command: &mut Command| {
        let started = Instant::now();
        say(&format!("== {name}"));
        run(command)?;
        say(&format!("== {name}: {} s", started.elapsed().as_secs()));
        Ok::<(), anyhow::Error>(())
    };
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    step("lints", cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // What isn't run every day is no target of its own for cargo; it would rot.
    let soak = ["-p", "watchpost", "--features", "watchpost/faults", "--test", "soak"];
    step("lints of the soak", cargo().arg("clippy").args(soak).args(["--", "-D", "warnings"]))?;
    let mut doc = cargo();
    step("documentation", doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    if cargo().args(["deny", "--version"]).output().is_ok_and(|found| !found.status.success()) {
        step("installing cargo-deny", cargo().args(["install", "cargo-deny", "--locked"]))?;
    }
    step("licences, bans, sources", cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    say("== table of settings");
    docs::settings(&root(), true)?;
    // Last, so that the summaries of the tests end the output.
    test(&[])
}

fn bench(arguments: &[OsString]) -> Result<()> {
    let postgres = tools::find_or_install_postgres()?;
    run(cargo().args(["build", "--release", "-p", "watchpost", "-p", "watchpost-bench"]))?;
    let built = target().join("release");
    let cluster = Cluster::start(&postgres)?;
    let mut command = Command::new(built.join("watchpost-bench"));
    command.args(arguments).current_dir(root());
    run(command.env("WATCHPOST_TEST_POSTGRES", cluster.url()).env("WATCHPOST_BIN", built.join("watchpost")))
}

fn postgres(command: &[OsString]) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else {
        bail!("name a command to run, such as: cargo xtask postgres -- cargo test -p watchpost-store");
    };
    let cluster = Cluster::start(&tools::find_or_install_postgres()?)?;
    run(Command::new(program).args(arguments).env("WATCHPOST_TEST_POSTGRES", cluster.url()))
}
