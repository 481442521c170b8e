//! The keys that rows of the audit log and its chain are sealed with. The database never sees them: whoever writes to
//! it can compute the chain anew, and can't seal it.

use aws_lc_rs::hmac;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Signs and recognises one kind of seal.
struct AuditKey {
    id: String,
    key: hmac::Key,
}

/// The key in use, which signs, and those before it.
pub struct AuditKeys(Vec<AuditKey>);

/// What became of checking a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Good,
    Wrong,
    /// The key isn't one of ours.
    UnknownKey,
}

/// Characters of what stands for a seal of the chain in the rows that come after it.
const SHORT: usize = 32;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl AuditKeys {
    /// From 32 bytes each: the key in use, and those before it.
    pub fn new(current: [u8; 32], before: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let key = |bytes: [u8; 32]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
            let id = hex(&hmac::sign(&key, b"watchpost audit key").as_ref()[..4]);
            AuditKey { id, key }
        };
        Self(std::iter::once(current).chain(before).map(key).collect())
    }

    /// The name of the key in use. It says nothing of the key.
    pub fn id(&self) -> &str {
        &self.0[0].id
    }

    /// Whether there is a key of this name.
    pub fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }

    pub(crate) fn mac(&self, text: &str) -> String {
        hex(hmac::sign(&self.0[0].key, text.as_bytes()).as_ref())
    }

    pub(crate) fn check(&self, id: &str, text: &str, mac: &str) -> Checked {
        let Some(key) = self.0.iter().find(|key| key.id == id) else { return Checked::UnknownKey };
        let bytes: Option<Vec<u8>> = (0..mac.len() / 2)
            .map(|n| mac.get(2 * n..2 * n + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        match bytes.map(|mac| hmac::verify(&key.key, text.as_bytes(), &mac)) {
            Some(Ok(())) if mac.len() == 64 => Checked::Good,
            _ => Checked::Wrong,
        }
    }
}

/// Those of this process, which speaks for one server. Without them rows are chained and not sealed.
static KEYS: OnceLock<AuditKeys> = OnceLock::new();

/// The newest seal of the chain that this process knows. Rows name it: a seal that is taken away is missed by the rows
/// that came after it.
static NEWEST: Mutex<String> = Mutex::new(String::new());

/// Seals what this process writes to the audit log from now on.
pub fn seal_audit_log_with(keys: AuditKeys) {
    KEYS.set(keys).ok();
}

pub(crate) fn keys() -> Option<&'static AuditKeys> {
    KEYS.get()
}

pub(crate) fn set_newest(mac: &str) {
    let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
    mac.get(..SHORT).unwrap_or_default().clone_into(&mut newest);
}

/// The seal of a row: the key, what makes it different from the seal of any other row, the newest seal of the chain,
/// and what only the key makes of all of it.
pub(crate) fn seal_row(told: &str) -> String {
    let Some(keys) = keys() else { return String::new() };
    let mut nonce = [0; 16];
    aws_lc_rs::rand::fill(&mut nonce).expect("the operating system gives random bytes");
    let newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let head = format!("{}.{}.{newest}", keys.id(), hex(&nonce));
    let mac = keys.mac(&signed(&head, told));
    format!("{head}.{mac}")
}

fn signed(head: &str, told: &str) -> String {
    format!("watchpost audit row\n{head}\n{told}")
}

/// A row's seal, taken apart.
#[derive(Clone, Copy)]
pub(crate) struct RowSeal<'a> {
    head: &'a str,
    pub(crate) key: &'a str,
    pub(crate) nonce: u64,
    /// The beginning of the seal of the chain that it names.
    pub(crate) after: &'a str,
    mac: &'a str,
}

impl<'a> RowSeal<'a> {
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let (head, mac) = text.rsplit_once('.')?;
        let mut parts = head.split('.');
        let (key, nonce, after) = (parts.next()?, parts.next()?, parts.next()?);
        let nonce = u64::from_str_radix(nonce.get(..16)?, 16).ok()?;
        (parts.next().is_none() && [0, SHORT].contains(&after.len())).then_some(Self {
            head,
            key,
            nonce,
            after,
            mac,
        })
    }

    pub(crate) fn check(self, keys: &AuditKeys, told: &str) -> Checked {
        keys.check(self.key, &signed(self.head, told), self.mac)
    }
}
