//! Logging in, and who a token belongs to.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde_json::json;

use crate::testing::api::render::mix;
use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;
use crate::testing::panel::state::{FakeAdmin, World};

/// What the panel could read from a token that it signed itself.
#[derive(Clone)]
pub(crate) struct Token {
    admin: String,
    is_from_environment: bool,
    /// Whole seconds of Unix time, rounded down.
    issued_at: i64,
    expires_at: Option<i64>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// `POST /api/admin/token`.
pub(crate) fn log_in(world: &mut World, call: &Call) -> Answer {
    let form = call.form();
    let mut problems = Vec::new();
    if form
        .last("grant_type")
        .is_some_and(|kind| !kind.is_empty() && !kind.contains("password"))
    {
        problems.push((
            "grant_type".to_owned(),
            "String should match pattern 'password'".to_owned(),
        ));
    }
    for field in ["username", "password"] {
        if form.last(field).is_none_or(str::is_empty) {
            problems.push((field.to_owned(), "Field required".to_owned()));
        }
    }
    let (Some(username), Some(password), []) =
        (form.last("username"), form.last("password"), problems.as_slice())
    else {
        return Answer::invalid(&problems);
    };
    let admin = world
        .admins
        .iter()
        .find(|admin| admin.username == username && admin.password.as_deref() == Some(password));
    let Some(admin) = admin.cloned() else {
        return Answer::unauthorized("Incorrect username or password");
    };
    Answer::ok(&json!({ "access_token": issue(world, &admin), "token_type": "bearer" }))
}

/// Issues a token of the three parts of a JWT; its signature is a number that nobody else has.
fn issue(world: &mut World, admin: &FakeAdmin) -> String {
    let issued_at = world.now().timestamp();
    let expires_at = world
        .token_lifetime
        .map(|lifetime| issued_at + lifetime.num_seconds());
    let access = if admin.is_sudo { "sudo" } else { "admin" };
    let mut claims = json!({ "sub": admin.username, "access": access, "iat": issued_at });
    if let (Some(expires_at), Some(claims)) = (expires_at, claims.as_object_mut()) {
        claims.insert("exp".to_owned(), expires_at.into());
    }
    let signature: Vec<u8> = (0..4)
        .flat_map(|_| mix(world.next_seed()).to_be_bytes())
        .collect();
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let token = format!(
        "{}.{}.{}",
        encode(br#"{"alg":"HS256","typ":"JWT"}"#),
        encode(claims.to_string().as_bytes()),
        encode(&signature)
    );
    let known = Token {
        admin: admin.username.clone(),
        is_from_environment: admin.is_from_environment,
        issued_at,
        expires_at,
    };
    world.tokens.insert(token.clone(), known);
    token
}

/// Finds the admin of a request, whose rights are those that it has now.
pub(crate) fn identify(world: &World, call: &Call) -> Result<FakeAdmin, Answer> {
    let bearer = call
        .bearer()
        .ok_or_else(|| Answer::unauthorized("Not authenticated"))?;
    holder(world, bearer)
        .cloned()
        .ok_or_else(|| Answer::unauthorized("Could not validate credentials"))
}

pub(crate) fn holder<'a>(world: &'a World, bearer: &str) -> Option<&'a FakeAdmin> {
    let token = world.tokens.get(bearer)?;
    if token.expires_at.is_some_and(|end| end <= world.now().timestamp()) {
        return None;
    }
    let admin = world.admins.iter().find(|admin| {
        admin.username == token.admin && admin.is_from_environment == token.is_from_environment
    })?;
    // `iat` has no fraction, so a login in the second of a password change is dead at once.
    let issued_at = DateTime::from_timestamp(token.issued_at, 0)?;
    let is_outdated = !admin.is_from_environment && admin.password_reset_at.is_some_and(|at| at > issued_at);
    (!is_outdated).then_some(admin)
}
