//! The audit compares store and chain, also while the service is at work.

use std::sync::Arc;

use e2e::{
    anvil::Anvil,
    payer::Draft,
    service::{Home, Service},
};
use futures::{StreamExt as _, stream};

const PAYMENTS: usize = 480;

/// Settles payments, so many at a time.
async fn settle_all(service: Arc<Service>) -> usize {
    let payments = stream::iter(0..PAYMENTS).map(|_| {
        let service = Arc::clone(&service);
        async move { service.decided(&Draft::default().v2()).await.is_good() }
    });
    payments.buffer_unordered(48).filter(|good| std::future::ready(*good)).count().await
}

/// Blocks have what the store has not heard of yet, the store has what was sent since the chain was asked, and nonces
/// go up all the while.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_beside_a_service_at_work_finds_no_difference() {
    let chain = Anvil::start_with(&["--block-time", "1"]).await;
    let home = Home::on(&chain);
    let service = Arc::new(home.serve().await);
    let settled = tokio::spawn(settle_all(Arc::clone(&service)));
    let mut audits = 0;
    while !settled.is_finished() {
        home.assert_audit();
        audits += 1;
    }
    assert_eq!(settled.await.expect("no panic"), PAYMENTS, "{}", home.log());
    assert!(audits > 1, "{audits}");
}
