//! GenEval-Scenes: GenEval's prompts and rules over shapes, judged on a drawing's pixels.
//!
//! The prompt schema, the six tags and the rules for count, colour, position and exclusion follow
//! Ghosh et al., "GenEval" (NeurIPS 2023). Classes are shapes, and [`detector`] stands where
//! GenEval has Mask2Former and CLIP, so the figures are not GenEval figures and are never called
//! so. Colours are the palette's nearest. Beside every score belongs the detector's own ceiling
//! ([`ceiling`](crate::evaluation::EvaluationSet::ceiling)).

pub mod detector;
pub mod folder;
mod report;

pub use crate::prompt::{Exclude, Found, Include, Position, Prompt, PromptError, Tag};
pub use report::{ByTag, Report, is_right, score};

#[cfg(test)]
mod tests;
