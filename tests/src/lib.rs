//! Witan.
