//! Who did what. A row is written in the transaction of what it tells of, and carries the hash of itself and the row
//! before it: a row that was changed, taken out or put in between shows.

use crate::audit_keys::seal_row;
use crate::audit_seals::Judge;
use crate::clauses::Clauses;
use crate::db::{Batch, Row};
use crate::{Db, StoreError};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use watchpost_model::filter::Span;
use watchpost_model::page::{Page, PageRequest};
use watchpost_model::{Actor, Timestamp};

/// Takes the next place; on PostgreSQL whoever comes second waits here for the first to commit.
const PLACE: &str = "UPDATE audit_head SET last_id = last_id + 1 WHERE one = 1";
const WRITE: &str = "INSERT INTO audit_log (id, at, actor, address, action, object, detail, actor_id, seal, hash)
     SELECT h.last_id, CAST(?1 AS BIGINT), CAST(?2 AS TEXT), CAST(?3 AS TEXT), CAST(?4 AS TEXT), CAST(?5 AS TEXT), CAST(?6 AS TEXT),
         CAST(?7 AS TEXT), CAST(?8 AS TEXT),
         sha256_hex(h.hash || '|' || CAST(h.last_id AS TEXT) || '|' || CAST(?9 AS TEXT))
     FROM audit_head h WHERE h.one = 1";
const LINK: &str = "UPDATE audit_head SET hash = (SELECT l.hash FROM audit_log l WHERE l.id = audit_head.last_id) WHERE one = 1";
const HEAD: &str = "SELECT first_id, last_id, hash FROM audit_head WHERE one = 1";
const OUTSIDE: &str = "SELECT COUNT(*) FROM audit_log l JOIN audit_head h ON h.one = 1
     WHERE l.id > h.last_id OR (l.id < h.first_id AND l.hash <> '') OR (l.id >= h.first_id AND l.hash = '')";
const BEHIND: &str = "SELECT COUNT(*) FROM audit_log l JOIN audit_head h ON h.one = 1 WHERE l.id > h.last_id";
const HASH_OF: &str = "SELECT hash FROM audit_log WHERE id = ?1";
const COLUMNS: &str =
    "SELECT id, at, actor, address, action, object, detail, hash, actor_id, seal FROM audit_log";

const STRAY: &str = "rows stand before or behind the chain that it doesn't vouch for";
const GONE: &str = "it is gone";

/// Rows read at once when all are.
const PIECE: i64 = 1_000;

/// What is to be remembered of a change.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// From where, if it came over the network.
    pub address: Option<IpAddr>,
}

impl AuditEntry {
    /// Something done by Watchpost itself or at its command line.
    pub fn local(at: Timestamp, actor: Actor) -> Self {
        Self { at, actor, address: None }
    }
}

/// One row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in the log.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who, as they were called then.
    pub actor: String,
    /// From where; empty for what didn't come over the network.
    pub address: String,
    /// What was done, such as `user.create`.
    pub action: String,
    /// To what, such as `user:7`.
    pub object: String,
    /// What else there is to say.
    pub detail: String,
    /// The hash of this row and the one before it; empty for rows from before there were hashes.
    pub hash: String,
    /// Who, by what doesn't change, such as `user:7`; empty for what older versions wrote.
    pub actor_id: String,
    /// What only a server with the secret can make of the row; empty for what older versions wrote.
    pub seal: String,
}

/// Which rows are wanted; what is empty wants all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// By these.
    pub actors: Vec<String>,
    /// By these, by what doesn't change, such as `user:7`.
    pub actor_ids: Vec<String>,
    /// Doing these; one that ends with a dot is the beginning of several.
    pub actions: Vec<String>,
    /// To these.
    pub objects: Vec<String>,
    /// From there.
    pub addresses: Vec<String>,
    /// When.
    pub span: Span,
}

/// What the chain ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The first row that has a hash.
    pub first_id: i64,
    /// The last row; one less than the first when there is none.
    pub last_id: i64,
    /// The last row's hash.
    pub hash: String,
}

