//! One process owns the database.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{file, open::OpenError};

/// The operating system's lock on `<database>.lock`; given back when this is
/// dropped, and by the system when the process dies.
///
/// SQLite's own locks do not do: they are held for a transaction, not for as
/// long as a process gives out nonces.
#[derive(Debug)]
pub(super) struct FileLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl FileLock {
    /// Takes the lock of a resolved file, or says which process has it.
    pub(super) fn take(database: &Path) -> Result<Self, OpenError> {
        let path = path_of(database);
        let failed = |source| OpenError::File { path: path.clone(), source };
        let mut file = file::open_private(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { lock: path, holder: read_holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Only a help for the message above: the lock holds without it.
        let noted = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::debug!(%error, "the lock file does not name this process");
        }
        Ok(Self(file))
    }

    /// The process that holds the lock of a resolved file now.
    pub(super) fn holder(database: &Path) -> Option<String> {
        let mut file = File::open(path_of(database)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_holder(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }
}

fn path_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

fn read_holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), pid) if !pid.is_empty() => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}
