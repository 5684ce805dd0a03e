//! The codes of scheme `exact` on EVM chains, letter for letter as the
//! official SDKs spell them, and the one table that reads revert texts.

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
/// The payload is of a kind that is not served here.
pub const UNSUPPORTED_PAYLOAD_TYPE: Code = Code::new("unsupported_payload_type");
/// The transfer needs more gas than the operator allows.
pub const GAS_LIMIT_EXCEEDED: Code = Code::new("gas_limit_exceeded");

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

/// What a contract said when it reverted, as one line for people; empty when
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
    let named = CUSTOM_ERRORS.iter().find(|signature| keccak256(signature.as_bytes()).starts_with(selector));
    named.map_or_else(|| alloy::hex::encode_prefixed(selector), |signature| (*signature).to_owned())
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER).take(REVERT_TEXT_MAX).collect()
}

/// The code that a revert text stands for; `None` when it says nothing of ours.
/// The table of `protocol.md` 2.5: lines in order, letter case ignored, the
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
    fn only_the_value_code_differs_between_versions() {
        assert_eq!(VALUE_MISMATCH.spelling(Version::V1), "invalid_exact_evm_authorization_value");
        assert_eq!(VALUE_MISMATCH.spelling(Version::V2), "invalid_exact_evm_payload_authorization_value_mismatch");
        assert_eq!(SIGNATURE.spelling(Version::V1), SIGNATURE.spelling(Version::V2));
    }
}
