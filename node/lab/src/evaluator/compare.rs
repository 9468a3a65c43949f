//! What a federation is compared with: each member alone, and all data in one place, on the same
//! evaluation set.

use witan_home::Failure;
use witan_model::trainable::{EvaluationData, TOWER_FOLDER};

use super::EvaluatorConfig;
use crate::candidate::{Candidate, Comparison};
use crate::event::Observer;
use crate::trainer::{Trainer, TrainerConfig};

/// Trains and evaluates them.
///
/// # Errors
/// If the data cannot be read, a training fails, or the work was stopped.
pub(super) fn compare(
    config: &EvaluatorConfig,
    evaluation: &EvaluationData,
    observer: Observer,
) -> Result<Comparison, Failure> {
    let document = config.federation.document();
    let pool = config.data.pool()?;
    if !pool.whole.captions.is_empty() {
        require_tower(config)?;
    }
    let trainer_config = TrainerConfig {
        model: config.model.clone(),
        training: document.training.clone(),
        seed: document.seed,
        threads: 1,
        workers: config.slots.count(),
        device: config.device.clone(),
        slots: config.slots.clone(),
        targets: config.targets.clone(),
    };
    let trainer = Trainer::open(trainer_config, pool, observer)?;
    // The longest first, so that no core is left alone with it.
    let candidates = [vec![Candidate::Centralized], trainer.members()].concat();
    let rows = trainer.train_all(&candidates, evaluation, None)?;
    let (central, alone): (Vec<_>, _) = rows.into_iter().partition(|row| row.member.is_none());
    // The first of equals.
    let best = alone
        .into_iter()
        .reduce(|best, row| if row.metrics.total() > best.metrics.total() { row } else { best });
    let (Some(central), Some(best)) = (central.into_iter().next(), best) else {
        return Err(Failure::input("no member has anything to train on"));
    };
    Ok(Comparison {
        local_only_best: best.metrics,
        local_only_best_member: best.member.unwrap_or_default(),
        centralized: central.metrics,
    })
}

/// Refuses to compare members who learned to draw by a tower that is gone, or another.
fn require_tower(config: &EvaluatorConfig) -> Result<(), Failure> {
    match (config.model.check_tower(&config.federation)?, config.federation.document().tower) {
        (false, Some(named)) => {
            let named = named.short();
            let message = format!("the tower {named} that the members learned to draw by is gone");
            Err(Failure::input(message).hint(format!(
                "put it back into the checkpoint's folder {TOWER_FOLDER}, or say --no-compare"
            )))
        }
        _ => Ok(()),
    }
}
