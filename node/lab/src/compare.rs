//! What a federation is compared with: each member alone, and all data in one place, on the same
//! evaluation set.

use serde::{Deserialize, Serialize};
use witan_home::Failure;
use witan_node::jobs::model::Model;
use witan_node::jobs::score::Marks;
use witan_node::jobs::shard::{self, Pool};
use witan_node::jobs::tower::{FOLDER, Tower};

use crate::evaluator::EvaluatorConfig;
use crate::event::Observer;
use crate::trainer::{Candidate, Trainer, TrainerConfig};

/// The federation's peers in the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The best member that trains alone, on its own part, for the same number of its own samples.
    pub local_only_best: Marks,
    /// Which member that is, by roster number.
    pub local_only_best_member: usize,
    /// One trainer with all data, for the same number of samples as all members together.
    pub centralized: Marks,
}

/// Trains and evaluates them.
///
/// # Errors
/// If the data cannot be read, a training fails, or the work was stopped.
pub fn compare<M: Model>(
    config: &EvaluatorConfig,
    evaluation: &M::Exam,
    observer: Observer,
) -> Result<Comparison, Failure> {
    let document = config.federation.document();
    let pool = shard::pool(&config.data)?;
    let trainer_config = TrainerConfig {
        ground: config.ground.clone(),
        training: document.training.clone(),
        seed: document.seed,
        threads: 1,
        workers: config.turns.count(),
        device: config.device.clone(),
        turns: config.turns.clone(),
        tower: tower(config, &pool)?,
        targets: config.targets.clone(),
    };
    let trainer = Trainer::<M>::open(trainer_config, pool, observer)?;
    // The longest first, so that no core is left alone with it.
    let candidates = [vec![Candidate::Centralized], trainer.members()].concat();
    let rows = trainer.train_all(&candidates, evaluation, None)?;
    let (central, alone): (Vec<_>, _) = rows.into_iter().partition(|row| row.member.is_none());
    // The first of equals.
    let best = alone
        .into_iter()
        .reduce(|best, row| if row.scores.total() > best.scores.total() { row } else { best });
    let (Some(central), Some(best)) = (central.into_iter().next(), best) else {
        return Err(Failure::input("no member has anything to train on"));
    };
    Ok(Comparison {
        local_only_best: best.scores,
        local_only_best_member: best.member.unwrap_or_default(),
        centralized: central.scores,
    })
}

/// The one that the members' drawings were made with, or nothing is compared with them.
fn tower(config: &EvaluatorConfig, pool: &Pool) -> Result<Option<Tower>, Failure> {
    if pool.whole.captions.is_empty() {
        return Ok(None);
    }
    let tower = config.ground.foundation.agreed_tower(&config.federation)?;
    match config.federation.document().tower {
        Some(named) if tower.is_none() => {
            let named = named.short();
            let message = format!("the tower {named} that the members learned to draw by is gone");
            Err(Failure::input(message).hint(format!(
                "put it back into the checkpoint's folder {FOLDER}, or say --no-compare"
            )))
        }
        _ => Ok(tower),
    }
}
