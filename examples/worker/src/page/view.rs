//! What the page shows, computed from the data: pure, with the time as an argument.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::outcome::{RunStatus, Stopped};
use marzban_sync_core::report::Job;
use marzban_sync_core::run::RunRecord;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_core::scheduler::HealthStatus;
use serde_json::Value;

use super::charts::{self, Chart};
use super::load::{Facts, Glance, TaskState};
use super::selection::{Asking, Selection};
use super::withheld::{self, Plan};
use super::words::{Moment, about, grouped, length, title};

/// Up to this many panels are unfolded although they are healthy.
const FEW: usize = 4;

/// Up to this many panels in trouble are unfolded.
const MANY: usize = 8;

/// The severity of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    Good,
    Busy,
    Warning,
    Bad,
}

/// A state in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) tone: Tone,
    pub(crate) words: String,
}

impl State {
    fn new(tone: Tone, words: impl Into<String>) -> Self {
        Self {
            tone,
            words: words.into(),
        }
    }
}

/// `synced` and 12.
pub(crate) type Figure = (&'static str, String);

/// An account that could not be brought in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) name: String,
    pub(crate) telegram_id: Option<i64>,
    /// As the report names it.
    pub(crate) reason: String,
    pub(crate) detail: Option<String>,
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) started: Moment,
    /// None while it is under way.
    pub(crate) took: Option<String>,
    pub(crate) state: State,
    pub(crate) figures: Vec<Figure>,
    /// The first ones.
    pub(crate) problems: Vec<Problem>,
    pub(crate) error: Option<String>,
}

/// A job of a panel.
#[derive(Clone, Debug)]
pub(crate) struct JobView {
    pub(crate) job: Job,
    pub(crate) last: Option<Run>,
    pub(crate) good: Option<Moment>,
    pub(crate) freshness: State,
    pub(crate) next: Option<Moment>,
    /// `queued` or `running`, when a task of it is in the queue.
    pub(crate) waiting: Option<&'static str>,
}

/// A panel.
#[derive(Clone, Debug)]
pub(crate) struct PanelView {
    pub(crate) name: String,
    pub(crate) jobs: Vec<JobView>,
    /// The worst state of its jobs.
    pub(crate) state: State,
    /// Whether this board may ask for runs of it.
    pub(crate) is_ours: bool,
    pub(crate) is_open: bool,
}

/// What became of the form that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) state: State,
    /// Whose run was asked for.
    pub(crate) about: Option<(Job, String)>,
}

/// The page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) now: Moment,
    pub(crate) selection: Selection,
    pub(crate) asking: Option<Asking>,
    pub(crate) notice: Option<Notice>,
    pub(crate) plans: Vec<Plan>,
    pub(crate) glance: Glance,
    pub(crate) panels: Vec<PanelView>,
    /// The panel whose charts these are.
    pub(crate) charted: Option<String>,
    pub(crate) charts: Vec<Chart>,
}

/// The whole page.
pub(crate) fn page(
    facts: &Facts,
    names: &[String],
    schedules: &[Schedule],
    (selection, asking): (Selection, Option<Asking>),
    now: DateTime<Utc>,
) -> Page {
    let charted = selection.panel.clone().or_else(|| names.first().cloned());
    let interval = schedules
        .iter()
        .find(|schedule| schedule.job() == Job::GetMarzbanSystemStats)
        .and_then(|schedule| interval(schedule, now))
        .unwrap_or(TimeDelta::minutes(15));
    let charts = match &charted {
        Some(panel) => charts::charts(&facts.stats, panel, selection.range, interval, now),
        None => Vec::new(),
    };
    Page {
        now: Moment::of(now, now),
        notice: notice(facts, asking.as_ref()),
        plans: withheld::plans(facts, names, now),
        glance: facts.glance,
        panels: panels(facts, names, schedules, now),
        charted,
        charts,
        selection,
        asking,
    }
}

/// Returns the time between two ticks.
fn interval(schedule: &Schedule, now: DateTime<Utc>) -> Option<TimeDelta> {
    let next = schedule.next_after(now)?;
    Some(schedule.next_after(next)? - next)
}

/// Returns the panels of this board, then those that occur only in the history.
fn panels(facts: &Facts, names: &[String], schedules: &[Schedule], now: DateTime<Utc>) -> Vec<PanelView> {
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    for run in &facts.runs.latest {
        if !all.contains(&run.panel.as_str()) {
            all.push(&run.panel);
        }
    }
    let mut views: Vec<PanelView> = all
        .into_iter()
        .map(|name| panel(name, facts, names, schedules, now))
        .collect();
    let in_trouble = views
        .iter()
        .filter(|view| view.state.tone >= Tone::Warning)
        .count();
    let are_few = views.len() <= FEW;
    for view in &mut views {
        view.is_open = are_few || (in_trouble <= MANY && view.state.tone >= Tone::Warning);
    }
    views
}

