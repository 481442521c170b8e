//! What the tests need and cargo doesn't bring: PostgreSQL, a browser, packages of Node.js, what lets a disk lose its
//! power. Installed when that is possible, named when it isn't; never skipped.

use crate::talk::say;
use crate::target;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest PostgreSQL the tests are for.
const OLDEST_POSTGRES: u32 = 15;

/// The provider that single sign-on is tested with; of the versions that run on Debian's Node.js the newest.
const OPENID_PROVIDER: Package = Package { name: "oidc-provider", version: "8.8.1" };

/// What looks through the console's pages for what keeps people from using them.
const AXE: Package = Package { name: "axe-core", version: "4.14.1" };

/// Where the tools are.
pub(crate) struct Tools {
    /// The folder of `initdb` and `pg_ctl`.
    pub(crate) postgres: PathBuf,
    pub(crate) chromium: PathBuf,
    pub(crate) chromedriver: PathBuf,
    pub(crate) node: PathBuf,
    /// The folder that the provider of OpenID Connect is installed in.
    pub(crate) openid_provider: PathBuf,
    /// The script of axe-core.
    pub(crate) axe: PathBuf,
    /// A library that lets nothing be synced.
    pub(crate) eatmydata: PathBuf,
    /// A library that shows a process another time.
    pub(crate) faketime: PathBuf,
}

impl Tools {
    /// Tells a command that runs tests where everything is.
    pub(crate) fn tell(&self, command: &mut Command) {
        command
            .env("WATCHPOST_TEST_CHROMIUM", &self.chromium)
            .env("WATCHPOST_TEST_CHROMEDRIVER", &self.chromedriver)
            .env("WATCHPOST_TEST_NODE", &self.node)
            .env("WATCHPOST_TEST_OPENID_PROVIDER", &self.openid_provider)
            .env("WATCHPOST_TEST_AXE", &self.axe)
            .env("WATCHPOST_TEST_EATMYDATA", &self.eatmydata)
            .env("WATCHPOST_TEST_FAKETIME", &self.faketime);
    }
}

/// What is needed to look at pages.
pub(crate) struct Browser {
    pub(crate) chromium: PathBuf,
    pub(crate) chromedriver: PathBuf,
}

/// A package of Node.js.
struct Package {
    name: &'static str,
    version: &'static str,
}

struct Need {
    what: &'static str,
    /// Its package on Debian; more than one where releases differ in which has it.
    package: &'static str,
    find: fn() -> Option<PathBuf>,
}

const POSTGRES: Need =
    Need { what: "PostgreSQL 15 or later (server)", package: "postgresql", find: find_postgres };
const CHROMIUM: Need = Need {
    what: "Chromium",
    package: "chromium",
    find: || on_path(&["chromium", "chromium-browser", "google-chrome"]),
};
const CHROMEDRIVER: Need =
    Need { what: "ChromeDriver", package: "chromium-driver", find: || on_path(&["chromedriver"]) };

const OPENSSL: Need = Need { what: "openssl", package: "openssl", find: || on_path(&["openssl"]) };
const NODE: Need = Need { what: "Node.js", package: "nodejs", find: || on_path(&["node", "nodejs"]) };
const NPM: Need = Need { what: "npm", package: "npm", find: || on_path(&["npm"]) };
const PYTHON: Need = Need { what: "Python 3", package: "python3-venv", find: || on_path(&["python3"]) };
const STRACE: Need = Need { what: "strace", package: "strace", find: || on_path(&["strace"]) };
const STORAGE_DAEMON: Need = Need {
    what: "qemu-storage-daemon",
    package: "qemu-system-common qemu-utils",
    find: || on_path(&["qemu-storage-daemon"]),
};
const EXT4: Need = Need { what: "mkfs.ext4", package: "e2fsprogs", find: || on_path(&["mkfs.ext4"]) };
const EATMYDATA: Need = Need { what: "libeatmydata", package: "libeatmydata1", find: find_eatmydata };
const FAKETIME: Need = Need { what: "libfaketime", package: "faketime", find: find_faketime };

/// All tools, installed if need be.
pub(crate) fn find_or_install() -> Result<Tools> {
    let needs = [
        POSTGRES,
        CHROMIUM,
        CHROMEDRIVER,
        NODE,
        NPM,
        EATMYDATA,
        FAKETIME,
        OPENSSL,
        STRACE,
        STORAGE_DAEMON,
        EXT4,
    ];
    let [postgres, chromium, chromedriver, node, npm, eatmydata, faketime, ..] = provide(needs)?;
    let openid_provider = package(&npm, &OPENID_PROVIDER)?;
    let axe = package(&npm, &AXE)?.join("node_modules").join(AXE.name).join("axe.min.js");
    Ok(Tools { postgres, chromium, chromedriver, node, openid_provider, axe, eatmydata, faketime })
}

