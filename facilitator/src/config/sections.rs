//! The service's own sections. Networks are their families' affair.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use chains_core::{
    Network, Secret,
    config::{Section, Source},
};
use tracing_subscriber::EnvFilter;

use super::secret_file;
use crate::{
    http::{
        auth::{Key, Keys, Scope},
        host::Hosts,
        server::{
            places::{PlacesMax, Waits},
            proxies::{ForwardedBy, Proxies, Range},
        },
    },
    limits::{payer_failures::FailureLimit, rates::Rate},
    payment::paused::Paused,
    store::connect::Location,
};

/// The shortest and the longest `settle_wait`: a settle request waits for the
/// chain, and clients keep a connection for no longer.
const SETTLE_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// The shortest and the longest `supported_wait`: servers that start with this
/// service wait for its answer, and give up after some minutes.
const SUPPORTED_WAIT: (Duration, Duration) = (Duration::ZERO, Duration::from_mins(10));

/// The shortest and the longest `drain_delay`: service managers kill what does
/// not end in time.
const DRAIN_DELAY: (Duration, Duration) = (Duration::ZERO, Duration::from_mins(2));

/// The smallest and the largest `body_max_bytes`: room for every payment
/// known, and not for more than a connection may cost.
const BODY_MAX: (u64, u64) = (16 * 1024, 16 * 1024 * 1024);

/// The fewest and the most `failures_max`: each is remembered for each payer.
const FAILURES_MAX: (u64, u64) = (1, 1000);

/// The fewest and the most requests that a key may have under way: more than a listener has places.
const IN_FLIGHT_MAX: (u64, u64) = (1, 100_000);

/// The shortest and the longest `verified_hold`: what is held that long and
/// not settled keeps its payer from paying elsewhere.
const VERIFIED_HOLD: (Duration, Duration) = (Duration::ZERO, Duration::from_mins(5));

/// `[server]`: the public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// The time for which a settle request waits for the chain.
    pub settle_wait: Duration,
    /// The time for which `/supported` waits for a network that has never opened.
    pub supported_wait: Duration,
    /// Bytes of a body.
    pub body_max: usize,
    /// Time for a body.
    pub body_wait: Duration,
    /// The time that callers have on a connection.
    pub waits: Waits,
    /// Connections at a time, of all callers and of one.
    pub places: PlacesMax,
    /// The proxies that are believed about their callers.
    pub proxies: Proxies,
    /// The time for which requests are still taken once the service is told to stop.
    pub drain_delay: Duration,
    /// The names it answers to.
    pub hosts: Hosts,
    /// The lines that are logged, as directives of `tracing`.
    pub log: String,
    /// True when lines are JSON.
    pub log_json: bool,
}

/// `[admin]`: the second listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// SHA-256 of the token that it asks for; `None` only on a loopback address.
    pub token_sha256: Option<[u8; 32]>,
}

/// `[auth]`: who may ask.
#[derive(Clone)]
pub struct Auth {
    /// The keys, or that none is asked for.
    pub keys: Keys,
}

/// `[payers]`: what payers may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payers {
    /// The failures that a payer may have.
    pub limit: FailureLimit,
    /// The time for which a verified payment holds its part of its payer's balance; zero: not at all.
    pub verified_hold: Duration,
}

/// `[store]`: what must survive.
#[derive(Clone, Debug)]
pub struct Store {
    /// The database.
    pub location: Location,
    /// True when `serve` brings an older schema up to date.
    pub auto_migrate: bool,
}

/// The section, and its address also where something else in it is wrong.
pub(super) fn server(mut section: Section) -> (Option<SocketAddr>, Option<Server>) {
    let listen = section.required::<SocketAddr>("listen");
    (listen, server_at(listen, section))
}

