//! A PostgreSQL server of its own, of Debian's package, and a pooler before it:
//! data in a folder that goes with it, reached by a socket in there and, unless it
//! is a secured one, by nothing else.
//!
//! It needs the standard library and `tempfile` alone: the store's own tests use
//! this file too.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc},
    thread,
};

use tempfile::TempDir;

/// The user of Debian's package: the server refuses to be run by root.
const USER: &str = "postgres";

/// The log's words once the server takes connections.
const READY: &str = "database system is ready to accept";

/// Settings of a server for one test. What is committed survives the end of its
/// process; only the end of the machine would lose it.
const SETTINGS: [&str; 4] =
    ["listen_addresses=", "shared_buffers=16MB", "max_connections=60", "log_min_messages=warning"];

/// A running server; ends when dropped, and with the process that started it.
pub struct Postgres {
    folder: TempDir,
    server: Mutex<Option<Child>>,
    settings: Vec<String>,
}

impl Postgres {
    /// Starts a server with nothing in it.
    ///
    /// # Panics
    /// If the package `postgresql` is not installed, or the server does not start.
    pub fn start() -> Self {
        Self::start_with(Path::new("/tmp"), &["fsync=off"])
    }

    /// Starts one with its data in this folder, and other settings.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(parent: &Path, settings: &[&str]) -> Self {
        // The path of a socket has a hundred letters at most.
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in(parent).expect("a folder");
        hand_over(folder.path());
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-a").arg(prepared(folder.path())).arg(&data));
        Self::run_in(folder, settings)
    }

    /// Starts one on the data that is in this folder.
    pub(crate) fn run_in(folder: TempDir, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let postgres = Self { folder, server: Mutex::new(None), settings };
        postgres.go_on();
        postgres
    }

    /// Starts one that others reach at this port of the loopback address: by TLS alone, and with a password.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn secured(port: u16, certificate: &Path, key: &Path, password: &str) -> Self {
        let mut server = Self::start();
        let data = server.folder.path().join("data");
        let own = |name: &str, content: &[u8]| {
            let path = data.join(name);
            fs::write(&path, content).expect("written");
            hand_over(&path);
            run(Command::new("chmod").arg("600").arg(&path));
        };
        own("server.crt", &fs::read(certificate).expect("a certificate"));
        own("server.key", &fs::read(key).expect("a key"));
        own("pg_hba.conf", b"local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
        drop(server.execute(&format!("ALTER ROLE {USER} PASSWORD '{password}'")));
        server.stop();
        let reached = ["listen_addresses=127.0.0.1".to_owned(), format!("port={port}"), "ssl=on".to_owned()];
        server.settings.extend(reached);
        server.go_on();
        server
    }

    /// The URL of a database on it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user={USER}", self.folder.path().display())
    }

    /// Does what another program may do to the database of a service.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn execute(&self, sql: &str) -> String {
        let mut psql = Command::new(bin("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        psql.arg(format!("--host={}", self.folder.path().display())).args([
            format!("--username={USER}").as_str(),
            "--command",
            sql,
            "postgres",
        ]);
        let done = psql.output().expect("`psql` runs");
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// Stops the server at once, in the middle of whatever it does.
    ///
    /// # Panics
    /// If it does not run.
    pub fn stop(&self) {
        let mut server = self.server.lock().expect("no panic").take().expect("it runs");
        signal(&server, "-QUIT");
        server.wait().expect("it ends");
    }

    /// Starts the server again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn go_on(&self) {
        let mut command = as_user(&bin("postgres"));
        command.arg("-D").arg(self.folder.path().join("data"));
        let sockets = format!("unix_socket_directories={}", self.folder.path().display());
        let own = self.settings.iter().map(String::as_str);
        for setting in SETTINGS.into_iter().chain([sockets.as_str()]).chain(own) {
            command.args(["-c", setting]);
        }
        let server = start(command, READY);
        *self.server.lock().expect("no panic") = Some(server);
    }

    /// Has the server come up as a standby, as after a failover: it takes no
    /// writes until it is promoted (`SELECT pg_promote()`), and has another
    /// history from then on.
    ///
    /// # Panics
    /// If it does not start.
    pub fn become_standby(&self) {
        self.stop();
        fs::write(self.folder.path().join("data/standby.signal"), "").expect("written");
        self.go_on();
    }

    /// Stops every process of the server where it is, until
    /// [`wake`](Self::wake): connections stay open, and nobody answers.
    pub fn freeze(&self) {
        self.signal_all("-STOP");
    }

    /// Lets a server go on that was frozen.
    pub fn wake(&self) {
        self.signal_all("-CONT");
    }

    fn signal_all(&self, signal: &str) {
        let server = self.server.lock().expect("no panic");
        let Some(server) = &*server else { return };
        let id = server.id();
        self::signal(server, signal);
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        // One of them may have ended meanwhile.
        drop(Command::new("kill").arg(signal).args(children.split_whitespace()).output());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.wake();
        if self.server.lock().is_ok_and(|server| server.is_some()) {
            self.stop();
        }
    }
}

