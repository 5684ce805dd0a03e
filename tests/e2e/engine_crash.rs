//! `kill -9` between every two effects of a settlement: commit, send, answer, look, commit, answer.
//!
//! The simulation crashes at any await of the engine; here the same is done to the real process, store and sender,
//! at each moment by itself.

use std::time::Duration;

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    eventually,
    node::parse_quantity,
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::{Answer, Home, Service, Stored},
    stranger::SEND,
};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::task::JoinHandle;

/// Longer than any test.
const HELD: Duration = Duration::from_mins(5);

const RECEIPT: &str = "eth_getTransactionReceipt";

/// The caller's proof that it asks again.
const KEY: &str = "the-key-of-the-caller-1";

/// A moment between two effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The bytes are signed; their commit is under way.
    Signed,
    /// They are stored; their send is under way.
    Stored,
    /// A node has taken them; its answer is under way.
    Sent,
    /// A block has them; the look at it is not answered.
    Included,
    /// The look is answered; the commit of the end is under way.
    Seen,
    /// The end is stored, and given to the caller, who does not hear of it.
    Ended,
}

impl Moment {
    const ALL: [Self; 6] = [Self::Signed, Self::Stored, Self::Sent, Self::Included, Self::Seen, Self::Ended];

    /// Returns true when a success was given to the caller in the commit of the end.
    fn is_given(self) -> bool {
        self == Self::Ended
    }
}

/// A chain, a node before it that holds calls back, and a service.
struct Rig {
    chain: Anvil,
    proxy: Proxy,
    home: Home,
}

impl Rig {
    async fn start() -> Self {
        let chain = Anvil::start().await;
        let proxy = Proxy::before(&chain.node.url).await;
        let home = Home::on(&chain).stored_in(Stored::Sqlite).rpc(&[&proxy.url]);
        Self { chain, proxy, home }
    }

    async fn store(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", self.home.database().display());
        SqliteConnection::connect(&url).await.expect("opened")
    }

    /// The lock that a commit takes, in other hands.
    async fn lock(&self) -> SqliteConnection {
        let mut other = self.store().await;
        other.execute("BEGIN IMMEDIATE").await.expect("the lock of the only writer");
        other
    }

    async fn waiting(&self) -> u128 {
        parse_quantity(&self.chain.node.call("txpool_status", json!([])).await["pending"])
    }

    async fn called(&self, method: &str) {
        eventually(&format!("{method} is called"), || async { (self.proxy.calls(method) > 0).then_some(()) }).await;
    }

    async fn has_taken_it(&self) {
        eventually("the node has taken it", || async { (self.waiting().await == 1).then_some(()) }).await;
    }

    /// Has a payment settled up to this moment, and kills the service there.
    async fn kill_at(&self, moment: Moment, service: Service, body: &Value) {
        let asked = ask(&service, body);
        match moment {
            Moment::Signed => {}
            Moment::Stored => {
                self.called(SEND).await;
                assert_eq!(self.waiting().await, 0, "the node has not got it");
            }
            Moment::Sent => self.has_taken_it().await,
            Moment::Included => self.called(RECEIPT).await,
            Moment::Seen | Moment::Ended => {
                self.has_taken_it().await;
                let mut lock = self.lock().await;
                self.chain.node.resume_blocks().await;
                self.called(RECEIPT).await;
                let newest = self.chain.node.quantity("eth_blockNumber", json!([])).await;
                let later = async || self.chain.node.quantity("eth_blockNumber", json!([])).await > newest + 1;
                eventually("the look is answered", || async { later().await.then_some(()) }).await;
                if moment == Moment::Ended {
                    lock.execute("ROLLBACK").await.expect("given back");
                    self.is_given().await;
                }
            }
        }
        service.kill();
        asked.abort();
    }

    /// Waits until the store has given the success away.
    async fn is_given(&self) {
        eventually("the success is given", || async {
            let given = "SELECT count(*) FROM settlement WHERE delivered_at IS NOT NULL";
            let given: i64 = sqlx::query_scalar(given).fetch_one(&mut self.store().await).await.expect("read");
            (given == 1).then_some(())
        })
        .await;
    }
}

/// Asks for a payment to be settled, beside the test.
fn ask(service: &Service, body: &Value) -> JoinHandle<Option<reqwest::Response>> {
    let (client, url, body) = (e2e::http_client(), service.url.clone(), body.clone());
    tokio::spawn(async move {
        client.post(format!("{url}/settle")).header("idempotency-key", KEY).json(&body).send().await.ok()
    })
}

