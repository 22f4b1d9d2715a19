//! Bots of either database, of which the tests ask the same.

use marzban_api::testing::{FakePanel, FakeUser};

use super::sqlite::SqliteBot;
use super::{Sync, day, panel};
use crate::bot::Bot;

/// A bot's database of either kind.
pub(super) enum AnyBot {
    Postgres(Box<Bot>),
    Sqlite(SqliteBot),
}

const POSTGRES_ROWS: &str = "
    SELECT concat_ws(' ', coalesce(marzban_user_id, '-'), status, end_date::date, is_active::int)
    FROM vpn_configs JOIN subscriptions USING (user_id) ORDER BY vpn_configs.id";

const SQLITE_ROWS: &str = "
    SELECT concat_ws(' ', coalesce(marzban_user_id, '-'), status, date(end_date), is_active) AS line
    FROM vpn_configs JOIN subscriptions USING (user_id) ORDER BY vpn_configs.id";

impl AnyBot {
    /// An empty one of each kind that was migrated, with a panel and the program for it.
    pub(super) async fn each() -> Vec<(Self, FakePanel, Sync)> {
        let mut bots = vec![Self::Sqlite(SqliteBot::empty())];
        bots.extend(
            Bot::before_migration()
                .await
                .map(|bot| Self::Postgres(Box::new(bot))),
        );
        let mut each = Vec::new();
        for bot in bots {
            let panel = panel().await;
            let sync = Sync::new(&panel, &bot.url());
            let migrated = sync.run(&["migrate"]);
            assert_eq!(migrated.code, Some(0), "{migrated:?}");
            each.push((bot, panel, sync));
        }
        each
    }

    pub(super) fn url(&self) -> String {
        match self {
            Self::Postgres(bot) => bot.database.url().to_owned(),
            Self::Sqlite(bot) => bot.url(),
        }
    }

    /// A customer whose telegram id is 10,000 more, with a subscription that ends in so many days.
    pub(super) async fn add(&self, id: i64, name: &str, status: &str, days: i64, is_active: bool) {
        match self {
            Self::Postgres(bot) => {
                let end_date = day(days).format("%Y-%m-%d %H:%M:%S").to_string();
                bot.add(id, name, status, &end_date, is_active).await;
            }
            Self::Sqlite(bot) => bot.add((id, name, status, days, is_active)),
        }
    }

    /// Customers and panel users who are in line for 9 more days, as many as it takes for one to be few.
    pub(super) async fn add_in_line(&self, panel: &FakePanel) {
        for id in 1..=10 {
            let name = format!("user{id}");
            self.add(id, &name, "active", 9, true).await;
            panel.insert_user(user(&name, 9));
        }
    }

    pub(super) async fn sql(&self, sql: &str) {
        match self {
            Self::Postgres(bot) => bot.sql(sql).await,
            Self::Sqlite(bot) => bot.execute(sql),
        }
    }

    /// Name, status, end and access of every account, by its id.
    pub(super) async fn rows(&self) -> Vec<String> {
        match self {
            Self::Postgres(bot) => {
                let rows = bot.client.query(POSTGRES_ROWS, &[]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Self::Sqlite(bot) => bot.lines(SQLITE_ROWS),
        }
    }

    /// The row of the account of this name.
    pub(super) async fn row(&self, name: &str) -> String {
        let rows = self.rows().await;
        let row = rows.iter().find(|row| row.split(' ').next() == Some(name));
        row.unwrap_or_else(|| panic!("{name}: {rows:?}")).clone()
    }
}

/// A user whose access ends in so many days.
pub(super) fn user(name: &str, days: i64) -> FakeUser {
    FakeUser::new(name)
        .owner(Some("seller"))
        .created_at(day(-60))
        .expire(day(days).timestamp())
}
