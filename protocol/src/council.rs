//! The vote of one round.

pub mod seats;
