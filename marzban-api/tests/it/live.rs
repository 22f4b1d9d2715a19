//! One suite of checks that every panel must pass: the fake one always, and a real one if the environment names it.
//!
//! `MARZBAN_LIVE_URL`, `MARZBAN_LIVE_USERNAME` and `MARZBAN_LIVE_PASSWORD` are those of a sudo admin. The suite
//! creates users and templates with names of its own and removes them, whether it passes or fails. It touches nothing
//! else and restarts nothing.

use std::io::Write;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use marzban_api::model::{
    DataLimit, Expiry, NewNextPlan, NewUser, NewUserTemplate, Note, OnHold, Proxies, Proxy, ResetStrategy,
    SetStatus, Shadowsocks, Timestamp, Trojan, UsageRange, User, UserStatus, UserUpdate, Username, Vless,
    Vmess,
};
use marzban_api::resource::{DeleteOutcome, ListUsers};
use marzban_api::testing::{FakePanel, Fault};
use marzban_api::{Client, ErrorKind};

use crate::wire;

const GIB: u64 = 1 << 30;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn the_fake_panel_passes_the_checks_of_a_real_one() {
    let panel = FakePanel::start().await;
    suite(&client_of(&panel)).await;
    assert_eq!(panel.state().users.len(), 0);
}

#[tokio::test]
async fn a_failed_check_fails_the_suite_and_leaves_nothing_behind() {
    let panel = FakePanel::start().await;
    let forbidden = Fault::Status(403).once().method("DELETE");
    panel.inject(forbidden.path("/api/user_template"));
    let client = client_of(&panel);
    let outcome = AssertUnwindSafe(suite(&client)).catch_unwind().await;
    assert!(outcome.is_err());
    let requests = panel.requests();
    let deletions = requests.iter().filter(|request| request.method == "DELETE");
    assert_eq!(
        deletions.count(),
        5,
        "the check's own, and those of all that was made"
    );
    assert_eq!(panel.state().users.len(), 0);
    assert_eq!(client.templates().list().await.unwrap(), []);
}

#[tokio::test]
async fn a_real_panel_passes_the_checks() {
    let names = ["URL", "USERNAME", "PASSWORD"].map(|name| format!("MARZBAN_LIVE_{name}"));
    let [Some(url), Some(username), Some(password)] = names.each_ref().map(|name| variable(name)) else {
        // Not `eprintln!`, which the test runner keeps to itself unless a test fails.
        let words = format!(
            "\n*** SKIPPED: no real panel was checked, for that set {} ***\n",
            names.join(", ")
        );
        return writeln!(std::io::stderr(), "{words}").unwrap();
    };
    let client = Client::builder(&url).credentials(username, password).build();
    suite(&client.unwrap()).await;
}

/// A variable of the environment that says something: a secret that a CI does not have is there, and empty.
#[expect(
    clippy::disallowed_methods,
    reason = "a panel to test against can be named in no other way"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn client_of(panel: &FakePanel) -> Client {
    wire::builder(&panel.url())
        .credentials("admin", "admin")
        .build()
        .unwrap()
}

