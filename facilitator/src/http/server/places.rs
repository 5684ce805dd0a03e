//! The places of a listener: how many connections there may be, of whom, and
//! which of them makes room for a newcomer.
//!
//! A connection on which a request is being worked on keeps its place. Every
//! other one only waits for its caller, and gives way when places run out:
//! first those that never showed work, the longest waiting first.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use axum::http::HeaderMap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::proxies::Proxies;

/// Bytes of one body that are not counted against what all bodies together may
/// hold: payments are smaller, so nobody's large bodies keep them out.
const BODY_UNCOUNTED: usize = 8 * 1024;

/// Counted bytes of bodies that are held at a time, of all callers.
const BODIES_MAX: usize = 16 * 1024 * 1024;

/// Counted bytes of bodies that are held at a time, of one caller.
const BODIES_PER_CALLER_MAX: usize = BODIES_MAX / 4;

/// The phase that a connection is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has arrived yet.
    Fresh,
    /// A request's head is arriving.
    Head,
    /// A request's body is arriving.
    Body,
    /// A request is being worked on.
    Working,
    /// An answer is being written, or waits to be taken.
    Answering,
    /// Nothing is asked.
    Idle,
}

/// The time that a caller has for each phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// For a head to arrive, from its first byte; for the first byte, from the connection on.
    pub head: Duration,
    /// For an answer to be taken.
    pub answer: Duration,
    /// Between requests.
    pub idle: Duration,
}

impl Waits {
    /// The time for a phase; `None` where the caller is not who takes time.
    pub const fn of(self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Fresh | Phase::Head => Some(self.head),
            Phase::Answering => Some(self.answer),
            Phase::Idle => Some(self.idle),
            Phase::Body | Phase::Working => None,
        }
    }
}

/// The one who holds places: an IPv4 address, or the /64 network of an IPv6
/// address, whose owner has all the addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller(IpAddr);

impl Caller {
    /// Returns the caller at an address.
    pub fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
        }
    }
}

/// The limits on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacesMax {
    /// Of all callers.
    pub all: usize,
    /// Of one caller.
    pub per_caller: usize,
}

/// All connections of a listener.
#[derive(Debug)]
pub struct Places {
    table: Mutex<Table>,
    max: PlacesMax,
    proxies: Arc<Proxies>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    held: HashMap<u64, Held>,
    callers: HashMap<Caller, Holding>,
    bytes: usize,
}

/// One connection.
#[derive(Debug)]
struct Held {
    caller: Caller,
    /// The caller of the request under way, where a trusted proxy tells it.
    behind: Option<Caller>,
    phase: Phase,
    since: Instant,
    worked: bool,
    /// The answer is handed over, and perhaps not yet out.
    answered: bool,
    evicted: CancellationToken,
}

/// The holdings of one caller.
#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    /// Connections; behind a proxy, requests under way.
    connections: usize,
    bytes: usize,
}

/// There is no place, not even one whose holder only waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The caller has as many as one may have.
    Caller,
    /// All together have as many as there are.
    All,
}

impl Full {
    /// The label under which it is counted.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Caller => "address",
            Self::All => "total",
        }
    }
}

/// Bodies hold as many bytes as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BytesFull;

impl Places {
    /// Makes the places of a listener.
    pub fn new(max: PlacesMax, proxies: Arc<Proxies>) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), max, proxies })
    }

    /// Takes a place for a new connection, if need be from one that only waits. A
    /// trusted proxy may have all of them: its callers are counted one by one.
    ///
    /// # Errors
    /// Every place that the caller could have is being worked for.
    pub fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Full> {
        let (caller, is_one) = (Caller::at(peer), !self.proxies.trust(peer));
        let mut table = self.table.lock();
        if is_one && table.callers.get(&caller).is_some_and(|holding| holding.connections >= self.max.per_caller) {
            table.evict(Some(caller)).ok_or(Full::Caller)?;
        }
        if table.held.len() >= self.max.all {
            table.evict(None).ok_or(Full::All)?;
        }
        Ok(Place { id: table.add(caller), peer, places: Arc::clone(self) })
    }

    /// Makes the connection give way that waits for its caller most needlessly.
    pub fn evict_one(&self) {
        self.table.lock().evict(None);
    }

    /// Returns the number of connections.
    pub fn count(&self) -> usize {
        self.table.lock().held.len()
    }
}

impl Table {
    fn add(&mut self, caller: Caller) -> u64 {
        let id = self.next;
        self.next += 1;
        let (since, evicted) = (Instant::now(), CancellationToken::new());
        let (behind, phase) = (None, Phase::Fresh);
        self.held.insert(id, Held { caller, behind, phase, since, worked: false, answered: false, evicted });
        self.callers.entry(caller).or_default().connections += 1;
        id
    }

