//! The tokens of subscriptions, which the panel does not store but reads back.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::testing::api::render::mix;
use crate::testing::panel::state::World;
use crate::testing::panel::user::FakeUser;

const SIGNATURE_LENGTH: usize = 10;

/// Issues the token of this second, rounded up: name and time, then ten characters of a signature.
pub(crate) fn issue(username: &str, now: DateTime<Utc>) -> String {
    let second = now.timestamp() + i64::from(now.timestamp_subsec_nanos() > 0);
    let content = BASE64_URL_SAFE_NO_PAD.encode(format!("{username},{second}"));
    let signature = signature(&content);
    content + &signature
}

/// Finds the user of a token, unless it was issued before the user was made or its subscription revoked.
pub(crate) fn holder<'a>(world: &'a World, token: &str) -> Option<&'a FakeUser> {
    let (username, issued_at) = match world.legacy_tokens.get(token) {
        Some((username, issued_at)) => (username.clone(), *issued_at),
        None => read(token)?,
    };
    let user = world.user(&username)?;
    let is_older = |moment: Option<DateTime<Utc>>| moment.is_some_and(|moment| moment > issued_at);
    (!is_older(user.created_at) && !is_older(user.sub_revoked_at)).then_some(user)
}

/// Issues a token as old versions did: a JWT, which is valid because the fake remembers it.
pub(crate) fn issue_legacy(world: &mut World, username: &str) -> String {
    let now = world.now();
    let issued_at = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
    let claims = json!({ "sub": username, "access": "subscription", "iat": issued_at.timestamp() });
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let token = format!(
        "{}.{}.{}",
        encode(br#"{"alg":"HS256","typ":"JWT"}"#),
        encode(claims.to_string().as_bytes()),
        encode(&mix(world.next_seed()).to_be_bytes())
    );
    world
        .legacy_tokens
        .insert(token.clone(), (username.to_owned(), issued_at));
    token
}

fn read(token: &str) -> Option<(String, DateTime<Utc>)> {
    let (content, signed) = token.split_at_checked(token.len().checked_sub(SIGNATURE_LENGTH)?)?;
    if signed != signature(content) {
        return None;
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(content).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, second) = text.rsplit_once(',')?;
    let issued_at = DateTime::from_timestamp(second.parse().ok()?, 0)?;
    Some((username.to_owned(), issued_at))
}

/// Ten characters that follow from the content; a fake has no secret to keep.
fn signature(content: &str) -> String {
    let sum = content.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
    let mut text = BASE64_URL_SAFE_NO_PAD.encode(sum.to_be_bytes());
    text.truncate(SIGNATURE_LENGTH);
    text
}
