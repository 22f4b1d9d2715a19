//! Which status a subscription gets, and which one it gets back.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{Account, SubscriptionStatus};
use marzban_sync_core::agreement::{Agreement, Replaced};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::observation::{Observation, Observed};
use marzban_sync_core::policy::{Answers, Policy, Reactivate, Unlimited};
use marzban_sync_core::reconcile::Facet::Subscriptions;
use marzban_sync_core::reconcile::reconcile;

use crate::given::{agreed, day, found, now, policy, subscribed, subscription};

/// One account through several runs, each of which writes everything.
struct Story {
    account: Account,
    policy: Policy,
    now: DateTime<Utc>,
}

impl Story {
    fn new(account: Account) -> Self {
        Self::by(Policy::default(), account)
    }

    fn by(policy: Policy, account: Account) -> Self {
        Self {
            account,
            policy,
            now: now(),
        }
    }

    /// A run that is told this, so many days from the present; twice, as nothing may depend on that. Returns the status
    /// as the row has it then.
    fn run(&mut self, days: i64, says: &Observation) -> &str {
        self.now = day(days);
        for _ in 0..2 {
            let observed = [Observed {
                account: self.account.clone(),
                observation: says.clone(),
            }];
            let decisions = reconcile(
                &observed,
                Subscriptions,
                self.policy,
                &Answers::default(),
                self.now,
            );
            if let Some(change) = decisions.first().and_then(|decision| decision.change.as_ref()) {
                self.account = change.applied();
            }
        }
        self.word()
    }

    /// The first half of a run, which takes nothing; the second never comes.
    fn run_harmless_half(&mut self, days: i64, says: &Observation) {
        self.now = day(days);
        let observed = [Observed {
            account: self.account.clone(),
            observation: says.clone(),
        }];
        let decisions = reconcile(
            &observed,
            Subscriptions,
            self.policy,
            &Answers::default(),
            self.now,
        );
        let change = decisions.into_iter().next().and_then(|decision| decision.change);
        self.account = change.expect("a change").split().0.applied();
    }

    fn word(&self) -> &str {
        &self.account.subscription.as_ref().expect("a subscription").word
    }

    /// The bot sets this status and keeps the end.
    fn bot_sets(&mut self, word: &str) {
        let subscription = self.account.subscription.as_mut().expect("a subscription");
        word.clone_into(&mut subscription.word);
        subscription.status = SubscriptionStatus::from(word);
    }

    fn end(&self) -> Option<DateTime<Utc>> {
        self.account
            .subscription
            .as_ref()
            .and_then(|subscription| subscription.end_date)
    }
}

fn at_least(days: i64) -> Policy {
    policy(|policy| policy.reactivate = Reactivate::AtLeast(TimeDelta::days(days)))
}

#[test]
fn a_subscription_that_the_library_ended_comes_back_as_it_was() {
    // A19: a trial comes back as a trial, and every word as the bot spells it.
    for (word, ended) in [
        ("trial", "expired"),
        ("active", "expired"),
        ("TRIAL", "EXPIRED"),
        ("ACTIVE", "EXPIRED"),
        ("Active", "Expired"),
    ] {
        let mut story = Story::new(subscribed(word, day(-1)));
        assert_eq!(story.run(0, &found("expired", day(-1))), ended);
        assert_eq!(story.run(1, &found("expired", day(-1))), ended);
        assert_eq!(story.run(2, &found("active", day(32))), word);
        assert_eq!(story.end(), Some(day(32)));
        assert_eq!(story.account.agreement.replaced, None);
    }
}

#[test]
fn a_renewal_in_the_panel_brings_a_subscription_back_that_the_bot_ended_at_its_end() {
    // A30.
    for (word, back) in [
        ("expired", "active"),
        ("EXPIRED", "ACTIVE"),
        ("Expired", "Active"),
    ] {
        let mut story = Story::new(Account {
            agreement: agreed(day(-1)),
            ..subscribed(word, day(-1))
        });
        assert_eq!(story.run(0, &found("expired", day(-1))), word);
        assert_eq!(story.run(1, &found("active", day(31))), back);
    }
}

