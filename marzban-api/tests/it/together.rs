//! The client with a fake panel that behaves like the real one.

use std::time::Duration;

use futures_util::TryStreamExt;
use marzban_api::Client;
use marzban_api::model::UserStatus;
use marzban_api::resource::{DeleteOutcome, ListUsers, UserEntry};
use marzban_api::testing::{FakePanel, FakeUser};

use crate::wire;

fn client(panel: &FakePanel) -> Client {
    wire::builder(&panel.url())
        .credentials("admin", "admin")
        .build()
        .unwrap()
}

async fn names(client: &Client, query: ListUsers) -> Vec<Option<String>> {
    let listed: Vec<UserEntry> = client.users().stream(query).try_collect().await.unwrap();
    listed
        .iter()
        .map(|listed| listed.username().map(ToOwned::to_owned))
        .collect()
}

#[tokio::test]
async fn a_thousand_users_by_name_are_ten_requests() {
    let panel = FakePanel::start().await;
    panel.populate(1000);
    let client = client(&panel);
    let all: Vec<String> = names(&client, ListUsers::new())
        .await
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(all.len(), 1000);
    panel.clear_requests();
    let result = client.users().get_many(&all).await.unwrap();
    assert_eq!(
        (result.found.len(), result.failed.len(), result.missing.len()),
        (1000, 0, 0)
    );
    assert_eq!(panel.count("GET", "/api/users"), 10);
}

#[tokio::test]
async fn an_unrenderable_user_is_isolated_by_name_and_by_stream() {
    let panel = FakePanel::start().await;
    for number in 0..40 {
        panel.insert_user(FakeUser::new(format!("user_{number:02}")));
    }
    panel.insert_user(FakeUser::new("user_40").poison());
    let client = client(&panel);
    let asked: Vec<_> = (0..41).map(|number| format!("user_{number:02}")).collect();
    let result = client.users().get_many(&asked).await.unwrap();
    assert_eq!((result.found.len(), result.missing.len()), (40, 0));
    assert_eq!(result.failed.keys().collect::<Vec<_>>(), ["user_40"]);
    let streamed = names(&client, ListUsers::new().limit(16)).await;
    assert_eq!((streamed.len(), streamed.iter().flatten().count()), (41, 40));
}

#[tokio::test]
async fn deletions_of_users_with_and_without_owner_succeed() {
    let panel = FakePanel::start().await;
    panel.insert_user(FakeUser::new("ownerless").owner(None));
    panel.insert_user(FakeUser::new("a@b"));
    let client = client(&panel);
    for name in ["ownerless", "a@b"] {
        assert_eq!(
            client.users().delete(name).await.unwrap(),
            DeleteOutcome::Deleted,
            "{name}"
        );
        assert_eq!(
            client.users().delete(name).await.unwrap(),
            DeleteOutcome::NotFound,
            "{name}"
        );
        assert!(panel.user(name).is_none());
    }
}

#[tokio::test]
async fn revoked_and_ended_tokens_are_replaced() {
    let panel = FakePanel::builder()
        .token_lifetime(Some(Duration::from_hours(1)))
        .start()
        .await
        .unwrap();
    panel.insert_user(FakeUser::new("alice"));
    let client = client(&panel);
    assert_eq!(
        client.users().get("alice").await.unwrap().status,
        UserStatus::Active
    );
    panel.revoke_tokens();
    client.users().get("alice").await.unwrap();
    panel.advance(Duration::from_hours(2));
    client.users().get("alice").await.unwrap();
    assert_eq!(panel.count("POST", "/api/admin/token"), 3);
    assert!(
        client
            .users()
            .get("nobody")
            .await
            .unwrap_err()
            .is_user_not_found()
    );
    assert!(client.admins().current().await.unwrap().is_sudo);
    assert_eq!(client.system().stats().await.unwrap().total_user, 1);
}
