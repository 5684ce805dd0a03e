//! Settled transfers are looked at once more, when the chain can no longer
//! take them back. A success was given away on the strength of a block; should
//! the chain have dropped that block, the bytes are sent again and somebody is
//! told.

use std::{collections::BTreeSet, time::Duration};

use chains_core::{
    chain::{Effect, Observation, SignedTransaction, Watched},
    clock::Millis,
};

use super::{sender::Outgoing, watcher::Watcher};
use crate::{
    settlement::{SettlementId, State, record::Outcome},
    store::{Query, StoreError},
};

/// Settlements that wait for their second look. What comes beyond has none,
/// and is counted.
const WAITING_MAX: usize = 65_536;

/// Settlements of one look: one request to the chain.
const LOOK_MAX: usize = 256;

/// A restart takes less; what was settled before counts as looked at.
const RESTART_MAX: Duration = Duration::from_mins(10);

/// Settled transfers that are remembered at start for a second look.
const REMEMBERED_MAX: u32 = 1000;

/// Settled transfers, by the height at which they are looked at again.
#[derive(Debug, Default)]
pub(super) struct Aftercare {
    waiting: BTreeSet<(u64, SettlementId)>,
}

impl Aftercare {
    /// Remembers a settlement until the chain is at height `due`.
    pub fn keep(&mut self, due: u64, id: SettlementId) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert((due, id));
        } else {
            metrics::counter!("settlements_unverified_total").increment(1);
        }
    }

    /// Takes out what is due at this height, the longest due first.
    pub fn due(&mut self, height: u64) -> Vec<SettlementId> {
        let mut due = Vec::new();
        while due.len() < LOOK_MAX && self.waiting.first().is_some_and(|(at, _)| *at <= height) {
            due.extend(self.waiting.pop_first().map(|(_, id)| id));
        }
        due
    }
}

/// What a second look at a settled transfer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecondLook {
    /// It is still there.
    Stands,
    /// It cannot be said now.
    LookAgain,
    /// It can no longer be said: the nodes have forgotten that time.
    Forgotten(String),
    /// The chain took it back, and it may come again.
    TakenBack,
    /// The chain took it back, and it cannot come again.
    Lost(String),
}

/// Decides on what was observed of a transfer that is stored as settled.
pub(super) fn second_look(observation: Observation) -> SecondLook {
    match observation {
        Observation::Pending => SecondLook::TakenBack,
        Observation::Unknown(why) => SecondLook::Forgotten(why),
        Observation::Expired(why) => SecondLook::Lost(why.message.into_owned()),
        Observation::Landed(landed) => match landed.effect {
            Effect::Done | Effect::DoneElsewhere { .. } => SecondLook::Stands,
            Effect::Missing(why) => SecondLook::Lost(why.message.into_owned()),
            Effect::Continues(_) | Effect::Unclear(_) => SecondLook::LookAgain,
        },
    }
}

impl Watcher {
    /// Remembers settled transfers of before a restart for their second look.
    pub async fn remember_settled(&mut self) -> Result<(), StoreError> {
        let (deps, pace) = (&self.submitter.deps, self.submitter.deps.chain.pace());
        let blocks = u32::try_from(pace.final_after).unwrap_or(u32::MAX);
        let age = pace.block_time.saturating_mul(blocks).saturating_add(RESTART_MAX);
        let from = deps.clock.now().0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let network = Some(self.submitter.network().clone());
        let state = Some(State::Settled);
        let query = Query { network, state, from: Some(Millis(from)), limit: REMEMBERED_MAX, ..Query::default() };
        for record in deps.store.find(&query).await?.into_iter().rev() {
            if let Some(Outcome::Settled { block, .. }) = record.outcome {
                self.aftercare.keep(block.number.saturating_add(pace.final_after), record.id);
            }
        }
        Ok(())
    }

    /// Looks once more at transfers that the chain can no longer take back.
    pub async fn look_at_settled(&mut self) {
        let height = self.head.as_ref().map_or(0, |head| head.number);
        let due = self.aftercare.due(height);
        if due.is_empty() {
            return;
        }
        let retry_at = height.saturating_add(self.submitter.deps.chain.pace().resend_after);
        match self.second_looks(&due).await {
            Ok(looks) => {
                for (id, newest, look) in looks {
                    self.heed(id, newest, look, retry_at);
                }
            }
            Err(why) => {
                tracing::warn!(why, "settled transfers could not be looked at again; they stay on the list");
                for id in due {
                    self.aftercare.keep(retry_at, id);
                }
            }
        }
    }

