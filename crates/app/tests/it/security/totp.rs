//! An authenticator app.

use aws_lc_rs::hmac;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn bytes(secret: &str) -> Vec<u8> {
    let bits: String = secret
        .bytes()
        .map(|c| {
            let value = if c.is_ascii_digit() { c - b'2' + 26 } else { c - b'A' };
            format!("{value:05b}")
        })
        .collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}

/// Seconds that a step lasts.
const STEP: u64 = 30;
/// The server takes the codes of this many steps before and after its own.
const STEPS_OFF: u64 = 1;

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// The code of one step.
fn code(secret: &str, step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes(secret));
    let hash = hmac::sign(&key, &step.to_be_bytes());
    let hash = hash.as_ref();
    let at = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Codes that haven't been used: each call has a step of its own.
pub(crate) struct App {
    secret: String,
    used: u64,
}

impl App {
    pub(crate) fn new(secret: &str) -> Self {
        Self { secret: secret.replace(' ', ""), used: 0 }
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// A code that is good once, and for at least a step from now. A client of these tests gives a request up after as
    /// long, so no code can end between being made and being used. There are two such codes at a time; who wants a
    /// third waits for its time to come.
    pub(crate) fn code(&mut self) -> String {
        let next = (now().as_secs() / STEP).max(self.used + 1);
        let taken_from = Duration::from_secs((next - STEPS_OFF) * STEP);
        if let Some(early) = taken_from.checked_sub(now()) {
            std::thread::sleep(early);
        }
        self.used = next;
        code(&self.secret, next)
    }
}
