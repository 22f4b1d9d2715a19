//! The token: requested when it is first needed, shared by all clones, replaced before it expires or when it is
//! rejected.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::telemetry::instrumented;
use super::transport::{Transport, wall_clock};
use crate::error::{Error, ErrorKind};
use crate::request::Request;

const TOKEN_PATH: &str = "/api/admin/token";

/// How long before its expiry a token is replaced; at most a tenth of its lifetime.
const REFRESH_BEFORE_EXPIRY: Duration = Duration::from_mins(1);

/// Tokens carry their time of issue in whole seconds, and the panel rejects those older than the last password
/// change. So a login in the second of the change yields a dead token.
const SAME_SECOND: Duration = Duration::from_secs(1);

/// The credentials and the latest token.
pub(crate) struct Auth {
    username: String,
    password: SecretString,
    /// How many logins have ended, successfully or not.
    logins: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    failure: Option<Error>,
}

/// A bearer token, and when to replace it.
pub(crate) struct Token {
    bearer: HeaderValue,
    login: u64,
    made: Instant,
    replace_at: Option<Instant>,
}

impl Auth {
    pub(crate) fn new(username: String, password: SecretString) -> Self {
        Self {
            username,
            password,
            logins: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Returns a token that is neither about to expire nor the `refused` one, logging in if necessary.
    ///
    /// Callers that arrive during a login wait for it and share its outcome, failures included, so that twenty
    /// requests with a wrong password cause one rejected login.
    pub(crate) async fn token(
        &self,
        transport: &Transport,
        refused: Option<&Token>,
    ) -> Result<Arc<Token>, Error> {
        let logins_before = self.logins.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| token.is_usable(refused)) {
            return Ok(Arc::clone(token));
        }
        let logins = self.logins.load(Ordering::Acquire);
        if let Some(failure) = state.failure.as_ref().filter(|_| logins != logins_before) {
            return Err(failure.clone());
        }
        if let Some(token) = refused {
            sleep(token.rest_of_its_second().min(transport.retry().max_delay)).await;
        }
        let outcome = self.login(transport, logins).await;
        self.logins.store(logins + 1, Ordering::Release);
        match outcome {
            Ok(token) => {
                let token = Arc::new(token);
                *state = State {
                    token: Some(Arc::clone(&token)),
                    failure: None,
                };
                Ok(token)
            }
            Err(failure) => {
                *state = State {
                    token: None,
                    failure: Some(failure.clone()),
                };
                Err(failure)
            }
        }
    }

    async fn login(&self, transport: &Transport, login: u64) -> Result<Token, Error> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
        }
        let request = Request::login(TOKEN_PATH, &self.username, self.password.expose_secret());
        let response = instrumented(&transport.panel_name, &request, transport.send(&request, None)).await?;
        let granted: Granted = response.decode(&request)?;
        Token::new(&granted.access_token, login, Instant::now(), wall_clock()).ok_or_else(|| {
            response
                .error(ErrorKind::Decode, &request)
                .with_message("the token cannot be part of a header")
        })
    }
}

impl Token {
    fn new(token: &str, login: u64, made: Instant, now: DateTime<Utc>) -> Option<Self> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        bearer.set_sensitive(true);
        let replace_at = life(token, now)
            .and_then(|life| made.checked_add(life.saturating_sub(REFRESH_BEFORE_EXPIRY.min(life / 10))));
        Some(Self {
            bearer,
            login,
            made,
            replace_at,
        })
    }

    /// The value of the `Authorization` header, which `Debug` shows as `Sensitive`.
    pub(crate) fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }

    fn is_usable(&self, refused: Option<&Self>) -> bool {
        refused.is_none_or(|refused| refused.login != self.login)
            && self
                .replace_at
                .is_none_or(|replace_at| Instant::now() < replace_at)
    }

    fn rest_of_its_second(&self) -> Duration {
        SAME_SECOND.saturating_sub(self.made.elapsed())
    }
}

/// Returns the lifetime of a token, from its own `iat` to its `exp`, so that the clocks of the two machines need not
/// agree.
///
/// The signature is not checked, since a forged `exp` would only cost a login. A token without `exp`, or with one
/// that is not after its `iat`, is used until it is rejected.
fn life(token: &str, now: DateTime<Utc>) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
        iat: Option<i64>,
    }
    let payload = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?.trim_end_matches('='))
        .ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    let seconds = claims.exp.checked_sub(claims.iat.unwrap_or(now.timestamp()))?;
    u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.signature", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_lives_from_its_iat_to_its_exp() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let seconds = |token: &str| life(token, now).map(|life| life.as_secs());
        assert_eq!(
            seconds(&jwt(r#"{"sub":"admin","iat":500,"exp":86900}"#)),
            Some(86_400)
        );
        assert_eq!(seconds(&jwt(r#"{"exp":1000090}"#)), Some(90));
        assert_eq!(seconds(&jwt(r#"{"iat":500,"exp":500}"#)), None);
        assert_eq!(seconds(&jwt(r#"{"iat":500,"exp":400}"#)), None);
        assert_eq!(
            seconds(&jwt(r#"{"iat":-9223372036854775808,"exp":9223372036854775807}"#)),
            None
        );
        assert_eq!(seconds(&jwt(r#"{"sub":"admin","iat":500}"#)), None);
        assert_eq!(seconds(&jwt("not json")), None);
        for token in ["", "opaque", "a.b", "a.%%.c", "..."] {
            assert_eq!(seconds(token), None, "{token}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_replaced_before_its_end() {
        for (life, replaced_after) in [(86_400, 86_340), (600, 540), (10, 9)] {
            let text = jwt(&format!(r#"{{"iat":0,"exp":{life}}}"#));
            let token = Token::new(&text, 0, Instant::now(), DateTime::UNIX_EPOCH).unwrap();
            tokio::time::advance(Duration::from_millis(replaced_after * 1000 - 1)).await;
            assert!(token.is_usable(None), "{life} s");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(!token.is_usable(None), "{life} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_refused_in_its_first_second_is_replaced_in_the_next_one() {
        let token = Token::new("opaque", 0, Instant::now(), DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(token.rest_of_its_second(), SAME_SECOND);
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(token.rest_of_its_second(), Duration::from_millis(700));
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(token.rest_of_its_second(), Duration::ZERO);
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        assert!(Token::new("a\nb", 0, Instant::now(), DateTime::UNIX_EPOCH).is_none());
    }
}
