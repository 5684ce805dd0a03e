//! The proof that token balances around a transaction give. Pure: the same function
//! evaluates a simulation and a block.

use chains_core::Amount;
use solana_sdk::pubkey::Pubkey;
use solana_transaction_status_client_types::{UiTransactionTokenBalance, option_serializer::OptionSerializer};

use crate::plan::Credit;

/// The token balances around a transaction, as nodes tell them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Balances<'a> {
    /// Those before it.
    pub pre: &'a [UiTransactionTokenBalance],
    /// Those after it.
    pub post: &'a [UiTransactionTokenBalance],
}

/// A token account's content.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holding {
    /// The account that it belongs to; `None` when the node does not tell.
    pub owner: Option<String>,
    /// Atomic units of its token.
    pub amount: Amount,
}

/// The verdict of the balances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credited {
    /// The payee's token account holds more, by the amount at least.
    Yes,
    /// It does not. The text says why.
    No(&'static str),
    /// The balances cannot be read.
    Unknown,
}

impl Balances<'_> {
    /// Looks for the credit in the balances. `accounts` are those of the
    /// transaction: its own, then those of its lookup tables, the writable
    /// ones first.
    pub fn show(&self, credit: &Credit, accounts: &[Pubkey]) -> Credited {
        let position = accounts.iter().position(|account| account.to_string() == credit.destination);
        let Some(index) = position.and_then(|position| u8::try_from(position).ok()) else {
            return Credited::No("the payee's token account is not in the transaction");
        };
        let (Ok(pre), Ok(post)) = (holding(self.pre, index, credit), holding(self.post, index, credit)) else {
            return Credited::Unknown;
        };
        let Some(post) = post else { return Credited::No("the payee's token account does not exist afterwards") };
        if post.owner.as_ref().is_some_and(|owner| *owner != credit.pay_to) {
            return Credited::No("the payee's token account belongs to somebody else");
        }
        let before = pre.map_or(Amount::ZERO, |pre| pre.amount);
        let rose = post.amount.checked_sub(before).is_some_and(|rise| rise >= credit.amount);
        if rose { Credited::Yes } else { Credited::No("the payee's token account did not rise by the amount") }
    }
}

/// The balance's text is not a number.
struct Unreadable;

fn holding(balances: &[UiTransactionTokenBalance], index: u8, credit: &Credit) -> Result<Option<Holding>, Unreadable> {
    let found = balances.iter().find(|balance| balance.account_index == index && balance.mint == credit.mint);
    let Some(found) = found else { return Ok(None) };
    let owner = match &found.owner {
        OptionSerializer::Some(owner) => Some(owner.clone()),
        OptionSerializer::None | OptionSerializer::Skip => None,
    };
    let amount = found.ui_token_amount.amount.parse().map_err(|_| Unreadable)?;
    Ok(Some(Holding { owner, amount }))
}