/// Lets a program that brings a list of authorities of its own trust those of the system, too.
pub(crate) fn trust_the_system(command: &mut Command, variable: &str) {
    let bundles = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
    let found = bundles.into_iter().find(|bundle| Path::new(bundle).is_file());
    if let (None, Some(bundle)) = (std::env::var_os(variable), found) {
        command.env(variable, bundle);
    }
}

/// Installs a package in a folder of its own; the folder.
fn package(npm: &Path, package: &Package) -> Result<PathBuf> {
    let Package { name, version } = package;
    let wanted = format!("{name}@{version}");
    let folder = target().join("tools").join(format!("{name}-{version}"));
    if folder.join("node_modules").join(name).join("package.json").is_file() {
        return Ok(folder);
    }
    say(&format!("installing {wanted}"));
    std::fs::create_dir_all(&folder)?;
    let mut command = Command::new(npm);
    // A registry that doesn't answer is said soon, rather than asked for minutes.
    command.args(["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]);
    command.args(["--fetch-retries=1", "--fetch-timeout=60000", "--prefix"]);
    trust_the_system(&mut command, "NODE_EXTRA_CA_CERTS");
    let installed = command.arg(&folder).arg(&wanted).current_dir(&folder).stdout(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        let folder = folder.display();
        bail!("the tests need {wanted}; run: npm install --no-save --prefix {folder} {wanted}");
    }
    Ok(folder)
}

/// Only what needs no browser.
pub(crate) fn find_or_install_postgres() -> Result<PathBuf> {
    let [postgres] = provide([POSTGRES])?;
    Ok(postgres)
}

/// Only what looks at pages.
pub(crate) fn find_or_install_browser() -> Result<Browser> {
    let [chromium, chromedriver] = provide([CHROMIUM, CHROMEDRIVER])?;
    Ok(Browser { chromium, chromedriver })
}

/// Python with its virtual environments.
pub(crate) fn find_or_install_python() -> Result<PathBuf> {
    let [python] = provide([PYTHON])?;
    Ok(python)
}

fn provide<const N: usize>(needs: [Need; N]) -> Result<[PathBuf; N]> {
    let missing: Vec<&Need> = needs.iter().filter(|need| (need.find)().is_none()).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let found: Vec<PathBuf> = needs.iter().filter_map(|need| (need.find)()).collect();
    found.try_into().map_err(|_| anyhow::anyhow!("what was installed can't be found"))
}

fn install(missing: &[&Need]) -> Result<()> {
    let packages: Vec<_> = missing.iter().flat_map(|need| need.package.split(' ')).collect();
    let names: Vec<_> = missing.iter().map(|need| need.what).collect();
    let by_hand = format!("sudo apt-get install -y {}", packages.join(" "));
    if !is_root() || on_path(&["apt-get"]).is_none() {
        bail!("the tests need {}; run: {by_hand}", names.join(", "));
    }
    say(&format!("installing {}", packages.join(" ")));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let wanted: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(packages).collect();
    if !apt(&["update"]) || !apt(&wanted) {
        bail!("installing {} failed; run: {by_hand}", names.join(", "));
    }
    Ok(())
}

/// Whether this process may install packages and change users.
pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Where Debian and others have libraries, by architecture or not.
fn find_library(name: &str) -> Option<PathBuf> {
    let by_architecture = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let folders = [by_architecture.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|file| file.is_file())
}

fn find_eatmydata() -> Option<PathBuf> {
    find_library("libeatmydata.so")
}

fn find_faketime() -> Option<PathBuf> {
    find_library("faketime/libfaketime.so.1")
}

fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().find_map(|name| directories.iter().map(|dir| dir.join(name)).find(|file| file.is_file()))
}

fn find_postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(version, bin)| *version >= OLDEST_POSTGRES && has_server(bin))
        .collect();
    versions.sort();
    let packaged = versions.pop().map(|(_, bin)| bin);
    packaged.or_else(|| on_path(&["initdb"])?.parent().map(Path::to_owned).filter(|bin| has_server(bin)))
}

fn has_server(bin: &Path) -> bool {
    ["initdb", "pg_ctl", "postgres"].iter().all(|program| bin.join(program).is_file())
}
