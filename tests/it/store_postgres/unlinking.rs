//! Unlinking an account, and trying it beforehand.

use marzban_sync_core::error::StoreErrorKind;
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, Journal};
use marzban_sync_core::trail::{EntryQuery, Target};

use super::races::at_once;
use super::{Bot, now};

const ROW: &str =
    "SELECT concat_ws(' ', coalesce(marzban_user_id, '-'), is_active, updated_at) FROM vpn_configs";

const REMEMBER: &str =
    "INSERT INTO marzban_sync_agreements VALUES ('default', 'alice', 1, '{}', '2025-01-01')";

const REMEMBERED: &str = "SELECT count(*)::text FROM marzban_sync_agreements";

#[tokio::test]
async fn a_rehearsal_says_whether_and_writes_nothing() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(REMEMBER).await;
    let account = bot.account().await;
    let before = bot.fingerprint().await;
    for _ in 0..2 {
        assert!(
            bot.store
                .rehearse_unlink(DEFAULT_PANEL, &account, now())
                .await
                .unwrap()
        );
        assert_eq!(bot.fingerprint().await, before);
        assert_eq!(bot.text(REMEMBERED).await, "1");
    }
    let unlinked = bot
        .store
        .unlink(DEFAULT_PANEL, Some(RunId(7)), &account, now())
        .await;
    assert!(unlinked.unwrap());
    assert_eq!(bot.text(ROW).await, "- f 2025-09-15 00:00:00");
    assert_eq!(bot.text(REMEMBERED).await, "0");
    let trail = bot.store.entries(&EntryQuery::Run(RunId(7))).await.unwrap();
    let told: Vec<_> = trail
        .iter()
        .map(|record| {
            (
                record.entry.target,
                record.entry.old.as_deref(),
                record.entry.new.as_deref(),
            )
        })
        .collect();
    let expected = [
        (Target::Username, Some("alice"), None),
        (Target::IsActive, Some("true"), Some("false")),
    ];
    assert_eq!(told, expected);
    assert!(
        !bot.store
            .rehearse_unlink(DEFAULT_PANEL, &account, now())
            .await
            .unwrap()
    );
    assert!(
        !bot.store
            .unlink(DEFAULT_PANEL, None, &account, now())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_row_that_cannot_be_unlinked_is_refused_by_the_rehearsal_already() {
    let obstacles = [
        "ALTER TABLE vpn_configs ALTER marzban_user_id SET NOT NULL",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
         CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON vpn_configs DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION refuse()",
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER keep BEFORE UPDATE ON vpn_configs FOR EACH ROW EXECUTE FUNCTION keep()",
    ];
    for obstacle in obstacles {
        let Some(bot) = Bot::with_one_account().await else {
            return;
        };
        bot.sql(obstacle).await;
        let account = bot.account().await;
        let before = bot.fingerprint().await;
        let error = bot
            .store
            .rehearse_unlink(DEFAULT_PANEL, &account, now())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{obstacle}");
        let error = bot
            .store
            .unlink(DEFAULT_PANEL, None, &account, now())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{obstacle}");
        assert_eq!(bot.fingerprint().await, before);
    }
}

#[tokio::test]
async fn a_row_that_somebody_else_holds_is_not_unlinked_and_nobody_waits() {
    for held in [
        "SELECT FROM vpn_configs FOR UPDATE",
        "SELECT FROM vpn_configs FOR KEY SHARE",
        "SELECT FROM subscriptions FOR NO KEY UPDATE",
        "SELECT FROM marzban_sync_agreements FOR UPDATE",
    ] {
        let Some(bot) = Bot::with_one_account().await else {
            return;
        };
        bot.sql(REMEMBER).await;
        let account = bot.account().await;
        let mut other = bot.database.connect().await;
        let other = other.transaction().await.unwrap();
        other.batch_execute(held).await.unwrap();
        let unlink = bot.store.unlink(DEFAULT_PANEL, None, &account, now());
        assert!(!at_once(unlink).await.unwrap(), "{held}");
        let rehearse = bot.store.rehearse_unlink(DEFAULT_PANEL, &account, now());
        assert!(!at_once(rehearse).await.unwrap(), "{held}");
        other.rollback().await.unwrap();
        assert!(
            bot.store
                .unlink(DEFAULT_PANEL, None, &account, now())
                .await
                .unwrap(),
            "{held}"
        );
    }
}

#[tokio::test]
async fn a_row_that_is_held_for_a_moment_is_unlinked_all_the_same() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let account = bot.account().await;
    let mut other = bot.database.connect().await;
    let other = other.transaction().await.unwrap();
    other
        .batch_execute("SELECT FROM vpn_configs FOR KEY SHARE")
        .await
        .unwrap();
    let let_go = async {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        other.rollback().await.unwrap();
    };
    let (unlinked, ()) = tokio::join!(bot.store.unlink(DEFAULT_PANEL, None, &account, now()), let_go);
    assert!(unlinked.unwrap());
}

#[tokio::test]
async fn what_another_row_names_is_still_remembered() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(super::laws::SHARED_NAMES).await;
    bot.sql(REMEMBER).await;
    bot.sql(
        "INSERT INTO users VALUES (2, 22222, 'fa', '2025-01-01');
         INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id) VALUES (2, 2, 'vless', 'alice');",
    )
    .await;
    let accounts = bot.accounts().await;
    assert!(
        bot.store
            .unlink(DEFAULT_PANEL, None, &accounts[0], now())
            .await
            .unwrap()
    );
    assert_eq!(bot.text(REMEMBERED).await, "1");
    assert!(
        bot.store
            .unlink(DEFAULT_PANEL, None, &accounts[1], now())
            .await
            .unwrap()
    );
    assert_eq!(bot.text(REMEMBERED).await, "0");
}
