//! Open files: the system's limit, and the connections that fit below it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::places::PlacesMax;

/// Files that are asked for, if the hard limit allows.
const WANTED: u64 = 65_536;

/// Files that are kept back for the store, whose seven connections hold three
/// each, the listeners and the log.
const OWN: u64 = 80;

/// Files that are kept back for the nodes of one network.
const PER_NETWORK: u64 = 16;

/// Connections of the second listener.
const ADMIN: u64 = 16;

/// The share of this process's files for each use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// The limit in force.
    pub limit: u64,
    /// Kept back for nodes, store, listeners and log.
    pub kept_back: u64,
    admin: usize,
    connections: usize,
}

impl Files {
    /// Shares out the files below a limit; `wanted` is the configured number of connections.
    pub fn share(limit: u64, wanted: usize, networks: usize) -> Self {
        let networks = u64::try_from(networks).unwrap_or(u64::MAX);
        let kept_back = PER_NETWORK.saturating_mul(networks).saturating_add(OWN).min(limit / 2);
        let admin = ADMIN.min(limit / 16).max(1);
        let left = usize::try_from(limit - kept_back - admin.min(limit - kept_back)).unwrap_or(usize::MAX);
        let admin = usize::try_from(admin).unwrap_or(1);
        Self { limit, kept_back, admin, connections: wanted.min(left).max(1) }
    }

    /// Returns the places of the public listener: as many as configured, or what
    /// the files allow. Then one caller has three quarters of them at most.
    pub fn public(&self, wanted: PlacesMax) -> PlacesMax {
        let scarce = self.connections < wanted.all;
        let share = if scarce { (self.connections - self.connections / 4).max(1) } else { usize::MAX };
        PlacesMax { all: self.connections, per_caller: wanted.per_caller.min(share) }
    }

    /// Returns the places of the second listener.
    pub const fn admin(&self) -> PlacesMax {
        PlacesMax { all: self.admin, per_caller: self.admin }
    }

    /// Says what the process can hold.
    pub fn say(&self, wanted: PlacesMax) {
        let Self { limit, kept_back, connections, .. } = *self;
        tracing::info!(files = limit, kept_back, connections, "open files are shared out");
        if connections < wanted.all {
            tracing::warn!(
                files = limit,
                connections,
                configured = wanted.all,
                "the limit of open files allows fewer connections than server.connections_max: raise it (ulimit -n, \
                 LimitNOFILE), or lower server.connections_max"
            );
        }
    }
}

/// Raises the soft limit as far as the system lets this process, and returns it.
pub fn raise() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let current = before.current.unwrap_or(u64::MAX);
    let wanted = before.maximum.unwrap_or(u64::MAX).min(WANTED);
    if wanted <= current {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: before.maximum }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, limit = current, "the limit of open files cannot be raised");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_nodes_and_store() {
        for (limit, networks, connections) in
            [(65_536, 2, 4096), (1024, 1, 912), (256, 1, 144), (256, 20, 112), (64, 1, 28), (2, 1, 1)]
        {
            let files = Files::share(limit, 4096, networks);
            assert_eq!(files.connections, connections, "{files:?}");
        }
        assert_eq!(Files::share(u64::MAX, 4096, 1).connections, 4096, "no limit at all");
        assert_eq!(Files::share(65_536, 100, 1).connections, 100, "never more than configured");
    }
}
