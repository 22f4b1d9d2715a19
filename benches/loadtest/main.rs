//! How a sync of many accounts behaves: time, requests, and memory, and who is to blame for them.
//!
//! `cargo run --release --example loadtest -- --accounts 10000 --request-ms 8 --user-us 2500`
//!
//! The panel runs in one process and the sync of each number of accounts in one of its own, so that the peak of memory
//! is that of the sync alone. The database is an `SQLite` file that is thrown away, or with `--postgres` one of its own on
//! the server of `DATABASE_URL` or `TEST_DATABASE_URL`, or on a throwaway server; it is dropped at the end, and no other
//! one is touched.

#![expect(clippy::print_stdout, reason = "what it measures is what it is for")]

mod measure;
mod picture;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use marzban_sync_benches::canned::{CannedPanel, Cost};

use measure::Measured;

/// Syncs many accounts with a canned panel and says what it took.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// How many accounts; several numbers are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "10000")]
    accounts: Vec<u64>,
    /// The panel's time for each request, in milliseconds.
    #[arg(long, default_value_t = 0)]
    request_ms: u64,
    /// The panel's time for each user, in microseconds.
    #[arg(long, default_value_t = 0)]
    user_us: u64,
    /// The pause between two requests, in milliseconds: `50..100`.
    #[arg(long, default_value = "0..0")]
    pause_ms: String,
    /// One account in so many is out of line; 0 means none.
    #[arg(long, default_value_t = 10)]
    changed_every: u64,
    /// Into PostgreSQL and not into `SQLite`.
    #[arg(long)]
    postgres: bool,
    /// The server on which `--postgres` creates a database of its own, and drops it at the end.
    #[arg(long, env, hide_env_values = true)]
    database_url: Option<String>,
    /// Also measure the original's way, one request and one UPDATE an account, by this many accounts.
    #[arg(long, num_args = 0..=1, default_missing_value = "200")]
    compare: Option<u64>,
    /// Draw time and memory over the number of accounts into this SVG file.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Be the panel of so many users.
    #[arg(long, hide = true)]
    panel_of: Option<u64>,
    /// Be the sync with the panel at this address.
    #[arg(long, hide = true)]
    panel_at: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(users) = arguments.panel_of {
        return be_panel(&arguments, users);
    }
    if let Some(url) = &arguments.panel_at {
        return measure::run(&arguments, url);
    }
    let mut all = Vec::new();
    for accounts in &arguments.accounts {
        all.push(in_processes(*accounts)?);
    }
    if let Some(path) = &arguments.plot {
        picture::draw(path, &arguments, &all)?;
        println!("drawn: {}", path.display());
    }
    Ok(())
}

/// Says where the panel is, and lives until its standard input is closed.
fn be_panel(arguments: &Arguments, users: u64) -> Result<()> {
    let cost = Cost {
        request: Duration::from_millis(arguments.request_ms),
        user: Duration::from_micros(arguments.user_us),
    };
    let panel = CannedPanel::start(users, cost);
    panel.advance(arguments.changed_every);
    println!("{}", panel.url());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// Measures one number of accounts, with the panel in one process and the sync in another.
fn in_processes(accounts: u64) -> Result<Measured> {
    let number = accounts.to_string();
    let mut panel = again(&["--panel-of", &number], Stdio::piped())?;
    let url = first_line(&mut panel)?;
    let mut sync = again(&["--accounts", &number, "--panel-at", url.trim()], Stdio::null())?;
    let output = sync.stdout.take().context("the output is piped")?;
    let mut measured = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        match line.strip_prefix("measured ") {
            Some(figures) => measured = Some(Measured::parse(figures)?),
            None => println!("{line}"),
        }
    }
    anyhow::ensure!(sync.wait()?.success(), "the sync of {accounts} accounts failed");
    drop(panel.stdin.take());
    panel.wait()?;
    measured.context("the sync said nothing")
}

/// This program with the same arguments and some more, of which the last one counts.
fn again(more: &[&str], input: Stdio) -> Result<Child> {
    let mut same = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        // It was for all numbers, and the child's is one of them.
        if argument == "--accounts" {
            arguments.next();
        } else if !argument.starts_with("--accounts=") {
            same.push(argument);
        }
    }
    Command::new(std::env::current_exe()?)
        .args(same)
        .args(more)
        .stdin(input)
        .stdout(Stdio::piped())
        .spawn()
        .context("this program cannot be started again")
}

fn first_line(child: &mut Child) -> Result<String> {
    let mut line = String::new();
    let output = child.stdout.as_mut().context("the output is piped")?;
    BufReader::new(output).read_line(&mut line)?;
    anyhow::ensure!(!line.is_empty(), "the panel did not start");
    Ok(line)
}
