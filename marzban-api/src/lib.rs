#![doc = include_str!("../README.md")]

mod client;
mod error;
pub mod model;
mod paging;
mod request;
pub mod resource;
#[cfg(feature = "test-util")]
pub mod testing;

pub use client::{Client, ClientBuilder, Pacing, RetryPolicy, Timeouts};
pub use error::{Detail, Error, ErrorKind};
pub use secrecy::SecretString;
