//! A store with one planted fault breaks the law that forbids it.

use std::collections::BTreeSet;

use marzban_sync_core::testing::conformance::store as conformance;

use super::faulty::{Fault, Faulty};

macro_rules! bites {
    ($($test:ident: $fault:ident breaks $law:ident;)+) => {
        $(
            #[tokio::test]
            async fn $test() {
                let sound = Faulty::with(Fault::Nothing);
                conformance::$law(&sound).await;
                let faulty = Faulty::with(Fault::$fault);
                let law = tokio::spawn(async move { conformance::$law(&faulty).await });
                assert!(law.await.expect_err("the law is broken").is_panic());
            }
        )+

        /// The laws that were seen to bite.
        const BITTEN: &[&str] = &[$(stringify!($law)),+];
    };
}

bites! {
    accounts_of_another_panel_are_seen: IgnoresPanels breaks a_call_sees_the_accounts_of_its_panel_alone;
    a_write_to_a_moved_account_is_seen: IgnoresMoves breaks an_account_that_moved_to_another_panel_is_a_conflict;
    a_forgotten_other_panel_is_seen: ForgetsOtherPanels breaks what_a_customer_has_elsewhere_is_said;
    a_forgotten_end_from_elsewhere_is_seen: ForgetsWrittenEnds breaks what_was_written_from_elsewhere_is_said;
    a_forgotten_status_from_elsewhere_is_seen: ForgetsReplacedStatuses breaks what_was_written_from_elsewhere_is_said;
    this_panel_counted_elsewhere_is_seen: CountsThisPanelToo breaks accounts_elsewhere_are_counted_by_panel;
    a_forgotten_sharer_is_seen: ForgetsSharers breaks accounts_of_others_that_name_the_user_are_sharers;
    a_stranger_taken_for_a_sharer_is_seen: SharesAnything breaks sharers_are_of_one_panel_and_one_spelling;
    an_account_left_out_is_seen: SeesSubscribedAccountsAlone breaks every_account_is_read_whatever_its_subscription;
    a_prepaid_subscription_that_governs_is_seen: IgnoresBeginnings breaks what_has_not_begun_governs_only_alone;
    an_invoice_that_governs_is_seen: PendingIsLikeAnyOther breaks what_is_pending_governs_only_alone;
    an_ignored_subscription_id_is_seen: IgnoresSubscriptionIds breaks an_account_has_the_subscription_that_it_names;
    a_word_in_capital_letters_that_is_not_known_is_seen: MindsCase breaks words_are_read_without_regard_to_case;
    a_word_in_another_spelling_is_seen: WritesSmallLetters breaks a_status_is_written_in_the_bots_spelling;
    an_ignored_spelling_is_seen: IgnoresSpelling breaks another_spelling_is_a_conflict;
    a_subscription_left_open_is_seen: LeavesTheOthersOpen breaks what_is_over_expires_with_it;
    an_overwritten_other_payment_is_seen: IgnoresOtherPayments breaks a_stale_subscription_that_expires_with_it_is_a_conflict;
    an_unlinked_payer_is_seen: UnlinksPayers breaks unlinking_after_a_payment_is_refused;
    a_rehearsal_that_is_real_is_seen: RehearsesForReal breaks rehearsing_an_unlink_writes_nothing;
    a_rehearsal_that_tries_nothing_is_seen: RehearsesNothing breaks rehearsing_an_unlink_says_whether_it_could_be_done;
    a_forgotten_shared_user_is_seen: ForgetsSharedUsers breaks unlinking_forgets_the_user_unless_another_row_names_it;
    a_lost_memory_is_seen: ForgetsAgreements breaks what_is_remembered_is_read_with_the_account;
    an_agreement_that_is_not_written_is_seen: LosesAgreements breaks an_agreement_is_written_with_its_change;
    an_agreement_alone_that_is_not_written_is_seen: LosesAgreements breaks an_agreement_alone_touches_no_row;
    a_row_touched_by_an_agreement_is_seen: TouchesAnyway breaks an_agreement_alone_touches_no_row;
    an_overwritten_agreement_is_seen: OverwritesAgreements breaks an_agreement_that_another_wrote_is_a_conflict;
    a_recorded_revision_that_is_not_minded_is_seen: OverwritesAgreements breaks recording_minds_the_revision;
    a_needless_conflict_of_agreements_is_seen: MindsTheRevisionAlone breaks an_agreement_that_is_there_already_is_no_conflict;
    a_missing_trail_is_seen: LeavesNoTrail breaks the_trail_tells_what_was_written_and_why;
    a_trail_of_nothing_is_seen: TellsOfConflicts breaks what_was_not_written_leaves_no_trail;
    an_intention_taken_for_done_is_seen: EverythingIsDone breaks recorded_entries_are_kept_as_they_are;
    a_trail_upside_down_is_seen: EarliestEntriesFirst breaks entries_are_read_by_run_and_by_customer;
    a_kept_trail_is_seen: ForgetsNothing breaks old_entries_are_forgotten;
    an_old_word_in_another_spelling_is_seen: WritesSmallLetters breaks undoing_puts_the_old_values_back;
    an_undone_payment_is_seen: UndoesAnyway breaks undoing_leaves_what_has_changed_since;
    an_undoing_that_repeats_is_seen: UndoesAnyway breaks undoing_again_changes_nothing;
    an_undoing_half_way_is_seen: UndoesTheLatestAlone breaks undoing_goes_back_step_by_step;
    a_remembered_previous_end_is_seen: RemembersWhatWasUndone breaks undoing_forgets_the_previous_end;
    a_trusted_clock_is_seen: TrustsClocks breaks a_clock_that_ran_ahead_hides_no_later_run;
    lost_writes_are_seen: LosesWrites breaks a_change_writes_what_it_names_and_nothing_else;
    lost_writes_of_a_batch_are_seen: LosesWrites breaks ten_thousand_changes_are_applied_at_once;
    ignored_expectations_are_seen: IgnoresExpected breaks a_stale_vpn_config_is_a_conflict;
    a_change_applied_twice_is_seen: IgnoresExpected breaks a_change_is_applied_once;
    an_overwritten_payment_is_seen: IgnoresPayments breaks a_stale_subscription_is_a_conflict_for_what_depends_on_it;
    an_overlooked_payment_is_seen: IgnoresPayments breaks a_new_governing_subscription_is_a_conflict_for_what_depends_on_it;
    a_first_payment_is_seen: IgnoresPayments breaks a_first_subscription_is_a_conflict_for_what_depends_on_none;
    repeated_pages_are_seen: RepeatsPages breaks pages_of_every_size_are_ordered_complete_and_without_repeats;
    parted_users_are_seen: PartsUsers breaks pages_of_every_size_are_ordered_complete_and_without_repeats;
    a_wrong_count_is_seen: Miscounts breaks the_count_is_what_the_pages_hold;
    a_shared_lock_is_seen: SharesLocks breaks a_second_run_is_already_running;
    one_lock_for_all_is_seen: LocksEverything breaks another_job_or_panel_is_not_locked;
    an_unlinked_bystander_is_seen: UnlinksAnybody breaks unlinking_minds_the_name_alone;
    a_time_from_elsewhere_is_seen: IgnoresTheTime breaks a_change_writes_both_rows_together;
    lost_fractions_are_seen: LosesFractions breaks times_survive_to_the_microsecond;
    a_failure_called_success_is_seen: AlwaysCompleted breaks each_run_ends_as_itself;
    an_abandoned_bystander_is_seen: AbandonsOtherPanels breaks a_run_left_running_is_abandoned_by_the_next;
    a_kept_history_is_seen: ForgetsNothing breaks old_history_is_forgotten_but_for_the_last_good_runs;
    a_forgotten_bystander_is_seen: ForgetsAnyPanel breaks old_history_is_forgotten_but_for_the_last_good_runs;
    a_nameless_account_is_seen: SeesNamelessRows breaks only_rows_with_a_name_are_accounts;
    a_lost_telegram_id_is_seen: ForgetsTelegramIds breaks an_account_carries_its_row_its_user_and_its_subscriptions;
    a_lent_subscription_is_seen: LendsSubscriptions breaks a_user_without_a_subscription_has_none;
    an_ended_subscription_that_governs_is_seen: LatestGoverns breaks an_open_subscription_governs_before_a_later_ended_one;
    a_slighted_trial_is_seen: ActiveBeforeTrial breaks active_and_trial_are_one_class;
    an_unlimited_subscription_put_last_is_seen: NoEndIsTheEarliest breaks the_latest_end_governs_and_none_is_the_latest;
    a_tie_broken_by_the_lowest_id_is_seen: LowestIdGoverns breaks the_highest_id_breaks_a_tie;
    a_page_behind_the_last_is_seen: EndlessPages breaks nothing_is_one_empty_page;
    a_page_of_no_users_is_seen: AllowsEmptyPages breaks a_page_of_no_users_is_refused;
    a_page_too_small_is_seen: SmallerPages breaks a_page_holds_whole_users;
    a_misplaced_cursor_is_seen: CursorIsTheLastAccount breaks the_cursor_is_the_lowest_account_of_the_last_user;
    repeats_beside_new_rows_are_seen: RepeatsPages breaks rows_inserted_meanwhile_repeat_and_hide_nothing;
    a_user_reloaded_in_part_is_seen: ReloadsWhatIsAsked breaks a_reload_reads_whole_users_in_order;
    remembered_values_are_seen: Remembers breaks a_reload_gives_current_values;
    names_in_small_letters_are_seen: LowersNames breaks any_name_survives;
    digits_that_are_not_kept_are_seen: ComparesNanoseconds breaks what_is_finer_than_a_microsecond_is_no_conflict;
    traffic_in_32_bits_is_seen: CutsTraffic breaks any_traffic_survives;
    a_null_read_as_false_is_seen: NullIsFalse breaks nulls_are_none_and_can_be_filled;
    a_touched_row_is_seen: TouchesAnyway breaks no_changes_write_nothing;
    accounts_compared_one_by_one_are_seen: OneByOne breaks accounts_of_one_user_change_in_one_call;
    a_half_change_is_seen: HalfAtATime breaks a_dropped_call_leaves_no_half_change;
    access_left_on_is_seen: UnlinksTheNameAlone breaks unlinking_clears_the_name_and_the_access;
    an_overwritten_null_is_seen: IgnoresExpected breaks a_null_that_was_filled_is_a_conflict;
    an_account_that_cannot_be_written_is_seen: NeedsASubscription breaks a_change_without_a_subscription_is_written;
    a_needless_conflict_is_seen: NeedsOneSubscription breaks a_subscription_that_does_not_govern_is_no_conflict;
    a_conflict_that_spreads_is_seen: AllOrNothing breaks a_conflict_does_not_hinder_the_others;
    a_change_written_by_two_is_seen: ChecksThenWrites breaks of_two_at_once_one_wins;
    a_write_to_nowhere_is_seen: LosesWrites breaks a_row_that_is_gone_is_a_conflict;
    a_change_written_in_part_is_seen: WritesHalf breaks a_change_of_no_subscription_is_a_conflict;
    a_lock_that_is_never_free_is_seen: KeepsLocks breaks a_released_or_dropped_lock_is_free;
    a_lock_that_is_lost_is_seen: LosesLocks breaks a_held_lock_is_verified;
    a_lost_report_is_seen: ForgetsReports breaks a_run_is_recorded_from_begin_to_end;
    an_end_without_a_beginning_is_seen: EndsAnyRun breaks a_run_that_never_began_cannot_end;
    lost_figures_are_seen: LosesFigures breaks system_stats_are_recorded;
    a_history_upside_down_is_seen: OldestFirst breaks runs_are_read_the_latest_first_and_by_what_is_asked;
    an_ignored_outcome_is_seen: IgnoresOutcomes breaks the_latest_run_of_each_panel_and_job_is_found;
}

#[test]
fn no_law_is_without_a_bite() {
    let laws: BTreeSet<&str> = conformance::LAWS.iter().map(|law| law.name).collect();
    let bitten: BTreeSet<&str> = BITTEN.iter().copied().collect();
    assert_eq!(laws, bitten);
}
