//! End to end: the real binary, real chains, the official SDKs.
//!
//! | module | guarantee |
//! |---|---|
//! | [`exact_evm`] | an EIP-3009 payment is judged and settled as the protocol says |
//! | [`permit2_evm`] | so is a payment by Permit2 |
//! | [`upto_evm`] | so is a part of what was signed |
//! | [`sponsored_evm`] | payers without gas money pay, and nobody lives on it |
//! | [`exact_svm`] | a payment on Solana is judged and settled as the protocol says |
//! | [`smart_wallet_svm`] | so is one that a smart wallet makes |
//! | [`demo`] | the first five minutes work |
//! | [`sdk`], [`sdk_svm`] | the official SDKs pay through the service, unpatched |
//! | [`differential`] | verdicts are the official facilitator's, or differ for a reason that is written down |
//! | [`replay`] | one payment, one success |
//! | [`faults`] | nothing is lost when the chain or the way to it misbehaves |
//! | [`recovery`] | what a start trusts, and what a reorg changes |
//! | [`upgrades`] | a token that becomes another one is paid with no more |
//! | [`wallets`] | code that tells a simulation from a transaction pays for nothing with our gas |
//! | [`counterfactual`] | wallets that their first payment deploys |
//! | [`crash`] | nothing is lost when the process is killed |
//! | [`abuse`] | bad input spends nothing and gets a clear answer |
//! | [`payers`] | the same money serves once, and who costs gas for nothing is not served for long |
//! | [`abuse_svm`] | a signed message is one payment however it is written; what fails leaves nothing behind |
//! | [`access`] | who may ask, and how the service ends |
//! | [`status`] | what happened can be looked up |
//! | [`family_contract`] | every chain family keeps the seam's promises |
//! | [`tidy`] | the arrows of the architecture |

mod abuse;
mod abuse_svm;
mod access;
mod counterfactual;
mod crash;
mod demo;
mod differential;
mod exact_evm;
mod exact_svm;
mod family_contract;
mod faults;
mod payers;
mod permit2_evm;
mod recovery;
mod replay;
mod sdk;
mod sdk_svm;
mod smart_wallet_svm;
mod sponsored_evm;
mod status;
mod tidy;
mod upgrades;
mod upto_evm;
mod wallets;
