//! A file of archived settlements: JSON Lines. The first line names the file,
//! each other line is a settlement.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::line::{self, LineError};
use crate::{
    settlement::{SettlementId, Timeline},
    store::archive::Archive,
};

/// The version of the format.
const FORMAT: u32 = 1;

/// The longest first line.
const HEADER_MAX: u64 = 1024;

/// Only the service's own user reads and writes what was stored.
const MODE: u32 = 0o600;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    /// The file's name in the store that it belongs to.
    #[serde(rename = "facilitatorArchive")]
    id: Uuid,
    format: u32,
}

/// The reason why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process writes to it.
    #[error("{} is being written by another process; let that one end", .0.display())]
    Locked(PathBuf),
    /// It is something else, or of a later version of this program.
    #[error("{} is not an archive of settlements that this program knows; name another file", .0.display())]
    NotAnArchive(PathBuf),
    /// A line is not what was written.
    #[error("{}: the settlement at byte {offset} cannot be read: {why}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The place of the line.
        offset: u64,
        /// The reason.
        why: LineError,
    },
    /// A settlement does not read back from its line as the store has it.
    #[error("settlement {id} cannot be written as a line: {why}. A mistake in the program, please report it")]
    Unwritable {
        /// The settlement.
        id: SettlementId,
        /// The reason.
        why: LineError,
    },
    /// It ends before its settlements do.
    #[error(
        "{} has {found} bytes, but settlements up to byte {length} have left the store for it: it is not the whole \
         file. Find the whole one",
        .path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// The bytes that the store knows.
        length: u64,
    },
    /// It does not read back as it was written.
    #[error("{} does not read back as it was written: the disk is at fault. Nothing has left the store", .0.display())]
    Changed(PathBuf),
}

/// A file that settlements are added to, locked for this process.
#[derive(Debug)]
pub struct ArchiveFile {
    path: PathBuf,
    file: File,
    id: Uuid,
    length: u64,
}

impl ArchiveFile {
    /// Opens a file, or makes one with a new name. Blocks.
    ///
    /// # Errors
    /// The file is no archive, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FileError::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let length = file.metadata().map_err(failed)?.len();
        let path = path.canonicalize().map_err(failed)?;
        if length > 0 {
            let (id, _) = read_header(&path, &file)?;
            return Ok(Self { path, file, id, length });
        }
        let mut made = Self { path, file, id: Uuid::now_v7(), length };
        let header = serde_json::to_string(&Header { id: made.id, format: FORMAT });
        let header = header.map_err(|why| failed(why.into()))?;
        made.write(&(header + "\n"))?;
        let folder = made.path.parent().map(File::open);
        folder.transpose().and_then(|folder| folder.map_or(Ok(()), |folder| folder.sync_all())).map_err(failed)?;
        Ok(made)
    }

    /// Its name.
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Its bytes.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Its path, from the root.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Returns true when it holds its first line alone. Blocks.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn is_fresh(&self) -> Result<bool, FileError> {
        Ok(read_header(&self.path, &self.file)?.1 == self.length)
    }

    /// The settlements from a byte on that were written to the end; one whose
    /// line was cut by a crash, which is the last, is not among them. Blocks.
    ///
    /// # Errors
    /// The file, or a line with an end, cannot be read.
    pub fn whole_lines(&self, from: u64) -> Result<Vec<Timeline>, FileError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = &self.file;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| self.failed(source))?;
        let (mut whole, mut offset) = (vec![], from);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(text) = line.strip_suffix(b"\n") else { break };
            let failed = |why| FileError::Line { path: self.path.clone(), offset, why };
            whole.push(line::read(&String::from_utf8_lossy(text)).map_err(failed)?);
            offset += u64::try_from(line.len()).unwrap_or(u64::MAX);
        }
        Ok(whole)
    }

    /// Drops everything from a byte on, on disk. Blocks.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn cut(&mut self, length: u64) -> Result<(), FileError> {
        let cut = self.file.set_len(length).and_then(|()| self.file.sync_all());
        cut.map_err(|source| self.failed(source))?;
        self.length = length;
        Ok(())
    }

    /// Adds settlements, on disk, and reads them back. Blocks.
    ///
    /// # Errors
    /// One of them cannot be written, or does not read back; nothing counts as
    /// written then.
    pub fn append(&mut self, timelines: &[Timeline]) -> Result<(), FileError> {
        let mut text = String::new();
        for timeline in timelines {
            let id = timeline.record.id();
            let line = line::write(timeline).map_err(|why| FileError::Unwritable { id, why })?;
            let read = line::read(&line).map_err(|why| FileError::Unwritable { id, why })?;
            if read != *timeline {
                return Err(FileError::Unwritable { id, why: LineError::Field("meaning") });
            }
            text.push_str(&line);
            text.push('\n');
        }
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<(), FileError> {
        let mut back = vec![0; text.len()];
        let mut write = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(self.length))?;
            self.file.write_all(text.as_bytes())?;
            self.file.sync_all()?;
            self.file.seek(SeekFrom::Start(self.length))?;
            self.file.read_exact(&mut back)
        };
        write().map_err(|source| self.failed(source))?;
        if back != text.as_bytes() {
            return Err(FileError::Changed(self.path.clone()));
        }
        self.length += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn failed(&self, source: io::Error) -> FileError {
        FileError::Io { path: self.path.clone(), source }
    }
}

/// The name in the first line, and the line's bytes.
fn read_header(path: &Path, mut file: &File) -> Result<(Uuid, u64), FileError> {
    let failed = |source| FileError::Io { path: path.to_owned(), source };
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut line = Vec::new();
    BufReader::new(file.take(HEADER_MAX)).read_until(b'\n', &mut line).map_err(failed)?;
    let header = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Header>(line).ok());
    let header = header.filter(|header| header.format == FORMAT);
    let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
    header.map(|header| (header.id, bytes)).ok_or_else(|| FileError::NotAnArchive(path.to_owned()))
}

/// A file whose settlements are read, in order.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    lines: BufReader<File>,
    id: Uuid,
    offset: u64,
    length: u64,
}

impl Reader {
    /// Opens a file of which the store knows one of these archives. Blocks.
    ///
    /// # Errors
    /// The file is no archive of this store, or not the whole file.
    pub fn open(path: &Path, known: &[Archive]) -> Result<Self, FileError> {
        let failed = |source| FileError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let (id, offset) = read_header(path, &file)?;
        let archive = known.iter().find(|archive| archive.id == id);
        let length = archive.ok_or_else(|| FileError::NotAnArchive(path.to_owned()))?.length;
        let found = file.metadata().map_err(failed)?.len();
        if found < length {
            return Err(FileError::Short { path: path.to_owned(), found, length });
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), lines: BufReader::new(file), id, offset, length })
    }

    /// The file's name.
    pub const fn id(&self) -> Uuid {
        self.id
    }

    fn next_line(&mut self) -> Result<Option<Timeline>, FileError> {
        if self.offset >= self.length {
            return Ok(None);
        }
        let mut text = String::new();
        let read = self.lines.read_line(&mut text);
        let read = read.map_err(|source| FileError::Io { path: self.path.clone(), source })?;
        let (path, offset) = (self.path.clone(), self.offset);
        self.offset += u64::try_from(read).unwrap_or(u64::MAX);
        line::read(text.trim_end_matches('\n')).map(Some).map_err(|why| FileError::Line { path, offset, why })
    }
}

impl Iterator for Reader {
    type Item = Result<Timeline, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.next_line();
        if line.is_err() {
            // Where one line ends is not known any more.
            self.offset = self.length;
        }
        line.transpose()
    }
}
