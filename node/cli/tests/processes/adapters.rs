//! What a federation trained leaves it as a folder of Python's PEFT, and such a folder is asked as
//! a home is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{finished, path, witan};

const PICTURE: &str = "red.png";
const QUESTION: &str = "what colour is the circle?";

#[test]
fn an_exported_adapter_draws_and_answers_as_its_home_does() {
    let (home, folder) = (finished().home(0), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    let out = at("peft");
    let ended = witan(&["export", "--home", path(&home), "--peft", path(&out)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let sources = [["--home", path(&home)], ["--adapter", path(&out)]];
    let drawn = sources.map(|source| {
        let file = at(PICTURE);
        let ended = witan(&[&["draw", "a red circle", "--out", path(&file)], &source[..]].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        fs::read(file).unwrap()
    });
    assert!(drawn[0] == drawn[1]);
    let answers = sources.map(|source| {
        let ended = witan(&[&["ask", path(&at(PICTURE)), QUESTION], &source[..]].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn every_round_of_a_home_is_exported_and_no_other() {
    let (home, folder) = (finished().home(1), tempfile::tempdir().unwrap());
    let tensors = [Some("0"), Some("1"), Some("2"), None].map(|round| {
        let out = folder.path().join(round.unwrap_or("newest"));
        let round = round.map_or_else(Vec::new, |round| vec!["--round", round]);
        let args = ["export", "--home", path(&home), "--peft", path(&out)];
        let ended = witan(&[&args[..], &round].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        fs::read(out.join("adapter_model.safetensors")).unwrap()
    });
    assert!(tensors[0] != tensors[1] && tensors[1] != tensors[2] && tensors[2] == tensors[3]);
    let out = folder.path().join("none");
    let args = ["export", "--home", path(&home), "--round", "3", "--peft", path(&out)];
    witan(&args).refused(3, "round 3 is not committed here", "1 to 2");
    assert!(!out.exists());
}

#[test]
fn pefts_own_folder_is_exported_again_byte_for_byte() {
    let (folder, from) = (tempfile::tempdir().unwrap(), pinned());
    let ended = witan(&["export", "--adapter", path(&from), "--peft", path(folder.path())]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let bytes = |folder: &Path| fs::read(folder.join("adapter_model.safetensors")).unwrap();
    assert!(bytes(folder.path()) == bytes(&pinned()));
}

#[test]
fn a_folder_that_is_no_adapter_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let draw = ["draw", "a red circle", "--out", "/dev/null", "--adapter", path(folder.path())];
    witan(&draw).refused(3, "adapter_config.json", "witan export --peft");
    let settings = fs::read_to_string(pinned().join("adapter_config.json")).unwrap();
    let settings = settings.replace("\"r\": 2", "\"r\": 4");
    fs::write(folder.path().join("adapter_config.json"), settings).unwrap();
    let tensors = fs::read(pinned().join("adapter_model.safetensors")).unwrap();
    fs::write(folder.path().join("adapter_model.safetensors"), tensors).unwrap();
    witan(&draw).refused(3, "has shape [2, 128], expected [4, 128]", "of the embedded model");
}

/// Made by PEFT itself (`scripts/peft_round_trip.py`).
fn pinned() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/adapter/tests/peft")
}
