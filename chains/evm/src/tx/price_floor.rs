//! The least prices that nodes take, learnt from their refusals. Nothing here
//! must survive: a node repeats itself.

use std::time::Duration;

use tokio::time::Instant;

use crate::rpc::send_answers::PriceFloor;

/// The time for which a floor counts after it was last named. Longer than the
/// time between two sends of a transaction on the slowest chain, and short
/// enough that one node's mistake passes.
const COUNTS_FOR: Duration = Duration::from_mins(1);

/// The least prices that nodes take at present.
#[derive(Clone, Copy, Debug, Default)]
pub struct Floors {
    tip: Option<(u128, Instant)>,
    fee: Option<(u128, Instant)>,
}

impl Floors {
    /// Notes the price that a node asks for.
    pub fn named(&mut self, floor: PriceFloor, now: Instant) {
        match floor {
            PriceFloor::Tip(tip) => self.tip = Some((tip, now)),
            PriceFloor::Fee(fee) => self.fee = Some((fee, now)),
            PriceFloor::Unnamed => {}
        }
    }

    /// Notes that some node took a transaction with these prices: no floor is above them.
    pub fn taken(&mut self, tip: u128, fee: u128) {
        self.tip = self.tip.filter(|(floor, _)| *floor <= tip);
        self.fee = self.fee.filter(|(floor, _)| *floor <= fee);
    }

    /// The least tip and the least fee, in wei; 0 where no node names one.
    pub fn least(&self, now: Instant) -> (u128, u128) {
        let counts = |floor: Option<(u128, Instant)>| {
            floor.filter(|(_, named)| now.duration_since(*named) < COUNTS_FOR).map_or(0, |(price, _)| price)
        };
        (counts(self.tip), counts(self.fee))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_counts_until_a_node_takes_less_or_none_names_it_for_a_while() {
        let (mut floors, start) = (Floors::default(), Instant::now());
        assert_eq!(floors.least(start), (0, 0));
        floors.named(PriceFloor::Tip(25), start);
        floors.named(PriceFloor::Fee(90), start);
        floors.named(PriceFloor::Unnamed, start);
        floors.taken(25, 90);
        assert_eq!(floors.least(start), (25, 90));
        floors.taken(24, 90);
        assert_eq!(floors.least(start), (0, 90));
        assert_eq!(floors.least(start + COUNTS_FOR), (0, 0));
    }
}
