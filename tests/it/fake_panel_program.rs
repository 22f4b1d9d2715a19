//! `cargo run --example fake_panel`, as a process that a client speaks to.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use marzban_api::resource::ListUsers;
use marzban_api::{Client, SecretString, Throttle};

use crate::program::{Running, program, send_signal};

#[tokio::test(flavor = "multi_thread")]
async fn fake_panel_serves_as_many_users_as_it_is_asked_for_until_it_is_interrupted() {
    let mut command = program("fake_panel");
    command
        .args(["--port", "0", "--users", "25"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut url = String::new();
    stdout.read_line(&mut url).unwrap();

    let login = |password: &str| {
        let builder = Client::builder(url.trim_end()).credentials("admin", SecretString::from(password));
        builder.throttle(Throttle::none()).build().unwrap()
    };
    let page = login("admin")
        .users()
        .list(&ListUsers::new().limit(10))
        .await
        .unwrap();
    assert_eq!((page.users.len(), page.total), (10, 25));
    let stats = login("admin").system().stats().await.unwrap();
    assert_eq!((stats.version.as_str(), stats.total_user), ("0.8.4", 25));
    assert!(login("nimda").users().list(&ListUsers::new()).await.is_err());

    send_signal("INT", running.0.id());
    assert!(running.0.wait().unwrap().success(), "it ends in order");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "stdout has the URL and nothing else");
}

#[test]
fn fake_panel_says_which_port_it_cannot_have() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = program("fake_panel")
        .args(["--port", &port.to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with(&format!("error: cannot serve on port {port}: ")),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
