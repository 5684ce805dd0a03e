//! Evaluates the lens's record of a payment. Pure; the last checks of
//! `docs/protocol-notes.md`, "Exact by EIP-3009".

use alloy::primitives::{Address, U256};
use chains_core::Rejection;

use crate::{call_batcher::eip3009::Record, reason, tx::gas};

/// The gas that the transfer may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GasRule {
    /// The most gas that the transaction may need.
    pub cap: u64,
    /// True when the limit follows what the simulation needed, or is the cap.
    pub measured: bool,
}

/// The gas limit of the transfer, when the chain would do it.
///
/// # Errors
/// It would fail, or may not be made.
pub(crate) fn evaluate(
    record: &Record,
    token: Address,
    value: U256,
    data: &[u8],
    rule: GasRule,
) -> Result<u64, Rejection> {
    check_state(record, token, value)?;
    let bad = |code, message: String| Err(Rejection::new(code, message));
    let needed = gas::call_gas(record.gas_used, data);
    let too_much = |needed: u64| {
        let message = format!("the transfer needs more than {} gas: {needed} were used", rule.cap);
        Rejection::new(reason::GAS_LIMIT_EXCEEDED, message)
    };
    if !record.succeeded {
        // A thirty-second: what calls within calls hold back when all is used up.
        let exhausted = record.revert.is_empty() && record.gas_used >= rule.cap - rule.cap / 32;
        return Err(if exhausted { too_much(record.gas_used) } else { failure(&record.revert) });
    }
    if record.pays_wrong_amount {
        let message = format!("the payee's balance would not rise by exactly {value}");
        return bad(reason::TRANSFER_EVENT_MISMATCH, message);
    }
    let limit =
        if rule.measured { gas::wallet_gas_limit(needed, rule.cap) } else { (needed <= rule.cap).then_some(rule.cap) };
    limit.ok_or_else(|| too_much(needed))
}

/// Checks the state that any simulation depends on.
///
/// # Errors
/// The condition that does not hold.
pub(crate) fn check_state(record: &Record, token: Address, value: U256) -> Result<(), Rejection> {
    let bad = |code, message: String| Err(Rejection::new(code, message));
    if !record.token_has_code {
        return bad(reason::ASSET_NOT_DEPLOYED, format!("there is no contract at {token}"));
    }
    match record.nonce_used {
        None => return bad(reason::EIP3009_NOT_SUPPORTED, format!("{token} does not answer authorizationState")),
        Some(true) => return bad(reason::NONCE_ALREADY_USED, "the authorization was used or cancelled".to_owned()),
        Some(false) => {}
    }
    if let Some(balance) = record.balance.filter(|balance| *balance < value) {
        return bad(reason::INSUFFICIENT_BALANCE, format!("the payer has {balance}, required is {value}"));
    }
    Ok(())
}

fn failure(revert: &[u8]) -> Rejection {
    let text = reason::revert_text(revert);
    let code = reason::of_revert(&text).unwrap_or(reason::SIMULATION_FAILED);
    let said = if text.is_empty() { "no reason given".to_owned() } else { text };
    Rejection::new(code, format!("the transfer would fail: {said}"))
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::{Revert, SolError};
    use chains_core::Code;

    use super::*;
    use crate::call_batcher::SignatureAnswer;

    const EOA: GasRule = GasRule { cap: 120_000, measured: false };
    const WALLET: GasRule = GasRule { cap: 250_000, measured: true };

    fn good() -> Record {
        Record {
            token_has_code: true,
            payer_has_code: false,
            signature: SignatureAnswer::NotAsked,
            balance: Some(U256::from(10_000)),
            nonce_used: Some(false),
            succeeded: true,
            pays_wrong_amount: false,
            gas_used: 60_000,
            revert: vec![],
        }
    }

    fn failed(text: &str) -> Record {
        let revert = if text.is_empty() { vec![] } else { Revert { reason: text.into() }.abi_encode() };
        Record { succeeded: false, revert, ..good() }
    }

    fn code(record: &Record, rule: GasRule) -> Result<u64, Code> {
        evaluate(record, Address::ZERO, U256::from(10_000), &[], rule).map_err(|rejection| rejection.code)
    }

    #[test]
    fn a_good_payment_gets_its_gas_limit() {
        assert_eq!(code(&good(), EOA), Ok(120_000), "keys: fixed");
        assert_eq!(code(&good(), WALLET), Ok(105_300), "wallets: 81,000 and 30 %");
        assert_eq!(code(&Record { balance: None, ..good() }, EOA), Ok(120_000), "the simulation is what counts");
    }

    #[test]
    fn the_first_reason_in_order_is_given() {
        let cases = [
            (Record { token_has_code: false, nonce_used: None, ..failed("") }, reason::ASSET_NOT_DEPLOYED),
            (Record { nonce_used: None, balance: None, ..failed("") }, reason::EIP3009_NOT_SUPPORTED),
            (Record { nonce_used: Some(true), balance: Some(U256::ZERO), ..failed("") }, reason::NONCE_ALREADY_USED),
            (Record { balance: Some(U256::from(9_999)), ..failed("Pausable: paused") }, reason::INSUFFICIENT_BALANCE),
            (failed("FiatTokenV2: invalid signature"), reason::SIGNATURE),
            (failed("FiatTokenV2: authorization is not yet valid"), reason::VALID_AFTER),
            (failed("FiatTokenV2: authorization is expired"), reason::VALID_BEFORE),
            (failed("Blacklistable: account is blacklisted"), reason::SIMULATION_FAILED),
            (failed(""), reason::SIMULATION_FAILED),
            (Record { gas_used: 119_000, ..failed("") }, reason::GAS_LIMIT_EXCEEDED),
            (Record { gas_used: 99_001, ..good() }, reason::GAS_LIMIT_EXCEEDED),
            (Record { pays_wrong_amount: true, ..good() }, reason::TRANSFER_EVENT_MISMATCH),
        ];
        for (record, expected) in cases {
            assert_eq!(code(&record, EOA), Err(expected), "{record:?}");
        }
    }
}
