//! Reactions to the balance, the nonce and the price of a gas wallet.

use std::ops::Range;

use chains_core::{Amount, transaction::Purpose};

use super::{Worker, tracked::Carried};
use crate::{
    metrics,
    settlement::Transaction,
    store::StoreError,
    submitter::{
        context::Context,
        decide::{
            self,
            replacement::{PriceTrouble, Replacement},
        },
        recovery,
    },
};

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

    /// Notes what is wrong with the price of the oldest transaction. Takes no
    /// payments while it needs more than it may offer: what comes after it
    /// would wait with it.
    pub(super) fn watch_price(&mut self) {
        let block = self.context.status.block_number();
        let oldest = self.tracked.in_line().into_iter().next().map(|oldest| {
            let is_void = oldest.price.is_void(block, self.parameters.bump_after);
            let next = if is_void { Replacement::Cancel } else { Replacement::Bump };
            let trouble = decide::replacement::price_trouble(self.bid(oldest), self.quote_again(oldest, next));
            let newest = oldest.transaction.newest();
            (trouble, format!("its oldest transaction {} ({}) is underpriced", newest.hash, newest.fee.terms))
        });
        let (behind, at_limit) = match oldest {
            None | Some((None, _)) => (None, None),
            Some((Some(PriceTrouble::Behind), what)) => {
                let what = format!("{what}: the next block asks for more; one that offers more takes its place");
                (Some(what), None)
            }
            Some((Some(PriceTrouble::AtLimit(why)), what)) => {
                let what = format!("{what} and may not offer more ({why}); it is sent again until the price falls");
                (None, Some(what))
            }
        };
        self.status.update(|state| state.behind = behind);
        let came = "the price has risen above the oldest transaction of this gas wallet, and it may not offer more: the \
                    wallet takes no new settlement until the price falls. Raise `fee_per_gas_max`, or wait";
        let words = (came, "the gas wallet's transactions can be included again");
        if self.status.set(|state| &mut state.underpriced, at_limit, words) {
            metrics::fee_ceiling_reached(self.context.network());
        }
    }

    /// Sends what the chain has lost below the open transactions.
    async fn send_missing(&mut self, missing: Range<u64>) {
        let (network, wallet) = (self.context.network(), &self.status.wallet);
        tracing::error!(
            %network, wallet, from = missing.start, to = missing.end - 1,
            "nonce gap: transactions that were in blocks are not on the chain any more, and later ones wait for them; \
             they are sent again"
        );
        match stored_at(&self.context, wallet, missing.clone()).await {
            Ok(found) => {
                let nonces: Vec<_> = found.iter().filter_map(|(transaction, _)| transaction.nonce).collect();
                for (transaction, items) in found {
                    self.send_lost(transaction, items);
                }
                let unknown = decide::replacement::unknown_nonces(missing, &nonces);
                self.use_up(unknown).await;
            }
            Err(error) => {
                tracing::error!(%network, wallet, %error, "they could not be read; they are looked for again");
            }
        }
    }
}

/// The transactions of a gas wallet at these nonces, with the steps that each carries.
async fn stored_at(
    context: &Context,
    wallet: &str,
    nonces: Range<u64>,
) -> Result<Vec<(Transaction, Vec<Carried>)>, StoreError> {
    let mut found = vec![];
    for transaction in context.store.transactions_at(context.network(), wallet, nonces).await? {
        let items = recovery::complete(context, &transaction, vec![]).await?;
        found.push((transaction, items));
    }
    Ok(found)
}

fn plus(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).unwrap_or(Amount::MAX)
}
