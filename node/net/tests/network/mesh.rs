//! Finding each other, and hearing each other.

use witan_net::limits::{DIRECT_BYTES_MAX, GOSSIP_BYTES_MAX};
use witan_net::{Command, Event};

use crate::support::{Plan, mesh};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_members_meet_through_one_bootstrap_peer_and_gossip_reaches_all() {
    let mut mesh = mesh(1..=8).await;
    for (index, node) in mesh.nodes.iter().enumerate() {
        node.net.send(Command::Gossip(vec![index as u8; 200]));
    }
    for (here, node) in mesh.nodes.iter_mut().enumerate() {
        for author in (0..8).filter(|author| *author != here) {
            node.message(&[author as u8; 200]).await;
        }
        let traffic = node.net.traffic();
        assert!(traffic.bytes_in > 1400 && traffic.bytes_out > 200, "{traffic:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_of_the_largest_size_survives_back_to_back() {
    let mut mesh = mesh(1..=3).await;
    for index in 0..20 {
        mesh.nodes[0].net.send(Command::Gossip(vec![index; GOSSIP_BYTES_MAX]));
    }
    for node in &mut mesh.nodes[1..] {
        for index in 0..20 {
            node.message(&vec![index; GOSSIP_BYTES_MAX]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_waits_for_the_first_peer() {
    let plan = Plan { members: vec![1, 2], ..Plan::default() };
    let first = plan.start(1).await;
    first.net.send(Command::Gossip(b"early".to_vec()));
    let listed = Plan { addresses: vec![(1, first.address.clone())], ..plan };
    let mut second = listed.start(2).await;
    second.message(b"early").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_message_reaches_its_member_alone() {
    let mut mesh = mesh(1..=3).await;
    let (first, second) = (mesh.nodes[0].id, mesh.nodes[1].id);
    let large = vec![7; DIRECT_BYTES_MAX];
    mesh.nodes[0].net.send(Command::Send { to: second, bytes: large.clone() });
    assert_eq!(mesh.nodes[1].message(&large).await, first);
    let third = mesh.nodes[2].id;
    mesh.nodes[0].net.send(Command::Send { to: third, bytes: b"for you".to_vec() });
    let next = mesh.nodes[2]
        .until("the next message", |event| match event {
            Event::Message { opened, .. } => Some(opened.bytes().to_vec()),
            _ => None,
        })
        .await;
    assert_eq!(next, b"for you");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_addresses_do_without_bootstrap_and_a_restarted_member_comes_back() {
    let plan = Plan { members: vec![1, 2], ..Plan::default() };
    let mut first = plan.start(1).await;
    let address = first.address.clone();
    let listed = Plan { addresses: vec![(1, address.clone())], ..plan.clone() };
    let mut second = listed.start(2).await;
    second.connected(1).await;
    first.connected(1).await;
    let id = first.id;
    first.stop().await;
    second.until("a lost member", |event| (*event == Event::Disconnected(id)).then_some(())).await;
    let bare = address.split("/p2p/").next().unwrap();
    let mut first = plan.start_on(1, bare).await;
    first.connected(1).await;
    second.connected(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_reach_each_other_over_quic() {
    let plan = Plan { members: vec![1, 2], ..Plan::default() };
    let first = plan.start_on(1, "/ip4/127.0.0.1/udp/0/quic-v1").await;
    assert!(first.address.contains("/quic-v1/"), "{}", first.address);
    let listed = Plan { addresses: vec![(1, first.address.clone())], ..plan };
    let mut second = listed.start(2).await;
    second.connected(1).await;
    first.net.send(Command::Gossip(b"by quic".to_vec()));
    second.message(b"by quic").await;
}
