//! The `tmws` program.

fn main() {}
