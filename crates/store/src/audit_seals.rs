//! What vouches for the chain of the audit log: seals that only a server with the secret makes.
//!
//! Each row carries one of its own, so that none is changed or made up. Every few seconds a server follows the chain
//! from its last seal on and seals where it stands, so that none is taken out or moved either: whoever computes the
//! chain anew has no seal for it. Rows name the newest seal that there was, so a seal isn't taken away unnoticed.

use crate::audit::{AuditFilter, AuditHead, AuditProof, AuditRow, sha256_hex, told_of};
use crate::audit_keys::{self, AuditKeys, Checked, RowSeal};
use crate::db::{Batch, Row};
use crate::{Db, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use watchpost_model::Timestamp;

macro_rules! select_seal {
    ($rest:literal) => {
        concat!("SELECT at, kind, row_id, hash, first_id, earlier, key_id, mac FROM audit_seals ", $rest)
    };
}

const NEWEST: &str = select_seal!("ORDER BY n DESC LIMIT 1");
const NAMED: &str = select_seal!("WHERE mac >= ?1 AND mac < ?2 LIMIT 1");
const ADD: &str = "INSERT INTO audit_seals (at, kind, row_id, hash, first_id, earlier, key_id, mac)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const GONE: &str = "the end of the log is gone: the newest seal vouches for more rows than there are";
const OTHER_HASH: &str = "it isn't the row that was sealed: the chain was computed anew";
const FORGED_SEAL: &str = "the newest seal isn't one that this server made";
const OTHER_KEY: &str = "it was sealed with a key that isn't known here";
const NO_SEAL: &str = "it has no seal: something other than this version of Watchpost wrote it";
const WRONG_SEAL: &str = "its seal is wrong: it isn't what was written";
const SEAL_GONE: &str = "the seal of the chain that it names is gone, or stands for another chain";
const TWICE: &str = "it has the seal of another row: it was copied";
const EARLIER: &str = "the rows before the chain aren't those that were sealed";
const BEGINNING: &str = "the chain doesn't begin where it did when it was sealed";

/// Made as a matter of course, or because the operator took the log as it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usual = 0,
    Accepted = 1,
}

#[derive(Clone, Debug)]
struct Seal {
    at: Timestamp,
    kind: i64,
    row: i64,
    hash: String,
    first: i64,
    earlier: String,
    key: String,
    mac: String,
}

impl Seal {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            at: Timestamp::from_micros(row.int(0)?),
            kind: row.int(1)?,
            row: row.int(2)?,
            hash: row.text(3)?,
            first: row.int(4)?,
            earlier: row.text(5)?,
            key: row.text(6)?,
            mac: row.text(7)?,
        })
    }

    fn signed(&self) -> String {
        let Self { at, kind, row, hash, first, earlier, .. } = self;
        format!("watchpost audit seal\n{}\n{kind}\n{row}\n{hash}\n{first}\n{earlier}", at.micros())
    }

    fn check(&self, keys: &AuditKeys) -> Checked {
        keys.check(&self.key, &self.signed(), &self.mac)
    }
}

/// The newest seal that a process knows: it has to be there still when it looks again.
#[derive(Clone, Debug)]
pub struct KnownSeal {
    mac: String,
    at: Timestamp,
}

/// What came of sealing the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Everything up to this row is vouched for.
    Done(i64),
    /// Another server sealed it, with the key of this name.
    OtherKey(String),
    /// It isn't sealed any further: there is something wrong from this row on.
    Broken(i64, &'static str),
}

/// What rows are held against while the chain is followed.
pub(crate) struct Judge<'a> {
    keys: Option<&'a AuditKeys>,
    /// The newest seal; up to its row nothing else has to vouch for rows.
    sealed: Option<Seal>,
    /// Whether rows without a seal are taken as they stand: older versions wrote them.
    first_time: bool,
    nonces: Vec<(u64, i64)>,
    /// Seals of the chain that rows name, and the first row that does.
    named: BTreeMap<String, i64>,
}

impl<'a> Judge<'a> {
    /// Looks at the chain alone.
    pub(crate) fn of_chain() -> Self {
        Self { keys: None, sealed: None, first_time: false, nonces: Vec::new(), named: BTreeMap::new() }
    }

    fn new(keys: &'a AuditKeys, sealed: Option<Seal>) -> Self {
        Self { keys: Some(keys), sealed, ..Self::of_chain() }
    }

