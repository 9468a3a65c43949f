//! Proves that the largest messages fit their limits: 64 members, and a proposal that shows all it
//! may.

use witan_protocol::Identity;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::federation::{Compression, FederationId, Member};
use witan_protocol::member::{Round, View};
use witan_protocol::wire::envelope::{self, ENVELOPE_BYTES_MAX, RECORD_BYTES_MAX};
use witan_protocol::wire::{
    AGGREGATE, Absence, Absent, Certificate, Change, Contribution, Decision, EVIDENCE_MAX,
    Evidence, HEARD_BYTES_MAX, Heartbeat, LayerError, MemberSignature, Message, Objection,
    Petition, Proposal, ProposalMessage, REASON_BYTES_MAX, RecordCopy, Refutation, RoundRecord,
    Scores, Update,
};

const ID: FederationId = FederationId(Digest([7; 32]));
const LATE: Round = Round(4096);

fn identity(n: u8) -> Identity {
    Identity::from_seed([n; 32])
}

fn update(n: u8) -> Vec<u8> {
    let delta = BlobRef { digest: Digest([n; 32]), size_bytes: 1 << 30 };
    let (vqa_accuracy, drawing_accuracy) = (Some(0.123_456_7), Some(0.765_432));
    let scores = Scores { loss: 1.234_567, vqa_accuracy, drawing_accuracy };
    let (examples, steps) = (u64::MAX, 1_000_000);
    let codec = Compression::TopK { keep: 0.123_456_7 };
    let start = Digest([1; 32]);
    let update = Update { round: LATE, start, delta, codec, examples, steps, scores };
    envelope::seal(&identity(n), ID, &Message::Update(update))
}

fn signatures(count: u8) -> Vec<MemberSignature> {
    let signature = |n| MemberSignature { member: identity(n).member(), signature: [0xff; 64] };
    (1..=count).map(signature).collect()
}

/// What 22 of 64 members sign of a wrong aggregate.
fn refutation() -> Refutation {
    let digits = || "f".repeat(64);
    let objection = Objection {
        round: LATE,
        view: View(8),
        against: identity(1).member(),
        value: Digest([3; 32]),
        field: AGGREGATE.to_owned(),
        expected: digits(),
        found: digits(),
    };
    Refutation { objection, signatures: signatures(22) }
}

/// What a proposal of 64 members says when `present` contribute and the rest are refused or late.
fn proposal(present: u8) -> Proposal {
    let contribution = |n| Contribution { member: identity(n).member(), envelope: update(n) };
    let because = "x".repeat(REASON_BYTES_MAX);
    let absent = |n| Absent {
        member: identity(n).member(),
        why: Absence::Refused { because: because.clone() },
        heard: Some(vec![0xff; HEARD_BYTES_MAX]),
    };
    let member = Member {
        name: "n".repeat(64),
        key: identity(99).member(),
        addresses: vec!["/dns4/a-host-with-a-long-name.example.org/tcp/65535".to_owned(); 12],
        weight: 1_000_000,
    };
    let evidence = |n| Evidence {
        member: identity(n).member(),
        round: LATE,
        first: update(n),
        second: update(n),
    };
    let petition = Petition { by: identity(1).member(), opened: LATE, change: Change::Add(member) };
    Proposal {
        round: LATE,
        view: View(0),
        aggregator: identity(1).member(),
        failed_views: Vec::new(),
        previous: Digest([2; 32]),
        start: BlobRef::of(b"start"),
        included: (1..=present).map(contribution).collect(),
        absent: (present + 1..=64).map(absent).collect(),
        evidence: (1..=EVIDENCE_MAX as u8).map(evidence).collect(),
        refutation: Some(Box::new(refutation())),
        decision: Some(Box::new(Decision { petition, ballots: signatures(64) })),
        strategy: "fedavg".into(),
        result: BlobRef::of(b"result"),
        naive_error: vec![LayerError { error: 1.5, norm: 2.5 }; 256],
    }
}

#[test]
fn a_proposal_of_64_members_fits_a_message_and_its_record_a_direct_one() {
    for present in [43, 64] {
        let proposed =
            ProposalMessage { view: View(9), valid_view: None, proposal: proposal(present) };
        let sealed = envelope::seal(&identity(1), ID, &Message::Proposal(proposed));
        println!("{present} present: {} bytes", sealed.len());
        assert!(sealed.len() <= ENVELOPE_BYTES_MAX, "{present} present: {}", sealed.len());
        let certificate = Certificate { view: View(9), signatures: signatures(64) };
        let record = RoundRecord { proposal: proposal(present), certificate }.encode();
        let certified = Message::Record(RecordCopy { round: LATE, until: LATE, record });
        let sealed = envelope::seal(&identity(1), ID, &certified);
        println!("{present} present: a record of {} bytes", sealed.len());
        assert!(sealed.len() <= RECORD_BYTES_MAX, "{present} present: {}", sealed.len());
    }
}

#[test]
fn a_member_that_sits_out_is_heard_whatever_its_reason() {
    let (step, steps, loss) = (u64::MAX, u64::MAX, 1.234_567);
    let sits_out = Some("€".repeat(40));
    let progress = Heartbeat { round: LATE, step, steps, loss, sits_out };
    let sealed = envelope::seal(&identity(1), ID, &Message::Heartbeat(progress));
    assert!(sealed.len() <= HEARD_BYTES_MAX, "{}", sealed.len());
}
