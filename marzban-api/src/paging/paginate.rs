//! Pagination over a list that changes while it is read.
//!
//! The panel pages by position. When a user of an earlier page is deleted, the others move up and the next page skips
//! one; if another user is created in the meantime, not even the total shows it. So each page starts with the last
//! user of the page before, in an order in which users never overtake each other. If another user is found there, the
//! paginator steps back until it meets a user it has seen; it has then seen all users before that one too.

use std::collections::HashSet;

use super::batch::Bisection;

/// Consecutive pages without a new user, although the total promises more, after which the list is given up.
const MAX_EMPTY_PAGES: u32 = 3;

/// The page to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) offset: u64,
    pub(crate) limit: u64,
}

/// Consecutive pages without a new user, beyond those needed to read all seen users again, after which the list is
/// given up. Otherwise a list that differs at every request would be read forever.
const MAX_PAGES_WITHOUT_PROGRESS: u64 = 256;

/// Why the pages do not form a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PaginationError {
    #[error("the list has a total of {total} users but ends after {end}")]
    Truncated { total: u64, end: u64 },
    #[error("the pages are inconsistent: {pages} in a row had no new user")]
    Unstable { pages: u64 },
}

/// The state of reading a list of users.
#[derive(Debug)]
pub(crate) struct Paginator {
    start: u64,
    page_size: u64,
    state: State,
    seen: HashSet<String>,
    total: Option<u64>,
    jump: u64,
    empty_pages: u32,
    /// Pages since the last new user.
    pages_without_progress: u64,
    bisection: Bisection,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The page before it is unknown, so its first user is taken as it comes.
    Open(Window),
    /// The page starts with a user that was seen, unless the list has moved.
    Anchored(Window),
    Done,
}

/// What a failed page means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageFailure {
    /// A smaller page is to be tried.
    Narrowed,
    /// The page was a single user, which cannot be rendered. Pagination continues after it.
    UnreadableUser,
    /// No page succeeds: the panel is broken rather than a user.
    GiveUp,
}

impl Paginator {
    pub(crate) fn new(start: u64, page_size: u64) -> Self {
        // An anchored page of one user would bring nothing new.
        let page_size = page_size.max(2);
        Self {
            start,
            page_size,
            state: State::Open(Window {
                offset: start,
                limit: page_size,
            }),
            seen: HashSet::new(),
            total: None,
            jump: 0,
            empty_pages: 0,
            pages_without_progress: 0,
            bisection: Bisection::default(),
        }
    }

    /// The next page to request, or `None` at the end.
    pub(crate) fn window(&self) -> Option<Window> {
        match self.state {
            State::Open(window) | State::Anchored(window) => Some(window),
            State::Done => None,
        }
    }

    /// Takes the current page and returns its new users.
    ///
    /// `name` returns a user's username, or `None` if it is unknown.
    pub(crate) fn on_page<T>(
        &mut self,
        page: Vec<T>,
        total: u64,
        name: impl Fn(&T) -> Option<&str>,
    ) -> Result<Vec<T>, PaginationError> {
        // Only failures since the last success count, so that a panel that breaks down midway is noticed too.
        self.bisection = Bisection::default();
        let lost = self.total.replace(total).unwrap_or(total).saturating_sub(total);
        let (window, known) = match self.state {
            State::Done => return Ok(Vec::new()),
            State::Open(window) => (window, true),
            State::Anchored(window) => {
                let first = page
                    .first()
                    .map(|user| name(user).is_none_or(|name| self.seen.contains(name)));
                (window, first == Some(true))
            }
        };
        self.pages_without_progress += 1;
        if !known {
            self.step_back(window, lost);
            return self.unless_unstable(Vec::new());
        }
        self.jump = 0;
        let length = u64::try_from(page.len()).unwrap_or(u64::MAX);
        let new: Vec<T> = page
            .into_iter()
            .filter(|user| name(user).is_none_or(|name| self.seen.insert(name.to_owned())))
            .collect();
        self.advance(window, length, total)?;
        self.unless_unstable(new)
    }

    /// Returns the new users, unless there were none for longer than it takes to read all seen users again.
    fn unless_unstable<T>(&mut self, new: Vec<T>) -> Result<Vec<T>, PaginationError> {
        if !new.is_empty() {
            self.pages_without_progress = 0;
        }
        let seen = u64::try_from(self.seen.len()).unwrap_or(u64::MAX);
        if self.pages_without_progress
            > (seen / (self.page_size - 1))
                .saturating_mul(4)
                .saturating_add(MAX_PAGES_WITHOUT_PROGRESS)
        {
            return Err(PaginationError::Unstable {
                pages: self.pages_without_progress,
            });
        }
        Ok(new)
    }

