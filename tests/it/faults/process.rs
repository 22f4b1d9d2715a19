//! A job in a process of its own, which stops dead where it is told to.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::town::{LIMIT, Town};
use super::work::Work;
use crate::bot::now;

pub(super) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Begins a job over a town; `place` is a failpoint and how many times it is reached before the process stops there.
    pub(super) fn start(town: &Town, work: Work, place: Option<(&str, u32)>) -> Self {
        let work = match work {
            Work::Job(job) => job.to_string(),
            Work::Undo => format!("undo={}", town.undone.0),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_crash"));
        command
            .args([work.as_str(), town.rules.as_str()])
            .args([&town.bot.panel.url(), town.bot.database.url()])
            .arg(now().to_rfc3339());
        if let Some((failpoint, time)) = place {
            command.args([failpoint, &time.to_string()]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Waits until it stands where it was told to stop.
    pub(super) async fn until_there(&mut self) {
        let mut said = String::new();
        timeout(LIMIT, self.output.read_line(&mut said))
            .await
            .expect("the failpoint is reached")
            .unwrap();
        assert_eq!(said, "there\n");
    }

    /// Kills it, by SIGKILL.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Lets it go on.
    pub(super) async fn go_on(&mut self) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(b"go\n").await.unwrap();
    }

    /// Waits for its end, and returns the lines that it said until then.
    pub(super) async fn lines(mut self) -> Vec<String> {
        let mut said = String::new();
        timeout(LIMIT, self.output.read_to_string(&mut said))
            .await
            .expect("the process comes to its end")
            .unwrap();
        assert!(self.child.wait().await.unwrap().success(), "{said}");
        said.lines().map(str::to_owned).collect()
    }
}
