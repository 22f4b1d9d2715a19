//! The rules of the fake panel, driven without a socket, a runtime or JSON.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_api::testing::panel::{
    NextPlanInput, Panel, ProxiesInput, ProxyInput, Refusal, UserInput, UserQuery,
};
use marzban_api::testing::{FakeAdmin, FakeNextPlan, FakeProtocol, FakeStatus, FakeUser};

use super::at;

const NOW: i64 = 1_795_381_182;
const DAY: i64 = 86_400;

/// A panel with the environment's admin, a sudo admin and two sellers.
struct Rules {
    panel: Panel,
    root: FakeAdmin,
    sudo: FakeAdmin,
    ali: FakeAdmin,
    bob: FakeAdmin,
}

impl Rules {
    fn new() -> Self {
        let mut panel = Panel::new(at("2026-11-22T20:59:42Z"));
        let admins = [
            FakeAdmin::new("sudo", "pass").sudo(),
            FakeAdmin::new("ali", "pass"),
            FakeAdmin::new("bob", "pass"),
        ];
        for admin in admins.clone() {
            panel.insert_admin(admin);
        }
        let [sudo, ali, bob] = admins;
        let root = panel.admins()[0].clone();
        Self {
            panel,
            root,
            sudo,
            ali,
            bob,
        }
    }

    /// A panel with this user, of the seller `ali`.
    fn with(user: FakeUser) -> Self {
        let mut rules = Self::new();
        rules.panel.insert_user(user.owner(Some("ali")));
        rules
    }

    fn modify(&mut self, input: UserInput) -> Result<(), Refusal> {
        self.panel.modify_user(&self.ali, "alice", input)
    }

    #[track_caller]
    fn alice(&self) -> &FakeUser {
        self.panel.user("alice").expect("alice")
    }

    fn advance(&mut self, seconds: i64) {
        self.panel.set_now(self.panel.now() + TimeDelta::seconds(seconds));
    }
}

fn vless() -> UserInput {
    UserInput {
        proxies: ProxiesInput::of([FakeProtocol::Vless]),
        ..UserInput::default()
    }
}

fn now() -> DateTime<Utc> {
    at("2026-11-22T20:59:42Z")
}

const PLAN: FakeNextPlan = FakeNextPlan {
    data_limit: 5_000,
    expire: Some(NOW + 30 * DAY),
    add_remaining_traffic: true,
    fire_on_either: true,
};

fn with_plan(plan: FakeNextPlan) -> UserInput {
    UserInput {
        next_plan: Some(plan.into()),
        ..UserInput::default()
    }
}

#[test]
fn a_new_user_is_active_and_unlimited_and_belongs_to_its_creator() {
    let mut rules = Rules::new();
    let zeros = UserInput {
        expire: Some(0),
        data_limit: Some(0),
        ..vless()
    };
    rules.panel.create_user(&rules.ali, "alice", zeros).unwrap();
    let alice = rules.alice();
    assert_eq!(
        (alice.status, alice.expire, alice.data_limit),
        (FakeStatus::Active, None, None)
    );
    assert_eq!(
        (alice.owner.as_deref(), alice.created_at),
        (Some("ali"), Some(now()))
    );
    rules.panel.create_user(&rules.root, "boris", vless()).unwrap();
    assert_eq!(
        rules.panel.user("boris").unwrap().owner,
        None,
        "the environment's admin owns none"
    );
}

#[test]
fn a_taken_name_and_a_plan_without_a_limit_are_the_same_refusal() {
    let mut rules = Rules::with(FakeUser::new("alice"));
    let create = |rules: &mut Rules, name: &str, input| rules.panel.create_user(&rules.ali, name, input);
    assert_eq!(create(&mut rules, "alice", vless()), Err(Refusal::UserExists));
    let incomplete = NextPlanInput {
        data_limit: None,
        ..PLAN.into()
    };
    let input = UserInput {
        next_plan: Some(incomplete),
        ..vless()
    };
    assert_eq!(
        create(&mut rules, "boris", input.clone()),
        Err(Refusal::UserExists)
    );
    assert_eq!(
        rules.modify(input),
        Err(Refusal::InternalError),
        "an edit fails at it"
    );
    assert_eq!(rules.panel.users().count(), 1);
}

#[test]
fn names_are_case_sensitive() {
    let mut rules = Rules::with(FakeUser::new("alice"));
    rules.panel.create_user(&rules.ali, "Alice", vless()).unwrap();
    assert_eq!(rules.panel.users().count(), 2);
}