    /// Takes a failure of the current page of the kind that a single record can cause.
    pub(crate) fn on_error(&mut self) -> PageFailure {
        if self.bisection.failed_for_good() {
            return PageFailure::GiveUp;
        }
        match self.state {
            State::Anchored(Window { offset, limit: ..=2 }) => {
                self.state = State::Open(Window {
                    offset: offset + 1,
                    limit: 1,
                });
            }
            State::Anchored(Window { offset, limit }) => {
                self.state = State::Anchored(Window {
                    offset,
                    limit: (limit / 2).max(2),
                });
            }
            State::Open(Window { offset, limit: ..=1 }) => {
                let offset = offset + 1;
                let over = self.total.is_some_and(|total| offset >= total);
                self.state = if over {
                    State::Done
                } else {
                    State::Open(Window { offset, limit: 1 })
                };
                return PageFailure::UnreadableUser;
            }
            State::Open(Window { offset, limit }) => {
                self.state = State::Open(Window {
                    offset,
                    limit: limit / 2,
                });
            }
            State::Done => {}
        }
        PageFailure::Narrowed
    }

    fn advance(&mut self, window: Window, length: u64, total: u64) -> Result<(), PaginationError> {
        let end = window.offset.saturating_add(length);
        let overlap = u64::from(matches!(self.state, State::Anchored(_)));
        if end >= total {
            self.state = State::Done;
            return Ok(());
        }
        self.empty_pages = if length > overlap { 0 } else { self.empty_pages + 1 };
        if length == 0 || self.empty_pages >= MAX_EMPTY_PAGES {
            return Err(PaginationError::Truncated { total, end });
        }
        let limit = window.limit.saturating_mul(2).clamp(2, self.page_size);
        self.state = State::Anchored(Window {
            offset: end - 1,
            limit,
        });
        Ok(())
    }

