//! Certificates for a server on the loopback address, and the authority that signs them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// An authority of a test with the certificate of one server.
pub struct Certificates(TempDir);

impl Default for Certificates {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let authority =
            ["req", "-x509", "-subj", "/CN=test authority", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"];
        openssl(folder.path(), &[&authority[..], &curve[..]].concat());
        let server = ["req", "-subj", "/CN=test server", "-keyout", "server.key", "-out", "server.csr"];
        let names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
        openssl(folder.path(), &[&server[..], &names[..], &curve[..]].concat());
        let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy", "-days", "2"];
        openssl(folder.path(), &[&["x509", "-req", "-in", "server.csr", "-out", "server.pem"][..], &signed].concat());
        Self(folder)
    }
}

impl Certificates {
    /// Returns the path of `ca.pem`, `server.pem` or `server.key`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output();
    let output = output.expect("Debian's package `openssl` is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
