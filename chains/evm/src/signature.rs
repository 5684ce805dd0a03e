//! A payer's signature: parsed once, from text, into what it can be.

use alloy::{
    consensus::crypto::secp256k1::recover_signer,
    primitives::{Address, B256, Bytes, Signature as Ecdsa, U256},
    sol_types::SolValue,
};

/// The longest signature that is read, in bytes: room for passkey and
/// multi-party wallets, and little for those who would fill our calldata.
pub const SIGNATURE_BYTES_MAX: usize = 4096;

/// The suffix of an ERC-6492 wrapper.
const ERC6492_SUFFIX: [u8; 32] = [
    0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64,
    0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92,
];

/// A signature as a payer sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Without an ERC-6492 wrapper, otherwise as sent: a wallet may give the
    /// last byte a meaning of its own.
    pub inner: Bytes,
    /// The deployment of the payer's wallet, when a wrapper names one.
    pub deployment: Option<Deployment>,
    /// The inner signature as one of a key: 65 bytes, low s, v in 0, 1, 27, 28;
    /// or the same in the 64 bytes of EIP-2098.
    pub by_key: Option<ByKey>,
}

/// The deployment that an ERC-6492 wrapper names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The factory.
    pub factory: Address,
    /// With what.
    pub calldata: Bytes,
}

/// A signature of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByKey(Ecdsa);

impl Signature {
    /// Reads `0x` and pairs of hex digits.
    ///
    /// # Errors
    /// The fault, for people.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let digits = text.strip_prefix("0x").ok_or("`signature` must begin with 0x")?;
        if digits.len() > 2 * SIGNATURE_BYTES_MAX {
            return Err("`signature` is longer than 4096 bytes");
        }
        let bytes = crate::parse::hex(digits).ok_or("`signature` is not pairs of hex digits")?;
        let (inner, deployment) = unwrap(&bytes).unwrap_or_else(|| (bytes.into(), None));
        let by_key = ByKey::read(&inner);
        Ok(Self { inner, deployment, by_key })
    }

    /// The sentence for a payer without code whose key did not make it.
    pub fn why_not_the_payers(&self) -> String {
        match (self.by_key, self.inner.as_ref()) {
            (Some(_), _) => "the signature is not the payer's for this authorization and domain".to_owned(),
            (None, [.., v]) if self.inner.len() == 65 && !matches!(v, 0 | 1 | 27 | 28) => {
                format!("the signature's last byte is {v}: 27 or 28 is expected")
            }
            (None, bytes) if matches!(bytes.len(), 64 | 65) => {
                "the signature's s is not below half of the curve's order: contracts refuse that form".to_owned()
            }
            (None, bytes) => format!("the signature has {} bytes: 65 are expected", bytes.len()),
        }
    }

    /// The one spelling of this signature: 65 bytes, with v 27 or 28.
    pub fn normalised(&self) -> Bytes {
        self.by_key.map_or_else(|| self.inner.clone(), |key| key.0.as_bytes().into())
    }
}

impl ByKey {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (r, rest) = bytes.split_first_chunk::<32>()?;
        let (s, v) = rest.split_first_chunk::<32>()?;
        let (r, mut s) = (U256::from_be_bytes(*r), U256::from_be_bytes(*s));
        let parity = match v {
            [0 | 27] => false,
            [1 | 28] => true,
            // EIP-2098: the highest bit of s, which is always 0, says which.
            [] => {
                let parity = s.bit(255);
                s.set_bit(255, false);
                parity
            }
            _ => return None,
        };
        let signature = Ecdsa::new(r, s, parity);
        // A high s is the same signature in a second spelling; tokens refuse it.
        (signature.normalize_s().is_none()).then_some(Self(signature))
    }

    /// Returns the signer of this hash, by the C library.
    pub fn signer(&self, hash: B256) -> Option<Address> {
        recover_signer(&self.0, hash).ok()
    }

    /// v as tokens expect it: 27 or 28.
    pub fn v(&self) -> u8 {
        27 + u8::from(self.0.v())
    }

    /// The first half.
    pub fn r(&self) -> B256 {
        self.0.r().into()
    }

    /// The second half.
    pub fn s(&self) -> B256 {
        self.0.s().into()
    }
}

/// The inner signature of an ERC-6492 wrapper and what it deploys, if
/// anything; `None` when this is no (well-formed) wrapper.
fn unwrap(bytes: &[u8]) -> Option<(Bytes, Option<Deployment>)> {
    let body = bytes.strip_suffix(&ERC6492_SUFFIX)?;
    let (factory, calldata, inner) = <(Address, Bytes, Bytes)>::abi_decode_params_validate(body).ok()?;
    let deploys = !factory.is_zero() && !calldata.is_empty();
    Some((inner, deploys.then_some(Deployment { factory, calldata })))
}

#[cfg(test)]
mod tests {
    use alloy::signers::{SignerSync, local::PrivateKeySigner};

