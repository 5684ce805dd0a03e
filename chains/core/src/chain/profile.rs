use std::{sync::Arc, time::Duration};

use crate::{Amount, Code, Network, metric, scheme::Scheme};

/// The profile of a network: its name, its offers, its gas wallets.
pub trait Profile: Send + Sync {
    /// Its CAIP-2 identifier.
    fn network(&self) -> &Network;

    /// The one other name that callers of older protocols know it by, for
    /// example `base-sepolia`; `None` when there is none.
    fn legacy_name(&self) -> Option<&str>;

    /// The schemes that can be paid with here.
    fn schemes(&self) -> &[Arc<dyn Scheme>];

    /// Returns the entries of `/supported` when this network announces this gas
    /// wallet. Schemes that bind a payment to the wallet that sends it name it
    /// in `extra`; every other configured wallet stays valid.
    fn offers(&self, gas_wallet: &str) -> Vec<Offer>;

    /// The extensions of the protocol that this network understands, by their
    /// keys, for `/supported`.
    fn extensions(&self) -> Vec<&'static str>;

    /// The addresses that pay gas, in configuration order. Never empty.
    fn gas_wallets(&self) -> &[String];

    /// Returns true when a signed transaction says which network it is for: then one key may pay on
    /// several networks. Elsewhere the service warns of it.
    fn transactions_name_their_network(&self) -> bool {
        true
    }

    /// Returns the submitter's parameters for this network.
    fn parameters(&self) -> Parameters;

    /// The symbol and the decimals of an asset that can be paid with here; `None` for any other.
    fn asset(&self, asset: &str) -> Option<(String, u8)>;

    /// Every code that payments of this network are refused or fail with, besides
    /// those of the protocol: for older protocols' spellings and for metrics.
    fn codes(&self) -> &'static [Code] {
        &[]
    }

    /// The labels of this network's metrics. Called once, when the service starts.
    fn metric_labels(&self) -> metric::Labels {
        metric::Labels::default()
    }
}

/// One way of paying, for `/supported`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The scheme's name.
    pub scheme: &'static str,
    /// The scheme's values for servers, if it has any.
    pub extra: Option<serde_json::Value>,
    /// True when callers of the first protocol version can pay this way too.
    pub since_v1: bool,
}

/// The submitter's parameters for a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Transactions of one gas wallet that may wait for a block at a time.
    pub in_flight_max: usize,
    /// Blocks, the including one counted, until a transfer counts as settled.
    pub confirmations: u64,
    /// The usual time between blocks.
    pub block_time: Duration,
    /// Blocks that a transaction may stay unseen before its bytes are sent again.
    pub resend_after: u64,
    /// Blocks that the oldest transaction of a gas wallet may wait at a price
    /// below that of the next block before one that offers more takes its place.
    pub bump_after: u64,
    /// The time between two calls of [`Health::prove`](super::Health::prove).
    pub recheck_interval: Duration,
    /// Below this balance, in the coin's atomic units, a gas wallet takes no
    /// new settlement, whatever is under way.
    pub balance_min: Amount,
    /// Decimals of the coin that pays for gas: so many stand behind the point of a whole coin.
    pub coin_decimals: u8,
    /// The coin that pays for gas, for people.
    pub coin: &'static str,
    /// The most that payments which fail on chain may cost.
    pub loss_budget: LossBudget,
}

/// The most that payments which fail on chain may cost within an hour, in the coin's
/// atomic units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossBudget {
    /// All of this network. Beyond it only payers without code and without a
    /// failure are served.
    pub network: Amount,
    /// Those of one API key.
    pub key: Amount,
    /// Those of payers that run the same code.
    pub code: Amount,
    /// The part of it that strangers may take, on chains where any payer can make its payments
    /// fail for next to nothing; `None` where that takes code.
    pub strangers: Option<Strangers>,
}

/// The bounds of payers that have not paid here before, or have more under way than they
/// have paid for, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strangers {
    /// The most that is lost by anybody, and may be lost by them, within an hour, in the coin's
    /// atomic units.
    pub lost_max: Amount,
    /// Their payments under way, at most: they leave room for others.
    pub under_way_max: usize,
}
