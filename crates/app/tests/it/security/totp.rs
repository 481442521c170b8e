//! An authenticator app.

use aws_lc_rs::hmac;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// The step of 30 seconds that it is now.
pub(super) fn step() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 30
}

/// The code of one step.
pub(super) fn code(secret: &str, step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes(secret));
    let hash = hmac::sign(&key, &step.to_be_bytes());
    let hash = hash.as_ref();
    let at = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Codes that haven't been used: each call has a step of its own, among those that are taken now.
pub(crate) struct App {
    secret: String,
    used: u64,
}

impl App {
    pub(crate) fn new(secret: &str) -> Self {
        Self { secret: secret.replace(' ', ""), used: 0 }
    }

    /// A code that is good once. Of the three steps that are taken at a time only so many are there.
    pub(crate) fn code(&mut self) -> String {
        let next = if self.used == 0 { step() - 1 } else { self.used + 1 };
        assert!(next <= step() + 1, "no code is left for now");
        self.used = next;
        code(&self.secret, next)
    }
}
