//! Findings of the doctor.

/// Something that the doctor saw.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Its severity.
    pub severity: Severity,
    /// The subject: a configuration key, a network, a wallet.
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
        subject: &str,
        seen: impl Into<String>,
        meaning: &str,
        fix: impl Into<String>,
    ) -> Self {
        let (subject, meaning) = (subject.to_owned(), meaning.to_owned());
        Self { severity, subject, seen: seen.into(), meaning, fix: fix.into() }
    }

    /// That something is as it should be.
    pub fn fine(subject: &str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Ok, subject, seen, "As it should be", "")
    }

    /// That something could not be asked for.
    pub fn unreachable(subject: &str, seen: impl Into<String>) -> Self {
        let (meaning, fix) =
            ("The chain cannot be asked this", "Check that the node runs and that its URL and key are right");
        Self::new(Severity::Error, subject, seen, meaning, fix)
    }
}
