//! Guarantees about owners: one at a time, told apart, and fenced.

use std::{cell::Cell, time::Duration};

use sqlx::AssertSqlSafe;

use super::{
    server::{OWN, refused},
    *,
};
use crate::{
    settlement::{Transaction, TransactionId},
    store::{
        ApplyError, Change, Fence, HandedOver, Notice, Notices, StoreError,
        connect::inspect,
        contract::leases::instance,
        postgres::{ANSWER_MAX, WritingConnector, open, readers, terms},
        sql::SqlStore,
    },
};

#[tokio::test]
async fn a_second_process_is_refused_and_told_which_is_the_first() {
    let server = Server::fresh();
    let store = server.open().await;
    let refusal = refused(&server.0.url("postgres"), OWN).await;
    let first = format!("facilitator, process {}", std::process::id());
    for part in [first.as_str(), "Stop the other process", "`store.url`"] {
        assert!(refusal.contains(part), "{part:?} in {refusal:?}");
    }
    let seen = inspect(&Location::Postgres(Box::new(server.place()))).await.expect("looked at");
    assert!(seen.holder.is_some_and(|holder| holder.contains(&first)));
    assert_eq!(seen.version, Some(seen.needed));
    store.close().await;
    assert_eq!(inspect(&Location::Postgres(Box::new(server.place()))).await.expect("looked at").holder, None);
    server.open().await.close().await;
}

#[tokio::test]
async fn instances_share_a_database_and_nobody_has_it_for_itself_beside_them() {
    let server = Server::fresh();
    open::migrate(&server.place()).await.expect("migrated");
    let share = Access::Share(Migrations::Require);
    let [first, second] =
        [server.connect(share).await, server.connect(share).await].map(|opened| opened.expect("opened"));
    let refusal = refused(&server.0.url("postgres"), OWN).await;
    assert!(refusal.contains("holds this database") && refusal.contains("Stop the other process"), "{refusal}");
    let seen = inspect(&Location::Postgres(Box::new(server.place()))).await.expect("looked at");
    assert_eq!(seen.holder.map(|holder| holder.split("; ").count()), Some(2));
    first.close().await;
    second.close().await;
    let alone = server.open().await;
    let refusal = refused(&server.0.url("postgres"), share).await;
    assert!(refusal.contains("holds this database"), "{refusal}");
    alone.close().await;
    server.connect(share).await.expect("opened").close().await;
}

#[tokio::test]
async fn whoever_lost_a_wallet_while_it_had_no_connection_writes_nothing_of_it_any_more() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let cut = "SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory'";
    let mut session = server.session().await;
    sqlx::query(cut).execute(&mut session).await.expect("cut");
    let other = server.open().await;
    other.own_wallet(&network(), "w", "another process").await.expect("owned");
    let one = begun_as(facts(1), 1);
    // The connection is gone, and then the lock is.
    for _ in 0..2 {
        let refused = store.apply_under(Some(&fence(1)), one.begin(), AT).await;
        assert!(matches!(refused, Err(ApplyError::Store(_))), "{refused:?}");
    }
    assert!(matches!(store.check().await, Err(StoreError::Taken(_))), "it says so");
    other.close().await;
    let late = store.apply_under(Some(&fence(1)), one.begin(), AT).await;
    assert!(matches!(late, Err(ApplyError::EpochOver)), "{late:?}");
    store.check().await.expect("it answers again");
    store.close().await;
}

/// Another process that claims a payment between a look-up and a commit.
#[tokio::test]
async fn a_payment_that_another_process_claims_meanwhile_is_claimed_once() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let payments = [1, 2].map(|number| begun_as(facts(number), number));
    let mut other = server.session().await;
    sqlx::raw_sql("BEGIN").execute(&mut other).await.expect("begun");
    let claim = "INSERT INTO settlement (id, identity, fingerprint, tenant, request_id, state, network, scheme, payer, \
         pay_to, asset, amount, nonce, claimed_block, created_at, updated_at) VALUES ($1, $2, '', '', 'r', 'signed', \
         'eip155:1', 'exact', 'p', 'p', 'a', '1', '1', 1, 1, 1)";
    let claim = sqlx::query(claim).bind(TransactionId::fresh().0).bind(payments[0].facts.identity.as_bytes().to_vec());
    claim.execute(&mut other).await.expect("claimed");
    let (claimed_here, ()) = tokio::join!(store.apply(payments.iter().flat_map(Begun::begin).collect(), AT), async {
        // Until the store's insertion waits for this one.
        let waits = "SELECT count(*) FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock'";
        let mut watcher = server.session().await;
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watcher).await.expect("read") == 0 {}
        sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("committed");
    });
    assert_eq!(claimed(claimed_here), [payments[0].id()], "it is told which one");
    assert!(store.record(payments[1].id()).await.expect("read").is_none(), "nothing of the call is stored");
    apply(&*store, payments[1].begin()).await;
    store.close().await;
}

