//! Nothing: the package is its example, `main.rs`.
