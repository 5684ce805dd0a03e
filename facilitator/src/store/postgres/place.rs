//! The name of a PostgreSQL database, and the ways to it.

use std::{fmt, str::FromStr as _};

use chains_core::Secret;
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

use super::server::{OpenError, Way};
use crate::store::sql::database::Terms;

/// Settings of a session. One that is in the middle of a transaction and says
/// nothing for three seconds is ended: a process that stopped there must not keep
/// rows locked. A client that has gone without a word is asked for after five
/// seconds, every two seconds, three times, and then given up.
///
/// Statements look few rows up by an index. A plan that is made while the tables
/// are empty must not read them from end to end once they are full.
const SETTINGS: [(&str, &str); 10] = [
    // A commit that is one statement alone names no isolation.
    ("default_transaction_isolation", "read committed"),
    ("idle_in_transaction_session_timeout", "3s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    // Planned once. A commit's statement has a dozen parts, and to plan them takes twice as long as to run them.
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // A step that is avoided counts as dear, and dear plans are compiled first.
    ("jit", "off"),
];

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Place {
    /// The way that its URL says.
    url: PgConnectOptions,
    /// The way past a pooler. `None`: `url` leads to the server itself.
    direct: Option<PgConnectOptions>,
}

impl Place {
    /// The database of a URL.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn new(url: &Secret) -> Result<Self, OpenError> {
        Ok(Self { url: read(url)?, direct: None })
    }

    /// The same with a password that is not in the URL.
    #[must_use]
    pub fn with_password(self, password: &Secret) -> Self {
        let set = |options: PgConnectOptions| options.password(password.expose());
        Self { url: set(self.url), direct: self.direct.map(set) }
    }

    /// The same where the URL leads to a pooler that gives each transaction
    /// another server, and this one to the server itself.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn past_pooler(self, direct: &Secret) -> Result<Self, OpenError> {
        Ok(Self { direct: Some(read(direct)?), ..self })
    }

    /// The way to the server itself: for the session that owns the database,
    /// for migrations, and for commands.
    pub(super) fn direct(&self, terms: Terms) -> Way {
        let answer_max = format!("{}ms", terms.answer_max.as_millis());
        let Way { options, place, .. } = self.patient(terms);
        // After it nobody waits for the answer any more.
        Way { options: options.options([("statement_timeout", answer_max)]), terms, place }
    }

    /// The same without a limit for statements, for migrations.
    pub(super) fn patient(&self, terms: Terms) -> Way {
        let options = self.direct.as_ref().unwrap_or(&self.url).clone();
        Way { options: options.options(SETTINGS), terms, place: self.to_string() }
    }

    /// The way for look-ups. A pooler hands on no settings of a session, and
    /// knows no names of statements.
    pub(super) fn pooled(&self, terms: Terms) -> Way {
        if self.direct.is_none() {
            return self.direct(terms);
        }
        let options = self.url.clone().extra_float_digits(None).statement_cache_capacity(0);
        Way { options, terms: Terms { named: false, ..terms }, place: self.to_string() }
    }
}

fn read(url: &Secret) -> Result<PgConnectOptions, OpenError> {
    let options = PgConnectOptions::from_str(url.expose()).map_err(|_| OpenError::Url)?;
    let name = format!("facilitator, process {}", std::process::id());
    Ok(options.application_name(&name).disable_statement_logging())
}

/// The server and the database, without names of users or passwords.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.url;
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        match options.get_socket() {
            Some(folder) => write!(f, "postgres:{}/{database}", folder.display()),
            None => write!(f, "postgres://{}:{}/{database}", options.get_host(), options.get_port()),
        }
    }
}

/// As people read it: the options hold a password.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}