/// The time for which wallets are stolen.
const THEFT: Duration = Duration::from_secs(3);

/// Several processes on one database, without the lock that keeps all but one out.
async fn thief(server: &Server) -> SqlStore {
    let way = server.place().direct(terms(ANSWER_MAX));
    let connection = way.connect().await.expect("connected");
    SqlStore::owning(readers(&server.place()), Arc::new(WritingConnector { way, used: None }), connection)
}

/// Takes the wallet, and gives out its nonces until somebody else has it.
/// Returns the number of times that it was taken.
async fn steal(store: &SqlStore, name: &str, number: u64) -> u64 {
    let (mut taken, mut payment, began) = (0, number << 32, std::time::Instant::now());
    while began.elapsed() < THEFT {
        let epoch = store.own_wallet(&network(), "w", name).await.expect("owned");
        taken += 1;
        // In a later statement: it sees whatever the owner before has committed.
        let highest = store.highest_nonce(&network(), "w").await.expect("read");
        for nonce in (highest.map_or(0, |nonce| nonce + 1)..).take(5) {
            payment += 1;
            let one = begun_as(facts(payment), nonce);
            let carry = Change::Carry(Transaction { epoch, ..one.transaction });
            let fence = Fence { owner: name.into(), ..fence(epoch) };
            match store.apply_under(Some(&fence), vec![claim(&one.facts), carry], AT).await {
                Ok(_) => {}
                Err(ApplyError::EpochOver) => break,
                Err(error) => panic!("nonce {nonce} of epoch {epoch}: {error}"),
            }
        }
    }
    taken
}

/// A wallet that changes hands without pause: each nonce is given out once, none
/// is left out, and none by an owner whose epoch was over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_that_is_stolen_again_and_again_gives_each_nonce_out_once() {
    let server = Server::fresh();
    open::migrate(&server.place()).await.expect("migrated");
    let thieves = [thief(&server).await, thief(&server).await, thief(&server).await];
    let [first, second, third] = &thieves;
    let taken = tokio::join!(steal(first, "first", 1), steal(second, "second", 2), steal(third, "third", 3));
    let taken = taken.0 + taken.1 + taken.2;
    let placed = "SELECT t.nonce, t.epoch FROM wallet_transaction t ORDER BY t.nonce";
    let mut session = server.session().await;
    let placed: Vec<(i64, i64)> = sqlx::query_as(placed).fetch_all(&mut session).await.expect("read");
    assert!(taken > 20 && placed.len() > 20, "{taken} times, {} nonces", placed.len());
    assert!((0..).zip(&placed).all(|(place, (nonce, _))| place == *nonce), "no gap");
    assert!(placed.is_sorted_by_key(|(_, epoch)| *epoch), "no older epoch above a newer one");
    for store in thieves {
        store.close().await;
    }
}

