//! What the engines themselves can do at most: the same rows into the same tables with the same indexes and the same
//! durability, by the fastest way there is, and nothing else.

use crate::sample::{ALERT_EVERY, stored};
use anyhow::{Context, Result};
use rusqlite::types::ToSql;
use std::time::Instant;
use tempfile::TempDir;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql as PgToSql, Type};
use watchpost_model::Event;
use watchpost_model::id::event_id_floor;
use watchpost_pipeline::now;
use watchpost_store::{Db, Location, PostgresOptions};

/// Rows in one transaction: what the server takes at most.
const BATCH: u64 = 4_096;

fn rows(first: u64, count: u64) -> Vec<Event> {
    let at = now();
    let floor = event_id_floor(at).get();
    (first..first + count).map(|n| stored(n, floor + n as i64, at)).collect()
}

/// Prepared inserts into SQLite, rows a second.
pub(crate) async fn sqlite(count: u64) -> Result<f64> {
    let folder = TempDir::new()?;
    let path = folder.path().join("limit.db");
    let db = Db::open(&Location::Sqlite(path.clone())).await?;
    db.migrate(now()).await?;
    db.close().await;
    let batches: Vec<Vec<Event>> =
        (0..count.div_ceil(BATCH)).map(|n| rows(n * BATCH, BATCH.min(count - n * BATCH))).collect();
    let taken = tokio::task::spawn_blocking(move || {
        let mut connection = rusqlite::Connection::open(&path)?;
        for (pragma, value) in [
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("cache_size", "-16384"),
            ("wal_autocheckpoint", "4000"),
        ] {
            connection.pragma_update(None, pragma, value)?;
        }
        let started = Instant::now();
        for batch in &batches {
            insert(&mut connection, batch)?;
        }
        anyhow::Ok(started.elapsed())
    });
    Ok(count as f64 / taken.await??.as_secs_f64())
}

fn insert(connection: &mut rusqlite::Connection, batch: &[Event]) -> Result<()> {
    let transaction = connection.transaction()?;
    let mut events = transaction.prepare_cached(
        "INSERT INTO events (id, created_at, source_name, event_type, severity, description, user_id, src_ip) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7)",
    )?;
    let mut alerts = transaction.prepare_cached(
        "INSERT INTO alerts (id, event_id, rule, source_name, event_type, severity, status, created_at, updated_at, version) VALUES (?1, ?1, 'builtin.severity', ?2, ?3, ?4, 1, ?5, ?5, 1)",
    )?;
    for event in batch {
        let (id, at, severity) = (event.id.get(), event.created_at.micros(), event.severity.code());
        let values: [&dyn ToSql; 7] = [
            &id,
            &at,
            &event.source_name,
            &event.event_type,
            &severity,
            &event.description,
            &event.details.src_ip,
        ];
        events.execute(values)?;
        if (id as u64).is_multiple_of(ALERT_EVERY) {
            let values: [&dyn ToSql; 5] = [&id, &event.source_name, &event.event_type, &severity, &at];
            alerts.execute(values)?;
        }
    }
    drop((events, alerts));
    transaction.commit()?;
    Ok(())
}

/// Binary COPY into PostgreSQL, rows a second.
pub(crate) async fn postgres(count: u64) -> Result<f64> {
    let url = crate::server::make_database("limit").await?;
    let options = PostgresOptions { url: url.clone(), authority: None, connections: 4 };
    let db = Db::open(&Location::Postgres(options)).await?;
    db.migrate(now()).await?;
    db.close().await;
    let events = rows(0, count);
    let (mut client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let started = Instant::now();
    let transaction = client.transaction().await?;
    let sink = transaction
        .copy_in("COPY events (id, created_at, source_name, event_type, severity, description, user_id, src_ip) FROM STDIN BINARY")
        .await?;
    let types =
        [Type::INT8, Type::INT8, Type::TEXT, Type::TEXT, Type::INT2, Type::TEXT, Type::INT8, Type::TEXT];
    let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, &types));
    for event in &events {
        let (id, at, severity) = (event.id.get(), event.created_at.micros(), event.severity.code() as i16);
        let values: [&(dyn PgToSql + Sync); 8] = [
            &id,
            &at,
            &event.source_name,
            &event.event_type,
            &severity,
            &event.description,
            &1_i64,
            &event.details.src_ip,
        ];
        writer.as_mut().write(&values).await?;
    }
    writer.as_mut().finish().await?;
    copy_alerts(&transaction, &events).await?;
    transaction.commit().await.context("the copied rows could not be committed")?;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

async fn copy_alerts(transaction: &tokio_postgres::Transaction<'_>, events: &[Event]) -> Result<()> {
    let sink = transaction
        .copy_in("COPY alerts (id, event_id, rule, source_name, event_type, severity, status, created_at, updated_at, version) FROM STDIN BINARY")
        .await?;
    let types = [
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT2,
        Type::INT2,
        Type::INT8,
        Type::INT8,
        Type::INT8,
    ];
    let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, &types));
    for event in events.iter().filter(|event| (event.id.get() as u64).is_multiple_of(ALERT_EVERY)) {
        let (id, at, severity) = (event.id.get(), event.created_at.micros(), event.severity.code() as i16);
        let values: [&(dyn PgToSql + Sync); 10] = [
            &id,
            &id,
            &"builtin.severity",
            &event.source_name,
            &event.event_type,
            &severity,
            &1_i16,
            &at,
            &at,
            &1_i64,
        ];
        writer.as_mut().write(&values).await?;
    }
    writer.as_mut().finish().await?;
    Ok(())
}
