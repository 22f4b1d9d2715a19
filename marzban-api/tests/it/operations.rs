//! Operations that take one request: what they send, and what they make of the response.

use chrono::{DateTime, Utc};
use marzban_api::model::{
    Admin, AdminUpdate, NewAdmin, NewUserTemplate, UsageRange, UserTemplate, UserTemplateUpdate,
};
use marzban_api::resource::{DeleteOutcome, ListAdmins};
use marzban_api::{Client, Error, ErrorKind};
use std::time::Duration;

use crate::wire::{Recorded, Reply, Wire, html, internal_error, json, one, raw, user_not_found};

const ADMIN: &str =
    r#"{"username":"ali","is_sudo":false,"telegram_id":42,"discord_webhook":null,"users_usage":2048}"#;

const TEMPLATE: &str = r#"{"name":"30d","data_limit":10737418240,"expire_duration":2592000,"username_prefix":"vip_",
    "username_suffix":null,"inbounds":{"vless":["VLESS TCP"]},"id":7}"#;

const USAGES: &str = r#"{"username":"alice","usages":[{"node_id":null,"node_name":"Master","used_traffic":123},
    {"node_id":1,"node_name":"DE","used_traffic":0}]}"#;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// Performs one operation against one answer; gives its outcome and the only request that it sends.
async fn perform<T>(reply: Reply, operation: impl AsyncFnOnce(Client) -> T) -> (T, Recorded) {
    let wire = Wire::script([reply]).await;
    let outcome = operation(wire.client()).await;
    let mut requests = wire.requests();
    assert_eq!(requests.len(), 1);
    (outcome, requests.remove(0))
}

#[track_caller]
fn sent(request: &Recorded, line: &str, body: &str) {
    assert_eq!((request.line.as_str(), request.body.as_str()), (line, body));
    let content_type = request.header("content-type");
    assert_eq!(content_type, (!body.is_empty()).then_some("application/json"));
}

