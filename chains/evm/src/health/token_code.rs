//! The token code monitor: whether a token still runs the code that it ran when its network opened.
//!
//! Tokens are proxies: whoever may upgrade one decides anew what a payment in
//! it does. Nothing on chain asks a payee or a facilitator. So what runs is
//! looked at again from time to time, and another code suspends the asset
//! until somebody has looked at it, which a restart says, or the new value of
//! the asset's `implementation`.
//!
//! Seen are the token's own code and what the known slots of proxies name.
//! Not seen: tokens that keep their implementation elsewhere (diamonds).
//!
//! An asset that is not what the configuration says is suspended in the same
//! way, until it is.

mod look;

use std::{collections::HashMap, fmt};

use alloy::primitives::{Address, B256};
use chains_core::{Network, Rejection, metric::ASSET_SUSPENDED};
use parking_lot::RwLock;

pub(crate) use look::look;

use crate::{config::Asset, reason};

/// The fate of an asset whose token runs another code than at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUpgrades {
    /// Payments in it are refused.
    Suspend,
    /// The operator is told.
    Warn,
}

/// The code that a token runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenCode {
    /// The hash of the code at its address.
    pub code: B256,
    /// The account that names the implementation, where that is not the token itself.
    pub beacon: Option<Address>,
    /// The code that it delegates to; one for each slot in use.
    pub implementations: Vec<Implementation>,
}

/// Code that a proxy delegates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Implementation {
    /// Its address.
    pub address: Address,
    /// Its hash.
    pub code: B256,
}

impl fmt::Display for TokenCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(beacon) = self.beacon {
            write!(f, "beacon {beacon}, ")?;
        }
        for Implementation { address, code } in &self.implementations {
            write!(f, "implementation {address} with code {code}, ")?;
        }
        write!(f, "own code {}", self.code)
    }
}

impl TokenCode {
    /// Returns whether what runs is this implementation, and no other.
    pub fn runs(&self, implementation: Address) -> bool {
        !self.implementations.is_empty() && self.implementations.iter().all(|i| i.address == implementation)
    }

    /// The addresses of what runs, for people.
    pub fn implementations_shown(&self) -> String {
        let shown: Vec<_> = self.implementations.iter().map(|i| i.address.to_string()).collect();
        if shown.is_empty() { "none".to_owned() } else { shown.join(" and ") }
    }
}

/// The conclusion from two looks at a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Nothing new.
    No,
    /// The looks do not agree: a node lags, or lies.
    Doubtful,
    /// It runs something else now.
    Yes,
}

/// Pure: a change counts when a second look, at another node if there is one,
/// sees the very same.
fn change(known: &TokenCode, first: &TokenCode, second: &TokenCode) -> Change {
    if first == known {
        Change::No
    } else if first == second {
        Change::Yes
    } else {
        Change::Doubtful
    }
}

/// The state of one token.
#[derive(Debug)]
struct Known {
    /// The code that it ran when the network opened; `None` as long as that is not the
    /// `implementation` of the configuration.
    accepted: Option<TokenCode>,
    now: TokenCode,
}

impl Known {
    fn new(asset: &Asset, now: TokenCode) -> Self {
        let mut known = Self { accepted: None, now };
        known.accept(asset);
        known
    }

    /// Takes what runs for what was looked at, unless something was before.
    fn accept(&mut self, asset: &Asset) {
        if self.accepted.is_none() && asset.implementation.is_none_or(|looked_at| self.now.runs(looked_at)) {
            self.accepted = Some(self.now.clone());
        }
    }

    fn is_accepted(&self) -> bool {
        self.accepted.as_ref() == Some(&self.now)
    }
}

/// The monitor of the tokens of one network, by their addresses.
#[derive(Debug)]
pub(crate) struct TokenCodeMonitor {
    network: Network,
    policy: TokenUpgrades,
    known: RwLock<HashMap<Address, Known>>,
    flaws: RwLock<HashMap<Address, String>>,
}

impl TokenCodeMonitor {
    /// Nothing seen yet.
    pub fn new(network: Network, policy: TokenUpgrades) -> Self {
        Self { network, policy, known: RwLock::default(), flaws: RwLock::default() }
    }

