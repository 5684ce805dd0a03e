//! The purpose of the rules: whatever they accept costs us its fee and nothing
//! else, and pays the payee. Proven by execution.

use std::cell::Cell;

use litesvm::LiteSVM;
use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};
use solana_account::Account;

use super::{
    hostile::{Twist, attacks, twist},
    world::*,
    *,
};
use crate::{
    exact::{plain, rules::Evaluated},
    token_account::{self, AccountView, Call},
};

/// The place of the amount in a token account.
const AMOUNT_AT: std::ops::Range<usize> = 64..72;

/// Signatures of everybody, ours as well: as if nothing were checked.
fn signed_by_all(case: &Case, message: VersionedMessage) -> VersionedTransaction {
    let signers = vec![ours(), also_ours(), payer(), stranger(), newcomer()];
    Case { signers, instructions: vec![], requirements: case.requirements.clone(), ..Case::good() }.sign(message)
}

fn our_losses(svm: &LiteSVM, after: &[(Pubkey, Account)], fee: u64) -> Vec<Pubkey> {
    let taken = |address: &Pubkey| {
        let mut expected = before(svm, address);
        if *address == ours().pubkey() {
            expected.lamports -= fee;
        }
        after.iter().any(|(key, account)| key == address && differs(account, &expected))
    };
    possessions().into_iter().filter(taken).collect()
}

/// F10, F12.
#[test]
fn every_attack_would_succeed_and_is_refused() {
    let svm = world(|address| *address);
    for (name, attack) in attacks() {
        for place in [3, 4] {
            let mut case = Case::good();
            case.blockhash = svm.latest_blockhash();
            case.instructions[0] = unit_limit(200_000);
            case.instructions.insert(place, attack.clone());
            let [message, _] = case.messages();
            let transaction = signed_by_all(&case, message);
            let refused = case.evaluate(&decode(&transaction).expect("sound"));
            assert!(refused.is_err(), "{name}: accepted");
            let done = execute(&svm, transaction);
            let accounts = done.accounts.unwrap_or_else(|| panic!("{name}: does not work, so it shows nothing"));
            assert_ne!(our_losses(&svm, &accounts, done.fee), [], "{name}: takes nothing, so it shows nothing");
        }
    }
}

/// Counts of what happened, so that a run that shows nothing is seen.
#[derive(Default)]
struct Counts {
    evaluated: Cell<u32>,
    accepted: Cell<u32>,
    executed: Cell<u32>,
    plain: Cell<u32>,
}

