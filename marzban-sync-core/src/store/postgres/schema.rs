//! What the tables must look like, and adding what may be added.

use std::collections::HashMap;

use diesel::pg::sql_types::Array;
use diesel::sql_types::{Bool, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::connection::{Lease, Pool, Transaction, failed};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::Migration;

const COLUMNS: &str = include_str!("columns.sql");

/// The library's own tables, and the script that creates each.
const OWN_TABLES: [(&str, &str); 2] = [
    ("marzban_sync_runs", include_str!("runs.sql")),
    ("marzban_system_stats", include_str!("system_stats.sql")),
];

/// Waiting for a lock on a table holds up everybody who comes after, so a migration gives up soon.
const BEGIN_MIGRATION: &str = "SET LOCAL lock_timeout = '10s'; \
    SELECT pg_advisory_xact_lock(hashtextextended('marzban-sync:migrate', 0))";

/// What a column may hold.
#[derive(Clone, Copy)]
enum Kind {
    Integer,
    BigInteger,
    Text,
    Boolean,
    Timestamp,
    /// Written only, in a session whose time zone is UTC, so that both types come to hold the same moment.
    AnyTimestamp,
}

impl Kind {
    fn accepts(self, type_name: &str) -> bool {
        match self {
            Self::Integer => matches!(type_name, "int2" | "int4" | "int8"),
            Self::BigInteger => type_name == "int8",
            Self::Text => matches!(type_name, "text" | "varchar" | "bpchar" | "citext"),
            Self::Boolean => type_name == "bool",
            Self::Timestamp => type_name == "timestamp",
            Self::AnyTimestamp => matches!(type_name, "timestamp" | "timestamptz"),
        }
    }

    /// The type that `migrate` gives a column, and that a refusal asks for.
    fn sql(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::BigInteger => "bigint",
            Self::Text => "varchar",
            Self::Boolean => "boolean",
            Self::Timestamp | Self::AnyTimestamp => "timestamp without time zone",
        }
    }

    /// What turns the values of a column of another type into this one, where that needs saying.
    fn conversion(self, column: &str, found: &Found) -> String {
        match self {
            Self::Timestamp if found.type_name == "timestamptz" => {
                format!(" USING {column} AT TIME ZONE 'UTC'")
            }
            Self::Text if found.is_enum => format!(" USING {column}::text"),
            _ => String::new(),
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
    given("users", "telegram_id", Kind::Integer),
    given("subscriptions", "id", Kind::Integer),
    given("subscriptions", "user_id", Kind::Integer),
    given("subscriptions", "status", Kind::Text),
    added("subscriptions", "end_date", Kind::Timestamp),
    added("subscriptions", "updated_at", Kind::AnyTimestamp),
    given("vpn_configs", "id", Kind::Integer),
    given("vpn_configs", "user_id", Kind::Integer),
    given("vpn_configs", "marzban_user_id", Kind::Text),
    added("vpn_configs", "panel", Kind::Text),
    added("vpn_configs", "is_active", Kind::Boolean),
    added("vpn_configs", "traffic_used", Kind::BigInteger),
    added("vpn_configs", "last_connected_at", Kind::Timestamp),
    added("vpn_configs", "updated_at", Kind::AnyTimestamp),
];

/// The columns by which the statements find rows.
const LOOKED_UP: [(&str, &str); 5] = [
    ("users", "id"),
    ("subscriptions", "id"),
    ("subscriptions", "user_id"),
    ("vpn_configs", "id"),
    ("vpn_configs", "user_id"),
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
    #[diesel(sql_type = Text)]
    shown_type: String,
    #[diesel(sql_type = Bool)]
    is_indexed: bool,
}

/// A column as it is.
struct Found {
    type_name: String,
    is_enum: bool,
    shown_type: String,
    is_indexed: bool,
}

/// The tables as they are: their columns by name.
struct Schema(HashMap<String, HashMap<String, Found>>);

impl Schema {
    async fn read(connection: &mut AsyncPgConnection) -> Result<Self, StoreError> {
        let own = OWN_TABLES.iter().map(|(table, _)| *table);
        let tables: Vec<&str> = ["users", "subscriptions", "vpn_configs"]
            .into_iter()
            .chain(own)
            .collect();
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
            shown_type,
            is_indexed,
        } in rows
        {
            let found = Found {
                type_name,
                is_enum,
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

    fn column(&self, column: &Column) -> Option<&Found> {
        self.0.get(column.table)?.get(column.name)
    }

    /// What of the bot's own is missing and cannot be added.
    fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        for table in ["users", "subscriptions", "vpn_configs"] {
            if !self.has(table) {
                lacks.push(format!("table {table} is missing from the search_path"));
            }
        }
        for column in &COLUMNS_OF_THE_BOT {
            if self.has(column.table) && self.column(column).is_none() && !column.addable {
                lacks.push(format!("column {}.{} is missing", column.table, column.name));
            }
        }
        lacks
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

pub(super) async fn verify(pool: &Pool) -> Result<(), StoreError> {
    let mut lease = Lease::take(pool).await?;
    let schema = Schema::read(lease.connection()?).await?;
    lease.give_back();
    let mut problems = schema.lacks();
    for column in &COLUMNS_OF_THE_BOT {
        let Column {
            table,
            name,
            kind,
            addable,
        } = column;
        match schema.column(column) {
            Some(found) if !kind.accepts(&found.type_name) => problems.push(format!(
                "column {table}.{name} is {}{shown} and must be {wanted}: ALTER TABLE {table} ALTER COLUMN {name} TYPE {wanted}{conversion}",
                if found.is_enum { "the enum " } else { "" },
                shown = found.shown_type,
                wanted = kind.sql(),
                conversion = kind.conversion(name, found),
            )),
            None if *addable && schema.has(table) => {
                problems.push(format!("column {table}.{name} is missing: run migrate"));
            }
            Some(_) | None => {}
        }
    }
    for (table, _) in OWN_TABLES {
        if !schema.has(table) {
            problems.push(format!("table {table} is missing: run migrate"));
        }
    }
    fits(&problems)
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
    let connection = transaction.connection()?;
    connection
        .batch_execute(BEGIN_MIGRATION)
        .await
        .map_err(failed("cannot begin the migration"))?;
    let schema = Schema::read(connection).await?;
    fits(&schema.lacks())?;
    let mut migration = Migration {
        missing_indexes: schema.missing_indexes(),
        ..Migration::default()
    };
    for column in &COLUMNS_OF_THE_BOT {
        let Column {
            table, name, kind, ..
        } = column;
        if schema.column(column).is_none() {
            let add = format!("ALTER TABLE {table} ADD COLUMN {name} {}", kind.sql());
            connection
                .batch_execute(&add)
                .await
                .map_err(failed("cannot add a column"))?;
            migration.created.push(format!("{table}.{name}"));
        }
    }
    for (table, script) in OWN_TABLES {
        if !schema.has(table) {
            connection
                .batch_execute(script)
                .await
                .map_err(failed("cannot create a table"))?;
            migration.created.push(table.to_owned());
        }
    }
    transaction.commit().await?;
    for statement in &migration.missing_indexes {
        tracing::warn!(
            statement,
            "an index is missing, without which a sync goes through whole tables"
        );
    }
    Ok(migration)
}
