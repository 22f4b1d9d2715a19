//! Connecting by a URL.

use marzban_sync_core::error::{StoreErrorKind, chain};
use marzban_sync_core::store::{AccountStore, PostgresStore};
use marzban_sync_tests::TestDatabase;

use super::Bot;

async fn refused(url: &str) -> (StoreErrorKind, String) {
    let error = PostgresStore::connect(url).await.unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    (error.kind(), chain(&error))
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named_in_the_servers_words() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (server, _) = database.url().rsplit_once('/').unwrap();
    assert_eq!(
        refused(&format!("{server}/nowhere")).await,
        (
            StoreErrorKind::Unavailable,
            "cannot connect to PostgreSQL: database \"nowhere\" does not exist".to_owned()
        )
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let said = "cannot connect to PostgreSQL: No such file or directory (os error 2)".to_owned();
    assert_eq!(
        refused("postgres://user:hunter2@%2Fnowhere%2Fat-all/bot").await,
        (StoreErrorKind::Unavailable, said)
    );
}

#[tokio::test]
async fn a_server_without_tls_is_used_in_the_clear_only_where_sslmode_lets_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Answers the request for TLS with "no", and hangs up.
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut after_refusal = Vec::new();
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            socket.read_exact(&mut request).await.unwrap();
            assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
            socket.write_all(b"N").await.unwrap();
            let mut next = [0; 4];
            after_refusal.push(socket.read(&mut next).await.unwrap());
        }
        after_refusal
    });
    let url = |mode| format!("postgres://user:hunter2@127.0.0.1:{port}/bot?sslmode={mode}");
    let (kind, said) = refused(&url("require")).await;
    assert_eq!(
        (kind, said.as_str()),
        (
            StoreErrorKind::Unavailable,
            "cannot connect to PostgreSQL: server does not support TLS"
        )
    );
    assert_eq!(refused(&url("prefer")).await.0, StoreErrorKind::Unavailable);
    assert_eq!(server.await.unwrap(), [0, 4], "only `prefer` goes on without TLS");
}

#[tokio::test]
async fn debug_shows_the_pool_and_no_url() {
    let Some(bot) = Bot::new().await else { return };
    let store = PostgresStore::connect(bot.database.url()).await.unwrap();
    let shown = format!("{store:?}");
    assert!(
        shown.starts_with("PostgresStore { pool: Status { max_size: 8"),
        "{shown}"
    );
    assert!(!shown.contains("postgres:"), "{shown}");
    store.verify_schema().await.unwrap();
}
