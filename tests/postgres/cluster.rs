//! A throwaway cluster, made from the server programs that are installed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::variable;

const SCRIPT: &str = include_str!("watchdog.sh");

/// Starts a cluster that lives as long as this process, and returns its URL; none where no server is installed.
pub(super) fn start() -> Option<String> {
    // The system closes its standard input, which it waits on, when this process ends, however it ends.
    static WATCHDOG: OnceLock<Child> = OnceLock::new();
    let programs = programs()?;
    let folder = tempfile::Builder::new()
        .prefix("marzban-sync-")
        .tempdir()
        .expect("a folder can be made");
    let path = folder
        .path()
        .to_str()
        .expect("the temporary folder's name is UTF-8")
        .to_owned();

    let mut watchdog = Command::new("sh");
    watchdog
        .args(["-c", SCRIPT, "watchdog"])
        .arg(&programs)
        .arg(&path)
        .current_dir(&path);
    // A group of its own: Ctrl-C ends the tests, and the watchdog then still has its work to do.
    watchdog.env("LC_ALL", "C").env_remove("PGDATA").process_group(0);
    watchdog
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if id(&["-u"]) == Some(0) {
        let (uid, gid) =
            unprivileged().expect("there is a user postgres or nobody, as PostgreSQL refuses to run as root");
        chown(&path, Some(uid), Some(gid)).expect("root may give a folder away");
        watchdog.uid(uid).gid(gid);
    }
    let mut watchdog = watchdog.spawn().expect("there is a shell");

    let mut said = String::new();
    let output = watchdog.stdout.take().expect("standard output is piped");
    BufReader::new(output)
        .read_line(&mut said)
        .expect("standard output is text");
    if said != "ready\n" {
        let log = |name| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        panic!(
            "PostgreSQL of {} does not start:\n{}{}",
            programs.display(),
            log("start.log"),
            log("server.log")
        );
    }
    // From here on the watchdog removes the folder.
    let path = folder.keep();
    WATCHDOG.get_or_init(|| watchdog);
    Some(format!(
        "postgres://postgres@{}/postgres",
        path.display().to_string().replace('/', "%2F")
    ))
}

/// The folder of `initdb`.
fn programs() -> Option<PathBuf> {
    let named = variable("PG_BINDIR").map(PathBuf::from);
    let candidates = named
        .into_iter()
        .chain(installed())
        .chain(configured())
        .chain(searched());
    candidates
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
}

/// Where Debian and its relatives put them, the newest first.
fn installed() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn configured() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

fn searched() -> Vec<PathBuf> {
    variable("PATH")
        .unwrap_or_default()
        .split(':')
        .map(|folder| Path::new(folder).to_owned())
        .collect()
}

/// The user and group ids of whom to be instead of root.
fn unprivileged() -> Option<(u32, u32)> {
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?)))
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
