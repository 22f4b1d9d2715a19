//! What a service manager does to the process.

use std::process::Stdio;

use marzban_api::testing::{FakePanel, FakeStatus, FakeUser};
use marzban_sync_examples::bot::{Bot, Customer};
use tempfile::TempDir;
use tokio::sync::watch;

use super::panels::{TRAFFIC, bot, bot_of, day, extended, panel, text, with_panel};
use super::{Scheduler, scheduler};
use crate::program::{program, send_signal, terminate_at_list};

const CUSTOMERS: usize = 2_000;

fn names() -> impl Iterator<Item = String> {
    (1..=CUSTOMERS).map(|number| format!("user{number}"))
}

/// A process whose runs begin at once.
fn start(folder: &TempDir, bot: &Bot, panel: &FakePanel, arguments: &[&str]) -> Scheduler {
    let mut command = scheduler(folder.path(), &["--run-now", "--jitter", "0"]);
    command.args(arguments).env("DATABASE_URL", bot.url());
    with_panel(&mut command, "MARZBAN", &panel.url());
    Scheduler::start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_terminated_finishes_its_batch_and_frees_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let (bot, panel) = (bot(folder.path(), names()).await, panel(names()).await);
    let tell = terminate_at_list(2, &panel);
    let process = start(&folder, &bot, &panel, &[]);
    tell.send_replace(Some(process.id()));
    let (code, _, stderr) = process.wait();
    assert_eq!(code, Some(0), "{stderr}");

    // Either of the two jobs that ask for users came first, and what it read is written.
    let rows = bot.rows().unwrap();
    let written = rows.iter().filter(|row| row.traffic_used == TRAFFIC).count();
    assert!((1..CUSTOMERS).contains(&written), "{written} were written");
    let unreached = CUSTOMERS - written;
    let stopped = format!(
        "SELECT CAST(count(*) > 0 AS TEXT) AS line FROM marzban_sync_runs
         WHERE outcome = 'stopped' AND json_extract(report, '$.unreached') = {unreached}"
    );
    assert_eq!(
        text(folder.path(), &stopped),
        "1",
        "{unreached} unreached: {stderr}"
    );

    panel.clear_hooks();
    let mut sync = program("sync");
    sync.arg("sync-subscriptions-from-marzban")
        .current_dir(folder.path())
        .env("DATABASE_URL", bot.url());
    let status = with_panel(&mut sync, "MARZBAN", &panel.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0), "the lock is free");
    assert_eq!(extended(&bot), CUSTOMERS);
}

/// A process that waits for the end of a deletion, which never comes, and was asked to stop: a question would be dropped,
/// a deletion is not.
struct Stuck {
    process: Scheduler,
    _panel: FakePanel,
    _folder: TempDir,
}

async fn stuck(arguments: &[&str]) -> Stuck {
    let folder = tempfile::tempdir().unwrap();
    let bot = bot_of(
        folder.path(),
        &[Customer {
            name: "user1".to_owned(),
            status: "expired".to_owned(),
            end_date: day(-30),
            is_active: false,
        }],
    )
    .await;
    let panel = panel([]).await;
    let ended = FakeUser::new("user1").status(FakeStatus::Expired);
    panel.insert_user(ended.expire(day(-30).timestamp()));
    let (asked, mut is_asked) = watch::channel(false);
    panel.on_request(move |_, request| {
        let hangs = request.method == "DELETE";
        if hangs {
            asked.send_replace(true);
        }
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
        }
    });
    let mut process = start(&folder, &bot, &panel, arguments);
    is_asked.wait_for(|asked| *asked).await.unwrap();
    send_signal("TERM", process.id());
    process.wait_for_log("stopping");
    Stuck {
        process,
        _panel: panel,
        _folder: folder,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let stuck = stuck(&["--stop-within", "3600"]).await;
    send_signal("INT", stuck.process.id());
    let (code, _, stderr) = stuck.process.wait();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.ends_with("error: ended at once by a second signal\n"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_stop_is_dropped_after_the_time_limit() {
    let stuck = stuck(&["--stop-within", "1"]).await;
    let (code, _, stderr) = stuck.process.wait();
    assert_eq!(code, Some(1), "{stderr}");
    let line = "error: the runs did not stop within 1 seconds and were dropped\n";
    assert!(stderr.ends_with(line), "{stderr}");
}