    /// Why nothing vouches for a row whose hash is right.
    pub(crate) fn row(&mut self, row: &AuditRow) -> Option<&'static str> {
        let keys = self.keys?;
        let sealed_to = self.sealed.as_ref().map_or(0, |seal| seal.row);
        let other = self.sealed.as_ref().is_some_and(|seal| seal.row == row.id && seal.hash != row.hash);
        let Some(seal) = RowSeal::read(&row.seal) else {
            if other {
                return Some(OTHER_HASH);
            }
            let taken = row.id <= sealed_to || (self.first_time && row.seal.is_empty());
            return (!taken).then_some(NO_SEAL);
        };
        self.nonces.push((seal.nonce, row.id));
        let checked = seal.check(keys, &told_of(row));
        if checked == Checked::Wrong {
            return Some(WRONG_SEAL);
        }
        if row.id <= sealed_to {
            return other.then_some(OTHER_HASH);
        }
        if checked == Checked::UnknownKey {
            return Some(OTHER_KEY);
        }
        // What was written before the first seal names none.
        if !seal.after.is_empty() {
            self.named.entry(seal.after.to_owned()).or_insert(row.id);
        }
        None
    }
}

impl Db {
    async fn newest_seal(&self) -> Result<Option<Seal>, StoreError> {
        self.read_one(NEWEST, vec![]).await?.as_ref().map(Seal::read).transpose()
    }

    /// The name of the key that the log was sealed with last. Rows that are written from now on name that seal.
    pub async fn audit_key(&self) -> Result<Option<String>, StoreError> {
        let seal = self.newest_seal().await?;
        audit_keys::set_newest(seal.as_ref().map_or("", |seal| &seal.mac));
        Ok(seal.map(|seal| seal.key))
    }

    /// Something in short for all rows before the chain; nothing when there are none.
    async fn earlier_rows(&self, first: i64) -> Result<String, StoreError> {
        let (mut last, mut digest) = (i64::MIN, String::new());
        loop {
            let rows = self.audit_after(&AuditFilter::default(), last).await?;
            let earlier: Vec<_> = rows.iter().take_while(|row| row.id < first).collect();
            for row in &earlier {
                digest = sha256_hex(&format!("{digest}|{}|{}", row.id, told_of(row)));
                last = row.id;
            }
            if earlier.is_empty() || earlier.len() < rows.len() {
                return Ok(digest);
            }
        }
    }