fn panel(
    name: &str,
    facts: &Facts,
    names: &[String],
    schedules: &[Schedule],
    now: DateTime<Utc>,
) -> PanelView {
    let is_ours = names.iter().any(|ours| ours == name);
    let jobs: Vec<JobView> = schedules
        .iter()
        .map(|schedule| job(name, facts, schedule, now))
        .collect();
    let state = if is_ours {
        summary(&jobs)
    } else {
        State::new(Tone::Busy, "not one of this board's panels")
    };
    PanelView {
        name: name.to_owned(),
        jobs,
        state,
        is_ours,
        is_open: false,
    }
}

/// Returns the worst state of a panel's jobs, each named.
fn summary(jobs: &[JobView]) -> State {
    let mut parts = Vec::new();
    let mut tone = Tone::Good;
    if jobs.iter().all(|job| job.last.is_none()) {
        return State::new(Tone::Warning, "nothing has run yet");
    }
    for job in jobs {
        let last = job.last.as_ref().map(|run| &run.state);
        let worst = last
            .into_iter()
            .chain([&job.freshness])
            .max_by_key(|state| state.tone);
        if let Some(state) = worst.filter(|state| state.tone >= Tone::Warning) {
            parts.push(format!("{}: {}", title(job.job), state.words));
            tone = tone.max(state.tone);
        }
    }
    match parts.as_slice() {
        [] => State::new(Tone::Good, "all fresh"),
        [only] => State::new(tone, only.clone()),
        several => State::new(tone, format!("{} jobs need a look", several.len())),
    }
}

fn job(panel: &str, facts: &Facts, schedule: &Schedule, now: DateTime<Utc>) -> JobView {
    let job = schedule.job();
    let of = |runs: &[RunRecord]| {
        let run = runs.iter().find(|run| run.job == job && run.panel == panel);
        run.cloned()
    };
    let good = of(&facts.runs.completed);
    let mut tasks = facts
        .waiting
        .iter()
        .filter(|waiting| waiting.task.panel == panel && waiting.task.known_job() == Some(job))
        .peekable();
    let waiting = tasks.peek().is_some().then(|| {
        if tasks.any(|waiting| waiting.is_running) {
            "running"
        } else {
            "queued"
        }
    });
    JobView {
        job,
        last: of(&facts.runs.latest).map(|record| run(&record, schedule.time_limit(), now)),
        freshness: freshness(good.as_ref().map(|run| run.started_at), schedule, now),
        good: good.map(|run| Moment::of(run.started_at, now)),
        next: schedule.next_after(now).map(|tick| Moment::of(tick, now)),
        waiting,
    }
}

