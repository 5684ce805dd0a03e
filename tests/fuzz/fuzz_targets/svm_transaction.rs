//! No bytes make the reader or the rules panic; what is read is read to the
//! byte, and nothing is accepted that the payer has not signed.
#![no_main]

use chains_svm::exact::{
    NAME,
    demand::Demand,
    rules::{self, Policy},
    smart_wallet,
    transaction::Transaction,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|wire: &[u8]| {
    let Ok(transaction) = Transaction::from_wire(wire.to_vec()) else { return };
    assert_eq!(transaction.wire(), wire);
    assert!(transaction.instructions(&[]).all(|found| transaction.accounts().contains(found.program)));
    let Some(fee_payer) = transaction.fee_payer().copied() else { panic!("decoded without a fee payer") };
    // As favourable to the transaction as can be.
    let transfer = transaction.instructions(&[]).filter_map(|found| found.account(1).zip(found.account(2))).next();
    let (asset, pay_to) = transfer.map_or((fee_payer, fee_payer), |(mint, to)| (*mint, *to));
    let demand = Demand {
        scheme: NAME.into(),
        chosen_scheme: NAME.into(),
        chosen_network: None,
        asset,
        pay_to,
        amount: 1,
        fee_payer: Some(fee_payer.to_string()),
        memo: None,
    };
    let ours = [fee_payer];
    for without_compute_budget in [false, true] {
        let policy = Policy { ours: &ours, limits: Default::default(), without_compute_budget };
        if let Ok(judged) = rules::judge(&transaction, &demand, fee_payer, policy) {
            assert!(transaction.clients_signed() && judged.fee <= policy.limits.fee_max);
        }
    }
    let programs: Vec<_> = transaction.instructions(&[]).map(|found| *found.program).collect();
    let policy = smart_wallet::Policy { ours: &ours, programs: &programs, limits: smart_wallet::default_limits() };
    if let Ok(checked) = smart_wallet::check(&transaction, &demand, fee_payer, policy) {
        assert!(transaction.clients_signed() && checked.fee <= policy.limits.fee_max);
    }
});
