//! Checks of an EIP-3009 payment that need no chain, besides those that every
//! [`Requirements`] has in common. Pure; numbered as in
//! `docs/protocol-notes.md`, "Exact by EIP-3009".

use chains_core::Rejection;

use crate::{
    abi::TransferWithAuthorization,
    config::Domain,
    reason,
    scheme::requirements::{Requirements, Timing, Window},
};

/// `extra.name` and `extra.version`, when both are there.
pub(super) type Names = Option<(String, String)>;

/// Check 2: the requirements name the asset's EIP-712 domain.
pub(super) fn check_names(names: &Names) -> Result<&(String, String), Rejection> {
    names.as_ref().ok_or_else(|| {
        let message = "`extra.name` and `extra.version` must give the asset's EIP-712 domain";
        Rejection::new(reason::MISSING_EIP712_DOMAIN, message)
    })
}

/// Checks 6 to 8 and the domain: recipient, window, value, name, version.
pub(super) fn check_terms(
    requirements: &Requirements,
    names: &Names,
    transfer: &TransferWithAuthorization,
    domain: &Domain,
    timing: Timing,
) -> Result<(), Rejection> {
    let bad = |code, message: String| Err(Rejection::new(code, message));
    if transfer.to != requirements.pay_to {
        let message = format!("the authorization pays {}, required is {}", transfer.to, requirements.pay_to);
        return bad(reason::RECIPIENT_MISMATCH, message);
    }
    check_window(transfer, timing)?;
    if transfer.value != requirements.amount.to_u256() {
        let message =
            format!("the authorization moves {}, required is exactly {}", transfer.value, requirements.amount);
        return bad(reason::VALUE_MISMATCH, message);
    }
    let Some((name, version)) = names else { return Ok(()) };
    if *name != domain.name {
        let message = format!("`extra.name` is not the name in the asset's EIP-712 domain, {:?}", domain.name);
        return bad(reason::TOKEN_NAME_MISMATCH, message);
    }
    if *version != domain.version {
        let message = format!("`extra.version` is not the version in the asset's EIP-712 domain, {:?}", domain.version);
        return bad(reason::TOKEN_VERSION_MISMATCH, message);
    }
    Ok(())
}

/// Check 7: the authorization is valid now, and for long enough.
pub(super) fn check_window(transfer: &TransferWithAuthorization, timing: Timing) -> Result<(), Rejection> {
    let early = ("validAfter", reason::VALID_AFTER);
    let late = ("validBefore", reason::VALID_BEFORE);
    Window { from: transfer.validAfter, until: transfer.validBefore, early, late }.check(timing)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, U256};
    use chains_core::Code;

    use super::*;
    use crate::scheme::requirements::tests::{NOW, account, asset, requirements, timing};

    fn transfer() -> TransferWithAuthorization {
        TransferWithAuthorization {
            from: account(1),
            to: account(2),
            value: U256::from(10_000),
            validAfter: U256::ZERO,
            validBefore: U256::from(NOW + 60),
            nonce: B256::ZERO,
        }
    }

    #[test]
    fn terms_are_checked_in_order() {
        type Change = fn(&mut Names, &mut TransferWithAuthorization);
        let cases: [(Change, Option<Code>); 9] = [
            (|_, _| {}, None),
            (|_, t| (t.to, t.validBefore) = (account(3), U256::ZERO), Some(reason::RECIPIENT_MISMATCH)),
            (|_, t| (t.validBefore, t.value) = (U256::from(NOW + 5), U256::ZERO), Some(reason::VALID_BEFORE)),
            (|_, t| t.validBefore = U256::from(NOW + 3601), Some(reason::VALID_BEFORE)),
            (|_, t| (t.validAfter, t.value) = (U256::from(NOW + 1), U256::ZERO), Some(reason::VALID_AFTER)),
            (|n, t| (t.value, *n) = (U256::from(10_001), None), Some(reason::VALUE_MISMATCH)),
            (|_, t| t.value -= U256::from(1), Some(reason::VALUE_MISMATCH)),
            (|n, _| *n = Some(("USD Coin".into(), "1".into())), Some(reason::TOKEN_NAME_MISMATCH)),
            (|n, _| *n = Some(("USDC".into(), "1".into())), Some(reason::TOKEN_VERSION_MISMATCH)),
        ];
        let domain = asset().eip3009.expect("a domain");
        for (i, (change, expected)) in cases.into_iter().enumerate() {
            let (mut names, mut transfer) = (Some(("USDC".into(), "2".into())), transfer());
            change(&mut names, &mut transfer);
            let result = check_terms(&requirements(), &names, &transfer, &domain, timing());
            assert_eq!(result.err().map(|r| r.code), expected, "case {i}");
        }
    }
}
