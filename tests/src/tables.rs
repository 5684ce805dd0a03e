//! Address lookup tables on the local chain.

use chains_svm::local::{AddressLookupTableAccount, LocalChain, Payer, Pubkey};
use solana_address_lookup_table_interface::instruction::{
    create_lookup_table, deactivate_lookup_table, extend_lookup_table,
};

use crate::eventually;

/// Creates a table of these accounts and waits until it can be used.
///
/// # Panics
/// If the chain refuses it.
pub async fn create(chain: &LocalChain, authority: &Payer, addresses: &[Pubkey]) -> AddressLookupTableAccount {
    let slot = || async { chain.client().get_slot().await.expect("a slot") };
    let owner = authority.address();
    // A block that is over, so that the chain knows its hash.
    let (create, key) = create_lookup_table(owner, owner, slot().await - 1);
    let extend = extend_lookup_table(key, owner, Some(owner), addresses.to_vec());
    chain.send(authority.key(), &[create, extend]).await.expect("created");
    let created = slot().await;
    eventually("a block after it", || async { (slot().await > created).then_some(()) }).await;
    AddressLookupTableAccount { key, addresses: addresses.to_vec() }
}

/// Gives a table up. Transactions that use it land for some time yet.
///
/// # Panics
/// If the chain refuses it.
pub async fn deactivate(chain: &LocalChain, authority: &Payer, table: &AddressLookupTableAccount) {
    let instruction = deactivate_lookup_table(table.key, authority.address());
    chain.send(authority.key(), &[instruction]).await.expect("deactivated");
}
