//! Blobs come from any holder, in chunks, resumed after a break, and only with the right bytes.

use witan_net::{Command, Event};
use witan_protocol::digest::BlobRef;

use crate::support::{Node, mesh};

/// Bytes that do not compress and whose chunks all differ.
fn adapter(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}

async fn stored(node: &mut Node, blob: BlobRef) {
    node.until("a blob", |event| (*event == Event::BlobStored(blob)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_megabytes_come_from_whoever_has_them() {
    let mut mesh = mesh(1..=5).await;
    let bytes = adapter(5_000_000);
    let blob = mesh.nodes[0].blobs.put(&bytes).unwrap();
    let ids: Vec<_> = mesh.nodes.iter().map(|node| node.id).collect();
    // The first to ask is told of two members that have nothing.
    let holders = vec![ids[4], ids[3], ids[0]];
    mesh.nodes[1].net.send(Command::Fetch { blob, holders });
    stored(&mut mesh.nodes[1], blob).await;
    mesh.nodes.remove(0).stop().await;
    // The author is gone; who fetched it serves it.
    for node in &mut mesh.nodes[1..] {
        node.net.send(Command::Fetch { blob, holders: vec![ids[0], ids[1]] });
        stored(node, blob).await;
        assert_eq!(node.blobs.read(&blob).unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_fetch_goes_on_where_it_stopped() {
    let mut mesh = mesh(1..=2).await;
    let bytes = adapter(5_000_000);
    let blob = mesh.nodes[0].blobs.put(&bytes).unwrap();
    let holder = mesh.nodes[0].id;
    let node = &mut mesh.nodes[1];
    node.blobs.part(&blob).unwrap().append(&bytes[..4_000_001]).unwrap();
    let before = node.net.traffic().bytes_in;
    node.net.send(Command::Fetch { blob, holders: vec![holder] });
    stored(node, blob).await;
    assert_eq!(node.blobs.read(&blob).unwrap(), bytes);
    let fetched = node.net.traffic().bytes_in - before;
    assert!((999_999..1_500_000).contains(&fetched), "{fetched} bytes were fetched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_of_wrong_bytes_is_named_and_another_is_asked() {
    let mut mesh = mesh(1..=3).await;
    let bytes = adapter(3_000_000);
    let blob = mesh.nodes[0].blobs.put(&bytes).unwrap();
    mesh.nodes[1].blobs.put(&bytes).unwrap();
    let mut wrong = bytes.clone();
    wrong[2_500_000] ^= 1;
    std::fs::write(mesh.nodes[0].blobs.path(&blob.digest), wrong).unwrap();
    let holders = vec![mesh.nodes[0].id, mesh.nodes[1].id];
    let node = &mut mesh.nodes[2];
    node.net.send(Command::Fetch { blob, holders });
    stored(node, blob).await;
    assert_eq!(node.blobs.read(&blob).unwrap(), bytes);
    let refusal = node.refusal("wrong bytes").await;
    assert_eq!(refusal.peer, "member-01");
    assert!(refusal.reason.contains(&blob.digest.to_string()), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_blobs_at_once_all_arrive() {
    let mut mesh = mesh(1..=3).await;
    let bytes = adapter(40 * 200_000);
    let holders = vec![mesh.nodes[0].id, mesh.nodes[1].id];
    let mut blobs = Vec::new();
    for (index, part) in bytes.chunks(200_000).enumerate() {
        blobs.push(mesh.nodes[index % 2].blobs.put(part).unwrap());
    }
    let node = &mut mesh.nodes[2];
    for blob in &blobs {
        node.net.send(Command::Fetch { blob: *blob, holders: holders.clone() });
    }
    for blob in blobs {
        stored(node, blob).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_is_here_is_told_at_once() {
    let mut mesh = mesh(1..=2).await;
    let blob = mesh.nodes[0].blobs.put(b"adapter").unwrap();
    mesh.nodes[0].net.send(Command::Fetch { blob, holders: Vec::new() });
    stored(&mut mesh.nodes[0], blob).await;
}
