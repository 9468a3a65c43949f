//! The processes of a testnet: started, listened to, stopped.
//!
//! A child reads its standard input and stops cleanly when that closes, so that no node outlives a
//! launcher, however the launcher ends.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use witan_home::{Failure, kibibytes};

use crate::event::{Event, Heard};

/// A running node process.
#[derive(Debug)]
pub struct NodeProcess {
    /// Its process id.
    pub pid: u32,
    stdin: Option<ChildStdin>,
    kill: Option<tokio::sync::oneshot::Sender<()>>,
}

impl NodeProcess {
    /// Starts `witan run` with a bootstrap peer of this run's own; what it says goes to `events`.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(
        index: usize,
        home: &Path,
        bootstrap: &str,
        events: mpsc::Sender<Heard>,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(this_program()?);
        command.args(["run", "--json", "--stop-on-eof", "--bootstrap", bootstrap, "--home"]);
        command.arg(home);
        Self::of(index, command, events)
    }

    /// Starts any command that reports as such a node does, and stops as it does.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn of(
        index: usize,
        mut command: Command,
        events: mpsc::Sender<Heard>,
    ) -> Result<Self, Failure> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::environment(format!("cannot start node {index}: {error}")))?;
        let (kill, killed) = tokio::sync::oneshot::channel();
        let process =
            Self { pid: child.id().unwrap_or(0), stdin: child.stdin.take(), kill: Some(kill) };
        tokio::spawn(listen(index, child, killed, events));
        Ok(process)
    }

    /// The most memory it has held, while it runs; none where the system does not say.
    pub fn peak_bytes(&self) -> Option<u64> {
        kibibytes(&format!("/proc/{}/status", self.pid), "VmHWM:")
    }

    /// Asks for a clean stop; the process answers by ending.
    pub fn stop(&mut self) {
        self.stdin = None;
    }

    /// SIGKILL: no warning, nothing saved.
    pub fn kill(&mut self) {
        if let Some(kill) = self.kill.take() {
            let _ = kill.send(());
        }
    }
}

/// The bootstrap process and the address it listens on.
#[derive(Debug)]
pub struct BootstrapProcess {
    /// Its full multiaddress, peer id included.
    pub address: String,
    _stdin: Option<ChildStdin>,
    _child: Child,
}

impl BootstrapProcess {
    /// Starts `witan bootstrap` on a free loopback port and waits for its address.
    ///
    /// # Errors
    /// If it cannot be started or says nothing within ten seconds.
    pub async fn start(home: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(this_program()?)
            .arg("bootstrap")
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--stop-on-eof", "--home"])
            .arg(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::environment(format!("cannot start bootstrap: {error}")))?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(BOOTSTRAP_START_MAX, lines.next_line()).await;
        let address = match first {
            Ok(Ok(Some(line))) if line.starts_with('/') => line,
            _ => return Err(Failure::environment("the bootstrap process did not come up")),
        };
        Ok(Self { address, _stdin: child.stdin.take(), _child: child })
    }
}

async fn listen(
    node: usize,
    mut child: Child,
    mut killed: tokio::sync::oneshot::Receiver<()>,
    events: mpsc::Sender<Heard>,
) {
    let stdout = child.stdout.take().expect("standard output is piped");
    let stderr = child.stderr.take().expect("standard error is piped");
    let stderr = tokio::spawn(last_lines(stderr));
    let mut lines = BufReader::new(stdout).lines();
    let mut can_be_killed = true;
    loop {
        tokio::select! {
            order = &mut killed, if can_be_killed => {
                can_be_killed = false;
                if order.is_ok() {
                    let _ = child.start_kill();
                }
            }
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { break };
                let Ok(event) = serde_json::from_str(&line) else { continue };
                let event = Event::Node { node, event: Box::new(event) };
                if events.send(Ok(event)).await.is_err() {
                    break;
                }
            }
        }
    }
    let code = child.wait().await.ok().and_then(|status| status.code());
    let stderr = stderr.await.unwrap_or_default();
    let _ = events.send(Ok(Event::Ended { node, code, stderr })).await;
}

async fn last_lines(stderr: tokio::process::ChildStderr) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut last: Vec<String> = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if last.len() == STDERR_LINES_MAX {
            last.remove(0);
        }
        last.push(line);
    }
    last.join("\n")
}

fn this_program() -> Result<std::path::PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::environment(format!("cannot find this program: {error}")))
}

const BOOTSTRAP_START_MAX: Duration = Duration::from_secs(10);
const STDERR_LINES_MAX: usize = 6;
