//! The laws bite: a store, or a panel, with one planted fault breaks the law that forbids it.

mod faulty;
mod panels;
mod stores;
