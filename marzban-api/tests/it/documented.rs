//! What is promised of the documentation: every operation in the README's table has a method, and a test that is
//! there; and every public item outside `testing` has an example, or says where it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const README: &str = include_str!("../../README.md");

/// Operation, method and test of each row.
fn rows() -> Vec<[&'static str; 3]> {
    let table = README.split("## Operations").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect();
            [cells[1], cells[2], cells[3]]
        })
        .collect()
}

fn source(folder: &str) -> String {
    sources(folder).concat()
}

/// The text of each file of the crate, but for those of `testing`, which may change with any release.
fn sources(folder: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend(Some(path).filter(|path| !path.ends_with("src/testing")));
            } else {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

/// A public item of the sources, with what its documentation shows.
#[derive(Debug)]
struct Item {
    name: String,
    /// Whether it has a block of code.
    shows: bool,
    /// The items that it names as those that show it.
    shown_by: Vec<String>,
}

impl Item {
    fn new(name: &str, docs: &[&str]) -> Self {
        // The paragraph, however its lines are cut; a macro's parts are joined as the compiler joins them.
        let text = docs.join(" ").replace("\", stringify!(", "").replace("), \"", "");
        let shown_by = text
            .split("See ")
            .skip(1)
            .filter_map(|rest| rest.split_once(" for an example"))
            .flat_map(|(names, _)| names.split("[`").skip(1).filter_map(|name| name.split_once("`]")))
            .map(|(name, _)| name.to_owned())
            .collect();
        Self {
            name: name.to_owned(),
            shows: docs.iter().any(|line| line.starts_with("```")),
            shown_by,
        }
    }
}

/// The public functions, types, traits and constants of a file, and the file itself if it documents a module.
fn public_items(text: &str) -> Vec<Item> {
    let (text, _) = text.split_once("#[cfg(test)]\nmod tests").unwrap_or((text, ""));
    let mut items = Vec::new();
    let (mut docs, mut attribute) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///").or(line.strip_prefix("#[doc = ")) {
            docs.push(doc.trim());
        } else if attribute || line.starts_with("#[") {
            attribute = !line.ends_with(']');
        } else {
            let mut words = line.split(|letter: char| !(letter.is_alphanumeric() || "_$".contains(letter)));
            if words.next() == Some("pub") && !line.starts_with("pub(") {
                let mut words = words
                    .skip_while(|word| matches!(*word, "async" | "const" | "unsafe"))
                    .peekable();
                let kind = words.next().unwrap_or_default();
                let name = match kind {
                    "fn" | "struct" | "enum" | "trait" | "type" | "union" => words.next(),
                    // `pub const NAME`, whose `const` was skipped with the others.
                    name if line.starts_with("pub const ") && name.to_uppercase() == name => Some(name),
                    _ => None,
                };
                // A macro's own `$name` is documented where the macro is used.
                let name = name.filter(|name| !name.starts_with('$'));
                items.extend(name.map(|name| Item::new(name, &docs)));
            }
            docs.clear();
        }
    }
    items
}

#[test]
fn every_public_item_has_an_example_or_says_where_it_is_shown() {
    let items: Vec<Item> = sources("src")
        .iter()
        .flat_map(|text| public_items(text))
        .collect();
    assert!(items.len() > 250, "only {} items were found", items.len());
    let mut shows: BTreeMap<&str, bool> = BTreeMap::new();
    for item in &items {
        *shows.entry(&item.name).or_default() |= item.shows;
    }
    // A type of a macro is named by the macro's argument.
    let is_shown = |name: &String| name.starts_with('$') || shows.get(name.as_str()) == Some(&true);
    let unshown: Vec<&Item> = items
        .iter()
        .filter(|item| !item.shows && (item.shown_by.is_empty() || !item.shown_by.iter().all(is_shown)))
        .collect();
    assert!(unshown.is_empty(), "{unshown:#?}");
}

#[test]
fn every_public_module_has_an_example_or_says_where_it_is_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let library = std::fs::read_to_string(root.join("lib.rs")).unwrap();
    for line in library.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let file = format!("{}.rs", line.trim_end_matches(';'));
        let text = std::fs::read_to_string(root.join(&file)).unwrap();
        let docs: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(str::trim)
            .collect();
        let module = Item::new(&file, &docs);
        assert!(module.shows || !module.shown_by.is_empty(), "{module:?}");
    }
}

#[test]
fn what_is_not_shown_is_found() {
    let text = "/// Words.\n#[expect(\n    x,\n)]\npub fn a() {}\n/// See\n/// [`A`] for an example.\npub async fn b() {}\n\
                /// ```\npub struct A;\npub(crate) fn c() {}\npub const fn d() {}\npub const E: u8 = 1;\npub x: u8,\n";
    let items = public_items(text);
    let found: Vec<_> = items
        .iter()
        .map(|item| (item.name.as_str(), item.shows, item.shown_by.len()))
        .collect();
    let expected = [
        ("a", false, 0),
        ("b", false, 1),
        ("A", true, 0),
        ("d", false, 0),
        ("E", false, 0),
    ];
    assert_eq!(found, expected);
}

#[test]
fn every_operation_is_in_the_table_once() {
    let operations: BTreeSet<&str> = rows().iter().map(|[operation, ..]| *operation).collect();
    assert_eq!((rows().len(), operations.len()), (51, 51));
}

#[test]
fn every_operation_of_the_table_has_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for [operation, _, test] in rows() {
        let (module, name) = test.split_once("::").unwrap();
        let text = std::fs::read_to_string(root.join(format!("{module}.rs"))).unwrap();
        assert!(
            text.contains(&format!("async fn {name}()")),
            "{operation}: {test}"
        );
    }
}

#[test]
fn every_method_of_the_table_is_there() {
    let methods = source("src/resource");
    for [operation, method, _] in rows() {
        if operation == "admin_token" {
            continue;
        }
        for method in method.split(", ") {
            let name = method.rsplit('.').next().unwrap();
            let is_there = [format!("pub async fn {name}"), format!("pub fn {name}")]
                .iter()
                .any(|declaration| methods.contains(declaration));
            assert!(is_there, "{operation}: {method}");
        }
    }
}