#[test]
fn an_edit_keeps_what_it_omits_except_for_the_next_plan() {
    let user = FakeUser::new("alice").note("vip").data_limit(9).expire(NOW + DAY);
    let mut rules = Rules::with(user.next_plan(PLAN));
    rules.modify(UserInput::default()).unwrap();
    let alice = rules.alice();
    assert_eq!((alice.note.as_deref(), alice.data_limit), (Some("vip"), Some(9)));
    assert_eq!((alice.expire, alice.next_plan), (Some(NOW + DAY), None));
    assert_eq!(alice.edit_at, Some(now()));
}

#[test]
fn an_edit_moves_the_status_at_once_where_the_panel_does_so() {
    use FakeStatus::{Active, Disabled, Expired, Limited, OnHold};
    let limit = |limit| UserInput {
        data_limit: Some(limit),
        ..UserInput::default()
    };
    let expire = |expire| UserInput {
        expire: Some(expire),
        ..UserInput::default()
    };
    for (before, input, after) in [
        (Active, limit(10), Limited),
        (Active, limit(11), Active),
        (Limited, limit(11), Active),
        (Limited, limit(0), Active),
        (Expired, limit(11), Expired),
        (Disabled, limit(10), Disabled),
        (OnHold, limit(10), Limited),
        (OnHold, limit(11), OnHold),
        (Active, expire(NOW), Expired),
        (Active, expire(NOW + 1), Active),
        (Expired, expire(NOW + 1), Active),
        (Expired, expire(0), Active),
        (Limited, expire(NOW + 1), Limited),
        (Disabled, expire(NOW + 1), Disabled),
    ] {
        let mut rules = Rules::with(FakeUser::new("alice").status(before).used_traffic(10));
        rules.modify(input.clone()).unwrap();
        assert_eq!(rules.alice().status, after, "{before} by {input:?}");
        let changed = (before != after).then(now);
        assert_eq!(rules.alice().last_status_change, changed, "{before} by {input:?}");
    }
}

#[test]
fn a_renewal_of_an_expired_user_lasts_until_its_new_end() {
    let mut rules = Rules::with(FakeUser::new("alice").expire(NOW + 5));
    rules.advance(5);
    rules.panel.review();
    assert_eq!(rules.alice().status, FakeStatus::Expired);
    let renewal = UserInput {
        expire: Some(NOW + 30 * DAY),
        ..UserInput::default()
    };
    rules.modify(renewal).unwrap();
    rules.panel.review();
    assert_eq!(rules.alice().status, FakeStatus::Active);
    rules.advance(30 * DAY);
    rules.panel.review();
    assert_eq!(rules.alice().status, FakeStatus::Expired);
}

#[test]
fn a_review_limits_before_it_expires_and_leaves_other_states_alone() {
    use FakeStatus::{Active, Disabled, Expired, Limited};
    let user = |status| FakeUser::new("alice").status(status);
    for (user, after) in [
        (user(Active).data_limit(10).used_traffic(9), Active),
        (user(Active).data_limit(10).used_traffic(10), Limited),
        (user(Active).expire(NOW + 1), Active),
        (user(Active).expire(NOW), Expired),
        (user(Active).expire(NOW).data_limit(10).used_traffic(10), Limited),
        (user(Limited).expire(NOW), Limited),
        (user(Disabled).expire(NOW), Disabled),
    ] {
        let mut rules = Rules::with(user.clone());
        rules.panel.review();
        assert_eq!(rules.alice().status, after, "{user:?}");
    }
}

#[test]
fn an_on_hold_user_starts_with_a_connection_after_its_last_edit_or_at_its_time_out() {
    let mut rules = Rules::with(FakeUser::new("alice").on_hold(DAY).online_at(now()));
    rules.advance(1);
    rules.modify(UserInput::default()).unwrap();
    rules.panel.review();
    assert_eq!(
        rules.alice().status,
        FakeStatus::OnHold,
        "it was online before the edit"
    );
    rules.advance(1);
    assert!(rules.panel.add_traffic("alice", 1));
    rules.panel.review();
    let alice = rules.alice();
    assert_eq!(
        (alice.status, alice.expire),
        (FakeStatus::Active, Some(NOW + 2 + DAY))
    );
    assert_eq!(alice.on_hold_expire_duration, None);

    let mut user = FakeUser::new("alice").on_hold(DAY);
    user.on_hold_timeout = Some(at("2026-11-22T20:59:43Z"));
    let mut rules = Rules::with(user);
    rules.panel.review();
    assert_eq!(rules.alice().status, FakeStatus::OnHold);
    rules.advance(1);
    rules.panel.review();
    assert_eq!(rules.alice().expire, Some(NOW + 1 + DAY));
}

