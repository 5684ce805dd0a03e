//! Extension `eip2612GasSponsoring`: a permit by which the payer allows Permit2
//! to take the token, sent along with the payment. Rules and source:
//! `docs/protocol-notes.md`, "EIP-2612 gas sponsoring".

use alloy::primitives::{Address, B256, U256};
use chains_core::{Payment, Rejection};

use super::info::Info;
use crate::{
    method::permit2::{
        abi::{EIP2612Permit, PERMIT2},
        permit::Permit,
    },
    reason,
    scheme::requirements::{Requirements, Timing},
};

/// Its key among the extensions.
pub(crate) const KEY: &str = "eip2612GasSponsoring";

/// The members without any of which the client did not fill the extension in.
const MEMBERS: [&str; 8] = ["from", "asset", "spender", "amount", "nonce", "deadline", "signature", "version"];

/// A permit as the payer sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permit2612 {
    from: Address,
    asset: Address,
    spender: Address,
    amount: U256,
    deadline: U256,
    signature: [u8; 65],
}

/// Reads the extension; `None` when it is not there or not filled in.
///
/// # Errors
/// It has another shape. That is reported only after the payment's own checks.
pub(crate) fn read(payment: &Payment) -> Option<Result<Permit2612, Rejection>> {
    Info::of(payment, KEY, &MEMBERS, reason::EIP2612_FORMAT).map(permit)
}

fn permit(info: Info<'_>) -> Result<Permit2612, Rejection> {
    let signature = info.bytes("signature")?.try_into().map_err(|_| info.bad("signature"))?;
    info.version("version")?;
    // The token's business, once it is a number.
    info.number("nonce")?;
    Ok(Permit2612 {
        from: info.address("from")?,
        asset: info.address("asset")?,
        spender: info.address("spender")?,
        amount: info.number("amount")?,
        deadline: info.number("deadline")?,
        signature,
    })
}

impl Permit2612 {
    /// The extension's checks, in order. The permit's signature and nonce are
    /// checked by the simulation: a permit that the token refuses raises no allowance.
    pub fn check(&self, permit: &Permit, requirements: &Requirements, timing: Timing) -> Result<(), Rejection> {
        let bad = |code, message: String| Err(Rejection::new(code, message));
        if self.from != permit.from {
            return bad(reason::EIP2612_FROM_MISMATCH, format!("the permit is of {}, not of the payer", self.from));
        }
        if self.asset != requirements.asset {
            return bad(reason::EIP2612_ASSET_MISMATCH, format!("the permit is for the token {}", self.asset));
        }
        if self.spender != PERMIT2 {
            return bad(reason::EIP2612_SPENDER_NOT_PERMIT2, format!("the permit is for {}", self.spender));
        }
        let Timing { now, slack, .. } = timing;
        if self.deadline < U256::from(now.saturating_add(slack)) {
            let message = format!("deadline {} is less than {slack} s after the block to come, {now}", self.deadline);
            return bad(reason::EIP2612_DEADLINE_EXPIRED, message);
        }
        if self.amount != permit.amount {
            let message = format!("the permit is for {}, the payer authorized {}", self.amount, permit.amount);
            return bad(reason::PERMIT2_2612_AMOUNT_MISMATCH, message);
        }
        Ok(())
    }

    /// As the proxy takes it.
    pub fn argument(&self) -> EIP2612Permit {
        let (r, rest) = self.signature.split_at(32);
        let (s, v) = rest.split_at(32);
        let v = v.first().copied().unwrap_or_default();
        EIP2612Permit {
            value: self.amount,
            deadline: self.deadline,
            r: B256::from_slice(r),
            s: B256::from_slice(s),
            // Tokens know 27 and 28; some signers write 0 and 1.
            v: if v < 27 { v.saturating_add(27) } else { v },
        }
    }

    /// Its part in a payment's fingerprint: the signature stands for the rest.
    pub const fn fingerprint(&self) -> &[u8] {
        &self.signature
    }
}

