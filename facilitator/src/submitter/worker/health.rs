//! Reactions to the balance, the nonce and the price of a gas wallet.

use std::ops::Range;

use chains_core::{Amount, transaction::Purpose};

use super::{Worker, outbox::Outgoing};
use crate::submitter::decide;

/// Transactions at the present price that a wallet must be able to pay for,
/// besides those under way, to take payments again once it could not.
const FUNDED_AGAIN: u32 = 4;

impl Worker {
    /// Heeds the wallet's balance and nonce.
    pub(super) async fn upkept(&mut self, balance: Option<Amount>, nonce: Option<u64>) {
        self.upkeep.answered(balance);
        if let Some(balance) = balance {
            self.status.update(|state| state.balance = Some(balance));
            self.watch_balance(balance);
        }
        let Some(latest) = nonce else { return };
        if self.next_nonce.is_some_and(|next| latest > next) {
            tracing::error!(
                network = %self.context.network(),
                wallet = self.status.wallet,
                nonce = latest - 1,
                "somebody else has used this gas wallet's key: the chain is past the nonces that the store knows. Use a \
                 key in one service only"
            );
            self.status.update(|state| state.foreign = Some(std::time::Instant::now()));
            self.next_nonce = Some(latest);
        }
        let lowest = self.tracked.oldest().and_then(|oldest| oldest.transaction.nonce);
        if let Some(missing) = self.upkeep.missing(latest, lowest) {
            self.send_missing(missing).await;
        }
    }

    /// Takes no payments while the balance does not cover everything under way
    /// and one more at the present price.
    fn watch_balance(&self, balance: Amount) {
        let one_more = self.tracked_quote().unwrap_or_default();
        let short = self.status.state().unfunded.is_some();
        let margin = if short { (0..FUNDED_AGAIN).fold(one_more, |sum, _| plus(sum, one_more)) } else { one_more };
        let needed = plus(self.tracked.need(), margin).max(self.parameters.balance_min);
        let reason = (balance < needed).then(|| {
            format!(
                "its balance {balance} does not cover the transactions under way and one more ({needed}, in the coin's \
                 atomic units; gas_balance_min is {}); send it gas money",
                self.parameters.balance_min
            )
        });
        let came = "the gas wallet is short of gas money: it takes no new settlement; send it gas money";
        let words = (came, "the gas wallet has money again and takes settlements");
        self.status.set(|state| &mut state.unfunded, reason, words);
    }

    /// The fee of a transaction like the oldest at the present price.
    fn tracked_quote(&self) -> Option<Amount> {
        let plan = self.tracked.any_plan()?;
        let fee = self.context.chain.quote(Purpose::Steps(std::slice::from_ref(plan)));
        fee.ok().map(|fee| fee.amount_max)
    }

    /// Takes no payments while the oldest transaction cannot be included at the
    /// present price: what comes after it would wait with it.
    pub(super) fn watch_price(&mut self) {
        let block = self.context.status.block_number();
        let context = std::sync::Arc::clone(&self.context);
        let reason = self.tracked.oldest().and_then(|oldest| {
            let waits = block >= oldest.first_block.saturating_add(decide::INVESTIGATE_AFTER_BLOCKS);
            let plan =
                oldest.items.first().map(|item| &item.plan).filter(|_| waits && oldest.transaction.nonce.is_some())?;
            let offered = oldest.transaction.newest().fee.amount_max;
            let now = context.chain.quote(Purpose::Steps(std::slice::from_ref(plan))).ok()?.amount_max;
            // A quote offers twice the base fee: one of twice the offer says
            // that the base fee alone is above it.
            (now >= plus(offered, offered)).then(|| {
                format!(
                    "its oldest transaction {} offers {offered}, one signed now would offer {now} (atomic units of the \
                     coin): it waits until the price falls",
                    oldest.transaction.newest().hash
                )
            })
        });
        let came = "the price has risen above the oldest transaction of this gas wallet: it takes no new settlement \
                    until it falls";
        let words = (came, "the gas wallet's transactions can be included again");
        self.status.set(|state| &mut state.underpriced, reason, words);
    }

    /// Sends what the chain has lost below the open transactions.
    async fn send_missing(&mut self, missing: Range<u64>) {
        let (network, wallet) = (self.context.network(), &self.status.wallet);
        tracing::error!(
            %network, wallet, from = missing.start, to = missing.end - 1,
            "nonce gap: transactions that were in blocks are not on the chain any more, and later ones wait for them; \
             they are sent again"
        );
        match self.context.store.transactions_at(network, wallet, missing).await {
            Ok(found) => found.iter().for_each(|transaction| self.outbox.push(Outgoing::from(transaction))),
            Err(error) => {
                tracing::error!(%network, wallet, %error, "they could not be read; they are looked for again")
            }
        }
    }
}

fn plus(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).unwrap_or(Amount::MAX)
}
