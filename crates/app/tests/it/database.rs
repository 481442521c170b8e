//! A database of PostgreSQL for one test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A database of one's own in the cluster that `cargo xtask test` started.
pub(crate) struct Database {
    base: String,
    name: String,
    /// Whether it goes when this does.
    owned: bool,
}

impl Database {
    pub(crate) fn create() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let base = std::env::var("WATCHPOST_TEST_POSTGRES")
            .expect("PostgreSQL is needed for this test: run `cargo xtask test`");
        let name = format!("app_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let database = Self { base, name, owned: true };
        database.administer(&format!("CREATE DATABASE {}", database.name));
        database
    }

    /// A database that is there, in another cluster.
    pub(crate) fn at(base: &str, name: &str) -> Self {
        Self { base: base.to_owned(), name: name.to_owned(), owned: false }
    }

    /// This database, or the one at another port when this one is gone.
    pub(crate) fn or(&self, port: u16) -> Self {
        let name = format!("{}?target_session_attrs=read-write", self.name);
        Self { base: format!("{},127.0.0.1:{port}", self.base), name, owned: false }
    }

    /// Where its cluster listens.
    pub(crate) fn place(&self) -> String {
        self.base.rsplit('@').next().unwrap().to_owned()
    }

    /// This database, by way of another port of this machine.
    pub(crate) fn through(&self, port: u16) -> Self {
        let (user, _) = self.base.rsplit_once('@').unwrap();
        Self { base: format!("{user}@127.0.0.1:{port}"), name: self.name.clone(), owned: false }
    }

    /// The same database, for somebody who leaves it there.
    pub(crate) fn again(&self) -> Self {
        Self { base: self.base.clone(), name: self.name.clone(), owned: false }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.base, self.name)
    }

    /// Runs statements as the cluster's owner, outside the database.
    pub(crate) fn administer(&self, statements: &str) {
        execute(&format!("{}/postgres", self.base), statements);
    }

    /// Runs statements in the database.
    pub(crate) fn run(&self, statements: &str) {
        execute(&self.url(), statements);
    }
}

impl Database {
    /// Runs statements on a connection of its own, which stays until the answer is called.
    pub(crate) fn hold(&self, statements: &'static str) -> Box<dyn FnOnce()> {
        let (url, (ready, begun), (done, wait)) =
            (self.url(), std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let holder = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let (client, connection) =
                    tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(statements).await.unwrap();
                ready.send(()).unwrap();
                wait.recv().ok();
            });
        });
        begun.recv().unwrap();
        Box::new(move || {
            drop(done);
            holder.join().unwrap();
        })
    }

    /// The number that a query gives.
    pub(crate) fn count(&self, query: &str) -> i64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.query_one(query, &[]).await.unwrap().get(0)
        })
    }

    /// Waits until nobody is at work and no transaction is open; fails when one stays so.
    pub(crate) fn wait_until_idle(&self) {
        let busy = "SELECT COUNT(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() AND datname = current_database()";
        let late = Instant::now() + Duration::from_secs(30);
        while self.count(busy) > 0 {
            assert!(Instant::now() < late, "a transaction was left open");
        }
    }
}

/// The text that a query gives.
pub(crate) fn answer(url: &str, query: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.query_one(query, &[]).await.unwrap().get(0)
    })
}

fn execute(url: &str, statements: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(statements).await.unwrap();
    });
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.owned && !std::thread::panicking() {
            self.administer(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}
