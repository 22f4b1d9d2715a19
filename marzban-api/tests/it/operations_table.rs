//! The README's table of operations: every operation of the panel has a method, and a test that is there.

use std::collections::BTreeSet;
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

/// The text of all files of a folder.
fn source(folder: &str) -> String {
    let mut text = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    text
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
