use proptest::prelude::*;
use solana_sdk::instruction::Instruction;
use spl_token_2022_interface::{
    extension::{
        confidential_mint_burn, confidential_transfer, confidential_transfer_fee, default_account_state,
        group_member_pointer, group_pointer, interest_bearing_mint, metadata_pointer, pausable, permissioned_burn,
        scaled_ui_amount, transfer_fee, transfer_hook,
    },
    instruction as token_instruction,
    state::AccountState,
};

use super::*;
use crate::{
    local_chain::{LocalChain, address},
    programs::TOKEN_2022,
};

fn mint() -> Pubkey {
    address(60)
}

/// The extension alone, as its own instruction makes it.
#[expect(clippy::default_trait_access, reason = "keys of nobody, whose type's crate is no dependency")]
fn initialise(extension: ExtensionType) -> Instruction {
    use ExtensionType as E;
    let (program, mint, somebody) = (&TOKEN_2022, &mint(), address(9));
    let some = Some(somebody);
    let made = match extension {
        E::TransferFeeConfig => transfer_fee::instruction::initialize_transfer_fee_config(
            program,
            mint,
            some.as_ref(),
            some.as_ref(),
            100,
            5,
        ),
        E::MintCloseAuthority => token_instruction::initialize_mint_close_authority(program, mint, some.as_ref()),
        E::ConfidentialTransferMint => {
            confidential_transfer::instruction::initialize_mint(program, mint, some, true, None)
        }
        E::ConfidentialTransferFeeConfig => {
            let key = Default::default();
            confidential_transfer_fee::instruction::initialize_confidential_transfer_fee_config(
                program, mint, some, &key,
            )
        }
        E::ConfidentialMintBurn => {
            let (key, supply) = (Default::default(), Default::default());
            confidential_mint_burn::instruction::initialize_mint(program, mint, &key, &supply)
        }
        E::DefaultAccountState => {
            default_account_state::instruction::initialize_default_account_state(program, mint, &AccountState::Frozen)
        }
        E::NonTransferable => token_instruction::initialize_non_transferable_mint(program, mint),
        E::InterestBearingConfig => interest_bearing_mint::instruction::initialize(program, mint, some, 100),
        E::PermanentDelegate => token_instruction::initialize_permanent_delegate(program, mint, &somebody),
        E::TransferHook => transfer_hook::instruction::initialize(program, mint, some, some),
        E::ScaledUiAmount => scaled_ui_amount::instruction::initialize(program, mint, some, 2.0),
        E::Pausable => pausable::instruction::initialize(program, mint, &somebody),
        E::PermissionedBurn => permissioned_burn::instruction::initialize(program, mint, &somebody),
        E::MetadataPointer => metadata_pointer::instruction::initialize(program, mint, some, some),
        E::GroupPointer => group_pointer::instruction::initialize(program, mint, some, some),
        E::GroupMemberPointer => group_member_pointer::instruction::initialize(program, mint, some, some),
        other => panic!("{other:?} is not made by an instruction before the mint"),
    };
    made.expect("an instruction")
}

/// The verdict about a mint that the real program made.
fn check_made(extensions: &[ExtensionType], allowed: &[Danger]) -> Result<SoundMint, MintError> {
    let mut chain = LocalChain::new();
    chain.mint(mint(), extensions, extensions.iter().copied().map(initialise).collect());
    let account = chain.account(mint());
    check(&account.owner, &account.data, &allowed.iter().copied().collect())
}

const SOUND: SoundMint = SoundMint { program: TOKEN_2022, decimals: 6 };

#[test]
fn extensions_that_describe_are_allowed() {
    use ExtensionType as E;
    assert_eq!(check_made(&[], &[]), Ok(SOUND));
    for extension in [E::MetadataPointer, E::GroupPointer, E::GroupMemberPointer] {
        assert_eq!(check_made(&[extension], &[]), Ok(SOUND), "{extension:?}");
    }
    assert_eq!(check_made(&[E::MetadataPointer, E::GroupPointer, E::GroupMemberPointer], &[]), Ok(SOUND));
}

