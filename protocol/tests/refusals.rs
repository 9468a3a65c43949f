//! Proves that nothing a peer sends is believed without its signature, and that nothing panics.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::federation::{Compression, Federation, FederationId};
use witan_protocol::io::{Input, Notice, Output, Time};
use witan_protocol::member::{MemberId, Round, View};
use witan_protocol::status::PhaseName;
use witan_protocol::wire::envelope::{self, Opened, Refusal};
use witan_protocol::wire::{Kind, Message, Scores, Update, Verified, Vote, VoteStep};
use witan_protocol::{Config, Identity, Participant};

fn identity(n: u8) -> Identity {
    Identity::from_seed([n; 32])
}

fn federation(name: &str) -> Arc<Federation> {
    let members: String = (1..=4)
        .map(|n| format!("[[members]]\nname = \"m{n}\"\nkey = \"{}\"\n", identity(n).member()))
        .collect();
    let text = format!(
        "name = \"{name}\"\nseed = 1\nbase = \"{}\"\n\
         [lora]\nrank = 4\nalpha = 8.0\ndropout = 0.0\ntargets = [\"q\"]\n\
         [training]\nrounds = 2\nlocal_steps = 1\nbatch_questions = 1\nbatch_captions = 1\n\
         learning_rate = 0.1\nlearning_rate_final = 0.1\nweight_decay = 0.0\n\
         strategy = \"fedavg\"\n\
         [council]\nround_deadline_s = 60\n{members}",
        Digest([7; 32])
    );
    Arc::new(Federation::from_toml(&text).unwrap())
}

fn start() -> BlobRef {
    BlobRef::of(b"start")
}

fn update(delta: &[u8]) -> Message {
    Message::Update(Update {
        round: Round(1),
        start: start().digest,
        delta: BlobRef::of(delta),
        codec: Compression::None,
        examples: 1,
        steps: 1,
        scores: Scores::default(),
    })
}

fn vote() -> Message {
    let value = Some(Digest([1; 32]));
    Message::Vote(Vote { round: Round(1), view: View(0), step: VoteStep::Precommit, value })
}

fn participant() -> Participant {
    let (federation, identity) = (federation("a"), identity(1));
    Participant::new(Config { federation, identity, start_adapter: start() }, Time(0)).unwrap()
}

fn arrival(via: MemberId, bytes: Vec<u8>) -> Input {
    Input::Message { via, opened: Box::new(Opened::new(bytes, federation("a").id())) }
}

fn outputs(participant: &mut Participant, bytes: Vec<u8>) -> Vec<Output> {
    while participant.poll_output().is_some() {}
    participant.handle(Time(1), arrival(identity(2).member(), bytes));
    std::iter::from_fn(|| participant.poll_output()).collect()
}

fn notices(participant: &mut Participant, bytes: Vec<u8>) -> Vec<Notice> {
    let notice = |output| match output {
        Output::Notice(notice) => Some(notice),
        _ => None,
    };
    outputs(participant, bytes).into_iter().filter_map(notice).collect()
}

#[test]
fn an_envelope_opens_only_in_its_federation_and_only_unaltered() {
    let (ours, theirs) = (federation("a"), federation("b"));
    let sealed = envelope::seal(&identity(2), ours.id(), &vote());
    assert_eq!(envelope::open(&sealed, ours.founders()).unwrap().message, vote());
    let elsewhere = envelope::open(&sealed, theirs.founders());
    assert_eq!(elsewhere, Err(Refusal::BadSignature(identity(2).member())));
    for index in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[index] ^= 1;
        assert!(envelope::open(&altered, ours.founders()).is_err(), "byte {index} altered");
    }
    let stranger = envelope::seal(&identity(9), ours.id(), &vote());
    assert_eq!(
        envelope::open(&stranger, ours.founders()),
        Err(Refusal::Stranger(identity(9).member()))
    );
    let mut longer = sealed.clone();
    longer.push(0);
    assert_eq!(envelope::open(&longer, ours.founders()), Err(Refusal::Malformed));
    let huge = vec![0; envelope::RECORD_BYTES_MAX + 1];
    assert!(matches!(envelope::open(&huge, ours.founders()), Err(Refusal::TooLong { .. })));
}

#[test]
fn a_message_resealed_is_the_same_bytes() {
    let federation = federation("a");
    let sealed = envelope::seal(&identity(2), federation.id(), &vote());
    let opened = envelope::open(&sealed, federation.founders()).unwrap();
    assert_eq!(envelope::reseal(opened.signer, &opened.message, &opened.signature), sealed);
}

