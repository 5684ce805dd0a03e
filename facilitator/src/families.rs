//! THE list of chain families. Another one is one line in here and one in `Cargo.toml`.

use chains_core::family::Family;

/// Every family of this build.
pub static FAMILIES: &[&dyn Family] = &[&chains_evm::Evm];
