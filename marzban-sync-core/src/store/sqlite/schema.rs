//! What the tables must have, and adding what may be added.

use std::collections::{HashMap, HashSet};

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

use super::connection::Connection;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::Migration;

/// The library's own tables, and the script that creates each.
const OWN_TABLES: [(&str, &str); 2] = [
    ("marzban_sync_runs", include_str!("runs.sql")),
    ("marzban_system_stats", include_str!("system_stats.sql")),
];

/// What of the bot's tables must be there, as only the bot can know its values.
const GIVEN_COLUMNS: [(&str, &[&str]); 3] = [
    ("users", &["id", "telegram_id"]),
    ("subscriptions", &["id", "user_id", "status"]),
    ("vpn_configs", &["id", "user_id", "marzban_user_id"]),
];

/// What `migrate` adds to the bot's tables, as nullable columns of these types.
const ADDED_COLUMNS: [(&str, &str, &str); 7] = [
    ("subscriptions", "end_date", "TIMESTAMP"),
    ("subscriptions", "updated_at", "TIMESTAMP"),
    ("vpn_configs", "panel", "VARCHAR"),
    ("vpn_configs", "is_active", "BOOLEAN"),
    ("vpn_configs", "traffic_used", "BIGINT"),
    ("vpn_configs", "last_connected_at", "TIMESTAMP"),
    ("vpn_configs", "updated_at", "TIMESTAMP"),
];

/// The tables as they are, and the names of their columns; names are in small letters, as SQLite ignores their case.
struct Schema(HashMap<String, HashSet<String>>);

impl Schema {
    fn read(connection: &mut SqliteConnection) -> QueryResult<Self> {
        #[derive(QueryableByName)]
        struct Column {
            #[diesel(sql_type = Text)]
            table_name: String,
            #[diesel(sql_type = Text)]
            column_name: String,
        }
        let columns: Vec<Column> = sql_query(
            "SELECT lower(t.name) AS table_name, lower(c.name) AS column_name \
             FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'",
        )
        .load(connection)?;
        let mut tables: HashMap<String, HashSet<String>> = HashMap::new();
        for Column {
            table_name,
            column_name,
        } in columns
        {
            tables.entry(table_name).or_default().insert(column_name);
        }
        Ok(Self(tables))
    }

    fn has_table(&self, table: &str) -> bool {
        self.0.contains_key(table)
    }

    fn has_column(&self, table: &str, column: &str) -> bool {
        self.0.get(table).is_some_and(|columns| columns.contains(column))
    }

    /// What is missing of the bot's own, which nobody but the bot can add.
    fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        for (table, columns) in GIVEN_COLUMNS {
            if !self.has_table(table) {
                lacks.push(format!("the table {table}"));
                continue;
            }
            let missing = columns.iter().filter(|column| !self.has_column(table, column));
            lacks.extend(missing.map(|column| format!("the column {table}.{column}")));
        }
        lacks
    }

    /// What is missing and can be created: its name, and the statements that create it.
    fn creatable(&self) -> Vec<(String, String)> {
        let columns = ADDED_COLUMNS
            .iter()
            .filter(|(table, column, _)| !self.has_column(table, column))
            .map(|(table, column, kind)| {
                (
                    format!("{table}.{column}"),
                    format!("ALTER TABLE {table} ADD COLUMN {column} {kind};"),
                )
            });
        let tables = OWN_TABLES
            .iter()
            .filter(|(table, _)| !self.has_table(table))
            .map(|(table, script)| ((*table).to_owned(), (*script).to_owned()));
        columns.chain(tables).collect()
    }
}

/// Checks that everything is there.
pub(super) async fn verify(connection: &Connection) -> Result<(), StoreError> {
    let schema = connection.run("cannot read the schema", Schema::read).await?;
    refuse_lacking(&schema.lacks())?;
    let missing: Vec<String> = schema.creatable().into_iter().map(|(name, _)| name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Schema,
        format!(
            "the database lacks {}: run `migrate` to add what is missing",
            missing.join(", ")
        ),
    ))
}

/// Creates what is missing, all of it or nothing.
pub(super) async fn migrate(connection: &Connection) -> Result<Migration, StoreError> {
    let (lacks, created) = connection
        .write("cannot migrate the database", |connection| {
            let schema = Schema::read(connection)?;
            let lacks = schema.lacks();
            let mut created = Vec::new();
            if lacks.is_empty() {
                for (name, script) in schema.creatable() {
                    connection.batch_execute(&script)?;
                    created.push(name);
                }
            }
            Ok((lacks, created))
        })
        .await?;
    refuse_lacking(&lacks)?;
    Ok(Migration {
        created,
        ..Migration::default()
    })
}

fn refuse_lacking(lacks: &[String]) -> Result<(), StoreError> {
    if lacks.is_empty() {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Schema,
        format!(
            "the database lacks {}, which are the bot's to make: check that this is its database",
            lacks.join(", ")
        ),
    ))
}
