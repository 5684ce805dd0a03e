//! The codes of scheme `exact` on Solana, letter for letter as the official
//! SDKs spell them. Where they add a detail after a colon, the sentence has it.

use chains_core::Code;

/// The payment names another scheme.
pub const UNSUPPORTED_SCHEME: Code = Code::versions("unsupported_scheme", "invalid_exact_svm_unsupported_scheme");
/// The payment names another network than the requirements.
pub const NETWORK_MISMATCH: Code = Code::versions("network_mismatch", "invalid_exact_svm_network_mismatch");
/// `extra.feePayer` is missing.
pub const MISSING_FEE_PAYER: Code = Code::new("invalid_exact_svm_payload_missing_fee_payer");
/// `extra.feePayer` is none of our keys.
pub const FEE_PAYER_NOT_MANAGED: Code =
    Code::versions("fee_payer_not_managed_by_facilitator", "invalid_exact_svm_fee_payer_not_managed_by_facilitator");
/// The text is not base64, the bytes are not a transaction, or the transaction is
/// one that no node would load.
pub const COULD_NOT_BE_DECODED: Code = Code::new("invalid_exact_svm_payload_transaction_could_not_be_decoded");
/// The transaction asks for more signatures than the fee payer's and the payer's.
pub const EXCESSIVE_SIGNERS: Code = Code::new("invalid_exact_svm_payload_excessive_signers");
/// The transaction's first account, who pays its fee, is not `extra.feePayer`.
pub const FEE_PAYER_MISMATCH: Code = Code::new("invalid_exact_svm_fee_payer_mismatch");
/// A signature other than the fee payer's is missing or wrong, or the
/// transfer's authority is not among the signers.
pub const SIGNATURE_INVALID: Code = Code::new("invalid_exact_svm_payload_signature_invalid");
/// The transaction takes accounts from lookup tables where none are allowed.
pub const ALT_RESOLUTION_NOT_AVAILABLE: Code = Code::new("invalid_exact_svm_smart_wallet_alt_resolution_not_available");
/// A lookup table is missing, closed or too short.
pub const ALT_RESOLUTION_FAILED: Code = Code::new("invalid_exact_svm_smart_wallet_alt_resolution_failed");
/// Too few or too many instructions.
pub const INSTRUCTIONS_LENGTH: Code = Code::new("invalid_exact_svm_payload_transaction_instructions_length");
/// The first instruction is not `SetComputeUnitLimit`.
pub const COMPUTE_LIMIT_INSTRUCTION: Code =
    Code::new("invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction");
/// More compute units than the operator allows.
pub const COMPUTE_LIMIT_TOO_HIGH: Code =
    Code::new("invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high");
/// The second instruction is not `SetComputeUnitPrice`.
pub const COMPUTE_PRICE_INSTRUCTION: Code =
    Code::new("invalid_exact_svm_payload_transaction_instructions_compute_price_instruction");
/// A higher price per unit, or a higher fee in total, than the operator allows.
pub const COMPUTE_PRICE_TOO_HIGH: Code =
    Code::new("invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high");
/// The third instruction is not `TransferChecked` of a token program.
pub const NO_TRANSFER_INSTRUCTION: Code = Code::new("invalid_exact_svm_payload_no_transfer_instruction");
/// The tokens would be ours.
pub const FEE_PAYER_TRANSFERRING_FUNDS: Code =
    Code::new("invalid_exact_svm_payload_transaction_fee_payer_transferring_funds");
/// One of our keys stands elsewhere than as the first account.
pub const FEE_PAYER_INCLUDED: Code =
    Code::new("invalid_exact_svm_payload_transaction_fee_payer_included_in_instruction_accounts");
/// Another token.
pub const MINT_MISMATCH: Code = Code::new("invalid_exact_svm_payload_mint_mismatch");
/// Another account than the payee's associated one, or the payee pays itself.
pub const RECIPIENT_MISMATCH: Code = Code::new("invalid_exact_svm_payload_recipient_mismatch");
/// Not exactly the required amount.
pub const AMOUNT_MISMATCH: Code = Code::new("invalid_exact_svm_payload_amount_mismatch");
/// The fourth to the seventh instruction are neither memo nor an assertion of
/// Lighthouse; by place, from the fourth on.
pub const UNKNOWN_INSTRUCTION: [Code; 4] = [
    Code::new("invalid_exact_svm_payload_unknown_fourth_instruction"),
    Code::new("invalid_exact_svm_payload_unknown_fifth_instruction"),
    Code::new("invalid_exact_svm_payload_unknown_sixth_instruction"),
    Code::new("invalid_exact_svm_payload_unknown_seventh_instruction"),
];
/// `extra.memo` is required, and there is not exactly one memo.
pub const MEMO_COUNT: Code = Code::new("invalid_exact_svm_payload_memo_count");
/// The memo is not `extra.memo`.
pub const MEMO_MISMATCH: Code = Code::new("invalid_exact_svm_payload_memo_mismatch");
/// The transaction would fail.
pub const SIMULATION_FAILED: Code =
    Code::versions("transaction_simulation_failed", "invalid_exact_svm_transaction_simulation_failed");
/// The payee has no token account for the token. Ours: the official SDKs say
/// no more than that the transaction would fail.
pub const DESTINATION_MISSING: Code = Code::new("invalid_exact_svm_destination_account_missing");
/// The blockhash is accepted for too few blocks to be sure to land. Ours.
pub const BLOCKHASH_EXPIRING: Code = Code::new("invalid_exact_svm_blockhash_expiring");
/// The transaction failed on chain, or can no longer get there.
pub const TRANSACTION_FAILED: Code = Code::versions("transaction_failed", "invalid_exact_svm_transaction_failed");

