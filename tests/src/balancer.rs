//! Real load balancers before a service, with the defaults of their Debian packages.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{anvil::free_port, eventually};

/// A program that balances load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// nginx: keeps connections to the service, and notices a dead one by its requests.
    Nginx,
    /// HAProxy: asks `/ready` for its health checks.
    HaProxy,
}

/// A running load balancer; killed when dropped.
pub struct Balancer {
    process: Child,
    /// The address that clients ask.
    pub url: String,
    _folder: TempDir,
}

impl Balancer {
    /// Starts one before services at these URLs, and waits until it lets requests through.
    ///
    /// # Panics
    /// If it does not start: `tests/run` installs it.
    pub async fn before(program: Program, services: &[&str]) -> Self {
        let port = free_port();
        let targets: Vec<&str> = services.iter().map(|url| url.trim_start_matches("http://")).collect();
        Self::start(program, port, |folder| match program {
            Program::Nginx => nginx(folder, port, &targets),
            Program::HaProxy => haproxy(port, &targets),
        })
        .await
    }

    /// Starts HAProxy with a configuration that listens on this port of the loopback address.
    ///
    /// # Panics
    /// If it does not start: `tests/run` installs it.
    pub async fn configured(port: u16, text: &str) -> Self {
        Self::start(Program::HaProxy, port, |_| text.to_owned()).await
    }

    async fn start(program: Program, port: u16, text: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, text) = (folder.path().join("config"), text(folder.path()));
        let mut command = match program {
            Program::Nginx => nginx_command(folder.path(), &file),
            Program::HaProxy => haproxy_command(&file),
        };
        fs::write(&file, text).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Debian's packages `nginx-light` and `haproxy` are installed");
        let balancer = Self { process, url: format!("http://127.0.0.1:{port}"), _folder: folder };
        eventually(&format!("{program:?} lets requests through"), || async {
            let answer = reqwest::get(format!("{}/health", balancer.url)).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        balancer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn nginx(folder: &Path, port: u16, targets: &[&str]) -> String {
    let folder = folder.display();
    let servers = targets.iter().map(|target| format!("server {target};")).collect::<Vec<_>>().join(" ");
    // One process, so that killing it ends all of it.
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{\n\
           access_log off;\n\
           client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n\
           uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
           upstream facilitator {{ {servers} keepalive 8; }}\n\
           server {{\n\
             listen 127.0.0.1:{port};\n\
             location / {{\n\
               proxy_pass http://facilitator;\n\
               proxy_http_version 1.1;\n\
               proxy_set_header Connection \"\";\n\
               proxy_set_header Host localhost;\n\
               proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             }}\n\
           }}\n\
         }}\n"
    )
}

fn nginx_command(folder: &Path, file: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg("stderr");
    command
}

fn haproxy(port: u16, targets: &[&str]) -> String {
    let servers = targets.iter().enumerate();
    let servers = servers.map(|(i, target)| format!("  server s{i} {target} check inter 200ms fall 2 rise 1"));
    let servers = servers.collect::<Vec<_>>().join("\n");
    // The timeouts of Debian's own file.
    format!(
        "defaults\n  mode http\n  timeout connect 5000\n  timeout client 50000\n  timeout server 50000\n\
         frontend clients\n  bind 127.0.0.1:{port}\n  option forwardfor\n  default_backend facilitator\n\
         backend facilitator\n  option httpchk GET /ready\n{servers}\n"
    )
}

fn haproxy_command(file: &Path) -> Command {
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    command
}
