//! Evaluates the lens's record of a settlement by Permit2. Pure; in the
//! order of `docs/protocol-notes.md`, "Exact by Permit2".

use alloy::primitives::U256;
use chains_core::{Code, Rejection, scheme::Occasion};

use crate::{
    call_batcher::permit2::Record,
    reason,
    tx::{gas, plan::Method},
};

/// The question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The amount that moves.
    pub amount: U256,
    /// The calldata that was simulated.
    pub data: &'a [u8],
    /// The most gas that the transaction may need.
    pub cap: u64,
    /// True when the limit follows what the simulation needed, or is the cap.
    pub measured: bool,
    /// The request that it belongs to: a verification knows fewer codes than a settlement.
    pub occasion: Occasion,
    /// Through which proxy.
    pub method: Method,
}

/// The gas limit of the settlement, when the chain would do it.
///
/// # Errors
/// It would fail, or may not be made.
pub(crate) fn evaluate(record: &Record, q: &Question<'_>) -> Result<u64, Rejection> {
    let bad = |code, message: String| Err(Rejection::new(code, message));
    if !record.token_has_code {
        return bad(reason::ASSET_NOT_DEPLOYED, "there is no contract at the asset's address".to_owned());
    }
    let Some(used) = record.nonce_used.filter(|_| record.proxy_works) else {
        let message = "Permit2 or the scheme's proxy is not on this chain";
        return bad(reason::PERMIT2_PROXY_NOT_DEPLOYED, message.to_owned());
    };
    if used {
        let message = "InvalidNonce(): the authorization was used or cancelled";
        return bad(coded(q.occasion, Some(reason::PERMIT2_INVALID_NONCE)), message.to_owned());
    }
    let (amount, needed) = (q.amount, gas::call_gas(record.gas_used, q.data));
    if !record.succeeded {
        if let Some(balance) = record.balance.filter(|balance| *balance < amount) {
            let message = format!("the payer has {balance}, required is {amount}");
            return bad(reason::PERMIT2_INSUFFICIENT_BALANCE, message);
        }
        if let Some(allowance) = record.allowance.filter(|allowance| *allowance < amount) {
            let message = format!("the payer allows Permit2 to take {allowance}, required is {amount}");
            return bad(reason::PERMIT2_ALLOWANCE_REQUIRED, message);
        }
        // A thirty-second: what calls within calls hold back when all is used up.
        if record.revert.is_empty() && record.gas_used >= q.cap - q.cap / 32 {
            return Err(too_much(record.gas_used, q.cap));
        }
        return Err(failure(&record.revert, q.occasion));
    }
    if record.pays_wrong_amount {
        let message = format!("the payee's balance would not rise by exactly {amount}");
        return bad(event_mismatch(q.method), message);
    }
    let limit = if q.measured { gas::wallet_gas_limit(needed, q.cap) } else { (needed <= q.cap).then_some(q.cap) };
    limit.ok_or_else(|| too_much(needed, q.cap))
}

fn too_much(needed: u64, cap: u64) -> Rejection {
    Rejection::new(reason::GAS_LIMIT_EXCEEDED, format!("the settlement needs more than {cap} gas: {needed} were used"))
}

/// A verification answers with its one code for whatever the chain says; a
/// settlement tells more.
fn coded(occasion: Occasion, code: Option<Code>) -> Code {
    match occasion {
        Occasion::Verify => reason::PERMIT2_SIMULATION_FAILED,
        Occasion::Settle => code.unwrap_or(reason::PERMIT2_SIMULATION_FAILED),
    }
}

fn failure(revert: &[u8], occasion: Occasion) -> Rejection {
    let text = reason::revert_text(revert);
    let said = if text.is_empty() { "no reason given".to_owned() } else { text };
    let code = coded(occasion, reason::of_permit2_revert(revert));
    Rejection::new(code, format!("the settlement would fail: {said}"))
}

