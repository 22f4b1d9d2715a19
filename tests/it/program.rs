//! The built examples as processes.

use std::ffi::OsStr;
use std::process::{Child, Command};

use marzban_api::testing::FakePanel;
use tokio::sync::watch;

/// A command for an example, with nothing in its environment but `PATH`.
///
/// # Panics
/// When it was not built: cargo builds the examples of the whole workspace before its tests, but not those of
/// another package before the tests of a single one.
#[track_caller]
pub(crate) fn program(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(|folder| folder.parent()).unwrap();
    let path = target
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.is_file(),
        "{} is not built: run `cargo test --workspace`",
        path.display()
    );
    let mut command = Command::new(path);
    command
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == OsStr::new("PATH")));
    command
}

/// Sends a signal, such as `TERM`, to this process alone.
#[track_caller]
pub(crate) fn send_signal(signal: &str, process: u32) {
    let sent = Command::new("kill")
        .args(["-s", signal, &process.to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "kill -s {signal} {process}: {sent}");
}

/// Has a process terminated by its nth request for a list, which is answered only after the signal was sent; the
/// process is told to the sender, once it has started.
pub(crate) fn terminate_at_list(number: usize, panel: &FakePanel) -> watch::Sender<Option<u32>> {
    let (tell, process) = watch::channel(None);
    panel.on_request(move |panel, request| {
        let mut process = process.clone();
        async move {
            if request.path == "/api/users" && panel.count("GET", "/api/users") == number {
                let process = process.wait_for(Option::is_some).await.unwrap().unwrap();
                send_signal("TERM", process);
            }
        }
    });
    tell
}

/// A process that does not outlive the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is what most tests wait for.
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}
