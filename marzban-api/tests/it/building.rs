//! Settings: which are rejected, and what they do on the wire.

use std::error::Error as _;

use marzban_api::{Client, ErrorKind, RetryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::wire::{Wire, builder, system};

#[test]
fn an_unusable_url_is_refused_without_being_repeated() {
    for (url, message) in [
        ("", "client.build: the panel's URL cannot be parsed"),
        ("panel.example", "client.build: the panel's URL cannot be parsed"),
        ("https://", "client.build: the panel's URL cannot be parsed"),
        (
            "ftp://panel.example",
            "client.build: the panel's URL is neither http nor https",
        ),
        (
            "panel.example:8000",
            "client.build: the panel's URL is neither http nor https",
        ),
        (
            "https://root:hunter2@panel.example",
            "client.build: the panel's URL contains credentials, which belong in `credentials`",
        ),
        (
            "https://hunter2@panel.example",
            "client.build: the panel's URL contains credentials, which belong in `credentials`",
        ),
        (
            "https://panel.example/?key=hunter2",
            "client.build: the panel's URL has a query or a fragment",
        ),
        (
            "https://panel.example/#hunter2",
            "client.build: the panel's URL has a query or a fragment",
        ),
    ] {
        let error = builder(url).build().unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Config, message),
            "{url}"
        );
        let all = format!("{error:?} {:?} {:?}", error.source(), builder(url));
        assert!(!all.contains("hunter2"), "{all}");
        assert_eq!((error.attempts(), error.is_retryable()), (0, false));
    }
}

#[test]
fn missing_credentials_bad_certificates_and_bad_proxies_are_refused() {
    let message = |built: Result<Client, marzban_api::Error>| built.unwrap_err().to_string();
    let url = "https://panel.example";
    assert_eq!(
        message(Client::builder(url).build()),
        "client.build: no credentials are set"
    );
    let no_certificate = builder(url).root_certificate_pem(b"hunter2").build();
    assert_eq!(
        message(no_certificate),
        "client.build: a root certificate file contains no certificate"
    );
    let bad_proxy = builder(url).proxy("http://user:hunter2@").build();
    assert_eq!(message(bad_proxy), "client.build: the proxy's URL is not usable");
}

#[tokio::test]
async fn a_path_prefix_comes_before_every_path() {
    for prefix in ["/panel/one", "/panel/one/"] {
        let wire = Wire::script([system()]).await;
        let client = builder(&format!("{}{prefix}", wire.url)).build().unwrap();
        client.system().stats().await.unwrap();
        assert_eq!(wire.logins()[0].line, "POST /panel/one/api/admin/token");
        assert_eq!(wire.lines(), ["GET /panel/one/api/system"]);
    }
}

#[tokio::test]
async fn headers_say_who_asks_and_for_what() {
    let wire = Wire::script([system()]).await;
    wire.builder()
        .user_agent("bot/7")
        .build()
        .unwrap()
        .system()
        .stats()
        .await
        .unwrap();
    let request = &wire.requests()[0];
    assert_eq!(request.header("user-agent"), Some("bot/7"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("accept-encoding"), Some("gzip"));
}

#[tokio::test]
async fn a_proxy_is_used_when_it_is_set() {
    let proxy = Wire::script([system()]).await;
    let client = builder("http://panel.example")
        .proxy(proxy.url.as_str())
        .build()
        .unwrap();
    client.system().stats().await.unwrap();
    assert_eq!(proxy.lines(), ["GET http://panel.example/api/system"]);
}

#[tokio::test]
async fn over_https_nothing_is_said_before_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 4096];
        let length = stream.read(&mut heard).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        heard[..length].to_vec()
    });
    let client = builder(&url)
        .retry(RetryPolicy::none())
        .danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let error = client.system().stats().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Connect, "admins.token")
    );
    let heard = heard.await.unwrap();
    // The first byte of a TLS handshake record.
    assert_eq!(heard[0], 22);
    assert!(!String::from_utf8_lossy(&heard).contains("password"));
}

#[test]
fn a_subscription_path_of_dots_is_refused_when_the_client_is_built() {
    for path in ["..", "sub/../api", "./sub", "/../"] {
        let built = builder("http://127.0.0.1:1").subscription_path(path).build();
        assert_eq!(built.unwrap_err().kind(), ErrorKind::Config, "{path}");
    }
    for path in ["sub", "a.b", "...", "x/..y"] {
        let built = builder("http://127.0.0.1:1").subscription_path(path).build();
        assert_eq!(built.unwrap().subscription_path(), path);
    }
}

#[test]
fn the_subscription_path_has_no_slashes_around_it() {
    let client = builder("https://panel.example")
        .subscription_path("/my/sub/")
        .build()
        .unwrap();
    assert_eq!(client.subscription_path(), "my/sub");
    assert_eq!(
        builder("https://panel.example")
            .build()
            .unwrap()
            .subscription_path(),
        "sub"
    );
}

/// The system's certificates are looked for as the environment says, which only another process can change safely.
#[test]
fn a_host_without_certificates_can_still_speak_plain_http() {
    const MARK: &str = "MARZBAN_API_TEST_WITHOUT_CERTIFICATES";
    if std::env::var_os(MARK).is_some() {
        assert_eq!(
            builder("https://panel.example").build().unwrap_err().kind(),
            ErrorKind::Config
        );
        assert_eq!(
            builder("http://panel.example")
                .build()
                .unwrap()
                .subscription_path(),
            "sub"
        );
        return;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "building::a_host_without_certificates_can_still_speak_plain_http",
        ])
        .env(MARK, "1")
        .env("SSL_CERT_FILE", "/dev/null")
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}