fn server_at(listen: Option<SocketAddr>, mut section: Section) -> Option<Server> {
    let settle_wait = between(&mut section, "settle_wait", SETTLE_WAIT, |wait: Duration| {
        humantime::format_duration(wait).to_string()
    });
    let supported_wait = between(&mut section, "supported_wait", SUPPORTED_WAIT, |wait: Duration| {
        humantime::format_duration(wait).to_string()
    });
    let body_max = between(&mut section, "body_max_bytes", BODY_MAX, |bytes: u64| bytes.to_string());
    let body_wait = time(&mut section, "body_timeout");
    let head = time(&mut section, "header_timeout");
    let idle = time(&mut section, "idle_timeout");
    let answer = time(&mut section, "write_timeout");
    let connections_max = count(&mut section, "connections_max");
    let connections_per_ip_max = count(&mut section, "connections_per_ip_max");
    let proxies = proxies(&mut section);
    let drain_delay = between(&mut section, "drain_delay", DRAIN_DELAY, |delay: Duration| {
        humantime::format_duration(delay).to_string()
    });
    let hosts = section.required::<Vec<String>>("hosts");
    let log = section.required::<String>("log");
    if let Some(log) = &log
        && EnvFilter::builder().parse(log).is_err()
    {
        section.problem(
            "log",
            format!("is {log:?}"),
            "write error, warn, info, debug or trace, or \"info,module=debug\"",
        );
    }
    let log_json = choice(&mut section, "log_format", &[("text", false), ("json", true)]);
    let listen = listen?;
    Some(Server {
        listen,
        settle_wait: settle_wait?,
        supported_wait: supported_wait?,
        body_max: usize::try_from(body_max?).ok()?,
        body_wait: body_wait?,
        waits: Waits { head: head?, answer: answer?, idle: idle? },
        places: PlacesMax { all: connections_max?, per_caller: connections_per_ip_max? },
        proxies: proxies?,
        drain_delay: drain_delay?,
        hosts: Hosts::of(listen, &hosts?),
        log: log?,
        log_json: log_json?,
    })
}

/// `trusted_proxies` and `forwarded_by`, which have a meaning together only.
fn proxies(section: &mut Section) -> Option<Proxies> {
    let texts = section.required::<Vec<String>>("trusted_proxies");
    let by = section.has("forwarded_by").then(|| choice(section, "forwarded_by", &ForwardedBy::ALL));
    let texts = texts?;
    let mut ranges = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        match text.parse::<Range>() {
            Ok(range) => ranges.push(range),
            Err(error) => section.problem_at("trusted_proxies", i, format!("is {text:?}"), error.to_string()),
        }
    }
    match by {
        None if texts.is_empty() => Some(Proxies::default()),
        None => {
            let fix = "name the one header that they set: \"x-forwarded-for\", \"forwarded\" or \"x-real-ip\"";
            section.problem("forwarded_by", "is missing, and trusted_proxies are given", fix);
            None
        }
        Some(_) if texts.is_empty() => {
            let fix =
                "name their addresses in `trusted_proxies`, or remove `forwarded_by`: anybody could write the header";
            section.problem("forwarded_by", "is given, and trusted_proxies are not", fix);
            None
        }
        Some(by) => Some(Proxies::new(by?, ranges)),
    }
}

pub(super) fn admin(mut section: Section) -> Option<Admin> {
    let listen = section.required::<SocketAddr>("listen");
    let given = section.has("token_sha256");
    let token_sha256 = given.then(|| digest(&mut section, "token_sha256"));
    if let Some(listen) = listen
        && !listen.ip().is_loopback()
        && !given
    {
        section.problem(
            "token_sha256",
            format!("is missing, and the admin listener {listen} can be reached by other machines"),
            "set it to the SHA-256 of a token of your own, or listen on 127.0.0.1",
        );
    }
    Some(Admin { listen: listen?, token_sha256: token_sha256.map_or(Some(None), |digest| digest.map(Some))? })
}

/// The value of `auth.mode`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    ApiKey,
}

/// `[paused]`: payments that are not taken for a while, of these networks.
pub(super) fn paused(mut section: Section, known: &[Network]) -> Option<Paused> {
    let everything = section.required::<bool>("everything");
    let networks = section.required::<Vec<String>>("networks");
    let assets = section.required::<Vec<String>>("assets");
    let keys = section.required::<Vec<String>>("keys");
    let mut paused = Paused { everything: everything?, keys: keys?.into_iter().collect(), ..Paused::default() };
    for (i, text) in networks?.iter().enumerate() {
        paused.networks.extend(served(&section, "networks", (i, text), text, known));
    }
    for (i, text) in assets?.iter().enumerate() {
        match text.rsplit_once('/') {
            Some((network, asset)) if !asset.is_empty() => {
                let network = served(&section, "assets", (i, text), network, known);
                paused.assets.extend(network.map(|network| (network, asset.to_owned())));
            }
            Some(_) | None => section.problem_at(
                "assets",
                i,
                format!("is {text:?}"),
                "write the network, a slash and the asset, such as \"eip155:8453/0x8335…\"",
            ),
        }
    }
    Some(paused)
}

