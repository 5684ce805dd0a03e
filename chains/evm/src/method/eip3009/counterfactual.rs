//! A payer whose wallet is not deployed yet (ERC-6492): the wallet is deployed
//! and the payment made in one transaction, by Multicall3.
//!
//! The signature's wrapper names a factory and what to call it with. The
//! operator says which factories may be called at all; that the call makes the
//! payer's wallet is proven by a simulation in which the payer's address has no
//! code before it and accepts the signature after it. The factory may fail in
//! the transaction: then somebody else has deployed the wallet meanwhile.

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, U256, address},
    sol_types::SolCall,
};
use chains_core::Rejection;

use crate::{
    abi::{self, Token, TransferWithAuthorization, Wallet},
    call_batcher::confirmation::second_opinion,
    context::Context,
    reason,
    rpc::{Rpc, error::CallError},
    scheme::verify_error::VerifyError,
    signature::Deployment,
    simulation::{Simulation, Simulator},
};

/// The address of Multicall3 on every chain that has it.
pub(crate) const MULTICALL3: Address = address!("0xcA11bde05977b3631167028862bE2a173976CA11");

mod generated {
    alloy::sol_types::sol! {
        #![sol(alloy_sol_types = alloy::sol_types)]

        struct Call3 {
            address target;
            bool allowFailure;
            bytes callData;
        }

        #[derive(Debug)]
        struct Outcome {
            bool success;
            bytes returnData;
        }

        function aggregate3(Call3[] calls) external payable returns (Outcome[] outcomes);
    }
}

use generated::{Call3, Outcome, aggregate3Call};

/// The parts of a deployment and its payment.
pub(crate) struct Counterfactual<'a> {
    pub token: Address,
    pub transfer: &'a TransferWithAuthorization,
    pub deployment: &'a Deployment,
    /// The signature that the wallet will be asked about.
    pub signature: &'a Bytes,
    /// The hash that was to be signed.
    pub hash: B256,
}

impl Counterfactual<'_> {
    /// Checks that the operator allows the factory.
    pub fn check_factory(&self, allowed: &[Address]) -> Result<(), Rejection> {
        if allowed.contains(&self.deployment.factory) {
            return Ok(());
        }
        let message = format!(
            "the payer's wallet is not deployed, and factory {} is not allowed to deploy it",
            self.deployment.factory
        );
        Err(Rejection::new(reason::FACTORY_NOT_ALLOWED, message))
    }

    /// The calldata of the transaction, for [`MULTICALL3`].
    pub fn calldata(&self) -> Bytes {
        let (deploy, transfer) = self.steps();
        aggregate(vec![deploy, Call3 { allowFailure: false, ..transfer }])
    }

    /// Simulates deployment and payment with at most `gas`, of which the
    /// transaction needs less: it asks no questions in between.
    pub async fn check(&self, context: &Context, gas: u64) -> Result<(), VerifyError> {
        let (sender, data) = (context.wallets.first(), hex::encode_prefixed(self.questions()));
        let simulation = Simulation::of_call(sender, MULTICALL3, data, gas);
        self.confirmed(context.simulator(), &simulation, gas).await?;
        // What its code answers must not depend on the very block.
        self.confirmed(context.later_simulator(), &simulation, gas).await
    }

    async fn confirmed(&self, simulator: Simulator<'_>, simulation: &Simulation, gas: u64) -> Result<(), VerifyError> {
        let first = self.try_out(simulator, simulation, gas).await.map_err(|error| simulator.rpc.unavailable(error))?;
        let Err(rejection) = first else { return Ok(()) };
        let ask = |rpc: Rpc| async move { self.try_out(Simulator { rpc: &rpc, ..simulator }, simulation, gas).await };
        second_opinion(simulator.rpc, rejection, ask).await
    }

    /// Tries deployment and payment out.
    ///
    /// # Errors
    /// It could not be asked.
    async fn try_out(
        &self,
        simulator: Simulator<'_>,
        simulation: &Simulation,
        gas: u64,
    ) -> Result<Result<(), Rejection>, CallError> {
        let answer = match simulator.run::<Bytes>(simulation).await {
            Ok(answer) => answer,
            Err(CallError::Node { error, .. }) if error.is_revert() || error.is_out_of_gas() => {
                let message = format!("deploying the wallet and paying would fail within {gas} gas: {error}");
                return Ok(Err(Rejection::new(reason::SIMULATION_FAILED, message)));
            }
            Err(error) => return Err(error),
        };
        let outcomes =
            aggregate3Call::abi_decode_returns(&answer).ok().and_then(|all| <[Outcome; 5]>::try_from(all).ok());
        Ok(self.evaluate(&outcomes.ok_or_else(CallError::unreadable)?))
    }

    fn questions(&self) -> Bytes {
        let (deploy, transfer) = self.steps();
        let balance = || step(self.token, Token::balanceOfCall { account: self.transfer.to }.abi_encode());
        let question = Wallet::isValidSignatureCall { hash: self.hash, signature: self.signature.clone() };
        let accepts = step(self.transfer.from, question.abi_encode());
        aggregate(vec![balance(), deploy, accepts, transfer, balance()])
    }

    fn steps(&self) -> (Call3, Call3) {
        let Deployment { factory, calldata } = self.deployment;
        let transfer = abi::transfer_by_bytes(self.transfer, self.signature.clone());
        (step(*factory, calldata.to_vec()), step(self.token, transfer.to_vec()))
    }

    fn evaluate(&self, [before, deployed, accepted, paid, after]: &[Outcome; 5]) -> Result<(), Rejection> {
        let bad = |code, message: String| Err(Rejection::new(code, message));
        let magic = Wallet::isValidSignatureCall::SELECTOR;
        // 32 bytes, the last 28 of them zero: what a contract answers, and an
        // address without code does not.
        if !accepted.success || accepted.returnData.len() < 32 || accepted.returnData[..4] != magic {
            let deployed = if deployed.success { "" } else { "; the factory's call fails" };
            let message = format!("the wallet that the factory would deploy does not accept the signature{deployed}");
            return bad(reason::SIGNATURE, message);
        }
        if !paid.success {
            let text = reason::revert_text(&paid.returnData);
            let code = reason::of_revert(&text).unwrap_or(reason::SIMULATION_FAILED);
            return bad(code, format!("the transfer would fail: {text}"));
        }
        let balance = |outcome: &Outcome| {
            let bytes = outcome.returnData.get(..32).filter(|_| outcome.success);
            bytes.map(U256::from_be_slice)
        };
        let rise = balance(before).zip(balance(after)).map(|(before, after)| after.wrapping_sub(before));
        if rise != Some(self.transfer.value) {
            let message = format!("the payee's balance would not rise by exactly {}", self.transfer.value);
            return bad(reason::TRANSFER_EVENT_MISMATCH, message);
        }
        Ok(())
    }
}

