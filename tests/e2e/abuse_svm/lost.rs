//! Payments that never land, by the hundred.

use std::time::Instant;

use chains_svm::{
    exact::transaction::Transaction,
    local::{Payer, Pubkey},
};
use e2e::{eventually, node::Node, proxy::Proxy, service::Answer, svm::Draft, throwaway, validator::Validator};
use futures::future::{join, join_all};
use serde_json::{Value, json};

use super::serve;

/// Slots of 100 ms.
const TICKS_PER_SLOT: u32 = 16;

/// Keys that bring payments which no leader gets, and the payments of each.
const KEYS: u64 = 60;
const PAYMENTS: u64 = 10;

/// Slots for which the sends are counted: ten seconds, or more on a slow machine.
const SLOTS: u64 = 100;

/// Transactions that are sent again in a second, and at once.
const AGAIN_A_SECOND: u128 = 40;
const AGAIN_AT_ONCE: u128 = 40;
/// The places of strangers: each is sent for the first time once.
const PLACES: usize = 175;

/// Returns the key that signed a transaction beside the fee payer.
fn payer_of(params: &Value) -> Option<Pubkey> {
    Transaction::decode(params[0].as_str()?).ok()?.signers().get(1).copied()
}

async fn slot(node: &Node) -> u64 {
    node.call("getSlot", json!([])).await.as_u64().expect("a slot")
}

/// F33: none of 600 payments lands. What is sent again is bounded however many there are, no key has more under
/// way than it may fail, and those of payers who have paid before settle meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_that_never_land_are_sent_again_ever_more_rarely_and_keep_nobody_from_paying() {
    let validator = Validator::start_among(TICKS_PER_SLOT, |genesis| throwaway::fund(genesis, KEYS)).await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let (home, service) = serve(&validator, &proxy.url).await;
    let pay = async || service.post("/settle", &Draft::of(Payer::numbered(0)).body(&validator.chain, 2).await).await;
    assert!(pay().await.is_good(), "{}", home.log());
    let honest = Payer::numbered(0).address();
    proxy.refuse_when("sendTransaction", move |params| {
        let is_lost = payer_of(params) != Some(honest);
        is_lost.then(|| (-32_005, "Node is behind by 60 slots".to_owned()))
    });
    let bodies = join_all((0..KEYS * PAYMENTS).map(async |number| {
        let mut draft = Draft::of(throwaway::key(number % KEYS));
        draft.order.amount = 1_000;
        draft.body(&validator.chain, 2).await
    }));
    let bodies = bodies.await;
    let lost = join_all(bodies.iter().map(|body| service.post("/settle", body)));
    let meanwhile = async {
        let node = Node::at(validator.chain.url());
        eventually("they are sent", || async { (proxy.calls("sendTransaction") > 100).then_some(()) }).await;
        let (from, began, first) = (proxy.calls("sendTransaction"), Instant::now(), slot(&node).await);
        let mut paid = vec![];
        while slot(&node).await < first + SLOTS {
            paid.push(pay().await);
        }
        (u128::from(proxy.calls("sendTransaction") - from), began.elapsed(), paid)
    };
    let (answers, (sends, time, paid)) = join(lost, meanwhile).await;
    let bad = paid.iter().find(|answer| !answer.is_good());
    assert!(bad.is_none() && paid.len() > 3, "{} payments: {bad:?}\n{}", paid.len(), home.log());
    let under_way = answers.iter().filter(|answer| !answer.text("transaction").is_empty()).count();
    assert!(under_way <= PLACES, "{under_way} have places");
    let again = time.as_millis() * AGAIN_A_SECOND / 1000 + AGAIN_AT_ONCE;
    let first = u128::try_from(PLACES + paid.len()).expect("small");
    assert!(sends <= again + first, "{sends} sends in {time:?}");
    assert!(answers.iter().all(|answer: &Answer| !answer.is_good()));
}
