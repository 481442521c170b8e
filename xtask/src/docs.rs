//! The parts of the documentation that are made from the code.

use crate::{cargo, talk::say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- settings:begin -->";
const END: &str = "<!-- settings:end -->";

/// Writes the table of settings into its page, or checks that it is there.
pub(crate) fn settings(root: &Path, check: bool) -> Result<()> {
    let path = root.join("docs/operations.md");
    let page = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let made =
        cargo().args(["run", "--quiet", "-p", "watchpost", "--", "settings", "--markdown"]).output()?;
    if !made.status.success() {
        bail!("the table can't be made: {}", String::from_utf8_lossy(&made.stderr));
    }
    let table = String::from_utf8(made.stdout)?;
    let (before, rest) = page.split_once(BEGIN).context("docs/operations.md has no place for the table")?;
    let (_, after) =
        rest.split_once(END).context("the place for the table in docs/operations.md has no end")?;
    let wanted = format!("{before}{BEGIN}\n{}\n{END}{after}", table.trim_end());
    if wanted == page {
        return Ok(());
    }
    if check {
        bail!("the table of settings in docs/operations.md isn't current; run: cargo xtask docs");
    }
    fs::write(&path, wanted)?;
    say("docs/operations.md has the current table of settings");
    Ok(())
}