#[cfg(test)]
mod tests {
    use chains_core::{Amount, Code, payment::Chosen};
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::{
        method::permit2::permit::tests::exact,
        scheme::requirements::tests::{NOW, account, network, requirements, timing},
    };

    fn info() -> Value {
        let word = |byte: &str| format!("0x{}", byte.repeat(20));
        json!({
            "from": word("01"), "asset": word("aA"), "spender": PERMIT2, "amount": "10000", "nonce": "0",
            "deadline": (NOW + 6).to_string(), "signature": format!("0x{}1b", "05".repeat(64)), "version": "1",
            "description": "merged in by clients",
        })
    }

    fn payment(extension: &Value) -> Payment {
        let extensions = json!({ KEY: extension });
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

    fn with(key: &str, value: Value) -> Payment {
        let mut info = info();
        info[key] = value;
        payment(&json!({ "info": info }))
    }

    #[test]
    fn an_extension_that_is_not_filled_in_is_not_there() {
        for nothing in [json!({}), json!({ "info": { "description": "", "version": "1" } }), json!({ "info": 7 })] {
            assert_eq!(read(&payment(&nothing)), None, "{nothing}");
        }
        for key in MEMBERS {
            for value in [json!(null), json!(""), json!(0), json!(false)] {
                assert_eq!(read(&with(key, value.clone())), None, "{key} {value}");
            }
            for value in [json!("0xzz"), json!("x"), json!(7), json!({}), json!(true)] {
                let code = read(&with(key, value.clone())).map(|read| read.map_err(|rejection| rejection.code));
                assert_eq!(code, Some(Err(reason::EIP2612_FORMAT)), "{key} {value}");
            }
        }
        for version in ["1", "2", "1.0", "1.10.3"] {
            assert!(matches!(read(&with("version", json!(version))), Some(Ok(_))), "{version}");
        }
        for version in [".", "1.", ".1", "1..2", "v1"] {
            assert!(matches!(read(&with("version", json!(version))), Some(Err(_))), "{version}");
        }
    }

    #[test]
    fn checks_are_made_in_order() {
        type Change = fn(&mut Permit2612);
        let good = read(&payment(&json!({ "info": info() }))).expect("there").expect("read");
        assert_eq!(good.check(&exact(), &requirements(), timing()), Ok(()));
        let cases: [(Change, Code); 5] = [
            (|p| (p.from, p.asset) = (account(8), account(8)), reason::EIP2612_FROM_MISMATCH),
            (|p| (p.asset, p.spender) = (account(8), account(8)), reason::EIP2612_ASSET_MISMATCH),
            (|p| (p.spender, p.deadline) = (account(8), U256::ZERO), reason::EIP2612_SPENDER_NOT_PERMIT2),
            (|p| (p.deadline, p.amount) = (U256::from(NOW + 5), U256::MAX), reason::EIP2612_DEADLINE_EXPIRED),
            (|p| p.amount = U256::MAX, reason::PERMIT2_2612_AMOUNT_MISMATCH),
        ];
        for (i, (change, expected)) in cases.into_iter().enumerate() {
            let mut permit = good.clone();
            change(&mut permit);
            let code = permit.check(&exact(), &requirements(), timing()).map_err(|rejection| rejection.code);
            assert_eq!(code, Err(expected), "case {i}");
        }
    }

    #[test]
    fn the_argument_is_the_signature_in_three_parts() {
        for (v, expected) in [("1b", 27), ("1c", 28), ("00", 27), ("01", 28)] {
            let signature = format!("0x{}{}{v}", "05".repeat(32), "06".repeat(32));
            let read = read(&with("signature", json!(signature))).expect("there").expect("read").argument();
            assert_eq!((read.r, read.s, read.v), (B256::repeat_byte(5), B256::repeat_byte(6), expected));
            assert_eq!((read.value, read.deadline), (U256::from(10_000), U256::from(NOW + 6)));
        }
    }
}
