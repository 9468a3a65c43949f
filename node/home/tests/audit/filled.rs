//! A home after three rounds, for the tests of whatever reads one: records signed by four members,
//! blobs on disk.

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use witan_adapter::{Adaptable, Adapter, LoraConfig};
use witan_files::Blobs;
use witan_home::Home;
use witan_home::aggregation::Aggregation;
use witan_home::audit::aggregate_of;
use witan_home::store::Store;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::federation::{
    Compression, Council, Document, FaultModel, Lora, Member, Strategy, Training,
};
use witan_protocol::io::{Aggregate, Entry};
use witan_protocol::ledger::Tip;
use witan_protocol::member::{Round, View};
use witan_protocol::wire::envelope;
use witan_protocol::wire::{
    Absence, Absent, Certificate, Contribution, MemberSignature, Message, Proposal, RoundRecord,
    Scores, Update, Vote, VoteStep,
};
use witan_protocol::{Federation, Identity};

/// Rounds in it.
pub(crate) const ROUNDS: u64 = 3;

/// A home after three rounds of four members, the last of whom never sent an update.
pub(crate) struct Filled {
    _dir: TempDir,
    /// The home.
    pub home: Home,
    /// Its federation.
    pub federation: Federation,
}

fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

fn federation() -> Federation {
    let member = |number| Member {
        name: format!("member-{number}"),
        key: identity(number).member(),
        addresses: Vec::new(),
        weight: 1,
    };
    let training = Training {
        rounds: ROUNDS,
        local_steps: 8,
        batch_questions: 12,
        batch_captions: 4,
        accumulation: 1,
        gradient_norm_max: None,
        learning_rate: 1e-3,
        learning_rate_final: 1e-3,
        weight_decay: 0.0,
        strategy: Strategy::FedAvg,
        compression: Compression::None,
    };
    let council = Council {
        fault_model: FaultModel::Byzantine,
        round_deadline_s: 60,
        view_timeout_ms: 2000,
        late_rounds: 0,
    };
    Federation::new(Document {
        name: "test".into(),
        seed: 1,
        base: Digest([9; 32]),
        tower: None,
        bootstrap: Vec::new(),
        lora: Lora { rank: 8, alpha: 16.0, dropout: 0.0, targets: vec!["q".into()] },
        training,
        council,
        members: (1..=4).map(member).collect(),
    })
    .unwrap()
}

/// The arithmetic its members agreed on: plain averages over one small layer.
pub(crate) fn aggregation(federation: &Federation) -> Aggregation {
    let layers: Adaptable = [("layers.0.q".to_owned(), [4, 6])].into_iter().collect();
    let Lora { rank, alpha, dropout, targets } = federation.document().lora.clone();
    let lora = LoraConfig { rank: rank as usize, alpha, dropout, targets };
    let initial = Arc::new(Adapter::init(&layers, &lora, federation.document().seed));
    Aggregation::new(initial, &federation.document().training)
}

/// The delta of a member in a round; no two are alike.
fn delta(aggregation: &Aggregation, number: u8, round: Round) -> Vec<u8> {
    let change = aggregation.initial.times(0.01 * f32::from(number) + 0.1 * round.0 as f32);
    aggregation.form(round, &aggregation.initial).encode(&change, aggregation.initial.rank())
}

/// Makes one.
pub(crate) fn filled() -> Filled {
    filled_with(|_, _| {})
}

/// Alters an aggregate, given the adapter that its round started from.
pub(crate) type Alter = fn(&mut Aggregate, BlobRef);

/// Makes one whose members agreed on aggregates that were altered.
pub(crate) fn filled_with(alter: Alter) -> Filled {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    let federation = federation();
    let (mut store, _) = Store::open(&home).unwrap();
    fs::write(home.federation_file(), federation.to_toml()).unwrap();
    let blobs = Blobs::open(home.blobs()).unwrap();
    let aggregation = aggregation(&federation);
    let start = blobs.put(&aggregation.initial.to_bytes()).unwrap();
    let mut tip = Tip::genesis(&federation, start);
    for _ in 0..ROUNDS {
        let record = committed(&federation, (&aggregation, alter), &tip, &blobs);
        let round = tip.round;
        store.persist(&Entry::Record { round, bytes: record.encode() }).unwrap();
        tip = tip.after(&record.proposal);
    }
    Filled { _dir: dir, home, federation }
}

fn committed(
    federation: &Federation,
    (aggregation, alter): (&Aggregation, Alter),
    tip: &Tip,
    blobs: &Blobs,
) -> RoundRecord {
    let update = |number: u8| {
        let delta = blobs.put(&delta(aggregation, number, tip.round)).unwrap();
        let scores = Scores { loss: 1.0, vqa_accuracy: Some(0.5), drawing_accuracy: Some(0.25) };
        let (round, start) = (tip.round, tip.adapter.digest);
        let codec = Compression::None;
        let update = Update { round, start, delta, codec, examples: 128, steps: 8, scores };
        let envelope = envelope::seal(&identity(number), federation.id(), &Message::Update(update));
        Contribution { member: identity(number).member(), envelope }
    };
    let mut record = RoundRecord {
        proposal: Proposal {
            round: tip.round,
            view: View(0),
            aggregator: tip.leaders().of(View(0)),
            failed_views: Vec::new(),
            previous: tip.head,
            start: tip.adapter,
            included: (1..=3).map(update).collect(),
            absent: vec![Absent {
                member: identity(4).member(),
                why: Absence::NoUpdate,
                heard: None,
            }],
            evidence: Vec::new(),
            refutation: None,
            decision: None,
            strategy: "fedavg".into(),
            result: tip.adapter,
            naive_error: Vec::new(),
        },
        certificate: Certificate { view: View(0), signatures: Vec::new() },
    };
    let check = aggregate_of(federation, &record, federation.founders());
    let mut aggregate = aggregation.recompute(blobs, &check).unwrap();
    alter(&mut aggregate, tip.adapter);
    record.proposal.result = aggregate.result;
    record.proposal.naive_error = aggregate.naive_error;
    record.certificate.signatures =
        (1..=3).map(|number| precommit(federation, &record, number)).collect();
    record
}

fn precommit(federation: &Federation, record: &RoundRecord, number: u8) -> MemberSignature {
    let (round, value) = (record.proposal.round, Some(record.proposal.digest()));
    let vote = Message::Vote(Vote { round, view: View(0), step: VoteStep::Precommit, value });
    let sealed = envelope::seal(&identity(number), federation.id(), &vote);
    let signature = envelope::open(&sealed, federation.founders()).unwrap().signature;
    MemberSignature { member: identity(number).member(), signature }
}
