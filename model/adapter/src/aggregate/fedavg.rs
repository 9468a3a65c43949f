//! FedAvg (McMahan et al., arXiv 1602.05629): the mean of both factors, weighted by steps.

use super::rule::Rule;

/// All defaults.
pub(super) struct FedAvg;

impl Rule for FedAvg {}
