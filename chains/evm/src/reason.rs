//! The codes of the schemes on EVM chains, letter for letter as the
//! official SDKs spell them, and the tables that read what contracts revert with.

use alloy::{primitives::keccak256, sol_types::Revert, sol_types::SolError};
use chains_core::Code;

/// The payment names another scheme.
pub const SCHEME: Code = Code::new("invalid_exact_evm_scheme");
/// `extra.name` or `extra.version` is missing.
pub const MISSING_EIP712_DOMAIN: Code = Code::new("invalid_exact_evm_missing_eip712_domain");
/// The payment names another network than the requirements.
pub const NETWORK_MISMATCH: Code = Code::new("invalid_exact_evm_network_mismatch");
/// A counterfactual wallet whose factory the operator does not allow.
pub const FACTORY_NOT_ALLOWED: Code = Code::new("eip6492_factory_not_allowed");
/// The payer did not sign this.
pub const SIGNATURE: Code = Code::new("invalid_exact_evm_signature");
/// The authorization pays somebody else.
pub const RECIPIENT_MISMATCH: Code = Code::new("invalid_exact_evm_recipient_mismatch");
/// The authorization is expired, about to expire, or lives too long.
pub const VALID_BEFORE: Code = Code::new("invalid_exact_evm_payload_authorization_valid_before");
/// The authorization is not valid yet.
pub const VALID_AFTER: Code = Code::new("invalid_exact_evm_payload_authorization_valid_after");
/// The authorization moves another amount.
pub const VALUE_MISMATCH: Code =
    Code::versions("invalid_exact_evm_authorization_value", "invalid_exact_evm_payload_authorization_value_mismatch");
/// There is no contract at the asset's address.
pub const ASSET_NOT_DEPLOYED: Code = Code::new("asset_not_deployed_contract");
/// The asset does not know EIP-3009.
pub const EIP3009_NOT_SUPPORTED: Code = Code::new("invalid_exact_evm_eip3009_not_supported");
/// The authorization was used or cancelled.
pub const NONCE_ALREADY_USED: Code = Code::new("invalid_exact_evm_nonce_already_used");
/// `extra.name` is not the asset's.
pub const TOKEN_NAME_MISMATCH: Code = Code::new("invalid_exact_evm_token_name_mismatch");
/// `extra.version` is not the asset's.
pub const TOKEN_VERSION_MISMATCH: Code = Code::new("invalid_exact_evm_token_version_mismatch");
/// The payer has too little of the asset.
pub const INSUFFICIENT_BALANCE: Code = Code::new("invalid_exact_evm_insufficient_balance");
/// The transfer would fail, for a reason that has no code of its own.
pub const SIMULATION_FAILED: Code = Code::new("invalid_exact_evm_transaction_simulation_failed");
/// The transaction failed on chain, for a reason that has no code of its own.
pub const TRANSACTION_FAILED: Code = Code::new("invalid_exact_evm_transaction_failed");
/// The transaction did not do exactly the expected transfer.
pub const TRANSFER_EVENT_MISMATCH: Code = Code::new("invalid_exact_evm_transfer_event_mismatch");
/// The asset's token was upgraded, and nobody has looked at its new code. Ours.
pub const ASSET_SUSPENDED: Code = Code::new("asset_suspended");
/// The transfer needs more gas than the operator allows.
pub const GAS_LIMIT_EXCEEDED: Code = Code::new("gas_limit_exceeded");

