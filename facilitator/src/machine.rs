//! Checks of the machine at the start: its clock, and the mode of the store's files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use chains_core::clock::Millis;

/// The first moment of 2025. This program did not exist before.
const EARLIEST: Millis = Millis(1_735_689_600_000);

/// The clock cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the machine's clock is set to a time before 2025: payments would all look as if they were not valid yet. \
     Set the clock, best by NTP, and start again"
)]
pub struct ClockWrong;

/// The machine's name in its network.
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Checks that the clock can be right.
///
/// # Errors
/// It cannot.
pub fn check_clock(now: Millis) -> Result<(), ClockWrong> {
    if now < EARLIEST { Err(ClockWrong) } else { Ok(()) }
}

/// Takes the files of a store away from other users, to whom an older release left them readable.
pub fn keep_private(database: &Path) {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let path = with_suffix(database, suffix);
        let Ok(seen) = fs::metadata(&path) else { continue };
        let mode = seen.permissions().mode();
        let of_others = mode & 0o077;
        if of_others == 0 {
            continue;
        }
        match fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o700)) {
            Ok(()) => tracing::info!(path = %path.display(), "other users could read this file; now they cannot"),
            Err(error) => tracing::warn!(
                path = %path.display(), %error,
                "other users can read this file: who pays whom stands in it. Run chmod 600"
            ),
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_cannot_be_right_is_refused() {
        // A time before 1970 reads as 0.
        assert_eq!(check_clock(Millis(0)), Err(ClockWrong));
        assert_eq!(check_clock(Millis(EARLIEST.0 - 1)), Err(ClockWrong));
        assert_eq!(check_clock(EARLIEST), Ok(()));
    }

    #[test]
    fn files_of_a_store_are_for_their_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("a.db");
        for (suffix, mode) in [("", 0o644), ("-wal", 0o660), (".lock", 0o600)] {
            let path = with_suffix(&database, suffix);
            fs::write(&path, "").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        }
        keep_private(&database);
        for suffix in ["", "-wal", ".lock"] {
            let mode = fs::metadata(with_suffix(&database, suffix)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{suffix}");
        }
    }
}
