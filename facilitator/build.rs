//! Tells the program what it is built from and by.

use std::{env, path::Path, process::Command};

fn main() {
    // A build without a checkout, as from an archive or in a container, may name the commit itself.
    println!("cargo::rerun-if-env-changed=FACILITATOR_COMMIT");
    let given = variable("FACILITATOR_COMMIT").filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| output("git", &["rev-parse", "--short=12", "HEAD"]));
    // The log of HEAD grows with each commit and each checkout.
    let log = output("git", &["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| Path::new(path).exists());
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(log) = log {
        println!("cargo::rerun-if-changed={log}");
    }
    let release = env!("CARGO_PKG_VERSION");
    let version = commit.as_ref().map_or_else(|| release.to_owned(), |commit| format!("{release} ({commit})"));
    println!("cargo::rustc-env=FACILITATOR_VERSION={version}");
    println!("cargo::rustc-env=FACILITATOR_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    let rustc = variable("RUSTC").and_then(|rustc| output(&rustc, &["--version"]));
    let rustc = rustc.as_deref().and_then(|text| text.split(' ').nth(1)).unwrap_or("unknown");
    println!("cargo::rustc-env=FACILITATOR_RUSTC={rustc}");
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name)?.into_string().ok()
}

/// The output of a command, where it works.
fn output(command: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
