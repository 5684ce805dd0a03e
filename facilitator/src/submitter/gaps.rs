//! A gas wallet's transactions execute in the order of their sequence. When the
//! chain takes a block back, what was in it may be gone from every pool, while
//! all that comes after it waits for it in vain: what is missing is sent again.

use std::{collections::HashMap, ops::Range};

use super::{sender::Outgoing, watcher::Watcher};

/// Where each gas wallet's sequence stood when a gap was seen.
#[derive(Debug, Default)]
pub(super) struct Gaps(HashMap<String, u64>);

impl Gaps {
    /// The sequences to send again: those from the chain's next one up to the
    /// lowest on its way, once two looks have found the same. One alone may come from
    /// a node that is behind.
    fn confirm(&mut self, wallet: &str, latest: u64, lowest: u64) -> Option<Range<u64>> {
        if latest >= lowest {
            self.0.remove(wallet);
            return None;
        }
        let seen_before = self.0.insert(wallet.to_owned(), latest) == Some(latest);
        seen_before.then_some(latest..lowest)
    }
}

impl Watcher {
    /// Looks for gaps below what is on its way, and closes them.
    pub async fn close_gaps(&mut self) {
        for (wallet, lowest) in self.lowest_sequences() {
            match self.submitter.deps.chain.sequence(&wallet).await {
                Ok(Some(sequence)) => {
                    if let Some(missing) = self.gaps.confirm(&wallet, sequence.latest, lowest) {
                        self.send_missing(&wallet, missing).await;
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, wallet, "the gas wallet's sequence could not be read"),
            }
        }
    }

    async fn send_missing(&self, wallet: &str, missing: Range<u64>) {
        let (network, Some(sender)) = (self.submitter.network(), self.senders.get(wallet)) else { return };
        tracing::error!(
            %network, wallet, from = missing.start, to = missing.end - 1,
            "transactions that were in blocks are not on the chain any more, and later ones wait for them; they are \
             sent again"
        );
        match self.submitter.deps.store.signed_at(network, wallet, missing).await {
            Ok(found) => {
                for (id, signed) in found {
                    // A full queue means that the sender is at it; the next look asks again.
                    drop(sender.try_send(Outgoing { id, signed }));
                }
            }
            Err(error) => tracing::error!(%error, wallet, "they could not be read; they are looked for again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_closed_when_two_looks_have_found_it() {
        let mut gaps = Gaps::default();
        let looks = [
            ("nothing is missing", 5, 5, None),
            ("one node may be behind", 3, 5, None),
            ("it is missing", 3, 5, Some(3..5)),
            ("still", 3, 5, Some(3..5)),
            ("part of it came", 4, 5, None),
            ("the rest is missing", 4, 5, Some(4..5)),
            ("it came", 6, 5, None),
            ("anew", 4, 5, None),
        ];
        for (name, latest, lowest, expected) in looks {
            assert_eq!(gaps.confirm("w", latest, lowest), expected, "{name}");
        }
        assert_eq!(gaps.confirm("other", 4, 5), None, "each wallet by itself");
    }
}
