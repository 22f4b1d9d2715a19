//! No call of the panel, the store or its history in a job is without its failpoints, and none of those is forgotten in the list.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use marzban_sync_core::failpoints::ALL;

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The jobs' sources, each without its whitespace.
fn jobs() -> Vec<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = sources(&source.join("jobs"));
    // Only reads, and is no run that could be stopped halfway.
    files.retain(|file| !file.ends_with("explain.rs"));
    assert!(files.len() > 5, "{files:?}");
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        text.chars()
            .filter(|letter| !letter.is_whitespace())
            .collect::<String>()
    };
    files.iter().map(read).collect()
}

#[test]
fn the_list_names_every_failpoint_of_the_source_once() {
    let mut placed = Vec::new();
    for source in jobs() {
        for step in source.split("step!(").skip(1) {
            let (phase, rest) = step.split_once('.').unwrap();
            let (call, _) = rest.split_once(',').unwrap();
            placed.extend([format!("{phase}.before_{call}"), format!("{phase}.after_{call}")]);
        }
    }
    placed.sort_unstable();
    let mut listed = ALL.to_vec();
    listed.sort_unstable();
    assert_eq!(placed, listed);
    assert!(ALL.len() >= 30, "{}", ALL.len());
    assert_eq!(ALL.iter().collect::<BTreeSet<_>>().len(), ALL.len());
}

#[test]
fn every_call_of_the_panel_and_the_store_stands_between_two_failpoints() {
    // Each of them is made either within a step, or just before it under the step's own name.
    let mut calls = 0;
    let mut steps = 0;
    for source in jobs() {
        for port in ["accounts.", "journal.", "panel.", "lock."] {
            for (position, _) in source.match_indices(port) {
                let (_, rest) = source.split_at(position + port.len());
                let method: String = rest
                    .chars()
                    .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect();
                calls += usize::from(is_of_a_port(&method, rest));
            }
        }
        steps += source.matches("step!(").count();
    }
    assert_eq!(calls, steps, "calls of the ports, and steps");
}

fn is_of_a_port(method: &str, call: &str) -> bool {
    const METHODS: &str = concat!(
        include_str!("../../src/port/accounts.rs"),
        include_str!("../../src/port/panel.rs"),
        include_str!("../../src/port/journal.rs")
    );
    let is_call = call
        .strip_prefix(method)
        .is_some_and(|rest| rest.starts_with('('));
    is_call && METHODS.contains(&format!("async fn {method}("))
}
