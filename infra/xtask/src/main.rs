//! Codegen, tidy checks.
fn main() {}
