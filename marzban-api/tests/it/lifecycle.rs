//! Changes through the client, on a fake panel with the quirks of the real one.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_api::model::{
    AdminUpdate, DataLimit, Expiry, Flow, NewAdmin, NewNextPlan, NewUser, NewUserTemplate, Note, OnHold,
    Patch, Proxies, Proxy, SetStatus, Timestamp, Trojan, UsageRange, User, UserStatus, UserTemplateUpdate,
    UserUpdate, Username, Vless,
};
use marzban_api::resource::{DeleteOutcome, ListAdmins};
use marzban_api::testing::{FakePanel, Fault};
use marzban_api::{Client, ErrorKind};

use crate::wire;

const GIB: u64 = 1 << 30;

async fn setup() -> (FakePanel, Client) {
    let panel = FakePanel::start().await;
    let client = wire::builder(&panel.url())
        .credentials("admin", "admin")
        .build()
        .unwrap();
    (panel, client)
}

fn new(name: &str) -> NewUser {
    NewUser::new(Username::new(name).unwrap(), Proxies::new(Vless::default()))
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds).unwrap()
}

/// An instant in the year 2100.
fn far() -> Timestamp {
    time(4_102_444_800)
}

fn vless(user: &User) -> Vless {
    match user.proxies.get("vless") {
        Some(Proxy::Vless(vless)) => vless,
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn a_new_user_may_use_all_inbounds_of_its_protocols() {
    let (_panel, client) = setup().await;
    let plan = NewNextPlan {
        expire: Expiry::At(far()),
        ..NewNextPlan::new(DataLimit::Unlimited)
    };
    let user = client
        .users()
        .create(
            &new("user-1.x@mail")
                .expire(far())
                .data_limit(DataLimit::from_bytes(GIB))
                .note(Note::new("оплачено").unwrap())
                .next_plan(plan)
                .auto_delete_in_days(14),
        )
        .await
        .unwrap();
    assert_eq!(user.username, "user-1.x@mail");
    assert!(!user.inbounds["vless"].is_empty() && user.excluded_inbounds["vless"].is_empty());
    assert_eq!(
        (
            user.expire,
            user.data_limit,
            user.note.as_deref(),
            user.auto_delete_in_days
        ),
        (Some(far().to_utc()), Some(GIB), Some("оплачено"), Some(14))
    );
    assert_eq!(user.next_plan, Some(plan.into()));
    let again = client.users().create(&new("user-1.x@mail")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_creation_cut_off_after_the_user_was_made_is_a_creation() {
    let (panel, client) = setup().await;
    panel.inject(Fault::DropAfterCommit.once().method("POST").path("/api/user"));
    let wanted = new("alice").expire(far());
    let made = client.users().create(&wanted).await.unwrap();
    assert_eq!(
        (made.username.as_str(), made.expire),
        ("alice", Some(far().to_utc()))
    );

    panel.inject(Fault::DropConnection.once().method("POST").path("/api/user"));
    let error = client.users().create(&new("bobby")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    assert!(panel.user("bobby").is_none());
}

#[tokio::test]
async fn a_user_keeps_its_secrets_and_its_plan_through_changes() {
    let (panel, client) = setup().await;
    let users = client.users();
    let plan = NewNextPlan::new(DataLimit::from_bytes(GIB));
    let made = users.create(&new("alice").next_plan(plan)).await.unwrap();
    let id = vless(&made).id;

    let change = UserUpdate::for_user(&made).note(Note::new("vip").unwrap());
    let noted = users.update(&change).await.unwrap();
    assert_eq!(
        (noted.next_plan.clone(), noted.note.as_deref()),
        (Some(plan.into()), Some("vip"))
    );

    let change = UserUpdate::for_user(&noted)
        .proxy(Vless {
            id: None,
            flow: Some(Flow::Vision),
        })
        .proxy(Trojan::default());
    panel.inject(Fault::DropAfterCommit.once().method("PUT"));
    let changed = users.update(&change).await.unwrap();
    assert_eq!(
        vless(&changed),
        Vless {
            id,
            flow: Some(Flow::Vision)
        }
    );
    assert_eq!(
        changed.proxies.protocols().collect::<Vec<_>>(),
        ["trojan", "vless"]
    );
    assert_eq!(changed.next_plan, Some(plan.into()));

    let cleared = users
        .update(
            &UserUpdate::for_user(&changed)
                .next_plan(Patch::Clear)
                .note(Patch::Clear)
                .without_proxy("trojan"),
        )
        .await
        .unwrap();
    assert_eq!((cleared.next_plan, cleared.note), (None, None));
    assert_eq!(cleared.proxies.protocols().collect::<Vec<_>>(), ["vless"]);
}

#[tokio::test]
async fn a_user_goes_through_every_status_that_an_admin_can_set() {
    let (_panel, client) = setup().await;
    let users = client.users();
    let hold = OnHold::new(Duration::from_hours(24)).unwrap().until(far());
    let user = users.create(&new("alice").on_hold(hold)).await.unwrap();
    assert_eq!(user.status, UserStatus::OnHold);
    assert_eq!(
        (user.on_hold_expire_duration, user.on_hold_timeout),
        (Some(86_400), Some(far().to_utc()))
    );
    let change = UserUpdate::for_user(&user)
        .status(SetStatus::Active)
        .expire(Expiry::At(far()));
    let user = users.update(&change).await.unwrap();
    assert_eq!(
        (&user.status, user.expire),
        (&UserStatus::Active, Some(far().to_utc()))
    );
    let user = users
        .update(&UserUpdate::for_user(&user).status(SetStatus::Disabled))
        .await
        .unwrap();
    assert_eq!(user.status, UserStatus::Disabled);
    let user = users
        .update(&UserUpdate::for_user(&user).status(SetStatus::OnHold(hold)))
        .await
        .unwrap();
    assert_eq!((&user.status, user.expire), (&UserStatus::OnHold, None));
    assert_eq!(
        users.reset_usage("alice").await.unwrap().status,
        UserStatus::Active
    );
}

#[tokio::test]
async fn a_next_plan_begins_though_the_panel_denies_it() {
    let (panel, client) = setup().await;
    let users = client.users();
    let plan = NewNextPlan {
        expire: Expiry::At(far()),
        ..NewNextPlan::new(DataLimit::from_bytes(2 * GIB))
    };
    let alice = new("alice")
        .data_limit(DataLimit::from_bytes(GIB))
        .next_plan(plan);
    users.create(&alice).await.unwrap();
    let begun = users.activate_next_plan("alice").await.unwrap();
    assert_eq!((begun.next_plan, begun.expire), (None, Some(far().to_utc())));
    assert_eq!(panel.count("POST", "/api/user/alice/active-next"), 1);

    users.create(&new("bobby").next_plan(plan)).await.unwrap();
    let error = users.activate_next_plan("bobby").await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Server, Some(500)));
    assert!(users.get("bobby").await.unwrap().next_plan.is_some());
}

#[tokio::test]
async fn a_user_changes_its_owner_and_its_secrets() {
    let (_panel, client) = setup().await;
    let users = client.users();
    client.admins().create(&NewAdmin::new("ali", "pw")).await.unwrap();
    let made = users.create(&new("alice")).await.unwrap();
    assert_eq!(made.admin, None);
    let owned = users.set_owner("alice", "ali").await.unwrap();
    assert_eq!(owned.admin.map(|admin| admin.username), Some("ali".to_owned()));
    let error = users.set_owner("alice", "ghost").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_user_not_found()),
        (ErrorKind::NotFound, false)
    );
    let revoked = users.revoke_subscription("alice").await.unwrap();
    assert_ne!(vless(&revoked).id, vless(&made).id);
}

#[tokio::test]
async fn expired_users_are_listed_and_deleted_within_their_bounds() {
    let (panel, client) = setup().await;
    let users = client.users();
    let end = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap();
    for (name, seconds) in [("early", -86_400), ("alice", 0), ("late", 86_400)] {
        let expire = Timestamp::new(end + TimeDelta::seconds(seconds)).unwrap();
        users.create(&new(name).expire(expire)).await.unwrap();
    }
    panel.review();
    let day = || end - TimeDelta::hours(1)..=end + TimeDelta::hours(1);
    assert_eq!(users.expired(day()).await.unwrap(), ["alice"]);
    assert_eq!(users.expired(end..=end).await.unwrap(), ["alice"]);
    assert_eq!(users.delete_expired(day()).await.unwrap(), ["alice"]);
    assert_eq!(users.delete_expired(day()).await.unwrap(), Vec::<String>::new());
    assert!(panel.user("early").is_some() && panel.user("late").is_some());
}

#[tokio::test]
async fn traffic_is_counted_for_users_and_admins() {
    let (panel, client) = setup().await;
    let users = client.users();
    client.admins().create(&NewAdmin::new("ali", "pw")).await.unwrap();
    users.create(&new("alice")).await.unwrap();
    users.set_owner("alice", "ali").await.unwrap();
    panel.add_traffic("alice", 2048);
    let of_alice = users.usage("alice", UsageRange::last_30_days()).await.unwrap();
    assert_eq!(
        (of_alice[0].node_name.as_str(), of_alice[0].used_traffic),
        ("Master", 2048)
    );
    let of_all = users
        .total_usage(UsageRange::last_30_days(), &["ali"])
        .await
        .unwrap();
    assert_eq!(of_all[0].used_traffic, 2048);
    assert_eq!(client.admins().usage("ali").await.unwrap(), 2048);
    assert_eq!(
        client.admins().reset_usage("ali").await.unwrap().users_usage,
        Some(0)
    );
    let alice = users.reset_usage("alice").await.unwrap();
    assert_eq!((alice.used_traffic, alice.lifetime_used_traffic), (0, Some(2048)));
    users.reset_usage_of_all().await.unwrap();
    assert_eq!(users.get("alice").await.unwrap().lifetime_used_traffic, Some(0));
}

#[tokio::test]
async fn admins_are_created_updated_and_deleted() {
    let (_panel, client) = setup().await;
    let admins = client.admins();
    let ali = admins.create(&NewAdmin::new("ali", "old")).await.unwrap();
    assert_eq!((ali.username.as_str(), ali.is_sudo), ("ali", false));
    let again = admins.create(&NewAdmin::new("ali", "old")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    let changed = admins
        .update(&AdminUpdate::for_admin(&ali).password("new").telegram_id(7))
        .await
        .unwrap();
    assert_eq!((changed.is_sudo, changed.telegram_id), (false, Some(7)));
    let listed = admins.list(&ListAdmins::new().username("AL")).await.unwrap();
    assert_eq!(listed, [changed]);

    client.users().create(&new("alice")).await.unwrap();
    client.users().set_owner("alice", "ali").await.unwrap();
    admins.disable_users("ali").await.unwrap();
    assert_eq!(
        client.users().get("alice").await.unwrap().status,
        UserStatus::Disabled
    );
    admins.activate_users("ali").await.unwrap();
    assert_eq!(
        client.users().get("alice").await.unwrap().status,
        UserStatus::Active
    );
    assert_eq!(admins.delete("ali").await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(admins.delete("ali").await.unwrap(), DeleteOutcome::NotFound);
    assert_eq!(client.users().get("alice").await.unwrap().admin, None);
}

#[tokio::test]
async fn templates_are_made_changed_and_deleted() {
    let (_panel, client) = setup().await;
    let templates = client.templates();
    let new = NewUserTemplate::new("30d")
        .data_limit(DataLimit::from_bytes(GIB))
        .expire_duration(Duration::from_hours(720));
    let made = templates.create(&new).await.unwrap();
    assert_eq!(
        (made.data_limit, made.expire_duration, made.name.as_deref()),
        (Some(GIB), Some(2_592_000), Some("30d"))
    );
    let again = templates.create(&new).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    let change = UserTemplateUpdate::new().data_limit(DataLimit::Unlimited);
    let changed = templates.update(made.id, &change).await.unwrap();
    assert_eq!(
        (changed.data_limit, changed.expire_duration),
        (None, Some(2_592_000))
    );
    assert_eq!(templates.get(made.id).await.unwrap(), changed);
    assert_eq!(templates.list().await.unwrap(), [changed]);
    assert_eq!(templates.page(1, 5).await.unwrap(), []);
    assert_eq!(templates.delete(made.id).await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(templates.delete(made.id).await.unwrap(), DeleteOutcome::NotFound);
}
