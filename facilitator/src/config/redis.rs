//! `[redis]`: what several instances share.

use std::fs;

use chains_core::{Secret, config::Section};

use super::secret_file;
use crate::redis_client::address::{Options, Topology};

/// The most bytes of a file with certificates: the bundle of a whole system is below 1 MiB.
const AUTHORITIES_MAX: u64 = 4 * 1024 * 1024;

/// Reads the section; `None` where it is not given, or wrong.
pub(super) fn read(root: &mut Section) -> Option<Options> {
    if !root.has("redis") {
        return None;
    }
    let mut section = root.section("redis");
    let options = url(&mut section);
    let password = secret_file::optional(&mut section, "password_file");
    let sentinel_password = secret_file::optional(&mut section, "sentinel_password_file");
    let authorities = authorities(&mut section);
    let accept_eviction = section.optional("accept_eviction");
    let options = options?;
    let refuse = |key: &str, seen: &str, fix: &str| section.problem(key, seen, fix);
    if password.is_some() && options.password.is_some() {
        refuse("password_file", "is given, and the URL has a password too", "remove one of them");
    }
    if sentinel_password.is_some() && !matches!(options.topology, Topology::Sentinel { .. }) {
        let fix = "remove it, or write a URL that begins with redis-sentinel:// or rediss-sentinel://";
        refuse("sentinel_password_file", "is given, and the URL names no Sentinels", fix);
    }
    if authorities.is_some() && !options.tls {
        refuse("ca_file", "is given, and the URL asks for no TLS", "remove it, or write a URL with rediss");
    }
    section.assume("accept_eviction", false, chains_core::config::Source::Default);
    let password = password.or(options.password);
    let accept_eviction = accept_eviction.unwrap_or(false);
    Some(Options { password, sentinel_password, authorities, accept_eviction, ..options })
}

/// The URL; taken as a secret where it has a place for a password.
fn url(section: &mut Section) -> Option<Options> {
    let is_secret = section.peek("url").is_some_and(|url| url.contains(['@', '?']));
    let text = if is_secret {
        section.required::<Secret>("url")?.expose().to_owned()
    } else {
        section.required::<String>("url")?
    };
    match Options::parse(&text) {
        Ok(options) => {
            if is_secret {
                section.describe("url", options.shown().as_str(), "address");
            }
            Some(options)
        }
        Err(error) => {
            section.problem("url", error.to_string(), error.fix());
            None
        }
    }
}

/// The certificates of `ca_file`.
fn authorities(section: &mut Section) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let path = section.optional::<String>("ca_file")?;
    let fix = "name a readable file with the certificates, in PEM, of the authorities that signed the server's";
    let text = match fs::metadata(&path) {
        Ok(meta) if meta.is_file() && meta.len() <= AUTHORITIES_MAX => fs::read_to_string(&path),
        Ok(_) => Ok(String::new()),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) if text.contains(BEGIN) => return Some(text.into_bytes()),
        Ok(_) => section.problem("ca_file", format!("names {path}, which has no certificate in it"), fix),
        Err(error) => section.problem("ca_file", format!("names {path}, which cannot be read: {error}"), fix),
    }
    None
}
