//! Several Redis together: a primary with its replica and a Sentinel, and a cluster.

use std::{
    fs,
    process::{Child, Command},
};

use tempfile::TempDir;

use super::server;
use crate::{anvil::free_port, eventually};

/// The name that the Sentinel knows the primary by.
pub const PRIMARY: &str = "main";

/// Servers on ports of the loopback address, since Sentinel and Cluster know no sockets; they end with the test.
pub struct Several {
    processes: Vec<Child>,
    ports: Vec<u16>,
    folders: Vec<TempDir>,
}

impl Several {
    /// Starts a primary, its replica, and a Sentinel that takes a primary for dead after half a second.
    ///
    /// # Panics
    /// If they do not find together.
    pub async fn with_sentinel() -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let mut several = Self { processes: vec![], ports: ports.to_vec(), folders: vec![] };
        several.add(&["--port", &ports[0].to_string()]);
        several.add(&["--port", &ports[1].to_string(), "--replicaof", "127.0.0.1", &ports[0].to_string()]);
        eventually("the replica follows", || async {
            several.ask(1, &["INFO", "replication"]).contains("master_link_status:up").then_some(())
        })
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {}\nsentinel monitor {PRIMARY} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {PRIMARY} 500\n\
             sentinel failover-timeout {PRIMARY} 2000\n",
            ports[2], ports[0]
        );
        fs::write(&file, text).expect("written");
        several.processes.push(server(&folder, &[&file.display().to_string(), "--sentinel"]));
        several.folders.push(folder);
        eventually("the Sentinel knows the replica", || async {
            several.ask(2, &["SENTINEL", "replicas", PRIMARY]).contains(&ports[1].to_string()).then_some(())
        })
        .await;
        several
    }

    /// Starts a cluster of two nodes with half of the slots each.
    ///
    /// # Panics
    /// If they do not find together.
    pub async fn cluster() -> Self {
        let ports = [free_port(), free_port()];
        let mut several = Self { processes: vec![], ports: ports.to_vec(), folders: vec![] };
        let mut buses = vec![];
        for port in ports {
            let (port, bus) = (port.to_string(), free_port().to_string());
            several.add(&["--port", &port, "--cluster-port", &bus, "--cluster-enabled", "yes"]);
            buses.push(bus);
        }
        for node in 0..2 {
            eventually("the node answers", || async { (several.ask(node, &["PING"]) == "PONG").then_some(()) }).await;
        }
        assert_eq!(several.ask(0, &["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]), "OK");
        assert_eq!(several.ask(1, &["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]), "OK");
        assert_eq!(several.ask(0, &["CLUSTER", "MEET", "127.0.0.1", &ports[1].to_string(), &buses[1]]), "OK");
        for node in 0..2 {
            eventually("the cluster is whole", || async {
                let info = several.ask(node, &["CLUSTER", "INFO"]);
                (info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")).then_some(())
            })
            .await;
        }
        several
    }

    fn add(&mut self, settings: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        let base = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"];
        let arguments: Vec<&str> = base.iter().chain(settings).copied().collect();
        self.processes.push(server(&folder, &arguments));
        self.folders.push(folder);
    }

    /// Returns the port of a server, in the order of their start.
    pub fn port(&self, server: usize) -> u16 {
        self.ports[server]
    }

    /// Runs a command on one of them, and returns the answer as `redis-cli` prints it.
    ///
    /// # Panics
    /// If `redis-cli` cannot be started.
    pub fn ask(&self, server: usize, command: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port(server).to_string()]).args(command).output();
        String::from_utf8_lossy(&output.expect("`redis-cli` runs").stdout).trim().to_owned()
    }

    /// `kill -9` of one of them.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn kill(&mut self, server: usize) {
        self.processes[server].kill().expect("killed");
        self.processes[server].wait().expect("gone");
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        for process in &mut self.processes {
            drop(process.kill());
            drop(process.wait());
        }
    }
}
