//! The unit tests of the scheduler, which stand in its modules.

#![expect(dead_code, reason = "nobody starts the process here")]

mod arguments;
