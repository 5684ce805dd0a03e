//! A Permit2 authorization as the payload holds it, and what can be decided
//! about it without the chain. Pure; in the order of
//! `docs/protocol-notes.md`, "Exact by Permit2" and "Upto by Permit2".

use alloy::primitives::{Address, U256};
use chains_core::{Amount, Rejection};

use super::abi::{EXACT_PROXY, UPTO_PROXY};
use crate::{
    parse::Fields,
    reason,
    scheme::requirements::{Requirements, Timing, Window},
};

/// A message that a payer signed for Permit2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    pub from: Address,
    pub token: Address,
    /// The permitted amount: in scheme `upto` the ceiling.
    pub amount: U256,
    pub spender: Address,
    pub nonce: U256,
    /// Seconds since the epoch; it is still valid in this one.
    pub deadline: U256,
    pub witness: Witness,
}

/// The terms that the proxy makes sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    Exact { to: Address, valid_after: U256 },
    Upto { to: Address, facilitator: Address, valid_after: U256 },
}

impl Witness {
    pub const fn to(self) -> Address {
        match self {
            Self::Exact { to, .. } | Self::Upto { to, .. } => to,
        }
    }

    pub const fn valid_after(self) -> U256 {
        match self {
            Self::Exact { valid_after, .. } | Self::Upto { valid_after, .. } => valid_after,
        }
    }
}

impl Permit {
    /// Reads a payload's `permit2Authorization` for scheme `exact`.
    pub fn exact(payload: &Fields<'_>) -> Result<Self, Rejection> {
        Self::read(payload, |witness| {
            Ok(Witness::Exact { to: witness.address("to")?, valid_after: witness.number("validAfter")? })
        })
    }

    /// Reads a payload's `permit2Authorization` for scheme `upto`.
    pub fn upto(payload: &Fields<'_>) -> Result<Self, Rejection> {
        Self::read(payload, |witness| {
            Ok(Witness::Upto {
                to: witness.address("to")?,
                facilitator: witness.address("facilitator")?,
                valid_after: witness.number("validAfter")?,
            })
        })
    }

