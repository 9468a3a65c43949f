//! A round as `witan rounds` shows it, to people and as JSON, read from its record.

use serde::Serialize;
use witan_home::store::StoredRecord;
use witan_home::{Failure, FailureKind, Home};
use witan_protocol::Roster;
use witan_protocol::codec;
use witan_protocol::digest::Digest;
use witan_protocol::member::{MemberId, Round, View};
use witan_protocol::wire::envelope::{self, RECORD_BYTES_MAX};
use witan_protocol::wire::{
    Absence, Absent, FailedView, Heartbeat, LayerError, Refutation, RoundRecord, Scores, Update,
};

use crate::output;

/// One committed round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RoundRow {
    pub round: Round,
    /// The view that closed it.
    pub view: View,
    /// Who led that view.
    pub aggregator: String,
    /// Views that closed nothing.
    pub failed_views: Vec<FailedRow>,
    /// The roster.
    pub expected: Vec<String>,
    /// Who of them signed anything that the record shows.
    pub present: Vec<String>,
    /// Whose updates are in it, in roster order.
    pub included: Vec<UpdateRow>,
    /// Whose updates are not.
    pub absent: Vec<AbsentRow>,
    /// Who co-signed it.
    pub votes: Vec<String>,
    /// Who is proven to have signed two things where only one may be.
    pub evidence: Vec<EvidenceRow>,
    /// The change of the roster it decides, in force from the next round on.
    pub decision: Option<DecisionRow>,
    /// The aggregation strategy with its numbers.
    pub strategy: String,
    /// What averaging the factors apart would miss of the mean product, relative to it, over all
    /// layers.
    pub naive_error: f32,
    /// The same by layer.
    pub layers: Vec<LayerRow>,
    /// The record: the ledger's head after the round.
    pub record_digest: Digest,
    /// The record before it.
    pub previous_digest: Digest,
    /// The adapter the round started from.
    pub start_digest: Digest,
    /// The adapter it committed.
    pub result_digest: Digest,
    /// What the members measured, on average; accuracy is that of the adapter it started from.
    pub mean_scores: Scores,
}

/// One adapted layer: ‖mean(BA) − mean(B)·mean(A)‖ and ‖mean(BA)‖.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LayerRow {
    /// Its path in the base; its number if this program has another base.
    pub layer: String,
    pub error: f32,
    pub norm: f32,
}

/// A view that closed nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FailedRow {
    pub view: View,
    /// Who led it.
    pub aggregator: String,
    /// If its aggregate was wrong: what it was and what it should have been.
    pub refuted: Option<RefutedRow>,
}

/// A wrong aggregate, by the signed word of members among whom one is honest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RefutedRow {
    /// The digest that was proposed.
    pub proposed: String,
    /// The digest that the others computed.
    pub computed: String,
    /// Who signed that.
    pub by: Vec<String>,
}

/// A member that signed twice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct EvidenceRow {
    pub member: String,
    /// What it signed; empty if the proof does not hold.
    pub signed: String,
}

/// A change of the roster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DecisionRow {
    pub change: String,
    /// Who put it.
    pub by: String,
    /// Whose yes the record shows.
    pub yes: Vec<String>,
}

/// One member's update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct UpdateRow {
    pub member: String,
    /// The signed claim; absent if the envelope in the record cannot be opened.
    pub update: Option<Update>,
}

/// One member that is not in the round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AbsentRow {
    pub member: String,
    pub why: String,
    /// Whether it signed anything that the record shows.
    pub is_present: bool,
}

