#![doc = include_str!("../README.md")]

mod client;
mod error;
pub mod model;
mod paging;
mod request;
pub mod resource;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod webhook;

pub use client::{Client, ClientBuilder, RequestBuilder, RetryPolicy, Throttle, Timeouts};
pub use error::{Detail, Error, ErrorKind};
pub use http::Method;
pub use secrecy::SecretString;