/// Judges a job by its last run; a job that never ran counts as scheduled since `since`.
pub(crate) fn status(
    last: Option<&RunRecord>,
    schedule: &Schedule,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> HealthStatus {
    let has_failed = last.is_some_and(|run| match run.status {
        RunStatus::Failed => true,
        RunStatus::Stopped => run.stopped() != Some(Stopped::Cancelled),
        _ => false,
    });
    let latest = last.map_or(since, |run| run.started_at);
    HealthStatus::of(schedule, latest, has_failed, now)
}

/// Returns whether the last good run is late, by the library's rule.
fn freshness(good: Option<DateTime<Utc>>, schedule: &Schedule, now: DateTime<Utc>) -> State {
    let Some(good) = good else {
        return State::new(Tone::Warning, "never done");
    };
    if HealthStatus::of(schedule, good, false, now) == HealthStatus::Healthy {
        return State::new(Tone::Good, "fresh");
    }
    let words = match schedule
        .ticks(good, now - schedule.time_limit())
        .take(1_000)
        .count()
    {
        1_000 => "late: more than 999 runs were missed".to_owned(),
        missed => format!("late: {missed} runs were missed"),
    };
    State::new(Tone::Warning, words)
}

fn run(record: &RunRecord, time_limit: TimeDelta, now: DateTime<Utc>) -> Run {
    let none = Value::Null;
    let report = record.report.as_ref().unwrap_or(&none);
    let error = report.get("error").and_then(Value::as_str);
    Run {
        started: Moment::of(record.started_at, now),
        took: record.finished_at.map(|end| length(end - record.started_at)),
        state: outcome(record, report, time_limit, now),
        figures: figures(record.job, report),
        problems: problems(report),
        error: error.map(str::to_owned),
    }
}

fn outcome(record: &RunRecord, report: &Value, time_limit: TimeDelta, now: DateTime<Utc>) -> State {
    let errors = report.get("errors").and_then(Value::as_u64).unwrap_or_default();
    match record.status {
        RunStatus::Running if now - record.started_at > time_limit => State::new(
            Tone::Warning,
            format!(
                "under way for longer than {}: its process may have died",
                about(time_limit)
            ),
        ),
        RunStatus::Running => State::new(Tone::Busy, "under way"),
        RunStatus::Completed if errors > 0 => State::new(Tone::Warning, "completed, with errors"),
        RunStatus::Completed => State::new(Tone::Good, "completed"),
        RunStatus::Stopped => match record.stopped() {
            Some(Stopped::Safety) => State::new(Tone::Bad, "stopped by a safety limit"),
            Some(Stopped::Deadline) => State::new(Tone::Bad, "stopped: its time was up"),
            Some(Stopped::Cancelled) => State::new(Tone::Warning, "stopped: it was cancelled"),
            _ => State::new(Tone::Bad, "stopped"),
        },
        RunStatus::Failed => State::new(Tone::Bad, "failed"),
        RunStatus::Abandoned => State::new(Tone::Warning, "abandoned: its process died"),
        _ => State::new(Tone::Warning, "ended in a way that this version does not know"),
    }
}

/// Returns the figures of a job's report.
pub(crate) fn figures(job: Job, report: &Value) -> Vec<Figure> {
    let names: &[(&'static str, &str)] = match job {
        Job::SyncSubscriptionsFromMarzban => {
            &[("synced", "/synced"), ("errors", "/errors"), ("total", "/total")]
        }
        Job::SyncUserStatusFromMarzban => &[
            ("updated", "/updated"),
            ("missing", "/missing"),
            ("errors", "/errors"),
            ("total", "/total"),
        ],
        Job::CleanupExpiredMarzbanUsers => &[
            ("cleaned", "/cleaned"),
            ("skipped", "/skipped"),
            ("errors", "/errors"),
            ("total", "/total"),
        ],
        Job::GetMarzbanSystemStats => &[
            ("users", "/stats/total_user"),
            ("active", "/stats/users_active"),
            ("online", "/stats/online_users"),
        ],
    };
    let figure = |(name, path): &(&'static str, &str)| {
        let number = report.pointer(path).and_then(Value::as_i64)?;
        Some((*name, grouped(number)))
    };
    let withheld = report
        .get("withheld")
        .and_then(Value::as_i64)
        .filter(|number| *number > 0);
    let mut figures: Vec<Figure> = names.iter().filter_map(figure).collect();
    figures.extend(withheld.map(|number| ("withheld", grouped(number))));
    figures
}

/// Returns the problems of a report, as far as this version understands them.
pub(crate) fn problems(report: &Value) -> Vec<Problem> {
    let text = |problem: &Value, name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
    let problems = report.get("problems").and_then(Value::as_array);
    problems
        .into_iter()
        .flatten()
        .map(|problem| Problem {
            name: text(problem, "name").unwrap_or_default(),
            telegram_id: problem.get("telegram_id").and_then(Value::as_i64),
            reason: text(problem, "reason").unwrap_or_default(),
            detail: text(problem, "detail"),
        })
        .collect()
}

fn notice(facts: &Facts, asking: Option<&Asking>) -> Option<Notice> {
    let plain = |state| Some(Notice { state, about: None });
    match asking? {
        Asking::Unconfirmed => plain(State::new(
            Tone::Warning,
            "Nothing was asked for: tick the box first.",
        )),
        Asking::NobodyTicked => plain(State::new(
            Tone::Warning,
            "Nothing was asked for: tick the accounts first.",
        )),
        Asking::PlanChanged => plain(State::new(
            Tone::Warning,
            "Nothing was asked for: the plan is no longer the one that you saw.",
        )),
        Asking::Task(_) => match &facts.task {
            Some(task) => Some(Notice {
                state: task_words(task),
                about: task.task.known_job().map(|job| (job, task.task.panel.clone())),
            }),
            None => plain(State::new(
                Tone::Warning,
                "This run is no longer in the queue's records.",
            )),
        },
    }
}

fn task_words(task: &TaskState) -> State {
    let why = task.result.as_ref().and_then(|result| result.get("Err"));
    let why = why
        .and_then(Value::as_str)
        .map_or_else(String::new, |why| format!(" ({why})"));
    match task.status.as_str() {
        "Pending" => State::new(Tone::Busy, "queued"),
        "Queued" | "Running" => State::new(Tone::Busy, "running"),
        "Done" => State::new(Tone::Good, "done"),
        "Failed" if task.has_attempts_left => {
            State::new(Tone::Warning, format!("failed, and will be tried again{why}"))
        }
        "Failed" => State::new(Tone::Bad, format!("failed{why}")),
        _ => State::new(Tone::Bad, "ended by the queue"),
    }
}

#[cfg(test)]
mod tests;