/// What looking at the whole chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditProof {
    /// Every row follows from the one before it, up to this end.
    Intact(AuditHead),
    /// The chain breaks at this row, and how.
    Broken(i64, &'static str),
    /// The chain goes on, and nothing vouches for this row: why not.
    Unvouched(i64, &'static str),
}

/// Characters of one text of a row: more than anything of ours says, and less than an address or a body may hold.
const MAX_TEXT_CHARS: usize = 2_000;

/// The text of a row that its hash is made of, beside the hash before it and its place. Lengths keep what stands in
/// one field from looking like two.
fn told(at: i64, texts: &[&str]) -> String {
    let mut text = at.to_string();
    for field in texts {
        text.push('|');
        text.push_str(&field.chars().count().to_string());
        text.push(':');
        text.push_str(field);
    }
    text
}

/// What a row says, as its seal is made of it.
pub(crate) fn told_of(row: &AuditRow) -> String {
    let AuditRow { actor, address, action, object, detail, actor_id, .. } = row;
    told(row.at.micros(), &[actor, address, action, object, detail, actor_id])
}

/// The hash that a row should have. Rows of older versions have neither an actor's id nor a seal.
fn hash_after(before: &str, row: &AuditRow) -> String {
    let AuditRow { actor, address, action, object, detail, actor_id, seal, .. } = row;
    let texts: [&str; 7] = [actor, address, action, object, detail, actor_id, seal];
    let texts = if actor_id.is_empty() && seal.is_empty() { &texts[..5] } else { &texts[..] };
    sha256_hex(&format!("{before}|{}|{}", row.id, told(row.at.micros(), texts)))
}

/// An actor by what doesn't change.
fn id_of(actor: &Actor) -> String {
    match actor {
        Actor::User { id, .. } => format!("user:{id}"),
        Actor::Key { id, .. } => format!("key:{id}"),
        Actor::CommandLine | Actor::Watchpost | Actor::Anonymous => actor.to_string(),
    }
}

/// A row as the server's own log tells of it.
#[derive(Clone, Debug)]
pub(crate) struct AuditLine {
    at: Timestamp,
    actor: String,
    actor_id: String,
    address: String,
    action: String,
    object: String,
    detail: String,
}

/// As the function of that name in the database.
pub(crate) fn sha256_hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Batch {
    /// Adds a row to the audit log. It belongs at the end of a batch: what comes after it is done while all others
    /// who write to the log wait.
    pub(crate) fn audit(
        &mut self,
        entry: &AuditEntry,
        action: &str,
        object: impl Into<String>,
        detail: impl Into<String>,
    ) {
        // PostgreSQL keeps no NUL, and whoever tries one must not stay unmentioned for it.
        let kept = |text: String| match text.char_indices().nth(MAX_TEXT_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]).replace('\0', "\u{fffd}"),
            None => text.replace('\0', "\u{fffd}"),
        };
        let (actor, object, detail) =
            (kept(entry.actor.to_string()), kept(object.into()), kept(detail.into()));
        let address = entry.address.map_or(String::new(), |address| address.to_canonical().to_string());
        let actor_id = id_of(&entry.actor);
        let at = entry.at.micros();
        let seal = seal_row(&told(at, &[&actor, &address, action, &object, &detail, &actor_id]));
        let told = told(at, &[&actor, &address, action, &object, &detail, &actor_id, &seal]);
        self.audited.push(AuditLine {
            at: entry.at,
            actor: actor.clone(),
            actor_id: actor_id.clone(),
            address: address.clone(),
            action: action.to_owned(),
            object: object.clone(),
            detail: detail.clone(),
        });
        self.one(PLACE, vec![]);
        self.one(
            WRITE,
            vec![
                at.into(),
                actor.into(),
                address.into(),
                action.into(),
                object.into(),
                detail.into(),
                actor_id.into(),
                seal.into(),
                told.into(),
            ],
        );
        self.one(LINK, vec![]);
    }

    /// Tells the server's own log what was written to the audit log, under a target of its own, so that it can be
    /// shipped elsewhere.
    pub(crate) fn tell_of_audited(&self, written: &Result<(), StoreError>) {
        let outcome = match written {
            Ok(()) => "written",
            Err(StoreError::OutcomeUnknown(_)) => "unknown",
            Err(_) => return,
        };
        for AuditLine { at, actor, actor_id, address, action, object, detail } in &self.audited {
            tracing::info!(target: "audit", outcome, %at, actor, actor_id, peer = address, action, object, detail, "audit");
        }
    }
}

