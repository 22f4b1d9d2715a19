//! The unit tests of the day, which stand in its modules.

#![expect(dead_code, reason = "nobody starts the process here")]

mod agreement;
mod clock;
mod screen;
mod script;
mod world;
