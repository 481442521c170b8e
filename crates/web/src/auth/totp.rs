//! Codes that change every 30 seconds (RFC 6238), as every authenticator app makes them: SHA-1 and six digits.

use crate::auth::secret::{fingerprint, random_text};
use aws_lc_rs::hmac;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use qrcodegen::{QrCode, QrCodeEcc};
use rand::TryRng;
use rand::rngs::SysRng;
use std::fmt::Write;
use subtle::ConstantTimeEq;
use watchpost_model::Timestamp;

const STEP_SECONDS: i64 = 30;
const DIGITS: usize = 6;
/// A clock may be a step off, and people take a moment to type.
const STEPS_OFF: i64 = 1;
/// 160 bits, as long as what they are hashed to.
const SECRET_BYTES: usize = 20;
/// Codes for whoever lost the second factor.
const RECOVERY_CODES: usize = 10;
/// 142 bits each: more than can be tried even by an attacker who has their hashes, so that these need no slow hash.
const RECOVERY_CHARS: usize = 24;
/// Characters between two dashes, for those who copy them by hand.
const RECOVERY_GROUP: usize = 6;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A new secret, as people may have to type it.
pub(crate) fn new_secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    let bit = |n: usize| bytes[n / 8] >> (7 - n % 8) & 1;
    let letter = |n: usize| (0..5).fold(0, |value, i| value << 1 | usize::from(bit(n * 5 + i)));
    (0..SECRET_BYTES * 8 / 5).map(|n| char::from(BASE32[letter(n)])).collect()
}

fn bytes_of(secret: &str) -> Option<Vec<u8>> {
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for c in secret.bytes() {
        let value = BASE32.iter().position(|known| *known == c)?;
        bits = (bits << 5 | u32::try_from(value).ok()?) & 0xfff;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// The code of one step.
fn code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let hash = tag.as_ref();
    let at = usize::from(hash[hash.len() - 1] & 0xf);
    let number = u32::from_be_bytes([hash[at] & 0x7f, hash[at + 1], hash[at + 2], hash[at + 3]]);
    format!("{:0DIGITS$}", number % 10_u32.pow(DIGITS as u32))
}

/// The step whose code this is, if it is one of those around now.
pub(crate) fn step_of(secret: &str, given: &str, now: Timestamp) -> Option<i64> {
    let secret = bytes_of(secret)?;
    let given: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    let current = now.seconds() / STEP_SECONDS;
    let mut found = None;
    // All are looked at, so that the time it takes says nothing.
    for step in current - STEPS_OFF..=current + STEPS_OFF {
        if bool::from(code(&secret, step).as_bytes().ct_eq(given.as_bytes())) {
            found = Some(step);
        }
    }
    found
}

/// What an authenticator app reads from the picture.
pub(crate) fn address(secret: &str, username: &str, issuer: &str) -> String {
    let said = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let issuer = said(issuer);
    format!("otpauth://totp/{issuer}:{}?secret={secret}&issuer={issuer}", said(username))
}

/// A picture for a camera, as SVG of one path.
pub(crate) fn picture(text: &str) -> Option<String> {
    const BORDER: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let whole = code.size() + 2 * BORDER;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in 0..code.size() {
            if code.get_module(x, y) {
                write!(path, "M{},{}h1v1h-1z", x + BORDER, y + BORDER).expect("a string takes all");
            }
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole} {whole}\" role=\"img\" aria-label=\"QR code for an authenticator app\"><path fill=\"#fff\" d=\"M0,0h{whole}v{whole}h-{whole}z\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

/// New recovery codes and their hashes.
pub(crate) fn recovery_codes() -> (Vec<String>, Vec<String>) {
    let code = || {
        let groups: Vec<String> =
            (0..RECOVERY_CHARS / RECOVERY_GROUP).map(|_| random_text(RECOVERY_GROUP)).collect();
        groups.join("-")
    };
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| code()).collect();
    let hashes = codes.iter().map(|code| recovery_hash(code)).collect();
    (codes, hashes)
}

/// The hash of a recovery code, however it was spaced.
pub(crate) fn recovery_hash(given: &str) -> String {
    let text: String = given.chars().filter(char::is_ascii_alphanumeric).collect();
    fingerprint(&format!("watchpost recovery\0{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six of its eight digits.
        let secret = b"12345678901234567890";
        for (seconds, wanted) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(code(secret, seconds / STEP_SECONDS), wanted);
        }
        assert_eq!(bytes_of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").as_deref(), Some(secret.as_slice()));
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let step = |given: &str, seconds| step_of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", given, at(seconds));
        assert_eq!(step("287 082", 59), Some(1));
        assert_eq!(step("287082", 89), Some(1), "a step late");
        assert_eq!(step("287082", 90), None, "two steps late");
        assert_eq!([step("", 59), step("287083", 59), step("0287082", 59)], [None; 3]);
    }

    #[test]
    fn secrets_are_long_and_pictures_hold_them() {
        let secret = new_secret();
        assert_eq!((secret.len(), bytes_of(&secret).map(|bytes| bytes.len())), (32, Some(SECRET_BYTES)));
        assert_ne!(secret, new_secret());
        let address = address(&secret, "a b@c", "Watch: post");
        assert_eq!(
            address,
            format!("otpauth://totp/Watch%3A%20post:a%20b%40c?secret={secret}&issuer=Watch%3A%20post")
        );
        assert!(picture(&address).is_some_and(|svg| svg.starts_with("<svg") && !svg.contains(&secret)));
        let (codes, hashes) = recovery_codes();
        let bits = 62_f64.log2() * codes[0].chars().filter(|c| *c != '-').count() as f64;
        assert!(bits >= 128.0, "{bits} bits in {}", codes[0]);
        assert_eq!(recovery_hash(&codes[3].replace('-', " ")), hashes[3]);
    }
}
