//! Every field of an approval, changed by itself.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy},
    eips::eip2930::{AccessList, AccessListItem},
    primitives::{Signature, TxKind},
    signers::SignerSync,
};
use alloy_signer_local::Secp256k1Signer;
use chains_core::{Amount, Code, payment::Chosen};
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    method::permit2::permit::tests::exact,
    scheme::requirements::tests::{account, network, requirements},
};

const CHAIN_ID: u64 = 84_532;

/// The transaction types that exist.
#[derive(Clone, Copy, Debug)]
enum Sort {
    Legacy,
    Eip2930,
    Eip1559,
    Eip7702,
}

/// An approval to be, with every field in reach of a test.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    key: u8,
    sort: Sort,
    chain_id: Option<u64>,
    nonce: u64,
    gas_limit: u64,
    fee: u128,
    to: TxKind,
    value: U256,
    data: Vec<u8>,
    access_list: AccessList,
    /// True when the signature is the one of the two that chains refuse.
    high_s: bool,
}

impl Default for Signed {
    /// The first transaction of the payer that [`payer`] names.
    fn default() -> Self {
        Self {
            key: 1,
            sort: Sort::Eip1559,
            chain_id: Some(CHAIN_ID),
            nonce: 0,
            gas_limit: 70_000,
            fee: 2000,
            to: TxKind::Call(account(0xaa)),
            value: U256::ZERO,
            data: calldata(PERMIT2, U256::MAX),
            access_list: AccessList::default(),
            high_s: false,
        }
    }
}

fn calldata(spender: Address, amount: U256) -> Vec<u8> {
    Token::approveCall { spender, amount }.abi_encode()
}

fn signer(key: u8) -> Secp256k1Signer {
    Secp256k1Signer::from_bytes(&B256::repeat_byte(key)).expect("a key")
}

fn payer() -> Address {
    signer(1).address()
}

impl Signed {
    fn sign<T: SignableTransaction<Signature>>(&self, transaction: T) -> Vec<u8>
    where
        TxEnvelope: From<alloy::consensus::Signed<T>>,
    {
        let mut signature = signer(self.key).sign_hash_sync(&transaction.signature_hash()).expect("signed");
        if self.high_s {
            let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16);
            signature = Signature::new(signature.r(), order.expect("a number") - signature.s(), !signature.v());
        }
        TxEnvelope::from(transaction.into_signed(signature)).encoded_2718()
    }

    fn raw(&self) -> Vec<u8> {
        let Self { nonce, gas_limit, fee, to, value, .. } = *self;
        let (input, access_list) = (Bytes::from(self.data.clone()), self.access_list.clone());
        let chain_id = self.chain_id.unwrap_or_default();
        match self.sort {
            Sort::Legacy => {
                self.sign(TxLegacy { chain_id: self.chain_id, nonce, gas_price: fee, gas_limit, to, value, input })
            }
            Sort::Eip2930 => {
                self.sign(TxEip2930 { chain_id, nonce, gas_price: fee, gas_limit, to, value, access_list, input })
            }
            Sort::Eip1559 => self.sign(TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: fee,
                max_priority_fee_per_gas: 1,
                to,
                value,
                access_list,
                input,
            }),
            Sort::Eip7702 => self.sign(TxEip7702 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: fee,
                max_priority_fee_per_gas: 1,
                to: to.to().copied().unwrap_or_default(),
                value,
                access_list,
                authorization_list: vec![],
                input,
            }),
        }
    }

    pub(crate) fn transaction(&self) -> ApprovalTransaction {
        ApprovalTransaction::parse(&self.raw().into()).expect("a transaction")
    }

    fn check(&self) -> Result<ApprovalTransaction, Code> {
        check(&Approval { from: payer(), asset: account(0xaa), spender: PERMIT2, raw: self.raw().into() })
    }
}

fn check(approval: &Approval) -> Result<ApprovalTransaction, Code> {
    let permit = Permit { from: payer(), ..exact() };
    approval.check(&permit, &requirements(), CHAIN_ID, 0).map_err(|rejection| rejection.code)
}

fn info() -> Value {
    json!({
        "from": payer(), "asset": account(0xaa), "spender": PERMIT2, "amount": U256::MAX.to_string(),
        "signedTransaction": alloy::hex::encode_prefixed(Signed::default().raw()), "version": "1",
        "description": "merged in by clients",
    })
}

fn payment(info: &Value) -> Payment {
    let extensions = json!({ KEY: { "info": info } });
    Payment {
        scheme: String::new(),
        network: network(),
        asset: String::new(),
        pay_to: String::new(),
        amount: Amount::ZERO,
        extra: Map::new(),
        chosen: Chosen { scheme: String::new(), network: None },
        payload: Map::new(),
        extensions: extensions.as_object().expect("an object").clone(),
    }
}

#[test]
fn an_extension_that_is_not_filled_in_is_not_there() {
    let with = |key: &str, value: Value| {
        let mut info = info();
        info[key] = value;
        read(&payment(&info)).map(|read| read.map_err(|rejection| rejection.code))
    };
    assert!(matches!(read(&payment(&info())), Some(Ok(_))));
    for key in MEMBERS {
        for value in [json!(null), json!(""), json!(0), json!(false)] {
            assert_eq!(with(key, value.clone()), None, "{key} {value}");
        }
        for value in [json!("0xzz"), json!("x"), json!(7), json!({}), json!(true)] {
            assert_eq!(with(key, value.clone()), Some(Err(reason::APPROVAL_FORMAT)), "{key} {value}");
        }
    }
}

