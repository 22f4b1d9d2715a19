//! What the tables must look like, and adding what may be added.

use std::collections::HashMap;
use std::sync::Arc;

use diesel::pg::sql_types::Array;
use diesel::sql_types::{Bool, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::catalogue::Catalogue;
use super::connection::{Lease, Pool, Transaction};
use super::errors::failed;
use crate::port::accounts::Migration;
use crate::port::error::{StoreError, StoreErrorKind};

const COLUMNS: &str = include_str!("columns.sql");

/// The library's own tables, and the script that creates each.
const OWN_TABLES: [(&str, &str); 4] = [
    ("marzban_sync_runs", include_str!("runs.sql")),
    ("marzban_system_stats", include_str!("system_stats.sql")),
    ("marzban_sync_agreements", include_str!("agreements.sql")),
    ("marzban_sync_changes", include_str!("changes.sql")),
];

const BOT_TABLES: [&str; 3] = ["users", "subscriptions", "vpn_configs"];

/// Waiting for a lock on a table holds up everybody who comes after, so a migration gives up soon.
const BEGIN_MIGRATION: &str = "SET LOCAL lock_timeout = '10s'; \
    SELECT pg_advisory_xact_lock(hashtextextended('marzban-sync:migrate', 0))";

/// What a column may hold.
#[derive(Clone, Copy)]
enum Kind {
    Integer,
    /// A telegram id, which some bots keep as text.
    TelegramId,
    BigInteger,
    Text,
    /// A text or an enum that has a word for `expired`.
    Status,
    Boolean,
    /// With or without a time zone: sessions that write are in UTC, so that both come to hold the same moment.
    Timestamp,
}

impl Kind {
    fn accepts(self, found: &Found) -> bool {
        let type_name = found.type_name.as_str();
        let is_integer = matches!(type_name, "int2" | "int4" | "int8");
        let is_text = matches!(type_name, "text" | "varchar" | "bpchar" | "citext");
        match self {
            Self::Integer => is_integer,
            Self::TelegramId => is_integer || is_text,
            Self::BigInteger => type_name == "int8",
            Self::Text => is_text,
            Self::Status => is_text || found.is_enum,
            Self::Boolean => type_name == "bool",
            Self::Timestamp => matches!(type_name, "timestamp" | "timestamptz"),
        }
    }

    /// The type that `migrate` gives a column, and that a refusal asks for.
    fn sql(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::TelegramId | Self::BigInteger => "bigint",
            Self::Text | Self::Status => "varchar",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp without time zone",
        }
    }

    /// What makes the column fit without harm to the bot; no other change of a type is that.
    fn remedy(self, table: &str, column: &str, found: &Found) -> String {
        if matches!(self, Self::BigInteger) && matches!(found.type_name.as_str(), "int2" | "int4") {
            format!(": ALTER TABLE {table} ALTER COLUMN {column} TYPE bigint")
        } else {
            String::new()
        }
    }
}

/// A column of one of the bot's tables.
struct Column {
    table: &'static str,
    name: &'static str,
    kind: Kind,
    /// Whether `migrate` adds it, as a nullable column, where it is missing.
    addable: bool,
}

const fn given(table: &'static str, name: &'static str, kind: Kind) -> Column {
    Column {
        table,
        name,
        kind,
        addable: false,
    }
}

const fn added(table: &'static str, name: &'static str, kind: Kind) -> Column {
    Column {
        table,
        name,
        kind,
        addable: true,
    }
}

const COLUMNS_OF_THE_BOT: [Column; 15] = [
    given("users", "id", Kind::Integer),
    given("users", "telegram_id", Kind::TelegramId),
    given("subscriptions", "id", Kind::Integer),
    given("subscriptions", "user_id", Kind::Integer),
    given("subscriptions", "status", Kind::Status),
    added("subscriptions", "end_date", Kind::Timestamp),
    added("subscriptions", "updated_at", Kind::Timestamp),
    given("vpn_configs", "id", Kind::Integer),
    given("vpn_configs", "user_id", Kind::Integer),
    given("vpn_configs", "marzban_user_id", Kind::Text),
    added("vpn_configs", "panel", Kind::Text),
    added("vpn_configs", "is_active", Kind::Boolean),
    added("vpn_configs", "traffic_used", Kind::BigInteger),
    added("vpn_configs", "last_connected_at", Kind::Timestamp),
    added("vpn_configs", "updated_at", Kind::Timestamp),
];

