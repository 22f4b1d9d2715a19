//! Posting notifications to the addresses of the panel's configuration.

use crate::testing::api::SECRET_HEADER;

/// What is posted to every address, in one go.
pub(crate) struct Batch {
    pub(crate) addresses: Vec<String>,
    pub(crate) secret: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Batch {
    /// Posts the batch and counts the addresses that accept it; one that cannot be reached does not.
    pub(crate) async fn post(&self) -> usize {
        let Ok(client) = reqwest::Client::builder().no_proxy().build() else {
            return 0;
        };
        let mut accepted = 0;
        for address in &self.addresses {
            let mut request = client
                .post(address)
                .header("content-type", "application/json")
                .header("user-agent", "python-requests/2.32.3")
                .body(self.body.clone());
            if let Some(secret) = &self.secret {
                request = request.header(SECRET_HEADER, secret);
            }
            let is_accepted = request
                .send()
                .await
                .is_ok_and(|response| response.status().as_u16() < 400);
            accepted += usize::from(is_accepted);
        }
        accepted
    }
}