    fn evict(&mut self, of: Option<Caller>) -> Option<()> {
        let waits = |held: &&Held| held.phase != Phase::Working && of.is_none_or(|caller| caller == held.caller);
        // By age and not by how many its caller has: many honest callers share a proxy's address.
        let rank = |held: &Held| (!held.worked, std::cmp::Reverse(held.since));
        let (id, _) = self.held.iter().filter(|(_, held)| waits(held)).max_by_key(|(_, held)| rank(held))?;
        let id = *id;
        crate::metrics::connection_dropped("place");
        self.remove(id)?.evicted.cancel();
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<Held> {
        let held = self.held.remove(&id)?;
        self.leave(held.caller);
        if let Some(behind) = held.behind {
            self.leave(behind);
        }
        Some(held)
    }

    fn leave(&mut self, caller: Caller) {
        if let Some(holding) = self.callers.get_mut(&caller) {
            holding.connections -= 1;
        }
        self.forget(caller);
    }

    fn forget(&mut self, caller: Caller) {
        if self.callers.get(&caller).is_some_and(|holding| holding.connections == 0 && holding.bytes == 0) {
            self.callers.remove(&caller);
        }
    }
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub struct Place {
    id: u64,
    peer: IpAddr,
    places: Arc<Places>,
}

/// A request of a caller behind a proxy, for as long as it is under way.
#[derive(Debug)]
pub struct Asked(Arc<Place>);

impl Drop for Asked {
    fn drop(&mut self) {
        let mut table = self.0.places.table.lock();
        // A connection that is gone has taken its request with it.
        if let Some(behind) = table.held.get_mut(&self.0.id).and_then(|held| held.behind.take()) {
            table.leave(behind);
        }
    }
}

impl Place {
    /// Returns the token by which the connection is told to give way.
    pub fn evicted(&self) -> CancellationToken {
        let found = self.places.table.lock().held.get(&self.id).map(|held| held.evicted.clone());
        found.unwrap_or_else(|| {
            let gone = CancellationToken::new();
            gone.cancel();
            gone
        })
    }

    /// Notes that the connection is in a phase from now on.
    pub fn enter(&self, phase: Phase) {
        self.change(|held| (held.phase, held.since, held.answered) = (phase, Instant::now(), false));
    }

    /// Notes that bytes have arrived: between requests, the next head begins.
    pub fn received(&self) {
        self.change(|held| {
            if matches!(held.phase, Phase::Fresh | Phase::Idle) {
                (held.phase, held.since) = (Phase::Head, Instant::now());
            }
        });
    }

    /// Notes that the whole answer has been handed over to be written.
    pub fn answered(&self) {
        self.change(|held| held.answered = held.phase == Phase::Answering);
    }

    /// Notes that all that was to be written is out: after an answer, nothing is asked.
    pub fn flushed(&self) {
        self.change(|held| {
            if std::mem::take(&mut held.answered) {
                (held.phase, held.since) = (Phase::Idle, Instant::now());
            }
        });
    }

    /// Notes that a payment of this caller was read and judged.
    pub fn worked(&self) {
        self.change(|held| held.worked = true);
    }

    /// Returns the phase, and since when.
    pub fn phase(&self) -> Option<(Phase, Instant)> {
        self.places.table.lock().held.get(&self.id).map(|held| (held.phase, held.since))
    }

    /// Counts a request for the caller behind a trusted proxy, until what is returned is
    /// dropped. One without a proxy is counted by its connection.
    ///
    /// # Errors
    /// The caller has as many under way as it may have.
    pub fn ask(self: &Arc<Self>, headers: &HeaderMap) -> Result<Option<Asked>, Full> {
        let caller = self.places.proxies.caller(self.peer, headers);
        if caller == self.peer {
            return Ok(None);
        }
        let (caller, mut table) = (Caller::at(caller), self.places.table.lock());
        if table.callers.get(&caller).is_some_and(|holding| holding.connections >= self.places.max.per_caller) {
            return Err(Full::Caller);
        }
        let Some(held) = table.held.get_mut(&self.id) else { return Ok(None) };
        held.behind = Some(caller);
        table.callers.entry(caller).or_default().connections += 1;
        Ok(Some(Asked(Arc::clone(self))))
    }

    /// Counts the bytes of one body from now on.
    pub fn body(self: &Arc<Self>) -> BodyBytes {
        BodyBytes {
            caller: self.places.table.lock().held.get(&self.id).map(|held| held.behind.unwrap_or(held.caller)),
            place: Arc::clone(self),
            seen: 0,
            counted: 0,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.places.table.lock().held.get_mut(&self.id) {
            change(held);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.table.lock().remove(self.id);
    }
}

/// The bytes of one body, while they are held.
#[derive(Debug)]
pub struct BodyBytes {
    place: Arc<Place>,
    caller: Option<Caller>,
    seen: usize,
    counted: usize,
}

impl BodyBytes {
    /// Adds bytes that have arrived.
    ///
    /// # Errors
    /// All bodies, or those of this caller, hold as much as they may.
    pub fn add(&mut self, bytes: usize) -> Result<(), BytesFull> {
        self.seen += bytes;
        let more = self.seen.saturating_sub(BODY_UNCOUNTED) - self.counted;
        let Some(caller) = self.caller.filter(|_| more > 0) else { return Ok(()) };
        let mut table = self.place.places.table.lock();
        let all = table.bytes + more;
        let holding = table.callers.entry(caller).or_default();
        if all > BODIES_MAX || holding.bytes + more > BODIES_PER_CALLER_MAX {
            return Err(BytesFull);
        }
        holding.bytes += more;
        table.bytes = all;
        self.counted += more;
        Ok(())
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        let Some(caller) = self.caller.filter(|_| self.counted > 0) else { return };
        let mut table = self.place.places.table.lock();
        table.bytes -= self.counted;
        if let Some(holding) = table.callers.get_mut(&caller) {
            holding.bytes -= self.counted;
        }
        table.forget(caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn caller(text: &str) -> Caller {
        Caller::at(address(text))
    }

    fn places(all: usize, per_caller: usize) -> Arc<Places> {
        Places::new(PlacesMax { all, per_caller }, Arc::default())
    }

    #[test]
    fn the_addresses_of_one_subscriber_are_one_caller() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            assert_eq!(caller(one) == caller(other), same, "{one} {other}");
        }
    }

    #[tokio::test]
    async fn when_places_run_out_those_give_way_that_only_wait_and_the_worst_first() {
        let places = places(4, 4);
        let working = places.take(address("192.0.2.1")).expect("a place");
        working.enter(Phase::Working);
        let kept_alive = places.take(address("192.0.2.1")).expect("a place");
        kept_alive.worked();
        kept_alive.enter(Phase::Idle);
        let (old, young) = (places.take(address("192.0.2.9")), places.take(address("192.0.2.9")));
        let (old, young) = (old.expect("a place"), young.expect("a place"));
        let (told_old, told_young, told_kept) = (old.evicted(), young.evicted(), kept_alive.evicted());
        let first = places.take(address("192.0.2.2")).expect("the oldest that never worked gives way");
        first.enter(Phase::Working);
        assert_eq!((told_old.is_cancelled(), told_young.is_cancelled()), (true, false));
        let second = places.take(address("192.0.2.3")).expect("then the next");
        second.enter(Phase::Working);
        assert_eq!((told_young.is_cancelled(), told_kept.is_cancelled()), (true, false));
        let third = places.take(address("192.0.2.4")).expect("then an idle one");
        third.enter(Phase::Working);
        assert!(told_kept.is_cancelled());
        assert!(matches!(places.take(address("192.0.2.5")), Err(Full::All)), "who is worked for keeps the place");
        drop(working);
        assert!(places.take(address("192.0.2.5")).is_ok());
        drop((old, young, kept_alive));
        assert_eq!(places.count(), 3, "a place is given back once");
    }

    #[tokio::test]
    async fn a_caller_with_all_its_places_makes_room_among_its_own() {
        let places = places(100, 2);
        let (one, two) = (places.take(address("2001:db8::1")), places.take(address("2001:db8::2")));
        let (one, two) = (one.expect("a place"), two.expect("a place"));
        one.enter(Phase::Working);
        let third = places.take(address("2001:db8::3")).expect("the second gives way");
        assert!(two.evicted().is_cancelled() && !one.evicted().is_cancelled());
        third.enter(Phase::Working);
        assert!(matches!(places.take(address("2001:db8::4")), Err(Full::Caller)));
        assert!(places.take(address("2001:db9::4")).is_ok(), "others have theirs");
    }

    #[tokio::test]
    async fn bodies_hold_no_more_than_they_may_and_small_ones_are_always_read() {
        let places = places(2000, 2000);
        let hold = |text: &str, bytes: usize| {
            let mut body = Arc::new(places.take(text.parse().expect("an address")).expect("a place")).body();
            body.add(bytes).map(|()| body)
        };
        let large = BODY_UNCOUNTED + BODIES_PER_CALLER_MAX;
        let first = hold("192.0.2.1", large).expect("as much as one may");
        assert!(hold("192.0.2.1", BODY_UNCOUNTED + 1).is_err(), "no more of the same caller");
        assert!(hold("192.0.2.1", BODY_UNCOUNTED).is_ok(), "a payment is always read");
        let others: Vec<_> = (2..5).map(|n| hold(&format!("192.0.2.{n}"), large).expect("others too")).collect();
        assert!(hold("192.0.2.9", BODY_UNCOUNTED + 1).is_err(), "no more of anybody");
        drop(first);
        assert!(hold("192.0.2.9", BODY_UNCOUNTED + 1).is_ok());
        drop(others);
        let table = places.table.lock();
        assert_eq!((table.bytes, table.callers.len()), (0, 0));
    }
}
