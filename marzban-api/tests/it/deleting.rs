//! Deletions: their outcome must be true.

use marzban_api::ErrorKind;
use marzban_api::resource::DeleteOutcome;

use crate::wire::{Reply, Wire, granted, html, internal_error, json, one, raw, user_not_found};

fn deleted() -> Reply {
    json(200, r#"{"detail":"User successfully deleted"}"#)
}

/// What becomes of a deletion, and the requests that it takes.
async fn delete(replies: impl IntoIterator<Item = Reply>) -> (Result<DeleteOutcome, ErrorKind>, Vec<String>) {
    let wire = Wire::script(replies).await;
    let outcome = wire
        .client()
        .users()
        .delete("alice")
        .await
        .map_err(|error| error.kind());
    let methods = wire
        .lines()
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    (outcome, methods)
}

type Case = (
    &'static str,
    Vec<Reply>,
    Result<DeleteOutcome, ErrorKind>,
    &'static str,
);

async fn check(cases: impl IntoIterator<Item = Case>) {
    for (name, replies, outcome, methods) in cases {
        let (actual, requests) = delete(replies).await;
        assert_eq!(actual, outcome, "{name}");
        assert_eq!(requests.join(" "), methods, "{name}");
    }
}

#[tokio::test]
async fn a_definite_response_to_a_deletion_is_final() {
    let refusal = |status, detail: &str| vec![json(status, &format!(r#"{{"detail":"{detail}"}}"#))];
    let busy = Reply::Keep(raw(429, "", ""));
    check([
        ("confirmed", vec![deleted()], Ok(DeleteOutcome::Deleted), "DELETE"),
        (
            "another panel's way",
            vec![json(200, "{}")],
            Ok(DeleteOutcome::Deleted),
            "DELETE",
        ),
        (
            "nothing to say",
            vec![Reply::Keep(raw(204, "", ""))],
            Ok(DeleteOutcome::Deleted),
            "DELETE",
        ),
        (
            "gone",
            vec![user_not_found()],
            Ok(DeleteOutcome::NotFound),
            "DELETE",
        ),
        (
            "unknown route",
            refusal(404, "Not Found"),
            Err(ErrorKind::NotFound),
            "DELETE",
        ),
        (
            "a proxy's 404",
            vec![html(404)],
            Err(ErrorKind::UnexpectedResponse),
            "DELETE",
        ),
        (
            "a proxy's 200",
            vec![html(200)],
            Err(ErrorKind::UnexpectedResponse),
            "DELETE",
        ),
        (
            "not ours",
            refusal(403, "You're not allowed"),
            Err(ErrorKind::Forbidden),
            "DELETE",
        ),
        (
            "429 then done",
            vec![busy, deleted()],
            Ok(DeleteOutcome::Deleted),
            "DELETE DELETE",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_success_that_cannot_be_decoded_is_verified() {
    for success in ["true", "[1]", r#"{"detail":"deleted"#] {
        let odd = || json(200, success);
        check([
            (
                "done",
                vec![odd(), user_not_found()],
                Ok(DeleteOutcome::Deleted),
                "DELETE GET",
            ),
            (
                "not yet",
                vec![odd(), one("alice")],
                Err(ErrorKind::Indeterminate),
                "DELETE GET",
            ),
        ])
        .await;
    }
}

#[tokio::test]
async fn a_proxys_500_does_not_say_that_the_panel_is_done() {
    check([
        (
            "done",
            vec![html(500), user_not_found()],
            Ok(DeleteOutcome::Deleted),
            "DELETE GET",
        ),
        (
            "not yet",
            vec![html(500), one("alice")],
            Err(ErrorKind::Indeterminate),
            "DELETE GET",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_500_after_a_deletion_is_verified() {
    let (gone, there) = (user_not_found, || one("alice"));
    let failed = internal_error;
    check([
        (
            "though deleted",
            vec![failed(), gone()],
            Ok(DeleteOutcome::Deleted),
            "DELETE GET",
        ),
        (
            "still there",
            vec![failed(), there()],
            Err(ErrorKind::Server),
            "DELETE GET",
        ),
        (
            "not ours to see",
            vec![failed(), html(403)],
            Err(ErrorKind::Indeterminate),
            "DELETE GET",
        ),
        (
            "for ever",
            vec![failed(); 4],
            Err(ErrorKind::Indeterminate),
            "DELETE GET GET GET",
        ),
        (
            "of a proxy",
            vec![html(502), gone()],
            Ok(DeleteOutcome::Deleted),
            "DELETE GET",
        ),
        (
            "of a proxy, behind which the panel may still be at work",
            vec![html(502), there()],
            Err(ErrorKind::Indeterminate),
            "DELETE GET",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_connection_dropped_after_a_deletion_is_verified() {
    let dropped = || Reply::Close(Vec::new());
    check([
        (
            "though deleted",
            vec![dropped(), user_not_found()],
            Ok(DeleteOutcome::Deleted),
            "DELETE GET",
        ),
        (
            "still there, and perhaps not for long",
            vec![dropped(), one("alice")],
            Err(ErrorKind::Indeterminate),
            "DELETE GET",
        ),
        (
            "for ever",
            vec![dropped(); 4],
            Err(ErrorKind::Indeterminate),
            "DELETE GET GET GET",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_failed_deletion_has_its_own_failure_as_the_source() {
    let wire = Wire::script([internal_error(), one("alice")]).await;
    let error = wire.client().users().delete("alice").await.unwrap_err();
    assert_eq!(
        (error.operation(), error.status(), error.attempts()),
        ("users.delete", Some(500), 1)
    );
    assert!(
        error
            .to_string()
            .starts_with("users.delete: the deletion failed and nothing was deleted (DELETE")
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.starts_with("users.delete: the server failed (DELETE /api/user/{username}, status 500"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_change_never_meets_a_kept_connection() {
    let wire = Wire::script([one("alice"), deleted(), one("bobby"), deleted()]).await;
    let client = wire.client();
    for name in ["alice", "bobby"] {
        client.users().get(name).await.unwrap();
        assert_eq!(client.users().delete(name).await.unwrap(), DeleteOutcome::Deleted);
    }
    let connections: Vec<_> = wire.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections[0], connections[2]);
    assert!(
        connections[1] != connections[0] && connections[3] != connections[1],
        "{connections:?}"
    );
}

#[tokio::test]
async fn a_deletion_is_repeated_after_a_refused_token() {
    let wire = Wire::with_logins(
        |login| granted(&format!("token-{login}")),
        [
            json(401, r#"{"detail":"Could not validate credentials"}"#),
            deleted(),
        ],
    )
    .await;
    assert_eq!(
        wire.client().users().delete("a@b").await.unwrap(),
        DeleteOutcome::Deleted
    );
    assert_eq!(wire.lines(), ["DELETE /api/user/a%40b"; 2]);
}

#[tokio::test]
async fn a_deletion_whose_login_fails_did_not_happen() {
    let wire = Wire::with_logins(|_| internal_error(), []).await;
    let error = wire.client().users().delete("alice").await.unwrap_err();
    assert_eq!(
        (error.operation(), error.kind()),
        ("admins.token", ErrorKind::Server)
    );
    assert_eq!((wire.logins().len(), wire.requests().len()), (3, 0));
}
