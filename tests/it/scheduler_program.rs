//! `cargo run --example scheduler` and `cargo run --example day`, as processes: what they run, tell over HTTP, log, and how they end.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Running, program, send_signal};

mod configuration;
mod day;
mod downtime;
mod exposition;
mod panels;
mod signals;

/// How long anything may take on a host that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

const USERNAME: &str = "robot";
const PASSWORD: &str = "correct-horse-battery";

/// The scheduler in a folder of its own, on a port that the system gives it.
fn scheduler(folder: &std::path::Path, arguments: &[&str]) -> Command {
    listening("scheduler", folder, arguments)
}

/// A program in a folder of its own, on a port that the system gives it.
fn listening(name: &str, folder: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = program(name);
    command
        .current_dir(folder)
        .env("TMPDIR", folder)
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments);
    command
}

/// The running program, whose output is read as it comes.
struct Scheduler {
    running: Running,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    address: String,
    seen: String,
}

impl Scheduler {
    /// Starts it, and waits until it listens.
    #[track_caller]
    fn start(mut command: Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut running = Running(child.unwrap());
        let stdout = lines(running.0.stdout.take().unwrap());
        let stderr = lines(running.0.stderr.take().unwrap());
        let line = stdout.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let errors: Vec<String> = stderr.try_iter().collect();
            errors.join("\n")
        });
        let address = line.strip_prefix("listening on http://").expect(&line).to_owned();
        Self {
            running,
            stdout,
            stderr,
            address,
            seen: String::new(),
        }
    }

    fn id(&self) -> u32 {
        self.running.0.id()
    }

    /// Asks a path, and returns status and body.
    #[track_caller]
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect(head), body.to_owned())
    }

    /// What `/health` says.
    #[track_caller]
    fn health(&self) -> (u16, Value) {
        let (status, body) = self.get("/health");
        (status, serde_json::from_str(&body).expect(&body))
    }

    /// Waits until the log has a line with these words.
    #[track_caller]
    fn wait_for_log(&mut self, words: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.stderr.recv_timeout(left).expect(&self.seen);
            writeln!(self.seen, "{line}").unwrap();
            if line.contains(words) {
                return;
            }
        }
    }

    /// Waits for its end: exit code, and all that stdout and stderr had after the first line.
    #[track_caller]
    fn wait(mut self) -> (Option<i32>, String, String) {
        let code = wait_until("it ends", || self.running.0.try_wait().unwrap());
        let stdout: Vec<String> = self.stdout.iter().collect();
        let mut stderr = std::mem::take(&mut self.seen);
        for line in &self.stderr {
            writeln!(stderr, "{line}").unwrap();
        }
        (code.code(), stdout.join("\n"), stderr)
    }

    /// Asks it to stop, and waits for its end.
    #[track_caller]
    fn stop(self) -> (Option<i32>, String, String) {
        send_signal("TERM", self.id());
        self.wait()
    }
}

/// The lines of a pipe, read by a thread that ends with it.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let _reader: JoinHandle<()> = std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            if line.is_err() || sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Asks again and again until there is an answer.
#[track_caller]
fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