#[test]
fn a_renewal_that_arrives_while_the_user_is_limited_counts_once_that_is_lifted() {
    // A38.
    for word in ["expired", "active"] {
        let mut story = Story::new(Account {
            agreement: agreed(day(-1)),
            ..subscribed(word, day(-1))
        });
        story.run(0, &found("expired", day(-1)));
        assert_eq!(story.run(1, &found("limited", day(31))), "expired");
        assert_eq!(story.end(), Some(day(31)));
        assert_eq!(story.run(5, &found("limited", day(31))), "expired");
        assert_eq!(story.run(9, &found("active", day(31))), "active");
    }
}

#[test]
fn such_a_renewal_is_remembered_although_the_half_that_takes_access_is_withheld() {
    let mut story = Story::new(Account {
        agreement: agreed(day(-1)),
        ..subscribed("expired", day(-1))
    });
    story.run_harmless_half(0, &found("limited", day(31)));
    assert_eq!(
        (story.end(), story.account.is_active),
        (Some(day(31)), Some(true))
    );
    assert_eq!(story.run(1, &found("active", day(31))), "active");
}

#[test]
fn no_status_is_remembered_before_it_has_been_replaced() {
    let mut story = Story::new(subscribed("trial", day(-1)));
    story.run_harmless_half(0, &found("expired", day(-1)));
    assert_eq!(
        (story.word(), &story.account.agreement.replaced),
        ("trial", &None)
    );
}

#[test]
fn a_renewal_counts_no_more_once_the_bot_has_moved_the_end() {
    let mut story = Story::new(Account {
        agreement: agreed(day(-1)),
        ..subscribed("expired", day(-1))
    });
    story.run(0, &found("limited", day(31)));
    story.account.subscription = Some(subscription("expired", day(2)));
    assert_eq!(story.run(1, &found("active", day(31))), "expired");
    story.account.subscription = Some(subscription("expired", day(31)));
    assert_eq!(story.run(2, &found("active", day(31))), "expired");
}

#[test]
fn a_refund_stays_a_refund() {
    // A18: the bot ended the subscription and could not tell the panel.
    let mut story = Story::new(Account {
        agreement: agreed(day(200)),
        ..subscribed("expired", now())
    });
    for days in [0, 1, 30] {
        assert_eq!(story.run(days, &found("active", day(200))), "expired");
        assert_eq!(story.end(), Some(now()));
    }
}

#[test]
fn a_subscription_that_the_bot_ended_before_its_end_stays_so() {
    let mut story = Story::new(subscribed("expired", day(5)));
    assert_eq!(story.run(0, &found("active", day(5))), "expired");
    assert_eq!(story.run(1, &found("active", day(35))), "expired");
}

#[test]
fn a_status_that_the_library_set_and_the_bot_set_anew_is_the_bots() {
    let mut story = Story::new(subscribed("trial", day(-1)));
    story.run(0, &found("expired", day(-1)));
    story.bot_sets("active");
    assert_eq!(story.run(1, &found("active", day(31))), "active");
    assert_eq!(story.run(32, &found("expired", day(31))), "expired");
    assert_eq!(story.run(33, &found("active", day(62))), "active");
    story.bot_sets("cancelled");
    assert_eq!(story.run(34, &found("active", day(93))), "cancelled");
}

#[test]
fn a_user_that_is_limited_disabled_or_missing_brings_nothing_back() {
    for says in [
        found("limited", day(31)),
        found("disabled", day(31)),
        found("expired", day(31)),
        found("melted", day(31)),
        found("active", day(-1)),
        found("on_hold", None),
        found("active", None),
        Observation::NotFound,
    ] {
        let mut story = Story::new(subscribed("active", day(-2)));
        assert_eq!(story.run(0, &found("expired", day(-2))), "expired");
        assert_eq!(story.run(0, &says), "expired", "{says:?}");
    }
}

