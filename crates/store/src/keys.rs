//! Sensor keys. The secret itself is never stored, only its hash.

use crate::audit::AuditEntry;
use crate::db::{Batch, Row};
use crate::ids::IdKind;
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::key::SensorKey;
use watchpost_model::page::{Count, Page, PageRequest};
use watchpost_model::{KeyId, Timestamp};

macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, prefix, created_at, expires_at, revoked_at, last_used_at, secret_hash FROM sensor_keys ",
            $rest
        )
    };
}

const BY_ID: &str = select_keys!("WHERE id = ?1");
const BY_HASH: &str = select_keys!("WHERE secret_hash = ?1");
const LIST: &str = select_keys!("ORDER BY id LIMIT ?1 OFFSET ?2");
const COUNT: &str = "SELECT COUNT(*) FROM sensor_keys";
const CREATE: &str = "INSERT INTO sensor_keys (id, name, prefix, secret_hash, created_at, expires_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const REVOKE: &str = "UPDATE sensor_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
const USED: &str = "UPDATE sensor_keys SET last_used_at = ?2 WHERE id = ?1";

/// A key with what is needed to recognise it.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// The key.
    pub key: SensorKey,
    /// The hash of its secret.
    pub secret_hash: String,
}

fn record(row: &Row) -> Result<KeyRecord, StoreError> {
    let time = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(Timestamp::from_micros));
    Ok(KeyRecord {
        key: SensorKey {
            id: KeyId::new(row.int(0)?),
            name: row.text(1)?,
            prefix: row.text(2)?,
            created_at: Timestamp::from_micros(row.int(3)?),
            expires_at: time(4)?,
            revoked_at: time(5)?,
            last_used_at: time(6)?,
        },
        secret_hash: row.text(7)?,
    })
}

impl Db {
    /// A key by the hash of its secret, whether it still works or not.
    pub async fn key_by_hash(&self, secret_hash: &str) -> Result<Option<KeyRecord>, StoreError> {
        self.read_one(BY_HASH, vec![secret_hash.into()]).await?.map(|row| record(&row)).transpose()
    }

    /// One key.
    pub async fn key(&self, id: KeyId) -> Result<Option<SensorKey>, StoreError> {
        let row = self.read_one(BY_ID, vec![id.get().into()]).await?;
        row.map(|row| Ok(record(&row)?.key)).transpose()
    }

    /// A page of keys, in the order they were made, revoked ones included.
    pub async fn keys(&self, request: PageRequest) -> Result<Page<SensorKey>, StoreError> {
        let count = self.read_one(COUNT, vec![]).await?.ok_or(StoreError::NotFound)?.int(0)?;
        self.plain_page(LIST, Count::Exact(count), request, |row| Ok(record(row)?.key)).await
    }

    /// Makes a key from the hash of its secret and the part of the secret that may be shown.
    pub async fn create_key(
        &self,
        name: &str,
        prefix: &str,
        secret_hash: &str,
        expires_at: Option<Timestamp>,
        by: &AuditEntry,
    ) -> Result<SensorKey, StoreError> {
        let id = self.take_ids(IdKind::Keys, 1, by.at).await?.start;
        let mut batch = Batch::new();
        batch.access_changed();
        batch.one(
            CREATE,
            vec![
                id.into(),
                name.into(),
                prefix.into(),
                secret_hash.into(),
                by.at.micros().into(),
                expires_at.map(Timestamp::micros).into(),
            ],
        );
        batch.audit(by, "key.create", format!("key:{id}"), name.to_owned());
        self.write(Arc::new(batch)).await?;
        Ok(SensorKey {
            id: KeyId::new(id),
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            created_at: by.at,
            expires_at,
            revoked_at: None,
            last_used_at: None,
        })
    }

    /// Revokes a key; a key that is revoked already stays as it is.
    pub async fn revoke_key(&self, id: KeyId, by: &AuditEntry) -> Result<SensorKey, StoreError> {
        let key = self.key(id).await?.ok_or(StoreError::NotFound)?;
        if key.revoked_at.is_some() {
            return Ok(key);
        }
        let mut batch = Batch::new();
        batch.access_changed();
        batch.any(REVOKE, vec![id.get().into(), by.at.micros().into()]);
        batch.audit(by, "key.revoke", format!("key:{id}"), key.name.clone());
        self.write(Arc::new(batch)).await?;
        self.key(id).await?.ok_or(StoreError::NotFound)
    }

    /// Notes when keys were last used.
    pub async fn note_key_use(&self, used: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (id, at) in used {
            batch.any(USED, vec![id.get().into(), at.micros().into()]);
        }
        self.write(Arc::new(batch)).await
    }
}