/// The payment names another scheme than `upto`.
pub const UPTO_SCHEME: Code = Code::new("invalid_upto_evm_scheme");
/// As [`NETWORK_MISMATCH`], for `upto`.
pub const UPTO_NETWORK_MISMATCH: Code = Code::new("invalid_upto_evm_network_mismatch");
/// As [`TRANSACTION_FAILED`], for `upto`.
pub const UPTO_TRANSACTION_FAILED: Code = Code::new("invalid_upto_evm_transaction_failed");
/// As [`TRANSFER_EVENT_MISMATCH`], for `upto`.
pub const UPTO_TRANSFER_EVENT_MISMATCH: Code = Code::new("invalid_upto_evm_transfer_event_mismatch");
/// The charge is higher than what the payer signed.
pub const UPTO_EXCEEDS_AMOUNT: Code = Code::new("invalid_upto_evm_payload_settlement_exceeds_amount");
/// The payer bound the payment to a facilitator that is not this one.
pub const UPTO_FACILITATOR_MISMATCH: Code = Code::new("upto_facilitator_mismatch");
/// The proxy: the charge is higher than what the payer signed.
pub const UPTO_AMOUNT_EXCEEDS_PERMITTED: Code = Code::new("upto_amount_exceeds_permitted");
/// The proxy: the payer bound the payment to another sender.
pub const UPTO_UNAUTHORIZED_FACILITATOR: Code = Code::new("upto_unauthorized_facilitator");
/// The Permit2 authorization is for another contract than the scheme's proxy.
pub const PERMIT2_SPENDER: Code = Code::new("invalid_permit2_spender");
/// The Permit2 authorization pays somebody else.
pub const PERMIT2_RECIPIENT_MISMATCH: Code = Code::new("invalid_permit2_recipient_mismatch");
/// The Permit2 authorization is expired, about to expire, or lives too long.
pub const PERMIT2_DEADLINE_EXPIRED: Code = Code::new("permit2_deadline_expired");
/// The Permit2 authorization is not valid yet.
pub const PERMIT2_NOT_YET_VALID: Code = Code::new("permit2_not_yet_valid");
/// The Permit2 authorization is for another amount.
pub const PERMIT2_AMOUNT_MISMATCH: Code = Code::new("permit2_amount_mismatch");
/// The Permit2 authorization is for another token.
pub const PERMIT2_TOKEN_MISMATCH: Code = Code::new("permit2_token_mismatch");
/// The payer did not sign this Permit2 authorization.
pub const PERMIT2_SIGNATURE: Code = Code::new("invalid_permit2_signature");
/// Permit2, or the scheme's proxy, is not on this chain.
pub const PERMIT2_PROXY_NOT_DEPLOYED: Code = Code::new("permit2_proxy_not_deployed");
/// The payer has too little of the asset for its Permit2 authorization.
pub const PERMIT2_INSUFFICIENT_BALANCE: Code = Code::new("permit2_insufficient_balance");
/// The payer allows Permit2 too little of the asset: servers answer 412.
pub const PERMIT2_ALLOWANCE_REQUIRED: Code = Code::new("permit2_allowance_required");
/// The settlement would fail, for a reason that has no code of its own.
pub const PERMIT2_SIMULATION_FAILED: Code = Code::new("permit2_simulation_failed");
/// The nonce was used or cancelled.
pub const PERMIT2_INVALID_NONCE: Code = Code::new("permit2_invalid_nonce");
/// The amount is zero, or more than what is permitted.
pub const PERMIT2_INVALID_AMOUNT: Code = Code::new("permit2_invalid_amount");
/// The payee is nobody.
pub const PERMIT2_INVALID_DESTINATION: Code = Code::new("permit2_invalid_destination");
/// The payer is nobody.
pub const PERMIT2_INVALID_OWNER: Code = Code::new("permit2_invalid_owner");
/// The chain's time is before the authorization's.
pub const PERMIT2_PAYMENT_TOO_EARLY: Code = Code::new("permit2_payment_too_early");
/// The EIP-2612 permit is for another amount than the Permit2 authorization.
pub const PERMIT2_2612_AMOUNT_MISMATCH: Code = Code::new("permit2_2612_amount_mismatch");
/// The EIP-2612 extension has another shape.
pub const EIP2612_FORMAT: Code = Code::new("invalid_eip2612_extension_format");
/// The EIP-2612 permit is somebody else's.
pub const EIP2612_FROM_MISMATCH: Code = Code::new("eip2612_from_mismatch");
/// The EIP-2612 permit is for another token.
pub const EIP2612_ASSET_MISMATCH: Code = Code::new("eip2612_asset_mismatch");
/// The EIP-2612 permit is not for Permit2.
pub const EIP2612_SPENDER_NOT_PERMIT2: Code = Code::new("eip2612_spender_not_permit2");
/// The EIP-2612 permit is expired, or about to expire.
pub const EIP2612_DEADLINE_EXPIRED: Code = Code::new("eip2612_deadline_expired");

