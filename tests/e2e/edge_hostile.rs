//! The load test in short: honest callers beside strangers nine times as many.

use std::{sync::Arc, time::Duration};

use e2e::{
    anvil::{Anvil, GAS_WALLET},
    hostile::{
        self, Load, Strangers,
        kinds::{KINDS, Stock},
    },
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::Home,
};

/// E10, B12, J: the figures of a long run on a release build are the benchmark's.
#[tokio::test(flavor = "multi_thread")]
async fn honest_callers_are_served_beside_strangers_nine_times_as_many() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    proxy.fail("eth_call", Fault::Delay(Duration::from_millis(20)), Times::Always);
    let home = Home::on(&chain).rpc(&[&proxy.url]).network("in_flight_max", 256).server("connections_max", 200);
    let service = home.serve().await;
    let settled = Draft::default().v2();
    assert!(service.post("/settle", &settled).await.is_good());
    let stock = Arc::new(Stock::new(settled.to_string()));
    let load = Load { honest_per_second: 10, hostile_per_second: 90, held: 300, time: Duration::from_secs(8) };
    let strangers = Strangers::start(&service.url, load, &KINDS, &stock);
    let honest = hostile::honest(&service.url, load).await;
    let hostile = strangers.stop().await;
    assert!(hostile > 200, "{hostile} requests of strangers");
    assert_eq!(honest.good, honest.asked, "{:?}\n{}", honest.first_bad, home.log());
    let transactions = u128::from(honest.settled) + 1;
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, transactions, "bad input spends no gas");
    let footprint = service.footprint();
    assert!(footprint.resident_kib < 256 * 1024 && footprint.descriptors < 400, "{footprint:?}");
    home.assert_audit();
}
