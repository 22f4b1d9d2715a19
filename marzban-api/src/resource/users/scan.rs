//! The states of a page, found in its text: most of that are links and settings, which are only to be passed over.
//!
//! What is passed over is held to the rules of JSON, and what is kept is read as ever. A page that is written in
//! another way than panels write theirs, with spaces for example, is left to the reader of all JSON.

use memchr::memchr2;

use crate::model::UserState;

/// How deep a value may be that is passed over; those of a panel are three deep.
const DEEPEST: u32 = 16;

/// The states of a page, and its total; none if that is not to be judged here.
pub(super) fn states(page: &[u8]) -> Option<(Vec<UserState>, u64)> {
    // No string holds a control character, and between values it would be a space.
    if page.iter().fold(u8::MAX, |lowest, byte| lowest.min(*byte)) < b' ' {
        return None;
    }
    let mut text = Text(page);
    let (mut users, mut total) = (None, None);
    text.object(|key, text| match key {
        b"users" => {
            let mut states = Vec::new();
            text.list(|text| text.state().map(|state| states.push(state)))?;
            users.replace(states).is_none().then_some(())
        }
        b"total" => total.replace(text.value()?).is_none().then_some(()),
        other => text.pass_other(other),
    })?;
    if !text.0.is_empty() {
        return None;
    }
    Some((users?, serde_json::from_slice(total?).ok()?))
}

