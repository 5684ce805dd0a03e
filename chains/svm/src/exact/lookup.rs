//! Accounts that a transaction takes from lookup tables.
//!
//! At one place of a table always stands the same account: tables only grow,
//! and where one was closed no other comes to be. So what was found once stays
//! right for as long as the transaction can be loaded at all. A table that is
//! being given up is refused, since it may be gone before the transaction lands.

use chains_core::Rejection;
use solana_address_lookup_table_interface::state::AddressLookupTable;
use solana_message::v0::MessageAddressTableLookup;
use solana_sdk::{account::Account, pubkey::Pubkey};

use crate::{context::Context, programs, reason, rpc::error::CallError};

/// The answer of a node about lookup tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The slot of the block that they were looked at in.
    pub slot: u64,
    /// The accounts in the transaction's order; `None` where there is none.
    pub accounts: Vec<Option<Account>>,
}

/// The reason why a lookup table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum TableError {
    #[error("does not exist")]
    Missing,
    #[error("is not a lookup table")]
    Other,
    #[error("has been deactivated")]
    Deactivated,
    #[error("has fewer accounts than the transaction takes from it")]
    TooShort,
}

/// The accounts in the runtime's order: the writable ones of all tables, then
/// the others.
///
/// # Errors
/// The first table that cannot be used.
pub fn resolve(lookups: &[MessageAddressTableLookup], tables: &Tables) -> Result<Vec<Pubkey>, Rejection> {
    let accounts = tables.accounts.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let (mut writable, mut readonly) = (vec![], vec![]);
    for (lookup, account) in lookups.iter().zip(accounts) {
        take(lookup, account, tables.slot, &mut writable, &mut readonly).map_err(|error| {
            let message = format!("the lookup table {} {error}", lookup.account_key);
            Rejection::new(reason::ALT_RESOLUTION_FAILED, message)
        })?;
    }
    writable.append(&mut readonly);
    Ok(writable)
}

fn take(
    lookup: &MessageAddressTableLookup,
    account: Option<&Account>,
    slot: u64,
    writable: &mut Vec<Pubkey>,
    readonly: &mut Vec<Pubkey>,
) -> Result<(), TableError> {
    let account = account.ok_or(TableError::Missing)?;
    if account.owner != programs::ADDRESS_LOOKUP_TABLE {
        return Err(TableError::Other);
    }
    let table = AddressLookupTable::deserialize(&account.data).map_err(|_| TableError::Other)?;
    if table.meta.deactivation_slot != u64::MAX {
        return Err(TableError::Deactivated);
    }
    // What a block adds can be used from the next one on.
    let added = usize::from(table.meta.last_extended_slot_start_index);
    let usable = if slot > table.meta.last_extended_slot { table.addresses.len() } else { added };
    let usable = table.addresses.get(..usable).unwrap_or_default();
    let find = |index: &u8| usable.get(usize::from(*index)).copied().ok_or(TableError::TooShort);
    for (indices, found) in [(&lookup.writable_indexes, writable), (&lookup.readonly_indexes, readonly)] {
        for index in indices {
            found.push(find(index)?);
        }
    }
    Ok(())
}

/// Asks a node for a transaction's tables.
///
/// # Errors
/// No endpoint answered.
pub(super) async fn fetch(context: &Context, lookups: &[MessageAddressTableLookup]) -> Result<Tables, CallError> {
    let names: Vec<Pubkey> = lookups.iter().map(|lookup| lookup.account_key).collect();
    let asked = context.rpc.read(|client| {
        let names = &names;
        async move { client.get_multiple_accounts(names).await }
    });
    let answer = asked.await?;
    Ok(Tables { slot: answer.context.slot, accounts: answer.value })
}

#[cfg(test)]
mod tests;
