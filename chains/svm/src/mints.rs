//! The mints of the configuration: those that payments can be made in, and those that are not what it says.

use std::collections::HashMap;

use chains_core::{Network, metric::ASSET_SUSPENDED};
use parking_lot::RwLock;
use solana_sdk::pubkey::Pubkey;

use crate::mint::SoundMint;

/// The finding about a mint: it is sound, or why it is not what the configuration says.
pub type Found = Result<SoundMint, String>;

/// The findings about all of them. Nothing here must survive.
#[derive(Debug, Default)]
pub struct Mints(RwLock<HashMap<Pubkey, Found>>);

impl Mints {
    /// The finding about a mint; `None` for one that was not found, and that nobody has named.
    pub fn found(&self, mint: &Pubkey) -> Option<Found> {
        self.0.read().get(mint).cloned()
    }

    /// Returns true before anything was found.
    pub fn is_new(&self) -> bool {
        self.0.read().is_empty()
    }

    /// The mints that payments can be made in.
    pub fn sound(&self) -> Vec<SoundMint> {
        self.0.read().values().flatten().copied().collect()
    }

    /// Notes what was found, and tells the operator what is new.
    pub fn note(&self, network: &Network, found: HashMap<Pubkey, Found>) {
        let before = std::mem::replace(&mut *self.0.write(), found.clone());
        for (mint, now) in found {
            match (before.get(&mint), &now) {
                (was, Err(flaw)) if was != Some(&now) => {
                    tracing::error!(%network, asset = %mint, "{}", flawed(&mint, flaw));
                }
                (Some(Err(_)), Ok(_)) => {
                    tracing::warn!(%network, asset = %mint, "an asset is what the configuration says, again");
                }
                _ => {}
            }
            let labels = [("network", network.to_string()), ("asset", mint.to_string())];
            metrics::gauge!(ASSET_SUSPENDED, &labels).set(f64::from(u8::from(now.is_err())));
        }
    }

    /// Warnings for the operator, a line for each mint that has a flaw.
    pub fn notices(&self) -> Vec<String> {
        let found = self.0.read();
        let flaws = found.iter().filter_map(|(mint, found)| Some(flawed(mint, found.as_ref().err()?)));
        let mut notices: Vec<_> = flaws.collect();
        notices.sort();
        notices
    }
}

fn flawed(mint: &Pubkey, flaw: &str) -> String {
    format!("payments in {mint} are refused, those in other assets are not: {flaw}")
}

/// The finding about a mint after two looks by two nodes, of which one may err: what was known before changes where
/// both say so; one that was not known is not paid with before both do. Pure.
pub fn after(before: Option<Found>, first: Found, second: Found) -> Found {
    match (before, first, second) {
        (_, Ok(_), Ok(sound)) => Ok(sound),
        (_, Err(_), Err(flaw)) | (None, Ok(_), Err(flaw)) | (None, Err(flaw), Ok(_)) => Err(flaw),
        (Some(before), ..) => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs;

    #[test]
    fn what_is_known_of_a_mint_changes_only_where_two_looks_say_so() {
        let sound = || Ok(SoundMint { program: programs::TOKEN, decimals: 6 });
        let flaw = |text: &str| Err(text.to_owned());
        let cases = [
            (None, sound(), sound(), sound()),
            (None, flaw("a"), flaw("b"), flaw("b")),
            (None, flaw("a"), sound(), flaw("a")),
            (None, sound(), flaw("a"), flaw("a")),
            (Some(sound()), flaw("a"), sound(), sound()),
            (Some(sound()), flaw("a"), flaw("b"), flaw("b")),
            (Some(flaw("old")), sound(), flaw("a"), flaw("old")),
            (Some(flaw("old")), sound(), sound(), sound()),
        ];
        for (before, first, second, expected) in cases {
            let shown = format!("{before:?}, {first:?}, {second:?}");
            assert_eq!(after(before, first, second), expected, "{shown}");
        }
    }
}
