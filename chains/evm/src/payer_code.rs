//! The code that decides about a payer's signature.

use alloy::primitives::{Address, Bytes, keccak256};
use chains_core::chain::ChainUnavailable;

use crate::{
    context::Context,
    rpc::{error::CallError, method::Call},
};

/// The beginning of the code of an account that delegates to another (EIP-7702).
const DELEGATION: [u8; 3] = [0xef, 0x01, 0x00];

/// The name of the code that a payer runs: its hash, or that of the code that
/// an EIP-7702 account delegates to, so that all payers that run the same have
/// the same name. `None` for a payer without code.
///
/// # Errors
/// The chain could not be asked.
pub(crate) async fn payer_code(context: &Context, payer: Address) -> Result<Option<String>, ChainUnavailable> {
    let code = |account| async move {
        let code: Result<Bytes, CallError> = context.rpc.call(Call::code(account)).await;
        code.map_err(|error| context.rpc.unavailable(error))
    };
    let own = code(payer).await?;
    let Some(delegate) = delegate(&own) else { return Ok(name(&own)) };
    // A delegate that is a delegation itself is run as it stands: as nothing.
    Ok(name(&code(delegate).await?).or_else(|| name(&own)))
}

/// The name of code that a payer is yet to have: of the factory that makes it.
pub(crate) fn of_factory(factory: Address) -> String {
    format!("factory {factory}")
}

fn name(code: &[u8]) -> Option<String> {
    (!code.is_empty()).then(|| keccak256(code).to_string())
}

fn delegate(code: &[u8]) -> Option<Address> {
    code.strip_prefix(&DELEGATION).filter(|rest| rest.len() == 20).map(Address::from_slice)
}

#[cfg(test)]
mod tests {
    use alloy::hex;
    use serde_json::json;

    use super::*;
    use crate::fake_node::{self, FakeNode, Say};

    #[tokio::test]
    async fn payers_that_run_the_same_code_have_the_same_name() {
        let account = Address::repeat_byte;
        let node = FakeNode::start(move |_, params| {
            let is = |byte: u8| params[0] == json!(format!("{:#x}", account(byte)));
            let delegation = |to: u8| hex::encode_prefixed([&DELEGATION[..], account(to).as_slice()].concat());
            Say::Result(json!(match () {
                () if is(1) || is(9) => "0x6001".to_owned(),
                () if is(2) || is(3) => delegation(9),
                () if is(4) => delegation(8),
                () => "0x".to_owned(),
            }))
        })
        .await;
        let context = fake_node::context(&node);
        let mut names = vec![];
        for byte in [1, 2, 3, 4, 5] {
            names.push(payer_code(&context, account(byte)).await.expect("an answer"));
        }
        assert_eq!(names[0], Some(keccak256([0x60, 0x01]).to_string()));
        assert_eq!((&names[1], &names[2]), (&names[0], &names[0]), "what is delegated to counts");
        assert!(names[3].is_some() && names[3] != names[0], "a delegation to nothing is code too");
        assert_eq!(names[4], None);
    }
}
