//! Checkpoints of the audit log: where its chain stood, signed. Kept somewhere else, one shows later that what was
//! written before it is still there as it was, even to whoever doesn't trust the database.

use crate::auth::seal::{all_derived, derived};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use watchpost_model::Timestamp;
use watchpost_store::{AuditHead, Db, StoreError};

/// What the audit log ended with at some time, signed by this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The last row then; 0 before there was one.
    pub row: i64,
    /// Its hash, which stands for all rows before it, too.
    pub hash: String,
    /// When this was made.
    #[schema(format = DateTime)]
    pub made_at: String,
    /// The key that signed it (Ed25519, Base64). It follows from `SECRET_KEY`.
    pub key: String,
    /// The signature (Base64) of `watchpost checkpoint`, `row`, `hash` and `made_at`, a line each.
    pub signature: String,
}

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It was changed, or another server made it.
    #[error("its signature isn't one of this server's: it was changed, or made with another SECRET_KEY")]
    Signature,
    /// The log no longer has the row.
    #[error("row {0} is not in the audit log any more")]
    Gone(i64),
    /// The row is another one.
    #[error("row {0} is not the one that was there: the log was written anew")]
    Other(i64),
    /// The database couldn't be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const PURPOSE: &str = "watchpost checkpoints";

fn key_pair(seed: [u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed")
}

impl Checkpoint {
    /// Signs where the log stands.
    pub fn sign(head: &AuditHead, now: Timestamp, secret_key: &str) -> Self {
        let pair = key_pair(derived(PURPOSE, secret_key));
        let key = STANDARD.encode(pair.public_key());
        let mut checkpoint = Self {
            row: head.last_id,
            hash: head.hash.clone(),
            made_at: now.to_string(),
            key,
            signature: String::new(),
        };
        checkpoint.signature = STANDARD.encode(pair.sign(checkpoint.signed().as_bytes()));
        checkpoint
    }

    fn signed(&self) -> String {
        format!("watchpost checkpoint\n{}\n{}\n{}\n", self.row, self.hash, self.made_at)
    }

    /// Whether it is ours and the log still has what it stands for. That the rows before it are what they were
    /// follows from the chain, which [`Db::prove_audit`] looks at.
    pub async fn check<'a>(
        &self,
        db: &Db,
        secret_keys: impl Iterator<Item = &'a str>,
    ) -> Result<(), CheckpointError> {
        let signature = STANDARD.decode(&self.signature).map_err(|_| CheckpointError::Signature)?;
        let ours = all_derived(PURPOSE, secret_keys).any(|seed| {
            let pair = key_pair(seed);
            let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
            public.verify(self.signed().as_bytes(), &signature).is_ok()
        });
        if !ours {
            return Err(CheckpointError::Signature);
        }
        if self.hash.is_empty() {
            return Ok(());
        }
        match db.audit_hash(self.row).await? {
            Some(hash) if hash == self.hash => Ok(()),
            Some(_) => Err(CheckpointError::Other(self.row)),
            None => Err(CheckpointError::Gone(self.row)),
        }
    }
}