#[test]
fn a_next_plan_replaces_the_limits_that_ended() {
    let used_up = FakeUser::new("alice").data_limit(1_000).used_traffic(1_500);
    for (user, plan, limit) in [
        (used_up.clone(), PLAN, Some(5_000)),
        // The flag is named the wrong way round: the remainder, here negative, is added without it.
        (
            used_up.clone(),
            FakeNextPlan {
                add_remaining_traffic: false,
                ..PLAN
            },
            Some(4_500),
        ),
        (FakeUser::new("alice").expire(NOW), PLAN, Some(5_000)),
    ] {
        let mut rules = Rules::with(user);
        rules.modify(with_plan(plan)).unwrap();
        rules.panel.review();
        let alice = rules.alice();
        assert_eq!((alice.data_limit, alice.expire), (limit, plan.expire));
        assert_eq!((alice.used_traffic, alice.next_plan), (0, None));
    }
    let both = FakeNextPlan {
        fire_on_either: false,
        ..PLAN
    };
    let mut rules = Rules::with(used_up.next_plan(both));
    rules.panel.review();
    assert_eq!(
        rules.alice().status,
        FakeStatus::Limited,
        "only one of the two limits ended"
    );
}

#[test]
fn an_activated_plan_is_denied_although_it_was_applied() {
    let mut rules = Rules::with(
        FakeUser::new("alice")
            .status(FakeStatus::Disabled)
            .next_plan(PLAN),
    );
    assert_eq!(rules.panel.activate_next_plan("alice"), Err(Refusal::NoNextPlan));
    let alice = rules.alice();
    assert_eq!(
        (alice.status, alice.data_limit),
        (FakeStatus::Active, Some(5_000))
    );
    assert_eq!(rules.panel.activate_next_plan("alice"), Err(Refusal::NoNextPlan));
    let adds = FakeNextPlan {
        add_remaining_traffic: false,
        ..PLAN
    };
    rules
        .modify(UserInput {
            data_limit: Some(0),
            ..with_plan(adds)
        })
        .unwrap();
    assert_eq!(
        rules.panel.activate_next_plan("alice"),
        Err(Refusal::InternalError)
    );
    assert_eq!(
        rules.alice().next_plan,
        Some(adds),
        "nothing was applied to an unlimited user"
    );
}

#[test]
fn a_reset_keeps_the_lifetimes_traffic_and_activates_all_but_the_expired() {
    use FakeStatus::{Active, Disabled, Expired, Limited, OnHold};
    for (before, after) in [
        (Active, Active),
        (Limited, Active),
        (Disabled, Active),
        (OnHold, Active),
        (Expired, Expired),
    ] {
        let user = FakeUser::new("alice").status(before).used_traffic(7);
        let mut rules = Rules::with(user.next_plan(PLAN));
        rules.panel.reset_usage(&rules.ali, "alice").unwrap();
        let alice = rules.alice();
        assert_eq!((alice.status, alice.next_plan), (after, None), "{before}");
        assert_eq!((alice.used_traffic, alice.earlier_traffic), (0, 7), "{before}");
    }
}

#[test]
fn a_reset_of_all_forgets_the_lifetimes_traffic_and_a_sudo_admins_is_of_its_own_users() {
    let mut rules = Rules::with(FakeUser::new("alice").used_traffic(7));
    rules.panel.reset_usage_of_all(&rules.sudo);
    assert_eq!(rules.alice().used_traffic, 7, "alice is the seller's");
    rules.panel.reset_usage_of_all(&rules.root);
    assert_eq!(
        (rules.alice().used_traffic, rules.alice().earlier_traffic),
        (0, 0)
    );
}

#[test]
fn traffic_starts_anew_by_strategy_after_its_days() {
    let mut user = FakeUser::new("alice").status(FakeStatus::Limited).used_traffic(7);
    "week".clone_into(&mut user.data_limit_reset_strategy);
    let mut rules = Rules::with(user);
    rules.advance(7 * DAY - 1);
    rules.panel.reset_by_strategy();
    assert_eq!(rules.alice().used_traffic, 7);
    rules.advance(1);
    rules.panel.reset_by_strategy();
    assert_eq!(
        (rules.alice().used_traffic, rules.alice().status),
        (0, FakeStatus::Active)
    );
}

#[test]
fn expired_users_are_deleted_after_their_days() {
    let mut user = FakeUser::new("alice").expire(NOW);
    user.auto_delete_in_days = Some(2);
    let mut rules = Rules::with(user);
    rules.panel.review();
    rules.advance(2 * DAY - 1);
    rules.panel.auto_delete();
    assert!(rules.panel.user("alice").is_some());
    rules.advance(1);
    rules.panel.auto_delete();
    assert!(rules.panel.user("alice").is_none());
}

