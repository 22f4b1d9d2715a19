//! A panel that serves pages and batches of users.

use crate::wire::{Recorded, Wire, granted, internal_error, user, users};

/// A panel with these users that fails on every page with one of the `poison` names.
pub(crate) async fn panel(names: Vec<String>, poison: &'static [&'static str]) -> Wire {
    Wire::answering(move |request| {
        if request.is_login() {
            return granted("token");
        }
        let asked = request.usernames();
        let shown: Vec<_> = names
            .iter()
            .filter(|name| asked.is_empty() || asked.contains(name))
            .collect();
        let page: Vec<_> = window(request, &shown);
        if page.iter().any(|name| poison.contains(&name.as_str())) {
            return internal_error();
        }
        users(
            &page.iter().map(|name| user(name)).collect::<Vec<_>>(),
            shown.len(),
        )
    })
    .await
}

pub(crate) fn window<'a>(request: &Recorded, names: &[&'a String]) -> Vec<&'a String> {
    let number = |key: &str| {
        let (_, rest) = request.line.split_once(&format!("{key}="))?;
        rest.split('&').next()?.parse::<usize>().ok()
    };
    let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    names
        .iter()
        .skip(number("offset").unwrap_or(0))
        .take(limit)
        .copied()
        .collect()
}

pub(crate) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user_{number:04}")).collect()
}
