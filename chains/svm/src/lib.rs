//! Solana: everything about it, and the only place that knows the solana crates.