#[test]
fn whoever_is_called_unlimited_comes_back_where_the_policy_clears_the_end() {
    let clear = policy(|policy| policy.unlimited = Unlimited::Clear);
    let mut story = Story::by(clear, subscribed("trial", day(-2)));
    story.run(0, &found("expired", day(-2)));
    assert_eq!(story.run(1, &found("active", None)), "trial");
    assert_eq!(story.end(), None);
}

#[test]
fn nothing_comes_back_where_only_the_bot_opens_a_subscription() {
    let never = policy(|policy| policy.reactivate = Reactivate::Never);
    for word in ["active", "expired"] {
        let mut story = Story::by(never, subscribed(word, day(-2)));
        story.run(0, &found("expired", day(-2)));
        assert_eq!(story.run(1, &found("active", day(31))), "expired");
        assert_eq!(story.end(), Some(day(31)), "the end follows all the same");
        assert_eq!(story.run(2, &found("active", day(62))), "expired");
    }
}

#[test]
fn a_grace_period_is_no_renewal_and_a_renewal_after_it_is_one() {
    // A20: three days of grace, given in the panel only.
    for (word, back) in [("active", "active"), ("trial", "trial"), ("expired", "active")] {
        let mut story = Story::by(at_least(7), subscribed(word, day(-1)));
        story.run(0, &found("expired", day(-1)));
        assert_eq!(story.run(0, &found("active", day(3))), "expired");
        assert_eq!(story.run(1, &found("active", day(3))), "expired");
        let during = story.run(2, &found("active", day(33))).to_owned();
        assert_eq!(during, back, "renewed before the grace was over");

        let mut story = Story::by(at_least(7), subscribed(word, day(-1)));
        story.run(0, &found("expired", day(-1)));
        story.run(0, &found("active", day(3)));
        assert_eq!(story.run(4, &found("expired", day(3))), "expired");
        assert_eq!(story.run(5, &found("active", day(35))), back);
    }
}

#[test]
fn a_renewal_of_exactly_the_least_length_counts() {
    for (days, expected) in [(7, "active"), (6, "expired")] {
        let mut story = Story::by(at_least(7), subscribed("expired", day(-1)));
        assert_eq!(story.run(0, &found("active", day(days))), expected);
    }
}

#[test]
fn all_that_is_over_of_a_customer_ends_in_one_plan() {
    let other = |id, status: &str, end| {
        let mut other = subscription(status, end);
        other.id = marzban_sync_core::account::SubscriptionId(id);
        other
    };
    let mut named = other(15, "active", day(-5));
    named.is_named = true;
    let account = Account {
        other_subscriptions: [
            other(11, "TRIAL", day(-5)),
            other(12, "active", day(5)),
            other(13, "cancelled", day(-5)),
            other(14, "pending", day(-5)),
            named,
            other(16, "active", now()),
        ]
        .into(),
        ..subscribed("active", day(-2))
    };
    let observed = [Observed {
        account,
        observation: found("expired", day(-2)),
    }];
    let decisions = reconcile(
        &observed,
        Subscriptions,
        Policy::default(),
        &Answers::default(),
        now(),
    );
    let change = decisions[0].change.as_ref().expect("a change");
    assert_eq!(
        change.to_string(),
        "1001 (\"user1\"): status active -> expired status of 11 trial -> expired status of 16 active -> expired \
         is_active true -> false [Expired]"
    );
    let words: Vec<String> = change
        .applied()
        .other_subscriptions
        .iter()
        .map(|subscription| subscription.word.clone())
        .collect();
    assert_eq!(
        words,
        ["EXPIRED", "active", "cancelled", "pending", "active", "expired"]
    );
}