#[test]
fn random_and_damaged_bytes_are_refused_and_reported() {
    let mut participant = participant();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let sealed = envelope::seal(&identity(2), federation("a").id(), &update(b"x"));
    for _ in 0..500 {
        let mut bytes = sealed.clone();
        for _ in 0..random.random_range(1..4) {
            let index = random.random_range(0..bytes.len());
            bytes[index] = random.random_range(0..=255u32) as u8;
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        if bytes == sealed {
            continue;
        }
        let told = notices(&mut participant, bytes);
        assert!(told.iter().any(|notice| matches!(notice, Notice::Refused { .. })), "{told:?}");
        assert!(!told.iter().any(|notice| matches!(notice, Notice::Accepted { .. })));
    }
}

#[test]
fn a_second_different_update_is_refused_and_gossiped_as_evidence() {
    let mut participant = participant();
    let id = federation("a").id();
    let first = envelope::seal(&identity(3), id, &update(b"x"));
    let second = envelope::seal(&identity(3), id, &update(b"y"));
    let told = notices(&mut participant, first.clone());
    assert!(matches!(&told[..], [Notice::Accepted { kind: Kind::Update, .. }]));
    assert!(notices(&mut participant, first.clone()).is_empty(), "a duplicate says nothing");
    let outputs = outputs(&mut participant, second.clone());
    let reports = |expected: fn(&Notice) -> bool| {
        outputs.iter().any(|output| matches!(output, Output::Notice(notice) if expected(notice)))
    };
    assert!(reports(|notice| matches!(notice, Notice::Refused { .. })));
    assert!(reports(|notice| {
        matches!(notice, Notice::Objection { against, .. } if *against == identity(3).member())
    }));
    let evidence = outputs.iter().find_map(|output| match output {
        Output::Gossip(bytes) => match envelope::open(bytes, federation("a").founders()) {
            Ok(Verified { message: Message::Evidence(evidence), .. }) => Some(evidence),
            _ => None,
        },
        _ => None,
    });
    let evidence = evidence.expect("the proof goes to everybody");
    let pair = if first < second { [&first, &second] } else { [&second, &first] };
    assert_eq!([&evidence.first, &evidence.second], pair);
}

#[test]
fn an_update_from_another_adapter_is_refused() {
    let mut participant = participant();
    let Message::Update(mut wrong) = update(b"x") else { unreachable!() };
    wrong.start = Digest([3; 32]);
    let sealed = envelope::seal(&identity(2), federation("a").id(), &Message::Update(wrong));
    let told = notices(&mut participant, sealed);
    assert!(matches!(&told[..], [Notice::Refused { reason, .. }] if reason.starts_with("start")));
}

#[test]
fn an_update_in_another_codec_is_refused() {
    let mut participant = participant();
    let Message::Update(mut wrong) = update(b"x") else { unreachable!() };
    wrong.codec = Compression::Int8;
    let sealed = envelope::seal(&identity(2), federation("a").id(), &Message::Update(wrong));
    let told = notices(&mut participant, sealed);
    let expected = "codec is int8, expected none";
    assert!(
        matches!(&told[..], [Notice::Refused { reason, .. }] if reason == expected),
        "{told:?}"
    );
}

#[test]
fn an_update_of_more_steps_than_agreed_is_refused() {
    let mut participant = participant();
    let Message::Update(mut heavy) = update(b"x") else { unreachable!() };
    heavy.steps = 2;
    let sealed = envelope::seal(&identity(2), federation("a").id(), &Message::Update(heavy));
    let told = notices(&mut participant, sealed);
    assert!(matches!(&told[..], [Notice::Refused { reason, .. }] if reason.starts_with("steps")));
}

#[test]
fn a_strangers_key_only_watches() {
    let (federation, stranger) = (federation("a"), identity(9));
    let config = Config { federation, identity: stranger, start_adapter: start() };
    let mut participant = Participant::new(config, Time(0)).unwrap();
    for (n, message) in [(2, vote()), (3, update(b"x"))] {
        let bytes = envelope::seal(&identity(n), participant_id(), &message);
        participant.handle(Time(1), arrival(identity(n).member(), bytes));
    }
    participant.handle(Time(100_000), Input::Tick);
    assert_eq!(participant.status().phase, PhaseName::Watching);
    while let Some(output) = participant.poll_output() {
        let is_quiet = matches!(output, Output::Roster(_) | Output::Notice(_));
        assert!(is_quiet, "it says and does nothing: {output:?}");
    }
}

fn participant_id() -> FederationId {
    federation("a").id()
}

#[test]
fn wire_bytes_and_ids_stay_as_they_are() {
    let federation = federation("a");
    let sealed = envelope::seal(&identity(2), federation.id(), &vote());
    assert_eq!(
        federation.id().to_string(),
        "10a0109bbe807ab359a67d60349248c8638d508037924947a750d278bbf10187"
    );
    assert_eq!(
        envelope::digest(&sealed).to_string(),
        "1d858c0cc29404bb38477c90bc2a92d5d4f564fae0d6ad7b7b21d7813b98acee"
    );
}