/// Reads a stored record into what is shown, by the roster of its round and the base's layers; if
/// there are not as many, they have numbers.
pub(crate) fn row(
    home: &Home,
    roster: &Roster,
    stored: &StoredRecord,
    layers: &[String],
) -> Result<RoundRow, Failure> {
    let record: RoundRecord = codec::decode(&stored.bytes, RECORD_BYTES_MAX).map_err(|error| {
        let path = home.records_log();
        let (path, at, round) = (path.display(), stored.offset, stored.round);
        Failure::new(FailureKind::Tampered, format!("{path}, at byte {at}, round {round}: {error}"))
            .hint(format!("this says more: {}", home.command("verify")))
    })?;
    let name = |member: &MemberId| roster.name_of(member);
    let record_digest = record.digest();
    let attendance = record.attendance(roster);
    let proposal = record.proposal;
    let included = proposal.included.iter().map(|part| UpdateRow {
        member: name(&part.member),
        update: envelope::open_update(&part.envelope, roster),
    });
    let included: Vec<_> = included.collect();
    let refutation = proposal.refutation.as_deref();
    let failed = proposal.failed_views.iter().map(|failed| failed_row(failed, refutation, roster));
    let absent = proposal.absent.iter().map(|absent| AbsentRow {
        member: name(&absent.member),
        why: reason(absent, roster),
        is_present: attendance.present.contains(&absent.member),
    });
    let evidence = proposal.evidence.iter().map(|proof| EvidenceRow {
        member: name(&proof.member),
        signed: proof.check(roster).unwrap_or_default(),
    });
    let decision = proposal.decision.as_ref().map(|decision| DecisionRow {
        change: output::change(roster, &decision.petition.change),
        by: name(&decision.petition.by),
        yes: decision.ballots.iter().map(|ballot| name(&ballot.member)).collect(),
    });
    Ok(RoundRow {
        round: proposal.round,
        view: proposal.view,
        aggregator: name(&proposal.aggregator),
        failed_views: failed.collect(),
        mean_scores: mean(included.iter().filter_map(|part| part.update.as_ref())),
        included,
        absent: absent.collect(),
        votes: attendance.cosigned.iter().map(name).collect(),
        expected: attendance.expected.iter().map(name).collect(),
        present: attendance.present.iter().map(name).collect(),
        evidence: evidence.collect(),
        decision,
        naive_error: total(&proposal.naive_error),
        layers: by_layer(&proposal.naive_error, layers),
        record_digest,
        previous_digest: proposal.previous,
        start_digest: proposal.start.digest,
        result_digest: proposal.result.digest,
        strategy: proposal.strategy,
    })
}

fn failed_row(failed: &FailedView, refutation: Option<&Refutation>, roster: &Roster) -> FailedRow {
    let refutation = refutation.filter(|it| it.objection.view == failed.view);
    let refuted = refutation.map(|it| RefutedRow {
        proposed: it.objection.found.clone(),
        computed: it.objection.expected.clone(),
        by: it.signatures.iter().map(|signed| roster.name_of(&signed.member)).collect(),
    });
    FailedRow { view: failed.view, aggregator: roster.name_of(&failed.aggregator), refuted }
}

fn reason(absent: &Absent, roster: &Roster) -> String {
    match (&absent.why, absent.heartbeat(roster)) {
        (Absence::Refused { because }, _) => format!("refused: {because}"),
        (Absence::NoUpdate, Some(Heartbeat { sits_out: Some(why), .. })) => {
            format!("sat out: {why}")
        }
        (Absence::NoUpdate, Some(Heartbeat { step, steps, .. })) => {
            format!("no update had arrived; it was heard at step {step} of {steps}")
        }
        (Absence::NoUpdate, None) => "no update had arrived".into(),
        (Absence::Late { .. }, _) => match absent.late_update(roster) {
            Some(Update { round, .. }) => {
                format!("no update had arrived; its late one of round {round} counts for less")
            }
            None => "no update had arrived; its late one cannot be read".into(),
        },
    }
}

fn by_layer(errors: &[LayerError], names: &[String]) -> Vec<LayerRow> {
    let layer = |number: usize| match names.len() == errors.len() {
        true => names[number].clone(),
        false => format!("layer {number}"),
    };
    let errors = errors.iter().enumerate();
    errors
        .map(|(number, LayerError { error, norm })| LayerRow {
            layer: layer(number),
            error: *error,
            norm: *norm,
        })
        .collect()
}

/// The error of all layers together, relative to their norm.
fn total(errors: &[LayerError]) -> f32 {
    let square = |of: fn(&LayerError) -> f32| -> f32 {
        errors.iter().map(|layer| of(layer) * of(layer)).sum()
    };
    let norm = square(|layer| layer.norm);
    if norm > 0.0 { (square(|layer| layer.error) / norm).sqrt() } else { 0.0 }
}

/// What the members measured, on average; each score over those who have it.
fn mean<'a>(updates: impl Iterator<Item = &'a Update>) -> Scores {
    let scores: Vec<Scores> = updates.map(|update| update.scores).collect();
    let mean = |of: fn(&Scores) -> Option<f32>| -> Option<f32> {
        let told: Vec<f32> = scores.iter().filter_map(of).collect();
        (!told.is_empty()).then(|| told.iter().sum::<f32>() / told.len() as f32)
    };
    Scores {
        loss: mean(|one| Some(one.loss)).unwrap_or(0.0),
        vqa_accuracy: mean(|one| one.vqa_accuracy),
        drawing_accuracy: mean(|one| one.drawing_accuracy),
    }
}
