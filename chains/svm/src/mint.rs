//! Checks that a mint moves exactly what it is told. Pure: reads an account's bytes.
//!
//! A mint of SPL Token has no extensions. A mint of Token-2022 may have any,
//! and a payment is worth its amount only where none of them can change that:
//! so only extensions that describe are allowed, and one that this build does
//! not know is refused with the others.

use std::{collections::BTreeSet, fmt, str::FromStr};

use solana_sdk::{program_pack::Pack, pubkey::Pubkey};
use spl_token_2022_interface::{
    extension::{BaseStateWithExtensions, ExtensionType, StateWithExtensions},
    state::Mint,
};

use crate::programs;

/// An extension that makes a mint's tokens worth less than they say, or that
/// may do so later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Danger {
    /// `TransferFeeConfig`: the payee gets less than was sent.
    TransferFee,
    /// `MintCloseAuthority`: the mint can be closed, and opened again with
    /// other decimals and extensions.
    MintClose,
    /// `ConfidentialTransferMint`: amounts can be hidden from whoever proves them.
    ConfidentialTransfer,
    /// `ConfidentialTransferFeeConfig`: a fee, hidden as well.
    ConfidentialTransferFee,
    /// `ConfidentialMintBurn`: the supply is hidden.
    ConfidentialMintBurn,
    /// `DefaultAccountState`: the payee's new account is frozen until somebody thaws it.
    DefaultAccountState,
    /// `NonTransferable`: nothing can be paid with it.
    NonTransferable,
    /// `InterestBearingConfig`: shown amounts are not the moved ones.
    InterestBearing,
    /// `PermanentDelegate`: somebody can take the tokens back at any time.
    PermanentDelegate,
    /// `TransferHook`: a program of somebody's runs within each transfer and can refuse it.
    TransferHook,
    /// `ScaledUiAmount`: shown amounts are not the moved ones.
    ScaledUiAmount,
    /// `Pausable`: somebody can stop all transfers.
    Pausable,
    /// `PermissionedBurn`: who holds the tokens cannot redeem them alone.
    PermissionedBurn,
}

impl Danger {
    /// All of them, with the names that operators write.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::TransferFee, "transfer_fee"),
        (Self::MintClose, "mint_close"),
        (Self::ConfidentialTransfer, "confidential_transfer"),
        (Self::ConfidentialTransferFee, "confidential_transfer_fee"),
        (Self::ConfidentialMintBurn, "confidential_mint_burn"),
        (Self::DefaultAccountState, "default_account_state"),
        (Self::NonTransferable, "non_transferable"),
        (Self::InterestBearing, "interest_bearing"),
        (Self::PermanentDelegate, "permanent_delegate"),
        (Self::TransferHook, "transfer_hook"),
        (Self::ScaledUiAmount, "scaled_ui_amount"),
        (Self::Pausable, "pausable"),
        (Self::PermissionedBurn, "permissioned_burn"),
    ];
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(danger, _)| danger == self).map_or("unknown", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Danger {
    type Err = UnknownExtension;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(danger, _)| *danger).ok_or(UnknownExtension)
    }
}

/// No name of a [`Danger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such extension of a mint")]
pub struct UnknownExtension;

/// A mint that payments can be made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundMint {
    /// The token program that it belongs to.
    pub program: Pubkey,
    /// Its decimals.
    pub decimals: u8,
}

/// The reason why no payment can be made in a mint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The account belongs to another program.
    #[error("its account belongs to {0}, which is not a token program")]
    Owner(Pubkey),
    /// The account's data are not a mint.
    #[error("its account is not an initialised mint, or has an extension that is unknown here")]
    NoMint,
    /// Extensions that are refused, and that the operator has not allowed.
    #[error("its extensions {} are not allowed", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Dangers(Vec<Danger>),
}

/// Evaluates the mint account's owner and data. `allowed` are the dangers that
/// the operator takes upon itself for this very mint.
///
/// # Errors
/// See [`MintError`].
pub fn check(owner: &Pubkey, data: &[u8], allowed: &BTreeSet<Danger>) -> Result<SoundMint, MintError> {
    if !programs::is_token(owner) {
        return Err(MintError::Owner(*owner));
    }
    let mint = StateWithExtensions::<Mint>::unpack(data).map_err(|_| MintError::NoMint)?;
    let extensions = mint.get_extension_types().map_err(|_| MintError::NoMint)?;
    if *owner == programs::TOKEN && data.len() != Mint::LEN {
        return Err(MintError::NoMint);
    }
    let mut dangers = Vec::new();
    for extension in extensions {
        match meaning(extension) {
            Meaning::Describes => {}
            Meaning::Endangers(danger) if allowed.contains(&danger) => {}
            Meaning::Endangers(danger) => dangers.push(danger),
            Meaning::NotOfMints => return Err(MintError::NoMint),
        }
    }
    if !dangers.is_empty() {
        return Err(MintError::Dangers(dangers));
    }
    Ok(SoundMint { program: *owner, decimals: mint.base.decimals })
}

/// The meaning of an extension for a payment.
enum Meaning {
    /// A name, a picture, the collection it belongs to.
    Describes,
    /// See there.
    Endangers(Danger),
    /// An extension of token accounts, or none at all.
    NotOfMints,
}

fn meaning(extension: ExtensionType) -> Meaning {
    use ExtensionType as E;
    let danger = match extension {
        E::MetadataPointer
        | E::TokenMetadata
        | E::GroupPointer
        | E::TokenGroup
        | E::GroupMemberPointer
        | E::TokenGroupMember => return Meaning::Describes,
        E::TransferFeeConfig => Danger::TransferFee,
        E::MintCloseAuthority => Danger::MintClose,
        E::ConfidentialTransferMint => Danger::ConfidentialTransfer,
        E::ConfidentialTransferFeeConfig => Danger::ConfidentialTransferFee,
        E::ConfidentialMintBurn => Danger::ConfidentialMintBurn,
        E::DefaultAccountState => Danger::DefaultAccountState,
        E::NonTransferable => Danger::NonTransferable,
        E::InterestBearingConfig => Danger::InterestBearing,
        E::PermanentDelegate => Danger::PermanentDelegate,
        E::TransferHook => Danger::TransferHook,
        E::ScaledUiAmount => Danger::ScaledUiAmount,
        E::Pausable => Danger::Pausable,
        E::PermissionedBurn => Danger::PermissionedBurn,
        E::Uninitialized
        | E::TransferFeeAmount
        | E::ConfidentialTransferAccount
        | E::ImmutableOwner
        | E::MemoTransfer
        | E::CpiGuard
        | E::NonTransferableAccount
        | E::TransferHookAccount
        | E::ConfidentialTransferFeeAmount
        | E::PausableAccount => return Meaning::NotOfMints,
    };
    Meaning::Endangers(danger)
}

#[cfg(test)]
mod tests;
