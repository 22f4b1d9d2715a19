//! The four jobs as a bot runs them: a panel over HTTP, a PostgreSQL database, and every row looked at afterwards.

mod cleanup;
mod every_row;
mod faults;
mod oddities;
mod other_admins;
mod races;
mod records;