/// Smart wallets: a program that is not allowed.
pub const WALLET_PROGRAM_NOT_ALLOWED: Code = Code::new("invalid_exact_svm_smart_wallet_program_not_allowed");
/// Smart wallets: one of our keys stands elsewhere than as the first account.
pub const WALLET_FEE_PAYER_NOT_ISOLATED: Code = Code::new("invalid_exact_svm_smart_wallet_fee_payer_not_isolated");
/// Smart wallets: an instruction to the `ComputeBudget` program without data, or one that stands twice.
pub const WALLET_MALFORMED_COMPUTE_BUDGET: Code = Code::new("invalid_exact_svm_smart_wallet_malformed_compute_budget");
/// Smart wallets: `SetComputeUnitLimit` of another shape.
pub const WALLET_MALFORMED_COMPUTE_LIMIT: Code = Code::new("invalid_exact_svm_smart_wallet_malformed_compute_limit");
/// Smart wallets: `SetComputeUnitPrice` of another shape.
pub const WALLET_MALFORMED_COMPUTE_PRICE: Code = Code::new("invalid_exact_svm_smart_wallet_malformed_compute_price");
/// Smart wallets: more compute units than the operator allows.
pub const WALLET_COMPUTE_UNITS_TOO_HIGH: Code = Code::new("invalid_exact_svm_smart_wallet_compute_units_too_high");
/// Smart wallets: a higher price or fee than the operator allows.
pub const WALLET_PRIORITY_FEE_TOO_HIGH: Code = Code::new("invalid_exact_svm_smart_wallet_priority_fee_too_high");
/// Smart wallets: a `ComputeBudget` instruction other than limit and price.
pub const WALLET_UNSUPPORTED_COMPUTE_BUDGET: Code =
    Code::new("invalid_exact_svm_smart_wallet_unsupported_compute_budget_instruction");
/// Smart wallets: the transaction would fail.
pub const WALLET_SIMULATION_FAILED: Code = Code::new("invalid_exact_svm_smart_wallet_simulation_failed");
/// Smart wallets: no token moves.
pub const WALLET_NO_TRANSFER: Code = Code::new("invalid_exact_svm_smart_wallet_no_transfer_in_simulation");
/// Smart wallets: tokens move, but not the required ones to the payee.
pub const WALLET_TRANSFER_MISMATCH: Code = Code::new("invalid_exact_svm_smart_wallet_transfer_mismatch");
/// Smart wallets: more than one transfer would pay the payee.
pub const WALLET_MULTIPLE_TRANSFERS: Code = Code::new("invalid_exact_svm_smart_wallet_multiple_matching_transfers");
/// Smart wallets: it landed, and the payee's transfer is not in it.
pub const TRANSFER_NOT_CONFIRMED: Code = Code::new("post_settlement_transfer_not_confirmed");
/// The token is not what the configuration says; payments in others are not concerned.
pub const ASSET_SUSPENDED: Code = Code::new("asset_suspended");

/// Every code above, as the closed set of a metric's label.
pub const ALL: [Code; 41] = [
    UNSUPPORTED_SCHEME,
    NETWORK_MISMATCH,
    MISSING_FEE_PAYER,
    FEE_PAYER_NOT_MANAGED,
    COULD_NOT_BE_DECODED,
    EXCESSIVE_SIGNERS,
    FEE_PAYER_MISMATCH,
    SIGNATURE_INVALID,
    ALT_RESOLUTION_NOT_AVAILABLE,
    ALT_RESOLUTION_FAILED,
    INSTRUCTIONS_LENGTH,
    COMPUTE_LIMIT_INSTRUCTION,
    COMPUTE_LIMIT_TOO_HIGH,
    COMPUTE_PRICE_INSTRUCTION,
    COMPUTE_PRICE_TOO_HIGH,
    NO_TRANSFER_INSTRUCTION,
    FEE_PAYER_TRANSFERRING_FUNDS,
    FEE_PAYER_INCLUDED,
    MINT_MISMATCH,
    RECIPIENT_MISMATCH,
    AMOUNT_MISMATCH,
    MEMO_COUNT,
    MEMO_MISMATCH,
    SIMULATION_FAILED,
    DESTINATION_MISSING,
    BLOCKHASH_EXPIRING,
    TRANSACTION_FAILED,
    WALLET_PROGRAM_NOT_ALLOWED,
    WALLET_FEE_PAYER_NOT_ISOLATED,
    WALLET_MALFORMED_COMPUTE_BUDGET,
    WALLET_MALFORMED_COMPUTE_LIMIT,
    WALLET_MALFORMED_COMPUTE_PRICE,
    WALLET_COMPUTE_UNITS_TOO_HIGH,
    WALLET_PRIORITY_FEE_TOO_HIGH,
    WALLET_UNSUPPORTED_COMPUTE_BUDGET,
    WALLET_SIMULATION_FAILED,
    WALLET_NO_TRANSFER,
    WALLET_TRANSFER_MISMATCH,
    WALLET_MULTIPLE_TRANSFERS,
    TRANSFER_NOT_CONFIRMED,
    ASSET_SUSPENDED,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chains_core::protocol::Version;

    use super::*;

    #[test]
    fn the_list_of_codes_holds_each_of_them_once() {
        let codes: BTreeSet<_> = ALL.iter().map(|code| code.spelling(Version::V2)).collect();
        assert_eq!(codes.len(), ALL.len());
        // This line names what it counts.
        assert_eq!(include_str!("reason.rs").matches(": Code =").count(), ALL.len() + 1, "one is missing in the list");
    }
}
