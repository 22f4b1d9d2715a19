//! The files of `examples/deploy`: their syntax, and that they say what the programs understand and the schedules are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::Schedule;
use serde_json::Value;

use crate::program::program;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy")
}

#[track_caller]
fn read(path: impl AsRef<Path>) -> String {
    let path = folder().join(path);
    let text = fs::read_to_string(&path);
    assert!(text.is_ok(), "{}: {text:?}", path.display());
    text.unwrap()
}

/// The job's name on the command line.
fn task(job: Job) -> String {
    job.as_str().replace('_', "-")
}

/// The texts of a list.
fn words(list: &Value) -> Vec<&str> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(|word| word.as_str().unwrap()).collect()
}

/// Makes sure that a program understands these arguments, without running it.
#[track_caller]
fn understands(command: &[&str]) {
    let (name, arguments) = command.split_first().unwrap();
    let output = program(name).args(arguments).arg("--help").output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A cron text of the default schedules, as systemd writes it; none for what they do not need.
fn on_calendar(cron: &str) -> Option<String> {
    let fields: Vec<&str> = cron.split(' ').collect();
    let [minute, hour, "*", "*", weekday] = fields[..] else {
        return None;
    };
    let number = |field: &str| match field.strip_prefix("*/") {
        Some(step) => format!("00/{step}"),
        None if field == "*" => field.to_owned(),
        None => format!("{field:0>2}"),
    };
    let weekday = match weekday {
        "*" => "",
        "1" => "Mon ",
        _ => return None,
    };
    Some(format!(
        "{weekday}*-*-* {}:{}:00 UTC",
        number(hour),
        number(minute)
    ))
}

/// The values of a key of a unit file.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn the_cron_jobs_run_the_four_jobs_when_their_schedules_say() {
    let file = read("cronjob.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&file).unwrap();
    let documents: Vec<Value> = documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect();
    assert_eq!(documents.len(), Job::ALL.len());
    for (document, job) in documents.iter().zip(Job::ALL) {
        let spec = &document["spec"];
        let pod = &spec["jobTemplate"]["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(
            (&document["apiVersion"], &document["kind"]),
            (&Value::from("batch/v1"), &Value::from("CronJob"))
        );
        assert_eq!(document["metadata"]["name"], task(job));
        assert_eq!(spec["schedule"], Schedule::default_cron(job));
        assert_eq!(spec["timeZone"], "Etc/UTC");
        assert_eq!(spec["concurrencyPolicy"], "Forbid");
        assert_eq!(pod["restartPolicy"], "Never");
        let arguments = words(&container["args"]);
        assert_eq!(arguments[..2], ["sync", &task(job)]);
        understands(&arguments);
        let limit = Schedule::default_of(job).time_limit().num_seconds();
        let deadline = spec["jobTemplate"]["spec"]["activeDeadlineSeconds"].as_i64();
        assert!(deadline > Some(limit), "{deadline:?}");
    }
}

#[test]
fn the_timers_run_the_four_jobs_when_their_schedules_say() {
    for job in Job::ALL {
        let timer = read(format!("systemd/marzban-sync@{}.timer", task(job)));
        let expected = on_calendar(Schedule::default_cron(job)).unwrap();
        assert_eq!(values(&timer, "OnCalendar"), [expected], "{job}");
        assert_eq!(values(&timer, "WantedBy"), ["timers.target"]);
    }
    let service = read("systemd/marzban-sync@.service");
    let start = values(&service, "ExecStart")[0];
    for job in Job::ALL {
        let start = start.replace("%i", &task(job)).replace("/usr/local/bin/", "");
        understands(&start.split(' ').collect::<Vec<_>>());
    }
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "whoever runs it is to know that it looked at nothing"
)]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("skipped: systemd-analyze is not installed");
        return;
    }
    let units = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder().join("systemd")).unwrap() {
        let entry = entry.unwrap();
        let path = units.path().join(entry.file_name());
        // It also looks whether the program is there.
        let unit = fs::read_to_string(entry.path()).unwrap();
        fs::write(&path, unit.replace("/usr/local/bin/sync", "/bin/true")).unwrap();
        paths.push(path);
    }
    assert_eq!(paths.len(), 1 + Job::ALL.len());
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .args(&paths)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    let of_ours: Vec<&str> = complaints
        .lines()
        .filter(|line| line.contains("marzban-sync"))
        .collect();
    assert!(output.status.success() && of_ours.is_empty(), "{complaints}");
}

#[test]
fn the_services_of_the_composition_fit_together() {
    let composition: Value = serde_saphyr::from_str(&read("docker-compose.yml")).unwrap();
    let services = composition["services"].as_object().unwrap();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    for name in ["postgres", "migrate", "scheduler", "worker", "board"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for (name, service) in services {
        let dependencies = service["depends_on"].as_object();
        for dependency in dependencies.into_iter().flat_map(|list| list.keys()) {
            assert!(services.contains_key(dependency), "{name} waits for {dependency}");
        }
        if name != "postgres" {
            assert_eq!(service["image"], "marzban-sync", "{name}");
            assert_eq!(service["env_file"], ".env", "{name}");
            assert_eq!(words(&service["command"])[0], "worker", "{name}");
        }
    }
    // Whoever is not on this machine comes through a proxy with TLS.
    assert_eq!(words(&services["board"]["ports"]), ["127.0.0.1:8088:8088"]);
}

#[test]
fn the_image_has_every_program_that_the_other_files_start() {
    let image = read("Dockerfile");
    for program in ["--example sync", "--example scheduler", "--bin worker"] {
        assert!(image.contains(program), "{program}");
    }
    assert!(image.contains("\nUSER marzban-sync\n"));
    let toolchain = concat!("FROM rust:", env!("CARGO_PKG_RUST_VERSION"));
    assert!(image.contains(toolchain), "{toolchain}");
}

#[test]
fn the_environment_names_variables_that_the_programs_read() {
    let help = program("sync").arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let file = read(".env.example");
    let names: Vec<&str> = file
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        assert!(
            help.contains(name) || name.starts_with("MARZBAN_BOARD_"),
            "{name}"
        );
    }
}
