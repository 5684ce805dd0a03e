//! The few contract interfaces that are spoken here, and their typed data.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};

/// Generated from Solidity; the Solidity is the documentation.
mod generated {
    alloy::sol_types::sol! {
        #![sol(alloy_sol_types = alloy::sol_types)]

        interface Token {
            event Transfer(address indexed from, address indexed to, uint256 value);
            event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
            event Approval(address indexed owner, address indexed spender, uint256 value);
            event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

            function balanceOf(address account) external view returns (uint256);
            function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
            function DOMAIN_SEPARATOR() external view returns (bytes32);
            function approve(address spender, uint256 amount) external returns (bool);
            function allowance(address owner, address spender) external view returns (uint256);
            function mint(address to, uint256 value) external returns (bool);
        }

        interface ByKey {
            function transferWithAuthorization(
                address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce,
                uint8 v, bytes32 r, bytes32 s
            ) external;
        }

        interface ByBytes {
            function transferWithAuthorization(
                address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce,
                bytes signature
            ) external;
        }

        interface Wallet {
            function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4);
        }

        struct EIP712Domain {
            string name;
            string version;
            uint256 chainId;
            address verifyingContract;
        }

        struct TransferWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }
    }
}

pub(crate) use generated::{ByBytes, ByKey, EIP712Domain, Token, TransferWithAuthorization, Wallet};

/// The EIP-712 domain separator of a token.
pub(crate) fn domain_separator(name: &str, version: &str, chain_id: u64, token: Address) -> B256 {
    use alloy::sol_types::SolStruct;
    let domain = EIP712Domain {
        name: name.to_owned(),
        version: version.to_owned(),
        chainId: U256::from(chain_id),
        verifyingContract: token,
    };
    domain.eip712_hash_struct()
}

/// The hash that the payer signs.
pub(crate) fn signing_hash(domain: B256, transfer: &TransferWithAuthorization) -> B256 {
    use alloy::sol_types::SolStruct;
    typed_data_hash(domain, transfer.eip712_hash_struct())
}

/// The hash that is signed of typed data: EIP-712 over a domain separator and a struct's hash.
pub(crate) fn typed_data_hash(domain: B256, message: B256) -> B256 {
    let mut bytes = [0_u8; 66];
    bytes[0] = 0x19;
    bytes[1] = 0x01;
    bytes[2..34].copy_from_slice(domain.as_slice());
    bytes[34..].copy_from_slice(message.as_slice());
    keccak256(bytes)
}

/// Calldata for a payer who signs with a key.
pub(crate) fn transfer_by_key(t: &TransferWithAuthorization, v: u8, r: B256, s: B256) -> Bytes {
    use alloy::sol_types::SolCall;
    let call = ByKey::transferWithAuthorizationCall {
        from: t.from,
        to: t.to,
        value: t.value,
        validAfter: t.validAfter,
        validBefore: t.validBefore,
        nonce: t.nonce,
        v,
        r,
        s,
    };
    call.abi_encode().into()
}

/// Calldata for a payer whose signature its own contract checks.
pub(crate) fn transfer_by_bytes(t: &TransferWithAuthorization, signature: Bytes) -> Bytes {
    use alloy::sol_types::SolCall;
    let call = ByBytes::transferWithAuthorizationCall {
        from: t.from,
        to: t.to,
        value: t.value,
        validAfter: t.validAfter,
        validBefore: t.validBefore,
        nonce: t.nonce,
        signature,
    };
    call.abi_encode().into()
}

#[cfg(test)]
mod tests {
    use alloy::{
        primitives::{address, b256},
        sol_types::{SolCall, SolStruct},
    };

    use super::*;

    #[test]
    fn selectors_and_type_hashes_are_the_specifications() {
        assert_eq!(ByKey::transferWithAuthorizationCall::SELECTOR, [0xe3, 0xee, 0x16, 0x0e]);
        assert_eq!(ByBytes::transferWithAuthorizationCall::SELECTOR, [0xcf, 0x09, 0x29, 0x95]);
        assert_eq!(Wallet::isValidSignatureCall::SELECTOR, [0x16, 0x26, 0xba, 0x7e]);
        let transfer = TransferWithAuthorization {
            from: Address::ZERO,
            to: Address::ZERO,
            value: U256::ZERO,
            validAfter: U256::ZERO,
            validBefore: U256::ZERO,
            nonce: B256::ZERO,
        };
        let type_hash = b256!("0x7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267");
        assert_eq!(transfer.eip712_type_hash(), type_hash);
    }

    #[test]
    fn the_domain_separator_is_what_usdc_on_base_answers() {
        let usdc = address!("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
        // DOMAIN_SEPARATOR() of the contract on Base.
        let on_chain = b256!("0x02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f");
        assert_eq!(domain_separator("USD Coin", "2", 8453, usdc), on_chain);
    }
}
