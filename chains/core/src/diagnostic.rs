//! Findings of the doctor.

use crate::Network;

/// Something that the doctor saw.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The network that it is about; `None`: the service itself.
    pub network: Option<Network>,
    /// The check that found it, by a name that stays.
    pub check: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// The subject: a configuration key, a node, a wallet, a token.
    pub subject: String,
    /// The observation.
    pub seen: String,
    /// Its meaning.
    pub meaning: String,
    /// The remedy; empty when there is nothing to do.
    pub fix: String,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, but will hurt.
    Warning,
    /// Does not work.
    Error,
}

impl Finding {
    /// A finding.
    pub fn new(
        severity: Severity,
        check: &'static str,
        subject: impl Into<String>,
        seen: impl Into<String>,
        meaning: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (subject, seen, meaning, fix) = (subject.into(), seen.into(), meaning.into(), fix.into());
        Self { network: None, check, severity, subject, seen, meaning, fix }
    }

    /// That something is as it should be.
    pub fn fine(check: &'static str, subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::new(Severity::Ok, check, subject, seen, "", "")
    }

    /// That something could not be asked for.
    pub fn unreachable(check: &'static str, subject: impl Into<String>, seen: impl Into<String>) -> Self {
        let meaning = "The node gives no answer, and nothing can be said of what was asked";
        let fix = "Check that the node runs and that its URL and key in `rpc` are right";
        Self::new(Severity::Error, check, subject, seen, meaning, fix)
    }

    /// The same finding, of this network.
    #[must_use]
    pub fn on(self, network: &Network) -> Self {
        Self { network: Some(network.clone()), ..self }
    }
}