/// The approval extension has another shape.
pub const APPROVAL_FORMAT: Code = Code::new("invalid_erc20_approval_extension_format");
/// The approval is somebody else's.
pub const APPROVAL_FROM_MISMATCH: Code = Code::new("erc20_approval_from_mismatch");
/// The approval is for another token.
pub const APPROVAL_ASSET_MISMATCH: Code = Code::new("erc20_approval_asset_mismatch");
/// The approval is not for Permit2.
pub const APPROVAL_SPENDER_NOT_PERMIT2: Code = Code::new("erc20_approval_spender_not_permit2");
/// The approval's transaction is none, or of a sort that is not sent.
pub const APPROVAL_TX_PARSE_FAILED: Code = Code::new("erc20_approval_tx_parse_failed");
/// The approval's transaction calls something else than the token.
pub const APPROVAL_TX_WRONG_TARGET: Code = Code::new("erc20_approval_tx_wrong_target");
/// The approval's transaction calls something else than `approve`.
pub const APPROVAL_TX_WRONG_SELECTOR: Code = Code::new("erc20_approval_tx_wrong_selector");
/// The approval's transaction approves somebody else.
pub const APPROVAL_TX_WRONG_SPENDER: Code = Code::new("erc20_approval_tx_wrong_spender");
/// The approval's transaction holds something else than a plain call of `approve`.
pub const APPROVAL_TX_INVALID_CALLDATA: Code = Code::new("erc20_approval_tx_invalid_calldata");
/// The approval's transaction is signed by somebody else.
pub const APPROVAL_TX_SIGNER_MISMATCH: Code = Code::new("erc20_approval_tx_signer_mismatch");
/// The approval's transaction is signed by nobody.
pub const APPROVAL_TX_INVALID_SIGNATURE: Code = Code::new("erc20_approval_tx_invalid_signature");
/// The approval, or the gas money for it, did not have its effect on chain.
pub const APPROVAL_BROADCAST_FAILED: Code = Code::new("erc20_approval_broadcast_failed");
/// The approval's transaction is for another chain, or for any.
pub const APPROVAL_TX_WRONG_CHAIN: Code = Code::new("erc20_approval_tx_wrong_chain");
/// The approval's transaction sends money along.
pub const APPROVAL_TX_WRONG_VALUE: Code = Code::new("erc20_approval_tx_wrong_value");
/// The approval's transaction pays for an access list.
pub const APPROVAL_TX_ACCESS_LIST: Code = Code::new("erc20_approval_tx_access_list");
/// The approval's transaction may use more gas than an approval needs.
pub const APPROVAL_TX_GAS_LIMIT: Code = Code::new("erc20_approval_tx_gas_limit");
/// The approval allows less than the payer authorized.
pub const APPROVAL_TX_WRONG_AMOUNT: Code = Code::new("erc20_approval_tx_wrong_amount");
/// The approval's transaction is not the payer's next one.
pub const APPROVAL_TX_WRONG_NONCE: Code = Code::new("erc20_approval_tx_wrong_nonce");
/// The approval's transaction offers too little for a block to take it now.
pub const APPROVAL_TX_UNDERPRICED: Code = Code::new("erc20_approval_tx_underpriced");
/// The payer's account has code, which could move its gas money at any time.
pub const APPROVAL_PAYER_HAS_CODE: Code = Code::new("erc20_approval_payer_has_code");
/// The approval needs more gas money than a payer is given.
pub const APPROVAL_FUNDING_TOO_HIGH: Code = Code::new("erc20_approval_funding_too_high");
/// The network has given away all the gas money of this hour.
pub const APPROVAL_BUDGET_EXHAUSTED: Code = Code::new("gas_budget_exhausted");
/// A sponsored payment of this payer failed a short time ago.
pub const APPROVAL_PAYER_REFUSED: Code = Code::new("erc20_approval_payer_refused");

