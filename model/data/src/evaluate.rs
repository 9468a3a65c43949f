//! Evaluation: answers by VQA v2's metric, drawings by GenEval's rules on pixels.
//!
//! Both are plain functions of finished outputs: nothing here runs the model. Every report splits
//! its figures by old and new words, so that what the base already knew is not counted as learnt.

pub mod geneval;
pub mod vqa;

mod tally;

pub use tally::Tally;
