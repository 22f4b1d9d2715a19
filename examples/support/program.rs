//! A process that goes on until it is asked to stop: its arguments, its signals and its exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::environment::{self, Failure};
use crate::signals;

/// Parses the command line and runs `body` with it until it ends; the first signal cancels its token, and the second
/// ends the process at once.
///
/// Prints why it cannot go on as one line, and returns the exit code.
pub fn run<A: Parser, F>(body: impl FnOnce(A, CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Failure>>,
{
    let ended = match A::try_parse() {
        Ok(arguments) => start(|stop| body(arguments, stop)),
        Err(error) if error.use_stderr() => Err(Failure::Configuration(one_line(&error))),
        Err(help) => {
            // A reader that has gone away is no reason to fail.
            let _ = help.print();
            Ok(())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{}", environment::errors(&failure));
            failure.code()
        }
    }
}

fn start<F>(body: impl FnOnce(CancellationToken) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::Run(error.to_string()))?;
    let ended = runtime.block_on(async {
        let (stop, end_at_once) = signals::cancelled_by_signals();
        tokio::select! {
            ended = body(stop) => ended,
            () = end_at_once.cancelled() => Err(Failure::Run("ended at once by a second signal".to_owned())),
        }
    });
    // A database that hangs must not keep the process: its thread is left to the end of it.
    runtime.shutdown_background();
    ended
}

/// What is wrong with the usage, in one line.
#[must_use]
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}
