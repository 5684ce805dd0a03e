//! Passwords in files, as containers and service managers hand them over.

use std::{fs, path::Path};

use chains_core::{Secret, config::Section};

/// The most bytes of such a file: more than any password has.
const BYTES_MAX: u64 = 4096;

/// Reads the file that a key names, where the key is given; a line's end after the password is none of it.
pub(super) fn optional(section: &mut Section, key: &str) -> Option<Secret> {
    let path = section.optional::<String>(key)?;
    match read(Path::new(&path)) {
        Ok(secret) => Some(secret),
        Err((seen, fix)) => {
            section.problem(key, format!("names {path}, which {seen}"), fix);
            None
        }
    }
}

/// The password in a file, or what is wrong with the file and the remedy.
fn read(path: &Path) -> Result<Secret, (String, String)> {
    let found = |error: std::io::Error| {
        (format!("cannot be read: {error}"), "name a file that this user can read, with the password in it".to_owned())
    };
    let meta = fs::metadata(path).map_err(found)?;
    if !meta.is_file() || meta.len() > BYTES_MAX {
        return Err(("is no file with a password".into(), "name a file with one line, the password".into()));
    }
    if is_open_to_all(&meta) {
        return Err(("every user of this machine can read".into(), format!("run: chmod o= {}", path.display())));
    }
    let text = fs::read_to_string(path).map_err(found)?;
    let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if password.is_empty() {
        return Err(("is empty".into(), "write the password into it".into()));
    }
    Ok(Secret::new(password.to_owned()))
}

/// Its group may read it: orchestrators hand secrets over to a group.
#[cfg(unix)]
fn is_open_to_all(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    meta.permissions().mode() & 0o007 != 0
}

/// Other systems have access lists, which say nothing in a mode.
#[cfg(not(unix))]
fn is_open_to_all(_: &fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_password_is_read_from_a_file_that_not_everybody_reads() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let long = "x".repeat(5_000);
        let cases = [
            ("secret\n", 0o600, Ok("secret")),
            ("secret\r\n", 0o440, Ok("secret")),
            (" two words", 0o400, Ok(" two words")),
            ("canary", 0o604, Err("every user")),
            ("\n", 0o600, Err("is empty")),
            (&long, 0o600, Err("no file with a password")),
        ];
        for (text, mode, expected) in cases {
            drop(fs::remove_file(&path));
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            match (read(&path), expected) {
                (Ok(secret), Ok(expected)) => assert_eq!(secret.expose(), expected),
                (Err((seen, fix)), Err(expected)) => {
                    assert!(seen.contains(expected) && !fix.is_empty(), "{seen}: {fix}");
                    assert!(!seen.contains("canary") && !fix.contains("canary"), "{seen}: {fix}");
                }
                (found, expected) => panic!("{mode:o}: {expected:?}, not {found:?}"),
            }
        }
        assert!(read(folder.path()).is_err() && read(&folder.path().join("nowhere")).is_err());
    }
}
