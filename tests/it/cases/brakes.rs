//! Many at once: what no run takes by itself.

use chrono::TimeDelta;
use marzban_api::testing::{FakePanel, FakeStatus};
use marzban_sync_core::policy::{PanelBehind, Trust};
use marzban_sync_core::report::Run;

use super::over_both_stores;
use super::world::{World, day, literal, reasons, sent, skipped, stopped, user};

over_both_stores! {
    a05_a_wrong_bulk_edit_shortens_nobody
    a07_what_was_withheld_ends_by_its_own_end_and_never_before
    a08_a_time_zone_moves_no_end
    a08_a_time_zone_of_the_west_moves_no_end
    a09_the_dead_do_not_outvote_the_payers
    a10_four_customers_are_protected_too
    a11_a_wrong_clock_ends_nothing
    a12_another_panel_with_the_same_names_changes_nothing
    a35_what_was_withheld_blocks_neither_itself_nor_the_cleanup_for_ever
}

const NOTHING: [&str; 0] = [];

#[track_caller]
fn assert_stopped(run: &Run, because: &str, expected: &[&str]) {
    let why = run.withheld_because.as_deref().unwrap_or_default();
    assert_eq!(stopped(run), "safety", "{:?}", reasons(run));
    assert!(why.contains(because), "{why}");
    assert_eq!(reasons(run), expected);
}

pub(super) async fn a05_a_wrong_bulk_edit_shortens_nobody(world: &mut World) {
    world.in_step(1..=40, 60).await;
    world.syncs().await;
    let before = (world.subscriptions().await, world.accounts().await);
    let names: Vec<String> = (1..=40).map(|id| format!("user{id}")).collect();

    world.on_day(1);
    for name in &names {
        world.set_expire(name, 2);
    }
    world.asked();
    let run = world.sync().await;
    assert_stopped(&run, "40 of 40", &["withheld 40"]);
    assert_eq!(run.withheld, 40);
    assert_eq!(world.asked(), ["GET /api/users of 40"]);
    world.assert_settled().await;

    // However often it runs, and also when the panel has switched them off.
    for now in [1, 3, 12] {
        world.on_day(now);
        let run = world.sync().await;
        assert_stopped(&run, "of 40", &["withheld 40"]);
        let status = world.status().await;
        assert_eq!(stopped(&status), if now == 1 { "-" } else { "safety" });
        assert_eq!(world.cleanup().await.total, 0);
        assert_eq!((world.subscriptions().await, world.accounts().await), before);
    }
    assert_eq!(world.sent(), NOTHING);

    // The operator answers that the bot is right, and a day later lets the panel be brought there.
    world.answers.trust_bot = Trust::Everybody;
    let run = world.sync().await;
    assert_eq!(reasons(&run), ["panel_behind 40"]);
    assert_eq!((world.subscriptions().await, world.accounts().await), before);
    world.answers.trust_bot = Trust::Nobody;
    world.on_day(13);
    world.policy.panel_behind = PanelBehind::Extend;
    let run = world.sync().await;
    assert_eq!((stopped(&run), world.sent().len()), ("safety".to_owned(), 0));
    world.answers.allow_mass_changes = true;
    let run = world.sync().await;
    assert_eq!(
        (stopped(&run), run.extended_in_panel, world.sent().len()),
        ("-".to_owned(), 40, 40)
    );
    assert!(names.iter().all(|name| world.expire(name) == "+60d"));
    world.answers.allow_mass_changes = false;
    world.syncs().await;
    assert_eq!((world.subscriptions().await, world.accounts().await), before);
    world.assert_settled().await;
}

/// So many customers whose ends follow each other by a day, among others; then the panel ends all of them on the first.
async fn ends_one_after_the_other(world: &World, count: i64, first: i64, all: i64) {
    for id in 1..=count {
        world.in_step(id..=id, first + id - 1).await;
    }
    world.in_step(count + 1..=all, 100).await;
    world.syncs().await;
    (1..=count).for_each(|id| world.set_expire(&format!("user{id}"), -1));
}