fn detail(status: u16, text: &str) -> Reply {
    json(status, &format!(r#"{{"detail":"{text}"}}"#))
}

fn kind<T>(outcome: Result<T, Error>) -> ErrorKind {
    outcome.map(|_| ()).unwrap_err().kind()
}

fn admin(name: &str) -> Admin {
    serde_json::from_str(&ADMIN.replace("ali", name)).unwrap()
}

#[tokio::test]
async fn a_users_traffic_is_reset() {
    let (user, request) = perform(one("a@b"), async |client| client.users().reset_usage("a@b").await).await;
    assert_eq!(user.unwrap().username, "a@b");
    sent(&request, "POST /api/user/a%40b/reset", "");
}

#[tokio::test]
async fn a_users_subscription_is_revoked() {
    let (user, request) = perform(one("alice"), async |client| {
        client.users().revoke_subscription("alice").await
    })
    .await;
    assert_eq!(user.unwrap().username, "alice");
    sent(&request, "POST /api/user/alice/revoke_sub", "");
}

#[tokio::test]
async fn a_user_is_given_to_another_owner() {
    let (user, request) = perform(one("alice"), async |client| {
        client.users().set_owner("alice", "b&b").await
    })
    .await;
    assert_eq!(user.unwrap().username, "alice");
    sent(&request, "PUT /api/user/alice/set-owner?admin_username=b%26b", "");
}

#[tokio::test]
async fn the_traffic_of_all_users_is_reset() {
    let (outcome, request) = perform(detail(200, "Users successfully reset."), async |client| {
        client.users().reset_usage_of_all().await
    })
    .await;
    outcome.unwrap();
    sent(&request, "POST /api/users/reset", "");
}

#[tokio::test]
async fn a_users_usage_is_read_for_each_node() {
    let range = UsageRange::between(at("2025-01-01T03:30:00+03:30"), at("2025-02-01T00:00:00Z"));
    let (usages, request) = perform(json(200, USAGES), async |client| {
        client.users().usage("alice", range).await
    })
    .await;
    let usages: Vec<_> = usages
        .unwrap()
        .into_iter()
        .map(|usage| (usage.node_id, usage.node_name, usage.used_traffic))
        .collect();
    assert_eq!(
        usages,
        [(None, "Master".to_owned(), 123), (Some(1), "DE".to_owned(), 0)]
    );
    let line = "GET /api/user/alice/usage?start=2025-01-01T00%3A00%3A00Z&end=2025-02-01T00%3A00%3A00Z";
    sent(&request, line, "");
}

#[tokio::test]
async fn the_usage_of_all_users_is_read_for_some_owners() {
    let answer = r#"{"usages":[{"node_id":null,"node_name":"Master","used_traffic":5}]}"#;
    for (range, admins, line) in [
        (UsageRange::last_30_days(), &[][..], "GET /api/users/usage"),
        (
            UsageRange::since(at("2025-01-01T00:00:00Z")),
            &["ali", "b b"][..],
            "GET /api/users/usage?start=2025-01-01T00%3A00%3A00Z&admin=ali&admin=b+b",
        ),
    ] {
        let (usages, request) = perform(json(200, answer), async |client| {
            client.users().total_usage(range, admins).await
        })
        .await;
        assert_eq!(usages.unwrap()[0].used_traffic, 5);
        sent(&request, line, "");
    }
}

#[tokio::test]
async fn both_bounds_of_expired_users_are_sent_with_their_zone() {
    let range = || at("2024-12-31T20:30:00-03:30")..=at("2025-02-01T00:00:00Z");
    let query = "?expired_after=2025-01-01T00%3A00%3A00Z&expired_before=2025-02-01T00%3A00%3A00Z";
    let answer = r#"["alice","bob"]"#;
    let (names, request) = perform(json(200, answer), async |client| {
        client.users().expired(range()).await
    })
    .await;
    assert_eq!(names.unwrap(), ["alice", "bob"]);
    sent(&request, &format!("GET /api/users/expired{query}"), "");
    let (names, request) = perform(json(200, answer), async |client| {
        client.users().delete_expired(range()).await
    })
    .await;
    assert_eq!(names.unwrap(), ["alice", "bob"]);
    sent(&request, &format!("DELETE /api/users/expired{query}"), "");
}

#[tokio::test]
async fn no_user_that_expired_before_the_range_is_deleted_with_it() {
    // Whole seconds are sent: who ended at 00:00:00 is not within a range that begins a moment later.
    let range = at("2025-01-01T00:00:00.000001Z")..=at("2025-02-01T00:00:00.9Z");
    let (_, request) = perform(json(200, "[]"), async |client| {
        client.users().delete_expired(range).await
    })
    .await;
    let line = "DELETE /api/users/expired?expired_after=2025-01-01T00%3A00%3A01Z\
                &expired_before=2025-02-01T00%3A00%3A00Z";
    sent(&request, line, "");
}

#[tokio::test]
async fn no_users_to_delete_is_a_success_but_an_unknown_route_is_not() {
    let range = || at("2025-01-01T00:00:00Z")..=at("2025-02-01T00:00:00Z");
    let nobody = detail(404, "No expired users found in the specified date range");
    for (reply, expected) in [
        (nobody, Ok(0)),
        (detail(404, "Not Found"), Err(ErrorKind::NotFound)),
        (html(404), Err(ErrorKind::UnexpectedResponse)),
        (html(200), Err(ErrorKind::UnexpectedResponse)),
        (
            detail(400, "Start date must be before end date"),
            Err(ErrorKind::Rejected),
        ),
        (internal_error(), Err(ErrorKind::Indeterminate)),
    ] {
        let (outcome, _) = perform(reply, async |client| client.users().delete_expired(range()).await).await;
        assert_eq!(
            outcome.map(|names| names.len()).map_err(|error| error.kind()),
            expected
        );
    }
}

#[tokio::test]
async fn a_broken_change_that_is_not_verified_is_indeterminate() {
    for reply in [internal_error(), Reply::Close(Vec::new()), html(502)] {
        for outcome in [
            perform(reply.clone(), async |client| {
                kind(client.users().reset_usage("alice").await)
            })
            .await,
            perform(reply.clone(), async |client| {
                kind(client.users().revoke_subscription("alice").await)
            })
            .await,
            perform(reply.clone(), async |client| {
                kind(client.users().reset_usage_of_all().await)
            })
            .await,
            perform(reply.clone(), async |client| {
                kind(client.admins().create(&NewAdmin::new("ali", "pw")).await)
            })
            .await,
            perform(reply.clone(), async |client| {
                kind(client.admins().disable_users("ali").await)
            })
            .await,
            perform(reply.clone(), async |client| {
                kind(client.templates().create(&NewUserTemplate::new("30d")).await)
            })
            .await,
        ] {
            assert_eq!(outcome.0, ErrorKind::Indeterminate, "{}", outcome.1.line);
        }
    }
}

#[tokio::test]
async fn a_refusal_of_a_change_is_told_as_it_is() {
    for (reply, expected) in [
        (user_not_found(), ErrorKind::NotFound),
        (detail(403, "You're not allowed"), ErrorKind::Forbidden),
        (
            json(422, r#"{"detail":{"username":"Field required"}}"#),
            ErrorKind::Rejected,
        ),
        (html(403), ErrorKind::UnexpectedResponse),
        (html(200), ErrorKind::UnexpectedResponse),
    ] {
        let (kind, _) = perform(reply, async |client| {
            kind(client.users().reset_usage("alice").await)
        })
        .await;
        assert_eq!(kind, expected);
    }
}

#[tokio::test]
async fn admins_are_listed() {
    for (query, line) in [
        (ListAdmins::new(), "GET /api/admins"),
        (
            ListAdmins::new().offset(1).limit(2).username("a&b"),
            "GET /api/admins?offset=1&limit=2&username=a%26b",
        ),
    ] {
        let (admins, request) = perform(json(200, &format!("[{ADMIN}]")), async |client| {
            client.admins().list(&query).await
        })
        .await;
        assert_eq!(admins.unwrap(), [admin("ali")]);
        sent(&request, line, "");
    }
}

#[tokio::test]
async fn an_admin_is_created() {
    let plain = NewAdmin::new("ali", "p\"w");
    let full = NewAdmin::new("ali", "pw")
        .sudo()
        .telegram_id(42)
        .discord_webhook("https://discord.com/x");
    for (new, body) in [
        (plain, r#"{"username":"ali","password":"p\"w","is_sudo":false}"#),
        (
            full,
            r#"{"username":"ali","password":"pw","is_sudo":true,"telegram_id":42,"discord_webhook":"https://discord.com/x"}"#,
        ),
    ] {
        let (made, request) = perform(json(200, ADMIN), async |client| {
            client.admins().create(&new).await
        })
        .await;
        assert_eq!(made.unwrap(), admin("ali"));
        sent(&request, "POST /api/admin", body);
        assert!(!format!("{new:?}").contains("pw"));
    }
    let (outcome, _) = perform(detail(409, "Admin already exists"), async |client| {
        kind(client.admins().create(&NewAdmin::new("ali", "pw")).await)
    })
    .await;
    assert_eq!(outcome, ErrorKind::Conflict);
}

#[tokio::test]
async fn an_update_of_an_admin_always_sends_its_sudo_rights() {
    let change = || AdminUpdate::for_admin(&admin("a b"));
    for (change, body) in [
        (change(), r#"{"is_sudo":false}"#),
        (change().promote(), r#"{"is_sudo":true}"#),
        (
            change()
                .password("pw")
                .telegram_id(7)
                .discord_webhook("https://discord.com/x"),
            r#"{"password":"pw","is_sudo":false,"telegram_id":7,"discord_webhook":"https://discord.com/x"}"#,
        ),
    ] {
        let (changed, request) = perform(json(200, ADMIN), async |client| {
            client.admins().update(&change).await
        })
        .await;
        assert_eq!(changed.unwrap(), admin("ali"));
        sent(&request, "PUT /api/admin/a%20b", body);
        assert!(!format!("{change:?}").contains("pw"));
    }
}

#[tokio::test]
async fn an_admin_is_deleted_once() {
    for (reply, expected) in [
        (
            detail(200, "Admin removed successfully"),
            Ok(DeleteOutcome::Deleted),
        ),
        (detail(404, "Admin not found"), Ok(DeleteOutcome::NotFound)),
        (detail(404, "Not Found"), Err(ErrorKind::NotFound)),
        (html(404), Err(ErrorKind::UnexpectedResponse)),
    ] {
        let (outcome, request) = perform(reply, async |client| client.admins().delete("ali").await).await;
        assert_eq!(outcome.map_err(|error| error.kind()), expected);
        sent(&request, "DELETE /api/admin/ali", "");
    }
}

#[tokio::test]
async fn an_ambiguous_deletion_of_an_admin_is_verified() {
    for (reply, expected) in [
        (detail(404, "Admin not found"), Ok(DeleteOutcome::Deleted)),
        (json(200, "0"), Err(ErrorKind::Server)),
        (html(404), Err(ErrorKind::Indeterminate)),
    ] {
        let wire = Wire::script([internal_error(), reply]).await;
        let outcome = wire.client().admins().delete("ali").await;
        assert_eq!(outcome.map_err(|error| error.kind()), expected);
        assert_eq!(
            wire.lines(),
            ["DELETE /api/admin/ali", "GET /api/admin/usage/ali"]
        );
    }
}

#[tokio::test]
async fn the_users_of_an_admin_are_disabled_and_activated() {
    let (outcome, request) = perform(detail(200, "Users successfully disabled"), async |client| {
        client.admins().disable_users("ali").await
    })
    .await;
    outcome.unwrap();
    sent(&request, "POST /api/admin/ali/users/disable", "");
    let (outcome, request) = perform(detail(200, "Users successfully activated"), async |client| {
        client.admins().activate_users("ali").await
    })
    .await;
    outcome.unwrap();
    sent(&request, "POST /api/admin/ali/users/activate", "");
}

#[tokio::test]
async fn the_usage_of_an_admin_is_read_and_reset() {
    let (usage, request) = perform(json(200, "9007199254740993"), async |client| {
        client.admins().usage("ali").await
    })
    .await;
    assert_eq!(usage.unwrap(), 9_007_199_254_740_993);
    sent(&request, "GET /api/admin/usage/ali", "");
    let (reset, request) = perform(json(200, ADMIN), async |client| {
        client.admins().reset_usage("ali").await
    })
    .await;
    assert_eq!(reset.unwrap().users_usage, Some(2048));
    sent(&request, "POST /api/admin/usage/reset/ali", "");
}

fn check_template(template: &UserTemplate) {
    assert_eq!((template.id, template.name.as_deref()), (7, Some("30d")));
    assert_eq!(
        (template.data_limit, template.expire_duration),
        (Some(10_737_418_240), Some(2_592_000))
    );
    assert_eq!(
        (
            template.username_prefix.as_deref(),
            template.username_suffix.as_deref()
        ),
        (Some("vip_"), None)
    );
    assert_eq!(template.inbounds["vless"], ["VLESS TCP"]);
}

#[tokio::test]
async fn templates_are_read() {
    let minimal = r#"{"name":"minimal","data_limit":0,"expire_duration":0,"username_prefix":null,"inbounds":{},"id":2}"#;
    let list = json(200, &format!("[{TEMPLATE},{minimal}]"));
    let (templates, request) = perform(list.clone(), async |client| client.templates().list().await).await;
    let templates = templates.unwrap();
    check_template(&templates[0]);
    assert_eq!(
        (templates[1].data_limit, templates[1].expire_duration),
        (None, None)
    );
    sent(&request, "GET /api/user_template", "");
    let (page, request) = perform(list, async |client| client.templates().page(1, 2).await).await;
    assert_eq!(page.unwrap(), templates);
    sent(&request, "GET /api/user_template?offset=1&limit=2", "");
    let (template, request) = perform(json(200, TEMPLATE), async |client| {
        client.templates().get(7).await
    })
    .await;
    check_template(&template.unwrap());
    sent(&request, "GET /api/user_template/7", "");
}

#[tokio::test]
async fn a_template_is_created_and_updated() {
    let new = NewUserTemplate::new("30d")
        .data_limit(marzban_api::model::DataLimit::from_bytes(10_737_418_240))
        .expire_duration(Duration::from_hours(720))
        .username_prefix("vip_")
        .username_suffix("_x")
        .inbounds("vless", ["VLESS TCP"]);
    let (made, request) = perform(json(200, TEMPLATE), async |client| {
        client.templates().create(&new).await
    })
    .await;
    check_template(&made.unwrap());
    let body = r#"{"name":"30d","data_limit":10737418240,"expire_duration":2592000,"username_prefix":"vip_","username_suffix":"_x","inbounds":{"vless":["VLESS TCP"]}}"#;
    sent(&request, "POST /api/user_template", body);

    let change = UserTemplateUpdate::new()
        .name("60d")
        .data_limit(marzban_api::model::DataLimit::Unlimited);
    for (change, body) in [
        (change, r#"{"name":"60d","data_limit":0}"#),
        (UserTemplateUpdate::new(), "{}"),
    ] {
        let (changed, request) = perform(json(200, TEMPLATE), async |client| {
            client.templates().update(7, &change).await
        })
        .await;
        check_template(&changed.unwrap());
        sent(&request, "PUT /api/user_template/7", body);
    }
}

#[tokio::test]
async fn a_template_is_deleted_once_and_an_ambiguous_response_is_verified() {
    let absent = || detail(404, "User Template not found");
    let there = || json(200, TEMPLATE);
    for (replies, expected, methods) in [
        (vec![json(200, "null")], Ok(DeleteOutcome::Deleted), "DELETE"),
        (vec![absent()], Ok(DeleteOutcome::NotFound), "DELETE"),
        (vec![html(200)], Err(ErrorKind::UnexpectedResponse), "DELETE"),
        (vec![detail(404, "Not Found")], Err(ErrorKind::NotFound), "DELETE"),
        (
            vec![internal_error(), absent()],
            Ok(DeleteOutcome::Deleted),
            "DELETE GET",
        ),
        (
            vec![internal_error(), there()],
            Err(ErrorKind::Server),
            "DELETE GET",
        ),
        (
            vec![internal_error(), html(404)],
            Err(ErrorKind::Indeterminate),
            "DELETE GET",
        ),
    ] {
        let wire = Wire::script(replies).await;
        let outcome = wire.client().templates().delete(7).await;
        assert_eq!(outcome.map_err(|error| error.kind()), expected);
        let sent: Vec<_> = wire
            .lines()
            .iter()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(sent.join(" "), methods);
    }
}

#[tokio::test]
async fn a_change_after_429_is_sent_again_with_its_body() {
    let busy = Reply::Keep(raw(429, "", ""));
    let wire = Wire::script([busy, json(200, ADMIN)]).await;
    let made = wire.client().admins().create(&NewAdmin::new("ali", "pw")).await;
    assert_eq!(made.unwrap(), admin("ali"));
    let bodies: Vec<_> = wire.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(
        bodies,
        [r#"{"username":"ali","password":"pw","is_sudo":false}"#; 2]
    );
}