fn count(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

/// A chain, and where the token's things stand in it.
struct Chain {
    svm: LiteSVM,
    at: fn(&Pubkey) -> Pubkey,
    counts: Counts,
}

impl Chain {
    fn new(at: fn(&Pubkey) -> Pubkey) -> Self {
        Self { svm: world(at), at, counts: Counts::default() }
    }

    /// The same payment with the things of this chain.
    fn adapt(&self, case: &mut Case) {
        for instruction in &mut case.instructions {
            instruction.program_id = (self.at)(&instruction.program_id);
            instruction.accounts.iter_mut().for_each(|meta| meta.pubkey = (self.at)(&meta.pubkey));
        }
    }
}

fn check(chain: &Chain, twists: &[Twist], v0: bool) -> Result<(), TestCaseError> {
    let Chain { svm, counts, .. } = chain;
    let mut case = Case::good();
    case.blockhash = svm.latest_blockhash();
    case.signers = vec![payer(), stranger(), newcomer()];
    for twist in twists {
        twist.apply(&mut case);
    }
    chain.adapt(&mut case);
    let [legacy, version_0] = case.messages();
    let mut bytes = if v0 { version_0 } else { legacy }.serialize();
    for twist in twists {
        twist.damage(&mut bytes);
    }
    let Ok(message) = wincode::deserialize_exact::<VersionedMessage>(&bytes) else { return Ok(()) };
    let Ok(transaction) = decode(&case.sign(message)) else { return Ok(()) };
    count(&counts.evaluated);
    let Ok(evaluated) = case.evaluate(&transaction) else { return Ok(()) };
    count(&counts.accepted);
    let wire = transaction.cosigned(&ours().sign_message(transaction.message()));
    let after = execute(svm, wincode::deserialize_exact(&wire).expect("decoded before"));
    prop_assert!(evaluated.fee <= case.limits.fee_max);
    prop_assert!(
        after.fee == evaluated.fee || (after.fee == 0 && after.accounts.is_none()),
        "{} is not {}",
        after.fee,
        evaluated.fee
    );
    if is_good_by_its_accounts(svm, &transaction, &evaluated, &case.requirements.pay_to) {
        count(&counts.plain);
        prop_assert!(after.accounts.is_some(), "its accounts say that it is good, and it fails: {twists:?}");
    }
    let Some(accounts) = after.accounts else { return Ok(()) };
    count(&counts.executed);
    check_effect(chain, &accounts, &evaluated)
}

/// The checks by which a payment that needs no simulation is valid.
fn is_good_by_its_accounts(svm: &LiteSVM, transaction: &Transaction, evaluated: &Evaluated, pay_to: &Pubkey) -> bool {
    let transfer = &evaluated.transfer;
    let parties = [transfer.destination, transfer.source, transfer.authority];
    let accounts = parties.map(|address| svm.get_account(&address));
    let [destination, source, authority] = accounts
        .each_ref()
        .map(|account| account.as_ref().map(|found| AccountView { owner: &found.owner, data: &found.data }));
    plain::is_plain(transaction, evaluated)
        && transaction.blockhash() == svm.latest_blockhash()
        && transfer.decimals == DECIMALS
        && token_account::check_destination(destination, transfer, pay_to).is_ok()
        && token_account::check_source(source, transfer, pay_to, Call::Direct).is_ok()
        && token_account::check_authority(authority).is_ok()
}

/// The payee has the amount, the fee payer has paid the fee, and of ours
/// nothing else has changed.
fn check_effect(chain: &Chain, after: &[(Pubkey, Account)], evaluated: &Evaluated) -> Result<(), TestCaseError> {
    let paid = evaluated.transfer.destination;
    let watched =
        possessions().into_iter().map(|thing| (chain.at)(&thing)).filter(|address| *address != paid).chain([paid]);
    for address in watched {
        let Some((_, account)) = after.iter().find(|(key, _)| *key == address) else { continue };
        let mut expected = before(&chain.svm, &address);
        if address == evaluated.fee_payer {
            expected.lamports -= evaluated.fee;
        }
        if address == paid {
            let had = u64::from_le_bytes(expected.data[AMOUNT_AT].try_into().expect("eight bytes"));
            expected.data[AMOUNT_AT].copy_from_slice(&(had + evaluated.transfer.amount).to_le_bytes());
        }
        prop_assert!(!differs(account, &expected), "{address} is {account:?}, not {expected:?}");
    }
    prop_assert!(after.iter().any(|(key, _)| *key == paid), "the payee's account is not even touched");
    Ok(())
}

/// `PROPTEST_CASES=100000` makes it long; a case is a handful of transactions.
#[test]
fn whatever_is_accepted_costs_its_fee_and_nothing_else_and_what_its_accounts_allow_succeeds() {
    let chains = [Chain::new(|address| *address), Chain::new(twin)];
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let payment = (prop::collection::vec(twist(), 1..4), any::<bool>(), 0..chains.len());
    let run = runner.run(&prop::collection::vec(payment, 8), |payments| {
        payments.iter().try_for_each(|(twists, v0, chain)| check(&chains[*chain], twists, *v0))
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
    for Chain { counts: Counts { evaluated, accepted, executed, plain }, at, .. } in chains {
        let counts = format!("{evaluated:?} evaluated, {accepted:?} accepted, {executed:?} executed, {plain:?} plain");
        let is_spl_token = at(&programs::TOKEN) == programs::TOKEN;
        assert_eq!(plain.get() * 40 > evaluated.get(), is_spl_token, "{counts}: the two ways are not compared");
        assert!(executed.get() * 20 > evaluated.get(), "{counts}: too few to show anything");
        assert!(accepted.get() * 2 < evaluated.get(), "{counts}: not hostile enough");
    }
}

/// The units that [`plain`] reckons with are enough.
#[test]
fn a_plain_payment_never_runs_out_of_units() {
    let svm = world(|address| *address);
    let mut seen = 0;
    for length in [0, 1, 32, 33, 64, 100, 200, 400] {
        for (text, limit) in [("a", 20_000_u32), ("é", 60_000), ("日", 200_000), ("a", 12_000), ("a", 7_500)] {
            let mut case = Case::good();
            case.blockhash = svm.latest_blockhash();
            case.instructions[0] = unit_limit(limit);
            case.instructions[3] = memo(&text.repeat(length / text.len()));
            let [message, _] = case.messages();
            let Ok(transaction) = decode(&case.sign(message)) else { continue };
            let evaluated = case.evaluate(&transaction).expect("good");
            if !plain::is_plain(&transaction, &evaluated) {
                continue;
            }
            seen += 1;
            let wire = transaction.cosigned(&ours().sign_message(transaction.message()));
            let done = execute(&svm, wincode::deserialize_exact(&wire).expect("decoded before"));
            assert!(done.accounts.is_some(), "{length} of {text:?} within {limit} units");
        }
    }
    assert!(seen > 10, "{seen}");
    let official = Case::good();
    let [message, _] = official.messages();
    let transaction = decode(&official.sign(message)).expect("sound");
    let evaluated = official.evaluate(&transaction).expect("good");
    assert!(plain::is_plain(&transaction, &evaluated), "what official clients send is plain");
}