// How long an account has been over.

fn remembered(account: Account, says: Observation) -> Agreement {
    let observed = [Observed {
        account: account.clone(),
        observation: says,
    }];
    let decisions = reconcile(
        &observed,
        Subscriptions,
        Policy::default(),
        &Answers::default(),
        now(),
    );
    let change = decisions.into_iter().next().and_then(|decision| decision.change);
    change
        .and_then(|change| change.agreement)
        .unwrap_or(account.agreement)
}

/// An ended account that was seen over since the third day before the present.
fn over() -> Account {
    Account {
        is_active: Some(false),
        agreement: Agreement {
            over_since: Some(day(-3)),
            latest_end: Some(day(-10)),
            ..agreed(day(-10))
        },
        ..subscribed("expired", day(-10))
    }
}

#[test]
fn an_account_is_over_since_it_was_first_seen_so() {
    assert_eq!(
        remembered(over(), found("expired", day(-10))).over_since,
        Some(day(-3))
    );
    assert_eq!(
        remembered(over(), Observation::NotFound).over_since,
        Some(day(-3))
    );
    let unseen = Account {
        agreement: Agreement::default(),
        ..over()
    };
    assert_eq!(
        remembered(unseen, found("expired", day(-10))).over_since,
        Some(now())
    );
    assert_eq!(
        remembered(subscribed("active", day(-2)), found("expired", day(-2))).over_since,
        Some(now()),
        "it ends now"
    );
}

#[test]
fn what_is_not_known_begins_and_ends_nothing() {
    for says in [Observation::NotListed, Observation::NotPermitted] {
        assert_eq!(remembered(over(), says).over_since, Some(day(-3)));
    }
}

#[test]
fn an_account_that_works_or_was_opened_meanwhile_begins_anew() {
    assert_eq!(remembered(over(), found("active", None)).over_since, None);
    assert_eq!(remembered(over(), found("on_hold", None)).over_since, None);
    let open = Account {
        subscription: Some(subscription("active", day(-10))),
        ..over()
    };
    assert_eq!(
        remembered(open.clone(), Observation::NotListed).over_since,
        Some(day(-3)),
        "nothing is known"
    );
    assert_eq!(
        remembered(open, found("expired", day(-10))).over_since,
        Some(now()),
        "it was open until now"
    );
}

#[test]
fn a_write_of_its_own_to_an_account_at_rest_is_remembered_and_never_hides_one_of_the_bots() {
    let traffic = |account: Account| Account {
        traffic_used: Some(5),
        ..account
    };
    let says = || found("expired", day(-10));
    for (updated_at, expected) in [
        (None, Some(now())),
        (Some(day(-8)), Some(now())),
        (Some(day(-2)), None),
        (Some(day(-7)), None),
    ] {
        let account = traffic(Account { updated_at, ..over() });
        assert_eq!(
            remembered(account, says()).own_write_at,
            expected,
            "{updated_at:?}"
        );
    }
    let mut written = Account {
        updated_at: Some(day(-2)),
        ..over()
    };
    written.agreement.own_write_at = Some(day(-2));
    assert_eq!(
        remembered(traffic(written.clone()), says()).own_write_at,
        Some(now())
    );
    assert_eq!(remembered(written, says()).own_write_at, Some(day(-2)));
    assert_eq!(
        remembered(traffic(subscribed("active", day(5))), found("active", day(5))).own_write_at,
        None,
        "it is not over"
    );
}

#[test]
fn a_status_remembered_for_another_end_is_forgotten() {
    let mut account = over();
    account.agreement.replaced = Some(Replaced {
        status: "trial".to_owned(),
        end: EndDate::At(day(-11)),
    });
    assert_eq!(
        remembered(account.clone(), found("expired", day(-10))).replaced,
        None
    );
    let mut story = Story::new(account);
    assert_eq!(story.run(0, &found("active", day(30))), "active");
}