/// Asserts that exactly those have ended whose own end has passed, and that nobody was shortened.
async fn assert_own_ends(world: &World, count: i64, first: i64, now: i64) -> i64 {
    let subscriptions = world.subscriptions().await;
    let accounts = world.accounts().await;
    let mut ahead = 0;
    for id in 1..=count {
        let end = first + id - 1;
        let status = if end <= now { "expired" } else { "active" };
        ahead += i64::from(end > now);
        let place = usize::try_from(id - 1).unwrap();
        assert_eq!(
            subscriptions[place],
            format!("{id} {status} +{end}d"),
            "day {now}"
        );
        if end <= now {
            assert!(
                accounts[place].ends_with(" off"),
                "day {now}: {}",
                accounts[place]
            );
        }
    }
    ahead
}

pub(super) async fn a07_what_was_withheld_ends_by_its_own_end_and_never_before(world: &mut World) {
    ends_one_after_the_other(world, 20, 11, 100).await;
    world.on_day(1);
    let run = world.sync().await;
    assert_stopped(&run, "20 of 100", &["withheld 20"]);

    for now in 10..=31 {
        world.on_day(now);
        let run = world.sync().await;
        world.status().await;
        let ahead = assert_own_ends(world, 20, 11, now).await;
        // From ten on the old brake let all go at once.
        let expected = if ahead >= 5 { "safety" } else { "-" };
        assert_eq!(stopped(&run), expected, "day {now}");
        let expected = (ahead > 0).then(|| format!("withheld {ahead}"));
        assert_eq!(
            reasons(&run),
            expected.into_iter().collect::<Vec<_>>(),
            "day {now}"
        );
    }
    assert_eq!(world.sent(), NOTHING);
    world.assert_settled().await;
}

/// Forty customers whose rows are this far off their panel users, from the beginning; then the rows are put right.
async fn a_zone(world: &World, off: TimeDelta, named: &str) {
    world.in_step(1..=40, 30).await;
    let end = literal(day(30) + off);
    world
        .sql(&format!("UPDATE subscriptions SET end_date = {end}"))
        .await;
    let before = world.subscriptions().await;
    for now in [0, 1, 2] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!(
            (reasons(&run), stopped(&run)),
            (vec!["ends_disagree 40".to_owned()], "-".to_owned())
        );
        let zone = run.time_zone.as_deref().unwrap();
        assert!(zone.contains(named) && zone.contains("`zone`"), "{zone}");
        world.status().await;
        world.assert_settled().await;
        assert_eq!(world.subscriptions().await, before);
    }
    let end = literal(day(30));
    world
        .sql(&format!("UPDATE subscriptions SET end_date = {end}"))
        .await;
    let run = world.sync().await;
    assert_eq!((reasons(&run), run.time_zone), (vec![], None));
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a08_a_time_zone_moves_no_end(world: &mut World) {
    a_zone(world, TimeDelta::hours(3), "+03:00").await;
}

pub(super) async fn a08_a_time_zone_of_the_west_moves_no_end(world: &mut World) {
    a_zone(world, TimeDelta::hours(-3), "-03:00").await;
}

