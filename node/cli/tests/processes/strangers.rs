//! Whoever does not belong is turned away by a running node, by name, and the node goes on.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use crate::support::{Running, edit, finished, key_of, path, witan};

/// Tells the home at `home` where member `name` listens.
fn introduce(home: &Path, name: &str, port: u16) {
    let file = home.join("federation.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (head, tail) = text.split_once(&format!("name = \"{name}\"\n")).unwrap();
    let (key, rest) = tail.split_once('\n').unwrap();
    let rest = rest.strip_prefix("addresses = []\n").unwrap_or(rest);
    let addresses = format!("addresses = [\"/ip4/127.0.0.1/tcp/{port}\"]");
    fs::write(&file, format!("{head}name = \"{name}\"\n{key}\n{addresses}\n{rest}")).unwrap();
}

#[test]
fn federation_files_that_differ_are_named_field_by_field_on_both_sides() {
    let (_first_folder, first_home) = finished().fresh(1);
    let (_second_folder, second_home) = finished().fresh(2);
    edit(&second_home.join("federation.toml"), "local_steps = 2", "local_steps = 3");
    let mut first = Running::node(&first_home);
    introduce(&second_home, "node-01", first.port());
    let mut second = Running::node(&second_home);
    let here = first.until("refused node-02");
    assert!(here.ends_with("differ in training.local_steps: ours 2, theirs 3"), "{here}");
    let there = second.until("refused node-01");
    assert!(there.ends_with("differ in training.local_steps: ours 3, theirs 2"), "{there}");
}

#[test]
fn a_peer_that_is_no_member_is_turned_away_by_its_key() {
    let (_folder, home) = finished().fresh(1);
    let mut node = Running::node(&home);
    let (_stranger_folder, stranger_home) = finished().fresh(2);
    let file = stranger_home.join("federation.toml");
    let old = key_of(&stranger_home);
    fs::remove_file(stranger_home.join("key.pem")).unwrap();
    let new = key_of(&stranger_home);
    edit(&file, &old, &new);
    introduce(&stranger_home, "node-01", node.port());
    let mut stranger = Running::node(&stranger_home);
    let refusal = node.until("not a member");
    assert!(refusal.starts_with(&format!("refused {new}")), "{refusal}");
    stranger.until("refused node-01");
}

#[test]
fn garbage_on_the_port_is_told_and_harms_nobody() {
    let (_folder, home) = finished().fresh(1);
    let mut node = Running::node(&home);
    for _ in 0..20 {
        let mut garbage = TcpStream::connect(("127.0.0.1", node.port())).unwrap();
        garbage.write_all(&[0xa5; 4096]).unwrap();
    }
    node.until("refused 127.0.0.1");
    let status = witan(&["status", "--home", path(&home)]);
    assert!(status.out.starts_with("doing "), "{status:?}");
}
