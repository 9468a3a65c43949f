//! Re-checks a home with its model's initial adapter: what `witan verify` and the testnet launcher
//! run.

use witan_home::audit::{self, Report};
use witan_home::{Failure, Home};

use super::FederatedModel;

/// Checks every signature, certificate, link, blob and aggregate of `home`, running or not.
///
/// # Errors
/// Names the first thing that is not as it was written.
pub fn home(home: &Home) -> Result<Report, Failure> {
    let federation = home.read_federation()?;
    let model = FederatedModel::of_home(home, &federation)?;
    model.check_base(&federation)?;
    Ok(audit::audit(home, &federation, &model.aggregation)?)
}