    use super::*;

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(0x)?[0-9a-fA-FxX ]{0,200}", bytes: Vec<u8>) {
            drop(Signature::parse(&text));
            let wrapped = [&bytes[..], &ERC6492_SUFFIX].concat();
            for bytes in [bytes, wrapped] {
                if let Ok(signature) = Signature::parse(&alloy::hex::encode_prefixed(&bytes)) {
                    assert!(signature.inner.len() <= bytes.len());
                    assert!(signature.by_key.is_none() || matches!(signature.inner.len(), 64 | 65));
                }
            }
        }
    }

    fn signed(hash: B256) -> (Address, Vec<u8>) {
        let signer = PrivateKeySigner::from_slice(&[7; 32]).expect("a key");
        (signer.address(), signer.sign_hash_sync(&hash).expect("signs").as_bytes().to_vec())
    }

    fn parse(bytes: &[u8]) -> Signature {
        Signature::parse(&alloy::hex::encode_prefixed(bytes)).expect("parses")
    }

    fn wrapped(factory: Address, calldata: &[u8], inner: &[u8]) -> Vec<u8> {
        let body = (factory, Bytes::copy_from_slice(calldata), Bytes::copy_from_slice(inner)).abi_encode_params();
        [body.as_slice(), &ERC6492_SUFFIX].concat()
    }

    #[test]
    fn only_hex_with_prefix_and_of_bounded_length_is_read() {
        for bad in ["", "0x0", "0X00", "00", "0xzz", "0x 1", "0x0x12", &format!("0x{}", "00".repeat(4097))] {
            assert!(Signature::parse(bad).is_err(), "{bad:.20}");
        }
        for good in ["0x", "0xAbCd", &format!("0x{}", "00".repeat(4096))] {
            assert!(Signature::parse(good).is_ok(), "{good:.20}");
        }
    }

    #[test]
    fn recovers_the_signer_whichever_way_v_is_written() {
        let hash = B256::repeat_byte(3);
        let (signer, mut bytes) = signed(hash);
        let usual = parse(&bytes);
        assert_eq!(usual.by_key.and_then(|k| k.signer(hash)), Some(signer));
        bytes[64] -= 27;
        let zero_based = parse(&bytes);
        assert_eq!(zero_based.by_key.and_then(|k| k.signer(hash)), Some(signer));
        assert_eq!(zero_based.normalised(), usual.normalised());
        assert_eq!(zero_based.inner[64], bytes[64], "a wallet sees what was sent");
    }

    #[test]
    fn the_64_bytes_of_eip_2098_are_the_same_signature() {
        for byte in 0..8 {
            let hash = B256::repeat_byte(byte);
            let (signer, bytes) = signed(hash);
            let mut compact = bytes[..64].to_vec();
            compact[32] |= if bytes[64] == 28 { 0x80 } else { 0 };
            let short = parse(&compact);
            assert_eq!(short.by_key.and_then(|key| key.signer(hash)), Some(signer));
            assert_eq!(short.normalised(), parse(&bytes).normalised(), "what contracts are given");
            assert_eq!(short.inner.len(), 64, "a wallet sees what was sent");
        }
    }

    #[test]
    fn the_twin_with_high_s_and_other_shapes_are_no_key_signatures() {
        let hash = B256::repeat_byte(3);
        let (_, bytes) = signed(hash);
        let n = alloy::primitives::uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
        let mut twin = bytes.clone();
        twin[32..64].copy_from_slice(&(n - U256::from_be_slice(&bytes[32..64])).to_be_bytes::<32>());
        twin[64] = 55 - twin[64];
        let mut strange_v = bytes.clone();
        strange_v[64] = 29;
        let forms = [
            (twin, "s is not below half"),
            (strange_v, "last byte is 29"),
            (bytes[..63].to_vec(), "63 bytes: 65 are expected"),
            ([bytes.as_slice(), &[0]].concat(), "66 bytes: 65 are expected"),
            (vec![], "0 bytes: 65 are expected"),
        ];
        for (bad, part) in forms {
            let parsed = parse(&bad);
            assert_eq!(parsed.by_key, None);
            assert!(parsed.why_not_the_payers().contains(part), "{}", parsed.why_not_the_payers());
        }
        assert_eq!(parse(&[0; 65]).by_key.and_then(|k| k.signer(hash)), None, "r = s = 0");
    }

    #[test]
    fn an_erc6492_wrapper_is_taken_off() {
        let (_, inner) = signed(B256::repeat_byte(3));
        let factory = Address::repeat_byte(1);
        let cases = [(factory, &[1_u8][..], true), (Address::ZERO, &[1], false), (factory, &[], false)];
        for (factory, calldata, deploys) in cases {
            let read = parse(&wrapped(factory, calldata, &inner));
            assert_eq!((read.inner.as_ref(), read.deployment.is_some()), (inner.as_slice(), deploys));
            assert!(read.by_key.is_some());
        }
        let malformed = [&[9; 40][..], &ERC6492_SUFFIX].concat();
        let read = parse(&malformed);
        assert_eq!((read.inner.as_ref(), read.deployment.is_some()), (malformed.as_slice(), false));
    }
}
