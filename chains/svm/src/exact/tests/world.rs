//! A chain in memory, with things of ours that are worth taking.

use std::{collections::HashMap, sync::LazyLock};

use litesvm::LiteSVM;
use solana_account::{Account, ReadableAccount};
use solana_sdk::{program_option::COption, program_pack::Pack};
use spl_token_2022_interface::state::{Account as TokenAccount, AccountState, Mint, Multisig};

use super::{hostile::pool, *};

pub(super) const SYSTEM: Pubkey = Pubkey::new_from_array([0; 32]);
const SOL: u64 = 1_000_000_000;
const TOKENS: u64 = 1_000_000_000;

/// A key that has nothing yet.
pub(super) fn newcomer() -> Keypair {
    Keypair::new_from_array([6; 32])
}

/// An account of tokens of ours that is empty and could be closed.
pub(super) fn our_empty_account() -> Pubkey {
    key(41)
}

/// A multisig that we alone can sign for, and its tokens.
pub(super) fn our_multisig() -> (Pubkey, Pubkey) {
    (key(42), key(43))
}

/// A durable nonce whose authority we are.
pub(super) fn our_nonce() -> Pubkey {
    key(44)
}

/// Everything that nobody may take from us.
pub(super) fn possessions() -> [Pubkey; 8] {
    let [first, second] = [ours().pubkey(), also_ours().pubkey()];
    let (multisig, multisig_account) = our_multisig();
    let (empty, nonce) = (our_empty_account(), our_nonce());
    [first, second, account_of(&first), account_of(&second), empty, multisig, multisig_account, nonce]
}

pub(super) fn token_account(owner: Pubkey, mint: Pubkey, amount: u64) -> TokenAccount {
    let delegate = COption::None;
    let state = AccountState::Initialized;
    TokenAccount { mint, owner, amount, delegate, state, ..TokenAccount::default() }
}

pub(super) fn packed<T: Pack>(state: T) -> Vec<u8> {
    let mut data = vec![0; T::LEN];
    T::pack(state, &mut data).expect("room");
    data
}

fn nonce_data() -> Vec<u8> {
    let (version, initialized) = (1_u32, 1_u32);
    let fee = 5_000_u64;
    [&version.to_le_bytes(), &initialized.to_le_bytes(), ours().pubkey().as_ref(), &[8; 32], &fee.to_le_bytes()]
        .concat()
}

/// The place of a thing of SPL Token when the token is one of Token-2022.
pub(super) fn twin(address: &Pubkey) -> Pubkey {
    static TWINS: LazyLock<HashMap<Pubkey, Pubkey>> = LazyLock::new(|| {
        let moved = |owner: Pubkey| token::associated_account(&owner, &mint(), &programs::TOKEN_2022);
        let accounts = pool().into_iter().map(|owner| (account_of(&owner), moved(owner)));
        accounts.chain([(programs::TOKEN, programs::TOKEN_2022)]).collect()
    });
    TWINS.get(address).copied().unwrap_or(*address)
}

/// The chain, with everybody's accounts and the real token and memo programs;
/// `at` says where each thing stands: in its place, or at its [`twin`].
/// The memo program answers in place of Lighthouse, which is not bundled.
pub(super) fn world(at: fn(&Pubkey) -> Pubkey) -> LiteSVM {
    let mut svm = LiteSVM::new();
    let mut set = |address: Pubkey, owner: Pubkey, lamports: u64, data: Vec<u8>| {
        let (address, owner) = (at(&address), at(&owner));
        let account = Account { lamports, data, owner, executable: false, rent_epoch: u64::MAX };
        svm.set_account(address, account).expect("an account");
    };
    for holder in [ours(), also_ours(), payer(), stranger()] {
        set(holder.pubkey(), SYSTEM, 10 * SOL, vec![]);
    }
    let authority = COption::Some(stranger().pubkey());
    let state = Mint {
        mint_authority: authority,
        supply: TOKENS,
        decimals: DECIMALS,
        is_initialized: true,
        freeze_authority: COption::None,
    };
    set(mint(), programs::TOKEN, SOL, packed(state));
    let token = |owner: Pubkey, amount| packed(token_account(owner, mint(), amount));
    for holder in [ours().pubkey(), also_ours().pubkey(), payer().pubkey(), stranger().pubkey(), merchant()] {
        set(account_of(&holder), programs::TOKEN, SOL, token(holder, TOKENS));
    }
    set(our_empty_account(), programs::TOKEN, SOL, token(ours().pubkey(), 0));
    let (multisig, multisig_account) = our_multisig();
    let mut state = Multisig { m: 1, n: 2, is_initialized: true, ..Multisig::default() };
    (state.signers[0], state.signers[1]) = (ours().pubkey(), also_ours().pubkey());
    set(multisig, programs::TOKEN, SOL, packed(state));
    set(multisig_account, programs::TOKEN, SOL, token(multisig, TOKENS));
    set(our_nonce(), SYSTEM, SOL, nonce_data());
    let stand_in = svm.get_account(&programs::MEMO).expect("a default program").data;
    svm.add_program(programs::LIGHTHOUSE, &stand_in).expect("a program");
    svm
}

/// The state that a transaction left behind.
pub(super) struct After {
    /// The fee that the network took, also from a transaction that failed.
    pub fee: u64,
    /// The accounts that it touched; `None` when it failed.
    pub accounts: Option<Vec<(Pubkey, Account)>>,
}

/// Executes a transaction on the chain as it is, and forgets it again.
pub(super) fn execute(svm: &LiteSVM, transaction: VersionedTransaction) -> After {
    match svm.simulate_transaction(transaction) {
        Ok(done) => {
            let accounts = done.post_accounts.into_iter().map(|(key, account)| (key, Account::from(account)));
            After { fee: done.meta.fee, accounts: Some(accounts.collect()) }
        }
        Err(failed) => After { fee: failed.meta.fee, accounts: None },
    }
}

/// The account before; one that does not exist is empty.
pub(super) fn before(svm: &LiteSVM, address: &Pubkey) -> Account {
    svm.get_account(address).unwrap_or_default()
}

/// Returns whether two states of an account differ in anything that is worth something.
pub(super) fn differs(one: &Account, other: &Account) -> bool {
    (one.lamports(), one.data(), one.owner()) != (other.lamports(), other.data(), other.owner())
}
