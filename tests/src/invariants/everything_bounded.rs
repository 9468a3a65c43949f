//! Nothing a member holds grows without end, whoever sends it whatever; and no input leads to more
//! than so many outputs.

use super::{Invariant, Observation, Scene};
use witan_protocol::status::Load;

/// Stateless: each observation is checked by itself.
#[derive(Default)]
pub(super) struct EverythingBounded;

impl Invariant for EverythingBounded {
    fn name(&self) -> &'static str {
        "everything_bounded"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Settled { load, outputs, status } = observation else {
            return Ok(());
        };
        let views = status.view.0.min(VIEWS_BEHIND) + 1 + VIEWS_AHEAD;
        let max = bounds(scene.roster.size(), views as usize);
        let over = counts(load).into_iter().zip(counts(&max)).find(|(held, max)| held.1 > max.1);
        if let Some(((what, held), (_, max))) = over {
            return Err(format!("{held} {what}, at most {max} expected"));
        }
        if *outputs > OUTPUTS_MAX {
            return Err(format!("{outputs} outputs of one input, at most {OUTPUTS_MAX} expected"));
        }
        Ok(())
    }
}

fn bounds(members: usize, views: usize) -> Load {
    Load {
        early: 512,
        updates: members,
        late: members,
        evidence: members,
        petitions: members,
        heard: members,
        blobs: 258,
        views_proposed: views,
        votes: 2 * views * members,
        views,
        proposals: views,
        verdicts: views,
        verifications: views,
        aggregations: 2 * views,
        timers: 64,
        outputs: 0,
    }
}

fn counts(load: &Load) -> [(&'static str, usize); 16] {
    [
        ("early messages", load.early),
        ("updates", load.updates),
        ("late updates", load.late),
        ("proofs", load.evidence),
        ("petitions", load.petitions),
        ("heartbeats", load.heard),
        ("blobs", load.blobs),
        ("views proposed", load.views_proposed),
        ("votes", load.votes),
        ("views", load.views),
        ("proposals", load.proposals),
        ("verdicts", load.verdicts),
        ("verifications", load.verifications),
        ("aggregations", load.aggregations),
        ("timers", load.timers),
        ("outputs left", load.outputs),
    ]
}

/// Views behind its own that a member remembers anything of.
const VIEWS_BEHIND: u32 = 32;

/// Views ahead of its own that a member takes votes of.
const VIEWS_AHEAD: u32 = 10;

/// The most one input may lead to: a row of records, or everything one peer lacks.
const OUTPUTS_MAX: usize = 2_000;
