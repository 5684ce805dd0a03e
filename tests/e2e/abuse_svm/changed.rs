//! Payments that were good when they were looked at, and no longer are when they land.

use chains_svm::{
    local::{AccountMeta, Instruction, Payer, USDC, program_of},
    token::associated_account,
};
use e2e::{
    proxy::Proxy,
    svm::Draft,
    validator::{TOKENS, Validator, fee_payer, payee},
};

use super::{FEE, row, serve, settle_after};

/// The payer's change to its token account.
#[derive(Clone, Copy, Debug)]
enum Change {
    Freezes,
    Empties,
    Closes,
}

impl Change {
    async fn make(self, validator: &Validator, payer: &Payer) {
        let (chain, owner) = (&validator.chain, payer.address());
        match self {
            Self::Freezes => chain.set_frozen(&owner, &USDC, true).await.expect("frozen"),
            Self::Empties => chain.send(payer.key(), &[all_away(payer)]).await.expect("empty"),
            Self::Closes => chain.send(payer.key(), &[all_away(payer), close(payer)]).await.expect("closed"),
        }
    }
}

/// All tokens to somebody who is not the payee.
fn all_away(payer: &Payer) -> Instruction {
    let mut order = Draft::default().order;
    (order.pay_to, order.amount) = (Payer::numbered(15).address(), TOKENS);
    order.instructions(&payer.address()).swap_remove(2)
}

fn close(payer: &Payer) -> Instruction {
    let (owner, program_id) = (payer.address(), program_of(&USDC));
    let accounts = vec![
        AccountMeta::new(associated_account(&owner, &USDC, &program_id), false),
        AccountMeta::new(owner, false),
        AccountMeta::new_readonly(owner, true),
    ];
    // CloseAccount
    Instruction { program_id, accounts, data: vec![9] }
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_a_payers_account_that_is_frozen_emptied_or_closed_after_verify_is_no_success() {
    let validator = Validator::start().await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let (home, service) = serve(&validator, &proxy.url).await;
    let coins = || async { validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance") };
    for (change, number) in [Change::Freezes, Change::Empties, Change::Closes].into_iter().zip(0..) {
        let draft = Draft::of(Payer::numbered(number));
        let body = draft.body(&validator.chain, 2).await;
        let before = coins().await;
        let verified = service.post("/verify", &body).await;
        assert!(verified.is_good(), "{change:?}: {verified:?}");
        let settled = settle_after(&service, &proxy, &body, change.make(&validator, &draft.payer)).await;
        assert_eq!(settled.text("errorReason"), "invalid_exact_svm_transaction_failed", "{change:?}: {settled:?}");
        let row = row(&service, &settled).await;
        assert_eq!((row.text("state"), row.text("feePaid")), ("failed", FEE.to_string().as_str()), "{row:?}");
        assert_eq!(before - coins().await, FEE, "{change:?}");
    }
    assert_eq!(validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance"), 0);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}