/// Checks the panel, and removes what was made for it even when a check fails.
async fn suite(client: &Client) {
    let names = Names::new();
    let outcome = AssertUnwindSafe(checks(client, &names)).catch_unwind().await;
    let remaining = names.remove_all(client).await;
    assert_eq!(remaining, [""; 0], "not removed from the panel");
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// The names of all that one run makes.
struct Names {
    limited: String,
    held: String,
    unlimited: String,
    template: String,
}

impl Names {
    /// Names that nobody else has: two runs against one panel do not meet.
    fn new() -> Self {
        let run = fastrand::u64(..);
        let name = |role| format!("live_{run:016x}_{role}");
        Self {
            limited: name("limited"),
            held: name("held"),
            unlimited: name("unlimited"),
            template: name("template"),
        }
    }

    fn users(&self) -> [&String; 3] {
        [&self.limited, &self.held, &self.unlimited]
    }

    /// Removes what is there under these names, and says what could not be removed and why.
    async fn remove_all(&self, client: &Client) -> Vec<String> {
        let mut remaining = Vec::new();
        for name in self.users() {
            if let Err(error) = client.users().delete(name).await {
                remaining.push(format!("{name}: {error}"));
            }
        }
        let templates = client.templates();
        let listed = templates.list().await;
        for template in listed.as_deref().unwrap_or_default() {
            if template.name.as_ref() == Some(&self.template)
                && let Err(error) = templates.delete(template.id).await
            {
                remaining.push(format!("{}: {error}", self.template));
            }
        }
        remaining.extend(listed.err().map(|error| format!("{}: {error}", self.template)));
        remaining
    }
}

async fn checks(client: &Client, names: &Names) {
    let proxies = the_panel_describes_itself(client).await;
    an_unknown_user_is_not_found(client, &names.limited).await;

    let limited = a_user_is_made_with_all_its_settings(client, &names.limited, &proxies).await;
    let held = a_user_is_made_on_hold(client, &names.held, &proxies).await;
    a_user_is_made_without_limits(client, &names.unlimited, &proxies).await;
    users_are_found_by_their_names(client, names).await;

    let changed = a_change_keeps_what_it_does_not_mention(client, &limited).await;
    a_revocation_makes_new_secrets(client, &changed).await;
    nothing_is_used_yet(client, &names.limited).await;
    a_reset_drops_the_plan_and_switches_on(client, &names.limited).await;
    a_user_on_hold_becomes_active(client, &held).await;
    a_template_is_kept(client, &names.template).await;

    for name in names.users() {
        assert_eq!(client.users().delete(name).await.unwrap(), DeleteOutcome::Deleted);
        assert_eq!(
            client.users().delete(name).await.unwrap(),
            DeleteOutcome::NotFound
        );
        an_unknown_user_is_not_found(client, name).await;
    }
}

/// What users of this panel can have: a protocol that no inbound serves is refused.
async fn the_panel_describes_itself(client: &Client) -> Proxies {
    let administrator = client.admins().current().await.unwrap();
    assert!(administrator.is_sudo, "templates need sudo rights");

    let stats = client.system().stats().await.unwrap();
    assert_ne!(stats.version, "");
    assert!(stats.cpu_cores > 0 && stats.mem_used <= stats.mem_total);

    let inbounds = client.system().inbounds().await.unwrap();
    for (protocol, inbounds) in &inbounds {
        assert!(inbounds.iter().all(|inbound| inbound.protocol == *protocol));
        assert!(inbounds.iter().all(|inbound| !inbound.tag.is_empty()));
    }
    let proxies = inbounds
        .keys()
        .filter_map(|protocol| default_settings(protocol))
        .fold(Proxies::default(), Proxies::with);
    assert!(!proxies.is_empty(), "the panel serves no protocol: {inbounds:?}");
    proxies
}

fn default_settings(protocol: &str) -> Option<Proxy> {
    match protocol {
        "vmess" => Some(Vmess::default().into()),
        "vless" => Some(Vless::default().into()),
        "trojan" => Some(Trojan::default().into()),
        "shadowsocks" => Some(Shadowsocks::default().into()),
        _ => None,
    }
}

async fn an_unknown_user_is_not_found(client: &Client, name: &str) {
    let users = client.users();
    let range = UsageRange::last_30_days();
    for error in [
        users.get(name).await.unwrap_err(),
        users.reset_usage(name).await.unwrap_err(),
        users.revoke_subscription(name).await.unwrap_err(),
        users.usage(name, range).await.unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.is_user_not_found()),
            (ErrorKind::NotFound, true)
        );
    }
    let named = users.get_many(&[name]).await.unwrap();
    assert!(named.found.is_empty() && named.missing.contains(name));
}

async fn a_user_is_made_with_all_its_settings(client: &Client, name: &str, proxies: &Proxies) -> User {
    let plan = NewNextPlan {
        expire: Expiry::At(far()),
        ..NewNextPlan::new(DataLimit::from_bytes(5 * GIB))
    };
    let wanted = new(name, proxies)
        .expire(far())
        .data_limit(DataLimit::from_bytes(GIB))
        .reset_strategy(ResetStrategy::Month)
        .note(Note::new("made by a test").unwrap())
        .next_plan(plan)
        .auto_delete_in_days(1);
    let made = client.users().create(&wanted).await.unwrap();
    assert_eq!(
        (made.username.as_str(), &made.status),
        (name, &UserStatus::Active)
    );
    assert_eq!((made.expire, made.data_limit), (Some(far().to_utc()), Some(GIB)));
    assert_eq!(made.data_limit_reset_strategy, Some(ResetStrategy::Month));
    assert_eq!(made.note.as_deref(), Some("made by a test"));
    assert_eq!(made.next_plan, Some(plan.into()));
    assert_eq!(made.auto_delete_in_days, Some(1));
    assert!(made.proxies.protocols().eq(proxies.protocols()));
    assert!(made.proxies.protocols().eq(made.inbounds.keys()));
    assert_ne!(made.subscription_url, "");

    let read = client.users().get(name).await.unwrap();
    assert_eq!(lasting(&read), lasting(&made));
    assert_eq!((&read.created_at, &read.note), (&made.created_at, &made.note));
    let again = client.users().create(&wanted).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    read
}

async fn a_user_is_made_on_hold(client: &Client, name: &str, proxies: &Proxies) -> User {
    let hold = OnHold::new(DAY).unwrap().until(far());
    client
        .users()
        .create(&new(name, proxies).on_hold(hold))
        .await
        .unwrap();
    let user = client.users().get(name).await.unwrap();
    assert_eq!((&user.status, user.expire), (&UserStatus::OnHold, None));
    assert_eq!(
        (user.on_hold_expire_duration, user.on_hold_timeout),
        (Some(86_400), Some(far().to_utc()))
    );
    let stats = client.system().stats().await.unwrap();
    assert!(stats.users_on_hold.is_none_or(|held| held > 0));
    user
}

