//! Permit2 and the proxies of x402: typed data and calldata. Source: the
//! contracts; see `docs/protocol-notes.md`, "Exact by Permit2".

use alloy::{
    primitives::{Address, B256, Bytes, U256, address},
    sol_types::{SolCall, SolStruct},
};

use super::permit::{Permit, Witness};
use crate::abi::typed_data_hash;

/// Permit2, at the same address on every chain.
pub const PERMIT2: Address = address!("0x000000000022D473030F116dDEE9F6B43aC78BA3");

/// The proxy that settles scheme `exact`.
pub const EXACT_PROXY: Address = address!("0x402085c248EeA27D92E8b30b2C58ed07f9E20001");

/// The proxy that settles scheme `upto`.
pub const UPTO_PROXY: Address = address!("0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");

/// Generated from Solidity; the Solidity is the documentation.
mod generated {
    alloy::sol_types::sol! {
        #![sol(alloy_sol_types = alloy::sol_types)]

        interface SignatureTransfer {
            event UnorderedNonceInvalidation(address indexed owner, uint256 word, uint256 mask);

            function nonceBitmap(address owner, uint256 word) external view returns (uint256);
        }

        struct EIP712Domain {
            string name;
            uint256 chainId;
            address verifyingContract;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct TokenPermissions {
            address token;
            uint256 amount;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct PermitTransferFrom {
            TokenPermissions permitted;
            uint256 nonce;
            uint256 deadline;
        }

        #[derive(Debug)]
        struct EIP2612Permit {
            uint256 value;
            uint256 deadline;
            bytes32 r;
            bytes32 s;
            uint8 v;
        }

        interface exact {
            struct Witness {
                address to;
                uint256 validAfter;
            }

            struct PermitWitnessTransferFrom {
                TokenPermissions permitted;
                address spender;
                uint256 nonce;
                uint256 deadline;
                Witness witness;
            }

            function settle(PermitTransferFrom permit, address owner, Witness witness, bytes signature) external;
            function settleWithPermit(
                EIP2612Permit permit2612, PermitTransferFrom permit, address owner, Witness witness, bytes signature
            ) external;
        }

        interface upto {
            struct Witness {
                address to;
                address facilitator;
                uint256 validAfter;
            }

            struct PermitWitnessTransferFrom {
                TokenPermissions permitted;
                address spender;
                uint256 nonce;
                uint256 deadline;
                Witness witness;
            }

            function settle(
                PermitTransferFrom permit, uint256 amount, address owner, Witness witness, bytes signature
            ) external;
            function settleWithPermit(
                EIP2612Permit permit2612, PermitTransferFrom permit, uint256 amount, address owner, Witness witness,
                bytes signature
            ) external;
        }
    }
}

use generated::{EIP712Domain, PermitTransferFrom, TokenPermissions, exact, upto};
pub(crate) use generated::{EIP2612Permit, SignatureTransfer};

/// A transaction that settles a payment by Permit2.
#[derive(Clone, Debug)]
pub(crate) struct Settle<'a> {
    /// The payer's signed message.
    pub permit: &'a Permit,
    /// The amount that moves; scheme `exact` always moves what is permitted.
    pub amount: U256,
    /// An EIP-2612 permit that is used first.
    pub permit2612: Option<EIP2612Permit>,
    /// The payer's signature, as Permit2 is to see it.
    pub signature: &'a Bytes,
}

/// The EIP-712 domain separator of Permit2.
pub(crate) fn domain_separator(chain_id: u64) -> B256 {
    let domain = EIP712Domain { name: "Permit2".to_owned(), chainId: U256::from(chain_id), verifyingContract: PERMIT2 };
    domain.eip712_hash_struct()
}

/// The hash that the payer signs.
pub(crate) fn signing_hash(domain: B256, permit: &Permit) -> B256 {
    let (permitted, spender) = (permitted(permit), permit.spender);
    let (nonce, deadline) = (permit.nonce, permit.deadline);
    let hash = match permit.witness {
        Witness::Exact { to, valid_after } => {
            let witness = exact::Witness { to, validAfter: valid_after };
            exact::PermitWitnessTransferFrom { permitted, spender, nonce, deadline, witness }.eip712_hash_struct()
        }
        Witness::Upto { to, facilitator, valid_after } => {
            let witness = upto::Witness { to, facilitator, validAfter: valid_after };
            upto::PermitWitnessTransferFrom { permitted, spender, nonce, deadline, witness }.eip712_hash_struct()
        }
    };
    typed_data_hash(domain, hash)
}

fn permitted(permit: &Permit) -> TokenPermissions {
    TokenPermissions { token: permit.token, amount: permit.amount }
}

impl Settle<'_> {
    /// The calldata for the proxy. The signature stands at its end: length,
    /// then bytes, padded to whole words.
    pub fn calldata(&self) -> Bytes {
        let p = self.permit;
        let (owner, signature, amount) = (p.from, self.signature.clone(), self.amount);
        let permit = PermitTransferFrom { permitted: permitted(p), nonce: p.nonce, deadline: p.deadline };
        match (p.witness, self.permit2612.clone()) {
            (Witness::Exact { to, valid_after }, None) => {
                let witness = exact::Witness { to, validAfter: valid_after };
                exact::settleCall { permit, owner, witness, signature }.abi_encode()
            }
            (Witness::Exact { to, valid_after }, Some(permit2612)) => {
                let witness = exact::Witness { to, validAfter: valid_after };
                exact::settleWithPermitCall { permit2612, permit, owner, witness, signature }.abi_encode()
            }
            (Witness::Upto { to, facilitator, valid_after }, None) => {
                let witness = upto::Witness { to, facilitator, validAfter: valid_after };
                upto::settleCall { permit, amount, owner, witness, signature }.abi_encode()
            }
            (Witness::Upto { to, facilitator, valid_after }, Some(permit2612)) => {
                let witness = upto::Witness { to, facilitator, validAfter: valid_after };
                upto::settleWithPermitCall { permit2612, permit, amount, owner, witness, signature }.abi_encode()
            }
        }
        .into()
    }

