//! The cryptography of TLS.
//!
//! Solana's crates bring `ring` with them; a second library for the same would
//! only be more to build and to trust.

use rustls::crypto::{CryptoProvider, ring};

/// Makes `ring` the cryptography of every TLS connection of this process. Does
/// nothing when there is one already. Called before the first HTTP client is made.
pub fn install_ring() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else's, at the same moment, is as good.
        drop(ring::default_provider().install_default());
    }
}
