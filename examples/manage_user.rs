//! The life of one user: made for 30 days and 10 GiB, extended, read, and deleted.
//!
//! `cargo run --example manage_user` has nothing to set up: it starts a fake panel. On a real one, with `MARZBAN_URL`,
//! `MARZBAN_USERNAME` and `MARZBAN_PASSWORD` set, it makes a user and deletes it again.

use std::io::Write;

use anyhow::Context as _;
use chrono::TimeDelta;
use clap::Parser;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use marzban_api::Client;
use marzban_api::model::{DataLimit, Expiry, NewUser, Proxies, User, UserUpdate, Username, Vless};
use marzban_api::testing::FakePanel;
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_examples::panel::{PanelArguments, date, gibibytes};

const GIB: u64 = 1 << 30;
const MONTH: TimeDelta = TimeDelta::days(30);

/// The life of one user of a panel.
#[derive(Debug, Parser)]
#[command(name = "manage_user")]
struct Arguments {
    #[command(flatten)]
    panel: PanelArguments,
    /// The name of the user; there must be none of that name.
    #[arg(long, default_value = "manage_user_example")]
    user: Username,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let fake = match arguments.panel.url {
        Some(_) => None,
        None => Some(FakePanel::start().await),
    };
    let client = arguments.panel.client(fake.as_ref().map(FakePanel::url))?;

    let end = SystemClock.now() + MONTH;
    let user = NewUser::new(arguments.user, Proxies::new(Vless::default()))
        .expire(Expiry::at(end)?)
        .data_limit(DataLimit::from_bytes(10 * GIB));
    let made = client.users().create(&user).await?;

    // From here on the user is there: it is deleted whatever becomes of the rest.
    let shown = extend_and_show(&client, &made).await;
    let deletion = client.users().delete(&made.username).await?;
    shown?;
    writeln!(std::io::stdout(), "{}: {deletion:?}", made.username)?;
    Ok(())
}

/// Adds a month and 10 GiB, and prints the user before and after.
async fn extend_and_show(client: &Client, made: &User) -> anyhow::Result<()> {
    let end = made.expire.context("a user without an end")? + MONTH;
    let limit = made.data_limit.context("a user without a limit")? + 10 * GIB;
    // A change is made from the user as it was read: the panel would drop what it does not get back.
    let change = UserUpdate::for_user(made)
        .expire(Expiry::at(end)?)
        .data_limit(DataLimit::from_bytes(limit));
    client.users().update(&change).await?;
    let extended = client.users().get(&made.username).await?;

    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_header([made.username.as_str(), "before", "after"]);
    for (before, after) in rows(made).into_iter().zip(rows(&extended)) {
        table.add_row([before.0, &before.1, &after.1]);
    }
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{table}")?;
    if let Some(link) = client.subscription_link(&extended) {
        writeln!(stdout, "subscription: {link}")?;
    }
    Ok(())
}

fn rows(user: &User) -> [(&'static str, String); 4] {
    [
        ("status", user.status.to_string()),
        ("used", gibibytes(user.used_traffic)),
        (
            "limit",
            user.data_limit.map_or_else(|| "none".to_owned(), gibibytes),
        ),
        ("ends", user.expire.map_or_else(|| "never".to_owned(), date)),
    ]
}
