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
//! | [`demo`] | the first five minutes work, and leave nothing behind |
//! | [`commands`] | the commands behave alike |
//! | [`doctor`] | a node's limits are named, each with the fix that fits it |
//! | [`sdk`], [`sdk_svm`] | the official SDKs pay through the service, unpatched |
//! | [`differential_svm`] | a payment that is judged by accounts alone is never good where the token program refuses it |
//! | [`differential`] | verdicts are the official facilitator's, or differ for a reason that is written down |
//! | [`replay`] | one payment, one success |
//! | [`faults`] | nothing is lost when the chain or the way to it misbehaves |
//! | [`stores`] | PostgreSQL keeps what a SQLite file keeps |
//! | [`handover`] | a payment that one instance takes and another begins |
//! | [`instances`] | several processes share a database, and each gas wallet has one owner |
//! | [`nemesis`] | nor is anything lost or untrue when everything fails beside everything else |
//! | [`failover`] | commits that a failover loses are told of, and nothing is paid twice for it |
//! | [`recovery`] | what a start trusts, and what a reorg changes |
//! | [`upgrades`] | a token that becomes another one is paid with no more |
//! | [`wallets`] | code that tells a simulation from a transaction pays for nothing with our gas |
//! | [`counterfactual`] | wallets that their first payment deploys |
//! | [`crash`] | nothing is lost when the process is killed |
//! | [`engine_unresolved`] | every settlement ends, and one without proof holds nobody up |
//! | [`engine_nodes`] | a node that lacks what others have serves as well as it can |
//! | [`engine_send_sync`] | the answer to a send that waits for its block saves time, and decides nothing |
//! | [`engine_nonces`] | a nonce that somebody else has used ends no payment |
//! | [`engine_reorg`] | a receipt of a block that was taken back is no success |
//! | [`engine_agreement`] | no single node decides about money |
//! | [`engine_calls`] | reads of one block are shared by everything in it |
//! | [`engine_clock`] | a clock that cannot be right ends nothing |
//! | [`engine_budget`] | failures that no simulation foresees have a budget |
//! | [`engine_fees`] | transactions that no block takes at their price are told of, and cost nothing more |
//! | [`engine_bumps`] | a transaction that waits at too low a price, or for nothing, gets another attempt, and pays once |
//! | [`engine_batches`] | many settlements share a transaction, each for itself |
//! | [`engine_wallets`] | several gas wallets share the load, and a sick one holds nobody up |
//! | [`engine_finality`] | every settlement becomes final when the chain says so |
//! | [`engine_archive`] | what has left the store for a file is refused, audited and found |
//! | [`engine_quiet`] | strangers' questions and halted chains cost little |
//! | [`engine_process`] | one process owns a database, and ends when it is told to |
//! | [`send_answers`] | whatever a node of any make says to a send, the payment settles once |
//! | [`engine_crash`] | killed between any two effects it goes on, and pays once |
//! | [`engine_elsewhere`] | a failed payment that is executed elsewhere is an alarm |
//! | [`engine_svm`] | the same on Solana |
//! | [`abuse`] | bad input spends nothing and gets a clear answer |
//! | [`payers`] | the same money serves once, and who costs gas for nothing is not served for long |
//! | [`payers_elsewhere`] | what one instance has seen of payers and callers, the others know |
//! | [`abuse_svm`] | a signed message is one payment however it is written; what fails leaves nothing behind |
//! | [`validity`] | a payment is valid when the chain will take it |
//! | [`redis_guard`], [`redis_faults`] | instances that share a Redis refuse early, and need it for nothing |
//! | [`balancers`] | nginx and HAProxy stand before the service, and nobody notices |
//! | [`pause`] | the operator pauses payments while the service runs |
//! | [`deploy`] | what stands in `facilitator/deploy` works as it stands there |
//! | [`api_keys`] | each caller has its own rights, rates and settlements, which change without a restart |
//! | [`access`] | who may ask, and how the service ends |
//! | [`edge_wire`], [`edge_hostile`], [`edge_places`], [`edge_process`] | nobody takes the service away from honest callers |
//! | [`status`] | what happened can be looked up |
//! | [`metrics`], [`alerts`], [`logs`] | what goes wrong is seen, and leads to what to do |
//! | [`family_contract`] | every chain family keeps the seam's promises |
//! | [`tidy`] | the arrows of the architecture |

mod abuse;
mod abuse_svm;
mod access;
mod alerts;
mod api_keys;
mod audit;
mod balancers;
mod commands;
mod counterfactual;
mod crash;
mod demo;
mod deploy;
mod differential;
mod differential_svm;
mod doctor;
mod edge_hostile;
mod edge_places;
mod edge_process;
mod edge_wire;
mod engine_agreement;
mod engine_archive;
mod engine_batches;
mod engine_budget;
mod engine_bumps;
mod engine_calls;
mod engine_clock;
mod engine_crash;
mod engine_elsewhere;
mod engine_fees;
mod engine_finality;
mod engine_nodes;
mod engine_nonces;
mod engine_process;
mod engine_quiet;
mod engine_reorg;
mod engine_send_sync;
mod engine_svm;
mod engine_unresolved;
mod engine_wallets;
mod exact_evm;
mod exact_svm;
mod failover;
mod family_contract;
mod faults;
mod handover;
mod hostile_svm;
mod instances;
mod logs;
mod metrics;
mod nemesis;
mod pause;
mod payers;
mod payers_elsewhere;
mod permit2_evm;
mod recovery;
mod redis_faults;
mod redis_guard;
mod replay;
mod sdk;
mod sdk_svm;
mod send_answers;
mod smart_wallet_svm;
mod sponsored_evm;
mod status;
mod stores;
mod tidy;
mod upgrades;
mod upto_evm;
mod validity;
mod wallets;
