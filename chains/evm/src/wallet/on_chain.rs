//! Reads a gas wallet's nonce and balance.

use alloy::primitives::{Address, U256};
use chains_core::{Amount, chain::ChainUnavailable, observation::Depth};

use crate::{
    context::Context,
    rpc::{
        Rpc,
        error::CallError,
        method::{At, Call, quantity},
    },
};

/// The next unused nonce at this depth: the highest that two endpoints reach,
/// so that neither one that lags nor one that lies decides.
pub(crate) async fn nonce(context: &Context, wallet: Address, depth: Depth) -> Result<u64, ChainUnavailable> {
    let confirmations = context.config.confirmations;
    let answer = context.rpc.second_highest(|rpc| async move { nonce_at(&rpc, wallet, depth, confirmations).await });
    answer.await.map_err(|error| context.rpc.unavailable(error))
}

/// The same, as one endpoint sees it.
///
/// # Errors
/// It has no readable answer.
pub(crate) async fn nonce_at(rpc: &Rpc, wallet: Address, depth: Depth, confirmations: u64) -> Result<u64, CallError> {
    let at = match depth {
        Depth::Confirmed if confirmations > 1 => {
            let newest = number(&rpc.call::<String>(Call::block_number()).await?)?;
            At::Number(newest.saturating_sub(confirmations - 1))
        }
        Depth::Latest | Depth::Confirmed => At::Latest,
    };
    number(&rpc.call::<String>(Call::transaction_count(wallet, at)).await?)
}

fn number(text: &str) -> Result<u64, CallError> {
    quantity(text).and_then(|number| u64::try_from(number).ok()).ok_or_else(CallError::unreadable)
}

/// The balance in wei. That it is low must be said by two endpoints: of two
/// the higher one counts, of three the middle one.
pub(crate) async fn balance(context: &Context, wallet: Address) -> Result<Amount, ChainUnavailable> {
    let mut balances = vec![];
    let mut failure = CallError::NoEndpoint;
    for answer in context.rpc.everywhere::<String>(Call::balance(wallet)).await {
        match answer.and_then(|text| quantity(&text).ok_or_else(CallError::unreadable)) {
            Ok(balance) => balances.push(balance),
            Err(error) => failure = error,
        }
    }
    second_lowest(balances).map(Amount::from).ok_or_else(|| context.rpc.unavailable(failure))
}

/// Pure: the lowest of the numbers that has another one at or below it; the
/// only one where there is but one.
fn second_lowest(mut numbers: Vec<U256>) -> Option<U256> {
    numbers.sort_unstable();
    numbers.get(1).or(numbers.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_balance_needs_two_that_say_so() {
        let cases = [
            (vec![], None),
            (vec![7], Some(7)),
            (vec![0, 7], Some(7)),
            (vec![7, 0, 7], Some(7)),
            (vec![0, 7, 1], Some(1)),
            (vec![900, 7, 7], Some(7)),
        ];
        for (numbers, expected) in cases {
            let numbers: Vec<_> = numbers.into_iter().map(U256::from).collect();
            assert_eq!(second_lowest(numbers.clone()), expected.map(U256::from), "{numbers:?}");
        }
    }
}
