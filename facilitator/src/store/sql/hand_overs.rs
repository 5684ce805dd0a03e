//! The payments that instances hand over to each other, in tables.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chains_core::{Identity, Network};

use super::{
    SqlStore,
    database::Row,
    row::{self, Reader},
    statement::{Dialect, Statement},
    write::OfferCall,
    writer::Request,
};
use crate::{
    settlement::{Facts, SettlementId},
    store::{HandOvers, HandedOver, StoreError, Waiting},
};

/// The columns that hold the facts of a payment.
pub(super) const FACTS: &str = "id, identity, fingerprint, tenant, idempotency_key, request_id, network, scheme, \
     payer, payer_code, pay_to, asset, amount, nonce, claimed_block, created_at";

/// The condition of a payment that an owner may take: it is waited for, the wallet that it needs is the
/// owner's, and nobody has it in his queue who still owns a wallet. The owner is `$1`, the network `$2`.
pub(super) fn may_be_taken(dialect: Dialect) -> String {
    format!(
        "h.network = $2 AND h.wanted_until > {} AND (h.gas_wallet IS NULL OR EXISTS (SELECT 1 FROM wallet_owner o \
         WHERE o.network = h.network AND o.gas_wallet = h.gas_wallet AND o.owner = $1)) AND NOT EXISTS \
         (SELECT 1 FROM wallet_owner o WHERE o.network = h.network AND o.owner = h.taken_by AND o.gas_wallet <> '')",
        dialect.now()
    )
}

impl SqlStore {
    async fn offer(&self, call: OfferCall) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Offer { call, answer }).await
    }
}

#[async_trait]
impl HandOvers for SqlStore {
    async fn hand_over(&self, payment: HandedOver, instance: &str) -> Result<bool, StoreError> {
        self.offer(OfferCall::Make { payment: Box::new(payment), instance: instance.to_owned() }).await
    }

    async fn take_handed_over(
        &self,
        network: &Network,
        owner: &str,
        limit: u32,
    ) -> Result<Vec<HandedOver>, StoreError> {
        let (network, owner) = (network.as_str().to_owned(), owner.to_owned());
        self.ask(|answer| Request::TakeOffers { network, owner, limit, answer }).await
    }

    async fn may_take_handed_over(&self, network: &Network, owner: &str) -> Result<bool, StoreError> {
        let query = Statement::of(
            self.readers.dialect(),
            may_take(self.readers.dialect()),
            [owner.into(), network.as_str().into()],
        );
        Ok(self.readers.first(query).await?.is_some())
    }

    async fn let_go(&self, id: Option<SettlementId>, owner: &str) -> Result<(), StoreError> {
        self.offer(OfferCall::LetGo { id, owner: owner.to_owned() }).await.map(|_| ())
    }

    async fn withdraw(&self, id: SettlementId, instance: &str) -> Result<bool, StoreError> {
        self.offer(OfferCall::Withdraw { id, instance: instance.to_owned() }).await
    }

    async fn handed_over(&self, identity: &Identity) -> Result<Option<Arc<Facts>>, StoreError> {
        let sql = by_identity(self.readers.dialect());
        let query = Statement::of(self.readers.dialect(), sql, [identity.as_bytes().as_slice().into()]);
        let found = self.readers.first(query).await?;
        found.map(|row| Ok(row::facts(&Reader::new(&row, "handed_over", "id"))?.into())).transpose()
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        let sql = waiting(self.list_readers.dialect());
        let rows = self.list_readers.all(Statement::new(self.list_readers.dialect(), sql)).await?;
        let mut waiting: Vec<Waiting> = vec![];
        for row in &rows {
            let read = Reader::new(row, "handed_over", "id");
            let (network, gas_wallet) = (read.parsed("network")?, read.maybe_text("gas_wallet")?);
            match waiting.iter_mut().find(|one| one.network == network && one.gas_wallet == gas_wallet) {
                Some(there) => there.count += 1,
                None => waiting.push(Waiting { network, gas_wallet, count: 1, oldest: read.settlement("id")? }),
            }
        }
        Ok(waiting)
    }
}

fn may_take(dialect: Dialect) -> String {
    format!("SELECT 1 FROM handed_over h WHERE {} LIMIT 1", may_be_taken(dialect))
}

/// Every look-up that is made again and again, for tests of their plans.
#[cfg(test)]
pub(super) fn queries(dialect: Dialect) -> [Statement<'static>; 2] {
    [by_identity(dialect), may_take(dialect)].map(|sql| Statement::new(dialect, sql))
}

fn by_identity(dialect: Dialect) -> String {
    format!("SELECT {FACTS} FROM handed_over h WHERE h.identity = $1 AND h.wanted_until > {}", dialect.now())
}

fn waiting(dialect: Dialect) -> String {
    let now = dialect.now();
    format!(
        "SELECT h.id, h.network, h.gas_wallet FROM handed_over h WHERE h.wanted_until > {now} ORDER BY h.network, h.id"
    )
}

/// A payment that was taken, from the columns of [`FACTS`], those of its step, and the time that is left.
pub(super) fn handed_over(row: &Row) -> Result<HandedOver, StoreError> {
    let read = Reader::new(row, "handed_over", "id");
    Ok(HandedOver {
        facts: row::facts(&read)?.into(),
        plan: row::plan(&read)?,
        wait: Duration::from_millis(read.number("rest")?),
    })
}