/// Every code above, as the closed set of a metric's label.
pub const ALL: [Code; 73] = [
    SCHEME,
    MISSING_EIP712_DOMAIN,
    NETWORK_MISMATCH,
    FACTORY_NOT_ALLOWED,
    SIGNATURE,
    RECIPIENT_MISMATCH,
    VALID_BEFORE,
    VALID_AFTER,
    VALUE_MISMATCH,
    ASSET_NOT_DEPLOYED,
    EIP3009_NOT_SUPPORTED,
    NONCE_ALREADY_USED,
    TOKEN_NAME_MISMATCH,
    TOKEN_VERSION_MISMATCH,
    INSUFFICIENT_BALANCE,
    SIMULATION_FAILED,
    TRANSACTION_FAILED,
    TRANSFER_EVENT_MISMATCH,
    ASSET_SUSPENDED,
    GAS_LIMIT_EXCEEDED,
    UPTO_SCHEME,
    UPTO_NETWORK_MISMATCH,
    UPTO_TRANSACTION_FAILED,
    UPTO_TRANSFER_EVENT_MISMATCH,
    UPTO_EXCEEDS_AMOUNT,
    UPTO_FACILITATOR_MISMATCH,
    UPTO_AMOUNT_EXCEEDS_PERMITTED,
    UPTO_UNAUTHORIZED_FACILITATOR,
    PERMIT2_SPENDER,
    PERMIT2_RECIPIENT_MISMATCH,
    PERMIT2_DEADLINE_EXPIRED,
    PERMIT2_NOT_YET_VALID,
    PERMIT2_AMOUNT_MISMATCH,
    PERMIT2_TOKEN_MISMATCH,
    PERMIT2_SIGNATURE,
    PERMIT2_PROXY_NOT_DEPLOYED,
    PERMIT2_INSUFFICIENT_BALANCE,
    PERMIT2_ALLOWANCE_REQUIRED,
    PERMIT2_SIMULATION_FAILED,
    PERMIT2_INVALID_NONCE,
    PERMIT2_INVALID_AMOUNT,
    PERMIT2_INVALID_DESTINATION,
    PERMIT2_INVALID_OWNER,
    PERMIT2_PAYMENT_TOO_EARLY,
    PERMIT2_2612_AMOUNT_MISMATCH,
    EIP2612_FORMAT,
    EIP2612_FROM_MISMATCH,
    EIP2612_ASSET_MISMATCH,
    EIP2612_SPENDER_NOT_PERMIT2,
    EIP2612_DEADLINE_EXPIRED,
    APPROVAL_FORMAT,
    APPROVAL_FROM_MISMATCH,
    APPROVAL_ASSET_MISMATCH,
    APPROVAL_SPENDER_NOT_PERMIT2,
    APPROVAL_TX_PARSE_FAILED,
    APPROVAL_TX_WRONG_TARGET,
    APPROVAL_TX_WRONG_SELECTOR,
    APPROVAL_TX_WRONG_SPENDER,
    APPROVAL_TX_INVALID_CALLDATA,
    APPROVAL_TX_SIGNER_MISMATCH,
    APPROVAL_TX_INVALID_SIGNATURE,
    APPROVAL_BROADCAST_FAILED,
    APPROVAL_TX_WRONG_CHAIN,
    APPROVAL_TX_WRONG_VALUE,
    APPROVAL_TX_ACCESS_LIST,
    APPROVAL_TX_GAS_LIMIT,
    APPROVAL_TX_WRONG_AMOUNT,
    APPROVAL_TX_WRONG_NONCE,
    APPROVAL_TX_UNDERPRICED,
    APPROVAL_PAYER_HAS_CODE,
    APPROVAL_FUNDING_TOO_HIGH,
    APPROVAL_BUDGET_EXHAUSTED,
    APPROVAL_PAYER_REFUSED,
];

/// Errors of Permit2 and of x402's proxies, and what they stand for, as
/// x402's specifications map them; by selector.
const PERMIT2_ERRORS: [(&str, Code); 14] = [
    ("Permit2612AmountMismatch()", PERMIT2_2612_AMOUNT_MISMATCH),
    ("InvalidAmount()", PERMIT2_INVALID_AMOUNT),
    ("InvalidAmount(uint256)", PERMIT2_INVALID_AMOUNT),
    ("InvalidDestination()", PERMIT2_INVALID_DESTINATION),
    ("InvalidOwner()", PERMIT2_INVALID_OWNER),
    ("PaymentTooEarly()", PERMIT2_PAYMENT_TOO_EARLY),
    ("InvalidSignature()", PERMIT2_SIGNATURE),
    ("InvalidSignatureLength()", PERMIT2_SIGNATURE),
    ("InvalidSigner()", PERMIT2_SIGNATURE),
    ("InvalidContractSignature()", PERMIT2_SIGNATURE),
    ("SignatureExpired(uint256)", PERMIT2_SIGNATURE),
    ("InvalidNonce()", PERMIT2_INVALID_NONCE),
    ("AmountExceedsPermitted()", UPTO_AMOUNT_EXCEEDS_PERMITTED),
    ("UnauthorizedFacilitator()", UPTO_UNAUTHORIZED_FACILITATOR),
];

