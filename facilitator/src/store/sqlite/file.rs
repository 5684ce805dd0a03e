//! The file that a path leads to, and its mode.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Links that are followed to a file that is not there yet; as many as Linux follows.
const LINKS_MAX: usize = 40;

/// Only the service's own user reads and writes what is stored.
const MODE: u32 = 0o600;

/// Returns the file that the path leads to, without links on the way: two
/// paths to one file have one answer. The file need not exist, its directory must.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.canonicalize()?,
            _ => Path::new(".").canonicalize()?,
        };
        let file = directory.join(name);
        match file.read_link() {
            // A link to a file that is not there: that file will be made.
            Ok(target) => path = directory.join(target),
            Err(_) => return Ok(file),
        }
    }
    Err(io::Error::other("there are too many links on the way"))
}

/// Opens a file to read and write, and makes it, for this user alone, if it is
/// not there.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)
}
