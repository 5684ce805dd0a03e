//! Checks that the payer's account can send its approval now, and what gas money
//! it lacks for that.

use alloy::{
    primitives::{Address, Bytes, U256, address, hex},
    sol_types::SolCall,
};
use chains_core::Rejection;

use super::erc20_approval::ApprovalTransaction;
use crate::{
    context::Context,
    reason,
    rpc::{
        error::CallError,
        method::{At, Call, quantity},
    },
};

/// Generated from Solidity; the Solidity is the documentation.
mod generated {
    alloy::sol_types::sol! {
        #![sol(alloy_sol_types = alloy::sol_types)]

        interface GasPriceOracle {
            function getL1Fee(bytes data) external view returns (uint256);
        }
    }
}

use generated::GasPriceOracle;

/// The contract by which rollups of the OP stack tell their charge for a transaction's
/// data. Elsewhere there is nothing: the address is out of anybody's reach.
const GAS_PRICE_ORACLE: Address = address!("0x420000000000000000000000000000000000000F");

/// A payer's account in the newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The number of its transactions: the nonce of the next.
    pub nonce: u64,
    /// The same, with those in the node's pool counted.
    pub nonce_pending: u64,
    /// True when this very approval is in the node's pool, or in a block.
    pub approval_known: bool,
    /// In wei.
    pub balance: U256,
    /// It has code: a contract's or an EIP-7702 delegation.
    pub has_code: bool,
    /// The network's charge for the approval's data now, besides its gas, in wei.
    pub data_fee: U256,
}

impl Account {
    /// Reads the account; at most three HTTP requests, at the same time.
    pub async fn read(context: &Context, payer: Address, approval: &ApprovalTransaction) -> Result<Self, CallError> {
        let calls = [
            Call::transaction_count(payer, At::Latest),
            Call::transaction_count(payer, At::Pending),
            Call::balance(payer),
            Call::code(payer),
        ];
        let hash = hex::encode_prefixed(approval.hash);
        let (account, known, data_fee) = futures::join!(
            context.rpc.all::<String>(&calls),
            context.rpc.call::<Option<serde_json::Value>>(Call::transaction(&hash)),
            data_fee(context, approval),
        );
        let answers = account?;
        let unreadable = || CallError::unreadable();
        let [nonce, pending, balance, code] = answers.as_slice() else { return Err(unreadable()) };
        let count = |text: &str| quantity(text).and_then(|n| u64::try_from(n).ok()).ok_or_else(unreadable);
        Ok(Self {
            nonce: count(nonce)?,
            nonce_pending: count(pending)?,
            approval_known: known?.is_some(),
            balance: quantity(balance).ok_or_else(unreadable)?,
            has_code: code.len() > "0x".len(),
            data_fee: data_fee?,
        })
    }

    /// The gas money that the payer lacks, in wei: exactly. `base_fee`: that of
    /// the newest block. `funding_max`: the most that a payer is given.
    pub fn funding(
        &self,
        approval: &ApprovalTransaction,
        base_fee: u128,
        funding_max: U256,
    ) -> Result<U256, Rejection> {
        let bad = |code, message: String| Err(Rejection::new(code, message));
        // Code can spend what its account is given without using up a nonce.
        if self.has_code {
            return bad(reason::APPROVAL_PAYER_HAS_CODE, "the payer's account has code".to_owned());
        }
        if self.nonce != approval.nonce {
            let message = format!("the approval has nonce {}, the payer's next one is {}", approval.nonce, self.nonce);
            return bad(reason::APPROVAL_TX_WRONG_NONCE, message);
        }
        if self.nonce_pending > self.nonce && !self.approval_known {
            let message = "another transaction of the payer waits for a block";
            return bad(reason::APPROVAL_TX_WRONG_NONCE, message.to_owned());
        }
        // One full block more, and it must still be good enough.
        let fee_now = base_fee.saturating_add(base_fee / 8);
        if approval.fee_per_gas_max < fee_now {
            let offer = approval.fee_per_gas_max;
            let message = format!("the approval offers {offer} wei for a unit of gas, {fee_now} are needed");
            return bad(reason::APPROVAL_TX_UNDERPRICED, message);
        }
        // Half more: it follows another chain's prices, between now and then.
        let data_fee = self.data_fee.saturating_add(self.data_fee / U256::from(2));
        let lacking = approval.cost_max().saturating_add(data_fee).saturating_sub(self.balance);
        if lacking > funding_max {
            let message = format!("the payer lacks {lacking} wei for its approval, at most {funding_max} are given");
            return bad(reason::APPROVAL_FUNDING_TOO_HIGH, message);
        }
        Ok(lacking)
    }
}