    /// Moves towards the start: further each time, and at least by the number of users known to be deleted.
    fn step_back(&mut self, window: Window, lost: u64) {
        self.jump = self.jump.saturating_mul(2).max(lost).max(1);
        let offset = window.offset.saturating_sub(self.jump).max(self.start);
        let window = Window {
            offset,
            limit: self.page_size,
        };
        self.state = if offset == self.start {
            State::Open(window)
        } else {
            State::Anchored(window)
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(
        clippy::unnecessary_wraps,
        clippy::ptr_arg,
        reason = "the paginator asks for this signature"
    )]
    fn name(user: &String) -> Option<&str> {
        Some(user)
    }

    fn page(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn pages_overlap_by_one_user_and_repeats_are_dropped() {
        let mut paginator = Paginator::new(0, 3);
        assert_eq!(paginator.window(), Some(Window { offset: 0, limit: 3 }));
        assert_eq!(
            paginator.on_page(page(&["a", "b", "c"]), 4, name).unwrap(),
            ["a", "b", "c"]
        );
        assert_eq!(paginator.window(), Some(Window { offset: 2, limit: 3 }));
        assert_eq!(paginator.on_page(page(&["c", "d"]), 4, name).unwrap(), ["d"]);
        assert_eq!(paginator.window(), None);
    }

    #[test]
    fn a_deletion_masked_by_an_insertion_is_noticed() {
        let mut paginator = Paginator::new(0, 3);
        paginator.on_page(page(&["a", "b", "c"]), 6, name).unwrap();
        // "a" is gone and "g" is new: the total is the same, but the page begins with "d".
        assert_eq!(
            paginator.on_page(page(&["d", "e", "f"]), 6, name).unwrap(),
            [] as [&str; 0]
        );
        assert_eq!(paginator.window(), Some(Window { offset: 1, limit: 3 }));
        assert_eq!(
            paginator.on_page(page(&["c", "d", "e"]), 6, name).unwrap(),
            ["d", "e"]
        );
    }

    #[test]
    fn an_empty_page_in_the_middle_is_not_the_end() {
        let mut paginator = Paginator::new(0, 3);
        paginator.on_page(page(&["a", "b", "c"]), 5, name).unwrap();
        assert_eq!(paginator.on_page(Vec::new(), 5, name).unwrap(), [] as [&str; 0]);
        assert_eq!(paginator.window(), Some(Window { offset: 1, limit: 3 }));
    }

    #[test]
    fn an_empty_first_page_with_a_total_is_an_error_and_not_an_empty_panel() {
        let mut paginator = Paginator::new(0, 3);
        assert_eq!(
            paginator.on_page(Vec::new(), 5, name),
            Err(PaginationError::Truncated { total: 5, end: 0 })
        );
        assert_eq!(Paginator::new(0, 3).on_page(Vec::new(), 0, name), Ok(Vec::new()));
    }

    #[test]
    fn a_list_that_never_reaches_its_total_is_an_error() {
        let mut paginator = Paginator::new(0, 3);
        paginator.on_page(page(&["a"]), 5, name).unwrap();
        let outcomes: Vec<_> = (0..3).map(|_| paginator.on_page(page(&["a"]), 5, name)).collect();
        assert_eq!(
            outcomes,
            [
                Ok(vec![]),
                Ok(vec![]),
                Err(PaginationError::Truncated { total: 5, end: 1 })
            ]
        );
    }

    #[test]
    fn a_list_that_differs_at_every_request_is_an_error_and_not_read_forever() {
        let mut paginator = Paginator::new(0, 3);
        // Two panels take turns behind one URL.
        let mut pages = 0_u32;
        let error = loop {
            let window = paginator.window().unwrap();
            let page = if window.offset == 0 {
                page(&["a", "b", "c"])
            } else {
                page(&["x", "y", "z"])
            };
            pages += 1;
            assert!(pages < 1000, "the paginator does not end");
            if let Err(error) = paginator.on_page(page, 9, name) {
                break error;
            }
        };
        assert!(
            matches!(error, PaginationError::Unstable { pages: 257.. }),
            "{error}"
        );
    }

    #[test]
    fn a_panel_that_always_fails_is_given_up() {
        let mut paginator = Paginator::new(0, 100);
        let refusals: Vec<_> = (0..16).map(|_| paginator.on_error()).collect();
        assert_eq!(refusals.last(), Some(&PageFailure::GiveUp));
    }

    /// A list that loses and gains users between pages; `poison` makes every page with it fail.
    #[derive(Debug)]
    struct Panel {
        users: Vec<u32>,
        poison: Option<u32>,
    }

    impl Panel {
        fn page(&self, window: Window) -> Option<(Vec<String>, u64)> {
            let take = |value| usize::try_from(value).unwrap();
            let page: Vec<_> = self
                .users
                .iter()
                .skip(take(window.offset))
                .take(take(window.limit))
                .collect();
            let shown = self.poison.is_none_or(|poison| !page.contains(&&poison));
            shown.then(|| {
                (
                    page.iter().map(ToString::to_string).collect(),
                    self.users.len() as u64,
                )
            })
        }
    }

    proptest! {
        #[test]
        fn users_that_stay_are_seen_exactly_once(
            count in 0_u32..60,
            page_size in 1_u64..12,
            deletions in proptest::collection::vec((0_usize..20, 0_usize..60), 0..12),
            insertions in proptest::collection::vec(0_usize..20, 0..12),
        ) {
            let mut panel = Panel { users: (0..count).collect(), poison: None };
            let mut paginator = Paginator::new(0, page_size);
            let mut met = Vec::new();
            let mut gone = HashSet::new();
            for step in 0..10_000 {
                let Some(window) = paginator.window() else { break };
                prop_assert!(step < 5_000, "the paginator does not end");
                for (_, place) in deletions.iter().filter(|(when, _)| *when == step) {
                    if *place < panel.users.len() {
                        gone.insert(panel.users.remove(*place).to_string());
                    }
                }
                for _ in insertions.iter().filter(|when| **when == step) {
                    let last = panel.users.last().copied().unwrap_or(count);
                    panel.users.push(last.max(count) + 1);
                }
                let (page, total) = panel.page(window).unwrap();
                met.extend(paginator.on_page(page, total, name).unwrap());
            }
            let distinct: HashSet<_> = met.iter().cloned().collect();
            prop_assert_eq!(distinct.len(), met.len());
            for user in (0..count).map(|user| user.to_string()).filter(|user| !gone.contains(user)) {
                prop_assert!(distinct.contains(&user), "{} was skipped", user);
            }
        }

        #[test]
        fn one_unrenderable_user_hides_no_other(count in 1_u32..120, poison in 0_u32..120, page_size in 1_u64..110) {
            let panel = Panel { users: (0..count).collect(), poison: Some(poison) };
            let mut paginator = Paginator::new(0, page_size);
            let (mut met, mut poisoned) = (Vec::new(), 0);
            while let Some(window) = paginator.window() {
                match panel.page(window) {
                    Some((page, total)) => met.extend(paginator.on_page(page, total, name).unwrap()),
                    None => match paginator.on_error() {
                        PageFailure::Narrowed => {}
                        PageFailure::UnreadableUser => poisoned += 1,
                        PageFailure::GiveUp => prop_assert!(false, "one poison user is not a broken panel"),
                    },
                }
            }
            let expected: Vec<_> = (0..count).filter(|user| *user != poison).map(|user| user.to_string()).collect();
            prop_assert_eq!(met, expected);
            prop_assert_eq!(poisoned, u32::from(poison < count));
        }
    }
}
