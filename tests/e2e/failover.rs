//! A database that fails over to a replica which lacks the newest commits.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use e2e::{
    anvil::{Anvil, PAYEE, USDC},
    eventually,
    nemesis::{
        link::{Link, State, Target},
        replica,
    },
    payer::Draft,
    service::{Home, Stored},
    stranger::settle_without_blocks,
};
use tempfile::TempDir;

/// A way to a server, from a socket that every user may open.
fn way(to: &str) -> (TempDir, Arc<Link>, String) {
    // The path of a socket has a hundred letters at most.
    let folder = tempfile::Builder::new().prefix("way").tempdir_in("/tmp").expect("a folder");
    let socket = folder.path().join(".s.PGSQL.5432");
    let link = Link::from_socket(&socket, Target::of_database(to));
    open_to_all(folder.path());
    open_to_all(&socket);
    let url = format!("postgres:///postgres?host={}&user=postgres", folder.path().display());
    (folder, link, url)
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("its mode is changed");
}

/// The bytes of a payment are in the pool, and the store has lost them: their nonce looks free, and the payment new.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_loses_commits_is_told_of_and_pays_nothing_twice() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Postgres).server("settle_wait", "1s");
    let primary = home.shared_postgres();
    let (_folder, to_primary, url) = way(&primary.url("postgres"));
    let home = home.section("store", "url", url);
    let mut service = home.serve().await;
    let (_other_folder, to_replica, url) = way(&primary.url("postgres"));
    let replica = tokio::task::block_in_place(|| replica::follow(&url));
    let kept = Draft::default().v2();
    assert!(service.decided(&kept).await.is_good());
    eventually("the replica has it", || async {
        (replica.execute("SELECT count(*) FROM settlement WHERE delivered_at IS NOT NULL") == "1").then_some(())
    })
    .await;

    to_replica.set(State::Cut);
    let lost = Draft::default().v2();
    let (id, _) = settle_without_blocks(&chain, &service, &lost).await;
    primary.stop();
    replica::promote(&replica);
    to_primary.lead_to(Target::of_database(&replica.url("postgres")));
    let code = eventually("it ends by itself", || std::future::ready(service.exit_code())).await;
    assert_eq!(code, 1, "{}", home.log());
    assert!(home.log().contains("a failover or a restored backup may have lost commits"), "{}", home.log());

    let service = home.serve().await;
    assert_eq!(service.settlement(&id).await.status, 404, "it is lost");
    let fresh = Draft::default().v2();
    for body in [&fresh, &lost] {
        let asked = service.post("/settle", body).await;
        assert_eq!(asked.text("errorReason"), "settlement_pending", "{asked:?}\n{}", home.log());
    }
    chain.node.resume_blocks().await;
    for body in [&lost, &fresh] {
        let decided = service.decided(body).await;
        assert!(decided.is_good(), "{decided:?}\n{}", home.log());
    }
    for body in [&kept, &lost, &fresh] {
        let again = service.decided(body).await;
        assert_eq!(again.text("errorReason"), "duplicate_settlement", "{again:?}");
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 30_000, "each has paid once");
    assert!(home.log().contains("another transaction took the nonce of this payment's"), "{}", home.log());
    let (code, text) = home.audit();
    let named = text.contains("the chain shows a foreign transaction in its place") && text.contains("\n1 differences");
    assert!(code != 0 && named, "{text}");
}
