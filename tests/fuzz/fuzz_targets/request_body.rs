//! No body makes the reader panic, and what it accepts it accepts again.
#![no_main]

use chains_core::protocol::{self, LegacyNames};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let network = "eip155:84532".parse().expect("CAIP-2");
    let names: LegacyNames = [("base-sepolia".to_owned(), network)].into();
    if let Ok(request) = protocol::parse(body, &names) {
        let again = protocol::parse(body, &names).expect("read once, read twice");
        assert_eq!(request.version, again.version);
        if let Ok(payment) = request.payment {
            assert!(payment.amount.to_string().parse() == Ok(payment.amount));
        }
    }
});
