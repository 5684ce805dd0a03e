//! The guarantees of every store, as one suite of tests.
//!
//! A store implements [`Backend`] for its tests and writes
//! `store_contract!(MyBackend::fresh())`: each guarantee is one test there.

pub(crate) mod archive;
pub(crate) mod begin;
pub(crate) mod build;
pub(crate) mod ends;
pub(crate) mod finality;
pub(crate) mod find;
pub(crate) mod hand_overs;
pub(crate) mod leases;
pub(crate) mod operator;
pub(crate) mod owners;
pub(crate) mod timeline;
pub(crate) mod transactions;

use std::sync::Arc;

use async_trait::async_trait;

use super::Store;

/// One database, empty at first, for as long as this value lives.
#[async_trait]
pub(crate) trait Backend: Sync {
    /// Opens it as its owner; again only after the store opened before was closed.
    async fn open(&self) -> Arc<dyn Store>;

    /// Opens it to look things up, beside the owner.
    async fn read(&self) -> Arc<dyn Store>;

    /// Opens it for an operator's command, beside the owner.
    async fn operate(&self) -> Arc<dyn Store>;
}

/// Makes a test of each guarantee.
macro_rules! store_contract {
    ($backend:expr) => {
        $crate::store::contract::engine_contract!($backend);
        $crate::store::contract::guarantees! { $backend =>
            owners {
                a_reader_beside_the_owner_sees_commits_and_writes_nothing,
            }
            operator {
                the_word_ends_only_what_is_unresolved,
                the_word_never_overrides_a_proof,
                the_word_works_beside_the_owner,
                of_many_words_one_counts,
                a_settlement_ended_by_the_word_is_not_due_for_finality,
                a_failure_by_the_word_is_watched_as_long_as_it_can_be_executed,
            }
            find {
                find_narrows_by_every_filter,
                find_pages_through_everything_once,
                a_look_up_under_way_takes_little_memory,
            }
            archive {
                only_what_is_over_for_good_may_leave,
                an_archived_payment_is_refused_for_ever,
                a_nonce_of_an_archived_transaction_is_known_for_ever,
                settlements_that_share_a_transaction_leave_when_all_are_over,
                a_place_that_may_still_be_used_keeps_its_settlement,
                a_departure_happens_once_and_only_at_the_files_end,
            }
            timeline {
                the_timeline_shows_every_send,
                a_send_makes_signed_broadcast_and_nothing_else,
                acceptance_is_remembered,
                each_transition_leaves_its_event,
                a_long_text_is_cut,
            }
        }
    };
}
pub(crate) use store_contract;

/// Makes a test of each guarantee that the submitter depends on.
macro_rules! engine_contract {
    ($backend:expr) => {
        $crate::store::contract::guarantees! { $backend =>
            begin {
                one_payment_is_one_row_under_200_concurrent_claims,
                a_claimed_payment_does_not_fail_its_neighbours,
                a_key_names_one_payment_of_one_tenant,
                a_call_that_claims_a_payment_twice_stores_nothing,
                what_was_begun_reads_back_as_it_was,
                a_claim_without_a_transaction_waits,
                a_payment_that_asks_for_nothing_is_settled_and_given_at_once,
                a_nonce_is_given_out_once,
                a_step_is_carried_by_one_live_transaction,
                settlements_may_share_bytes_that_somebody_else_signed,
                a_transaction_may_carry_several_steps_in_order,
                a_transaction_that_carries_nothing_uses_its_nonce_up,
                a_carry_of_nothing_stored_is_refused,
                a_nonce_beyond_the_column_is_refused,
            }
            transactions {
                every_attempt_of_an_open_transaction_is_kept,
                an_attempt_for_a_transaction_that_is_not_open_is_refused,
                an_inclusion_is_kept_with_its_attempt,
                of_two_inclusions_in_a_commit_one_counts,
                a_transaction_that_is_open_though_its_settlement_has_ended_is_found,
                an_inclusion_of_an_unknown_attempt_changes_nothing,
                a_killed_transaction_gives_its_steps_back_in_the_same_commit,
                a_killed_transaction_leaves_ended_settlements_alone,
                a_dead_transaction_is_never_included,
                a_reopened_transaction_is_open_again_and_can_be_included_elsewhere,
                a_next_step_waits_until_it_is_carried,
                a_step_that_is_done_is_done_once,
                changes_of_one_call_happen_in_their_order,
            }
            ends {
                what_ended_never_changes,
                apply_returns_what_it_ended,
                a_success_is_delivered_exactly_once,
                a_success_that_was_given_at_its_end_is_not_delivered_again,
                a_success_that_the_chain_took_back_is_given_to_nobody_until_it_stands,
                an_ended_settlement_is_not_carried_again,
                an_unresolved_settlement_ends_by_a_proof,
                an_unresolved_settlement_becomes_open_again,
                everything_survives_a_reopening,
                a_closed_store_says_so,
            }
            finality {
                what_is_settled_and_not_final_is_due_by_its_block,
                a_failure_by_a_block_is_listed_until_it_is_final,
                a_finalized_settlement_is_not_due_any_more,
                a_transfer_that_was_taken_back_stays_settled_and_comes_last,
                an_executable_failure_is_listed_until_it_is_final,
                a_payment_executed_elsewhere_counts_as_final,
                losses_are_the_shares_of_the_fees_that_were_paid,
                the_payers_of_what_is_settled_are_known_after_a_restart,
            }
            owners {
                each_owner_has_a_larger_epoch,
                a_carry_of_an_older_epoch_is_refused,
                whatever_a_worker_writes_is_refused_once_its_wallet_is_another_s,
                a_wallet_that_nobody_owns_carries_nothing,
                the_highest_nonce_counts_ended_settlements_too,
                transactions_are_found_by_their_nonces,
                open_settlements_come_back_oldest_first,
                unresolved_settlements_come_in_pages,
                it_is_told_which_of_some_settlements_are_open,
                a_raised_epoch_ends_the_one_before_and_only_its_owner_raises_it,
            }
            hand_overs {
                what_is_handed_over_is_known_and_taken_as_it_was,
                a_payment_is_handed_over_once_and_by_an_instance_that_is_announced,
                a_payment_is_taken_by_one_owner_of_a_wallet_that_may_send_it,
                what_an_owner_took_is_free_once_its_wallets_are_another_s,
                a_payment_is_begun_or_withdrawn_and_never_both,
                a_payment_that_was_withdrawn_is_free,
                what_nobody_waits_for_any_more_is_taken_by_nobody,
                a_payment_that_was_begun_meanwhile_is_not_received,
                what_a_payer_has_under_way_is_told_open_or_handed_over,
            }
            leases {
                a_lease_is_taken_by_whoever_saw_it_as_it_is,
                an_instance_renews_what_it_has_and_learns_what_it_has_not,
                a_lease_is_given_back_by_its_owner_alone_and_what_was_written_under_it_is_over,
                an_instance_is_known_by_its_newest_beat_until_it_says_good_bye,
            }
        }
    };
}
pub(crate) use engine_contract;

macro_rules! guarantees {
    ($backend:expr => $($part:ident { $($guarantee:ident,)* })*) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $guarantee() {
                $crate::store::contract::$part::$guarantee(&$backend).await;
            }
        )*)*
    };
}
pub(crate) use guarantees;
