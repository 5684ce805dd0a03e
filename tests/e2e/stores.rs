//! PostgreSQL keeps what a SQLite file keeps, also where a server does what no file can do to a service.
//!
//! Every other test runs on PostgreSQL with `E2E_STORE=postgres`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC, free_port},
    eventually,
    payer::Draft,
    postgres::Postgres,
    redis::tls::Certificates,
    service::{Home, Stored, text_of},
    stranger::settle_without_blocks,
};
use serde_json::json;

use crate::{crash, engine_archive, engine_finality, engine_unresolved, replay};

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_settles_of_one_payment_succeed_once_on_postgresql() {
    replay::two_hundred_settles_of_one_payment_in_both_versions_succeed_once_in(Stored::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_paid_twice_on_postgresql_when_the_process_is_killed_at_any_moment() {
    crash::nothing_is_lost_or_paid_twice_when_the_process_is_killed_at_any_moment_in(Stored::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_settlement_becomes_final_on_postgresql_also_after_a_restart() {
    engine_finality::every_settlement_becomes_final_when_the_chain_says_so_also_after_a_restart_in(Stored::Postgres)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_settlements_stay_refused_audited_and_found_on_postgresql() {
    engine_archive::archived_settlements_stay_refused_audited_and_found_in(Stored::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_s_word_ends_an_unresolved_settlement_on_postgresql() {
    let stored = Stored::Postgres;
    engine_unresolved::the_operator_s_word_with_a_reason_ends_an_unresolved_settlement_and_overrides_no_proof_in(
        stored,
    )
    .await;
}

/// Scenario 23: the server goes away while a transaction is under way, and the chain forgets that transaction meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_stops_nothing_that_is_under_way_and_begins_nothing_new() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Postgres).server("settle_wait", "1s");
    let service = home.serve().await;
    let under_way = Draft::default().v2();
    settle_without_blocks(&chain, &service, &under_way).await;

    home.postgres().stop();
    let fresh = Draft::default().v2();
    let refused = service.post("/settle", &fresh).await;
    assert_eq!((refused.status, refused.text("errorReason")), (503, "unexpected_settle_error"), "{refused:?}");
    assert_eq!(refused.text("code"), "store_unavailable", "{refused:?}");
    let ready = eventually("/ready says so", || async {
        let ready = service.try_get("/ready").await?;
        (ready.status == 503).then_some(ready)
    })
    .await;
    assert!(ready.body.to_string().contains("store"), "{ready:?}");
    chain.node.call("anvil_dropAllTransactions", json!([])).await;
    chain.node.resume_blocks().await;
    eventually("the stored bytes are sent again from memory", || async {
        (chain.node.transactions_of(GAS_WALLET).await == 1).then_some(())
    })
    .await;
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000, "and the other payment was not sent");

    home.postgres().go_on();
    for body in [&under_way, &fresh] {
        let decided = service.decided(body).await;
        assert!(decided.is_good(), "{decided:?}\n{}", home.log());
    }
    eventually("/ready says so", || async { (service.try_get("/ready").await?.status == 200).then_some(()) }).await;
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2, "no transaction too many");
    home.assert_audit();
}

/// Connections stay open, and nobody answers; then the process is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_says_nothing_makes_nobody_wait_for_long() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Postgres);
    let service = home.serve().await;
    assert!(service.decided(&Draft::default().v2()).await.is_good());
    home.postgres().freeze();
    let fresh = Draft::default().v2();
    let asked = std::time::Instant::now();
    let refused = service.post("/settle", &fresh).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(asked.elapsed() < std::time::Duration::from_secs(15), "{:?}", asked.elapsed());
    service.kill();
    home.postgres().wake();
    let service = home.serve().await;
    assert!(service.decided(&fresh).await.is_good(), "{}", home.log());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2);
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_postgresql_up() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Postgres).section("store", "auto_migrate", false);
    let password = home.path().join("password");
    std::fs::write(&password, "canary-of-a-password\n").expect("written");
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("open to others");
    let home = home.section("store", "password_file", password.display().to_string());
    let open_to_others = text_of(&home.run(&["config", "check"]));
    assert!(open_to_others.contains("store.password_file") && open_to_others.contains("chmod o="), "{open_to_others}");
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("closed");

    let old = home.run(&["serve"]);
    assert!(!old.status.success() && text_of(&old).contains("facilitator migrate"), "{}", text_of(&old));
    let doctor = text_of(&home.run(&["doctor"]));
    assert!(doctor.contains("schema version 0 of 6") && doctor.contains("facilitator migrate"), "{doctor}");
    for said in ["schema version 0 → 6", "already; nothing was done"] {
        let migrated = home.run(&["migrate"]);
        assert!(migrated.status.success() && text_of(&migrated).contains(said), "{}", text_of(&migrated));
    }
    let printed = text_of(&home.run(&["config", "print"]));
    assert!(printed.contains("password_file") && !printed.contains("canary"), "{printed}");

    let service = home.serve().await;
    let settled = service.decided(&Draft::default().v2()).await;
    assert!(settled.is_good(), "{settled:?}");
    let shown = text_of(&home.run(&["settlement", settled.settlement_id()]));
    assert!(shown.contains(settled.text("transaction")), "{shown}");
    let doctor = text_of(&home.run(&["doctor", "--verbose"]));
    let holder = format!("in use by facilitator, process {}", service.id());
    assert!(doctor.contains(&holder) && doctor.contains("schema version 6 of 6"), "{doctor}");
    assert!(!home.log().contains("canary"), "{}", home.log());
    home.assert_audit();
}

/// A server on another machine: by TLS, with a password that stands in a file, and only if it proves who it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_server_that_cannot_prove_who_it_is_is_told_nothing() {
    const PASSWORD: &str = "canary-0123456789";
    let (chain, certificates, others) = (Anvil::start().await, Certificates::default(), Certificates::default());
    let port = free_port();
    let (certificate, key) = (certificates.path("server.pem"), certificates.path("server.key"));
    let server = Postgres::secured(port, &certificate, &key, PASSWORD);
    let file = certificates.path("password");
    fs::write(&file, PASSWORD).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let url = |authority: &Certificates| {
        let authority = authority.path("ca.pem").display().to_string();
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={authority}")
    };
    let home = Home::on(&chain).stored_on_by(server, &url(&certificates)).section(
        "store",
        "password_file",
        file.display().to_string(),
    );
    let service = home.serve().await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good(), "{}", home.log());
    drop(service);
    home.assert_audit();

    let home = home.section("store", "url", url(&others));
    let refused = home.run(&["serve"]);
    let said = text_of(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("certificate") && said.contains(&format!("postgres://127.0.0.1:{port}")), "{said}");
    for text in [said, home.log(), text_of(&home.run(&["doctor"])), text_of(&home.run(&["config", "print"]))] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}
