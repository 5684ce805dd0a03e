//! THE list of chain families. A new one is one line here and one dependency.

use chains_core::family::Family;

/// Every family that can be configured.
pub const FAMILIES: &[&dyn Family] = &[&chains_evm::Evm, &chains_svm::Svm];

/// Sets up TLS for every HTTP client of this process. Called before anything else.
pub fn set_up_tls() {
    chains_evm::install_ring();
}