#[test]
fn the_deletion_of_an_ownerless_user_fails_although_it_is_done() {
    let mut rules = Rules::with(FakeUser::new("alice"));
    rules.panel.insert_user(FakeUser::new("boris"));
    assert_eq!(
        rules.panel.delete_user(&rules.sudo, "boris"),
        Err(Refusal::InternalError)
    );
    assert_eq!(
        rules.panel.delete_user(&rules.sudo, "boris"),
        Err(Refusal::UserNotFound)
    );
    assert_eq!(rules.panel.delete_user(&rules.sudo, "alice"), Ok(()));
    assert_eq!(rules.panel.users().count(), 0);
}

#[test]
fn an_admin_sees_its_own_users_and_a_sudo_admin_all() {
    let mut rules = Rules::with(FakeUser::new("alice"));
    rules.panel.insert_user(FakeUser::new("boris").owner(Some("bob")));
    rules.panel.insert_user(FakeUser::new("clara"));
    let names = |rules: &Rules, by: &FakeAdmin, query: &UserQuery<'_>| {
        let page = rules.panel.list_users(by, query).expect("a page");
        let names = page.users.iter().map(|user| user.username.clone());
        (names.collect::<Vec<_>>().join(" "), page.total)
    };
    let all = UserQuery::default();
    for (by, seen, total) in [
        (&rules.root, "alice boris clara", 3),
        (&rules.sudo, "alice boris clara", 3),
        (&rules.ali, "alice", 1),
        (&rules.bob, "boris", 1),
    ] {
        assert_eq!(names(&rules, by, &all), (seen.to_owned(), total), "{by:?}");
    }
    let mut of_bob = UserQuery::default();
    of_bob.owners = vec!["bob"];
    assert_eq!(names(&rules, &rules.sudo, &of_bob).0, "boris");
    assert_eq!(
        names(&rules, &rules.ali, &of_bob).0,
        "alice",
        "it sees its own whatever it asks for"
    );
    assert_eq!(
        rules.panel.visible_user(&rules.bob, "alice"),
        Err(Refusal::Forbidden)
    );
    assert_eq!(
        rules.panel.visible_user(&rules.bob, "dora"),
        Err(Refusal::UserNotFound)
    );
    rules.panel.set_owner("alice", "bob").unwrap();
    assert!(rules.panel.visible_user(&rules.bob, "alice").is_ok());
    assert_eq!(
        rules.panel.set_owner("alice", "nobody"),
        Err(Refusal::AdminNotFound)
    );
}

#[test]
fn a_page_is_a_part_of_what_the_filters_leave() {
    let mut rules = Rules::new();
    for number in 1..=5 {
        let status = if number % 2 == 0 {
            FakeStatus::Disabled
        } else {
            FakeStatus::Active
        };
        rules
            .panel
            .insert_user(FakeUser::new(format!("user{number}")).status(status));
    }
    let mut query = UserQuery::default();
    (query.status, query.offset, query.limit) = (Some(FakeStatus::Active), 1, Some(1));
    let page = rules.panel.list_users(&rules.root, &query).unwrap();
    assert_eq!(
        (page.users[0].username.as_str(), page.users.len(), page.total),
        ("user3", 1, 3)
    );
    let mut query = UserQuery::default();
    (query.search, query.usernames) = (Some("SER_"), vec!["user5", "user1", "user5", "ghost"]);
    let page = rules.panel.list_users(&rules.root, &query).unwrap();
    assert_eq!(page.total, 2);
    rules.panel.insert_user(FakeUser::new("poison").poison());
    assert_eq!(
        rules.panel.list_users(&rules.root, &UserQuery::default()),
        Err(Refusal::InternalError)
    );
}

#[test]
fn new_proxies_replace_all_credentials_that_the_edit_does_not_repeat() {
    let mut rules = Rules::new();
    let given = |id: Option<&str>| {
        let mut vless = ProxyInput::default();
        vless.id = id.map(str::to_owned);
        UserInput {
            proxies: ProxiesInput::Given([(FakeProtocol::Vless, vless)].into()),
            ..UserInput::default()
        }
    };
    let id = "2fd9da81-993f-48ab-9698-a2ec54ea2661";
    rules
        .panel
        .create_user(&rules.ali, "alice", given(Some(id)))
        .unwrap();
    let first = rules.alice().clone();
    rules.modify(given(Some(id))).unwrap();
    rules.modify(UserInput::default()).unwrap();
    let mut repeated = rules.alice().clone();
    repeated.edit_at = None;
    assert_eq!(repeated, first);
    rules.modify(given(None)).unwrap();
    let mut renewed = rules.alice().clone();
    renewed.edit_at = None;
    assert_ne!(renewed, first, "the id is another one");
}