async fn data_fee(context: &Context, approval: &ApprovalTransaction) -> Result<U256, CallError> {
    let question = GasPriceOracle::getL1FeeCall { data: approval.raw.clone() }.abi_encode();
    match context.rpc.call::<Bytes>(Call::view(GAS_PRICE_ORACLE, &question, At::Latest)).await {
        Ok(answer) if answer.is_empty() => Ok(U256::ZERO),
        Ok(answer) => GasPriceOracle::getL1FeeCall::abi_decode_returns(&answer).map_err(|_| CallError::unreadable()),
        Err(CallError::Node { error, .. }) if error.is_revert() => Ok(U256::ZERO),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use chains_core::Code;

    use super::*;
    use crate::extension::sponsoring::erc20_approval::tests::Signed;

    fn account() -> Account {
        let (balance, data_fee) = (U256::ZERO, U256::ZERO);
        Account { nonce: 0, nonce_pending: 0, approval_known: false, balance, has_code: false, data_fee }
    }

    #[test]
    fn a_payer_is_given_exactly_what_it_lacks() {
        // 70,000 gas at 2,000 wei.
        let approval = Signed::default().transaction();
        let wei = U256::from::<u64>;
        let cases = [
            (account(), 140_000_000),
            (Account { balance: wei(1), ..account() }, 139_999_999),
            (Account { balance: wei(140_000_000), ..account() }, 0),
            (Account { balance: U256::MAX, ..account() }, 0),
            (Account { data_fee: wei(100), ..account() }, 140_000_150),
            (Account { nonce_pending: 1, approval_known: true, ..account() }, 140_000_000),
        ];
        for (account, expected) in cases {
            assert_eq!(account.funding(&approval, 1000, wei(200_000_000)), Ok(wei(expected)), "{account:?}");
        }
    }

    #[test]
    fn gas_money_is_refused_unless_the_approval_can_only_be_next() {
        let approval = Signed::default().transaction();
        let rich = Account { balance: U256::MAX, ..account() };
        let cases: [(Account, u128, u64, Code); 7] = [
            (Account { has_code: true, nonce: 1, ..rich }, 0, 0, reason::APPROVAL_PAYER_HAS_CODE),
            (Account { nonce: 1, nonce_pending: 1, ..rich }, 9999, 0, reason::APPROVAL_TX_WRONG_NONCE),
            (Account { nonce_pending: 1, ..rich }, 9999, 0, reason::APPROVAL_TX_WRONG_NONCE),
            (account(), 1779, 0, reason::APPROVAL_TX_UNDERPRICED),
            (account(), u128::MAX, 0, reason::APPROVAL_TX_UNDERPRICED),
            (account(), 1000, 139_999_999, reason::APPROVAL_FUNDING_TOO_HIGH),
            (Account { data_fee: U256::MAX, ..account() }, 1000, 200_000_000, reason::APPROVAL_FUNDING_TOO_HIGH),
        ];
        for (account, base_fee, funding_max, expected) in cases {
            let result = account.funding(&approval, base_fee, U256::from(funding_max));
            assert_eq!(result.map_err(|rejection| rejection.code), Err(expected), "{account:?}");
        }
    }
}