/// The columns by which the statements find rows.
const LOOKED_UP: [(&str, &str); 6] = [
    ("users", "id"),
    ("subscriptions", "id"),
    ("subscriptions", "user_id"),
    ("vpn_configs", "id"),
    ("vpn_configs", "user_id"),
    ("vpn_configs", "marzban_user_id"),
];

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    type_name: String,
    #[diesel(sql_type = Bool)]
    is_enum: bool,
    #[diesel(sql_type = Array<Text>)]
    words: Vec<String>,
    #[diesel(sql_type = Text)]
    shown_type: String,
    #[diesel(sql_type = Bool)]
    is_indexed: bool,
}

/// A column as it is.
pub(super) struct Found {
    pub(super) type_name: String,
    is_enum: bool,
    /// The words of an enum.
    words: Vec<String>,
    pub(super) shown_type: String,
    is_indexed: bool,
}

/// The tables as they are: their columns by name.
pub(super) struct Schema(HashMap<String, HashMap<String, Found>>);

impl Schema {
    async fn read(connection: &mut AsyncPgConnection) -> Result<Self, StoreError> {
        let own = OWN_TABLES.iter().map(|(table, _)| *table);
        let tables: Vec<&str> = BOT_TABLES.into_iter().chain(own).collect();
        let rows: Vec<ColumnRow> = sql_query(COLUMNS)
            .bind::<Array<Text>, _>(tables)
            .load(connection)
            .await
            .map_err(failed("cannot read the schema"))?;
        let mut schema = Self(HashMap::new());
        for ColumnRow {
            table_name,
            column_name,
            type_name,
            is_enum,
            words,
            shown_type,
            is_indexed,
        } in rows
        {
            let found = Found {
                type_name,
                is_enum,
                words,
                shown_type,
                is_indexed,
            };
            schema.0.entry(table_name).or_default().insert(column_name, found);
        }
        Ok(schema)
    }

    fn has(&self, table: &str) -> bool {
        self.0.contains_key(table)
    }

    /// A column by its name.
    pub(super) fn find(&self, table: &str, column: &str) -> Option<&Found> {
        self.0.get(table)?.get(column)
    }

    fn column(&self, column: &Column) -> Option<&Found> {
        self.find(column.table, column.name)
    }

    /// What of the bot's own keeps a job from running and is not mended by `migrate`.
    fn problems(&self) -> Vec<String> {
        let missing = BOT_TABLES.into_iter().filter(|table| !self.has(table));
        let mut problems: Vec<String> = missing
            .map(|table| format!("table {table} is missing from the search_path"))
            .collect();
        let columns = COLUMNS_OF_THE_BOT.iter().filter(|column| self.has(column.table));
        problems.extend(columns.filter_map(|column| self.problem(column)));
        problems
    }

    fn problem(&self, column: &Column) -> Option<String> {
        let Column {
            table,
            name,
            kind,
            addable,
        } = column;
        let Some(found) = self.column(column) else {
            return (!addable).then(|| format!("column {table}.{name} is missing"));
        };
        let shown = &found.shown_type;
        if !kind.accepts(found) {
            let remedy = kind.remedy(table, name, found);
            let of_enum = if found.is_enum { "the enum " } else { "" };
            return Some(format!(
                "column {table}.{name} is {of_enum}{shown} and must be {}{remedy}",
                kind.sql()
            ));
        }
        let has_word = found
            .words
            .iter()
            .any(|word| word.eq_ignore_ascii_case("expired"));
        (matches!(kind, Kind::Status) && found.is_enum && !has_word)
            .then(|| format!("column {table}.{name} is the enum {shown}, which has no word for expired"))
    }

    /// What is missing and is created by `migrate`: columns with their definitions, then tables with their scripts.
    fn addable(&self) -> Vec<(String, String)> {
        let columns = COLUMNS_OF_THE_BOT
            .iter()
            .filter(|column| column.addable && self.has(column.table) && self.column(column).is_none())
            .map(
                |Column {
                     table, name, kind, ..
                 }| {
                    let add = format!("ALTER TABLE {table} ADD COLUMN {name} {}", kind.sql());
                    (format!("{table}.{name}"), add)
                },
            );
        columns.chain(self.addable_own()).collect()
    }

