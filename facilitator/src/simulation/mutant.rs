//! Mistakes that are made on purpose, one at a time, to show that the
//! simulation would find them.

use std::cell::Cell;

/// A mistake in a rule of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A block without the configured confirmations counts.
    UnconfirmedCounts,
    /// An effect that nobody can prove counts as a failure.
    UnclearFails,
    /// A transfer that did not happen counts as a success.
    MissingSettles,
    /// A transaction that a pool has lost is never sent again.
    NeverSendsAgain,
    /// A success is given to every request that waits.
    GivesToAll,
    /// A stored success is given to whoever asks.
    DeliversAgain,
    /// Bytes are sent before they are stored.
    SendsBeforeStoring,
    /// A transfer that the chain took back counts as final.
    ReorgStands,
    /// A worker begins with the chain's nonce, whatever the store has given out.
    NonceOfTheChain,
    /// The steps of a dead transaction are forgotten.
    ForgetsOrphans,
    /// After a lost answer of a commit nothing is believed to be stored.
    ForgetsLostCommits,
    /// Transactions from before a restart are not taken up.
    RecoversNothing,
    /// The proof of an unresolved settlement is not asked for again.
    ForgetsUnresolved,
    /// One node decides, whatever the others would say.
    OneNodeDecides,
    /// The machine's clock says what is over, whatever the chain's says.
    OwnClockDecides,
    /// Of a transaction with several attempts only the newest is looked for.
    ForgetsOldAttempts,
    /// Whoever has lost a gas wallet writes all the same. Only several instances can tell.
    WritesUnfenced,
    /// A payment that was handed over is begun although it was withdrawn.
    ReceivesWhatIsWithdrawn,
    /// A caller whose time is over is told that nothing was begun, and the payment stays handed over.
    WithdrawsNothing,
}

/// All of them.
pub(super) const MUTANTS: [Mutant; 16] = [
    Mutant::UnconfirmedCounts,
    Mutant::UnclearFails,
    Mutant::MissingSettles,
    Mutant::NeverSendsAgain,
    Mutant::GivesToAll,
    Mutant::DeliversAgain,
    Mutant::SendsBeforeStoring,
    Mutant::ReorgStands,
    Mutant::NonceOfTheChain,
    Mutant::ForgetsOrphans,
    Mutant::ForgetsLostCommits,
    Mutant::RecoversNothing,
    Mutant::ForgetsUnresolved,
    Mutant::OneNodeDecides,
    Mutant::OwnClockDecides,
    Mutant::ForgetsOldAttempts,
];

thread_local! {
    static SEEDED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// A mistake is made on this thread for as long as this value lives.
pub(super) struct Seeded;

impl Drop for Seeded {
    fn drop(&mut self) {
        SEEDED.set(None);
    }
}

impl Mutant {
    /// Makes this mistake from now on.
    pub(super) fn seed(self) -> Seeded {
        SEEDED.set(Some(self));
        Seeded
    }

    /// Returns true while this mistake is made.
    pub(crate) fn is_made(self) -> bool {
        SEEDED.get() == Some(self)
    }
}
