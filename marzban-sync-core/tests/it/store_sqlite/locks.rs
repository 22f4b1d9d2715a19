//! The lock of a run, on a file beside the database.

use marzban_sync_core::error::StoreErrorKind;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{Journal, SqliteStore};

use super::bot::Sqlite;

#[tokio::test]
async fn two_handles_on_one_file_share_the_lock_however_it_is_spelled() {
    let sqlite = Sqlite::fresh().await;
    let spelled = sqlite.folder.path().join(".").join("bot.db");
    let other = SqliteStore::connect(spelled.to_str().unwrap()).await.unwrap();
    let job = Job::SyncUserStatusFromMarzban;
    let mut held = sqlite.store.lock(job, "Main/1").await.unwrap();
    let error = other.lock(job, "Main/1").await.err().unwrap();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyRunning);
    assert_eq!(
        error.to_string(),
        "another run of sync_user_status_from_marzban for the panel \"Main/1\" is under way"
    );
    let file = sqlite
        .folder
        .path()
        .join("bot.db.sync_user_status_from_marzban.%4dain%2f1.lock");
    assert!(file.exists());
    held.verify().await.unwrap();
    drop(held);
    other.lock(job, "Main/1").await.unwrap().release().await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_lock_whose_file_was_removed_or_replaced_is_lost() {
    let sqlite = Sqlite::fresh().await;
    let job = Job::CleanupExpiredMarzbanUsers;
    let file = sqlite
        .folder
        .path()
        .join("bot.db.cleanup_expired_marzban_users.main.lock");
    let mut held = sqlite.store.lock(job, "main").await.unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(held.verify().await.unwrap_err().kind(), StoreErrorKind::LockLost);
    let _other = sqlite.store.lock(job, "main").await.unwrap();
    assert_eq!(held.verify().await.unwrap_err().kind(), StoreErrorKind::LockLost);
}