    /// Notes which assets are not what the configuration says, each with the
    /// reason, and tells the operator what is new.
    pub fn note_flaws(&self, assets: &[Asset], found: &HashMap<Address, String>) {
        let before = std::mem::replace(&mut *self.flaws.write(), found.clone());
        let known = self.known.read();
        for asset in assets {
            let network = &self.network;
            match (before.get(&asset.address), found.get(&asset.address)) {
                (was, Some(flaw)) if was != Some(flaw) => {
                    tracing::error!(%network, asset = %asset.address, "{}", flawed(asset, flaw));
                }
                (Some(_), None) => {
                    tracing::warn!(%network, asset = %asset.address, "an asset is what the configuration says, again");
                }
                _ => {}
            }
            self.count(asset, known.get(&asset.address));
        }
    }

    /// The reason why an asset is not what the configuration says, if it is not.
    pub fn flaw(&self, asset: &Asset) -> Option<String> {
        self.flaws.read().get(&asset.address).cloned()
    }

    /// Returns whether the code of these tokens has been seen.
    pub fn has_seen(&self, assets: &[Asset]) -> bool {
        let known = self.known.read();
        assets.iter().all(|asset| known.contains_key(&asset.address))
    }

    /// Remembers what tokens ran when they were seen first: when the network
    /// opened, or when a flaw was mended.
    pub fn learn(&self, assets: &[Asset], seen: &[TokenCode]) {
        let mut all = self.known.write();
        for (asset, seen) in assets.iter().zip(seen) {
            if all.contains_key(&asset.address) {
                continue;
            }
            let known = Known::new(asset, seen.clone());
            if !known.is_accepted() {
                self.log_change(asset, &known);
            }
            self.count(asset, Some(&known));
            all.insert(asset.address, known);
        }
    }

    /// Returns whether these looks differ from what is known, so that a second one is needed.
    pub fn is_news(&self, assets: &[Asset], seen: &[TokenCode]) -> bool {
        let known = self.known.read();
        assets.iter().zip(seen).any(|(asset, seen)| known.get(&asset.address).is_some_and(|known| known.now != *seen))
    }

    /// Notes what two looks have seen, and tells the operator what is new.
    pub fn note(&self, assets: &[Asset], first: &[TokenCode], second: &[TokenCode]) {
        let mut known = self.known.write();
        for ((asset, first), second) in assets.iter().zip(first).zip(second) {
            let Some(known) = known.get_mut(&asset.address) else { continue };
            match change(&known.now, first, second) {
                Change::No => {}
                Change::Doubtful => self.log_doubt(asset, first, second),
                Change::Yes => {
                    known.now = first.clone();
                    known.accept(asset);
                    self.log_change(asset, known);
                    self.count(asset, Some(known));
                }
            }
        }
    }

    /// Refuses payments in a token that runs something else than what was looked
    /// at, and in an asset that is not what the configuration says.
    pub fn check(&self, asset: &Asset) -> Result<(), Rejection> {
        if self.flaws.read().contains_key(&asset.address) {
            let message = format!(
                "{} {} is not what this facilitator's configuration says: payments in it are suspended until it is",
                asset.symbol, asset.address
            );
            return Err(Rejection::new(reason::ASSET_SUSPENDED, message));
        }
        let is_accepted = self.known.read().get(&asset.address).is_none_or(Known::is_accepted);
        if is_accepted || self.policy == TokenUpgrades::Warn {
            return Ok(());
        }
        let message = format!(
            "{} {} was upgraded: payments in it are suspended until this facilitator's operator has looked at its code",
            asset.symbol, asset.address
        );
        Err(Rejection::new(reason::ASSET_SUSPENDED, message))
    }

    /// Warnings for the operator, a line for each token.
    pub fn notices(&self, assets: &[Asset]) -> Vec<String> {
        let (known, flaws) = (self.known.read(), self.flaws.read());
        let changed = assets.iter().filter_map(|asset| {
            let flaw = flaws.get(&asset.address).map(|flaw| flawed(asset, flaw));
            let upgraded = || known.get(&asset.address).filter(|known| !known.is_accepted());
            flaw.or_else(|| upgraded().map(|known| self.notice(asset, known)))
        });
        changed.collect()
    }

