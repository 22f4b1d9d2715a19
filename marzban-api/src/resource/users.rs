//! Operations on users.

mod batch_get;
mod change;
mod page;
mod query;
mod usage;
mod verify;

use std::collections::{BTreeSet, VecDeque};

use futures_util::Stream;
use futures_util::stream::try_unfold;
use http::StatusCode;

pub use self::batch_get::BatchGet;
#[cfg(feature = "test-util")]
pub(crate) use self::page::read_whole;
use self::page::{Entry, read_page};
pub use self::query::{ListUsers, UserSort, UserSortField};
use crate::client::{Client, Response};
use crate::error::{Error, ErrorKind};
use crate::model::{UnreadableUser, User, UserSummary};
use crate::paging::{Bisection, PageFailure, Paginator, take_batch};
use crate::request::{Request, RetryClass};
use crate::resource::{delete, path_name};

const USER: &str = "/api/user/{username}";

/// The longest path and query of a batch, in bytes. Proxies in front of panels reject twice this length.
const MAX_URI_LEN: usize = 4096;

const PAGE_SIZE: u64 = 100;

/// Operations on users; see [`Client::users`].
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// # panel.insert_user(marzban_api::testing::FakeUser::new("alice"));
/// use marzban_api::resource::DeleteOutcome;
///
/// let alice = client.users().get("alice").await?;
/// assert_eq!(client.users().delete(&alice.username).await?, DeleteOutcome::Deleted);
/// assert_eq!(client.users().delete(&alice.username).await?, DeleteOutcome::NotFound);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Users<'a> {
    client: &'a Client,
}

/// One page of users.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use marzban_api::resource::ListUsers;
///
/// let page = client.users().list(&ListUsers::new().limit(10)).await?;
/// println!("{} of {} users, {} unreadable", page.users.len(), page.total, page.unreadable.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UsersPage {
    /// The users, in the requested order.
    pub users: Vec<User>,
    /// The users that could not be decoded.
    pub unreadable: Vec<UnreadableUser>,
    /// The number of users that match the query, regardless of offset and limit.
    pub total: u64,
}

/// One entry of a list of users.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use futures_util::TryStreamExt;
/// use marzban_api::resource::{UserEntry, ListUsers};
///
/// let users: Vec<UserEntry> = client.users().stream(ListUsers::new()).try_collect().await?;
/// let readable = users.iter().filter(|listed| matches!(listed, UserEntry::User(_))).count();
/// println!("{readable} of {} can be read", users.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum UserEntry {
    /// A user.
    User(Box<User>),
    /// A user that the panel cannot render, or that cannot be decoded.
    Unreadable(UnreadableUser),
}

/// The outcome of a deletion.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use marzban_api::resource::DeleteOutcome;
///
/// let was_there = client.users().delete("alice").await? == DeleteOutcome::Deleted;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeleteOutcome {
    /// The resource is gone: the panel confirmed the deletion, or its response was lost and a read no longer finds
    /// the resource.
    Deleted,
    /// The panel has no resource with this name or id.
    NotFound,
}

