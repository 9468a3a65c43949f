//! What a round commits: the adapter, and its strategy's own state.
//!
//! One blob with one digest, so that a server's moments and what was added to the base are agreed
//! on, fetched and verified exactly as the adapter is. It never travels in a round (every member
//! computes it); only who comes late fetches it. Before the first round there is the plain adapter
//! and nothing beside it.

use crate::adapter::{Adapter, AdapterError};
use crate::strategy::Strategy;
use crate::tensors::Weights;

/// A committed adapter with the strategy's own tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// The adapter.
    pub adapter: Adapter,
    /// The strategy's own: none before the first round, and for most strategies never any.
    pub(crate) extras: Weights,
}

impl Committed {
    /// An adapter and nothing beside it.
    pub fn plain(adapter: Adapter) -> Committed {
        Committed { adapter, extras: Weights::new() }
    }

    /// The canonical bytes: those of the adapter, if there is nothing beside it.
    pub fn to_bytes(&self) -> Vec<u8> {
        whole(&self.adapter, &self.extras).to_bytes()
    }

    /// Reads what a federation of this strategy, whose adapter is like `initial`, committed.
    ///
    /// The length is compared before anything is allocated.
    pub fn from_bytes(
        bytes: &[u8],
        initial: &Adapter,
        strategy: &Strategy,
    ) -> Result<Committed, AdapterError> {
        let extras = strategy.extras(initial);
        if extras.is_empty() || bytes.len() == initial.to_bytes().len() {
            return Adapter::from_bytes(bytes, initial).map(Committed::plain);
        }
        let all = Adapter::from_bytes(bytes, &whole(initial, &extras))?;
        let (adapter, extras) = all
            .tensors()
            .clone()
            .into_iter()
            .partition(|(name, _)| initial.tensors().contains_key(name));
        Ok(Committed { adapter: Adapter::from_tensors(adapter), extras })
    }

    /// The strategy's own tensors; before the first round `fresh` of the adapter.
    pub(crate) fn extras_or(&self, fresh: impl FnOnce(&Adapter) -> Weights) -> Weights {
        match self.extras.is_empty() {
            true => fresh(&self.adapter),
            false => self.extras.clone(),
        }
    }

    /// With no number larger than `largest`.
    pub(crate) fn bounded(mut self, largest: f32) -> Committed {
        let tensors = self.extras.values_mut().chain(self.adapter.tensors_mut().values_mut());
        for value in tensors.flat_map(|tensor| &mut tensor.values) {
            *value = value.clamp(-largest, largest);
        }
        self
    }

    /// With the adapter of the first `rank` rows of A and columns of B.
    pub fn cut(&self, rank: usize) -> Committed {
        Committed { adapter: self.adapter.cut(rank), extras: self.extras.clone() }
    }

    /// What is added to each layer of the base, `[outputs, inputs]` by path, before the adapter's
    /// scale.
    pub fn residuals(&self) -> Weights {
        let named = |(name, tensor): (&String, &_)| {
            Some((name.strip_prefix(RESIDUAL)?.to_string(), Clone::clone(tensor)))
        };
        self.extras.iter().filter_map(named).collect()
    }
}

/// All tensors together, for the one encoding there is.
fn whole(adapter: &Adapter, extras: &Weights) -> Adapter {
    let tensors = adapter.tensors().iter().chain(extras);
    Adapter::from_tensors(tensors.map(|(name, tensor)| (name.clone(), tensor.clone())).collect())
}

/// First part of the name of what was added to a layer of the base, before its scale.
pub(crate) const RESIDUAL: &str = "residual.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::adapter;
    use crate::strategy::Server;

    #[test]
    fn what_is_committed_round_trips_with_and_without_the_strategys_own() {
        let initial = adapter(1);
        for strategy in [
            Strategy::FedAvg,
            Strategy::FedEx,
            Strategy::FedOpt { server: Server::Yogi, rate: 0.1 },
        ] {
            let plain = Committed::plain(initial.clone());
            let read = Committed::from_bytes(&plain.to_bytes(), &initial, &strategy).unwrap();
            assert_eq!(read, plain);
            let full = Committed { extras: strategy.extras(&initial), ..plain };
            let read = Committed::from_bytes(&full.to_bytes(), &initial, &strategy).unwrap();
            assert_eq!(read, full);
        }
    }

    #[test]
    fn another_strategys_tensors_are_refused() {
        let initial = adapter(1);
        let extras = Strategy::FedEx.extras(&initial);
        let bytes = Committed { adapter: initial.clone(), extras }.to_bytes();
        let error = Committed::from_bytes(&bytes, &initial, &Strategy::FedAvg).unwrap_err();
        assert!(matches!(error, AdapterError::Length { .. }), "{error}");
    }
}