    fn read(
        payload: &Fields<'_>,
        witness: impl FnOnce(&Fields<'_>) -> Result<Witness, Rejection>,
    ) -> Result<Self, Rejection> {
        let authorization = payload.object("permit2Authorization")?;
        let permitted = authorization.object("permitted")?;
        Ok(Self {
            from: authorization.address("from")?,
            token: permitted.address("token")?,
            amount: permitted.number("amount")?,
            spender: authorization.address("spender")?,
            nonce: authorization.number_or_hex("nonce")?,
            deadline: authorization.number("deadline")?,
            witness: witness(&authorization.object("witness")?)?,
        })
    }

    /// The proxy that the scheme settles by.
    pub const fn proxy(&self) -> Address {
        match self.witness {
            Witness::Exact { .. } => EXACT_PROXY,
            Witness::Upto { .. } => UPTO_PROXY,
        }
    }

    /// The chain time from which on it can no longer be executed; `None`
    /// beyond what a store's integers hold.
    pub fn valid_before(&self) -> Option<u64> {
        let last = u64::try_from(self.deadline).ok()?;
        last.checked_add(1).filter(|time| i64::try_from(*time).is_ok())
    }

    /// Checks 3 to 8 (`upto`: 9): spender, recipient, facilitator, window,
    /// amount, token. `charge`: what the requirements ask for is a part of
    /// what the payer permits, and judged later.
    pub fn check_terms(
        &self,
        requirements: &Requirements,
        charge: bool,
        is_gas_wallet: impl Fn(Address) -> bool,
        timing: Timing,
    ) -> Result<(), Rejection> {
        let bad = |code, message: String| Err(Rejection::new(code, message));
        if self.spender != self.proxy() {
            let message = format!("the authorization is for {}, not for the proxy {}", self.spender, self.proxy());
            return bad(reason::PERMIT2_SPENDER, message);
        }
        let to = self.witness.to();
        if to != requirements.pay_to {
            let message = format!("the authorization pays {to}, required is {}", requirements.pay_to);
            return bad(reason::PERMIT2_RECIPIENT_MISMATCH, message);
        }
        if let Witness::Upto { facilitator, .. } = self.witness
            && !is_gas_wallet(facilitator)
        {
            let message = format!("`witness.facilitator` {facilitator} is not a gas wallet of this facilitator");
            return bad(reason::UPTO_FACILITATOR_MISMATCH, message);
        }
        self.window().check(timing)?;
        if !charge && self.amount != requirements.amount.to_u256() {
            let message =
                format!("the authorization permits {}, required is exactly {}", self.amount, requirements.amount);
            return bad(reason::PERMIT2_AMOUNT_MISMATCH, message);
        }
        if self.token != requirements.asset {
            let message =
                format!("the authorization is for the token {}, required is {}", self.token, requirements.asset);
            return bad(reason::PERMIT2_TOKEN_MISMATCH, message);
        }
        Ok(())
    }

    fn window(&self) -> Window {
        Window {
            from: self.witness.valid_after(),
            until: self.deadline,
            early: ("validAfter", reason::PERMIT2_NOT_YET_VALID),
            late: ("deadline", reason::PERMIT2_DEADLINE_EXPIRED),
        }
    }

    /// The permitted amount.
    pub fn ceiling(&self) -> Amount {
        Amount::from(self.amount)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chains_core::{Code, reason::INVALID_PAYLOAD};
    use serde_json::{Value, json};

    use super::*;
    use crate::scheme::requirements::tests::{NOW, account, requirements, timing};

    pub(crate) fn exact() -> Permit {
        Permit {
            from: account(1),
            token: account(0xaa),
            amount: U256::from(10_000),
            spender: EXACT_PROXY,
            nonce: U256::from(7),
            deadline: U256::from(NOW + 60),
            witness: Witness::Exact { to: account(2), valid_after: U256::ZERO },
        }
    }

    fn upto() -> Permit {
        let witness = Witness::Upto { to: account(2), facilitator: account(9), valid_after: U256::ZERO };
        Permit { spender: UPTO_PROXY, witness, ..exact() }
    }

    fn check(permit: &Permit, requirements: &Requirements, charge: bool) -> Option<Code> {
        permit.check_terms(requirements, charge, |a| a == account(9), timing()).err().map(|r| r.code)
    }

    #[test]
    fn terms_are_checked_in_order() {
        type Change = fn(&mut Permit, &mut Requirements);
        let late = U256::from(NOW + 5);
        assert_eq!(check(&exact(), &requirements(), false), None);
        assert_eq!(check(&upto(), &requirements(), false), None);
        let cases: [(Change, Code); 7] = [
            (|p, d| (p.spender, d.pay_to) = (account(3), account(4)), reason::PERMIT2_SPENDER),
            (|p, d| (p.deadline, d.pay_to) = (U256::ZERO, account(4)), reason::PERMIT2_RECIPIENT_MISMATCH),
            (|p, d| (p.deadline, d.amount) = (U256::from(NOW + 5), Amount::ZERO), reason::PERMIT2_DEADLINE_EXPIRED),
            (|p, _| p.deadline = U256::from(NOW + 3601), reason::PERMIT2_DEADLINE_EXPIRED),
            (|p, d| (d.amount, p.token) = (Amount::from(9_999_u64), account(5)), reason::PERMIT2_AMOUNT_MISMATCH),
            (|_, d| d.amount = Amount::from(10_001_u64), reason::PERMIT2_AMOUNT_MISMATCH),
            (|p, _| p.token = account(5), reason::PERMIT2_TOKEN_MISMATCH),
        ];
        for permit in [exact(), upto()] {
            for (i, (change, expected)) in cases.iter().enumerate() {
                let (mut permit, mut requirements) = (permit.clone(), requirements());
                change(&mut permit, &mut requirements);
                assert_eq!(check(&permit, &requirements, false), Some(*expected), "case {i}");
            }
        }
        let valid_after = U256::from(NOW + 1);
        let early = Permit { witness: Witness::Exact { to: account(2), valid_after }, ..exact() };
        assert_eq!(check(&early, &requirements(), false), Some(reason::PERMIT2_NOT_YET_VALID));
        let witness = Witness::Upto { to: account(2), facilitator: account(8), valid_after };
        let foreign = Permit { witness, deadline: late, ..upto() };
        assert_eq!(check(&foreign, &requirements(), false), Some(reason::UPTO_FACILITATOR_MISMATCH));
        assert_eq!(
            check(&Permit { spender: EXACT_PROXY, ..upto() }, &requirements(), false),
            Some(reason::PERMIT2_SPENDER)
        );
        assert_eq!(
            check(&Permit { spender: UPTO_PROXY, ..exact() }, &requirements(), false),
            Some(reason::PERMIT2_SPENDER)
        );
    }

    #[test]
    fn a_charge_need_not_be_what_is_permitted() {
        for amount in [0_u64, 1, 10_000, 10_001] {
            let requirements = Requirements { amount: Amount::from(amount), ..requirements() };
            assert_eq!(check(&upto(), &requirements, true), None, "{amount}");
        }
    }

    #[test]
    fn it_can_be_executed_up_to_and_in_its_last_second() {
        assert_eq!(exact().valid_before(), Some(NOW + 61));
        for deadline in [U256::from(i64::MAX), U256::from(u64::MAX), U256::MAX] {
            assert_eq!(Permit { deadline, ..exact() }.valid_before(), None);
        }
    }

    fn payload() -> Value {
        let word = |byte: &str| format!("0x{}", byte.repeat(20));
        json!({ "signature": "0x", "permit2Authorization": {
            "from": word("01"), "permitted": { "token": word("aA"), "amount": "10000" }, "spender": EXACT_PROXY,
            "nonce": "7", "deadline": (NOW + 60).to_string(), "unknown": 1,
            "witness": { "to": word("02"), "facilitator": word("09"), "validAfter": "0" },
        } })
    }

    fn read(payload: &Value, upto: bool) -> Result<Permit, Code> {
        let fields = Fields::new("", payload.as_object().expect("an object"));
        let read = if upto { Permit::upto(&fields) } else { Permit::exact(&fields) };
        read.map_err(|rejection| rejection.code)
    }

    #[test]
    fn payloads_have_one_shape() {
        assert_eq!(read(&payload(), false), Ok(exact()));
        assert_eq!(read(&payload(), true), Ok(Permit { spender: EXACT_PROXY, ..upto() }));
        let mut hex = payload();
        hex["permit2Authorization"]["nonce"] = json!("0x07");
        assert_eq!(read(&hex, false), Ok(exact()), "the specification writes it so as well");
        for pointer in [
            "",
            "/from",
            "/permitted",
            "/permitted/token",
            "/permitted/amount",
            "/spender",
            "/nonce",
            "/deadline",
            "/witness",
            "/witness/to",
            "/witness/validAfter",
            "/witness/facilitator",
        ] {
            for value in [json!(null), json!(7), json!("x"), json!(""), json!("-1"), json!([])] {
                let mut payload = payload();
                *payload.pointer_mut(&format!("/permit2Authorization{pointer}")).expect("a place") = value.clone();
                assert_eq!(read(&payload, true), Err(INVALID_PAYLOAD), "{pointer} {value}");
                let ignored = pointer == "/witness/facilitator";
                assert_eq!(read(&payload, false).is_ok(), ignored, "{pointer} {value}");
            }
        }
    }
}