#[test]
fn a_plain_approval_of_any_usual_sort_is_taken() {
    let raw = |signed: &Signed| signed.check().expect("good");
    for sort in [Sort::Legacy, Sort::Eip2930, Sort::Eip1559] {
        let good = raw(&Signed { sort, nonce: 7, ..Signed::default() });
        assert_eq!((good.nonce, good.gas_limit, good.fee_per_gas_max), (7, 70_000, 2000), "{sort:?}");
        assert_eq!(good.cost_max(), U256::from(140_000_000));
    }
    let least = Signed { gas_limit: 100_000, data: calldata(PERMIT2, U256::from(10_000)), ..Signed::default() };
    assert_eq!(raw(&least).tip_per_gas_max, 1);
}

#[test]
fn the_extensions_checks_are_made_in_order() {
    type Change = fn(&mut Approval);
    let good = read(&payment(&info())).expect("there").expect("read");
    assert!(check(&good).is_ok());
    let cases: [(Change, Code); 7] = [
        (|a| (a.from, a.asset) = (account(8), account(8)), reason::APPROVAL_FROM_MISMATCH),
        (|a| (a.asset, a.spender) = (account(8), account(8)), reason::APPROVAL_ASSET_MISMATCH),
        (|a| (a.spender, a.raw) = (account(8), Bytes::new()), reason::APPROVAL_SPENDER_NOT_PERMIT2),
        (|a| a.raw = Bytes::new(), reason::APPROVAL_TX_PARSE_FAILED),
        (|a| a.raw = [&a.raw[..], &[0]].concat().into(), reason::APPROVAL_TX_PARSE_FAILED),
        (|a| a.raw = a.raw.slice(..a.raw.len() - 1), reason::APPROVAL_TX_PARSE_FAILED),
        (|a| a.raw = vec![0xc0; 600].into(), reason::APPROVAL_TX_PARSE_FAILED),
    ];
    for (i, (change, expected)) in cases.into_iter().enumerate() {
        let mut approval = good.clone();
        change(&mut approval);
        assert_eq!(check(&approval), Err(expected), "case {i}");
    }
}

#[test]
fn nothing_but_a_plain_approval_is_paid_for() {
    let good = Signed::default;
    let with = |data: Vec<u8>| Signed { data, ..good() };
    let dirty = |at: usize| {
        let mut data = calldata(PERMIT2, U256::MAX);
        data[at] ^= 1;
        with(data)
    };
    let plain = || calldata(PERMIT2, U256::MAX);
    let list = AccessList(vec![AccessListItem { address: account(1), storage_keys: vec![] }]);
    let cases = [
        (Signed { sort: Sort::Eip7702, ..good() }, reason::APPROVAL_TX_PARSE_FAILED),
        (Signed { to: TxKind::Call(account(8)), data: vec![], ..good() }, reason::APPROVAL_TX_WRONG_TARGET),
        (Signed { to: TxKind::Create, ..good() }, reason::APPROVAL_TX_WRONG_TARGET),
        (with(vec![]), reason::APPROVAL_TX_WRONG_SELECTOR),
        (dirty(0), reason::APPROVAL_TX_WRONG_SELECTOR),
        (with(calldata(account(8), U256::MAX)), reason::APPROVAL_TX_WRONG_SPENDER),
        (dirty(35), reason::APPROVAL_TX_WRONG_SPENDER),
        (dirty(4), reason::APPROVAL_TX_INVALID_CALLDATA),
        (with(plain()[..30].to_vec()), reason::APPROVAL_TX_INVALID_CALLDATA),
        (with(plain()[..67].to_vec()), reason::APPROVAL_TX_INVALID_CALLDATA),
        (with([plain(), vec![0]].concat()), reason::APPROVAL_TX_INVALID_CALLDATA),
        (Signed { key: 2, chain_id: Some(1), ..good() }, reason::APPROVAL_TX_SIGNER_MISMATCH),
        (Signed { high_s: true, chain_id: Some(1), ..good() }, reason::APPROVAL_TX_INVALID_SIGNATURE),
        (Signed { chain_id: Some(1), value: U256::from(1), ..good() }, reason::APPROVAL_TX_WRONG_CHAIN),
        (Signed { sort: Sort::Legacy, chain_id: None, ..good() }, reason::APPROVAL_TX_WRONG_CHAIN),
        (Signed { value: U256::from(1), gas_limit: 100_001, ..good() }, reason::APPROVAL_TX_WRONG_VALUE),
        (Signed { access_list: list.clone(), ..good() }, reason::APPROVAL_TX_ACCESS_LIST),
        (Signed { access_list: list, sort: Sort::Eip2930, ..good() }, reason::APPROVAL_TX_ACCESS_LIST),
        (Signed { gas_limit: 100_001, ..good() }, reason::APPROVAL_TX_GAS_LIMIT),
        (with(calldata(PERMIT2, U256::from(9_999))), reason::APPROVAL_TX_WRONG_AMOUNT),
    ];
    for (i, (signed, expected)) in cases.into_iter().enumerate() {
        assert_eq!(signed.check(), Err(expected), "case {i}: {signed:?}");
    }
}
