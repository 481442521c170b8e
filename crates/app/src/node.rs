//! What this server says about itself in the database, so that people see which nodes run and what each knows.

use std::net::SocketAddr;
use std::time::Duration;
use watchpost_pipeline::now;
use watchpost_store::{Db, Engine, NODE_SEEN_EVERY_SECONDS, Node, StoreError};

/// Characters of a node's id: unique among runs, not secret.
const ID_CHARS: usize = 16;
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Registers the node that begins to serve, and names the ones that no longer may write.
pub(crate) async fn register(db: &Db, address: SocketAddr) -> Result<Node, StoreError> {
    let name = format!("{}:{}", machine(), address.port());
    let id = watchpost_web::random_secret(ID_CHARS);
    let node = Node::starting(id, name, env!("CARGO_PKG_VERSION"), now());
    db.report_node(&node, now()).await?;
    let least = db.least_step().await?;
    for other in db.nodes(now()).await?.iter().filter(|other| other.step < least) {
        tracing::warn!(
            node = other.name,
            version = other.version,
            "a node is older than the schema needs: it writes nothing until it is upgraded"
        );
    }
    Ok(node)
}

/// Goes on saying that the node runs, until it is dropped. On SQLite there is no other to tell.
pub(crate) async fn keep(db: Db, node: Node) {
    if db.engine() == Engine::Sqlite {
        return;
    }
    let every = Duration::from_secs(NODE_SEEN_EVERY_SECONDS.unsigned_abs());
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = db.report_node(&node, now()).await {
            tracing::debug!(%error, "that this node runs could not be said");
        }
    }
}

/// Says that the node stops, unless the database is slow to hear it: then its silence says so.
pub(crate) async fn leave(db: &Db, node: &Node) {
    tokio::time::timeout(LEAVE_WITHIN, db.forget_node(node)).await.ok();
}

/// The machine's name.
fn machine() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| std::env::var("COMPUTERNAME").ok()).unwrap_or_default();
    match told.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
