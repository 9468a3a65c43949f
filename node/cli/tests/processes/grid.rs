//! `witan grid`: every cell is a testnet of real processes at the same number of samples, and is
//! run once.

use std::fs;

use crate::pictures::folder;
use crate::support::{path, witan};

#[test]
fn two_cells_draw_the_same_number_of_samples_and_are_run_once() {
    // Without captions: of the four of a usual step none is drawn, and none may be counted.
    let (vqa, out) = (folder(24), tempfile::tempdir().unwrap());
    let dir = out.path().join("new");
    let flags = "grid --clients 2,4 --alpha iid --seeds 1 --batch-questions 2 --lora-rank 4";
    let grid: Vec<_> =
        flags.split(' ').chain(["--vqa", path(vqa.path()), "--dir", path(&dir)]).collect();
    let page = out.path().join("PAGE.md");
    let settings = ["--rounds", "1", "--samples", "16", "--write", path(&page)];
    let first = witan(&[&grid[..], &settings].concat());
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.err.contains("run 5 of 5: 4 members, α iid, seed 1, each alone"), "{first:?}");
    let csv = fs::read_to_string(dir.join("grid.csv")).unwrap();
    let of = |what: &str| {
        let lines = csv.lines().filter(move |line| line.split(',').next() == Some(what));
        lines.map(|line| line.split(',').nth(4).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of("federated"), ["16", "16"], "{csv}");
    assert_eq!(of("centralised"), ["16"], "{csv}");
    assert_eq!(
        [of("member-00"), of("member-01"), of("member-02"), of("member-03")].concat(),
        ["8", "4", "8", "4", "4", "4"]
    );
    for name in ["score.svg", "bytes.svg", "time.svg"] {
        let [plot, copy] = [dir.join(name), out.path().join("page").join(name)]
            .map(|path| fs::read_to_string(path).unwrap());
        assert!(plot.starts_with("<svg") && plot == copy, "{name}");
    }
    let times = fs::read_to_string(dir.join("time.svg")).unwrap();
    assert!(times.contains("until the last update") && times.contains("last update to commit"));
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("steps of 2 questions and 0 captions"), "{text}");
    assert!(text.contains(" --lora-rank 4 --vqa "), "{text}");
    assert!(text.contains("| 2 members, α iid | 1 |") && text.contains("page/score.svg"), "{text}");
    assert_eq!(fs::read_dir(dir.join("work")).unwrap().count(), 0, "finished runs leave room");

    let again = witan(&[&grid[..], &settings, &["--csv"]].concat());
    assert_eq!((again.code, &again.out), (Some(0), &csv), "{again:?}");
    let other = ["--rounds", "2", "--samples", "16"];
    witan(&[&grid[..], &other].concat()).refused(3, "holds a grid of other settings", "--dir");
    fs::write(dir.join("results/central-s1.json"), "{").unwrap();
    witan(&[&grid[..], &settings].concat()).refused(
        3,
        "central-s1.json cannot be read",
        "remove it",
    );
}

#[test]
fn cells_without_sense_are_refused_before_anything_is_made() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("new");
    for (flags, what) in [
        ("--clients 0", "--clients 0: expected 2 to 64"),
        ("--clients 2,4,2", "is asked for twice"),
        ("--alpha 0", "--alpha 0: expected a positive number"),
        ("--alpha 0.5,-1", "--alpha -1: expected a positive number"),
        ("--alpha even", "--alpha even: expected a positive number or iid"),
        ("--alpha 1,1.0", "is asked for twice"),
        ("--seeds 1,1", "is asked for twice"),
        ("--samples 7", "--samples 7: 2 members cannot share them out"),
        ("--samples 0", "--samples 0"),
        ("--rounds 0", "--rounds 0"),
        ("--scenes 0", "--scenes 0"),
    ] {
        let args = ["grid", "--dir", path(&dir)].into_iter().chain(flags.split(' '));
        witan(&args.collect::<Vec<_>>()).refused(2, what, "");
    }
    assert!(!dir.exists());
}
