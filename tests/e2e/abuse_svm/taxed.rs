//! Tokens of Token-2022 that take a part of each transfer: valid means that it would be called settled.

use chains_svm::{
    local::{Genesis, Payer, Pubkey},
    programs::TOKEN_2022,
    token::associated_account,
};
use e2e::{
    service::{Home, config::table},
    svm::Draft,
    validator::{TOKENS, Validator, payee},
};

use toml::Table;

use super::coins;

/// A hundredth, in ten thousandths.
const FEE_POINTS: u16 = 100;
/// Extensions of a mint begin after as many bytes as a token account has.
const BASE_LEN: usize = 165;
/// The lamports of these accounts: more than they need.
const LAMPORTS: u64 = 10_000_000;

fn mint_of(points: u16) -> Pubkey {
    Payer::numbered(7_000 + u64::from(points)).address()
}

/// A base that is filled up, the kind of account, and one extension.
fn extended(mut base: Vec<u8>, kind: u8, extension: u16, data: &[u8]) -> Vec<u8> {
    base.resize(BASE_LEN, 0);
    let length = u16::try_from(data.len()).expect("short");
    [base.as_slice(), &[kind], &extension.to_le_bytes(), &length.to_le_bytes(), data].concat()
}

/// A mint with `TransferFeeConfig` that nobody can change.
fn mint(points: u16) -> Vec<u8> {
    let no_authority = [0; 36];
    let base = [&no_authority[..], &TOKENS.to_le_bytes(), &[6, 1], &no_authority[..]].concat();
    let fee = [&0_u64.to_le_bytes()[..], &u64::MAX.to_le_bytes(), &points.to_le_bytes()].concat();
    extended(base, 1, 1, &[&[0; 64][..], &0_u64.to_le_bytes(), &fee, &fee].concat())
}

/// A token account with `TransferFeeAmount`.
fn tokens(mint: &Pubkey, owner: &Pubkey, amount: u64) -> Vec<u8> {
    let (none, initialized) = ([0; 36], 1);
    let parts: [&[u8]; 7] =
        [mint.as_ref(), owner.as_ref(), &amount.to_le_bytes(), &none, &[initialized], &[0; 20], &none];
    extended(parts.concat(), 2, 2, &[0; 8])
}

fn put(genesis: &mut Genesis, points: u16) {
    let mint_address = mint_of(points);
    genesis.account(&mint_address, LAMPORTS, &TOKEN_2022, &mint(points));
    for (owner, amount) in [(Payer::numbered(0).address(), TOKENS), (payee().address(), 0)] {
        let address = associated_account(&owner, &mint_address, &TOKEN_2022);
        genesis.account(&address, LAMPORTS, &TOKEN_2022, &tokens(&mint_address, &owner, amount));
    }
}

fn asset(points: u16) -> Table {
    table([
        ("mint", mint_of(points).to_string().into()),
        ("symbol", format!("TAX{points}").into()),
        ("decimals", 6.into()),
        ("extensions_allowed", vec!["transfer_fee"].into()),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_token_that_takes_a_part_of_each_transfer_is_valid_only_where_it_takes_nothing() {
    const TICKS_PER_SLOT: u32 = 32;
    let rates = [FEE_POINTS, 0];
    let validator = Validator::start_among(TICKS_PER_SLOT, |genesis| {
        for points in rates {
            put(genesis, points);
        }
    })
    .await;
    let home = rates.into_iter().map(asset).fold(Home::on(&validator), Home::asset);
    let service = home.serve().await;
    let before = coins(&validator).await;
    for points in rates {
        let mut draft = Draft::default();
        (draft.order.mint, draft.order.program) = (mint_of(points), Some(TOKEN_2022));
        let body = draft.body(&validator.chain, 2).await;
        let verified = service.post("/verify", &body).await;
        let settled = service.post("/settle", &body).await;
        if points == 0 {
            assert!(verified.is_good() && settled.is_good(), "{verified:?} {settled:?}\n{}", home.log());
            continue;
        }
        for (answer, code, words) in
            [(verified, "invalidReason", "invalidMessage"), (settled, "errorReason", "errorMessage")]
        {
            assert_eq!(answer.text(code), "invalid_exact_svm_transaction_simulation_failed", "{answer:?}");
            assert!(answer.text(words).contains("did not rise by the amount"), "{answer:?}");
        }
        assert_eq!(coins(&validator).await, before, "nothing was sent");
    }
    home.assert_audit();
}
