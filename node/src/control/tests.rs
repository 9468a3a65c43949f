//! Claims about the control socket, over a real socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Stream;

use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::io::Notice;
use witan_protocol::member::{MemberId, Round, View};
use witan_protocol::status::PhaseName;

use super::*;

fn entry(seq: u64) -> LogEntry {
    LogEntry { seq, at_ms: 5, notice: Notice::RoundStarted { round: Round(seq) } }
}

fn report() -> StatusReport {
    let status = Status {
        round: Round(2),
        rounds: 5,
        phase: PhaseName::Training,
        view: View(0),
        aggregator: MemberId([1; 32]),
        waiting_for: vec![MemberId([2; 32])],
        waiting_until: Some(Time(9)),
        updates_in: 1,
        deltas_in: 1,
        prevotes: 0,
        precommits: 0,
        quorum: 3,
        head: Digest([3; 32]),
        adapter: BlobRef::of(b"adapter"),
        connected: vec![MemberId([2; 32])],
        missing: Vec::new(),
        stalled: None,
    };
    StatusReport { now: Time(7), status }
}

/// Runs `client` on a thread of its own against a driver that knows 2500 entries.
fn with_node(home: &Home, client: impl FnOnce(Home) + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut socket = listen(home).unwrap();
        let driver = async {
            while let Some(request) = socket.requests.recv().await {
                let replies = match request.query {
                    Query::Status => vec![Reply::Status(Box::new(report()))],
                    Query::Stop => vec![Reply::Stopping],
                    Query::Petitions => vec![Reply::Petitions(Vec::new())],
                    Query::Cast(say) => vec![Reply::Refused(format!("{say:?}"))],
                    Query::Log { filter, .. } => {
                        let all = (0..2500).map(entry).filter(|entry| filter.matches(entry));
                        all.take(1000).map(Reply::Entry).collect()
                    }
                };
                drop(request.reply.send(replies));
            }
        };
        let home = home.clone();
        let client = tokio::task::spawn_blocking(move || client(home));
        tokio::select! {
            () = driver => panic!("the socket closed"),
            done = client => done.unwrap(),
        }
    });
}

#[test]
fn a_running_node_tells_status_and_its_whole_log() {
    let dir = tempfile::tempdir().unwrap();
    with_node(&Home::at(dir.path()), |home| {
        assert_eq!(Client::connect(&home).unwrap().status().unwrap(), report());
        let mut seen = Vec::new();
        let filter = LogFilter { after: Some(9), ..LogFilter::default() };
        let client = Client::connect(&home).unwrap();
        client
            .log(&filter, false, &mut |entry| {
                seen.push(entry.seq);
                true
            })
            .unwrap();
        assert_eq!(seen, Vec::from_iter(10..2500));
        Client::connect(&home).unwrap().stop().unwrap();
    });
}

#[test]
fn following_hands_over_what_is_there_and_ends_when_told() {
    let dir = tempfile::tempdir().unwrap();
    with_node(&Home::at(dir.path()), |home| {
        let mut last = 0;
        let client = Client::connect(&home).unwrap();
        let mut each = |entry: &LogEntry| {
            last = entry.seq;
            entry.seq < 2499
        };
        client.log(&LogFilter::default(), true, &mut each).unwrap();
        assert_eq!(last, 2499);
    });
}

#[test]
fn garbage_is_refused_and_the_node_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    with_node(&Home::at(dir.path()), |home| {
        for garbage in [b"nonsense\n".to_vec(), b"{\"log\":{\"x\":1}}\n".to_vec(), vec![b'['; 9000]]
        {
            let mut stream = Stream::connect(home.control_socket()).unwrap();
            let _ = stream.write_all(&garbage);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            assert!(answer.is_empty() || answer.starts_with("{\"refused\""));
        }
        Client::connect(&home).unwrap().status().unwrap();
    });
}

#[test]
fn idle_clients_do_not_lock_the_node_up_for_good() {
    let dir = tempfile::tempdir().unwrap();
    with_node(&Home::at(dir.path()), |home| {
        let idle: Vec<_> = (0..CLIENTS_MAX).map(|_| Client::connect(&home).unwrap()).collect();
        drop(idle);
        let mut attempts = 0;
        while Client::connect(&home).is_none_or(|client| client.status().is_err()) {
            attempts += 1;
            assert!(attempts < 10_000, "the places of clients that left are free again");
        }
    });
}

#[test]
fn a_home_deeper_than_a_socket_address_can_say_works() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("d".repeat(100)).join("e".repeat(100)));
    home.create().unwrap();
    with_node(&home, |home| {
        Client::connect(&home).unwrap().status().unwrap();
    });
    assert!(Client::connect(&home).is_none());
    assert!(!home.control_socket().exists());
}