/// An end that one process stores is noticed by the others, and a server that went
/// away is listened to again.
#[tokio::test]
async fn an_end_and_a_hand_over_are_noticed_in_other_processes_and_who_hears_nothing_knows_it() {
    let server = Server::fresh();
    open::migrate(&server.place()).await.expect("migrated");
    let share = Access::Share(Migrations::Require);
    let [here, there] =
        [server.connect(share).await, server.connect(share).await].map(|opened| opened.expect("opened"));
    here.own_wallet(&network(), "w", "the test").await.expect("owned");
    let Notices { ended: mut notices, mut work } = there.notices();
    let listens = |notice: &Notice| notice.gives_notice;
    let before = notices.wait_for(listens).await.expect("it listens").number;
    let [one, two] = begun(&*here).await;
    assert_eq!(there.open_of(&[one.id(), two.id()]).await.expect("read").len(), 2);
    here.apply_under(Some(&fence(1)), vec![one.settle()], AT).await.expect("settled");
    notices.wait_for(|notice| notice.number > before).await.expect("noticed");
    assert_eq!(there.open_of(&[one.id(), two.id()]).await.expect("read"), [two.id()]);
    let (before, ended) = (work.wait_for(listens).await.expect("it listens").number, notices.borrow().number);
    here.renew_leases(&instance("here", 1)).await.expect("announced");
    let payment = HandedOver { facts: facts(3).into(), plan: plan(), wait: Duration::from_mins(1) };
    let id = payment.facts.id;
    assert!(here.hand_over(payment, "here").await.expect("handed over"));
    work.wait_for(|notice| notice.number > before).await.expect("noticed");
    assert_eq!(notices.borrow().number, ended, "nothing has ended");
    assert!(there.withdraw(id, "there").await.expect("withdrawn"));
    notices.wait_for(|notice| notice.number > ended).await.expect("noticed");
    server.0.stop();
    notices.wait_for(|notice| !notice.gives_notice).await.expect("it knows");
    server.0.go_on();
    notices.wait_for(listens).await.expect("it listens again");
    for store in [here, there] {
        store.close().await;
    }
}

/// Two processes that claim the same payments in opposite orders: neither waits
/// for the other in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_claims_the_same_payments_in_another_order_waits_in_no_circle() {
    let server = Server::fresh();
    open::migrate(&server.place()).await.expect("migrated");
    let [first, second] = [thief(&server).await, thief(&server).await];
    let claims = |from: u64, backwards: bool| {
        let mut claims: Vec<_> = (from..from + 200).map(|number| claim(&facts(number))).collect();
        if backwards {
            claims.reverse();
        }
        claims
    };
    for round in 0..10 {
        let (ahead, back) = (claims(round * 200, false), claims(round * 200, true));
        let (ahead, back) = tokio::join!(first.apply(ahead, AT), second.apply(back, AT));
        let lost = [&ahead, &back].into_iter().filter(|done| matches!(done, Err(ApplyError::Claimed(_)))).count();
        assert!(ahead.is_ok() != back.is_ok() && lost == 1, "round {round}: {ahead:?} {back:?}");
    }
    let deadlocks = "SELECT pg_stat_force_next_flush(), d.deadlocks FROM pg_stat_database d \
         WHERE d.datname = current_database()";
    first.close().await;
    second.close().await;
    let mut session = server.session().await;
    let row = sqlx::query(deadlocks).fetch_one(&mut session).await.expect("read");
    assert_eq!(sqlx::Row::get::<i64, _>(&row, 1), 0);
}

/// A commit whose answer is lost may still be on its way. Whoever withdraws what it hands over waits for it.
#[tokio::test]
async fn a_hand_over_that_is_being_stored_is_over_when_it_was_withdrawn() {
    let server = Server::fresh();
    open::migrate(&server.place()).await.expect("migrated");
    let store = server.connect(Access::Share(Migrations::Require)).await.expect("opened");
    store.renew_leases(&instance("here", 1)).await.expect("announced");
    let payment = HandedOver { facts: facts(1).into(), plan: plan(), wait: Duration::from_mins(1) };
    let id = payment.facts.id;
    let (mut beside, mut looking) = (server.session().await, server.session().await);
    for (held, hands_over) in [("FOR NO KEY UPDATE", true), ("FOR SHARE", false)] {
        let hold = format!("BEGIN; SELECT 1 FROM instance WHERE id = 'here' {held}");
        sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut beside).await.expect("held");
        let is_answered = Cell::new(false);
        let asked = async {
            let payment = payment.clone();
            let done =
                if hands_over { store.hand_over(payment, "here").await } else { store.withdraw(id, "here").await };
            is_answered.set(true);
            done.expect("stored")
        };
        let lets_go = async {
            let waiting = "SELECT EXISTS (SELECT 1 FROM pg_locks l WHERE NOT l.granted)";
            while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&mut looking).await.expect("read") {
                assert!(!is_answered.get(), "it waits for whoever holds the row {held}");
                tokio::task::yield_now().await;
            }
            sqlx::raw_sql("COMMIT").execute(&mut beside).await.expect("let go");
        };
        let (done, ()) = tokio::join!(asked, lets_go);
        assert!(done);
    }
    store.close().await;
}