    /// The number of bytes at the calldata's end that are the signature.
    pub fn signature_tail(&self) -> usize {
        32 + self.signature.len().div_ceil(32) * 32
    }
}

/// A settlement as a proxy was told to make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub owner: Address,
    pub token: Address,
    pub nonce: U256,
    pub to: Address,
    pub amount: U256,
}

/// Reads what a transaction told a proxy; `None` when it is no settlement.
pub(crate) fn settled(proxy: Address, data: &[u8]) -> Option<Settled> {
    let read = |permit: PermitTransferFrom, owner, to, amount: Option<U256>| {
        let amount = amount.unwrap_or(permit.permitted.amount);
        Settled { owner, token: permit.permitted.token, nonce: permit.nonce, to, amount }
    };
    match proxy {
        EXACT_PROXY => {
            let plain = exact::settleCall::abi_decode(data).ok().map(|c| read(c.permit, c.owner, c.witness.to, None));
            let permitted = || exact::settleWithPermitCall::abi_decode(data).ok();
            plain.or_else(|| permitted().map(|c| read(c.permit, c.owner, c.witness.to, None)))
        }
        UPTO_PROXY => {
            let plain =
                upto::settleCall::abi_decode(data).ok().map(|c| read(c.permit, c.owner, c.witness.to, Some(c.amount)));
            let permitted = || upto::settleWithPermitCall::abi_decode(data).ok();
            plain.or_else(|| permitted().map(|c| read(c.permit, c.owner, c.witness.to, Some(c.amount))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{b256, keccak256};

    use super::*;

    fn permit(witness: Witness) -> Permit {
        Permit {
            from: Address::repeat_byte(1),
            token: Address::repeat_byte(2),
            amount: U256::from(10_000),
            spender: EXACT_PROXY,
            nonce: U256::from(7),
            deadline: U256::from(9),
            witness,
        }
    }

    fn exact_witness() -> Witness {
        Witness::Exact { to: Address::repeat_byte(3), valid_after: U256::ZERO }
    }

    fn upto_witness() -> Witness {
        Witness::Upto { to: Address::repeat_byte(3), facilitator: Address::repeat_byte(4), valid_after: U256::ZERO }
    }

    #[test]
    fn type_hashes_are_the_specifications() {
        let (to, facilitator) = (Address::ZERO, Address::ZERO);
        let permitted = || TokenPermissions { token: to, amount: U256::ZERO };
        let exact = exact::Witness { to, validAfter: U256::ZERO };
        let upto = upto::Witness { to, facilitator, validAfter: U256::ZERO };
        let (spender, nonce, deadline) = (to, U256::ZERO, U256::ZERO);
        let cases = [
            (exact.eip712_type_hash(), b256!("0xd97b3239a7f32295517bd14cb074edfdd188dfe5eb42f802bb26d4fd1eb12c37")),
            (upto.eip712_type_hash(), b256!("0xd4171c445a74218b01d4fd8af34ff1106580ea1e36ff837e64484bfaa2253b75")),
            (
                permitted().eip712_type_hash(),
                b256!("0x618358ac3db8dc274f0cd8829da7e234bd48cd73c4a740aede1adec9846d06a1"),
            ),
            (
                exact::PermitWitnessTransferFrom { permitted: permitted(), spender, nonce, deadline, witness: exact }
                    .eip712_type_hash(),
                b256!("0xebc156cd23678a74c94df13d772ef5478420637f0c94bd10d509e1dc98f521c7"),
            ),
            (
                upto::PermitWitnessTransferFrom { permitted: permitted(), spender, nonce, deadline, witness: upto }
                    .eip712_type_hash(),
                b256!("0x51dff6974ad4388c499e7fcfe838d2bd767162553a144098ce20ea661d70c2ee"),
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
        let domain_type = keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)");
        let words = [domain_type, keccak256("Permit2"), B256::from(U256::from(84_532)), PERMIT2.into_word()];
        assert_eq!(domain_separator(84_532), keccak256(words.concat()));
    }

    #[test]
    fn calldata_is_what_the_proxies_take_and_ends_with_the_signature() {
        let permit2612 = || {
            let (r, s) = (B256::repeat_byte(5), B256::repeat_byte(6));
            Some(EIP2612Permit { value: U256::from(10_000), deadline: U256::from(9), r, s, v: 27 })
        };
        let signature = Bytes::from(vec![0xee; 65]);
        let cases = [
            (exact_witness(), None, [0x13, 0xcd, 0x3b, 0x53], 388),
            (exact_witness(), permit2612(), [0xfa, 0x34, 0x03, 0x78], 548),
            (upto_witness(), None, [0xff, 0x11, 0xe7, 0xb4], 452),
            (upto_witness(), permit2612(), [0x01, 0x6c, 0x17, 0x48], 612),
        ];
        for (witness, permit2612, selector, size) in cases {
            let permit = permit(witness);
            let settle = Settle { permit: &permit, amount: U256::from(1234), permit2612, signature: &signature };
            let data = settle.calldata();
            assert_eq!((&data[..4], data.len()), (&selector[..], size));
            let tail = &data[data.len() - settle.signature_tail()..];
            assert_eq!(&tail[..32], U256::from(65).to_be_bytes::<32>(), "its length");
            assert_eq!(&tail[32..97], &signature[..], "itself");
            let (proxy, amount) = match witness {
                Witness::Exact { .. } => (EXACT_PROXY, U256::from(10_000)),
                Witness::Upto { .. } => (UPTO_PROXY, U256::from(1234)),
            };
            let (owner, to) = (permit.from, Address::repeat_byte(3));
            let expected = Settled { owner, token: permit.token, nonce: permit.nonce, to, amount };
            assert_eq!(settled(proxy, &data).as_ref(), Some(&expected));
            let suffixed = [&data[..], &[0x80, 0x21, 0x80]].concat();
            assert_eq!(settled(proxy, &suffixed), Some(expected), "what stands behind the call says nothing");
            assert_eq!(settled(Address::ZERO, &data), None, "another contract");
            assert_eq!(settled(proxy, &data[..100]), None, "cut off");
        }
        assert_eq!(SignatureTransfer::nonceBitmapCall::SELECTOR, [0x4f, 0xe0, 0x2b, 0x44]);
    }
}
