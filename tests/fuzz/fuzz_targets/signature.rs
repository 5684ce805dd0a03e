//! No text makes the signature reader panic, and what it reads is bounded.
#![no_main]

use chains_evm::signature::Signature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(signature) = Signature::parse(text) {
        assert!(signature.inner.len() <= text.len());
        assert!(signature.by_key.is_none_or(|_| matches!(signature.inner.len(), 64 | 65)));
    }
});