/// A network that is served here; one that is not would pause nothing.
fn served(
    section: &Section,
    key: &str,
    (place, shown): (usize, &str),
    network: &str,
    known: &[Network],
) -> Option<Network> {
    let network = network.parse().ok().filter(|network| known.contains(network));
    if network.is_none() {
        let known: Vec<_> = known.iter().map(ToString::to_string).collect();
        let fix = format!("name one of the configured networks: {}", known.join(", "));
        section.problem_at(key, place, format!("is {shown:?}, whose network is not served here"), fix);
    }
    network
}

pub(super) fn auth(mut section: Section, listen: Option<SocketAddr>) -> Option<Auth> {
    let mode = choice(&mut section, "mode", &[("open", Mode::Open), ("api_key", Mode::ApiKey)]);
    let allow_open = section.required::<bool>("allow_open");
    let tables = section.sections("keys").unwrap_or_default();
    let given = tables.len();
    let keys: Vec<Key> = tables.into_iter().filter_map(key).collect();
    let mut seen = HashSet::new();
    for (i, key) in keys.iter().enumerate() {
        if given == keys.len() && !seen.insert(key.sha256) {
            section.problem_at("keys", i, "has the token of a key above", "give every key a token of its own");
        }
    }
    // A mode that cannot be read is taken for open, unless there are keys: both mistakes are told at once.
    let is_open = mode == Some(Mode::Open) || (mode.is_none() && given == 0);
    if is_open && given == 0 && allow_open == Some(false) {
        check_reach(&section, listen, mode);
    }
    match mode? {
        Mode::ApiKey if given == 0 => {
            section.problem("keys", "is empty, and auth.mode is \"api_key\": nobody could ask", "add an [[auth.keys]]");
            None
        }
        Mode::ApiKey => Some(Auth { keys: Keys::Required(keys) }),
        Mode::Open if given > 0 => {
            section.problem("mode", "is \"open\", and auth.keys are given", "write \"api_key\", or remove the keys");
            None
        }
        Mode::Open => Some(Auth { keys: Keys::Open }),
    }
}

/// An open listener that other machines reach needs the operator's word.
fn check_reach(section: &Section, listen: Option<SocketAddr>, mode: Option<Mode>) {
    let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback()) else { return };
    let reach =
        format!("server.listen = {listen} can be reached by other machines: each could spend the gas wallets' money");
    let fix = "write \"api_key\" and add an [[auth.keys]], or set auth.allow_open = true, or listen on 127.0.0.1";
    match mode {
        Some(_) => section.problem("mode", format!("is \"open\", and {reach}"), fix),
        None => section.problem("allow_open", format!("is false, no keys are given, and {reach}"), fix),
    }
}

fn key(mut section: Section) -> Option<Key> {
    let name = section.required::<String>("name");
    if name.as_deref() == Some("") {
        section.problem("name", "is empty", "write who holds the key; settlements belong to this name");
    }
    let sha256 = digest(&mut section, "sha256");
    let words = section.required::<Vec<String>>("scopes");
    let mut scopes = Vec::new();
    for word in words.iter().flatten() {
        match word.parse::<Scope>() {
            Ok(scope) => scopes.push(scope),
            Err(expected) => section.problem("scopes", format!("names {word:?}"), expected),
        }
    }
    if words.as_deref() == Some(&[]) {
        section.problem("scopes", "is empty: the key may do nothing", "name verify, settle, status, or some of them");
    }
    let pay_to = section.optional("pay_to").unwrap_or_default();
    let rates = rates(&mut section);
    let in_flight_max = section
        .has("in_flight_max")
        .then(|| between(&mut section, "in_flight_max", IN_FLIGHT_MAX, |max: u64| max.to_string()));
    let in_flight_max = in_flight_max.flatten().and_then(|max| u32::try_from(max).ok());
    Some(Key { name: name?, sha256: sha256?, scopes, pay_to, rates, in_flight_max })
}

/// The rates of a key, by scope.
fn rates(section: &mut Section) -> Vec<(Scope, Rate)> {
    if !section.has("rate") {
        return vec![];
    }
    let mut table = section.section("rate");
    let given = Scope::ALL.into_iter().filter(|scope| table.has(scope.word())).collect::<Vec<_>>();
    let read = given.into_iter().filter_map(|scope| {
        let text = table.optional::<String>(scope.word())?;
        match text.parse::<Rate>() {
            Ok(rate) => Some((scope, rate)),
            Err(expected) => {
                table.problem(scope.word(), format!("is {text:?}"), format!("write {expected}"));
                None
            }
        }
    });
    read.collect()
}