pub(super) async fn a09_the_dead_do_not_outvote_the_payers(world: &mut World) {
    world.long_over(1..=90, -40).await;
    world.in_step(91..=100, 20).await;
    world.syncs().await;
    let before = (world.subscriptions().await, world.accounts().await);
    let payers: Vec<String> = (91..=100).map(|id| format!("user{id}")).collect();

    for name in &payers {
        world.set_expire(name, -1);
    }
    let run = world.sync().await;
    assert_stopped(&run, "10 of 10", &["withheld 10"]);
    assert_stopped(&world.status().await, "10 of 10", &["withheld 10"]);
    assert_eq!((world.subscriptions().await, world.accounts().await), before);
    for name in &payers {
        world.set_expire(name, 20);
    }
    let run = world.sync().await;
    assert_eq!((reasons(&run), stopped(&run)), (vec![], "-".to_owned()));
    world.status().await;

    for name in &payers {
        world.panel.remove_user(name);
    }
    world.asked();
    let run = world.sync().await;
    assert_stopped(&run, "10 of 10", &["missing 10"]);
    let asked = world.asked();
    let alone = asked
        .iter()
        .filter(|line| line.starts_with("GET /api/user/"))
        .count();
    assert_eq!(alone, 10, "{asked:?}");
    assert_stopped(&world.status().await, "10 of 10", &["withheld 10"]);
    let cleanup = world.cleanup().await;
    assert_eq!(
        (cleanup.cleaned, skipped(&cleanup), stopped(&cleanup.run)),
        (0, vec!["withheld 90".to_owned()], "safety".to_owned())
    );
    world.assert_settled().await;
    assert_eq!((world.subscriptions().await, world.accounts().await), before);
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a10_four_customers_are_protected_too(world: &mut World) {
    world.in_step(1..=4, 20).await;
    world.syncs().await;
    let before = (world.subscriptions().await, world.accounts().await);

    (1..=4).for_each(|id| world.set_expire(&format!("user{id}"), -1));
    for now in [5, 12, 19] {
        world.on_day(now);
        assert_stopped(&world.sync().await, "4 of 4", &["withheld 4"]);
        assert_stopped(&world.status().await, "4 of 4", &["withheld 4"]);
        assert_eq!(world.cleanup().await.total, 0);
        world.assert_settled().await;
        assert_eq!((world.subscriptions().await, world.accounts().await), before);
    }
    assert_eq!(world.sent(), NOTHING);

    world.on_day(20);
    world.syncs().await;
    assert_eq!(ends_and_access(world, 4).await, ["expired +20d, off"; 4]);
}

/// The first so many subscriptions, and whether their accounts have access: `active +30d, on`.
async fn ends_and_access(world: &World, count: i64) -> Vec<String> {
    let mut all = Vec::new();
    for id in 1..=count {
        let account = world.account_of(id).await;
        let access = account.rsplit_once(' ').unwrap().1;
        all.push(format!("{}, {access}", world.subscription_of(id).await));
    }
    all
}

pub(super) async fn a11_a_wrong_clock_ends_nothing(world: &mut World) {
    world.in_step(1..=20, 60).await;
    world.long_over(21..=21, -40).await;
    world.syncs().await;
    let before = (world.subscriptions().await, world.accounts().await);

    // The bot's clock alone is wrong, and the panel says so by its own.
    world.clock.set(day(365));
    world.panel.update_user("user1", |user| user.used_traffic = 5);
    assert_stopped(&world.sync().await, "the clocks disagree", &["withheld 20"]);
    assert_stopped(&world.status().await, "the clocks disagree", &["withheld 20"]);
    let cleanup = world.cleanup().await;
    assert_eq!((cleanup.cleaned, stopped(&cleanup.run)), (0, "safety".to_owned()));
    assert_eq!((world.subscriptions().await, world.accounts().await), before);
    let traffic = "SELECT CAST(traffic_used AS text) AS text FROM vpn_configs WHERE id = 1";
    assert_eq!(
        world.tables.texts(traffic).await,
        ["5"],
        "a fact that does not depend on the time"
    );

    // Both are wrong, so that only the users are left to say so, who are active long past their end.
    world.panel.set_now(day(365));
    assert_stopped(&world.sync().await, "20 of 20 users are active", &["withheld 20"]);
    assert_stopped(
        &world.status().await,
        "20 of 20 users are active",
        &["withheld 20"],
    );
    let cleanup = world.cleanup().await;
    assert_eq!((cleanup.cleaned, stopped(&cleanup.run)), (0, "safety".to_owned()));
    assert_eq!((world.subscriptions().await, world.accounts().await), before);

    world.on_day(0);
    world.syncs().await;
    assert_eq!((world.subscriptions().await, world.accounts().await), before);
    assert_eq!(world.sent(), NOTHING);
}

/// Another seller's panel: 20 have another end, 9 have ended, one who did not pay works, and 71 are not there.
async fn panel_of_a_stranger() -> FakePanel {
    let panel = FakePanel::start().await;
    let others = (1..=20).map(|id| (id, FakeStatus::Active, 5));
    let ended = (21..=29).map(|id| (id, FakeStatus::Expired, -10));
    for (id, status, end) in others.chain(ended).chain([(100, FakeStatus::Active, 50)]) {
        let stranger = user(&format!("user{id}"), status, Some(end));
        panel.insert_user(stranger.created_at(day(-50)));
    }
    panel
}

pub(super) async fn a12_another_panel_with_the_same_names_changes_nothing(world: &mut World) {
    world.in_step(1..=99, 60).await;
    world.long_over(100..=101, -20).await;
    world.syncs().await;
    let before = (world.subscriptions().await, world.accounts().await);

    let own = world.turn_to("default", panel_of_a_stranger().await);
    assert_stopped(&world.sync().await, "70 of 99", &["missing 71", "other_user 30"]);
    let status = world.status().await;
    assert_eq!(stopped(&status), "safety");
    let cleanup = world.cleanup().await;
    // The one would be deleted there, and the other unlinked as gone.
    assert_eq!((cleanup.cleaned, stopped(&cleanup.run)), (0, "safety".to_owned()));
    assert_eq!(skipped(&cleanup), ["other_user 1", "withheld 1"]);
    world.assert_settled().await;
    assert_eq!((world.subscriptions().await, world.accounts().await), before);

    let strangers = world.turn_to("default", own);
    assert_eq!(sent(&strangers), NOTHING);
    let run = world.sync().await;
    assert_eq!((reasons(&run), stopped(&run)), (vec![], "-".to_owned()));

    // The same with the first run there is: it learns nothing of the stranger's users either.
    world.sql("DELETE FROM marzban_sync_agreements").await;
    let own = world.turn_to("default", strangers);
    assert_eq!(stopped(&world.sync().await), "safety");
    assert_eq!(stopped(&world.status().await), "safety");
    assert_eq!((world.subscriptions().await, world.accounts().await), before);
    let strangers = world.turn_to("default", own);
    world.syncs().await;
    assert_eq!(reasons(&world.sync().await), NOTHING);
    assert_eq!((world.subscriptions().await, world.accounts().await), before);
    assert_eq!((sent(&strangers), world.sent()), (vec![], vec![]));
}

pub(super) async fn a35_what_was_withheld_blocks_neither_itself_nor_the_cleanup_for_ever(world: &mut World) {
    world.long_over(102..=102, -40).await;
    ends_one_after_the_other(world, 12, 1, 101).await;
    assert_stopped(&world.sync().await, "12 of 101", &["withheld 12"]);

    for now in 1..=8 {
        world.on_day(now);
        let run = world.sync().await;
        world.status().await;
        let ahead = assert_own_ends(world, 12, 1, now).await;
        assert_eq!(
            stopped(&run),
            if ahead >= 5 { "safety" } else { "-" },
            "day {now}"
        );
        let cleanup = world.cleanup().await;
        assert_eq!(
            cleanup.cleaned,
            u64::from(ahead < 5),
            "day {now}: {:?}",
            cleanup.skipped_because
        );
    }
    assert_eq!(world.sent(), ["DELETE /api/user/user102"]);
    for now in [12, 21] {
        world.on_day(now);
        world.syncs().await;
        world.cleanup().await;
    }
    assert_eq!(world.sent().len(), 13);
    assert!((1..=12).all(|id| !world.has_user(&format!("user{id}"))));
}
