//! The wall clock of one process, which jumps on demand: Debian's package `libfaketime`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A wall clock that a file sets.
pub struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// A clock that is right; its file is in this folder.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn in_folder(folder: &Path) -> Self {
        let clock = Self { file: folder.join("clock") };
        clock.set(0);
        clock
    }

    /// Shows so many seconds more than the machine's.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn set(&self, seconds: i64) {
        // Whole at once: it is read again and again.
        let (new, text) = (self.file.with_extension("new"), format!("{seconds:+}\n"));
        fs::write(&new, text).and_then(|()| fs::rename(new, &self.file)).expect("written");
    }

    /// Has a command's process live by it. The clock by which it waits is the machine's.
    ///
    /// # Panics
    /// If the package is not installed.
    pub fn rule(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", library())
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("the package `libfaketime` is installed: ./tests/run does it")
}