async fn a_user_is_made_without_limits(client: &Client, name: &str, proxies: &Proxies) {
    client.users().create(&new(name, proxies)).await.unwrap();
    let user = client.users().get(name).await.unwrap();
    assert_eq!(
        (&user.status, user.expire, user.data_limit),
        (&UserStatus::Active, None, None)
    );
    assert_eq!((user.note, user.next_plan), (None, None));
}

async fn users_are_found_by_their_names(client: &Client, names: &Names) {
    let users = client.users();
    let ghost = format!("{}_ghost", names.limited);
    let [limited, held, unlimited] = names.users();
    let answer = users.get_many(&[limited, &ghost, held, unlimited]).await.unwrap();
    assert!(answer.found.keys().eq([held, limited, unlimited]));
    assert!(answer.missing.iter().eq([&ghost]));
    assert!(answer.failed.is_empty());

    let page = users
        .list(&ListUsers::new().usernames([limited, held]).limit(1))
        .await
        .unwrap();
    assert_eq!((page.users.len(), page.total), (1, 2));
}

async fn a_change_keeps_what_it_does_not_mention(client: &Client, before: &User) -> User {
    let limit = NonZeroU64::new(2 * GIB).unwrap();
    let change = UserUpdate::for_user(before)
        .data_limit(DataLimit::Bytes(limit))
        .note(Note::new("changed by a test").unwrap());
    let after = client.users().update(&change).await.unwrap();
    assert_eq!(
        (after.data_limit, after.note.as_deref()),
        (Some(2 * GIB), Some("changed by a test"))
    );
    assert!(before.next_plan.is_some());
    assert_eq!(lasting(&after), lasting(before));
    after
}

async fn a_revocation_makes_new_secrets(client: &Client, before: &User) {
    let after = client
        .users()
        .revoke_subscription(&before.username)
        .await
        .unwrap();
    for protocol in before.proxies.protocols() {
        let (old, new) = (before.proxies.get(protocol), after.proxies.get(protocol));
        assert!(new.is_some() && new != old, "{protocol}");
    }
    assert_eq!(after.next_plan, before.next_plan);
}

async fn nothing_is_used_yet(client: &Client, name: &str) {
    let usages = client.users().usage(name, UsageRange::last_30_days()).await;
    let usages = usages.unwrap();
    let own_core = usages.iter().find(|usage| usage.node_id.is_none()).unwrap();
    assert_eq!(own_core.node_name, "Master");
    assert!(usages.iter().all(|usage| usage.used_traffic == 0));
}

async fn a_reset_drops_the_plan_and_switches_on(client: &Client, name: &str) {
    let users = client.users();
    let user = users.get(name).await.unwrap();
    let change = UserUpdate::for_user(&user).status(SetStatus::Disabled);
    let disabled = users.update(&change).await.unwrap();
    assert_eq!(disabled.status, UserStatus::Disabled);
    assert_eq!(disabled.next_plan, user.next_plan);

    let reset = users.reset_usage(name).await.unwrap();
    assert_eq!((&reset.status, reset.used_traffic), (&UserStatus::Active, 0));
    assert_eq!(users.get(name).await.unwrap().next_plan, None);
}

async fn a_user_on_hold_becomes_active(client: &Client, held: &User) {
    let change = UserUpdate::for_user(held)
        .status(SetStatus::Active)
        .expire(Expiry::At(far()));
    let active = client.users().update(&change).await.unwrap();
    assert_eq!(
        (&active.status, active.expire),
        (&UserStatus::Active, Some(far().to_utc()))
    );
    assert_eq!(active.proxies, held.proxies);
}

async fn a_template_is_kept(client: &Client, name: &str) {
    let templates = client.templates();
    let wanted = NewUserTemplate::new(name)
        .data_limit(DataLimit::from_bytes(GIB))
        .expire_duration(30 * DAY);
    let made = templates.create(&wanted).await.unwrap();
    assert_eq!(made.name.as_deref(), Some(name));
    assert_eq!(
        (made.data_limit, made.expire_duration),
        (Some(GIB), Some(2_592_000))
    );
    assert!(templates.list().await.unwrap().contains(&made));
    assert_eq!(templates.delete(made.id).await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(templates.delete(made.id).await.unwrap(), DeleteOutcome::NotFound);
    assert!(!templates.list().await.unwrap().contains(&made));
}

/// What a change of limit and note has to leave as it is.
fn lasting(user: &User) -> impl PartialEq + std::fmt::Debug {
    (
        (&user.username, &user.status, &user.created_at, &user.expire),
        (&user.data_limit_reset_strategy, &user.next_plan),
        (&user.proxies, &user.inbounds, &user.excluded_inbounds),
    )
}

fn new(name: &str, proxies: &Proxies) -> NewUser {
    NewUser::new(Username::new(name).unwrap(), proxies.clone())
}

/// An instant in the year 2100: no review of the panel ends the access meanwhile.
fn far() -> Timestamp {
    Timestamp::from_timestamp(4_102_444_800).unwrap()
}