/// F20.
#[test]
fn extensions_that_take_freeze_tax_hook_hide_or_block_are_refused_by_name() {
    use ExtensionType as E;
    let cases: [(&[ExtensionType], &[Danger]); 14] = [
        (&[E::TransferFeeConfig], &[Danger::TransferFee]),
        (&[E::MintCloseAuthority], &[Danger::MintClose]),
        (&[E::ConfidentialTransferMint], &[Danger::ConfidentialTransfer]),
        (
            &[E::TransferFeeConfig, E::ConfidentialTransferMint, E::ConfidentialTransferFeeConfig],
            &[Danger::TransferFee, Danger::ConfidentialTransfer, Danger::ConfidentialTransferFee],
        ),
        (
            &[E::ConfidentialTransferMint, E::ConfidentialMintBurn],
            &[Danger::ConfidentialTransfer, Danger::ConfidentialMintBurn],
        ),
        (&[E::DefaultAccountState], &[Danger::DefaultAccountState]),
        (&[E::NonTransferable], &[Danger::NonTransferable]),
        (&[E::InterestBearingConfig], &[Danger::InterestBearing]),
        (&[E::PermanentDelegate], &[Danger::PermanentDelegate]),
        (&[E::TransferHook], &[Danger::TransferHook]),
        (&[E::ScaledUiAmount], &[Danger::ScaledUiAmount]),
        (&[E::Pausable], &[Danger::Pausable]),
        (&[E::PermissionedBurn], &[Danger::PermissionedBurn]),
        (&[E::MetadataPointer, E::PermanentDelegate], &[Danger::PermanentDelegate]),
    ];
    for (extensions, dangers) in cases {
        assert_eq!(check_made(extensions, &[]), Err(MintError::Dangers(dangers.to_vec())), "{extensions:?}");
        assert_eq!(check_made(extensions, dangers), Ok(SOUND), "{extensions:?}, which the operator allows");
        let but_one = &dangers[1..];
        assert_eq!(check_made(extensions, but_one), Err(MintError::Dangers(vec![dangers[0]])), "{extensions:?}");
    }
}

/// Metadata and group data are written behind the mint by programs of their own.
#[test]
fn metadata_and_groups_in_the_mint_are_allowed_and_unknown_extensions_are_not() {
    use ExtensionType as E;
    let mut chain = LocalChain::new();
    chain.mint(mint(), &[E::MetadataPointer], vec![initialise(E::MetadataPointer)]);
    let data = chain.account(mint()).data;
    let with = |kind: u16| {
        let entry = [kind.to_le_bytes().as_slice(), &3_u16.to_le_bytes(), &[1, 2, 3]].concat();
        check(&TOKEN_2022, &[data.as_slice(), &entry].concat(), &BTreeSet::new())
    };
    for kind in [E::TokenMetadata, E::TokenGroup, E::TokenGroupMember] {
        assert_eq!(with(kind.into()), Ok(SOUND), "{kind:?}");
    }
    for kind in [E::ImmutableOwner, E::CpiGuard, E::PausableAccount] {
        assert_eq!(with(kind.into()), Err(MintError::NoMint), "{kind:?} belongs to accounts");
    }
    assert_eq!(with(29), Err(MintError::NoMint), "the first number that is not given yet");
    assert_eq!(with(u16::MAX), Err(MintError::NoMint));
}

#[test]
fn what_is_no_mint_of_a_token_program_is_refused() {
    let mut chain = LocalChain::new();
    chain.mint(mint(), &[], vec![]);
    chain.token_account(address(61), mint(), &[], vec![]);
    let (mint, account) = (chain.account(mint()), chain.account(address(61)));
    let none = BTreeSet::new();
    assert_eq!(check(&programs::TOKEN, &mint.data, &none), Ok(SoundMint { program: programs::TOKEN, decimals: 6 }));
    assert_eq!(check(&programs::MEMO, &mint.data, &none), Err(MintError::Owner(programs::MEMO)));
    assert_eq!(check(&TOKEN_2022, &account.data, &none), Err(MintError::NoMint));
    assert_eq!(check(&TOKEN_2022, &[], &none), Err(MintError::NoMint));
    assert_eq!(check(&TOKEN_2022, &mint.data[1..], &none), Err(MintError::NoMint));
    assert_eq!(check(&TOKEN_2022, &[0; 82], &none), Err(MintError::NoMint), "not initialised");
    let extended = [mint.data.as_slice(), &[0; 83], &[1]].concat();
    assert_eq!(check(&TOKEN_2022, &extended, &none), Ok(SOUND));
    assert_eq!(check(&programs::TOKEN, &extended, &none), Err(MintError::NoMint), "SPL Token has no extensions");
}

#[test]
fn every_danger_has_one_name() {
    for (danger, name) in Danger::ALL {
        assert_eq!((danger.to_string().as_str(), name.parse()), (name, Ok(danger)));
    }
    assert_eq!("metadata_pointer".parse::<Danger>(), Err(UnknownExtension));
    let message = MintError::Dangers(vec![Danger::TransferFee, Danger::Pausable]).to_string();
    assert_eq!(message, "its extensions transfer_fee, pausable are not allowed");
}

proptest! {
    #[test]
    fn no_bytes_panic(mut data in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = check(&TOKEN_2022, &data, &BTreeSet::new());
        // A mint up to its extensions, which then are anything.
        if data.len() > 166 {
            data[..166].fill(0);
            (data[45], data[165]) = (1, 1);
            let _ = check(&TOKEN_2022, &data, &BTreeSet::new());
        }
    }
}