async fn settled_once(rig: &Rig, moment: Moment, service: &Service, body: &Value) {
    let told = |answer: &Answer| format!("{moment:?}: {answer:?}\n{}", rig.home.log());
    let stranger = service.decided(body).await;
    let caller = service.decided_for(body, Some(KEY)).await;
    let (given, refused) = if moment.is_given() { (&caller, &stranger) } else { (&stranger, &caller) };
    assert!(given.is_good(), "{}", told(given));
    assert_eq!(refused.text("errorReason"), "duplicate_settlement", "{}", told(refused));
    assert_eq!(refused.text("transaction"), given.text("transaction"), "{moment:?}");
    assert_eq!(rig.chain.node.transactions_of(GAS_WALLET).await, 1, "{moment:?}");
    assert_eq!(rig.chain.node.token_balance(USDC, PAYEE).await, 10_000, "{moment:?}");
}

/// Scenarios 3 to 6: whoever asks first after the start is given the success once, but where it was given before.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_effects_a_payment_is_made_once_and_its_success_given_once() {
    for moment in Moment::ALL {
        let rig = Rig::start().await;
        let service = rig.home.serve().await;
        match moment {
            Moment::Signed => {}
            Moment::Stored => rig.proxy.fail(SEND, Fault::Delay(HELD), Times::Always),
            Moment::Sent => {
                rig.chain.node.stop_blocks().await;
                rig.proxy.fail(SEND, Fault::DelayAnswer(HELD), Times::Always);
            }
            Moment::Included => rig.proxy.fail(RECEIPT, Fault::DelayAnswer(HELD), Times::Always),
            Moment::Seen | Moment::Ended => rig.chain.node.stop_blocks().await,
        }
        let body = Draft::default().v2();
        if moment == Moment::Signed {
            signed_and_killed(&rig, service, &body).await;
        } else {
            rig.kill_at(moment, service, &body).await;
        }
        rig.proxy.heal();
        rig.chain.node.resume_blocks().await;
        let service = rig.home.serve().await;
        settled_once(&rig, moment, &service, &body).await;
        drop(service);
        rig.home.assert_audit();
    }
}

/// Kills the service while the commit of signed bytes waits: nothing of it was sent, and nothing is stored.
async fn signed_and_killed(rig: &Rig, service: Service, body: &Value) {
    let mut lock = rig.lock().await;
    let asked = ask(&service, body);
    let verified = async || (rig.proxy.calls("eth_call") > 0).then_some(());
    eventually("it is verified", verified).await;
    // A commit that waits for the lock for so long has been asked for long ago.
    let newest = rig.chain.node.quantity("eth_blockNumber", json!([])).await;
    let later = async || rig.chain.node.quantity("eth_blockNumber", json!([])).await > newest + 1;
    eventually("two more blocks", || async { later().await.then_some(()) }).await;
    assert_eq!((rig.proxy.calls(SEND), rig.waiting().await), (0, 0), "bytes are stored before they are sent");
    service.kill();
    asked.abort();
    lock.execute("ROLLBACK").await.expect("given back");
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM settlement").fetch_one(&mut lock).await.expect("read");
    assert_eq!(stored, 0, "nothing of it is stored");
}

/// Scenario 12: the pool has thrown it away, whose node had taken it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_a_pool_has_dropped_is_sent_again_as_it_was_and_pays() {
    let rig = Rig::start().await;
    let service = rig.home.serve().await;
    rig.chain.node.stop_blocks().await;
    let body = Draft::default().v2();
    let asked = ask(&service, &body);
    rig.has_taken_it().await;
    let pending = rig.chain.node.call("eth_getBlockByNumber", json!(["pending", false])).await;
    rig.chain.node.call("anvil_dropAllTransactions", json!([])).await;
    let sent = rig.proxy.calls(SEND);
    rig.chain.node.resume_blocks().await;
    let settled = asked.await.expect("no panic").expect("an answer").json::<Value>().await.expect("JSON");
    assert_eq!(settled["success"], true, "{settled}\n{}", rig.home.log());
    assert!(rig.proxy.calls(SEND) > sent, "it was sent again");
    assert_eq!(settled["transaction"], pending["transactions"][0], "the same bytes");
    assert_eq!(rig.chain.node.transactions_of(GAS_WALLET).await, 1);
    drop(service);
    rig.home.assert_audit();
}
