//! A round as `witan rounds` shows it, read from its record.

use serde::Serialize;
use witan_home::store::StoredRecord;
use witan_home::{Failure, FailureKind, Home};
use witan_protocol::Roster;
use witan_protocol::codec;
use witan_protocol::digest::Digest;
use witan_protocol::member::{MemberId, Round, View};
use witan_protocol::wire::envelope::{self, RECORD_BYTES_MAX};
use witan_protocol::wire::{
    Absence, Absent, Decision, Evidence, Heartbeat, LayerError, Refutation, RoundRecord, Scores,
    Update,
};

use crate::output;

/// A round as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoundRow {
    /// Which.
    pub round: Round,
    /// The view that closed it.
    pub view: View,
    /// Who led that view.
    pub aggregator: String,
    /// Views that closed nothing, and who led them.
    pub failed_views: Vec<FailedRow>,
    /// The roster.
    pub expected: Vec<String>,
    /// Who of them signed anything that the record shows.
    pub present: Vec<String>,
    /// Whose updates are in it, in roster order.
    pub included: Vec<UpdateRow>,
    /// Who is not, and why.
    pub absent: Vec<AbsentRow>,
    /// Who co-signed it.
    pub votes: Vec<String>,
    /// Who is proven to have signed two things where only one may be, and what.
    pub evidence: Vec<EvidenceRow>,
    /// The change of the roster it decides, in words.
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
pub struct LayerRow {
    /// Its path in the base; its number if this program has another base.
    pub layer: String,
    /// What averaging the factors apart would miss.
    pub error: f32,
    /// The norm of the mean product.
    pub norm: f32,
}

/// A view that closed nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedRow {
    /// Which.
    pub view: View,
    /// Who led it.
    pub aggregator: String,
    /// If its aggregate was wrong: what it was and what it should have been.
    pub refuted: Option<RefutedRow>,
}

/// A wrong aggregate, by the signed word of members among whom one is honest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefutedRow {
    /// The digest that was proposed.
    pub proposed: String,
    /// The digest that the others computed.
    pub computed: String,
    /// Who signed that.
    pub by: Vec<String>,
}

/// A member that signed twice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvidenceRow {
    /// Who.
    pub member: String,
    /// What it signed; empty if the proof does not hold.
    pub signed: String,
}

/// A change of the roster, in force from the next round on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionRow {
    /// What.
    pub change: String,
    /// Who put it.
    pub by: String,
    /// Whose yes the record shows.
    pub yes: Vec<String>,
}

/// One member's update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpdateRow {
    /// Who.
    pub member: String,
    /// The signed claim; absent if the envelope in the record cannot be opened.
    pub update: Option<Update>,
}

/// One member that is not in the round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AbsentRow {
    /// Who.
    pub member: String,
    /// Why.
    pub why: String,
    /// Whether it signed anything that the record shows.
    pub is_present: bool,
}
impl RoundRow {
    /// Takes the layers' names over, if there are as many.
    pub fn name_layers(&mut self, names: &[String]) {
        if names.len() == self.layers.len() {
            let layers = self.layers.iter_mut().zip(names);
            layers.for_each(|(layer, name)| layer.layer.clone_from(name));
        }
    }
}

/// Reads a stored record into what is shown, by the roster of its round.
pub fn row(home: &Home, roster: &Roster, stored: &StoredRecord) -> Result<RoundRow, Failure> {
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
    let included: Vec<_> = proposal
        .included
        .iter()
        .map(|part| UpdateRow {
            member: name(&part.member),
            update: envelope::open_update(&part.envelope, roster),
        })
        .collect();
    let failed = proposal.failed_views.iter();
    let refuted = proposal.refutation.as_deref();
    let absent = proposal.absent.iter();
    Ok(RoundRow {
        round: proposal.round,
        view: proposal.view,
        aggregator: name(&proposal.aggregator),
        failed_views: failed
            .map(|failed| FailedRow {
                view: failed.view,
                aggregator: name(&failed.aggregator),
                refuted: refuted
                    .filter(|it| it.objection.view == failed.view)
                    .map(|it| wrong(it, roster)),
            })
            .collect(),
        mean_scores: mean(included.iter().filter_map(|part| part.update.as_ref())),
        included,
        absent: absent
            .map(|absent| AbsentRow {
                member: name(&absent.member),
                why: reason(absent, roster),
                is_present: attendance.present.contains(&absent.member),
            })
            .collect(),
        votes: attendance.cosigned.iter().map(name).collect(),
        expected: attendance.expected.iter().map(name).collect(),
        present: attendance.present.iter().map(name).collect(),
        evidence: proposal.evidence.iter().map(|proof| charge(proof, roster)).collect(),
        decision: proposal.decision.map(|decision| decided(&decision, roster)),
        strategy: proposal.strategy,
        naive_error: total(&proposal.naive_error),
        layers: layers(&proposal.naive_error),
        record_digest,
        previous_digest: proposal.previous,
        start_digest: proposal.start.digest,
        result_digest: proposal.result.digest,
    })
}

fn wrong(refutation: &Refutation, roster: &Roster) -> RefutedRow {
    let Refutation { objection, signatures } = refutation;
    RefutedRow {
        proposed: objection.found.clone(),
        computed: objection.expected.clone(),
        by: signatures.iter().map(|signed| roster.name_of(&signed.member)).collect(),
    }
}

fn charge(proof: &Evidence, roster: &Roster) -> EvidenceRow {
    EvidenceRow {
        member: roster.name_of(&proof.member),
        signed: proof.check(roster).unwrap_or_default(),
    }
}

fn decided(decision: &Decision, roster: &Roster) -> DecisionRow {
    DecisionRow {
        change: output::change(roster, &decision.petition.change),
        by: roster.name_of(&decision.petition.by),
        yes: decision.ballots.iter().map(|ballot| roster.name_of(&ballot.member)).collect(),
    }
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

fn layers(errors: &[LayerError]) -> Vec<LayerRow> {
    let numbered = errors.iter().enumerate();
    numbered
        .map(|(number, LayerError { error, norm })| LayerRow {
            layer: format!("layer {number}"),
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