/// Errors of Permit2 and its proxies without a code of their own.
const PERMIT2_WORDS: [&str; 1] = ["ReentrancyGuardReentrantCall()"];

/// Custom errors that tokens in the wild use, with the words of the table below.
const CUSTOM_ERRORS: [&str; 12] = [
    "AuthorizationExpired()",
    "AuthorizationNotYetValid()",
    "AuthorizationAlreadyUsed()",
    "AuthorizationUsedOrCanceled()",
    "AuthorizationUsedOrCanceled(address,bytes32)",
    "ERC20InsufficientBalance(address,uint256,uint256)",
    "SignerMismatch()",
    "InvalidSignature()",
    "InvalidSignatureV()",
    "InvalidSignatureS()",
    "ECDSAInvalidSignature()",
    "ECDSAInvalidSignatureS(bytes32)",
];

/// The longest text of a token that is passed on to people.
const REVERT_TEXT_MAX: usize = 200;

/// The words of a contract that reverted, as one line for people; empty when
/// it said nothing readable.
pub fn revert_text(data: &[u8]) -> String {
    if let Ok(Revert { reason }) = Revert::abi_decode(data) {
        return printable(&reason);
    }
    let Some(selector) = data.get(..4) else { return String::new() };
    // The lens cuts revert data off, so that a long text has no valid ABI form.
    if selector == Revert::SELECTOR {
        return printable(&String::from_utf8_lossy(data.get(68..).unwrap_or_default()));
    }
    let permit2 = PERMIT2_ERRORS.iter().map(|(signature, _)| signature);
    let mut signatures = permit2.chain(&PERMIT2_WORDS).chain(&CUSTOM_ERRORS);
    let named = signatures.find(|signature| has_selector(data, signature));
    named.map_or_else(|| alloy::hex::encode_prefixed(selector), |signature| (*signature).to_owned())
}

fn has_selector(data: &[u8], signature: &str) -> bool {
    data.get(..4).is_some_and(|selector| keccak256(signature.as_bytes()).starts_with(selector))
}

/// The code that an error of Permit2 or of its proxies stands for; `None` when
/// it is none of theirs.
pub fn of_permit2_revert(data: &[u8]) -> Option<Code> {
    PERMIT2_ERRORS.iter().find(|(signature, _)| has_selector(data, signature)).map(|(_, code)| *code)
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER).take(REVERT_TEXT_MAX).collect()
}

/// The code that a revert text stands for; `None` when it says nothing of ours.
/// The mapping of x402's official facilitators: lines in order, letter case ignored, the
/// words of a line one after the other.
pub fn of_revert(text: &str) -> Option<Code> {
    const TABLE: [(&[&str], Code); 17] = [
        (&["authorization", "expired"], VALID_BEFORE),
        (&["authorization", "valid before"], VALID_BEFORE),
        (&["authorizationexpired"], VALID_BEFORE),
        (&["authorization", "not", "valid"], VALID_AFTER),
        (&["authorizationnotyetvalid"], VALID_AFTER),
        (&["authorization", "used"], NONCE_ALREADY_USED),
        (&["authorizationalreadyused"], NONCE_ALREADY_USED),
        (&["authorizationusedorcanceled"], NONCE_ALREADY_USED),
        (&["transfer", "exceeds", "balance"], INSUFFICIENT_BALANCE),
        (&["insufficient", "balance"], INSUFFICIENT_BALANCE),
        (&["erc20insufficientbalance"], INSUFFICIENT_BALANCE),
        (&["invalid", "signature"], SIGNATURE),
        (&["signermismatch"], SIGNATURE),
        (&["invalidsignaturev"], SIGNATURE),
        (&["invalidsignatures"], SIGNATURE),
        (&["ecrecover", "invalid"], SIGNATURE),
        (&["ecdsainvalidsignature"], SIGNATURE),
    ];
    let text = text.to_lowercase();
    TABLE.iter().find(|(words, _)| in_order(&text, words)).map(|(_, code)| *code)
}