fn step(target: Address, data: Vec<u8>) -> Call3 {
    Call3 { target, allowFailure: true, callData: data.into() }
}

fn aggregate(calls: Vec<Call3>) -> Bytes {
    aggregate3Call { calls }.abi_encode().into()
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::{Revert, SolError};
    use chains_core::Code;

    use super::*;

    const PAID: u64 = 10_000;

    fn transfer() -> TransferWithAuthorization {
        TransferWithAuthorization {
            from: Address::repeat_byte(1),
            to: Address::repeat_byte(2),
            value: U256::from(PAID),
            validAfter: U256::ZERO,
            validBefore: U256::MAX,
            nonce: B256::repeat_byte(3),
        }
    }

    fn with<T>(check: impl FnOnce(&Counterfactual<'_>) -> T) -> T {
        let (transfer, signature) = (transfer(), Bytes::from_static(&[7; 70]));
        let deployment = Deployment { factory: Address::repeat_byte(4), calldata: Bytes::from_static(&[5; 36]) };
        let token = Address::repeat_byte(0xaa);
        let (transfer, deployment, signature) = (&transfer, &deployment, &signature);
        check(&Counterfactual { token, transfer, deployment, signature, hash: B256::repeat_byte(6) })
    }

    fn outcome(success: bool, data: impl Into<Bytes>) -> Outcome {
        Outcome { success, returnData: data.into() }
    }

    fn reverted(text: &str) -> Outcome {
        outcome(false, Revert { reason: text.into() }.abi_encode())
    }

    fn word(value: u64) -> Outcome {
        outcome(true, U256::from(value).to_be_bytes::<32>())
    }

    fn good() -> [Outcome; 5] {
        let mut magic = [0; 32];
        magic[..4].copy_from_slice(&Wallet::isValidSignatureCall::SELECTOR);
        [word(5), outcome(true, vec![]), outcome(true, magic), outcome(true, vec![]), word(5 + PAID)]
    }

    #[test]
    fn only_an_allowed_factory_is_called() {
        with(|c| {
            assert!(c.check_factory(&[Address::ZERO, Address::repeat_byte(4)]).is_ok());
            let refused = c.check_factory(&[Address::repeat_byte(5)]).map_err(|rejection| rejection.code);
            assert_eq!(refused, Err(reason::FACTORY_NOT_ALLOWED));
        });
    }

    #[test]
    fn the_transaction_may_find_the_wallet_deployed_and_must_pay() {
        let calls = with(|c| aggregate3Call::abi_decode(&c.calldata()).expect("its own bytes").calls);
        let shape: Vec<_> = calls.iter().map(|call| (call.target, call.allowFailure)).collect();
        assert_eq!(shape, [(Address::repeat_byte(4), true), (Address::repeat_byte(0xaa), false)]);
        assert_eq!(calls[0].callData, Bytes::from_static(&[5; 36]));
    }

    #[test]
    fn a_deployment_counts_only_with_its_proof() {
        type Change = fn(&mut [Outcome; 5]);
        let cases: [(Change, Option<Code>); 8] = [
            (|_| {}, None),
            (|o| o[1] = outcome(false, vec![]), None),
            (|o| o[2] = outcome(true, vec![]), Some(reason::SIGNATURE)),
            (|o| o[2] = outcome(true, [0xff; 32]), Some(reason::SIGNATURE)),
            (|o| o[2].success = false, Some(reason::SIGNATURE)),
            (|o| o[3] = reverted("FiatTokenV2: authorization is expired"), Some(reason::VALID_BEFORE)),
            (|o| o[3] = outcome(false, vec![]), Some(reason::SIMULATION_FAILED)),
            (|o| o[4] = word(5 + PAID - 1), Some(reason::TRANSFER_EVENT_MISMATCH)),
        ];
        for (change, expected) in cases {
            let mut outcomes = good();
            change(&mut outcomes);
            let got = with(|c| c.evaluate(&outcomes)).err().map(|rejection| rejection.code);
            assert_eq!(got, expected, "{outcomes:?}");
        }
    }
}
