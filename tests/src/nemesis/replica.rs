//! A streaming replica of a server, which takes its place.

use crate::postgres::{Postgres, as_user, bin, hand_over, run};

/// Starts a replica that follows the server at this URL.
///
/// # Panics
/// If it does not start.
pub fn follow(url: &str) -> Postgres {
    let folder = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").expect("a folder");
    hand_over(folder.path());
    let mut backup = as_user(&bin("pg_basebackup"));
    backup.args(["--checkpoint=fast", "--write-recovery-conf", "--dbname", url]);
    run(backup.arg("--pgdata").arg(folder.path().join("data")));
    Postgres::run_in(folder, &["commit_siblings=0"])
}

/// Has commits of a server wait for a replica; none that was answered is lost with the server then.
///
/// # Panics
/// If the server refuses.
pub fn need_quorum(primary: &Postgres) {
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'");
    primary.execute("SELECT pg_reload_conf()");
}

/// Has a replica take writes, with a history of its own from then on.
///
/// # Panics
/// If it does not.
pub fn promote(replica: &Postgres) {
    assert_eq!(replica.execute("SELECT pg_promote()"), "t");
}
