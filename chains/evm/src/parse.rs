//! The one grammar of hex texts: `0x`, exact length, any letter case.

use alloy::primitives::{Address, B256};

/// Pairs of hex digits, without a prefix.
pub(crate) fn hex(digits: &str) -> Option<Vec<u8>> {
    // The library takes a `0x` here as well, which would be a second spelling.
    if digits.starts_with("0x") { None } else { alloy::hex::decode(digits).ok() }
}

fn exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 2 * N)?;
    let mut bytes = [0; N];
    (!digits.starts_with("0x")).then_some(())?;
    alloy::hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

/// `0x` and 40 hex digits, whatever their letter case says as a checksum.
pub(crate) fn address(text: &str) -> Option<Address> {
    exact(text).map(Address::new)
}

/// `0x` and 64 hex digits.
pub(crate) fn word(text: &str) -> Option<B256> {
    exact(text).map(B256::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_words_have_one_length_and_any_case() {
        let good = format!("0x{}", "aB".repeat(20));
        assert_eq!(address(&good), Some(Address::repeat_byte(0xab)));
        assert_eq!(word(&format!("0x{}", "01".repeat(32))), Some(B256::repeat_byte(1)));
        let bare = "ab".repeat(20);
        for bad in [
            "",
            "0x",
            &bare,
            &format!("0X{bare}"),
            &format!("0x{}", "ab".repeat(19)),
            &format!("0x{bare}ab"),
            &format!("0x{bare} "),
            &format!("0x0x{}", "ab".repeat(19)),
            &format!("0x{}zz", "ab".repeat(19)),
            &format!("0x{}", "é".repeat(20)),
        ] {
            assert_eq!(address(bad), None, "{bad:?}");
        }
        for bytes in [31, 33] {
            assert_eq!(word(&format!("0x{}", "01".repeat(bytes))), None);
        }
    }
}
