//! What flags and files say of a spec.

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    spec: Spec,
    #[arg(long, conflicts_with_all = FLAGS)]
    resume: bool,
}

fn parsed(flags: &str) -> Result<Spec, clap::Error> {
    let words = std::iter::once("it").chain(flags.split_whitespace());
    Command::try_parse_from(words).map(|it| it.spec)
}

#[test]
fn no_flags_say_the_defaults_and_resume_takes_no_other() {
    let usual = parsed("").unwrap();
    assert_eq!(usual, Spec::default());
    parsed("--resume").unwrap();
    for flag in ["--nodes 4", "--strategy fedavg", "--clip 1", "--lora-rank 4", "--iid"] {
        assert!(parsed(&format!("--resume {flag}")).is_err(), "{flag}");
    }
    let command = Command::command();
    let grouped: Vec<_> = command.get_groups().flat_map(|group| group.get_args()).collect();
    for flag in command.get_arguments().filter(|flag| flag.get_id() != "resume") {
        assert!(grouped.contains(&flag.get_id()), "{flag} is in no group");
    }
    assert_eq!(parsed("--iid").unwrap().checked().unwrap().cohort.alpha, None);
}

#[test]
fn a_file_of_an_earlier_version_is_read() {
    let text = r#"{"nodes":2,"rounds":3,"alpha":null,"seed":4,"local_steps":5,
        "strategy":"fedavg","compression":"none","device":"cpu","batch_questions":6,
        "batch_captions":7,"learning_rate":0.25,"lora":{"rank":4,"alpha":null,"dropout":null,
        "targets":null}}"#;
    let spec: Spec = serde_json::from_str(text).unwrap();
    assert_eq!((spec.cohort.nodes, spec.cohort.alpha), (2, None));
    assert_eq!((spec.learning.learning_rate, spec.learning.lora.lora_rank), (Some(0.25), Some(4)));
    let compact: String = text.split_whitespace().collect();
    assert_eq!(serde_json::to_string(&spec).unwrap(), compact, "as that version wrote it");
}

#[test]
fn settings_name_the_flags_that_make_them() {
    let flags_of = |learning: &Learning| flags(learning, &["batch_questions"]);
    assert_eq!(flags_of(&Learning::default()), " --batch-questions 12");
    let lora = Lora { lora_rank: Some(4), ..Lora::default() };
    let learning = Learning {
        clip: Some(1.5),
        vqa: Some("/a folder".into()),
        batch_captions: 0,
        lora,
        ..Learning::default()
    };
    let said = flags_of(&learning);
    for flag in ["--clip 1.5", "--vqa '/a folder'", "--batch-captions 0", "--lora-rank 4"] {
        assert!(said.contains(flag), "{flag} in {said}");
    }
}

#[test]
fn sixteen_members_take_four_times_the_learning_rate_of_one() {
    let of = |nodes| Spec { cohort: Cohort { nodes, ..Cohort::default() }, ..Spec::default() };
    let rate = |nodes| of(nodes).training().learning_rate;
    assert_eq!((rate(1), rate(16)), (EMBEDDED_RATE, 4.0 * EMBEDDED_RATE));
    assert_eq!(rate(16) / rate_factor(16), rate(1), "what one of sixteen takes alone");
}
