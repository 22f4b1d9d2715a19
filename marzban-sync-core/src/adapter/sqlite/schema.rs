//! What the tables must have, and adding what may be added.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

use super::connection::Connection;
use crate::port::accounts::Migration;
use crate::port::error::{StoreError, StoreErrorKind};

/// The library's own tables, and the script that creates each.
const OWN_TABLES: [(&str, &str); 4] = [
    ("marzban_sync_runs", include_str!("runs.sql")),
    ("marzban_system_stats", include_str!("system_stats.sql")),
    ("marzban_sync_agreements", include_str!("agreements.sql")),
    ("marzban_sync_changes", include_str!("changes.sql")),
];

/// What of the bot's tables must be there, as only the bot can know its values.
const GIVEN_COLUMNS: [(&str, &[&str]); 3] = [
    ("users", &["id", "telegram_id"]),
    ("subscriptions", &["id", "user_id", "status"]),
    ("vpn_configs", &["id", "user_id", "marzban_user_id"]),
];

/// The keys, which must be whole numbers where they are there.
const KEYS: [(&str, &str); 6] = [
    ("users", "id"),
    ("subscriptions", "id"),
    ("subscriptions", "user_id"),
    ("vpn_configs", "id"),
    ("vpn_configs", "user_id"),
    ("vpn_configs", "subscription_id"),
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

/// The tables as they are, and the declared types of their columns; names are in small letters, as SQLite ignores their
/// case.
struct Schema(HashMap<String, HashMap<String, String>>);

impl Schema {
    fn read(connection: &mut SqliteConnection) -> QueryResult<Self> {
        #[derive(QueryableByName)]
        struct Column {
            #[diesel(sql_type = Text)]
            of_table: String,
            #[diesel(sql_type = Text)]
            name: String,
            #[diesel(sql_type = Text)]
            declared_type: String,
        }
        let columns: Vec<Column> = sql_query(
            "SELECT lower(t.name) AS of_table, lower(c.name) AS name, c.type AS declared_type \
             FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'",
        )
        .load(connection)?;
        let mut tables: HashMap<String, HashMap<String, String>> = HashMap::new();
        for column in columns {
            let table = tables.entry(column.of_table).or_default();
            table.insert(column.name, column.declared_type);
        }
        Ok(Self(tables))
    }

    fn has_table(&self, table: &str) -> bool {
        self.0.contains_key(table)
    }

    fn declared_type(&self, table: &str, column: &str) -> Option<&str> {
        self.0.get(table)?.get(column).map(String::as_str)
    }

    fn has_column(&self, table: &str, column: &str) -> bool {
        self.declared_type(table, column).is_some()
    }

    /// Why no job could run, whatever `migrate` adds; none when it could.
    fn refusal(&self) -> Option<String> {
        let lacks = self.lacks();
        if !lacks.is_empty() {
            return Some(format!(
                "the database lacks {}, which are the bot's to make: check that this is its database",
                lacks.join(", ")
            ));
        }
        let keys = self.other_keys();
        if !keys.is_empty() {
            return Some(format!(
                "the keys {} are declared as something else than whole numbers, by which alone this store finds a row: \
                 give the tables integer keys",
                keys.join(", ")
            ));
        }
        let foreign = self.foreign();
        (!foreign.is_empty()).then(|| {
            format!(
                "the database has {}, but not as this version makes them: rename what is there, and run `migrate`",
                foreign.join(", ")
            )
        })
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

    /// The keys that hold something else than whole numbers, such as UUIDs.
    fn other_keys(&self) -> Vec<String> {
        let keys = KEYS.into_iter().filter_map(|(table, column)| {
            let declared = self.declared_type(table, column)?;
            (!may_be_integer(declared)).then(|| format!("{table}.{column} ({declared})"))
        });
        keys.collect()
    }

    /// Tables with the names of the library's own, but without their columns.
    fn foreign(&self) -> Vec<&'static str> {
        let is_foreign = |table: &str, script: &str| {
            let mut columns = columns_of(script);
            self.has_table(table) && columns.any(|column| !self.has_column(table, column))
        };
        let foreign = OWN_TABLES
            .into_iter()
            .filter(|(table, script)| is_foreign(table, script));
        foreign.map(|(table, _)| table).collect()
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
        columns.chain(self.creatable_own()).collect()
    }

    /// The library's own tables that are missing.
    fn creatable_own(&self) -> impl Iterator<Item = (String, String)> {
        OWN_TABLES
            .iter()
            .filter(|(table, _)| !self.has_table(table))
            .map(|(table, script)| ((*table).to_owned(), (*script).to_owned()))
    }
}

/// Whether a column that is declared so holds whole numbers; one without a type holds what it is given.
fn may_be_integer(declared: &str) -> bool {
    let declared = declared.to_uppercase();
    declared.is_empty()
        || ["INT", "SERIAL", "NUM", "DECIMAL"]
            .iter()
            .any(|word| declared.contains(word))
}

/// The columns that a script gives its table: the first word of each indented line that begins in small letters.
fn columns_of(script: &str) -> impl Iterator<Item = &str> {
    let indented = script.lines().filter_map(|line| line.strip_prefix("    "));
    let names = indented.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
}

/// Checks that everything is there.
pub(super) async fn verify(connection: &Connection) -> Result<(), StoreError> {
    let schema = connection.run("cannot read the schema", Schema::read).await?;
    refuse(schema.refusal())?;
    let missing: Vec<String> = schema.creatable().into_iter().map(|(name, _)| name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    refuse(Some(format!(
        "the database lacks {}: run `migrate` to add what is missing",
        missing.join(", ")
    )))
}

/// Creates what is missing, all of it or nothing.
pub(super) async fn migrate(connection: &Connection) -> Result<Migration, StoreError> {
    let (refusal, created) = connection
        .write("cannot migrate the database", |connection| {
            let schema = Schema::read(connection)?;
            let refusal = schema.refusal();
            let mut created = Vec::new();
            if refusal.is_none() {
                for (name, script) in schema.creatable() {
                    connection.batch_execute(&script)?;
                    created.push(name);
                }
            }
            Ok((refusal, created))
        })
        .await?;
    refuse(refusal)?;
    Ok(Migration {
        created,
        ..Migration::default()
    })
}

/// Creates the library's own tables, whatever tables the bot has.
pub(super) async fn migrate_journal(connection: &Connection) -> Result<Migration, StoreError> {
    let created = connection
        .write("cannot create the library's own tables", |connection| {
            let mut created = Vec::new();
            for (name, script) in Schema::read(connection)?.creatable_own() {
                connection.batch_execute(&script)?;
                created.push(name);
            }
            Ok(created)
        })
        .await?;
    Ok(Migration {
        created,
        ..Migration::default()
    })
}

fn refuse(refusal: Option<String>) -> Result<(), StoreError> {
    refusal.map_or(Ok(()), |refusal| {
        Err(StoreError::new(StoreErrorKind::Schema, refusal))
    })
}
