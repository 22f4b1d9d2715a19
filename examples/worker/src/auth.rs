//! Who may see the board: HTTP basic for browsers, a bearer token for programs.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use marzban_sync_examples::environment::variable;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// The credentials that admit a request. Without any, every request to a loopback listener is admitted.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// `username:password`, as a browser sends it.
    basic: Option<SecretString>,
    bearer: Option<SecretString>,
}

impl Access {
    /// Reads the credentials from the environment.
    ///
    /// # Errors
    /// One line, when half of a pair is missing, or when none are set and `listen` is not a loopback address.
    pub(crate) fn from_environment(listen: SocketAddr) -> Result<Self, String> {
        let basic = match (
            variable("MARZBAN_BOARD_USERNAME")?,
            variable("MARZBAN_BOARD_PASSWORD")?,
        ) {
            (Some(username), Some(_)) if username.contains(':') => {
                return Err("MARZBAN_BOARD_USERNAME must not contain a colon".to_owned());
            }
            (Some(username), Some(password)) => Some(format!("{username}:{password}").into()),
            (None, None) => None,
            _ => {
                return Err(
                    "MARZBAN_BOARD_USERNAME and MARZBAN_BOARD_PASSWORD must be set together".to_owned(),
                );
            }
        };
        let bearer = variable("MARZBAN_BOARD_TOKEN")?.map(SecretString::from);
        let access = Self { basic, bearer };
        if access.is_open() && !listen.ip().is_loopback() {
            return Err(format!(
                "--listen {listen} is reached from other machines: set MARZBAN_BOARD_USERNAME and \
                 MARZBAN_BOARD_PASSWORD, or MARZBAN_BOARD_TOKEN"
            ));
        }
        Ok(access)
    }

    fn is_open(&self) -> bool {
        self.basic.is_none() && self.bearer.is_none()
    }

    /// Returns whether these headers carry valid credentials.
    fn admits(&self, headers: &HeaderMap) -> bool {
        if self.is_open() {
            // A web page may resolve its own name to this machine; the browser then sends that name.
            return headers.get(HOST).is_some_and(is_this_machine);
        }
        let Some((scheme, credentials)) = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.split_once(' '))
        else {
            return false;
        };
        let is = |expected: &Option<SecretString>, given: &[u8]| {
            let expected = expected.as_ref().map(|secret| secret.expose_secret().as_bytes());
            expected.is_some_and(|expected| expected.ct_eq(given).into())
        };
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => BASE64_STANDARD
                .decode(credentials.trim())
                .is_ok_and(|given| is(&self.basic, &given)),
            "bearer" => is(&self.bearer, credentials.trim().as_bytes()),
            _ => false,
        }
    }

    fn refusal(&self) -> Response {
        if self.is_open() {
            return (
                StatusCode::FORBIDDEN,
                "the board without credentials is for this machine alone\n",
            )
                .into_response();
        }
        let mut response = (StatusCode::UNAUTHORIZED, "credentials are needed\n").into_response();
        let challenge = if self.basic.is_some() {
            "Basic realm=\"marzban\", charset=\"UTF-8\""
        } else {
            "Bearer realm=\"marzban\""
        };
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        response
    }
}

fn is_this_machine(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Returns whether a page of another site made this write: a browser adds the login by itself.
fn is_cross_site(method: &Method, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    authority.is_none() || authority != headers.get(HOST).and_then(|host| host.to_str().ok())
}

/// Guards every route of the board.
pub(crate) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let mut response = if is_cross_site(request.method(), request.headers()) {
        (StatusCode::FORBIDDEN, "requests from other sites are refused\n").into_response()
    } else if access.admits(request.headers()) {
        next.run(request).await
    } else {
        access.refusal()
    };
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        // With "no-referrer", browsers send `Origin: null` with forms of the same site.
        ("referrer-policy", "same-origin"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).try_into().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn basic(login: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(login))
    }

    #[test]
    fn each_kind_of_credentials_admits_by_itself() {
        let access = |basic: Option<&str>, bearer: Option<&str>| Access {
            basic: basic.map(SecretString::from),
            bearer: bearer.map(SecretString::from),
        };
        let login = Some("operator:s:e:c");
        for (access, authorization, admitted) in [
            (access(login, None), basic("operator:s:e:c"), true),
            (
                access(login, None),
                basic("operator:s:e:c").replace("Basic", "basic"),
                true,
            ),
            (access(login, None), basic("operator:s:e"), false),
            (access(login, None), basic(""), false),
            (access(login, None), "Basic ???".to_owned(), false),
            (access(login, None), "Bearer operator:s:e:c".to_owned(), false),
            (access(login, None), "operator:s:e:c".to_owned(), false),
            (access(None, Some("token")), "Bearer token".to_owned(), true),
            (access(None, Some("token")), "Bearer toke".to_owned(), false),
            (access(None, Some("token")), "Bearer ".to_owned(), false),
            (access(None, Some("token")), basic("token"), false),
            (access(login, Some("token")), "Bearer token".to_owned(), true),
            (access(login, Some("token")), basic("operator:s:e:c"), true),
        ] {
            assert_eq!(
                access.admits(&headers(&[("authorization", &authorization)])),
                admitted,
                "{authorization}"
            );
            assert!(!access.admits(&HeaderMap::new()));
        }
    }

    #[test]
    fn an_open_board_answers_to_the_names_of_this_machine_alone() {
        for (host, admitted) in [
            ("localhost:8088", true),
            ("LOCALHOST", true),
            ("127.0.0.1:8088", true),
            ("[::1]:8088", true),
            ("evil.example.com:8088", false),
            ("127.0.0.1.example.com", false),
            ("192.0.2.1:8088", false),
        ] {
            assert_eq!(
                Access::default().admits(&headers(&[("host", host)])),
                admitted,
                "{host}"
            );
        }
        assert!(!Access::default().admits(&HeaderMap::new()));
    }

    #[test]
    fn writes_of_other_sites_are_told_apart() {
        let own = [("host", "board:8088"), ("origin", "http://board:8088")];
        for (pairs, cross_site) in [
            (&[][..], false),
            (&own[..], false),
            (
                &[("host", "board:8088"), ("origin", "https://evil.example.com")],
                true,
            ),
            (&[("host", "board:8088"), ("origin", "null")], true),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site"), own[0], own[1]], true),
        ] {
            assert_eq!(
                is_cross_site(&Method::POST, &headers(pairs)),
                cross_site,
                "{pairs:?}"
            );
            assert_eq!(
                is_cross_site(&Method::PUT, &headers(pairs)),
                cross_site,
                "{pairs:?}"
            );
            assert!(!is_cross_site(&Method::GET, &headers(pairs)), "{pairs:?}");
        }
    }

    #[test]
    fn credentials_have_no_debug() {
        let access = Access {
            basic: Some("operator:hunter2".into()),
            bearer: Some("hunter2".into()),
        };
        assert!(!format!("{access:?}").contains("hunter2"));
    }
}
