//! The progress bar and the log, which share stderr.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use marzban_sync_core::event::{Event, Observer};
use marzban_sync_core::report::Job;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// A bar that counts accounts; a clone is the same bar.
#[derive(Clone, Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(visible: bool) -> Self {
        let target = if visible {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(ProgressBar::with_draw_target(Some(0), target))
    }

    pub(crate) fn install_logging(&self, filter: EnvFilter) {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(io::stderr().is_terminal())
            .with_writer(self.clone())
            .init();
    }

    pub(crate) fn begin(&self, job: Job) {
        let template = "{prefix} {wide_bar} {pos}/{len} {eta}";
        self.0.reset();
        self.0.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        self.0.set_prefix(job.as_str());
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }

    /// A line on stderr, beside the bar.
    pub(crate) fn println(&self, line: &str) {
        self.0.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{line}");
        });
    }
}

impl Observer for Progress {
    fn observe(&self, event: Event<'_>) {
        match event {
            Event::Started { total, .. } => self.0.set_length(total),
            Event::Observed(accounts) => self.0.inc(accounts),
            _ => {}
        }
    }
}

impl Write for Progress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Progress {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
