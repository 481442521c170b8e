//! Ships checkpoints of the audit log on a schedule to where the server's database isn't: a file, a directory, or a
//! server that is told over HTTPS. Whoever cuts the log, or puts an older one back, can't take back what was shipped.

use crate::auth::checkpoint::Checkpoint;
use crate::settings::{ShipTo, Shipping};
use crate::single_sign_on::client::Client;
use crate::state::AppState;
use aws_lc_rs::hmac;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use watchpost_pipeline::now;
use watchpost_store::AuditProof;

/// The first wait after a failure; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_RETRY: Duration = Duration::from_secs(3_600);
/// Rows that are looked at before a checkpoint speaks for them. All of them are at `watchpost audit verify`.
const LOOKED_AT: i64 = 1_000;
/// What a receiver checks that this server sent it: HMAC-SHA-256 of the body.
const SIGNATURE: HeaderName = HeaderName::from_static("x-watchpost-signature");

impl Shipping {
    /// Where to, without what is secret.
    pub fn place(&self) -> String {
        match &self.to {
            ShipTo::File(path) | ShipTo::Directory(path) => path.display().to_string(),
            // What follows the host may be a secret.
            ShipTo::Webhook(url) => match url.splitn(4, '/').collect::<Vec<_>>()[..] {
                [scheme, _, host, _] => format!("{scheme}//{host}/…"),
                _ => url.clone(),
            },
        }
    }

    /// The file that a checkpoint made now goes to; nothing for a webhook.
    fn file(&self, checkpoint: &Checkpoint) -> Option<PathBuf> {
        match &self.to {
            ShipTo::File(path) => Some(path.clone()),
            ShipTo::Directory(path) => {
                let at: String = checkpoint.made_at.chars().filter(|c| !matches!(c, '-' | ':')).collect();
                Some(path.join(format!("watchpost-{at}-{}.json", checkpoint.row)))
            }
            ShipTo::Webhook(_) => None,
        }
    }

    /// The checkpoint that was shipped last, if that can be told: only files can be looked at.
    pub fn last(&self) -> std::io::Result<Option<Checkpoint>> {
        let file = match &self.to {
            ShipTo::Webhook(_) => return Ok(None),
            ShipTo::File(path) => Some(path.clone()).filter(|path| path.exists()),
            ShipTo::Directory(path) => {
                let names: Result<Vec<_>, _> =
                    std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect();
                let ours = |path: &PathBuf| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    name.starts_with("watchpost-") && name.ends_with(".json")
                };
                names?.into_iter().filter(ours).max()
            }
        };
        let Some(file) = file else { return Ok(None) };
        let text = std::fs::read_to_string(file)?;
        Ok(text.lines().rev().find_map(|line| serde_json::from_str(line).ok()))
    }
}

/// Adds a line to a file and waits for the disk. Others don't read it.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    // The name is kept by the directory.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// What a receiver of a webhook compares with: it has the same secret.
fn signature(secret: &[u8], body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

async fn ship(state: &AppState, shipping: &Shipping, client: &Client) -> Result<i64, String> {
    // A checkpoint of a log that was tampered with would speak for it.
    let sealed = state.sealed.seal(state).await;
    let newest = state.db.heavy().prove_newest_audit(LOOKED_AT).await.map_err(|error| error.to_string())?;
    if !sealed || !matches!(newest, (AuditProof::Intact(_), _)) {
        return Err("the audit log isn't what was written, or couldn't be sealed".into());
    }
    let head = state.db.audit_head().await.map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::sign(&head, now(), &state.settings.secret_key);
    let body = serde_json::to_string(&checkpoint).map_err(|error| error.to_string())?;
    match (&shipping.to, shipping.file(&checkpoint)) {
        (_, Some(path)) => {
            let written = tokio::task::spawn_blocking(move || append(&path, &format!("{body}\n"))).await;
            written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
        (ShipTo::Webhook(url), None) => {
            let mut headers = HeaderMap::new();
            if let Some(secret) = &shipping.secret {
                let signature = HeaderValue::try_from(signature(secret.as_bytes(), &body));
                headers.insert(SIGNATURE, signature.map_err(|error| error.to_string())?);
            }
            client.post_json(url, headers, body).await.map_err(|error| error.to_string())?;
        }
        (_, None) => {}
    }
    Ok(head.last_id)
}

/// Ships a checkpoint at the start and then as often as the operator wants, and tries again what failed. Runs until it
/// is dropped.
pub(crate) async fn keep(state: &AppState) {
    let Some(shipping) = &state.settings.shipping else { return std::future::pending().await };
    let (client, to) = (Client::new(&[]), shipping.place());
    let mut retry = FIRST_RETRY;
    loop {
        let wait = match ship(state, shipping, &client).await {
            Ok(row) => {
                tracing::info!(row, to, "a checkpoint of the audit log was shipped");
                state.metrics.audit.shipped.inc();
                state.metrics.audit.checkpoint_row.set(row);
                retry = FIRST_RETRY;
                shipping.every
            }
            Err(why) => {
                let wait = retry.min(shipping.every);
                tracing::error!(
                    why,
                    to,
                    again_in_s = wait.as_secs(),
                    "a checkpoint of the audit log could not be shipped"
                );
                state.metrics.audit.not_shipped.inc();
                retry = (retry * 2).min(LONGEST_RETRY);
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_without_what_may_be_secret() {
        let to = |to| Shipping { to, every: FIRST_RETRY, secret: None }.place();
        assert_eq!(
            to(ShipTo::Webhook("https://siem.example.com/hook/s3cret?t=1".into())),
            "https://siem.example.com/…"
        );
        assert_eq!(to(ShipTo::File("/var/log/x".into())), "/var/log/x");
    }

    /// As `openssl dgst -sha256 -hmac key` says.
    #[test]
    fn the_signature_is_that_of_the_standard() {
        let said = signature(b"key", "The quick brown fox jumps over the lazy dog");
        assert_eq!(said, "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
    }
}
