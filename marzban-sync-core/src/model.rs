//! Data: what a bot's rows and a panel's users are, what is to be done about them, and what a run reports. No decision, no
//! I/O.

pub mod account;
pub mod agreement;
pub mod end_date;
pub mod observation;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod report;
pub mod run;
pub mod trail;
