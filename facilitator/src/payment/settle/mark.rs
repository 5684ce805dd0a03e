//! The mark that a settle request sets with the replay guard, and what it learns by it.

use std::{sync::Arc, time::Duration};

use super::Call;
use crate::{
    payment::{Payments, SettleOutcome},
    replay_guard::{Answer, Held},
};

/// The pauses between the looks into the store for a payment that another instance verifies. After
/// them that instance has refused it, or is dead.
const LOOKS: [Duration; 5] = [
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// The state of a request's mark.
#[derive(Default)]
pub(super) enum Mark {
    /// Not asked for yet.
    #[default]
    Unset,
    /// It is this request's; the guard takes it back unless the payment is claimed.
    Held(Held),
    /// Another instance is first; so many looks into the store have found nothing.
    Elsewhere(usize),
    /// Nothing to heed.
    Free,
}

impl Mark {
    /// Leaves the mark standing: the payment is claimed.
    pub(super) fn keep(&mut self) {
        if let Self::Held(held) = std::mem::replace(self, Self::Free) {
            held.keep();
        }
    }
}

impl Payments {
    /// Marks the payment, once for a request; an answer when the guard knows enough. A request with a
    /// key may be the caller that the success belongs to: the store knows that.
    pub(super) async fn mark(&self, call: &Call<'_>, mark: &mut Mark) -> Option<SettleOutcome> {
        if !matches!(mark, Mark::Unset) {
            return None;
        }
        let identity = call.authorization.identity();
        *mark = match self.guard.mark(&identity).await {
            Answer::First => Mark::Held(Held::new(Arc::clone(&self.guard), identity)),
            Answer::Elsewhere => Mark::Elsewhere(0),
            Answer::Delivered(delivered) if call.caller.key.is_none() => {
                return Some(SettleOutcome::Duplicate { id: delivered.id, transaction: delivered.transaction });
            }
            Answer::Delivered(_) | Answer::Unknown => Mark::Free,
        };
        None
    }

    /// Waits before the next look into the store; false when it is of no use to look again.
    pub(super) async fn may_appear(&self, mark: &mut Mark) -> bool {
        let Mark::Elsewhere(looks) = mark else { return false };
        let pause = LOOKS.get(*looks);
        match pause {
            Some(pause) => {
                *looks += 1;
                tokio::time::sleep(*pause).await;
            }
            None => *mark = Mark::Free,
        }
        pause.is_some()
    }
}
