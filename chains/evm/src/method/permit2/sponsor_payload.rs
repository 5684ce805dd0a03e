//! The permit or approval that comes along with a payment by Permit2, and the
//! payment's fingerprint, of which it is a part.

use alloy::primitives::{Address, U256};
use chains_core::{Fingerprint, Payment, Rejection};

use super::permit::{Permit, Witness};
use crate::{
    context::Context,
    extension::sponsoring::{
        eip2612::{self, Permit2612},
        erc20_approval::{self, Approval},
    },
    scheme::{exact, requirements::Requirements, upto},
    signature::Signature,
};

/// A permit or approval that a payer without allowance sends along.
#[derive(Clone, Debug)]
pub(super) enum SponsorPayload<P, A> {
    Nothing,
    /// A permit for Permit2.
    Permit(P),
    /// An approval of Permit2, a transaction of its own.
    Approval(A),
}

/// Reads the permit, or else the approval, as far as they are
/// sponsored here.
pub(super) fn read(
    context: &Context,
    requirements: &Requirements,
    payment: &Payment,
) -> Result<SponsorPayload<Permit2612, Approval>, Rejection> {
    let config = &context.config;
    let by_permit = config.sponsor_eip2612 && config.asset(requirements.asset).is_some_and(|asset| asset.eip2612);
    if by_permit && let Some(permit2612) = eip2612::read(payment) {
        return permit2612.map(SponsorPayload::Permit);
    }
    if config.sponsor_erc20_approval
        && let Some(approval) = erc20_approval::read(payment)
    {
        return approval.map(SponsorPayload::Approval);
    }
    Ok(SponsorPayload::Nothing)
}

/// Returns the hash that a request must match to join the settlement of another.
pub(super) fn fingerprint(
    chain_id: u64,
    requirements: &Requirements,
    permit: &Permit,
    signature: &Signature,
    sponsor_payload: &Result<SponsorPayload<Permit2612, Approval>, Rejection>,
) -> Fingerprint {
    let word = |value: U256| value.to_be_bytes::<32>();
    let (scheme, facilitator, valid_after) = match permit.witness {
        Witness::Exact { valid_after, .. } => (exact::NAME, Address::ZERO, valid_after),
        Witness::Upto { facilitator, valid_after, .. } => (upto::NAME, facilitator, valid_after),
    };
    let sponsor_payload = match sponsor_payload {
        Ok(SponsorPayload::Permit(permit2612)) => permit2612.fingerprint(),
        Ok(SponsorPayload::Approval(approval)) => approval.fingerprint(),
        Ok(SponsorPayload::Nothing) | Err(_) => &[],
    };
    let to = permit.witness.to();
    let parts: [&[u8]; 17] = [
        scheme.as_bytes(),
        &chain_id.to_be_bytes(),
        requirements.asset.as_slice(),
        requirements.pay_to.as_slice(),
        &word(requirements.amount.to_u256()),
        permit.from.as_slice(),
        permit.token.as_slice(),
        &word(permit.amount),
        permit.spender.as_slice(),
        &word(permit.nonce),
        &word(permit.deadline),
        to.as_slice(),
        facilitator.as_slice(),
        &word(valid_after),
        &[u8::from(signature.deployment.is_some())],
        &signature.normalised(),
        sponsor_payload,
    ];
    Fingerprint::of("permit2", &parts)
}