fn in_order(text: &str, words: &[&str]) -> bool {
    let mut rest = Some(text);
    for word in words {
        rest = rest.and_then(|r| r.find(word).and_then(|at| r.get(at + word.len()..)));
    }
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolError;
    use chains_core::protocol::Version;

    use super::*;

    #[test]
    fn revert_texts_map_to_the_references_codes() {
        let cases = [
            ("FiatTokenV2: authorization is expired", Some(VALID_BEFORE)),
            ("execution reverted: FiatTokenV2: authorization is not yet valid", Some(VALID_AFTER)),
            ("FiatTokenV2: authorization is used or canceled", Some(NONCE_ALREADY_USED)),
            ("ERC20: transfer amount exceeds balance", Some(INSUFFICIENT_BALANCE)),
            ("FiatTokenV2: invalid signature", Some(SIGNATURE)),
            ("ERC20InsufficientBalance(address,uint256,uint256)", Some(INSUFFICIENT_BALANCE)),
            ("AuthorizationAlreadyUsed()", Some(NONCE_ALREADY_USED)),
            ("Blacklistable: account is blacklisted", None),
            ("Pausable: paused", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(of_revert(text), expected, "{text}");
        }
    }

    #[test]
    fn revert_data_becomes_one_line() {
        let error = Revert { reason: "Pausable:\n paused".into() }.abi_encode();
        assert_eq!(revert_text(&error), "Pausable: paused");
        assert_eq!(revert_text(&keccak256(b"SignerMismatch()")[..4]), "SignerMismatch()");
        assert_eq!(revert_text(&[1, 2, 3, 4, 5]), "0x01020304");
        assert_eq!(revert_text(&[1, 2]), "");
        let long = Revert { reason: "x".repeat(100) }.abi_encode();
        assert_eq!(revert_text(&long[..132]), "x".repeat(64), "cut off by the lens");
    }

    #[test]
    fn errors_of_permit2_are_told_by_their_selectors() {
        let cases = [
            ("2c5211c6", PERMIT2_INVALID_AMOUNT),
            ("ac6b05f5", PERMIT2_INVALID_DESTINATION),
            ("49e27cff", PERMIT2_INVALID_OWNER),
            ("a65539fa", PERMIT2_PAYMENT_TOO_EARLY),
            ("050cda49", PERMIT2_2612_AMOUNT_MISMATCH),
            ("0f6fae87", UPTO_UNAUTHORIZED_FACILITATOR),
            ("fe64b4c7", UPTO_AMOUNT_EXCEEDS_PERMITTED),
            ("cd21db4f", PERMIT2_SIGNATURE),
            ("756688fe", PERMIT2_INVALID_NONCE),
            ("815e1d64", PERMIT2_SIGNATURE),
            ("8baa579f", PERMIT2_SIGNATURE),
            ("4be6321b", PERMIT2_SIGNATURE),
            ("b0669cbc", PERMIT2_SIGNATURE),
            ("3728b83d", PERMIT2_INVALID_AMOUNT),
        ];
        for (selector, expected) in cases {
            let data = [alloy::hex::decode(selector).expect("hex"), vec![0; 32]].concat();
            assert_eq!(of_permit2_revert(&data), Some(expected), "{selector}");
            assert!(!revert_text(&data).starts_with("0x"), "{selector} has a name");
        }
        assert_eq!(revert_text(&alloy::hex!("3ee5aeb5")), "ReentrancyGuardReentrantCall()");
        for other in [&[][..], &[0x75, 0x66, 0x88], &[1, 2, 3, 4], &alloy::hex!("3ee5aeb5")] {
            assert_eq!(of_permit2_revert(other), None);
        }
    }

    #[test]
    fn the_list_of_codes_holds_each_of_them_once() {
        let codes = ALL.map(|code| code.spelling(Version::V2));
        assert_eq!(codes.iter().collect::<std::collections::BTreeSet<_>>().len(), ALL.len());
        // This line names what it counts.
        assert_eq!(include_str!("reason.rs").matches(": Code =").count(), ALL.len() + 1, "one is missing in the list");
    }

    #[test]
    fn only_the_value_code_differs_between_versions() {
        assert_eq!(VALUE_MISMATCH.spelling(Version::V1), "invalid_exact_evm_authorization_value");
        assert_eq!(VALUE_MISMATCH.spelling(Version::V2), "invalid_exact_evm_payload_authorization_value_mismatch");
        assert_eq!(SIGNATURE.spelling(Version::V1), SIGNATURE.spelling(Version::V2));
    }
}