    fn notice(&self, asset: &Asset, known: &Known) -> String {
        let meaning = match self.policy {
            TokenUpgrades::Suspend => "Payments in it are refused",
            TokenUpgrades::Warn => "Payments in it are taken as before (`token_upgrades = \"warn\"`)",
        };
        let before = match (&known.accepted, asset.implementation) {
            (Some(accepted), _) => format!("when the network opened, {accepted}"),
            (None, Some(looked_at)) => format!("`implementation` says {looked_at}"),
            (None, None) => "nothing else was seen before".to_owned(),
        };
        format!(
            "{} ({}) was upgraded: it runs {}; {before}. {meaning}. Look at its code; if that is good, restart the \
             service, with the new `implementation` if the asset names one",
            asset.symbol, asset.address, known.now
        )
    }

    fn log_change(&self, asset: &Asset, known: &Known) {
        let network = &self.network;
        if known.is_accepted() {
            tracing::warn!(%network, asset = %asset.address, "a token runs what was looked at, again: payments in it are taken");
        } else {
            tracing::error!(%network, asset = %asset.address, "{}", self.notice(asset, known));
        }
    }

    fn log_doubt(&self, asset: &Asset, first: &TokenCode, second: &TokenCode) {
        tracing::warn!(
            network = %self.network, asset = %asset.address, %first, %second,
            "two looks at a token's code do not agree: a node lags or lies; nothing changes"
        );
    }

    /// For an alarm: 1 while the token runs another code than what was looked at, or has a flaw.
    fn count(&self, asset: &Asset, known: Option<&Known>) {
        let is_suspended =
            self.flaws.read().contains_key(&asset.address) || known.is_some_and(|known| !known.is_accepted());
        let labels = [("network", self.network.to_string()), ("asset", asset.address.to_string())];
        metrics::gauge!(ASSET_SUSPENDED, &labels).set(f64::from(u8::from(is_suspended)));
    }
}

