//! What a federation document must and must not contain.

use super::hello::{Hello, HelloMismatch, PROTOCOL_VERSION};
use super::*;
use crate::identity::Identity;

/// A federation of `size` members whose seeds are 1, 2, 3, …
pub(crate) fn federation(size: usize) -> Federation {
    let mut document = document();
    document.members.truncate(size);
    Federation::new(document).unwrap()
}

fn document() -> Document {
    let member = |n: u8| Member {
        name: format!("member-{n:02}"),
        key: Identity::from_seed([n; 32]).member(),
        addresses: vec![format!("/ip4/127.0.0.1/tcp/{}", 4000 + u16::from(n))],
        weight: 1,
    };
    Document {
        name: "test".into(),
        seed: 1,
        base: Digest([9; 32]),
        tower: None,
        bootstrap: vec!["/ip4/127.0.0.1/tcp/4000".into()],
        lora: Lora { rank: 8, alpha: 16.0, dropout: 0.05, targets: vec!["q".into(), "v".into()] },
        training: Training {
            rounds: 5,
            local_steps: 8,
            batch_questions: 12,
            batch_captions: 4,
            accumulation: 1,
            gradient_norm_max: None,
            learning_rate: 2e-3,
            learning_rate_final: 2e-3,
            weight_decay: 0.0,
            strategy: Strategy::FedAvg,
            compression: Compression::None,
        },
        council: Council {
            fault_model: FaultModel::Byzantine,
            round_deadline_s: 60,
            view_timeout_ms: 2000,
            late_rounds: 0,
        },
        members: (1..=16).map(member).collect(),
    }
}

fn problem(change: impl FnOnce(&mut Document)) -> String {
    let mut document = document();
    change(&mut document);
    Federation::new(document).unwrap_err().to_string()
}

#[test]
fn toml_round_trips_to_the_same_id() {
    let federation = Federation::new(document()).unwrap();
    let again = Federation::from_toml(&federation.to_toml()).unwrap();
    assert_eq!(again, federation);
    assert_eq!(again.id(), federation.id());
}

#[test]
fn the_id_ignores_addresses_and_member_order_and_nothing_else() {
    let id = Federation::new(document()).unwrap().id();
    let mut moved = document();
    moved.bootstrap.clear();
    moved.members[0].addresses.clear();
    moved.members.reverse();
    assert_eq!(Federation::new(moved).unwrap().id(), id);
    let mut other = document();
    other.training.learning_rate = 3e-3;
    assert_ne!(Federation::new(other).unwrap().id(), id);
}

#[test]
fn quorum_is_two_thirds_or_a_majority() {
    let federation = Federation::new(document()).unwrap();
    assert_eq!((federation.founders().quorum(), federation.founders().honest()), (11, 6));
    let mut crash = document();
    crash.council.fault_model = FaultModel::Crash;
    crash.members.truncate(3);
    assert_eq!(Federation::new(crash).unwrap().founders().quorum(), 2);
}

#[test]
fn bad_documents_are_refused_by_field() {
    assert!(problem(|d| d.members.clear()).contains("members is 0"));
    assert!(problem(|d| d.training.rounds = 0).contains("training.rounds is 0"));
    assert!(problem(|d| d.lora.dropout = 1.0).contains("lora.dropout is 1"));
    assert!(problem(|d| d.lora.alpha = f64::NAN).contains("lora.alpha is NaN"));
    let twin = problem(|d| d.members[3].key = d.members[2].key);
    assert!(twin.contains("members[3].key") && twin.contains("no other member"), "{twin}");
    let twin = problem(|d| d.members[3].name = d.members[2].name.clone());
    assert!(twin.contains("members[3].name"), "{twin}");
    let many = problem(|d| {
        let template = d.members[0].clone();
        d.members = (0..65).map(|n| Member { name: n.to_string(), ..template.clone() }).collect();
    });
    assert!(many.contains("members is 65"), "{many}");
}

#[test]
fn late_updates_are_off_and_unsaid_unless_asked_for() {
    let federation = Federation::new(document()).unwrap();
    assert!(!federation.to_toml().contains("late_rounds"));
    let mut late = document();
    late.council.late_rounds = 2;
    let late = Federation::new(late).unwrap();
    assert_ne!(late.id(), federation.id());
    assert_eq!(Federation::from_toml(&late.to_toml()).unwrap(), late);
    assert!(problem(|d| d.council.late_rounds = 5).contains("council.late_rounds is 5"));
    let turned = problem(|d| {
        d.council.late_rounds = 1;
        d.training.strategy = Strategy::FlexLora;
    });
    assert!(turned.contains("0 with this strategy"), "{turned}");
}

#[test]
fn bad_hexadecimal_names_its_place() {
    let text = Federation::new(document()).unwrap().to_toml();
    let bad = text.replacen(&"09".repeat(32), "xyz", 1);
    let error = Federation::from_toml(&bad).unwrap_err().to_string();
    assert!(error.contains("64 hexadecimal digits") && error.contains("line"), "{error}");
    let error = Federation::from_toml("name = 1").unwrap_err().to_string();
    assert!(error.contains("name"), "{error}");
}

#[test]
fn both_sides_name_the_field_that_differs() {
    let ours = Federation::new(document()).unwrap();
    let mut other = document();
    other.lora.rank = 4;
    let theirs = Federation::new(other).unwrap();
    let (a, b) = (Hello::new(&ours), Hello::new(&theirs));
    let b = Hello::decode(&b.encode()).unwrap();
    let mismatch = a.check(&b).unwrap_err().to_string();
    assert_eq!(mismatch, "federation files differ in lora.rank: ours 8, theirs 4");
    let mismatch = b.check(&a).unwrap_err().to_string();
    assert_eq!(mismatch, "federation files differ in lora.rank: ours 4, theirs 8");
    assert_eq!(a.check(&a.clone()), Ok(()));
    let newer = Hello { protocol_version: PROTOCOL_VERSION + 1, ..a.clone() };
    assert!(matches!(a.check(&newer), Err(HelloMismatch::Version { .. })));
}

#[test]
fn an_unknown_strategy_is_refused_with_the_known_ones_and_its_line() {
    let text = Federation::new(document()).unwrap().to_toml();
    let bad = text.replacen("\"fedavg\"", "\"magic\"", 1);
    let error = Federation::from_toml(&bad).unwrap_err().to_string();
    assert!(error.contains("line") && error.contains("known are fedavg, fedprox"), "{error}");
    let short = text.replacen("strategy = \"fedavg\"\n", "strategy = \"fedprox\"\n", 1);
    let short = Federation::from_toml(&short).unwrap();
    assert_eq!(short.document().training.strategy, Strategy::FedProx { mu: 0.01 });
    assert_eq!(short.document().training.compression, Compression::None);
    let mut other = document();
    other.training.compression = Compression::Int8;
    let other = Federation::new(other).unwrap();
    assert_ne!(other.id(), Federation::new(document()).unwrap().id());
    assert_eq!(Federation::from_toml(&other.to_toml()).unwrap(), other);
}
