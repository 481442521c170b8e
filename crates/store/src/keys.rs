//! Sensor keys. The secret itself is never stored, only its hash.

use crate::audit::AuditEntry;
use crate::db::{Batch, Row};
use crate::ids::IdKind;
use crate::{Db, StoreError};
use std::sync::Arc;
use watchpost_model::key::{KeyLimits, NewKey, SensorKey};
use watchpost_model::net::{Network, Rate};
use watchpost_model::page::{Count, Page, PageRequest};
use watchpost_model::{KeyId, Severity, Timestamp};

macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, prefix, created_at, expires_at, revoked_at, last_used_at, secret_hash, source_name, max_severity, networks, rate_count, rate_seconds FROM sensor_keys ",
            $rest
        )
    };
}

const BY_ID: &str = select_keys!("WHERE id = ?1");
const BY_HASH: &str = select_keys!("WHERE secret_hash = ?1");
const LIST: &str = select_keys!("ORDER BY id LIMIT ?1 OFFSET ?2");
const COUNT: &str = "SELECT COUNT(*) FROM sensor_keys";
const ANY_IN_USE: &str =
    "SELECT id FROM sensor_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1) LIMIT 1";
const CREATE: &str = "INSERT INTO sensor_keys (id, name, prefix, secret_hash, created_at, expires_at, source_name, max_severity, networks, rate_count, rate_seconds)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
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

fn limits(row: &Row) -> Result<KeyLimits, StoreError> {
    // What can't be read must not open a door wider than it was.
    let unreadable = |what: &str| StoreError::Internal(format!("the {what} of a sensor key can't be read"));
    let networks = Network::parse_list(&row.opt_text(10)?.unwrap_or_default());
    let max_severity =
        row.opt_int(9)?.map(|code| Severity::from_code(code).ok_or_else(|| unreadable("severity")));
    let small = |n: i64| u32::try_from(n).map_err(|_| unreadable("rate"));
    let rate = match (row.opt_int(11)?, row.opt_int(12)?) {
        (Some(count), Some(seconds)) => Some(Rate { count: small(count)?, per_seconds: small(seconds)? }),
        _ => None,
    };
    Ok(KeyLimits {
        source_name: row.opt_text(8)?,
        max_severity: max_severity.transpose()?,
        networks: networks.map_err(|_| unreadable("addresses"))?,
        rate,
    })
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
            limits: limits(row)?,
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

    /// Whether any key works now.
    pub async fn has_keys(&self, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.read_one(ANY_IN_USE, vec![now.micros().into()]).await?.is_some())
    }

    /// Makes a key from the hash of its secret and the part of the secret that may be shown.
    pub async fn create_key(
        &self,
        new: NewKey,
        prefix: &str,
        secret_hash: &str,
        by: &AuditEntry,
    ) -> Result<SensorKey, StoreError> {
        let NewKey { name, expires_in_days, limits } = new;
        let id = self.take_ids(IdKind::Keys, 1, by.at).await?.start;
        let expires_at = expires_in_days.map(|days| by.at.plus_seconds(days * 86_400));
        let networks = (!limits.networks.is_empty()).then(|| Network::list(&limits.networks));
        let mut batch = Batch::new();
        batch.access_changed();
        batch.one(
            CREATE,
            vec![
                id.into(),
                name.as_str().into(),
                prefix.into(),
                secret_hash.into(),
                by.at.micros().into(),
                expires_at.map(Timestamp::micros).into(),
                limits.source_name.as_deref().into(),
                limits.max_severity.map(Severity::code).into(),
                networks.into(),
                limits.rate.map(|rate| i64::from(rate.count)).into(),
                limits.rate.map(|rate| i64::from(rate.per_seconds)).into(),
            ],
        );
        let mut said = vec![name.clone()];
        said.extend(expires_at.map(|end| format!("until {end}")));
        said.extend(Some(limits.to_string()).filter(|said| !said.is_empty()));
        batch.audit(by, "key.create", format!("key:{id}"), said.join(", "));
        self.write(Arc::new(batch)).await?;
        Ok(SensorKey {
            id: KeyId::new(id),
            name,
            prefix: prefix.to_owned(),
            created_at: by.at,
            expires_at,
            revoked_at: None,
            last_used_at: None,
            limits,
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