fn flawed(asset: &Asset, flaw: &str) -> String {
    format!("payments in {} ({}) are refused, those in other assets are not: {flaw}", asset.symbol, asset.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::requirements::tests::{account, asset, network};

    fn hash(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    fn behind(address: u8, code: u8) -> Implementation {
        Implementation { address: account(address), code: hash(code) }
    }

    fn usdc() -> TokenCode {
        TokenCode { code: hash(1), beacon: None, implementations: vec![behind(2, 3)] }
    }

    #[test]
    fn whatever_changes_of_a_token_s_code_is_seen_and_only_when_seen_twice() {
        let others = [
            TokenCode { code: hash(9), ..usdc() },
            TokenCode { beacon: Some(account(9)), ..usdc() },
            TokenCode { implementations: vec![behind(9, 3)], ..usdc() },
            TokenCode { implementations: vec![behind(2, 9)], ..usdc() },
            TokenCode { implementations: vec![], ..usdc() },
            TokenCode { implementations: vec![behind(2, 3), behind(9, 9)], ..usdc() },
        ];
        for other in &others {
            assert_eq!(change(&usdc(), other, other), Change::Yes, "{other}");
            assert_eq!(change(other, &usdc(), &usdc()), Change::Yes, "and back: {other}");
            assert_eq!(change(&usdc(), other, &usdc()), Change::Doubtful, "{other}");
            assert_eq!(change(&usdc(), &usdc(), other), Change::No, "the next look will tell: {other}");
        }
        assert_eq!(change(&usdc(), &others[0], &others[1]), Change::Doubtful);
        assert_eq!(change(&usdc(), &usdc(), &usdc()), Change::No);
    }

    #[test]
    fn an_upgraded_token_is_refused_until_it_is_what_it_was() {
        let other = || vec![TokenCode { implementations: vec![behind(9, 9)], ..usdc() }];
        for (policy, refused) in [(TokenUpgrades::Suspend, true), (TokenUpgrades::Warn, false)] {
            let (upgrades, assets) = (TokenCodeMonitor::new(network(), policy), [asset()]);
            assert!(!upgrades.has_seen(&assets) && upgrades.check(&assets[0]).is_ok());
            upgrades.learn(&assets, &[usdc()]);
            assert!(upgrades.has_seen(&assets) && !upgrades.is_news(&assets, &[usdc()]));
            assert!(upgrades.is_news(&assets, &other()));
            upgrades.note(&assets, &other(), &[usdc()]);
            assert!(upgrades.check(&assets[0]).is_ok() && upgrades.notices(&assets).is_empty(), "seen once");
            upgrades.note(&assets, &other(), &other());
            let code = upgrades.check(&assets[0]).err().map(|rejection| rejection.code);
            assert_eq!(code, refused.then_some(reason::ASSET_SUSPENDED));
            let notices = upgrades.notices(&assets).concat();
            for part in [account(2).to_string(), account(9).to_string(), "restart".to_owned()] {
                assert!(notices.contains(&part), "{part}: {notices}");
            }
            upgrades.note(&assets, &[usdc()], &other());
            assert_eq!(upgrades.check(&assets[0]).is_err(), refused, "one node does not bring it back");
            upgrades.note(&assets, &[usdc()], &[usdc()]);
            assert!(upgrades.check(&assets[0]).is_ok() && upgrades.notices(&assets).is_empty());
        }
    }

    #[test]
    fn what_the_operator_has_looked_at_is_what_counts_from_the_start() {
        let upgrades = TokenCodeMonitor::new(network(), TokenUpgrades::Suspend);
        let assets = [Asset { implementation: Some(account(9)), ..asset() }];
        let looked_at = || vec![TokenCode { implementations: vec![behind(9, 9)], ..usdc() }];
        upgrades.learn(&assets, &[usdc()]);
        assert!(upgrades.check(&assets[0]).is_err());
        let notices = upgrades.notices(&assets).concat();
        for named in [account(2), account(9)] {
            assert!(notices.contains(&named.to_string()), "{notices}");
        }
        upgrades.note(&assets, &looked_at(), &looked_at());
        assert!(upgrades.check(&assets[0]).is_ok());
        upgrades.note(&assets, &[usdc()], &[usdc()]);
        assert!(upgrades.check(&assets[0]).is_err());
    }

    #[test]
    fn an_asset_with_a_flaw_is_refused_alone_and_learned_when_it_has_none() {
        let monitor = TokenCodeMonitor::new(network(), TokenUpgrades::Warn);
        let assets = [asset(), Asset { address: account(7), ..asset() }];
        let other = || TokenCode { code: hash(9), ..usdc() };
        monitor.note_flaws(&assets, &HashMap::from([(account(7), "it has no code".to_owned())]));
        monitor.learn(&assets[..1], &[usdc()]);
        assert!(monitor.has_seen(&assets[..1]) && monitor.check(&assets[0]).is_ok());
        let code = monitor.check(&assets[1]).err().map(|rejection| rejection.code);
        assert_eq!(code, Some(reason::ASSET_SUSPENDED), "whatever is done about upgrades");
        let notices = monitor.notices(&assets);
        assert!(notices.len() == 1 && notices[0].contains("it has no code"), "{notices:?}");
        monitor.note_flaws(&assets, &HashMap::new());
        assert!(!monitor.has_seen(&assets), "its code is seen for the first time");
        monitor.learn(&assets, &[other(), other()]);
        assert!(assets.iter().all(|asset| monitor.check(asset).is_ok()) && monitor.notices(&assets).is_empty());
        assert!(!monitor.is_news(&assets, &[usdc(), other()]), "the first one is known since before");
    }

    #[test]
    fn an_implementation_is_the_only_one() {
        let both = TokenCode { implementations: vec![behind(2, 3), behind(4, 5)], ..usdc() };
        let none = TokenCode { implementations: vec![], ..usdc() };
        let cases = [(usdc(), 2, true), (usdc(), 4, false), (both.clone(), 2, false), (none.clone(), 2, false)];
        for (code_of, implementation, expected) in cases {
            assert_eq!(code_of.runs(account(implementation)), expected, "{code_of}");
        }
        assert_eq!(none.implementations_shown(), "none");
        assert!(both.implementations_shown().contains(" and "));
    }
}
