//! Forms that only this page can send: a secret of the browser's comes back with each of them.
//!
//! The secret is a cookie and a hidden field, so that the board keeps nothing of it, a restart makes no form
//! worthless, and several boards may stand behind one address. Other sites neither see the cookie nor make the
//! browser send it.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use super::selection::PATH;

const NAME: &str = "marzban_form";

/// Two ULIDs, whose chance is 160 bits.
const LENGTH: usize = 52;

/// The secret of a browser.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// The one that the browser has.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let cookies = headers
            .get_all(COOKIE)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, value)| *name == NAME && is_sound(value))
            .map(|(_, value)| Self(value.to_owned()))
    }

    /// A new one.
    pub(crate) fn generate() -> Self {
        Self(format!("{}{}", ulid::Ulid::generate(), ulid::Ulid::generate()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What gives it to the browser; none where it is no header, which it always is.
    pub(crate) fn cookie(&self) -> Option<HeaderValue> {
        format!("{NAME}={}; Path={PATH}; HttpOnly; SameSite=Strict", self.0)
            .parse()
            .ok()
    }

    /// Whether a form brought it back.
    pub(crate) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

fn is_sound(value: &str) -> bool {
    value.len() == LENGTH && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_in_a_cookie_and_in_a_field() {
        let token = Token::generate();
        assert!(is_sound(token.as_str()), "{}", token.as_str());
        let cookie = token.cookie().unwrap();
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, format!("theme=dark; {pair}").parse().unwrap());
        let read = Token::of(&headers).unwrap();
        assert!(read.is(token.as_str()));
        for other in ["", "x", Token::generate().as_str()] {
            assert!(!read.is(other), "{other}");
        }
    }

    #[test]
    fn a_cookie_that_this_page_did_not_set_counts_for_nothing() {
        for cookie in [
            "",
            "marzban_form=",
            "marzban_form=short",
            "other=01234567890123456789012345678901234567890123456789AB",
            "marzban_form=<script>0123456789012345678901234567890123456789012",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, cookie.parse().unwrap());
            assert!(Token::of(&headers).is_none(), "{cookie}");
        }
    }
}
