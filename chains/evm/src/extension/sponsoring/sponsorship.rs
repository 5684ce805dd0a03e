//! Checks that an approval is sponsored, and that a settlement works after it.
//!
//! One `eth_call` executes the approval as the payer and then the settlement
//! as the gas wallet, by the same state overrides that every simulation by
//! Permit2 needs. It proves balance, approval, transfer and amounts as they are
//! in the newest block. Not proven: that nothing changes until then, that the
//! payer sends no other transaction first, and that the token treats a payer
//! without code as it treats this one. The gas wallet's risk is the gas money,
//! capped for each payment and for each hour, and the gas of three transactions.

use alloy::primitives::{Address, Bytes, U256};
use chains_core::{Rejection, scheme::Occasion};
use tokio::time::Instant;

use super::{
    account::Account,
    erc20_approval::ApprovalTransaction,
    ledger::{Ledger, Refused},
    steps::Step,
};
use crate::{
    call_batcher::{
        approval::{self, Answer},
        permit2::{Item, Record},
    },
    context::Context,
    reason,
    rpc::error::CallError,
    scheme::verify_error::VerifyError,
    tx::plan::TransferPlan,
};

/// An approval that is sent before its settlement.
#[derive(Debug)]
pub(crate) struct Sponsorship<'a> {
    approval: &'a ApprovalTransaction,
    payer: Address,
    /// Wei that the payer is given.
    funding: U256,
}

impl<'a> Sponsorship<'a> {
    /// Asks the chain. `before`: what it says of the settlement `item` without
    /// the approval; the answer holds what it says with it.
    pub async fn ask(
        context: &Context,
        sender: Address,
        item: &Item,
        before: &Record,
        approval: &'a ApprovalTransaction,
    ) -> Result<(Self, Record), VerifyError> {
        let newest = context.blocks.newest().ok_or_else(|| context.rpc.unavailable("no block has been seen yet"))?;
        let failed = |error: CallError| context.rpc.unavailable(error);
        let (account, answer) = {
            let _place = context.sponsorships.acquire().await.map_err(|error| context.rpc.unavailable(error))?;
            let simulation = approval::simulation(sender, item, approval);
            let simulated = context.simulator().run::<Bytes>(&simulation);
            futures::join!(Account::read(context, item.payer, approval), simulated)
        };
        let account = account.map_err(failed)?;
        let funding = account.funding(approval, newest.header.base_fee, context.config.sponsor_funding_max)?;
        let answer = answer.map_err(failed)?;
        let record = match approval::read(&answer).ok_or_else(|| failed(CallError::unreadable()))? {
            Answer::Settled(settled) => settled.after(before),
            Answer::NotApproved(revert) => {
                let text = reason::revert_text(&revert);
                let said = if text.is_empty() { "no reason given".to_owned() } else { text };
                let message = format!("the payer's approval would fail: {said}");
                return Err(Rejection::new(reason::PERMIT2_SIMULATION_FAILED, message).into());
            }
        };
        Ok((Self { approval, payer: item.payer, funding }, record))
    }

    /// Takes the gas money out of the network's budget, or only looks whether
    /// it is there.
    pub fn take(&self, context: &Context, occasion: Occasion) -> Result<(), VerifyError> {
        let (ledger, now): (&Ledger, _) = (&context.ledger, Instant::now());
        let taken = match occasion {
            Occasion::Verify => ledger.check(self.payer, self.funding, now),
            Occasion::Settle => ledger.reserve(self.payer, self.funding, now),
        };
        match (taken, occasion) {
            (Ok(()), _) | (Err(Refused::Busy), Occasion::Verify) => Ok(()),
            (Err(Refused::Busy), Occasion::Settle) => {
                Err(context.rpc.unavailable("too many payments are being sponsored, or one of this payer").into())
            }
            (Err(Refused::Payer), _) => {
                let message = "a sponsored payment of this payer failed within the hour";
                Err(Rejection::new(reason::APPROVAL_PAYER_REFUSED, message).into())
            }
            (Err(Refused::Budget), _) => {
                let message = "this network has given away its gas money of the hour";
                Err(Rejection::new(reason::APPROVAL_BUDGET_EXHAUSTED, message).into())
            }
        }
    }

    /// The body of the first transaction on the way to this settlement.
    pub fn first(&self, context: &Context, settle: TransferPlan) -> String {
        let now = context.blocks.timestamp();
        Step::first(self.approval, self.funding, context.config.gas_extra, settle, now)
    }
}