    async fn second_looks(
        &self,
        due: &[SettlementId],
    ) -> Result<Vec<(SettlementId, SignedTransaction, SecondLook)>, String> {
        let deps = &self.submitter.deps;
        let mut settled = Vec::with_capacity(due.len());
        for id in due {
            if let Some(timeline) = deps.store.timeline(*id).await.map_err(|error| error.to_string())? {
                let live = timeline.attempts.into_iter().filter(|attempt| attempt.live);
                let attempts: Vec<_> = live.map(|attempt| attempt.signed).collect();
                settled.push((timeline.record, attempts));
            }
        }
        let watched = settled.iter().map(|(record, attempts)| Watched {
            attempts,
            plan: &record.plan,
            claimed_at: record.claimed_at,
        });
        let observed = deps.chain.observe(&watched.collect::<Vec<_>>()).await.map_err(|error| error.to_string())?;
        let looks = settled.into_iter().zip(observed).filter_map(|((record, mut attempts), observation)| {
            Some((record.id, attempts.pop()?, second_look(observation)))
        });
        Ok(looks.collect())
    }

    fn heed(&mut self, id: SettlementId, newest: SignedTransaction, look: SecondLook, retry_at: u64) {
        let (network, transaction) = (self.submitter.network(), &newest.transaction);
        match look {
            SecondLook::Stands => return,
            SecondLook::LookAgain => {}
            SecondLook::Forgotten(why) => {
                tracing::warn!(settlement = %id, transaction, %network, why, "no node can say whether a settled transfer stands");
                return;
            }
            SecondLook::TakenBack => {
                tracing::error!(
                    settlement = %id, transaction, %network,
                    "the chain took back a block with a settled transfer; its bytes are sent again"
                );
                metrics::counter!("settlements_taken_back_total", "network" => network.to_string()).increment(1);
                if let Some(sender) = self.senders.get(&newest.gas_wallet) {
                    // A full queue means that the sender is at it; the next look asks again.
                    drop(sender.try_send(Outgoing { id, signed: newest }));
                }
            }
            SecondLook::Lost(why) => {
                tracing::error!(
                    settlement = %id, transaction, %network, why,
                    "a transfer that was settled is not on the chain any more and cannot come again: the payee \
                     has no money for it; run `facilitator audit`"
                );
                metrics::counter!("settlements_lost_total", "network" => network.to_string()).increment(1);
                return;
            }
        }
        self.aftercare.keep(retry_at, id);
    }
}

#[cfg(test)]
mod tests {
    use chains_core::{
        Amount, Code, Rejection,
        chain::{BlockRef, Landed},
    };
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_due_comes_once_and_in_order() {
        let mut aftercare = Aftercare::default();
        let ids: Vec<_> = (0..3).map(|n| SettlementId(Uuid::from_u128(n))).collect();
        // One that is looked at again is due before others that came earlier.
        for (due, id) in [(12, ids[2]), (10, ids[0]), (10, ids[1])] {
            aftercare.keep(due, id);
        }
        assert_eq!(aftercare.due(9), []);
        assert_eq!(aftercare.due(11), ids[..2]);
        assert_eq!(aftercare.due(12), ids[2..]);
        assert_eq!(aftercare.due(99), []);
    }

    #[test]
    fn only_the_effect_lets_a_settlement_stand() {
        let block = BlockRef { number: 1, hash: "b".into() };
        let landed = |effect| {
            let (transaction, block, fee_paid) = ("t".into(), block.clone(), Amount::from(1_u64));
            Observation::Landed(Landed { transaction, block, fee_paid, gas_used: 1, effect })
        };
        let no = || Rejection::new(Code::new("why"), "because");
        let elsewhere = Effect::DoneElsewhere { transaction: "o".into(), block: block.clone() };
        let cases = [
            (Observation::Pending, SecondLook::TakenBack),
            (Observation::Unknown("old".into()), SecondLook::Forgotten("old".into())),
            (Observation::Expired(no()), SecondLook::Lost("because".into())),
            (landed(Effect::Done), SecondLook::Stands),
            (landed(elsewhere), SecondLook::Stands),
            (landed(Effect::Missing(no())), SecondLook::Lost("because".into())),
            (landed(Effect::Unclear("rpc".into())), SecondLook::LookAgain),
        ];
        for (observation, expected) in cases {
            assert_eq!(second_look(observation.clone()), expected, "{observation:?}");
        }
    }
}
