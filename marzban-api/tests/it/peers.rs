//! Where other clients of this panel are known to fail, and the tests that hold this one to better.

use std::path::Path;

/// A failing that was seen elsewhere, and the tests of what is done here.
const LINES: [(&str, &[&str]); 19] = [
    (
        "operations are missing",
        &["operations_table::every_operation_is_in_the_table_once"],
    ),
    (
        "twenty refused tokens make twenty logins, and the repeat loses its query and form",
        &[
            "login::twenty_refused_tokens_make_one_login",
            "login::after_a_refused_token_the_very_same_request_is_repeated",
        ],
    ),
    (
        "a token is used until it is refused",
        &["login::a_token_is_replaced_before_its_end"],
    ),
    (
        "a failing panel is asked once, or a change is sent twice",
        &[
            "failures::every_status_has_its_kind_and_its_number_of_tries",
            "failures::a_proxy_that_is_down_for_a_moment_is_asked_again",
            "untyped_requests::an_untyped_change_is_sent_once_and_may_be_indeterminate",
        ],
    ),
    (
        "Retry-After is ignored",
        &["failures::retry_after_is_honoured_and_capped"],
    ),
    (
        "requests come without pause and side by side",
        &[
            "failures::there_is_a_pause_between_requests_across_clones",
            "batches::one_batch_is_under_way_at_a_time",
        ],
    ),
    (
        "there is no time-out",
        &[
            "hostile_servers::a_server_that_hangs_is_left_when_the_time_to_read_is_up",
            "hostile_servers::a_server_that_drips_never_stalls_and_is_left_when_the_whole_time_is_up",
        ],
    ),
    (
        "certificates are not verified",
        &[
            "building::over_https_nothing_is_said_before_the_handshake",
            "building::missing_credentials_bad_certificates_and_bad_proxies_are_refused",
        ],
    ),
    (
        "pages have no order, repeat users and hide others",
        &[
            "streams::a_stream_reads_every_page_in_a_fixed_order",
            "streams::a_user_deleted_during_a_stream_hides_no_other",
            "batches::a_foreign_page_never_shows_that_a_user_is_missing",
        ],
    ),
    (
        "names of a batch are sent as username[], which the panel ignores",
        &[
            "batches::usernames_are_repeated_without_brackets",
            "batches::a_batch_has_at_most_100_names_and_4_kib",
            "batches::an_empty_batch_sends_no_request",
        ],
    ),
    (
        "a user without owner fails the whole list",
        &["reading::a_user_without_owner_is_read"],
    ),
    (
        "an unknown status fails the whole page",
        &["reading::an_unknown_status_is_kept"],
    ),
    (
        "the fields of a 422 are lost",
        &["failures::a_422_names_its_fields"],
    ),
    (
        "a name reaches another route",
        &[
            "reading::a_name_cannot_reach_another_route",
            "reading::a_name_that_no_path_can_carry_is_never_sent",
        ],
    ),
    (
        "a change drops the next plan",
        &[
            "updating::a_put_keeps_the_next_plan_and_sends_only_what_changes",
            "lifecycle::a_user_keeps_its_secrets_and_its_plan_through_changes",
        ],
    ),
    (
        "an answer that lies is believed",
        &[
            "deleting::a_500_after_a_deletion_is_verified",
            "updating::a_404_though_the_next_plan_was_applied_is_no_failure",
            "creating::a_500_though_the_user_was_made_is_a_creation",
            "creating::a_409_about_a_user_that_does_not_exist_is_no_conflict",
        ],
    ),
    (
        "webhooks are verified by a signature that the panel never sends",
        &[
            "webhook::all_twelve_actions_are_read_with_what_they_carry",
            "webhook::an_axum_handler_is_not_called_for_strangers_and_for_what_is_no_batch",
        ],
    ),
    (
        "there is no test double",
        &["together::a_thousand_users_by_name_are_ten_requests"],
    ),
    (
        "a flood is read to its end",
        &[
            "hostile_servers::a_gibibyte_is_not_read_whether_it_is_announced_or_not",
            "hostile_servers::a_gibibyte_in_a_megabyte_of_gzip_is_not_unpacked",
        ],
    ),
];

#[test]
fn every_failing_seen_elsewhere_has_a_test_that_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for (failing, tests) in LINES {
        for test in tests {
            let (module, name) = test.split_once("::").unwrap();
            let text = std::fs::read_to_string(folder.join(format!("{module}.rs"))).unwrap();
            assert!(text.contains(&format!("fn {name}()")), "{failing}: {test}");
        }
    }
}
