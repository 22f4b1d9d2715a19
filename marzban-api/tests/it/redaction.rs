//! No text of any public type contains a secret.

use std::fmt::Debug;

use marzban_api::model::{
    AdminUpdate, NewAdmin, NewUser, Proxies, SystemStats, User, UserUpdate, Username, Vless,
};
use marzban_api::resource::{DeleteOutcome, ListUsers, UserSort, UserSortField};
use marzban_api::{Error, RetryPolicy, SecretString, Throttle, Timeouts};

use crate::wire::{Reply, Wire, builder, granted, json, system};

/// Every secret of these tests contains it.
const MARK: &str = "s3cr3t";

const USER: &str = r#"{"username":"alice","status":"active","used_traffic":0,
    "proxies":{"trojan":{"password":"s3cr3t-proxy"}},"links":["trojan://s3cr3t-link"],
    "subscription_url":"https://panel/sub/s3cr3t-url",
    "admin":{"username":"bob","is_sudo":false,"discord_webhook":"https://discord/s3cr3t-hook"}}"#;

#[track_caller]
fn clean(what: &str, value: impl Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!text.contains(MARK), "{what}: {text}");
        assert!(!text.is_empty(), "{what}");
    }
}

#[track_caller]
fn clean_error(error: &Error) {
    clean("Error", error);
    let mut link: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = link {
        assert!(!error.to_string().contains(MARK), "{error}");
        link = error.source();
    }
}

#[tokio::test]
async fn the_public_types_show_no_secret() {
    let page = format!(
        r#"{{"users":[{USER},{{"username":"broken","status":"s3cr3t","used_traffic":"s3cr3t"}}],"total":2}}"#
    );
    let replies = [json(200, USER), json(200, &page), json(200, &page), system()];
    let wire = Wire::with_logins(|_| granted("s3cr3t-token"), replies).await;
    let settings = builder(&wire.url)
        .credentials("admin", SecretString::from("s3cr3t-password"))
        .root_certificate_pem(b"");
    clean(
        "ClientBuilder with a secret URL",
        builder("https://admin:s3cr3t@panel.example/s3cr3t"),
    );
    clean(
        "ClientBuilder with a proxy",
        builder("https://panel.example").proxy("http://bot:s3cr3t@proxy.example"),
    );
    clean("ClientBuilder", &settings);
    let client = builder(&wire.url)
        .credentials("admin", SecretString::from("s3cr3t-password"))
        .build()
        .unwrap();

    clean("User", client.users().get("alice").await.unwrap());
    let page = client.users().list(&ListUsers::new()).await.unwrap();
    clean("UsersPage", &page);
    clean_error(&page.unreadable[0].error);
    clean(
        "BatchGet",
        client.users().get_many(&["alice", "broken"]).await.unwrap(),
    );
    let stats: SystemStats = client.system().stats().await.unwrap();
    clean("SystemStats", stats);

    clean("Client", &client);
    clean("Users", client.users());
    clean("System", client.system());
    clean("Admins", client.admins());
    clean("DeleteOutcome", DeleteOutcome::Deleted);
    clean(
        "ListUsers",
        ListUsers::new().sort([UserSort::ascending(UserSortField::Expire)]),
    );
    clean("Throttle", Throttle::default());
    clean("RetryPolicy", RetryPolicy::default());
    clean("Timeouts", Timeouts::default());
}

#[test]
fn what_is_to_be_written_shows_no_secret() {
    let user: User = serde_json::from_str(USER).unwrap();
    let name = Username::new("alice").unwrap();
    let secret = Vless {
        id: Some(MARK.to_owned()),
        flow: None,
    };
    clean("NewUser", NewUser::new(name, user.proxies.clone()));
    clean("UserUpdate", UserUpdate::for_user(&user).proxy(secret.clone()));
    clean("Proxies", Proxies::new(secret));
    clean("Proxy", user.proxies.get("trojan").unwrap());
    clean("NewAdmin", NewAdmin::new("bob", MARK).discord_webhook(MARK));
    clean(
        "AdminUpdate",
        AdminUpdate::for_admin(&user.admin.unwrap())
            .password(MARK)
            .discord_webhook(MARK),
    );
}

#[tokio::test]
async fn errors_show_no_secret_of_the_wire() {
    let html = "<html>s3cr3t</html>";
    for reply in [
        json(
            200,
            r#"{"username":"s3cr3t","status":"active","used_traffic":"s3cr3t"}"#,
        ),
        json(
            200,
            r#"{"username":"a","status":"active","used_traffic":0,"expire":"s3cr3t"}"#,
        ),
        json(
            200,
            r#"{"username":"a","status":"active","used_traffic":0,"links":"s3cr3t"}"#,
        ),
        json(200, r#""s3cr3t""#),
        json(500, r#"{"trace":"s3cr3t"}"#),
        json(404, html),
        Reply::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\ns3cr3t".to_vec()),
        Reply::Close(b"s3cr3t\r\n\r\n".to_vec()),
    ] {
        let wire = Wire::with_logins(|_| granted("s3cr3t-token"), vec![reply; 3]).await;
        clean_error(&wire.client().users().get("s3cr3t-name").await.unwrap_err());
    }
    for login in [
        json(200, r#"{"access_token":["s3cr3t"]}"#),
        granted("s3cr3t\\n"),
        json(200, html),
    ] {
        let wire = Wire::with_logins(move |_| login.clone(), []).await;
        clean_error(&wire.client().system().stats().await.unwrap_err());
    }
    let nowhere = builder("http://127.0.0.1:1/s3cr3t").build().unwrap();
    clean_error(&nowhere.users().get("s3cr3t-name").await.unwrap_err());
    let proxied = builder("http://panel.example")
        .proxy("http://bot:s3cr3t@127.0.0.1:1")
        .build()
        .unwrap();
    clean_error(&proxied.system().stats().await.unwrap_err());
}

#[test]
fn an_error_is_small_and_travels_between_threads() {
    fn travels<T: Send + Sync + Clone + std::error::Error + 'static>() -> usize {
        size_of::<T>()
    }
    assert!(travels::<Error>() <= 16);
}
