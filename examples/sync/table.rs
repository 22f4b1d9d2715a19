//! A report as tables: its figures first, then its lists, one row per entry.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, Value};

/// The columns that come first, in this order; the others follow by name.
const FIRST: &str = "job when at run panel telegram_id name username synced updated missing cleaned skipped errors \
    total column target what status end_date is_active from old to new reason state";

fn place(name: &str) -> usize {
    let position = FIRST.split_ascii_whitespace().position(|first| first == name);
    position.unwrap_or(usize::MAX)
}

/// The tables of an object.
pub(crate) fn tables(object: Value) -> String {
    let Value::Object(object) = object else {
        return object.to_string();
    };
    let mut figures = empty();
    let mut lists = Vec::new();
    let mut fields: Vec<(String, Value)> = object.into_iter().collect();
    fields.sort_by_key(|(name, _)| place(name));
    for (key, value) in fields {
        match value {
            Value::Array(entries) if entries.is_empty() => {}
            Value::Array(entries) => lists.push((key, entries)),
            Value::Object(entries) => {
                for (inner, value) in entries {
                    figures.add_row([format!("{key}.{inner}"), cell(&value)]);
                }
            }
            value => {
                figures.add_row([key, cell(&value)]);
            }
        }
    }
    let mut parts = vec![figures.to_string()];
    for (key, entries) in lists {
        parts.push(format!("{key} ({})\n{}", entries.len(), list(&entries)));
    }
    parts.join("\n")
}

fn empty() -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// A list with a column for each field that has a value somewhere.
fn list(entries: &[Value]) -> Table {
    let rows: Vec<Map<String, Value>> = entries.iter().map(row).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, value) in rows.iter().flatten() {
        if !value.is_null() && !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    columns.sort_by_key(|name| place(name));
    let mut table = empty();
    if columns != [LONE] {
        table.set_header(&columns);
    }
    for row in &rows {
        table.add_row(
            columns
                .iter()
                .map(|column| row.get(*column).map_or_else(String::new, cell)),
        );
    }
    table
}

/// The only column of what has no fields.
const LONE: &str = "";

/// Returns the fields of an entry; of a planned change only those that matter for a decision.
fn row(entry: &Value) -> Map<String, Value> {
    match entry {
        Value::Object(fields) if fields.contains_key("account") && fields.contains_key("reasons") => {
            planned(entry)
        }
        Value::Object(fields) => fields.clone(),
        other => Map::from_iter([(LONE.to_owned(), other.clone())]),
    }
}

/// Returns a withheld or planned change: the account, old and new values, and the reasons.
fn planned(change: &Value) -> Map<String, Value> {
    let at = |path: &str| change.pointer(path).unwrap_or(&Value::Null);
    let moves = |from: &str, to: &str| match at(to) {
        Value::Null => Value::Null,
        new => Value::from(format!("{} → {}", cell(at(from)), cell(new))),
    };
    let fields = [
        ("telegram_id", at("/account/telegram_id").clone()),
        ("name", at("/account/name").clone()),
        (
            "status",
            moves("/account/subscription/status", "/subscription/status"),
        ),
        (
            "end_date",
            moves("/account/subscription/end_date", "/subscription/end_date"),
        ),
        ("is_active", moves("/account/is_active", "/vpn_config/is_active")),
        (
            "traffic_used",
            moves("/account/traffic_used", "/vpn_config/traffic_used"),
        ),
        ("reasons", at("/reasons").clone()),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(cell).collect();
            values.join(", ")
        }
        // `{"at": …}`, as an end is written.
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("at") => {
            fields.values().map(cell).collect()
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{key}={}", cell(value)))
                .collect();
            fields.join(" ")
        }
        other => other.to_string(),
    }
}
