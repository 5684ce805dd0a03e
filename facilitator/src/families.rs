//! THE list of chain families. A new one is one line here and one dependency.

use chains_core::family::Family;

/// Every family that can be configured.
pub const FAMILIES: &[&dyn Family] = &[&chains_evm::Evm, &chains_svm::Svm];