impl Db {
    /// Remembers something that changed nothing itself: a refusal, an export.
    pub async fn note(
        &self,
        entry: &AuditEntry,
        action: &str,
        object: impl Into<String>,
        detail: impl Into<String>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.audit(entry, action, object, detail);
        self.write(Arc::new(batch)).await
    }

    /// Remembers several such things at once: who, what was done to what, and what else there is to say.
    pub async fn note_all(
        &self,
        rows: Vec<(AuditEntry, &'static str, String, String)>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (entry, action, object, detail) in rows {
            batch.audit(&entry, action, object, detail);
        }
        match batch.writes.is_empty() {
            true => Ok(()),
            false => self.write(Arc::new(batch)).await,
        }
    }

    fn audit_clauses(&self, filter: &AuditFilter) -> Clauses {
        let mut clauses = Clauses::new(self.engine());
        clauses.any_text("actor", &filter.actors);
        clauses.any_text("actor_id", &filter.actor_ids);
        clauses.any_text("action", &filter.actions);
        clauses.any_text("object", &filter.objects);
        clauses.any_text("address", &filter.addresses);
        if let Some(since) = filter.span.since {
            clauses.with("at >= {}", since.micros());
        }
        if let Some(until) = filter.span.until {
            clauses.with("at < {}", until.micros());
        }
        clauses
    }

    /// A page of the audit log, newest first.
    pub async fn audit_log(
        &self,
        filter: &AuditFilter,
        request: PageRequest,
    ) -> Result<Page<AuditRow>, StoreError> {
        let mut clauses = self.audit_clauses(filter);
        let count = self.bounded_count("audit_log", &clauses).await?;
        let matching = clauses.sql();
        let (rows, skipped) = (clauses.param(i64::from(request.size) + 1), clauses.param(request.offset()));
        let sql = format!("{COLUMNS}{matching} ORDER BY id DESC LIMIT ?{rows} OFFSET ?{skipped}");
        self.page_of(sql, clauses.params, count, request, audit_row).await
    }

    /// The next rows after one, oldest first; for whoever reads all of them.
    pub async fn audit_after(&self, filter: &AuditFilter, after: i64) -> Result<Vec<AuditRow>, StoreError> {
        let mut clauses = self.audit_clauses(filter);
        clauses.with("id > {}", after);
        let sql = format!("{COLUMNS}{} ORDER BY id LIMIT {PIECE}", clauses.sql());
        self.read(sql, clauses.params).await?.iter().map(audit_row).collect()
    }

