//! A device that is not there is refused by every command that computes, before anything is made.

use std::process::Command;

use crate::support::{Ended, Running, edit, finish, finished, path, witan};

/// `witan` where the driver, if there is one, shows no GPU.
fn without_gpu(args: &[&str]) -> Ended {
    let program = &mut Command::new(env!("CARGO_BIN_EXE_witan"));
    finish(program.args(args).env("CUDA_VISIBLE_DEVICES", ""))
}

/// What a program of this build says of it, and what it advises.
const REFUSAL: [&str; 2] = match cfg!(feature = "cuda") {
    true => ["device cuda: no GPU found; the driver library libcuda.so", "nvidia-smi"],
    false => ["device cuda: this program was built without the feature cuda", "docs/GPU.md"],
};

#[test]
fn a_gpu_that_is_not_there_is_refused_by_every_command_that_computes() {
    let [what, hint] = REFUSAL;
    let (folder, home) = finished().copy(1);
    let new = folder.path().join("new");
    let (home, new) = (path(&home), path(&new));
    for args in [
        &["testnet", "--dir", new][..],
        &["eval", "--home", home],
        &["run", "--home", home],
        &["ask", "--home", home, "none.png", "what shape is it?"],
        &["draw", "--home", home, "a red circle", "--out", new],
        &["model", "check", "none"],
    ] {
        without_gpu(&[args, &["--device", "cuda"]].concat()).refused(5, what, hint);
    }
    assert!(!folder.path().join("new").exists());
}

#[test]
fn the_settings_name_the_device_and_the_command_line_goes_before_them() {
    let (_folder, home) = finished().copy(1);
    let settings = home.join("node.toml");
    edit(&settings, "device = \"cpu\"", "device = \"cuda\"");
    let [what, hint] = REFUSAL;
    without_gpu(&["run", "--home", path(&home)]).refused(5, what, hint);
    let args = ["run", "--stop-on-eof", "--home", path(&home), "--device", "cpu"];
    Running::start(&args).until("listening on");
}

#[test]
fn a_device_of_another_name_is_named() {
    let (_folder, home) = finished().copy(1);
    let ended = witan(&["run", "--home", path(&home), "--device", "tpu"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("expected cpu or cuda, found tpu"), "{ended:?}");
    edit(&home.join("node.toml"), "device = \"cpu\"", "device = \"tpu\"");
    let ended = witan(&["run", "--home", path(&home)]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains("node.toml, line") && ended.err.contains("tpu"), "{ended:?}");
}
