//! Nothing a member holds grows without end, whoever sends it whatever; and no input leads to more
//! than so many outputs.

use super::{Invariant, Scene, Sight};
use witan_protocol::participant::Load;

/// Nothing to remember: every look stands for itself.
#[derive(Default)]
pub struct EverythingBounded;

impl Invariant for EverythingBounded {
    fn name(&self) -> &'static str {
        "everything_bounded"
    }

    fn see(&mut self, scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), String> {
        let Sight::Settled { load, outputs, .. } = sight else {
            return Ok(());
        };
        let max = bounds(scene.federation.size());
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

fn bounds(members: usize) -> Load {
    Load {
        early: 512,
        updates: members,
        evidence: members,
        blobs: 258,
        motions: VIEWS,
        votes: 2 * VIEWS * members,
        proposals: VIEWS,
        verdicts: VIEWS,
        cases: VIEWS,
        aggregations: VIEWS,
        timers: 64,
        outputs: 0,
    }
}

fn counts(load: &Load) -> [(&'static str, usize); 12] {
    [
        ("early messages", load.early),
        ("updates", load.updates),
        ("proofs", load.evidence),
        ("blobs", load.blobs),
        ("motions", load.motions),
        ("votes", load.votes),
        ("proposals", load.proposals),
        ("verdicts", load.verdicts),
        ("cases", load.cases),
        ("aggregations", load.aggregations),
        ("timers", load.timers),
        ("outputs left", load.outputs),
    ]
}

/// Views a member remembers anything of: 32 behind its own, 10 ahead, and its own.
const VIEWS: usize = 43;

/// The most one input may lead to: a row of records, or everything one peer lacks.
const OUTPUTS_MAX: usize = 2_000;