    /// What a chain that ends here is held against; or what is wrong already.
    pub(crate) async fn audit_judge(
        &self,
        head: &AuditHead,
    ) -> Result<Result<Judge<'static>, AuditProof>, StoreError> {
        let Some(keys) = audit_keys::keys() else { return Ok(Ok(Judge::of_chain())) };
        let Some(seal) = self.newest_seal().await? else { return Ok(Ok(Judge::new(keys, None))) };
        let at = seal.row.max(1);
        let wrong = match seal.check(keys) {
            Checked::Wrong => Some(AuditProof::Unvouched(at, FORGED_SEAL)),
            Checked::UnknownKey => Some(AuditProof::Unvouched(at, OTHER_KEY)),
            Checked::Good if seal.first != head.first_id => {
                Some(AuditProof::Unvouched(seal.first, BEGINNING))
            }
            Checked::Good if seal.row > head.last_id => Some(AuditProof::Broken(head.last_id + 1, GONE)),
            Checked::Good => None,
        };
        Ok(match wrong {
            Some(wrong) => Err(wrong),
            None => Ok(Judge::new(keys, Some(seal))),
        })
    }

    /// Looks at what can only be told when the rows were followed.
    pub(crate) async fn audit_judged(
        &self,
        judge: Judge<'_>,
        whole: bool,
    ) -> Result<Option<AuditProof>, StoreError> {
        let Some(keys) = judge.keys else { return Ok(None) };
        for (name, row) in judge.named {
            let seal = self.read_one(NAMED, vec![name.clone().into(), format!("{name}g").into()]).await?;
            let stands = match seal.as_ref().map(Seal::read).transpose()? {
                Some(seal) if seal.check(keys) != Checked::Wrong && seal.row < row => {
                    // Of an empty log there is no row to look at.
                    seal.row < seal.first || self.audit_hash(seal.row).await?.as_ref() == Some(&seal.hash)
                }
                _ => false,
            };
            if !stands {
                return Ok(Some(AuditProof::Unvouched(row, SEAL_GONE)));
            }
        }
        let mut nonces = judge.nonces;
        nonces.sort_unstable();
        if let Some(pair) = nonces.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Ok(Some(AuditProof::Unvouched(pair[1].1, TWICE)));
        }
        if let (true, Some(seal)) = (whole, &judge.sealed)
            && self.earlier_rows(seal.first).await? != seal.earlier
        {
            return Ok(Some(AuditProof::Unvouched(seal.first - 1, EARLIER)));
        }
        Ok(None)
    }

    /// Follows the chain from where it was sealed last, and seals where it stands now. What a server doesn't find as it
    /// was isn't sealed any further. `known` is the seal that this process saw last: it has to be there still.
    pub async fn seal_audit_log(
        &self,
        known: &mut Option<KnownSeal>,
        now: Timestamp,
    ) -> Result<Sealing, StoreError> {
        let Some(keys) = audit_keys::keys() else { return Ok(Sealing::Done(0)) };
        let newest = self.newest_seal().await?;
        let head = self.audit_head().await?;
        if let Some(KnownSeal { mac, at }) = known.as_ref()
            && self.read_one(NAMED, vec![mac.clone().into(), format!("{mac}g").into()]).await?.is_none()
            // The operator may have looked at it, and taken the log as it stands.
            && !newest.as_ref().is_some_and(|seal| seal.kind == Kind::Accepted as i64 && seal.at > *at)
        {
            return Ok(Sealing::Broken(newest.map_or(1, |seal| seal.row), SEAL_GONE));
        }
        if let Some(seal) = &newest
            && !keys.knows(&seal.key)
        {
            return Ok(Sealing::OtherKey(seal.key.clone()));
        }
        let mut judge = match self.audit_judge(&head).await? {
            Ok(judge) => judge,
            Err(AuditProof::Broken(row, why) | AuditProof::Unvouched(row, why)) => {
                return Ok(Sealing::Broken(row, why));
            }
            Err(AuditProof::Intact(_)) => return Ok(Sealing::Done(head.last_id)),
        };
        judge.first_time = newest.is_none();
        let (before, last) = match &newest {
            Some(seal) => (seal.hash.clone(), seal.row),
            None => (String::new(), head.first_id - 1),
        };
        if let Some(seal) = &newest {
            let unchanged =
                seal.row < seal.first || self.audit_hash(seal.row).await?.as_ref() == Some(&seal.hash);
            if !unchanged {
                return Ok(Sealing::Broken(seal.row, OTHER_HASH));
            }
            audit_keys::set_newest(&seal.mac);
            *known = Some(KnownSeal { mac: seal.mac.clone(), at: seal.at });
            if seal.row == head.last_id && seal.key == keys.id() {
                return Ok(Sealing::Done(seal.row));
            }
        }
        let followed = self.follow(head.clone(), before, last, &mut judge, |_, _| {}).await?;
        let wrong = match followed {
            AuditProof::Intact(_) => self.audit_judged(judge, false).await?,
            wrong => Some(wrong),
        };
        if let Some(AuditProof::Broken(row, why) | AuditProof::Unvouched(row, why)) = wrong {
            return Ok(Sealing::Broken(row, why));
        }
        let earlier = match newest {
            Some(seal) => seal.earlier,
            None => self.earlier_rows(head.first_id).await?,
        };
        let mac = self.add_seal(keys, Kind::Usual, &head, earlier, now).await?;
        *known = Some(KnownSeal { mac, at: now });
        Ok(Sealing::Done(head.last_id))
    }

    /// Seals the chain as it stands, whatever sealed it before, as long as its rows follow from one another.
    pub async fn accept_audit_log(&self, now: Timestamp) -> Result<AuditProof, StoreError> {
        let keys = audit_keys::keys().ok_or_else(|| StoreError::Internal("there is no key".into()))?;
        let head = self.audit_head().await?;
        let last = head.first_id - 1;
        let proof = self.follow(head, String::new(), last, &mut Judge::of_chain(), |_, _| {}).await?;
        if let AuditProof::Intact(head) = &proof {
            let earlier = self.earlier_rows(head.first_id).await?;
            self.add_seal(keys, Kind::Accepted, head, earlier, now).await?;
        }
        Ok(proof)
    }

    async fn add_seal(
        &self,
        keys: &AuditKeys,
        kind: Kind,
        head: &AuditHead,
        earlier: String,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let (row, hash, first) = (head.last_id, head.hash.clone(), head.first_id);
        let (key, mac) = (keys.id().to_owned(), String::new());
        let mut seal = Seal { at: now, kind: kind as i64, row, hash, first, earlier, key, mac };
        seal.mac = keys.mac(&seal.signed());
        let Seal { at, kind, row, hash, first, earlier, key, mac } = seal;
        let mut batch = Batch::new();
        let values = vec![
            at.micros().into(),
            kind.into(),
            row.into(),
            hash.into(),
            first.into(),
            earlier.into(),
            key.into(),
            mac.clone().into(),
        ];
        batch.any(ADD, values);
        self.write(Arc::new(batch)).await?;
        audit_keys::set_newest(&mac);
        Ok(mac)
    }
}