impl<'a> Users<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Fetches one user.
    ///
    /// On some databases the panel ignores case when it looks up a user; compare the username in the result.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let alice = client.users().get("alice").await?;
    /// println!("{:?} until {:?}", alice.status, alice.expire);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](ErrorKind::NotFound): there is no such user. Check [`Error::is_user_not_found`] before drawing
    ///   conclusions.
    /// - [`Forbidden`](ErrorKind::Forbidden): the user belongs to another admin.
    /// - [`Server`](ErrorKind::Server) with status 500: the panel cannot render the user, for example because its
    ///   `expire` was set in milliseconds.
    /// - [`InvalidInput`](ErrorKind::InvalidInput): the username is empty, `.` or `..`.
    pub async fn get(&self, username: &str) -> Result<User, Error> {
        let request = path_name(Request::get("users.get", USER), username)?;
        self.client.fetch(&request).await
    }

    /// Fetches one page of users.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::resource::ListUsers;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let page = client.users().list(&ListUsers::new().search("ali").limit(20)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Server`](ErrorKind::Server) with status 500: the panel cannot render one of the users of the page.
    /// - [`Rejected`](ErrorKind::Rejected): the panel does not support the status that was asked for.
    /// - [`Decode`](ErrorKind::Decode): more than 10,000 users of the page cannot be decoded.
    pub async fn list(&self, query: &ListUsers) -> Result<UsersPage, Error> {
        let request = query.request("users.list");
        let response = self.client.execute(&request).await?;
        let (listed, total) = read_page(&response, &request)?;
        let mut page = UsersPage {
            users: Vec::new(),
            unreadable: Vec::new(),
            total,
        };
        for entry in listed {
            match entry {
                Ok(user) => page.users.push(user),
                Err(user) => page.unreadable.push(user),
            }
        }
        Ok(page)
    }

    /// Streams all users that match the query, page by page, each of them once.
    ///
    /// Sorts by `created_at`, then `username`, overriding the query's own order; this keeps pagination complete while
    /// users are added or removed. A user that exists from the first request to the last is never missed. A user that
    /// the panel cannot render is isolated and returned as [`UserEntry::Unreadable`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use futures_util::StreamExt;
    /// # use marzban_api::resource::ListUsers;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let mut users = std::pin::pin!(client.users().stream(ListUsers::new()));
    /// while let Some(listed) = users.next().await {
    ///     println!("{:?}", listed?.username());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The first error ends the stream. Besides the [errors of every operation](crate::resource#errors), it is
    /// [`Decode`](ErrorKind::Decode) when the pages contradict their total.
    pub fn stream(&self, query: ListUsers) -> impl Stream<Item = Result<UserEntry, Error>> + Send + use<> {
        let paginator = Paginator::new(query.first(), query.page_size().unwrap_or(PAGE_SIZE));
        let query = query.sort([
            UserSort::ascending(UserSortField::CreatedAt),
            UserSort::ascending(UserSortField::Username),
        ]);
        let state = (self.client.clone(), query, paginator, VecDeque::new());
        try_unfold(state, |(client, query, mut paginator, mut ready)| async move {
            while ready.is_empty() && paginator.window().is_some() {
                ready.extend(client.users().next_page(&query, &mut paginator).await?);
            }
            Ok(ready
                .pop_front()
                .map(|listed| (listed, (client, query, paginator, ready))))
        })
    }

    /// Fetches the users with these usernames, in batches.
    ///
    /// A batch has at most 100 usernames. Its size adapts to the panel's speed, so that a request takes about a
    /// second. A client and its clones send one batch at a time. If the panel fails on a batch, the batch is halved
    /// until the user that cannot be rendered is isolated.
    ///
    /// Usernames are compared exactly. A user whose username differs only in case counts as the requested one if just
    /// one requested username is like it, because some databases behind the panel ignore case.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let answer = client.users().get_many(&["alice", "bob"]).await?;
    /// println!("{} found, missing: {:?}", answer.found.len(), answer.missing);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors), [`Server`](ErrorKind::Server) when no user of
    /// a batch can be read, or when 16 requests fail before one succeeds: the panel is then broken rather than a
    /// user.
    pub async fn get_many<S: AsRef<str> + Sync>(&self, names: &[S]) -> Result<BatchGet, Error> {
        self.read_many("users.get_many", names).await
    }

    /// Fetches summaries of the users with these usernames, in batches, and skips all other fields.
    ///
    /// It sends the same requests as [`get_many`](Self::get_many). A user is readable here even if a skipped field of
    /// it cannot be decoded.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let answer = client.users().get_many_summaries(&["alice", "bob"]).await?;
    /// println!("{:?}", answer.found.get("alice").map(|user| &user.status));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`get_many`](Self::get_many).
    pub async fn get_many_summaries<S: AsRef<str> + Sync>(
        &self,
        names: &[S],
    ) -> Result<BatchGet<UserSummary>, Error> {
        self.read_many("users.get_many_summaries", names).await
    }

    /// Deletes a user.
    ///
    /// Marzban answers 500 to the deletion of a user without an owner, although it deletes the user. So after a 5xx,
    /// a time-out or a broken connection the user is read again to find out.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.users().delete("alice").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Server`](ErrorKind::Server): the deletion failed and the user still exists.
    /// - [`Indeterminate`](ErrorKind::Indeterminate): the user may be deleted now or later. Read it before acting.
    /// - [`Forbidden`](ErrorKind::Forbidden): the user belongs to another admin.
    /// - [`NotFound`](ErrorKind::NotFound): the route is unknown, which proves nothing about the user.
    /// - [`InvalidInput`](ErrorKind::InvalidInput): the username is empty, `.` or `..`.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the user may or may not be deleted. Calling again is safe.
    pub async fn delete(&self, username: &str) -> Result<DeleteOutcome, Error> {
        let request = path_name(Request::delete("users.delete", USER), username)?;
        let is_gone = Error::is_user_not_found;
        delete(self.client, &request, is_gone, || self.get(username)).await
    }

    async fn read_many<T: Entry, S: AsRef<str> + Sync>(
        &self,
        operation: &'static str,
        names: &[S],
    ) -> Result<BatchGet<T>, Error> {
        let names: BTreeSet<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        let mut names = names.into_iter().peekable();
        let room = MAX_URI_LEN.saturating_sub(self.client.prefix_len() + "/api/users?".len());
        let mut result = BatchGet::default();
        loop {
            let batch = take_batch(&mut names, self.client.batching().size(), room);
            if batch.is_empty() {
                return Ok(result);
            }
            self.read_batch(operation, batch, &mut result).await?;
        }
    }

    async fn next_page(&self, query: &ListUsers, paginator: &mut Paginator) -> Result<Vec<UserEntry>, Error> {
        let Some(window) = paginator.window() else {
            return Ok(Vec::new());
        };
        let query = query.clone().offset(window.offset).limit(window.limit);
        let class = if window.limit > 1 {
            RetryClass::SplittableRead
        } else {
            RetryClass::Safe
        };
        let request = query.request("users.stream").with_retry_class(class);
        let error = match self.client.execute(&request).await {
            Ok(response) => {
                let (page, total) = read_page(&response, &request)?;
                let page = page.into_iter().map(UserEntry::from).collect();
                return paginator
                    .on_page(page, total, UserEntry::username)
                    .map_err(|error| response.error(ErrorKind::Decode, &request).with_source(error));
            }
            Err(error) if is_render_failure(&error, &request) => error,
            Err(error) => return Err(error),
        };
        match paginator.on_error() {
            PageFailure::Narrowed => Ok(Vec::new()),
            PageFailure::UnreadableUser => Ok(vec![UserEntry::Unreadable(UnreadableUser {
                username: None,
                error,
            })]),
            PageFailure::GiveUp => Err(error),
        }
    }

    /// Reads one batch, halving it around users that the panel cannot render.
    async fn read_batch<T: Entry>(
        &self,
        operation: &'static str,
        batch: Vec<String>,
        result: &mut BatchGet<T>,
    ) -> Result<(), Error> {
        let of_many = batch.len() > 1;
        let mut pending = vec![batch];
        let mut bisection = Bisection::default();
        let mut failure = None;
        while let Some(mut batch) = pending.pop() {
            let class = if batch.len() > 1 {
                RetryClass::SplittableRead
            } else {
                RetryClass::Safe
            };
            let request = ListUsers::new()
                .usernames(&batch)
                .request(operation)
                .with_retry_class(class);
            match self.execute_batch(&request, batch.len()).await {
                Ok(response) => {
                    bisection.succeeded();
                    let (listed, _) = read_page(&response, &request)?;
                    let ambiguous = |reason| response.error(ErrorKind::Decode, &request).with_message(reason);
                    result.assign(batch, listed, ambiguous);
                }
                Err(error) if is_render_failure(&error, &request) => {
                    if bisection.failed_for_good() {
                        return Err(error);
                    }
                    let second = batch.split_off(batch.len().div_ceil(2));
                    if second.is_empty() {
                        result
                            .failed
                            .extend(batch.into_iter().map(|name| (name, error.clone())));
                    } else {
                        pending.extend([second, batch]);
                    }
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        // If none of several users can be rendered, the panel is broken rather than the users.
        match failure {
            Some(error) if of_many && !bisection.has_succeeded() => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends a batch when no other one is under way, and adapts the batch size to the time it takes.
    async fn execute_batch(&self, request: &Request, names: usize) -> Result<Response, Error> {
        let batching = self.client.batching();
        let _turn = batching.turn().await;
        let outcome = self.client.execute(request).await;
        match &outcome {
            Ok(response) => batching.learn(names, response.took),
            Err(error) if error.kind() == ErrorKind::Timeout => batching.learn_timeout(names),
            Err(_) => {}
        }
        outcome
    }
}

impl UserEntry {
    /// Returns the username, if it is known.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let panel = marzban_api::testing::FakePanel::start().await;
    /// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
    /// use futures_util::TryStreamExt;
    /// use marzban_api::resource::{ListUsers, UserEntry};
    /// # panel.insert_user(marzban_api::testing::FakeUser::new("alice"));
    ///
    /// let users: Vec<UserEntry> = client.users().stream(ListUsers::new()).try_collect().await?;
    /// assert_eq!(users[0].username(), Some("alice"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(&user.username),
            Self::Unreadable(user) => user.username.as_deref(),
        }
    }
}

impl From<Result<User, UnreadableUser>> for UserEntry {
    fn from(entry: Result<User, UnreadableUser>) -> Self {
        match entry {
            Ok(user) => Self::User(Box::new(user)),
            Err(user) => Self::Unreadable(user),
        }
    }
}

/// Returns whether the panel failed on one record, which need not affect other records. A failed login does not
/// count: it belongs to another operation.
fn is_render_failure(error: &Error, request: &Request) -> bool {
    let internal = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
    error.status() == Some(internal) && !error.is_by_proxy() && error.operation() == request.operation()
}
