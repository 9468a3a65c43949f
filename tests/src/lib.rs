//! Tests that look at the whole workspace; what they share, which is nothing yet.
