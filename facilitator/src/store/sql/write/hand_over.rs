//! Payments that instances hand over to each other.

use super::{StoreError, time};
use crate::{
    settlement::{Key, SettlementId},
    store::{
        HandedOver,
        sql::{
            database::Session,
            hand_overs::{self, FACTS, may_be_taken},
            joint::Rows,
            row::int,
            statement::Statement,
        },
    },
};

/// A change of what is handed over, but for taking it.
#[derive(Debug)]
pub(in crate::store::sql) enum OfferCall {
    Make { payment: Box<HandedOver>, instance: String },
    LetGo { id: Option<SettlementId>, owner: String },
    Withdraw { id: SettlementId, instance: String },
}

impl OfferCall {
    /// Returns true for a change after which there may be something to take.
    pub const fn makes_work(&self) -> bool {
        matches!(self, Self::Make { .. } | Self::LetGo { .. })
    }
}

/// Makes a change; returns true when it had an effect.
pub(super) async fn change(session: &mut Session<'_>, call: &OfferCall) -> Result<bool, StoreError> {
    match call {
        OfferCall::Make { payment, instance } => make(session, payment, instance).await,
        OfferCall::LetGo { id, owner } => {
            let all = "UPDATE handed_over SET taken_by = NULL WHERE taken_by = $1";
            let statement = match id {
                Some(id) => {
                    let values = [owner.as_str().into(), (*id).into()];
                    Statement::of(session.dialect(), format!("{all} AND id = $2"), values)
                }
                None => Statement::of(session.dialect(), all, [owner.as_str().into()]),
            };
            Ok(session.run(statement).await? > 0)
        }
        OfferCall::Withdraw { id, instance } => {
            // Waits for a hand-over of this instance that is in the middle of being stored: it holds the row.
            let wait = "UPDATE instance SET beat = beat WHERE id = $1";
            session.run(Statement::of(session.dialect(), wait, [instance.as_str().into()])).await?;
            let sql = "DELETE FROM handed_over WHERE id = $1";
            Ok(session.run(Statement::of(session.dialect(), sql, [(*id).into()])).await? > 0)
        }
    }
}

async fn make(session: &mut Session<'_>, payment: &HandedOver, instance: &str) -> Result<bool, StoreError> {
    let announced = format!("SELECT 1 FROM instance n WHERE n.id = $1{}", session.dialect().share_rows());
    if session.first(Statement::of(session.dialect(), announced, [instance.into()])).await?.is_none() {
        return Ok(false);
    }
    let HandedOver { facts, plan, wait } = payment;
    let (now, identity) = (session.dialect().now(), facts.identity.as_bytes().as_slice());
    let begun = "SELECT 1 FROM settlement s WHERE s.identity = $1";
    if session.first(Statement::of(session.dialect(), begun, [identity.into()])).await?.is_some() {
        return Ok(false);
    }
    let over = format!("DELETE FROM handed_over WHERE identity = $1 AND wanted_until <= {now}");
    session.run(Statement::of(session.dialect(), over, [identity.into()])).await?;
    let sql = format!(
        "INSERT INTO handed_over (id, identity, fingerprint, tenant, idempotency_key, request_id, network, scheme, \
         payer, payer_code, pay_to, asset, amount, nonce, claimed_block, created_at, gas_wallet, plan, valid_before, \
         instance, wanted_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
         $18, $19, $20, {now} + $21) ON CONFLICT DO NOTHING"
    );
    let values = [
        facts.id.into(),
        identity.into(),
        facts.fingerprint.as_bytes().as_slice().into(),
        facts.caller.tenant.as_str().into(),
        facts.caller.key.as_ref().map(Key::stored).into(),
        facts.request_id.as_str().into(),
        facts.network.as_str().into(),
        facts.scheme.as_str().into(),
        facts.payer.as_str().into(),
        facts.payer_code.as_deref().into(),
        facts.pay_to.as_str().into(),
        facts.asset.as_str().into(),
        facts.amount.to_string().into(),
        facts.nonce.as_str().into(),
        int(facts.claimed_block).into(),
        time(facts.created_at).into(),
        plan.gas_wallet.as_deref().into(),
        plan.body().into(),
        plan.valid_before.map(int).into(),
        instance.into(),
        i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2).into(),
    ];
    Ok(session.run(Statement::of(session.dialect(), sql, values)).await? > 0)
}

/// Takes what the gas wallets of an owner may send. Two owners that look at the
/// same time take different ones.
pub(super) async fn take(
    session: &mut Session<'_>,
    network: &str,
    owner: &str,
    limit: u32,
) -> Result<Vec<HandedOver>, StoreError> {
    let (now, skip) = (session.dialect().now(), session.dialect().skip_locked_rows());
    let over = format!(
        "DELETE FROM handed_over WHERE id IN (SELECT h.id FROM handed_over h WHERE h.network = $1 \
         AND h.wanted_until <= {now}{skip})"
    );
    session.run(Statement::of(session.dialect(), over, [network.into()])).await?;
    let sql = format!(
        "UPDATE handed_over SET taken_by = $1 WHERE id IN (SELECT h.id FROM handed_over h WHERE {} \
         ORDER BY h.id LIMIT $3{skip}) RETURNING {FACTS}, gas_wallet, plan, valid_before, \
         CASE WHEN wanted_until > {now} THEN wanted_until - {now} ELSE 0 END AS rest",
        may_be_taken(session.dialect())
    );
    let values = [owner.into(), network.into(), i64::from(limit).into()];
    let rows = session.all(Statement::of(session.dialect(), sql, values)).await?;
    let mut taken = rows.iter().map(hand_overs::handed_over).collect::<Result<Vec<_>, _>>()?;
    taken.sort_by_key(|payment| payment.facts.id);
    Ok(taken)
}

/// Removes payments that are begun by the same commit.
pub(super) async fn received(session: &mut Session<'_>, ids: &[SettlementId]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut query = Statement::new(session.dialect(), "DELETE FROM handed_over WHERE id");
    query.is_one_of(ids.iter().map(|id| id.0)).push(" RETURNING id");
    session.expect(Rows::of("handed_over", ids.iter().copied()), query, ids.len()).await
}
