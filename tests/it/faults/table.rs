//! The table of what came of all faults, by kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use marzban_sync_core::report::Job;

use super::work::Work;

/// So many of the words that reports said are shown.
const WORDS: usize = 4;

/// What came of one fault in one place.
pub(super) struct Row {
    pub(super) fault: String,
    pub(super) place: String,
    pub(super) work: Work,
    /// Rows that are gone, or say less than was paid for.
    pub(super) lost: u32,
    pub(super) wrong_deletions: usize,
    /// All that was said, for whom a failure is to be told.
    pub(super) said: String,
    /// The words of it that are counted.
    pub(super) words: Vec<String>,
}

/// What came of all faults of a kind.
#[derive(Default)]
struct Kind<'a> {
    works: BTreeSet<Work>,
    cases: usize,
    lost: u32,
    wrong_deletions: usize,
    words: BTreeMap<&'a str, usize>,
}

impl<'a> Kind<'a> {
    fn count(&mut self, row: &'a Row) {
        self.works.insert(row.work);
        self.cases += 1;
        self.lost += row.lost;
        self.wrong_deletions += row.wrong_deletions;
        let words: BTreeSet<&str> = row.words.iter().map(String::as_str).collect();
        for word in words {
            *self.words.entry(word).or_default() += 1;
        }
    }

    fn places(&self) -> String {
        let mut works = self.works.clone();
        let all: BTreeSet<Work> = Job::ALL.into_iter().map(Work::Job).collect();
        let mut places = Vec::new();
        if works.is_superset(&all) {
            places.push("all jobs".to_owned());
            works.retain(|work| !all.contains(work));
        }
        places.extend(works.iter().map(|work| format!("`{work}`")));
        places.join(", ")
    }

    fn said(&self) -> String {
        let mut words: Vec<(&str, usize)> = self.words.iter().map(|(word, count)| (*word, *count)).collect();
        words.sort_by_key(|(word, count)| (std::cmp::Reverse(*count), *word));
        words.truncate(WORDS);
        let words = words.iter().map(|(word, count)| format!("{word} ({count})"));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// The whole file.
pub(super) fn table(rows: &[Row]) -> String {
    let mut kinds: Vec<(&str, Kind<'_>)> = Vec::new();
    let mut all = Kind::default();
    for row in rows {
        all.count(row);
        if let Some((_, kind)) = kinds.iter_mut().find(|(fault, _)| *fault == row.fault) {
            kind.count(row);
        } else {
            let mut kind = Kind::default();
            kind.count(row);
            kinds.push((&row.fault, kind));
        }
    }
    let mut text = String::from(
        "# What went wrong, and what came of it\n\n\
         Counted by the test `no_fault_costs_anybody_what_was_paid_for`, which compares this file with what it sees; \
         `UPDATE_FAULTS=1` writes it anew.\n\n\
         Each fault happens to a bot with a customer of every kind; then the same runs once more without it, and every \
         row of the bot, every user of the panel and all that was agreed must be as if the fault had never been. A \
         third run then writes nothing.\n\
         *Rows lost* are rows that are gone, or say less than was paid for, after that; *wrong deletions* are panel \
         users, of a customer with something left, that the panel was asked to delete or to disable at any time. The \
         words are those that the most reports said, and how many did.\n\n\
         | kind of fault | where | cases | rows lost | wrong deletions | what the report said |\n\
         |---|---|---|---|---|---|\n",
    );
    for (fault, kind) in &kinds {
        line(&mut text, fault, kind);
    }
    line(&mut text, "**all**", &all);
    text
}

fn line(text: &mut String, fault: &str, kind: &Kind<'_>) {
    let Kind {
        cases,
        lost,
        wrong_deletions,
        ..
    } = kind;
    let (places, said) = (kind.places(), kind.said());
    writeln!(
        text,
        "| {fault} | {places} | {cases} | {lost} | {wrong_deletions} | {said} |"
    )
    .unwrap();
}
