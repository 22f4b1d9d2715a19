//! All users of a panel as a table, one page after the other.
//!
//! `cargo run --example list_users` has nothing to set up: it starts a fake panel. Of a real one, with `MARZBAN_URL`,
//! `MARZBAN_USERNAME` and `MARZBAN_PASSWORD` set, it only reads.

use std::io::Write;
use std::pin::pin;

use clap::Parser;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use futures_util::TryStreamExt;
use marzban_api::model::User;
use marzban_api::resource::{ListUsers, UserEntry};
use marzban_api::testing::FakePanel;
use marzban_sync_examples::panel::{PanelArguments, date, gibibytes};

/// All users of a panel as a table.
#[derive(Debug, Parser)]
#[command(name = "list_users")]
struct Arguments {
    #[command(flatten)]
    panel: PanelArguments,
    /// Only users whose name or note contains this.
    #[arg(long)]
    search: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let fake = match arguments.panel.url {
        Some(_) => None,
        None => Some(FakePanel::start().await),
    };
    if let Some(panel) = &fake {
        panel.populate(25);
    }
    let client = arguments.panel.client(fake.as_ref().map(FakePanel::url))?;

    let mut query = ListUsers::new();
    if let Some(search) = arguments.search {
        query = query.search(search);
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "user",
        "status",
        "used",
        "limit",
        "ends",
        "last seen",
    ]);
    // Pages are fetched while the table grows; users who come or go meanwhile hide no others.
    let mut users = pin!(client.users().stream(query));
    while let Some(listed) = users.try_next().await? {
        match listed {
            UserEntry::User(user) => table.add_row(row(&user)),
            UserEntry::Unreadable(user) => {
                let name = user.username.unwrap_or_else(|| "?".to_owned());
                table.add_row([name, user.error.to_string()])
            }
        };
    }
    writeln!(std::io::stdout(), "{table}")?;
    Ok(())
}

fn row(user: &User) -> [String; 6] {
    [
        user.username.clone(),
        user.status.to_string(),
        gibibytes(user.used_traffic),
        user.data_limit.map_or_else(|| "none".to_owned(), gibibytes),
        user.expire.map_or_else(|| "never".to_owned(), date),
        user.online_at.map_or_else(|| "never".to_owned(), date),
    ]
}
