use std::fmt;

use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::WebhookError;

const HEADER: &str = "x-webhook-secret";

/// The secret that a POST must carry to be accepted: the panel's setting `WEBHOOK_SECRET`.
///
/// # Examples
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use marzban_api::webhook::WebhookSecret;
///
/// let secret = WebhookSecret::new("the word that the panel was given");
/// assert!(secret.check(&HeaderMap::new()).is_err());
/// let value = HeaderValue::from_static("the word that the panel was given");
/// assert!(secret.check(&HeaderMap::from_iter([("x-webhook-secret".parse().expect("a name"), value)])).is_ok());
/// assert!(WebhookSecret::danger_accept_anyone().check(&HeaderMap::new()).is_ok());
/// ```
#[derive(Clone)]
pub struct WebhookSecret(Option<SecretString>);

impl WebhookSecret {
    /// Accepts requests that carry this secret. An empty secret rejects every request.
    #[must_use]
    pub fn new(secret: impl Into<SecretString>) -> Self {
        Self(Some(secret.into()))
    }

    /// Disables verification. Anyone who can reach the endpoint can forge notifications.
    #[must_use]
    pub fn danger_accept_anyone() -> Self {
        Self(None)
    }

    /// Compares the secret, in a time that depends only on its length.
    ///
    /// # Errors
    ///
    /// [`WebhookError::WrongSecret`] if the header `x-webhook-secret` is missing, repeated or wrong.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), WebhookError> {
        let Some(secret) = &self.0 else {
            return Ok(());
        };
        let mut given = headers.get_all(HEADER).iter();
        let (Some(given), None) = (given.next(), given.next()) else {
            return Err(WebhookError::WrongSecret);
        };
        let secret = secret.expose_secret().as_bytes();
        if secret.is_empty() || !bool::from(secret.ct_eq(given.as_bytes())) {
            return Err(WebhookError::WrongSecret);
        }
        Ok(())
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSecret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(secrets: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for secret in secrets {
            headers.append(HEADER, secret.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_the_whole_secret_is_accepted() {
        let secret = WebhookSecret::new("s3cr3t-hook");
        assert!(secret.check(&headers(&["s3cr3t-hook"])).is_ok());
        for given in [
            &[][..],
            &[""],
            &["s3cr3t-hoo"],
            &["s3cr3t-hook2"],
            &["S3CR3T-HOOK"],
            &["s3cr3t-hook", "s3cr3t-hook"],
            &["wrong", "s3cr3t-hook"],
        ] {
            let refusal = secret.check(&headers(given)).unwrap_err();
            assert!(matches!(refusal, WebhookError::WrongSecret), "{given:?}");
        }
    }

    #[test]
    fn an_empty_secret_is_never_accepted() {
        assert!(WebhookSecret::new("").check(&headers(&[""])).is_err());
        assert!(WebhookSecret::new("").check(&headers(&[])).is_err());
        assert!(WebhookSecret::danger_accept_anyone().check(&headers(&[])).is_ok());
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert_eq!(
            format!("{:?}", WebhookSecret::new("s3cr3t")),
            "WebhookSecret { .. }"
        );
    }
}
