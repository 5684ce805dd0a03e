//! The reasons why a payment is not verified or settled now.

/// The reason why a payment is not verified or settled now. Nothing was claimed,
/// signed or sent; the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// The network is closed.
    NetworkClosed,
    /// The operator has paused such payments.
    Paused,
    /// No endpoint answers.
    ChainUnavailable,
    /// No gas wallet can pay for one more transaction.
    NoGasWallet,
    /// The gas wallet that the payment needs is closed.
    GasWalletClosed,
    /// Another instance has taken the gas wallet over.
    GasWalletTaken,
    /// The price of gas is above the ceiling, or not known.
    Price,
    /// The gas wallet's key, or the plan, is of no use to this build.
    CannotSign,
    /// The store does not answer.
    Store,
    /// The service is stopping.
    Stopping,
    /// Every queue is full.
    QueueFull,
    /// The request waited in the queue for as long as it may.
    QueueTooLong,
    /// Many requests ask for this payment at once.
    TooManyAtOnce,
    /// Another request settles this payment.
    AnotherRequest,
    /// Another payment of the payer needs the same thing for itself alone.
    PayerExclusive,
    /// Other payments of the payer come first.
    PayerBusy,
    /// Failed payments have used up the gas budget of the network.
    NetworkBudget,
    /// Failed payments have used up the gas budget of the API key.
    KeyBudget,
    /// Failed payments have used up the gas budget of payers with this code.
    CodeBudget,
    /// Payers without a record have as much under way as they may, or failures have used up their gas budget.
    StrangersBudget,
}

impl NotNow {
    /// Every word that [`word`](Self::word) gives.
    pub const WORDS: [&str; 12] = [
        "network_closed",
        "paused",
        "chain_unavailable",
        "no_gas_wallet",
        "price",
        "cannot_sign",
        "store",
        "stopping",
        "queue_full",
        "payment_busy",
        "payer_busy",
        Self::BUDGET,
    ];

    /// The word for a budget that is used up: a rule of the operator's, not a fault.
    pub const BUDGET: &str = "gas_budget";

    /// The word for it in metrics and in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NetworkClosed => "network_closed",
            Self::Paused => "paused",
            Self::ChainUnavailable => "chain_unavailable",
            Self::NoGasWallet | Self::GasWalletClosed | Self::GasWalletTaken => "no_gas_wallet",
            Self::Price => "price",
            Self::CannotSign => "cannot_sign",
            Self::Store => "store",
            Self::Stopping => "stopping",
            Self::QueueFull | Self::QueueTooLong => "queue_full",
            Self::TooManyAtOnce | Self::AnotherRequest => "payment_busy",
            Self::PayerExclusive | Self::PayerBusy => "payer_busy",
            Self::NetworkBudget | Self::KeyBudget | Self::CodeBudget | Self::StrangersBudget => Self::BUDGET,
        }
    }

    /// One of each code, in the order of the contract.
    pub const DISTINCT: [Self; 12] = [
        Self::NetworkClosed,
        Self::ChainUnavailable,
        Self::Store,
        Self::CannotSign,
        Self::Paused,
        Self::NoGasWallet,
        Self::Price,
        Self::Stopping,
        Self::QueueFull,
        Self::AnotherRequest,
        Self::PayerBusy,
        Self::NetworkBudget,
    ];

    /// The code for callers, by which they can tell the reasons apart.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Paused => "payments_paused",
            Self::Price => "gas_price_too_high",
            Self::Store => "store_unavailable",
            Self::Stopping => "service_stopping",
            _ => self.word(),
        }
    }

    /// Returns true where the service, its store or its nodes fail, false where it follows a rule:
    /// x402 has a word of its own for outages.
    pub const fn is_outage(self) -> bool {
        matches!(self, Self::NetworkClosed | Self::ChainUnavailable | Self::Store | Self::CannotSign)
    }

    /// The sentence for callers: no internal text.
    pub const fn message(self) -> &'static str {
        match self {
            Self::NetworkClosed => "this network takes no payments now",
            Self::Paused => "the operator of this service has paused such payments; nothing was sent",
            Self::ChainUnavailable => "the chain could not be asked",
            Self::NoGasWallet => "no gas wallet of this network can pay for a transaction now",
            Self::GasWalletClosed => "the gas wallet is closed",
            Self::GasWalletTaken => "the gas wallet belongs to another instance now",
            Self::Price => "the network's price is above the configured ceiling, or not known",
            Self::CannotSign => "the network cannot take this payment now",
            Self::Store => "the store does not answer",
            Self::Stopping => "the service is stopping; nothing was sent",
            Self::QueueFull => "too many settlements are waiting",
            Self::QueueTooLong => "the queue was too long; nothing was sent",
            Self::TooManyAtOnce => "too many requests for this payment at once",
            Self::AnotherRequest => "this payment is being settled for another request",
            Self::PayerExclusive => "another payment of this payer that needs sponsoring is under way",
            Self::PayerBusy => "other payments of this payer are under way and come first",
            Self::NetworkBudget => {
                "failed payments have used up the gas budget of this network; only payers with a key alone and a clean \
                 record are served"
            }
            Self::KeyBudget => {
                "failed payments have used up the gas budget of this API key; only payers with a key alone and a clean \
                 record are served"
            }
            Self::CodeBudget => "failed payments have used up the gas budget of this kind of contract wallet",
            Self::StrangersBudget => {
                "payers that have not paid here before have as much under way as they may, or have lost as much as they \
                 may; the others are served"
            }
        }
    }
}
