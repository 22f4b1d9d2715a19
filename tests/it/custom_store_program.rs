//! `cargo run --example custom_store`, as a process.

use crate::program::program;

#[test]
fn custom_store_shows_its_tables_before_and_after() {
    let output = program("custom_store").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let rows = |when: &str| -> Vec<[String; 3]> {
        let lines = stdout.lines().filter_map(|line| line.trim().strip_prefix(when));
        let columns = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            [words[0], words[1], words[words.len() - 1]].map(str::to_owned)
        };
        lines.map(columns).collect()
    };
    let expected = |rows: [[&str; 3]; 5]| rows.map(|row| row.map(str::to_owned)).to_vec();
    assert_eq!(
        rows("before:"),
        expected([
            ["extended", "running", "works"],
            ["run-out", "running", "off"],
            ["renewed", "over", "off"],
            ["long-gone", "over", "off"],
            ["stopped", "stopped", "works"],
        ])
    );
    assert_eq!(
        rows("after:"),
        expected([
            ["extended", "running", "works"],
            ["run-out", "over", "off"],
            ["renewed", "running", "works"],
            ["-", "over", "off"],
            ["stopped", "stopped", "works"],
        ])
    );
}
