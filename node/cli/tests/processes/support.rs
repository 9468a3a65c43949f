//! Starts the built program, listens to it with bounded patience, and lets no process outlive a
//! test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No wait of these tests is longer; a testnet of four takes a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a program that ended left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A running `witan`; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

/// A pinned checkpoint of this family.
pub(crate) fn pinned(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/tests/parity").join(family)
}

/// Runs `witan` with these arguments to its end.
pub(crate) fn witan(args: &[&str]) -> Ended {
    finish(Command::new(env!("CARGO_BIN_EXE_witan")).args(args))
}

/// Runs a command to its end, or kills it and fails when it takes too long.
pub(crate) fn finish(command: &mut Command) -> Ended {
    let mut child = spawn(command.stdin(Stdio::null()));
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (out, err) = (read_all(out), read_all(err));
    let mut running = Running { child, lines: out, heard: Vec::new() };
    let out = running.lines.recv_timeout(PATIENCE).expect("standard output ends in time");
    let err = err.recv_timeout(PATIENCE).expect("standard error ends in time");
    Ended { code: running.child.wait().unwrap().code(), out, err }
}

impl Ended {
    /// The program refused: this exit code, one line that holds `what`, one hint that holds `hint`.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, what: &str, hint: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        let lines: Vec<_> = self.err.lines().collect();
        let [.., error, help] = lines[..] else { panic!("an error and a hint: {self:?}") };
        assert!(error.starts_with("error: ") && error.contains(what), "{what:?} in {self:?}");
        assert!(help.starts_with("  hint: ") && help.contains(hint), "{hint:?} in {self:?}");
    }
}

impl Running {
    /// Starts `witan`; standard input stays open, standard output and error are listened to.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::of(Command::new(env!("CARGO_BIN_EXE_witan")).args(args))
    }

    /// Starts another program likewise.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = spawn(command.stdin(Stdio::piped()));
        let (sender, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        for source in [Box::new(out) as Box<dyn Read + Send>, Box::new(err)] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let lines = BufReader::new(source).lines().map_while(Result::ok);
                lines.for_each(|line| drop(sender.send(line)));
            });
        }
        Self { child, lines, heard: Vec::new() }
    }

    /// Starts the node of a home, and waits until it listens.
    pub(crate) fn node(home: &Path) -> Self {
        let mut node = Self::start(&["run", "--stop-on-eof", "--home", path(home)]);
        node.until("listening on /ip4/127.0.0.1/udp");
        node
    }

    /// The first line, from the start on, that holds `what`.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        if let Some(line) = self.heard.iter().find(|line| line.contains(what)) {
            return line.clone();
        }
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.heard.push(line),
                Err(error) => panic!("no {what:?} ({error}) in {:#?}", self.heard),
            }
            let line = &self.heard[self.heard.len() - 1];
            if line.contains(what) {
                return line.clone();
            }
        }
    }

    /// The port of its first TCP listener.
    pub(crate) fn port(&mut self) -> u16 {
        let line = self.until("listening on /ip4/127.0.0.1/tcp/");
        line.split('/').nth(4).unwrap().parse().unwrap()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, as `kill` names it.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Stops it by the end of its standard input.
    pub(crate) fn stopped(mut self) -> (ExitStatus, Vec<String>) {
        drop(self.child.stdin.take());
        self.ended()
    }

    /// Waits until it has closed its outputs and ended.
    pub(crate) fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) =
            self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.heard.push(line);
        }
        assert!(Instant::now() < deadline, "it did not end: {:#?}", self.heard);
        (self.child.wait().unwrap(), std::mem::take(&mut self.heard))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A finished federation of four in two rounds, whose aggregator of round 2 was killed.
pub(crate) struct Finished {
    _folder: TempDir,
    dir: PathBuf,
    /// What the launcher printed: the report.
    pub report: Value,
}

impl Finished {
    /// The testnet's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.dir
    }

    /// The home of a node.
    pub(crate) fn home(&self, index: usize) -> PathBuf {
        home(&self.dir, index)
    }

    /// A copy of that home to harm.
    pub(crate) fn copy(&self, index: usize) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("home");
        copy_folder(&self.home(index), &copy);
        edit(&copy.join("node.toml"), "../../turns", path(&self.dir.join("turns")));
        (folder, copy)
    }

    /// A copy without history: the home of a member that begins.
    pub(crate) fn fresh(&self, index: usize) -> (TempDir, PathBuf) {
        let (folder, home) = self.copy(index);
        for part in ["journal", "db", "blobs"] {
            fs::remove_dir_all(home.join(part)).unwrap();
        }
        (folder, home)
    }
}

/// The one finished federation of this test process, made on first use.
pub(crate) fn finished() -> &'static Finished {
    static FINISHED: OnceLock<Finished> = OnceLock::new();
    FINISHED.get_or_init(|| {
        // Deeper than a socket's address can say, and with a name that a shell would split.
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join(format!("Prüfung {}", "x".repeat(100)));
        let flags = ["--rounds", "2", "--kill-aggregator", "2", "--json", "--dir", path(&dir)];
        let ended = witan(&[TESTNET, &flags].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let report = serde_json::from_str(&ended.out).unwrap();
        Finished { _folder: folder, dir, report }
    })
}

/// Waits, for a bounded time, until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The public key of a home; made if there is none.
pub(crate) fn key_of(home: &Path) -> String {
    let shown = witan(&["keys", "--json", "--home", path(home)]);
    let value: Value = serde_json::from_str(&shown.out).unwrap();
    value["key"].as_str().unwrap().to_owned()
}

/// A small testnet; rounds and folder are still to be said.
pub(crate) const TESTNET: &[&str] =
    &["testnet", "--nodes", "4", "--local-steps", "2", "--no-compare"];

/// The home of a node in a testnet's folder.
pub(crate) fn home(dir: &Path, index: usize) -> PathBuf {
    dir.join("nodes").join(format!("{index:02}"))
}

/// A path as an argument.
pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// Replaces the first `from` in a file, which must be there.
#[track_caller]
pub(crate) fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from:?} in {text}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// Flips one bit of the byte at `offset`.
pub(crate) fn flip(file: &Path, offset: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[offset] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn spawn(command: &mut Command) -> Child {
    command.env_remove("WITAN_LOG").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn read_all(mut source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, text) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = source.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    text
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
