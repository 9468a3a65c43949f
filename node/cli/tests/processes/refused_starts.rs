//! A start that cannot go well is refused with its exit code, one line and a hint.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Running, TESTNET, edit, finish, finished, path, witan};

#[test]
fn flags_without_sense_are_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new");
    for (flags, what) in [
        (&["--nodes", "0"][..], "--nodes 0"),
        (&["--nodes", "1"], "--nodes 1"),
        (&["--nodes", "65"], "expected 2 to 64"),
        (&["--rounds", "0"], "--rounds"),
        (&["--local-steps", "0"], "--local-steps"),
        (&["--alpha", "-1"], "--alpha -1"),
        (&["--alpha", "NaN"], "--alpha NaN"),
        (&["--kill-aggregator", "11"], "--kill-aggregator 11: expected 1 to 10"),
        (&["--kill-aggregator", "1", "--nodes", "3"], "none of 3 nodes"),
        (&["--kill", "1@11"], "expected a round of 1 to 10"),
        (&["--kill", "16@1"], "--kill 16@…: expected 1 to 15"),
    ] {
        let args = [&["testnet", "--dir", path(&dir)], flags].concat();
        witan(&args).refused(2, what, "");
    }
    for flags in [&["--bogus"][..], &["--resume", "--nodes", "4"], &["--alpha", "1", "--iid"]] {
        let ended = witan(&[&["testnet", "--dir", path(&dir)], flags].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.starts_with("error: "), "{ended:?}");
    }
    assert!(!dir.exists());
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = path(folder.path());
    witan(&["testnet", "--resume", "--dir", dir]).refused(3, "testnet.json", "can be resumed");
    fs::write(folder.path().join("mine"), "precious").unwrap();
    witan(&["testnet", "--dir", dir]).refused(3, "is not empty", "--dir");
    let file = folder.path().join("mine");
    witan(&["testnet", "--dir", path(&file)]).refused(3, "cannot use", "--dir");
    let taken = path(finished().folder());
    witan(&["testnet", "--dir", taken]).refused(3, "holds a testnet already", "--resume");
    for command in ["run", "rounds", "log", "verify", "status"] {
        witan(&[command, "--home", dir]).refused(3, "is not a node's home", "--home");
    }
    let names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["mine"]);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let (folder, home) = finished().copy(1);
    edit(&home.join("node.toml"), "/ip4/127.0.0.1/tcp/0", &address);
    witan(&["run", "--home", path(&home)]).refused(4, &address, "another port");
    let rendezvous = path(&folder.path().join("rendezvous")).to_owned();
    let bootstrap = ["bootstrap", "--home", &rendezvous, "--listen"];
    witan(&[&bootstrap[..], &[&address]].concat()).refused(4, &address, "another port");
    witan(&[&bootstrap[..], &["localhost:1"]].concat()).refused(3, "localhost:1", "/tcp/");
}

#[test]
fn a_home_already_running_is_named_with_its_process() {
    let (_folder, home) = finished().copy(1);
    let node = Running::node(&home);
    let holder = format!("already running as process {}", node.pid());
    witan(&["run", "--home", path(&home)]).refused(4, &holder, "witan status");
    let status = witan(&["status", "--home", path(&home)]);
    assert!(status.out.starts_with("doing "), "{status:?}");
}

#[test]
fn a_key_is_refused_when_exposed_missing_damaged_or_foreign() {
    let (_folder, home) = finished().copy(1);
    let (home, key) = (path(&home), home.join("key.pem"));
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    for command in ["run", "keys"] {
        witan(&[command, "--home", home]).refused(3, "(mode 0644)", "chmod 600");
    }
    fs::remove_file(&key).unwrap();
    witan(&["run", "--home", home]).refused(3, "there is no key", "witan keys");
    assert_eq!(witan(&["keys", "--home", home]).code, Some(0));
    witan(&["run", "--home", home]).refused(3, "is in no [[members]] of", "federation.toml");
    fs::write(&key, "nonsense").unwrap();
    witan(&["run", "--home", home]).refused(3, "is not an ed25519 key", "openssl");
}

#[test]
fn a_setting_that_is_unknown_or_missing_is_named() {
    let (_folder, home) = finished().copy(1);
    let (home, file) = (path(&home), home.join("node.toml"));
    edit(&file, "threads", "treads");
    let ended = witan(&["run", "--home", home]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains("node.toml, line") && ended.err.contains("treads"), "{ended:?}");
    fs::remove_file(&file).unwrap();
    witan(&["run", "--home", home]).refused(3, "node.toml", "witan testnet");
}

#[test]
fn what_the_model_cannot_read_is_named_with_what_it_can() {
    let home = finished().home(0);
    let home = path(&home);
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("circle.png");
    let draw = ["draw", "--home", home, "--out", path(&picture)];
    assert_eq!(witan(&[&draw[..], &["a red circle"]].concat()).code, Some(0));
    let nowhere = path(&folder.path().join("none/circle.png")).to_owned();
    witan(&["draw", "--home", home, "--out", &nowhere, "a red circle"])
        .refused(5, &nowhere, "--out");
    witan(&[&draw[..], &["a red circlet"]].concat()).refused(3, "\"circlet\"", "ask --words");
    witan(&[&draw[..], &[" "]].concat()).refused(2, "empty", "a red circle");
    let ask = ["ask", "--home", home, path(&picture)];
    assert_eq!(witan(&[&ask[..], &["what colour is the circle?"]].concat()).code, Some(0));
    witan(&[&ask[..], &["what flavour is it?"]].concat()).refused(3, "\"flavour\"", "ask --words");
    fs::write(&picture, "no picture").unwrap();
    witan(&[&ask[..], &["what colour is it?"]].concat()).refused(3, "circle.png", "PNG or JPEG");
    let words = witan(&["ask", "--words"]).out;
    assert!(words.lines().any(|word| word == "circle"), "{words}");
}

/// `ulimit -f` stands for the full disk: writes past it fail, and nothing needs to be mounted.
#[test]
fn a_full_disk_ends_node_and_testnet_with_what_to_do() {
    let limited = |kilobytes: usize, args: &[&str]| {
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", 2 * kilobytes);
        let program = ["-c", &script, "sh", env!("CARGO_BIN_EXE_witan")];
        finish(Command::new("sh").args(program).args(args))
    };
    let (_folder, home) = finished().fresh(1);
    limited(100, &["run", "--home", path(&home)]).refused(5, "cannot write", "free space");
    let folder = tempfile::tempdir().unwrap();
    let dir = path(&folder.path().join("new")).to_owned();
    let ended = limited(100, &[TESTNET, &["--rounds", "1", "--dir", &dir]].concat());
    ended.refused(7, "nodes are left", "--resume");
    assert!(ended.err.contains("cannot write"), "{ended:?}");
}