/// PgBouncer before a server, in transaction mode: each transaction gets one of
/// two sessions. Ends when dropped, and with the process that started it.
pub struct Pooler {
    folder: TempDir,
    process: Child,
}

impl Pooler {
    /// Starts one before a server.
    ///
    /// # Panics
    /// If the package `pgbouncer` is not installed, or it does not start.
    pub fn before(server: &Postgres) -> Self {
        let folder = tempfile::Builder::new().prefix("pgb").tempdir_in("/tmp").expect("a folder");
        let (own, servers) = (folder.path().display(), server.folder.path().display());
        let settings = format!(
            "[databases]\n* = host={servers} user={USER}\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {own}\n\
             pool_mode = transaction\nauth_type = any\ndefault_pool_size = 2\n"
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, settings).expect("written");
        hand_over(folder.path());
        let mut command = as_user(Path::new("/usr/sbin/pgbouncer"));
        command.arg(&file);
        Self { folder, process: start(command, "process up") }
    }

    /// The URL of a database behind it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&port=6432&user={USER}", self.folder.path().display())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Starts a program, and waits until its log has these words.
///
/// It is told of the end of the thread that started it, not of the process: so
/// that is the thread which reads its log to the end.
fn start(mut command: Command, words: &'static str) -> Child {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut process = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let mut log = BufReader::new(process.stderr.take().expect("its log")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let ready = log.by_ref().any(|line| {
            let is_ready = line.contains(words);
            said.push(line);
            is_ready
        });
        let answer = if ready {
            Ok(process)
        } else {
            drop(process.wait());
            Err(said.join("\n"))
        };
        // Whoever waits has gone only when the test has.
        drop(sender.send(answer));
        log.for_each(drop);
    });
    let answer = receiver.recv().expect("no panic");
    answer.unwrap_or_else(|said| panic!("it does not start:\n{said}"))
}

fn signal(server: &Child, signal: &str) {
    run(Command::new("kill").args([signal, &server.id().to_string()]));
}

/// The data of a fresh server, made once for all tests.
fn prepared(folder: &Path) -> PathBuf {
    let version = version();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let prepared = target.join(format!("postgres-{version}"));
    if !prepared.exists() {
        let fresh = folder.join("fresh");
        let initdb = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"];
        run(as_user(&bin("initdb")).args(initdb).arg(format!("--username={USER}")).arg("-D").arg(&fresh));
        let copy = target.join(format!("postgres-{version}-{}", std::process::id()));
        run(Command::new("cp").arg("-a").arg(&fresh).arg(&copy));
        // Whoever is first has made it for all.
        if fs::rename(&copy, &prepared).is_err() {
            drop(fs::remove_dir_all(&copy));
        }
        drop(fs::remove_dir_all(&fresh));
    }
    prepared
}

/// A program of the newest server, whose folder is on no PATH.
pub(crate) fn bin(program: &str) -> PathBuf {
    Path::new("/usr/lib/postgresql").join(version().to_string()).join("bin").join(program)
}

fn version() -> u32 {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = versions.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    versions.max().expect("the package `postgresql` is installed: ./tests/run does it")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|of_this_process| of_this_process.uid() == 0)
}

/// Gives the folder to the user that runs the server.
pub(crate) fn hand_over(folder: &Path) {
    if is_root() {
        run(Command::new("chown").arg(USER).arg(folder));
    }
}

/// A program that ends with this one, run by a user who may run a server.
pub(crate) fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "SIGKILL"]);
    if is_root() {
        command.args([format!("--reuid={USER}"), format!("--regid={USER}")]).arg("--init-groups");
    }
    command.arg("--").arg(program).current_dir("/tmp");
    command
}

/// Runs a program that must work.
pub(crate) fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
