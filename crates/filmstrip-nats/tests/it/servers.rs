//! Servers in processes of their own, alone or as a cluster, which can be killed, stopped and started again.

use crate::binary::nats_server;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_WAIT: Duration = Duration::from_secs(20);

/// Servers, and the directory that they share.
pub(crate) struct Servers {
    directory: TempDir,
    ports: Vec<u16>,
    routes: Vec<u16>,
    running: Vec<Option<Child>>,
    /// Further lines of each server's configuration.
    further: &'static str,
}

impl Servers {
    /// Starts `count` servers; `None` if there is no program to start.
    pub(crate) fn start(count: usize) -> Option<Servers> {
        Servers::start_with(count, "")
    }

    pub(crate) fn start_with(count: usize, further: &'static str) -> Option<Servers> {
        nats_server()?;
        let ports = free_ports(2 * count);
        let mut servers = Servers {
            directory: tempfile::tempdir().unwrap(),
            routes: ports[count..].to_vec(),
            ports: ports[..count].to_vec(),
            running: (0..count).map(|_| None).collect(),
            further,
        };
        (0..count).for_each(|number| servers.spawn(number));
        (0..count).for_each(|number| servers.wait_for(number));
        Some(servers)
    }

    /// The addresses of all of them.
    pub(crate) fn addresses(&self) -> String {
        let addresses = self.ports.iter().map(|port| format!("nats://127.0.0.1:{port}"));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// Starts a server again that was killed.
    pub(crate) fn restart(&mut self, number: usize) {
        self.spawn(number);
        self.wait_for(number);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, number: usize) {
        let mut child = self.running[number].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops a server without ending it, until [`resume`](Servers::resume).
    pub(crate) fn pause(&self, number: usize) {
        self.signal(number, "-STOP");
    }

    pub(crate) fn resume(&self, number: usize) {
        self.signal(number, "-CONT");
    }

    fn signal(&self, number: usize, signal: &str) {
        let pid = self.running[number].as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The name of a server.
    pub(crate) fn name(number: usize) -> String {
        format!("n{number}")
    }

    fn spawn(&mut self, number: usize) {
        let home = self.directory.path().join(Servers::name(number));
        std::fs::create_dir_all(&home).unwrap();
        let config = home.join("nats.conf");
        std::fs::write(&config, self.config(number, &home)).unwrap();
        let log = std::fs::File::create(home.join("log")).unwrap();
        let mut command = Command::new(nats_server().unwrap());
        command.arg("-c").arg(&config).stdout(log.try_clone().unwrap()).stderr(log);
        self.running[number] = Some(command.stdin(Stdio::null()).spawn().unwrap());
    }

    fn config(&self, number: usize, home: &Path) -> String {
        let (name, port, further) = (Servers::name(number), self.ports[number], self.further);
        let store = home.join("store");
        let mut config = format!(
            "server_name: {name}\nlisten: 127.0.0.1:{port}\n{further}\n\
             jetstream {{ store_dir: {store:?}, sync_interval: always }}\n"
        );
        if self.ports.len() > 1 {
            let route = self.routes[number];
            let routes = self.routes.iter().map(|port| format!("nats://127.0.0.1:{port}"));
            let routes = routes.collect::<Vec<_>>().join(", ");
            config +=
                &format!("cluster {{ name: c, listen: 127.0.0.1:{route}, routes: [{routes}] }}\n");
        }
        config
    }

    fn wait_for(&mut self, number: usize) {
        let deadline = Instant::now() + START_WAIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[number])).is_err() {
            let ended = self.running[number].as_mut().unwrap().try_wait().unwrap();
            let log = self.directory.path().join(Servers::name(number)).join("log");
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "no server:\n{}", said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports that nobody listens at. All are held until all are known, so that none comes twice.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let listeners: Vec<_> = listeners.collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
