//! Who is turned away is told why, once, and harms nobody.

use std::io::Write;
use std::net::TcpStream;

use witan_files::Blobs;
use witan_net::{self as net, Event, NetError, NetSettings};

use crate::support::{Plan, member};

/// `127.0.0.1:<port>` of a multiaddress.
fn socket(address: &str) -> String {
    format!("127.0.0.1:{}", address.split('/').nth(4).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_dropped_at_the_connection_and_named_by_its_key() {
    let plan = Plan { members: vec![1, 2], ..Plan::default() };
    let mut first = plan.start(1).await;
    let theirs = Plan {
        members: vec![1, 9],
        addresses: vec![(1, first.address.clone())],
        ..Plan::default()
    };
    let mut stranger = theirs.start(9).await;
    let refusal = first.refusal("not a member").await;
    assert_eq!(refusal.peer, member(9).to_string());
    let told = stranger.refusal("before any handshake").await;
    assert_eq!(told.peer, "member-01");
    assert_eq!(first.net.traffic().peers, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn federations_that_differ_name_the_field_on_both_sides() {
    let eight = Plan { members: vec![1, 2], rank: 8, ..Plan::default() };
    let mut first = eight.start(1).await;
    let sixteen = Plan { rank: 16, addresses: vec![(1, first.address.clone())], ..eight };
    let mut second = sixteen.start(2).await;
    let here = first.refusal("lora.rank").await;
    assert_eq!(here.peer, "member-02");
    assert!(here.reason.contains("ours 8") && here.reason.contains("theirs 16"), "{here:?}");
    let there = second.refusal("lora.rank").await;
    assert_eq!(there.peer, "member-01");
    assert!(there.reason.contains("ours 16") && there.reason.contains("theirs 8"), "{there:?}");
    assert_eq!((first.net.traffic().peers, second.net.traffic().peers), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_silent_connections_harm_nobody() {
    let plan = Plan { members: vec![1, 2], ..Plan::default() };
    let mut first = plan.start(1).await;
    let port = socket(&first.address);
    let silent: Vec<_> = (0..64).map(|_| TcpStream::connect(&port).unwrap()).collect();
    for _ in 0..64 {
        let mut garbage = TcpStream::connect(&port).unwrap();
        garbage.write_all(&[0xa5; 4096]).unwrap();
    }
    let refusal = first.refusal("no handshake").await;
    assert_eq!(refusal.peer, "127.0.0.1");
    let listed = Plan { addresses: vec![(1, first.address.clone())], ..plan };
    let mut second = listed.start(2).await;
    first.connected(1).await;
    second.connected(1).await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_an_error_with_address_and_hint() {
    let plan = Plan { members: vec![1, 2], ..Plan::default() };
    let first = plan.start(1).await;
    let address = first.address.split("/p2p/").next().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let settings = NetSettings {
        seed: [2; 32],
        federation: plan.federation(),
        listen: vec![address.clone()],
        bootstrap: Vec::new(),
        blobs: Blobs::open(dir.path()).unwrap(),
    };
    let error = net::start(settings.clone()).unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
    assert!(error.hint().unwrap().contains("another port"));

    let anonymous = Plan { bootstrap: vec!["/ip4/127.0.0.1/tcp/1".to_owned()], ..plan };
    let error =
        net::start(NetSettings { federation: anonymous.federation(), ..settings }).unwrap_err();
    assert!(matches!(error, NetError::Anonymous { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_handle_ends_the_network() {
    let plan = Plan { members: vec![1, 2], ..Plan::default() };
    let first = plan.start(1).await;
    let listed = Plan { addresses: vec![(1, first.address.clone())], ..plan };
    let mut second = listed.start(2).await;
    second.connected(1).await;
    let id = first.id;
    drop(first);
    second.until("a lost member", |event| (*event == Event::Disconnected(id)).then_some(())).await;
}
