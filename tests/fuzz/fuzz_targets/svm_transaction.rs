//! No bytes make the reader or the rules panic; what is read is read to the
//! byte, and nothing is accepted that the payer has not signed, that pays
//! anybody else, or in which a key of ours does more than pay the fee.
//!
//! `cargo run -p e2e --bin fuzz-seeds` puts transactions that pass into its corpus.
#![no_main]

use chains_svm::{
    exact::{
        NAME,
        lookup::{self, Tables},
        requirements::Requirements,
        rules::{self, Policy},
        smart_wallet,
        transaction::Transaction,
    },
    local::{Payer, Pubkey, USDC},
    programs,
    token::{AssociatedAccounts, TransferChecked, associated_account},
};
use libfuzzer_sys::fuzz_target;
use solana_sdk::{account::Account, signature::SIGNATURE_BYTES, signer::Signer};

/// The longest lookup table that there is, and what stands before its accounts.
const TABLE_ACCOUNTS: usize = 256;
const TABLE_META: usize = 56;

fuzz_target!(|wire: &[u8]| {
    let Ok(transaction) = Transaction::from_wire(wire.to_vec()) else { return };
    assert_eq!(transaction.wire(), wire);
    assert!(transaction.instructions(&[]).all(|found| transaction.accounts().contains(found.program)));
    evaluate(&transaction);
    evaluate(&signed(&transaction));
});

/// With the signature of the seeds' payer, which no fuzzer finds.
fn signed(transaction: &Transaction) -> Transaction {
    let payer = Payer::numbered(1);
    let mut wire = transaction.wire().to_vec();
    if let Some(place) = transaction.signers().iter().position(|signer| *signer == payer.address()) {
        let at = 1 + place * SIGNATURE_BYTES;
        let signature = payer.key().sign_message(transaction.message());
        wire[at..at + SIGNATURE_BYTES].copy_from_slice(signature.as_ref());
    }
    Transaction::from_wire(wire).expect("nothing but a signature is another")
}

fn evaluate(transaction: &Transaction) {
    let Some(fee_payer) = transaction.fee_payer().copied() else { panic!("decoded without a fee payer") };
    // As favourable to the transaction as can be.
    let transfer = transaction.instructions(&[]).find_map(|found| TransferChecked::parse(&found));
    let requirements = Requirements {
        scheme: NAME.into(),
        chosen_scheme: NAME.into(),
        chosen_network: None,
        asset: transfer.map_or(USDC, |transfer| transfer.mint),
        pay_to: Payer::numbered(2).address(),
        amount: transfer.map_or(1, |transfer| transfer.amount),
        fee_payer: Some(fee_payer.to_string()),
        memo: None,
    };
    let (ours, associated) = ([fee_payer], AssociatedAccounts::default());
    for without_compute_budget in [false, true] {
        let policy =
            Policy { ours: &ours, limits: Default::default(), without_compute_budget, associated: &associated };
        let Ok(evaluated) = rules::evaluate(transaction, &requirements, fee_payer, policy) else { continue };
        let to = associated_account(&requirements.pay_to, &requirements.asset, &evaluated.transfer.program);
        assert!(transaction.clients_signed() && evaluated.fee <= policy.limits.fee_max);
        assert_eq!((evaluated.transfer.destination, evaluated.transfer.amount), (to, requirements.amount));
        assert_eq!(transaction.signers(), [fee_payer, evaluated.transfer.authority]);
        let mut others = transaction.instructions(&[]).filter(|found| *found.program != programs::LIGHTHOUSE);
        assert!(transaction.lookups().is_empty() && others.all(|found| !found.mentions(&fee_payer)));
    }
    let programs: Vec<_> = transaction.instructions(&[]).map(|found| *found.program).collect();
    let policy = smart_wallet::Policy { ours: &ours, programs: &programs, limits: smart_wallet::default_limits() };
    if let Ok(checked) = smart_wallet::check(transaction, &requirements, fee_payer, policy) {
        assert!(transaction.clients_signed() && checked.fee <= policy.limits.fee_max);
        look_up(transaction, fee_payer);
    }
}

/// Tables as long as can be hold whatever is taken from them, and no key of ours can be.
fn look_up(transaction: &Transaction, ours: Pubkey) {
    let table = |number: usize| {
        let account = |at: usize| {
            let mut key = [7; 32];
            key[..4].copy_from_slice(&[number.to_le_bytes()[0], at.to_le_bytes()[0], 0, 0]);
            key
        };
        let meta = [[1, 0, 0, 0].as_slice(), &[0xff; 8], &[0; TABLE_META - 12]].concat();
        let data = [meta, (0..TABLE_ACCOUNTS).flat_map(account).collect()].concat();
        Account { lamports: 1, data, owner: programs::ADDRESS_LOOKUP_TABLE, executable: false, rent_epoch: 0 }
    };
    let lookups = transaction.lookups();
    let tables = Tables { slot: 1, accounts: (0..lookups.len()).map(|number| Some(table(number))).collect() };
    let loaded = lookup::resolve(lookups, &tables).expect("they hold all");
    for found in transaction.instructions(&loaded) {
        assert!((0..found.account_count()).all(|at| found.account(at).is_some()), "every account is known");
    }
    let isolated = smart_wallet::check_loaded(transaction, &loaded, &[ours]).is_ok();
    assert_eq!(isolated, !loaded.contains(&ours));
    if let Some(reached) = loaded.first() {
        assert!(smart_wallet::check_loaded(transaction, &loaded, &[*reached]).is_err());
    }
    let none = Tables { slot: 1, accounts: vec![] };
    assert_eq!(lookup::resolve(lookups, &none).is_ok(), lookups.is_empty());
}
