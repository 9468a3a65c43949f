//! Re-checks a home with the model at hand: what `witan verify` and the testnet launcher run.

use witan_files::Blobs;
use witan_home::audit::{self, AggregateCheck, Model, Report};
use witan_home::{Failure, Home};

use super::FederatedModel;
use super::aggregate::Aggregator;

/// Checks every signature, certificate, link, blob and aggregate of `home`, running or not.
///
/// # Errors
/// Names the first thing that is not as it was written.
pub fn home(home: &Home) -> Result<Report, Failure> {
    let federation = home.read_federation()?;
    with_model(home, |model| Ok(audit::audit(home, &federation, model)?))
}

/// Lends the model of `home`, as the audit needs it, to `work`.
///
/// # Errors
/// If the home's federation cannot be read, or whatever `work` says.
pub fn with_model<T>(
    home: &Home,
    work: impl FnOnce(&Model<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let federation = home.read_federation()?;
    let model = FederatedModel::of_home(home, &federation)?;
    model.check_base(&federation)?;
    let start = model.start();
    let aggregator = Aggregator::new(model, Blobs::open(home.blobs())?);
    let aggregate = |check: &AggregateCheck| {
        aggregator.aggregate(check.round, &check.start, &check.inputs)?.map_err(|unusable| {
            let (member, because) = &unusable[0];
            Failure::input(format!("the delta of {} is unusable: {because}", member.short()))
        })
    };
    work(&Model { start, aggregate: &aggregate })
}