    /// What the chain ends with now.
    pub async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        let row = self.read_one(HEAD, vec![]).await?.ok_or(StoreError::NotFound)?;
        Ok(AuditHead { first_id: row.int(0)?, last_id: row.int(1)?, hash: row.text(2)? })
    }

    /// The hash of one row, if it is there.
    pub async fn audit_hash(&self, id: i64) -> Result<Option<String>, StoreError> {
        self.read_one(HASH_OF, vec![id.into()]).await?.map(|row| row.text(0)).transpose()
    }

    /// Looks at every row of the chain as it stands now; says how far it is on the way.
    pub async fn prove_audit(&self, progress: impl FnMut(i64, i64)) -> Result<AuditProof, StoreError> {
        let head = self.audit_head().await?;
        if self.rows_outside(OUTSIDE).await? {
            return Ok(AuditProof::Broken(head.last_id + 1, STRAY));
        }
        let mut judge = match self.audit_judge(&head).await? {
            Ok(judge) => judge,
            // A chain that breaks is told of first: it says where.
            Err(wrong) => {
                let (last, mut judge) = (head.first_id - 1, Judge::of_chain());
                return Ok(match self.follow(head, String::new(), last, &mut judge, progress).await? {
                    AuditProof::Intact(_) => wrong,
                    broken => broken,
                });
            }
        };
        let last = head.first_id - 1;
        let proof = self.follow(head, String::new(), last, &mut judge, progress).await?;
        match proof {
            AuditProof::Intact(_) => Ok(self.audit_judged(judge, true).await?.unwrap_or(proof)),
            wrong => Ok(wrong),
        }
    }

    /// Looks at the newest rows of the chain, which follow from the one before them; and from which row on.
    pub async fn prove_newest_audit(&self, rows: i64) -> Result<(AuditProof, i64), StoreError> {
        let head = self.audit_head().await?;
        let from = head.first_id.max(head.last_id - rows + 1);
        if self.rows_outside(BEHIND).await? {
            return Ok((AuditProof::Broken(head.last_id + 1, STRAY), from));
        }
        let before = match from == head.first_id {
            true => Some(String::new()),
            false => self.audit_hash(from - 1).await?,
        };
        let Some(before) = before else { return Ok((AuditProof::Broken(from - 1, GONE), from)) };
        let mut judge = match self.audit_judge(&head).await? {
            Ok(judge) => judge,
            Err(wrong) => return Ok((wrong, from)),
        };
        let proof = self.follow(head, before, from - 1, &mut judge, |_, _| {}).await?;
        let judged = match proof {
            AuditProof::Intact(_) => self.audit_judged(judge, false).await?,
            _ => None,
        };
        Ok((judged.unwrap_or(proof), from))
    }

    /// Whether rows stand where the chain has none.
    async fn rows_outside(&self, counted: &'static str) -> Result<bool, StoreError> {
        Ok(self.read_one(counted, vec![]).await?.ok_or(StoreError::NotFound)?.int(0)? > 0)
    }

    /// Follows the chain from behind a row, whose hash is known, to where it ended.
    pub(crate) async fn follow(
        &self,
        head: AuditHead,
        mut before: String,
        mut last: i64,
        judge: &mut Judge<'_>,
        mut progress: impl FnMut(i64, i64),
    ) -> Result<AuditProof, StoreError> {
        while last < head.last_id {
            let rows = self.audit_after(&AuditFilter::default(), last).await?;
            if rows.is_empty() {
                return Ok(AuditProof::Broken(last + 1, "it and all that followed it are gone"));
            }
            for row in rows.iter().take_while(|row| row.id <= head.last_id) {
                if row.id != last + 1 {
                    return Ok(AuditProof::Broken(last + 1, GONE));
                }
                if hash_after(&before, row) != row.hash {
                    return Ok(AuditProof::Broken(row.id, "it isn't what was written"));
                }
                if let Some(why) = judge.row(row) {
                    return Ok(AuditProof::Unvouched(row.id, why));
                }
                (before, last) = (row.hash.clone(), row.id);
            }
            progress(last - head.first_id + 1, head.last_id - head.first_id + 1);
        }
        if before != head.hash {
            return Ok(AuditProof::Broken(head.last_id, "the end of the log isn't what was written"));
        }
        Ok(AuditProof::Intact(head))
    }
}

fn audit_row(row: &Row) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        id: row.int(0)?,
        at: Timestamp::from_micros(row.int(1)?),
        actor: row.text(2)?,
        address: row.text(3)?,
        action: row.text(4)?,
        object: row.text(5)?,
        detail: row.text(6)?,
        hash: row.text(7)?,
        actor_id: row.text(8)?,
        seal: row.text(9)?,
    })
}

/// Gives every row the hash that follows from the one before it: for suites that do as whoever holds the database can.
pub(crate) async fn compute_anew(db: &Db) -> Result<(), StoreError> {
    let (mut hash, mut last, mut script) = (String::new(), 0, Vec::new());
    loop {
        let rows = db.audit_after(&AuditFilter::default(), last).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            hash = hash_after(&hash, &row);
            last = row.id;
            script.push(format!("UPDATE audit_log SET hash = '{hash}' WHERE id = {last}"));
        }
    }
    script.push(format!("UPDATE audit_head SET hash = '{hash}' WHERE one = 1"));
    db.run_script(script).await
}
