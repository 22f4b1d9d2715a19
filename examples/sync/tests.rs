//! The unit tests of the `sync` program, which stand in its modules.

#![expect(dead_code, reason = "nobody starts the program here")]

mod arguments;
mod output;
mod table;
