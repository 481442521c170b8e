//! Random secrets and their hashes.

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

/// What every sensor key begins with, so that scanners of source code can find one that leaked.
pub(crate) const KEY_PREFIX: &str = "wp_";
/// How much of a key may be shown to recognise it by.
const SHOWN_CHARS: usize = 10;

/// 62 characters that survive copying by hand, mail and shell.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Random text of so many characters, 5.95 bits each.
pub fn random_text(chars: usize) -> String {
    let mut text = String::with_capacity(chars);
    let mut bytes = [0_u8; 64];
    while text.len() < chars {
        SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
        for byte in bytes {
            // Only the largest multiple of 62 below 256: otherwise some characters would be likelier.
            if text.len() < chars && byte < 248 {
                text.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
    }
    text
}

/// A hash for secrets that are random themselves, in hexadecimal.
pub(crate) fn fingerprint(secret: &str) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(secret) {
        write!(text, "{byte:02x}").expect("writing to a string doesn't fail");
    }
    text
}

/// A new sensor key: the secret, its prefix that may be shown, its hash to store.
pub fn generate_key() -> (String, String, String) {
    let secret = format!("{KEY_PREFIX}{}", random_text(40));
    let (prefix, hash) = (secret[..SHOWN_CHARS].to_owned(), fingerprint(&secret));
    (secret, prefix, hash)
}

/// A password that no user has to think of: 131 bits.
pub fn generate_password() -> String {
    random_text(22)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_use_every_character() {
        let text = random_text(10_000);
        assert!(ALPHABET.iter().all(|c| text.contains(char::from(*c))));
        assert_ne!(generate_key().0, generate_key().0);
        assert_eq!(fingerprint("").len(), 64);
    }
}
