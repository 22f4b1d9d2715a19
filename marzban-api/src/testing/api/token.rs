//! The tokens as text: those of subscriptions, which the panel does not store but reads back, and JWTs.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::testing::panel::random::splitmix64;

const SIGNATURE_LENGTH: usize = 10;

/// Issues the token of this second, rounded up: name and time, then ten characters of a signature.
pub(crate) fn issue(username: &str, now: DateTime<Utc>) -> String {
    let second = now.timestamp() + i64::from(now.timestamp_subsec_nanos() > 0);
    let content = BASE64_URL_SAFE_NO_PAD.encode(format!("{username},{second}"));
    let signature = signature(&content);
    content + &signature
}

/// Writes a token as versions before 0.4 did: a JWT, which is valid because the fake remembers it.
pub(crate) fn legacy(username: &str, issued_at: i64, seed: u64) -> String {
    let claims = json!({ "sub": username, "access": "subscription", "iat": issued_at });
    jwt(&claims, &splitmix64(seed).to_be_bytes())
}

/// Writes the three parts of a JWT; its signature is a number that no other token has.
pub(crate) fn jwt(claims: &Value, signature: &[u8]) -> String {
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    format!(
        "{}.{}.{}",
        encode(br#"{"alg":"HS256","typ":"JWT"}"#),
        encode(claims.to_string().as_bytes()),
        encode(signature)
    )
}

/// Reads the name and the time of a token that the panel issued.
pub(crate) fn read(token: &str) -> Option<(String, DateTime<Utc>)> {
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
    let sum = content
        .bytes()
        .fold(0, |sum, byte| splitmix64(sum ^ u64::from(byte)));
    let mut text = BASE64_URL_SAFE_NO_PAD.encode(sum.to_be_bytes());
    text.truncate(SIGNATURE_LENGTH);
    text
}
