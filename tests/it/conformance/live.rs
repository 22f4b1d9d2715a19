//! The laws of every panel, for `MarzbanPanel` over a real one that the environment names, as far as they can be checked
//! without spoiling anything.
//!
//! `MARZBAN_LIVE_URL`, `MARZBAN_LIVE_USERNAME` and `MARZBAN_LIVE_PASSWORD` are those of an administrator. Users are made
//! under names of their own and removed, whether the laws hold or not.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use marzban_api::model::{
    DataLimit, Expiry, NewNextPlan, NewUser, Note, OnHold, Proxies, Shadowsocks, Timestamp, Trojan,
    UserUpdate, Username, Vless, Vmess,
};
use marzban_api::{Client, ErrorKind};
use marzban_sync_core::observation::{PanelStatus, PanelUser};
use marzban_sync_core::panel::{MarzbanPanel, Panel};
use marzban_sync_core::testing::conformance::panel::{Ability, Fault, Fixture, LAWS, Outcome};

use super::fake::{Fake, rest};

/// A panel that is reached by its own API alone.
#[derive(Clone)]
struct Live {
    client: Client,
    prefix: String,
    made: Arc<Mutex<Vec<String>>>,
}

impl Live {
    fn new(client: Client) -> Self {
        Self {
            client,
            prefix: format!("law_{:08x}_", fastrand::u32(..)),
            made: Arc::default(),
        }
    }

    /// Settings for a protocol that some inbound of the panel serves.
    async fn proxies(&self) -> Proxies {
        let inbounds = self.client.system().inbounds().await.unwrap();
        inbounds
            .keys()
            .fold(Proxies::default(), |proxies, protocol| match protocol.as_str() {
                "vmess" => proxies.with(Vmess::default()),
                "vless" => proxies.with(Vless::default()),
                "trojan" => proxies.with(Trojan::default()),
                "shadowsocks" => proxies.with(Shadowsocks::default()),
                _ => proxies,
            })
    }
}

#[async_trait]
impl Fixture for Live {
    fn panel(&self) -> Arc<dyn Panel> {
        Arc::new(MarzbanPanel::new(self.client.clone()))
    }

    fn can(&self, ability: Ability) -> bool {
        ability == Ability::Furniture
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn put(&self, name: &str, user: &PanelUser) {
        self.made.lock().unwrap().push(name.to_owned());
        let new = NewUser::new(Username::new(name).unwrap(), self.proxies().await);
        let new = match (&user.status, user.expire) {
            (PanelStatus::OnHold, _) => new.on_hold(OnHold::new(Duration::from_hours(24)).unwrap()),
            (_, Some(expire)) => new.expire(Expiry::At(Timestamp::try_from(expire).unwrap())),
            (_, None) => new,
        };
        self.client.users().create(&new).await.unwrap();
    }

    async fn furnish(&self, name: &str) {
        let plan = NewNextPlan {
            expire: Expiry::At(Timestamp::from_timestamp(4_200_000_000).unwrap()),
            ..NewNextPlan::new(DataLimit::from_bytes(5 << 30))
        };
        let user = self.client.users().get(name).await.unwrap();
        let change = UserUpdate::for_user(&user)
            .note(Note::new("paid in cash").unwrap())
            .data_limit(DataLimit::from_bytes(1 << 50))
            .next_plan(plan);
        self.client.users().update(&change).await.unwrap();
    }

    async fn rest(&self, name: &str) -> String {
        rest(&self.client, name).await
    }

    async fn has(&self, name: &str) -> bool {
        match self.client.users().get(name).await {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    async fn remove(&self, name: &str) {
        self.client.users().delete(name).await.unwrap();
    }

    async fn set_clock(&self, _: DateTime<Utc>) {
        panic!("the clock of a real panel is its own");
    }

    async fn plant(&self, fault: Fault<'_>) {
        panic!("nothing of a real panel is spoilt: {fault:?}");
    }

    async fn clean_up(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        for name in made {
            self.remove(&name).await;
        }
    }
}

/// Checks the laws, and removes what was made for them even when one is broken.
async fn check(live: Live) {
    let laws = live.clone();
    let checked = tokio::spawn(async move {
        let mut passed = 0;
        for law in LAWS {
            passed += usize::from(law.check(&laws).await == Outcome::Passed);
        }
        passed
    })
    .await;
    live.clean_up().await;
    let possible = LAWS
        .iter()
        .filter(|law| law.needs.iter().all(|need| live.can(*need)));
    assert_eq!(checked.unwrap(), possible.count());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_panel_passes_the_laws_of_a_real_one() {
    let fake = Fake::start().await;
    check(Live::new(fake.client())).await;
    assert_eq!(fake.panel.state().users.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_panel_passes_the_laws() {
    let names = ["URL", "USERNAME", "PASSWORD"].map(|name| format!("MARZBAN_LIVE_{name}"));
    let [Some(url), Some(username), Some(password)] = names.each_ref().map(|name| variable(name)) else {
        let words = format!(
            "\nskipped: no real panel was asked, for that set {}\n",
            names.join(", ")
        );
        return std::io::stderr().write_all(words.as_bytes()).unwrap();
    };
    let client = Client::builder(&url).credentials(username, password).build();
    check(Live::new(client.unwrap())).await;
}

/// A variable of the environment that says something.
#[expect(
    clippy::disallowed_methods,
    reason = "a panel to test against can be named in no other way"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