    /// The library's own tables that are missing, with their scripts.
    fn addable_own(&self) -> impl Iterator<Item = (String, String)> {
        OWN_TABLES
            .into_iter()
            .filter(|(table, _)| !self.has(table))
            .map(|(table, script)| (table.to_owned(), script.to_owned()))
    }

    /// What would create the indexes that the statements need and that are not there.
    fn missing_indexes(&self) -> Vec<String> {
        let is_missing = |(table, column): &(&str, &str)| {
            let found = self.0.get(*table).and_then(|columns| columns.get(*column));
            found.is_some_and(|found| !found.is_indexed)
        };
        let missing = LOOKED_UP.into_iter().filter(is_missing);
        missing
            .map(|(table, column)| format!("CREATE INDEX CONCURRENTLY ON {table} ({column})"))
            .collect()
    }
}

/// Checks that the tables fit, and remembers what they are like.
pub(super) async fn verify(pool: &Pool) -> Result<(), StoreError> {
    let schema = read(pool).await?;
    pool.remember(Catalogue::of(&schema));
    let mut problems = schema.problems();
    problems.extend(schema.addable().into_iter().map(|(name, _)| {
        let what = if name.contains('.') { "column" } else { "table" };
        format!("{what} {name} is missing: run migrate")
    }));
    fits(&problems)
}

/// What the tables are like, read again.
pub(super) async fn catalogue(pool: &Pool) -> Result<Arc<Catalogue>, StoreError> {
    let schema = read(pool).await?;
    Ok(pool.remember(Catalogue::of(&schema)))
}

async fn read(pool: &Pool) -> Result<Schema, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let schema = Schema::read(lease.connection()?).await?;
    lease.give_back();
    Ok(schema)
}

fn fits(problems: &[String]) -> Result<(), StoreError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Schema,
        format!("the database does not fit: {}", problems.join("; ")),
    ))
}

pub(super) async fn migrate(pool: &Pool) -> Result<Migration, StoreError> {
    let mut transaction = Transaction::begin(pool).await?;
    let migrated = create_missing(transaction.connection()?).await;
    let (migration, catalogue) = transaction.end(migrated).await?;
    pool.remember(catalogue);
    for statement in &migration.missing_indexes {
        tracing::warn!(
            statement,
            "an index is missing, without which a sync goes through whole tables"
        );
    }
    Ok(migration)
}

/// Creates the library's own tables, whatever tables the bot has.
pub(super) async fn migrate_journal(pool: &Pool) -> Result<Migration, StoreError> {
    let mut transaction = Transaction::begin(pool).await?;
    let created = create_own(transaction.connection()?).await;
    Ok(Migration {
        created: transaction.end(created).await?,
        ..Migration::default()
    })
}

async fn create_own(connection: &mut AsyncPgConnection) -> Result<Vec<String>, StoreError> {
    connection
        .batch_execute(BEGIN_MIGRATION)
        .await
        .map_err(failed("cannot begin the migration"))?;
    let schema = Schema::read(connection).await?;
    let mut created = Vec::new();
    for (name, script) in schema.addable_own() {
        connection
            .batch_execute(&script)
            .await
            .map_err(failed("cannot create a table"))?;
        created.push(name);
    }
    Ok(created)
}

/// Creates what is missing, unless a job could not run even then: nothing is created for a database that does not fit.
async fn create_missing(connection: &mut AsyncPgConnection) -> Result<(Migration, Catalogue), StoreError> {
    connection
        .batch_execute(BEGIN_MIGRATION)
        .await
        .map_err(failed("cannot begin the migration"))?;
    let schema = Schema::read(connection).await?;
    fits(&schema.problems())?;
    let mut migration = Migration {
        missing_indexes: schema.missing_indexes(),
        ..Migration::default()
    };
    for (name, script) in schema.addable() {
        connection
            .batch_execute(&script)
            .await
            .map_err(failed("cannot create a table or add a column"))?;
        migration.created.push(name);
    }
    let catalogue = Catalogue::of(&Schema::read(connection).await?);
    Ok((migration, catalogue))
}
