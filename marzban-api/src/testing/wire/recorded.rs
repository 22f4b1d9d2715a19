//! The requests that arrived.

use crate::testing::api::Request;

/// A request that reached the fake panel: no header and no body, hence neither token nor password.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// client.admins().current().await?;
/// let request = panel.requests().pop().ok_or("nothing was asked")?;
/// assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/api/admin"));
/// assert_eq!((request.query.as_str(), request.status, request.body_bytes), ("", Some(200), 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method, in capitals.
    pub method: String,
    /// The path as it was sent, still percent-encoded.
    pub path: String,
    /// The query as it was sent, without the question mark; empty if there was none.
    pub query: String,
    /// The status that was sent, or `None` while the answer is under way and where none was given.
    pub status: Option<u16>,
    /// The length of the body in bytes.
    pub body_bytes: usize,
}

/// The requests so far, in the order of their arrival.
#[derive(Default)]
pub(crate) struct RequestLog {
    requests: Vec<RecordedRequest>,
    /// Counts how often the log was cleared, so that a late answer finds its request or nothing.
    generation: u64,
}

/// Finds a request in the log again, unless the log was cleared meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    generation: u64,
    index: usize,
}

impl RequestLog {
    pub(crate) fn record(&mut self, request: &Request) -> (Ticket, RecordedRequest) {
        let recorded = RecordedRequest {
            method: request.method.clone(),
            path: request.raw_path.clone(),
            query: request.raw_query.clone(),
            status: None,
            body_bytes: request.body.len(),
        };
        let ticket = Ticket {
            generation: self.generation,
            index: self.requests.len(),
        };
        self.requests.push(recorded.clone());
        (ticket, recorded)
    }

    pub(crate) fn note_status(&mut self, ticket: Ticket, status: u16) {
        if self.generation == ticket.generation
            && let Some(request) = self.requests.get_mut(ticket.index)
        {
            request.status = Some(status);
        }
    }

    pub(crate) fn requests(&self) -> &[RecordedRequest] {
        &self.requests
    }

    pub(crate) fn clear(&mut self) {
        self.requests.clear();
        self.generation += 1;
    }
}