/// What is left of the text of a page.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    fn state(&mut self) -> Option<UserState> {
        let mut members: [Option<&[u8]>; 6] = [None; 6];
        let [username, status, used_traffic, expire, online_at, created_at] = &mut members;
        self.object(|key, text| {
            let member = match key {
                b"username" => &mut *username,
                b"status" => &mut *status,
                b"used_traffic" => &mut *used_traffic,
                b"expire" => &mut *expire,
                b"online_at" => &mut *online_at,
                b"created_at" => &mut *created_at,
                other => return text.pass_other(other),
            };
            member.replace(text.value()?).is_none().then_some(())
        })?;
        UserState::of(members)
    }

    /// Goes through the members of an object, whose keys have no escapes, by which they could be other ones.
    fn object(&mut self, mut member: impl FnMut(&'a [u8], &mut Self) -> Option<()>) -> Option<()> {
        self.members(*b"{}", |text| {
            text.pass(b"\"")?;
            let key = text.take(memchr2(b'"', b'\\', text.0)?)?;
            text.pass(b"\":")?;
            member(key, text)
        })
    }

    fn list(&mut self, member: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.members(*b"[]", member)
    }

    fn members(
        &mut self,
        [open, close]: [u8; 2],
        mut member: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.pass(&[open])?;
        if self.pass(&[close]).is_some() {
            return Some(());
        }
        loop {
            member(self)?;
            if self.pass(b",").is_none() {
                return self.pass(&[close]);
            }
        }
    }

    /// Passes over what nobody asks for. A key that is no text makes the page unreadable, which is not judged here.
    fn pass_other(&mut self, key: &[u8]) -> Option<()> {
        if !key.is_ascii() {
            return None;
        }
        self.pass_value(DEEPEST)
    }

    /// Passes over a value, and returns its text.
    fn value(&mut self) -> Option<&'a [u8]> {
        let text = self.0;
        self.pass_value(DEEPEST)?;
        text.get(..text.len().checked_sub(self.0.len())?)
    }

    fn pass_value(&mut self, deepest: u32) -> Option<()> {
        let deeper = deepest.checked_sub(1)?;
        match self.0.first()? {
            b'"' => self.pass_string(),
            b'[' => self.list(|text| text.pass_value(deeper)),
            b'{' => self.members(*b"{}", |text| {
                text.pass_string()?;
                text.pass(b":")?;
                text.pass_value(deeper)
            }),
            b'n' => self.pass(b"null"),
            b't' => self.pass(b"true"),
            b'f' => self.pass(b"false"),
            _ => self.pass_integer(),
        }
    }

    /// Passes over digits, which begin with a zero only if there is no other.
    fn pass_integer(&mut self) -> Option<()> {
        self.0 = self.0.strip_prefix(b"-").unwrap_or(self.0);
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = self.take(length)?;
        (digits == b"0" || *digits.first()? != b'0').then_some(())
    }

    fn pass_string(&mut self) -> Option<()> {
        self.pass(b"\"")?;
        loop {
            self.take(memchr2(b'"', b'\\', self.0)?)?;
            match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return Some(());
                }
                [
                    b'\\',
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                    rest @ ..,
                ] => self.0 = rest,
                [b'\\', b'u', digits @ ..] => {
                    self.0 = digits;
                    let is_number = self.take(4)?.iter().all(u8::is_ascii_hexdigit);
                    is_number.then_some(())?;
                }
                _ => return None,
            }
        }
    }

    fn pass(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// A user as 0.8.4 renders it, shortened, with escapes in what is passed over.
    const USER: &str = r#"{"proxies":{"vless":{"id":"6c550cc6","flow":""}},"expire":1893456000,"data_limit":null,"note":"a\n\"\u0414\"","online_at":"2025-09-01T10:00:00.250000","used_traffic":7,"username":"alice","status":"active","created_at":"2025-01-01T20:59:48","links":["vless://6c550cc6@127.0.0.1:8443?security=reality&type=tcp&sni=example.org&fp=chrome#%F0%9F%9A%80 имя",""],"inbounds":{"vless":["A b"]},"excluded_inbounds":{"vless":[]},"admin":{"username":"seller","is_sudo":false,"users_usage":-1}}"#;

    /// Texts that stand where a value should, from the ordinary to the impossible.
    const VALUES: &[&str] = &[
        "null",
        "true",
        "false",
        "0",
        "-0",
        "7",
        "-7",
        "00",
        "01",
        "-",
        "1.5",
        "1.0",
        "1e3",
        "1E400",
        "NaN",
        "-Infinity",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
        "253402300800",
        "1893456000",
        r#""1893456000""#,
        r#""""#,
        r#""active""#,
        r#""frozen""#,
        r#""act\u0069ve""#,
        r#""\ud83d""#,
        r#""\x""#,
        r#""\u12""#,
        r#""\"\\\/\b\f\n\r\t""#,
        "\"\t\"",
        r#""имя""#,
        r#""open"#,
        r#""2025-09-01T10:00:00""#,
        r#""2025-09-01T10:00:00.250000""#,
        r#""2025-09-01 10:00:00""#,
        r#""2025-09-01T10:00:00+03:30""#,
        r#""2025-13-01T10:00:00""#,
        "[]",
        "{}",
        "[1,[2,{}]]",
        r#"{"a":{"a":1,"a":2}}"#,
        "[1,]",
        "[,1]",
        r#"{"a"}"#,
        "{1:2}",
        r#"{"a":1,}"#,
        "[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]",
        "",
        " 1",
        "1 ",
        "[ ]",
        "nul",
        "nulll",
    ];

    const KEYS: &[&str] = &[
        r#""username""#,
        r#""status""#,
        r#""used_traffic""#,
        r#""expire""#,
        r#""online_at""#,
        r#""created_at""#,
        r#""links""#,
        r#""note""#,
        r#""user\u006eame""#,
        r#""имя""#,
        r#""""#,
        "username",
        "1",
        "",
    ];

    /// The page as `serde_json` alone reads it.
    fn by_serde(page: &[u8]) -> Option<(Vec<UserState>, u64)> {
        #[derive(Deserialize)]
        struct Page {
            users: Vec<UserState>,
            total: u64,
        }
        serde_json::from_slice::<Page>(page)
            .ok()
            .map(|page| (page.users, page.total))
    }

    fn page(users: &[String]) -> String {
        format!(r#"{{"users":[{}],"total":{}}}"#, users.join(","), users.len())
    }

    fn user(members: &[(&str, &str)]) -> String {
        let members: Vec<_> = members
            .iter()
            .map(|(key, value)| format!("{key}:{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    #[test]
    fn a_page_as_panels_write_it_is_read_here() {
        for users in [0, 1, 3] {
            let page = page(&vec![USER.to_owned(); users]);
            let read = states(page.as_bytes());
            assert_eq!(
                read.as_ref().map(|(states, total)| (states.len(), *total)),
                Some((users, users as u64))
            );
            assert_eq!(read, by_serde(page.as_bytes()));
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_to_the_reader_of_all_json() {
        let bare = r#""username":"a","status":"active","used_traffic":1"#;
        for page in [
            format!(r#"{{"users": [{{{bare}}}],"total":1}}"#),
            format!(r#"{{"users":[{{{bare},"status":"active"}}],"total":1}}"#),
            format!(r#"{{"users":[{{{bare},"\u0065xpire":1}}],"total":1}}"#),
            format!(r#"{{"users":[{{{bare},"lifetime":1.5}}],"total":1}}"#),
            format!(r#"{{"users":[{{{bare}}}],"users":[],"total":1}}"#),
            format!(r#"{{"users":[{{{bare}}}],"total":1}} "#),
            format!(r#"{{"users":[{{{bare}}}],"total":-1}}"#),
            format!("[[{{{bare}}}],1]"),
        ] {
            assert_eq!(states(page.as_bytes()), None, "{page}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn members_of_all_kinds_are_read_as_serde_reads_them(
            members in prop::collection::vec((prop::sample::select(KEYS), prop::sample::select(VALUES)), 0..4),
        ) {
            let ordinary =
                [(r#""username""#, r#""bob""#), (r#""status""#, r#""on_hold""#), (r#""used_traffic""#, "5")];
            let page = page(&[USER.to_owned(), user(&[&ordinary[..], &members].concat())]);
            if let Some(read) = states(page.as_bytes()) {
                prop_assert_eq!(Some(read), by_serde(page.as_bytes()), "{}", page);
            }
        }

        #[test]
        fn each_member_may_be_any_value(
            values in prop::collection::vec(prop::sample::select(VALUES), 6),
            ordinary in prop::collection::vec(prop::bool::weighted(0.8), 6),
        ) {
            let usual = [r#""bob""#, r#""on_hold""#, "5", "1893456000", r#""2025-09-01T10:00:00""#, "null"];
            let members: Vec<_> = (0..6)
                .map(|which| (KEYS[which], if ordinary[which] { usual[which] } else { values[which] }))
                .collect();
            let page = page(&[user(&members)]);
            if let Some(read) = states(page.as_bytes()) {
                prop_assert_eq!(Some(read), by_serde(page.as_bytes()), "{}", page);
            }
        }

        #[test]
        fn a_page_with_errors_in_it_is_never_misread(
            errors in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..4),
            likely in prop::sample::select(&b"\"\\{}[],:0-\x1f\xff"[..]),
        ) {
            let mut page = page(&[USER.to_owned(), USER.replace("alice", "bob")]).into_bytes();
            for (place, kind, byte) in errors {
                let place = place.index(page.len());
                match kind {
                    0 => page[place] = byte,
                    1 => page.insert(place, likely),
                    2 => drop(page.remove(place)),
                    _ => page.truncate(place.max(1)),
                }
            }
            if let Some(read) = states(&page) {
                prop_assert_eq!(Some(read), by_serde(&page), "{}", String::from_utf8_lossy(&page));
            }
        }
    }
}
