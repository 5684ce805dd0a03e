use solana_address_lookup_table_interface::state::LookupTableMeta;
use solana_message::{AddressLookupTableAccount, VersionedMessage, v0};
use solana_sdk::{
    hash::Hash,
    instruction::{AccountMeta, Instruction},
    signature::Signature,
    transaction::VersionedTransaction,
};

use super::*;
use crate::exact::transaction::Transaction;

const SLOT: u64 = 100;

fn key(byte: u8) -> Pubkey {
    Pubkey::new_from_array([byte; 32])
}

/// A table's account.
fn table(meta: LookupTableMeta, addresses: &[Pubkey]) -> Account {
    let addresses = addresses.to_vec().into();
    let data = AddressLookupTable { meta, addresses }.serialize_for_tests().expect("a table");
    Account { lamports: 1, data, owner: programs::ADDRESS_LOOKUP_TABLE, executable: false, rent_epoch: u64::MAX }
}

fn lookup(table: u8, writable: &[u8], readonly: &[u8]) -> MessageAddressTableLookup {
    let (writable_indexes, readonly_indexes) = (writable.to_vec(), readonly.to_vec());
    MessageAddressTableLookup { account_key: key(table), writable_indexes, readonly_indexes }
}

fn told(accounts: Vec<Option<Account>>) -> Tables {
    Tables { slot: SLOT, accounts }
}

#[test]
fn writable_accounts_of_all_tables_come_first_in_the_order_of_the_lookups() {
    let tables = [10, 20, 30].map(|first| [first, first + 1, first + 2, first + 3].map(key));
    let accounts = tables.iter().map(|held| Some(table(LookupTableMeta::default(), held))).collect();
    let lookups = [lookup(1, &[2, 0], &[1]), lookup(2, &[], &[3, 0]), lookup(3, &[1], &[0])];
    let expected = [12, 10, 31, 11, 23, 20, 30].map(key);
    assert_eq!(resolve(&lookups, &told(accounts)), Ok(expected.to_vec()));
}

/// The accounts that clients put into tables come out again in their place.
#[test]
fn every_instruction_gets_back_the_accounts_that_the_client_meant() {
    let named = |keys: [u8; 4], writable: bool| {
        keys.map(|byte| {
            if writable { AccountMeta::new(key(byte), false) } else { AccountMeta::new_readonly(key(byte), false) }
        })
    };
    let instructions = [([10, 20, 30, 40], true, [11, 21, 31, 41]), ([31, 41, 11, 21], false, [30, 10, 20, 40])].map(
        |(first, writable, second)| {
            let accounts = [named(first, writable), named(second, !writable)].concat();
            Instruction::new_with_bytes(key(9), &[], accounts)
        },
    );
    // Those from 40 on stand in no table, those of 30 in two.
    let held = [(1, vec![20, 30, 11]), (2, vec![30, 21, 10]), (3, vec![31])];
    let held = held.map(|(table, keys)| (key(table), keys.into_iter().map(key).collect::<Vec<_>>()));
    let known = held.clone().map(|(key, addresses)| AddressLookupTableAccount { key, addresses });
    let message = v0::Message::try_compile(&key(8), &instructions, &known, Hash::default()).expect("compiled");
    assert_eq!(message.address_table_lookups.len(), 3);
    let transaction =
        VersionedTransaction { signatures: vec![Signature::default()], message: VersionedMessage::V0(message) };
    let read = Transaction::from_wire(wincode::serialize(&transaction).expect("bytes")).expect("sound");
    let account = |lookup: &MessageAddressTableLookup| {
        let (_, addresses) = held.iter().find(|(key, _)| *key == lookup.account_key)?;
        Some(table(LookupTableMeta::default(), addresses))
    };
    let loaded = resolve(read.lookups(), &told(read.lookups().iter().map(account).collect())).expect("resolved");
    for (found, meant) in read.instructions(&loaded).zip(&instructions) {
        let accounts: Vec<_> = (0..found.account_count()).filter_map(|at| found.account(at).copied()).collect();
        assert_eq!(accounts, meant.accounts.iter().map(|meta| meta.pubkey).collect::<Vec<_>>());
    }
}

#[test]
fn a_table_that_cannot_be_used_or_not_for_long_is_refused() {
    let held = [10, 11, 12].map(key);
    let good = || table(LookupTableMeta::default(), &held);
    let with = |deactivation_slot, last_extended_slot| LookupTableMeta {
        deactivation_slot,
        last_extended_slot,
        last_extended_slot_start_index: 2,
        ..LookupTableMeta::default()
    };
    let active = u64::MAX;
    let cases: [(&str, Option<Account>, Option<&str>); 12] = [
        ("as it should be", Some(good()), None),
        ("none", None, Some("does not exist")),
        ("another program's", Some(Account { owner: key(7), ..good() }), Some("is not a lookup table")),
        ("empty", Some(Account { data: vec![], ..good() }), Some("is not a lookup table")),
        ("not initialised", Some(Account { data: vec![0; 56], ..good() }), Some("is not a lookup table")),
        (
            "half an address",
            Some(Account { data: good().data[..70].to_vec(), ..good() }),
            Some("is not a lookup table"),
        ),
        ("deactivated long ago", Some(table(with(1, 0), &held)), Some("deactivated")),
        ("deactivated just now", Some(table(with(SLOT, 0), &held)), Some("deactivated")),
        ("one account too few", Some(table(LookupTableMeta::default(), &held[..2])), Some("fewer accounts")),
        ("grown before", Some(table(with(active, SLOT - 1), &held)), None),
        ("grown in this block", Some(table(with(active, SLOT), &held)), Some("fewer accounts")),
        ("grown after what is there", Some(table(with(active, SLOT), &held[..1])), Some("fewer accounts")),
    ];
    for (name, account, expected) in cases {
        for lookup in [lookup(1, &[0, 2], &[1]), lookup(1, &[0], &[1, 2])] {
            let found = resolve(&[lookup], &told(vec![account.clone()]));
            let Some(expected) = expected else {
                assert!(found.is_ok(), "{name}: {found:?}");
                continue;
            };
            let refused = found.expect_err(name);
            assert_eq!(refused.code, reason::ALT_RESOLUTION_FAILED, "{name}");
            assert!(refused.message.contains(expected), "{name}: {}", refused.message);
        }
    }
    let refused = resolve(&[lookup(1, &[0], &[]), lookup(2, &[0], &[])], &told(vec![Some(good())]));
    assert!(refused.is_err(), "a node that tells of one table only");
}
