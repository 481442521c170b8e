//! Texts that only this server can read and nobody can change: secrets at rest, and what a browser keeps for it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

/// What a sealed text is for: what was sealed for one purpose can't be opened for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The secret of a second factor.
    Factor,
    /// A password that was right, until the rest of a log-in is there.
    LogInStep,
    /// The secret of a second factor that a signed-in user sets up, until its first code.
    FactorSetUp,
    /// A log-in at the provider of single sign-on that is under way.
    SingleSignOn,
    /// A form that waits until its user has shown once more who they are.
    HeldForm,
}

impl Purpose {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Factor => b"factor",
            Self::LogInStep => b"log-in step",
            Self::FactorSetUp => b"factor set-up",
            Self::SingleSignOn => b"single sign-on",
            Self::HeldForm => b"held form",
        }
    }
}

/// What no other product derives its keys with.
const SALT: &[u8] = b"watchpost keys 1";

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

/// A key for one purpose out of the secret that serves all of them (HKDF, RFC 5869, with SHA-256).
pub(crate) fn derived(purpose: &str, secret_key: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let expanded = Salt::new(HKDF_SHA256, SALT).extract(secret_key.as_bytes());
    let info = [purpose.as_bytes()];
    let filled = expanded.expand(&info, KeyLength).and_then(|okm| okm.fill(&mut key));
    filled.expect("32 bytes are less than HKDF gives, and as many as the key has");
    key
}

/// The key that older versions derived, for what they signed and sealed. Nothing is made with it any more.
pub(crate) fn derived_before(purpose: &str, secret_key: &str) -> [u8; 32] {
    Sha256::new().chain_update(purpose).chain_update("\0").chain_update(secret_key).finalize().into()
}

/// The keys for one purpose out of the secret in use and the one before it: the first makes, all of them check.
pub(crate) fn all_derived<'a>(
    purpose: &str,
    secret_keys: impl Iterator<Item = &'a str>,
) -> impl Iterator<Item = [u8; 32]> {
    let secret_keys: Vec<&str> = secret_keys.collect();
    let now: Vec<_> = secret_keys.iter().map(|secret| derived(purpose, secret)).collect();
    let before: Vec<_> = secret_keys.iter().map(|secret| derived_before(purpose, secret)).collect();
    now.into_iter().chain(before)
}

/// Seals with the first key, opens with any.
pub(crate) struct Seal {
    keys: Vec<LessSafeKey>,
}

impl Seal {
    pub(crate) fn new<'a>(secret_keys: impl Iterator<Item = &'a str>) -> Self {
        let key = |bytes: [u8; 32]| {
            let key = UnboundKey::new(&AES_256_GCM, &bytes);
            LessSafeKey::new(key.expect("the key has the length of the algorithm"))
        };
        Self { keys: all_derived("watchpost seal", secret_keys).map(key).collect() }
    }

    pub(crate) fn seal(&self, purpose: Purpose, text: &str) -> String {
        let mut nonce = [0; NONCE_LEN];
        SysRng.try_fill_bytes(&mut nonce).expect("the operating system gives random bytes");
        let mut sealed = text.as_bytes().to_vec();
        let key = self.keys.first().expect("there is always the key in use");
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.name()),
            &mut sealed,
        )
        .expect("texts of this length can be sealed");
        URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat())
    }

    pub(crate) fn open(&self, purpose: Purpose, sealed: &str) -> Option<String> {
        self.open_with_which(purpose, sealed).map(|(text, _)| text)
    }

    /// As [`Seal::open`], and whether it was sealed with the key that seals now.
    pub(crate) fn open_with_which(&self, purpose: Purpose, sealed: &str) -> Option<(String, bool)> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        self.keys.iter().enumerate().find_map(|(number, key)| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut sealed = sealed.to_vec();
            let text = key.open_in_place(nonce, Aad::from(purpose.name()), &mut sealed).ok()?;
            Some((String::from_utf8(text.to_vec()).ok()?, number == 0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HKDF (RFC 5869) as OpenSSL makes it:
    /// `openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt key:secret -kdfopt "salt:watchpost keys 1" -kdfopt info:seal HKDF`
    #[test]
    fn keys_are_those_of_the_standard_and_one_for_each_purpose() {
        let hex = |key: [u8; 32]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(derived("seal", "secret")),
            "ab6f94a40ec56e61fce4835de6ff9e93e268ac222fc7877af162a05a49a7645a"
        );
        assert_ne!(derived("seal", "secret"), derived("tokens", "secret"));
        assert_ne!(derived("seal", "secret"), derived_before("seal", "secret"));
    }

    #[test]
    fn what_an_older_version_sealed_still_opens() {
        // Sealed at the version before HKDF with the secret `one`, for a second factor.
        let sealed = "AAECAwQFBgcICQoLEpbRt-GtRV2LHBtu8bVXiGYrDaagPEGoyP8GLl3qFFQ";
        let seal = Seal::new(["one"].into_iter());
        assert_eq!(seal.open(Purpose::Factor, sealed).as_deref(), Some("GEZDGNBVGY3TQOJQ"));
        assert_eq!(
            Seal::new(["new", "one"].into_iter()).open(Purpose::Factor, sealed).as_deref(),
            Some("GEZDGNBVGY3TQOJQ")
        );
        assert_eq!(Seal::new(["new"].into_iter()).open(Purpose::Factor, sealed), None);
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_with_its_key_and_unchanged() {
        let seal = Seal::new(["one"].into_iter());
        let sealed = seal.seal(Purpose::Factor, "said");
        assert_ne!(sealed, seal.seal(Purpose::Factor, "said"), "the same again looks different");
        assert_eq!(seal.open(Purpose::Factor, &sealed).as_deref(), Some("said"));
        assert_eq!(seal.open(Purpose::LogInStep, &sealed), None);
        assert_eq!(Seal::new(["other"].into_iter()).open(Purpose::Factor, &sealed), None);
        let rotated = Seal::new(["new", "one"].into_iter());
        assert_eq!(
            rotated.open(Purpose::Factor, &sealed).as_deref(),
            Some("said"),
            "the key before it still opens"
        );
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("letters");
            assert_eq!(seal.open(Purpose::Factor, &changed), None, "changed at {at}");
        }
        assert!(["", "x", "AAAA", "ä"].iter().all(|none| seal.open(Purpose::Factor, none).is_none()));
    }
}