pub(super) fn payers(mut section: Section) -> Option<Payers> {
    let failures_max = between(&mut section, "failures_max", FAILURES_MAX, |failures: u64| failures.to_string());
    let window = time(&mut section, "failures_window");
    let verified_hold = between(&mut section, "verified_hold", VERIFIED_HOLD, |hold: Duration| {
        humantime::format_duration(hold).to_string()
    });
    let limit = FailureLimit { failures_max: usize::try_from(failures_max?).ok()?, window: window? };
    Some(Payers { limit, verified_hold: verified_hold? })
}

pub(super) fn store(mut section: Section) -> Option<Store> {
    let auto_migrate = section.optional::<bool>("auto_migrate");
    let url = match section.peek("url") {
        Some(url) if url.starts_with("sqlite:") => section.required::<String>("url")?,
        // Taken as a secret: the URLs of other databases hold passwords.
        _ => section.required::<Secret>("url")?.expose().to_owned(),
    };
    let direct = section.optional::<Secret>("direct_url");
    let location = Location::of(&url).inspect_err(|error| section.problem("url", error.seen(), error.fix())).ok()?;
    let location = match location {
        Location::Sqlite(_) => {
            let password_file = section.optional::<String>("password_file");
            let given = [("password_file", password_file.is_some()), ("direct_url", direct.is_some())];
            for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
                section.problem(key, "is given, and `store.url` names a SQLite file", "remove it");
            }
            location
        }
        Location::Postgres(mut place) => {
            if let Some(direct) = direct {
                let past = (*place).clone().past_pooler(&direct);
                *place = past.inspect_err(|_| section.problem("direct_url", NO_POSTGRES.0, NO_POSTGRES.1)).ok()?;
            }
            if section.has("password_file") {
                *place = place.with_password(&secret_file::optional(&mut section, "password_file")?);
            }
            Location::Postgres(place)
        }
    };
    // A SQLite file has one process. On a server others may run, of this release and of another.
    let otherwise = location.file().is_some();
    if auto_migrate.is_none() {
        section.assume("auto_migrate", otherwise, Source::Default);
    }
    Some(Store { location, auto_migrate: auto_migrate.unwrap_or(otherwise) })
}

/// The mistake of a second URL, and its remedy.
const NO_POSTGRES: (&str, &str) = ("is no URL of PostgreSQL", "write postgres://USER@HOST:PORT/DATABASE");

fn digest(section: &mut Section, key: &str) -> Option<[u8; 32]> {
    // Taken as a secret: whoever mistakes it for the token writes that here.
    let text = section.required::<Secret>(key)?;
    let digest = hex::decode(text.expose()).ok().and_then(|bytes| bytes.try_into().ok());
    if digest.is_none() {
        let fix = "write the token's SHA-256: printf %s \"$token\" | sha256sum";
        let seen = format!("has {}, 64 are needed (its value is not shown)", hex_digits(text.expose()));
        section.problem(key, seen, fix);
    }
    digest
}

/// The hex digits of a text, counted, and the other characters in it.
fn hex_digits(text: &str) -> String {
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    match text.chars().count() - digits {
        0 => format!("{digits} hex digits"),
        1 => format!("{digits} hex digits and another character"),
        others => format!("{digits} hex digits and {others} other characters"),
    }
}

fn time(section: &mut Section, key: &str) -> Option<Duration> {
    let time = section.required::<Duration>(key)?;
    if time.is_zero() {
        section.problem(key, "is not a time", "write a duration such as \"10s\"");
    }
    Some(time)
}

fn count(section: &mut Section, key: &str) -> Option<usize> {
    let count = section.required::<u64>(key)?;
    if count == 0 {
        section.problem(key, "is 0", "write 1 or more");
    }
    usize::try_from(count).ok()
}

fn between<T: chains_core::config::FromToml + PartialOrd + Copy>(
    section: &mut Section,
    key: &str,
    (min, max): (T, T),
    show: impl Fn(T) -> String,
) -> Option<T> {
    let value = section.required::<T>(key)?;
    if value < min || value > max {
        let fix = format!("write between {} and {}", show(min), show(max));
        section.problem(key, format!("is {}", show(value)), fix);
    }
    Some(value)
}

fn choice<T: Copy>(section: &mut Section, key: &str, choices: &[(&str, T)]) -> Option<T> {
    let word = section.required::<String>(key)?;
    let found = choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice);
    if found.is_none() {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        section.problem(key, format!("is {word:?}"), format!("write {}", names.join(" or ")));
    }
    found
}
