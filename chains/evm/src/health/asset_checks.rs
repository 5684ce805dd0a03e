//! The assets of the configuration, each looked at alone: what is wrong with one, or cannot be asked about it, is no
//! reason against the others.

use std::collections::HashMap;

use alloy::primitives::Address;
use chains_core::chain::{ChainUnavailable, ProofError};

use super::prove::{check_asset, mismatch};
use crate::{config::Asset, context::Context, health::permit2_support::Support};

/// An answer about an asset, of the node that is asked first or, where that one has none, of another.
#[derive(Debug)]
enum Look {
    /// It is what the configuration says.
    Right,
    /// It is not, and why.
    Flaw(String),
    /// Nothing: no node answered what it was asked about it.
    NoAnswer(ChainUnavailable),
}

impl Look {
    async fn at(context: &Context, asset: &Asset, support: Support, turn: usize) -> Self {
        match check_asset(context, asset, support, turn).await {
            Ok(None) => Self::Right,
            Ok(Some(wrong)) => Self::Flaw(format!("{} {}. {}", wrong.seen, wrong.meaning, wrong.fix)),
            Err(error) => Self::NoAnswer(error),
        }
    }

    /// Returns true when it says what was known before.
    const fn is_no_news(&self, known: &Known) -> bool {
        matches!((self, known), (Self::Right, Known::Right) | (Self::Flaw(_), Known::Flaw(_)))
    }
}

/// The outcome of earlier looks at an asset.
#[derive(Clone, Debug)]
enum Known {
    Nothing,
    Right,
    Flaw(String),
}

impl Known {
    fn of(context: &Context, asset: &Asset) -> Self {
        match context.token_code.flaw(asset) {
            Some(flaw) => Self::Flaw(flaw),
            None if context.token_code.has_seen(std::slice::from_ref(asset)) => Self::Right,
            None => Self::Nothing,
        }
    }
}

/// The flaw of an asset after two looks by two nodes, of which one may err: what is known changes where both say so.
/// An asset of which nothing is known is not paid with before a node has answered. Pure.
fn flaw_after(known: Known, first: &Look, second: &Look) -> Option<String> {
    match (known, first, second) {
        (_, Look::Right, Look::Right) => None,
        (_, Look::Flaw(_), Look::Flaw(flaw))
        | (Known::Nothing, Look::Flaw(flaw), Look::NoAnswer(_))
        | (Known::Nothing, Look::NoAnswer(_), Look::Flaw(flaw)) => Some(flaw.clone()),
        (Known::Flaw(flaw), ..) => Some(flaw),
        (Known::Nothing, Look::NoAnswer(_), Look::NoAnswer(error)) => {
            Some(format!("no node answers a question about it: {}", error.detail))
        }
        (Known::Nothing | Known::Right, ..) => None,
    }
}

/// Suspends the assets that are not what the configuration says, or that no node answers about; returns them. One that
/// is what it says again stays suspended until its code was looked at. Where none is what it says, nothing can be paid
/// with; where none is answered about, nobody can be asked.
pub(super) async fn check(
    context: &Context,
    support: Support,
    turn: usize,
) -> Result<HashMap<Address, String>, ProofError> {
    let assets = &context.config.assets;
    let (mut flaws, mut before, mut unanswered) = (HashMap::new(), HashMap::new(), vec![]);
    for asset in assets {
        let known = Known::of(context, asset);
        before.extend(context.token_code.flaw(asset).map(|flaw| (asset.address, flaw)));
        let first = Look::at(context, asset, support, turn).await;
        let second = if first.is_no_news(&known) {
            None
        } else {
            Some(Look::at(context, asset, support, turn.wrapping_add(1)).await)
        };
        if let (Look::NoAnswer(_), Some(Look::NoAnswer(error))) = (&first, &second) {
            unanswered.push(error.clone());
        }
        let flaw = flaw_after(known, &first, second.as_ref().unwrap_or(&first));
        flaws.extend(flaw.map(|flaw| (asset.address, flaw)));
    }
    if let Some(error) = unanswered.pop().filter(|_| unanswered.len() + 1 == assets.len()) {
        return Err(error.into());
    }
    before.extend(flaws.clone());
    context.token_code.note_flaws(assets, &before);
    if flaws.len() < assets.len() {
        return Ok(flaws);
    }
    let first = assets.first().and_then(|asset| flaws.remove(&asset.address));
    first.map_or(Ok(flaws), |flaw| Err(mismatch(context, flaw)))
}

#[cfg(test)]
mod tests {
    use chains_core::Network;

    use super::*;

    #[test]
    fn what_is_known_of_an_asset_changes_only_where_two_looks_say_so() {
        let network: Network = "eip155:1".parse().expect("a network");
        let right = || Look::Right;
        let flaw = || Look::Flaw("new".to_owned());
        let none = || Look::NoAnswer(ChainUnavailable { network: network.clone(), detail: "timeout".to_owned() });
        let (nothing, fine, flawed) = (Known::Nothing, Known::Right, Known::Flaw("old".to_owned()));
        let cases = [
            (&nothing, right(), right(), None),
            (&nothing, flaw(), right(), None),
            (&nothing, flaw(), flaw(), Some("new")),
            (&nothing, flaw(), none(), Some("new")),
            (&nothing, none(), flaw(), Some("new")),
            (&nothing, none(), right(), None),
            (&nothing, none(), none(), Some("no node answers a question about it: timeout")),
            (&fine, flaw(), flaw(), Some("new")),
            (&fine, flaw(), right(), None),
            (&fine, flaw(), none(), None),
            (&fine, none(), none(), None),
            (&flawed, right(), right(), None),
            (&flawed, right(), flaw(), Some("old")),
            (&flawed, right(), none(), Some("old")),
            (&flawed, none(), none(), Some("old")),
            (&flawed, flaw(), flaw(), Some("new")),
        ];
        for (known, first, second, expected) in cases {
            let found = flaw_after(known.clone(), &first, &second);
            assert_eq!(found.as_deref(), expected, "{known:?}, {first:?}, {second:?}");
        }
    }
}
