//! All users, page by page.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures_util::TryStreamExt;
use marzban_api::ErrorKind;
use marzban_api::resource::{ListUsers, UserEntry};

use crate::pages::{numbered, panel, window};
use crate::wire::{Wire, granted, html, user, users};

#[tokio::test]
async fn a_stream_reads_every_page_in_a_fixed_order() {
    let wire = panel(numbered(7), &[]).await;
    let listed: Vec<UserEntry> = wire
        .client()
        .users()
        .stream(ListUsers::new().limit(3))
        .try_collect()
        .await
        .unwrap();
    let names: Vec<_> = listed.iter().filter_map(UserEntry::username).collect();
    assert_eq!(names, numbered(7));
    let order = "&sort=created_at%2Cusername";
    assert_eq!(
        wire.lines(),
        [0, 2, 4].map(|offset| format!("GET /api/users?offset={offset}&limit=3{order}"))
    );
}

#[tokio::test]
async fn a_user_deleted_during_a_stream_hides_no_other() {
    // After the first page its first user disappears, and the rest moves up.
    let state = Mutex::new(numbered(7));
    let wire = Wire::answering(move |request| {
        if request.is_login() {
            return granted("token");
        }
        let names = &mut *state.lock().unwrap();
        let all: Vec<_> = names.iter().collect();
        let page: Vec<_> = window(request, &all).into_iter().map(|name| user(name)).collect();
        let reply = users(&page, names.len());
        if names.len() == 7 {
            names.remove(0);
        }
        reply
    })
    .await;
    let listed: Vec<UserEntry> = wire
        .client()
        .users()
        .stream(ListUsers::new().limit(3))
        .try_collect()
        .await
        .unwrap();
    let names: Vec<_> = listed.iter().filter_map(UserEntry::username).collect();
    assert_eq!(names, numbered(7));
}

#[tokio::test]
async fn a_stream_skips_an_unrenderable_user() {
    let wire = panel(numbered(150), &["user_0123"]).await;
    let listed: Vec<UserEntry> = wire
        .client()
        .users()
        .stream(ListUsers::new())
        .try_collect()
        .await
        .unwrap();
    let found: BTreeSet<_> = listed.iter().filter_map(UserEntry::username).collect();
    let unreadable: Vec<_> = listed
        .iter()
        .filter(|listed| matches!(listed, UserEntry::Unreadable(_)))
        .collect();
    assert_eq!(
        (found.len(), found.contains("user_0123"), unreadable.len()),
        (149, false, 1)
    );
}

#[tokio::test]
async fn a_stream_that_fails_ends() {
    let wire = Wire::script([users(&[user("alice")], 2), html(200)]).await;
    let stream = wire.client().users().stream(ListUsers::new().limit(2));
    let mut stream = std::pin::pin!(stream);
    assert_eq!(
        stream.try_next().await.unwrap().unwrap().username(),
        Some("alice")
    );
    assert_eq!(
        stream.try_next().await.unwrap_err().kind(),
        ErrorKind::UnexpectedResponse
    );
    assert!(stream.try_next().await.unwrap().is_none());
}