/// The code for a transfer of anything else than the amount.
pub(crate) const fn event_mismatch(method: Method) -> Code {
    match method {
        Method::Upto => reason::UPTO_TRANSFER_EVENT_MISMATCH,
        Method::Eip3009 | Method::Permit2 => reason::TRANSFER_EVENT_MISMATCH,
    }
}

#[cfg(test)]
mod tests {
    use alloy::{
        hex,
        sol_types::{Revert, SolError},
    };

    use super::*;
    use crate::call_batcher::SignatureAnswer;

    fn question(occasion: Occasion) -> Question<'static> {
        let (amount, method) = (U256::from(10_000), Method::Permit2);
        Question { amount, data: &[], cap: 140_000, measured: false, occasion, method }
    }

    fn good() -> Record {
        Record {
            token_has_code: true,
            payer_has_code: false,
            proxy_works: true,
            signature: SignatureAnswer::NotAsked,
            balance: Some(U256::from(10_000)),
            allowance: Some(U256::from(10_000)),
            nonce_used: Some(false),
            succeeded: true,
            pays_wrong_amount: false,
            gas_used: 70_000,
            revert: vec![],
        }
    }

    fn failed(revert: &[u8]) -> Record {
        Record { succeeded: false, revert: revert.to_vec(), ..good() }
    }

    #[test]
    fn a_good_settlement_gets_its_gas_limit() {
        let measured = Question { measured: true, ..question(Occasion::Settle) };
        let sponsored = Record { allowance: Some(U256::ZERO), ..good() };
        for record in [good(), sponsored] {
            assert_eq!(evaluate(&record, &question(Occasion::Verify)), Ok(140_000), "fixed");
            assert_eq!(evaluate(&record, &measured), Ok(118_300), "91,000 and 30 %");
        }
    }

    #[test]
    fn the_first_reason_in_order_is_given_and_a_settlement_tells_more() {
        let text = Revert { reason: "TRANSFER_FROM_FAILED".into() }.abi_encode();
        let nonce = hex!("756688fe");
        let (empty, poor) = (Some(U256::ZERO), Some(U256::from(9_999)));
        let same = |record, code| (record, code, code);
        let cases = [
            same(Record { token_has_code: false, proxy_works: false, ..failed(&[]) }, reason::ASSET_NOT_DEPLOYED),
            same(Record { proxy_works: false, balance: empty, ..failed(&[]) }, reason::PERMIT2_PROXY_NOT_DEPLOYED),
            same(Record { nonce_used: None, ..good() }, reason::PERMIT2_PROXY_NOT_DEPLOYED),
            (
                Record { nonce_used: Some(true), balance: empty, allowance: empty, ..failed(&nonce) },
                reason::PERMIT2_SIMULATION_FAILED,
                reason::PERMIT2_INVALID_NONCE,
            ),
            same(Record { balance: poor, allowance: empty, ..failed(&text) }, reason::PERMIT2_INSUFFICIENT_BALANCE),
            same(Record { allowance: poor, ..failed(&text) }, reason::PERMIT2_ALLOWANCE_REQUIRED),
            same(failed(&text), reason::PERMIT2_SIMULATION_FAILED),
            same(failed(&[]), reason::PERMIT2_SIMULATION_FAILED),
            (failed(&hex!("a65539fa")), reason::PERMIT2_SIMULATION_FAILED, reason::PERMIT2_PAYMENT_TOO_EARLY),
            same(Record { gas_used: 139_000, ..failed(&[]) }, reason::GAS_LIMIT_EXCEEDED),
            same(Record { gas_used: 119_001, ..good() }, reason::GAS_LIMIT_EXCEEDED),
            same(Record { pays_wrong_amount: true, ..good() }, reason::TRANSFER_EVENT_MISMATCH),
        ];
        for (record, verify, settle) in cases {
            for (occasion, expected) in [(Occasion::Verify, verify), (Occasion::Settle, settle)] {
                let code = evaluate(&record, &question(occasion)).map_err(|rejection| rejection.code);
                assert_eq!(code, Err(expected), "{occasion:?} {record:?}");
            }
        }
    }
}
