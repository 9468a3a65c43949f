//! GenEval's rules for count, colour, position and exclusion (Ghosh et al., NeurIPS 2023), over
//! objects, however found: whether a picture that holds them satisfies a prompt.

use super::Prompt;
use crate::vocabulary::{Colour, Relation, Shape};

/// One object that the detector found, or that a scene holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Its class.
    pub shape: Shape,
    /// The palette's nearest colour.
    pub colour: Colour,
    /// The middle of its box, in pixels from the top left: x, y.
    pub centre: [f32; 2],
    /// Its box: width, height in pixels.
    pub size: [f32; 2],
    /// How well the class fits, 0 to 1.
    pub confidence: f32,
}

impl Found {
    /// GenEval's position rule: whether this object is in `relation` to `other`.
    ///
    /// The offset of the centres, less a tenth of both boxes on each axis, over the length of the
    /// whole offset must exceed one half in the relation's direction. Two relations may hold.
    pub fn is(&self, relation: Relation, other: &Self) -> bool {
        self.lean(relation, other) > POSITION_THRESHOLD
    }

    /// How far this object lies in `relation` to `other`, -1 to 1, by the position rule.
    pub fn lean(&self, relation: Relation, other: &Self) -> f32 {
        let raw = [0, 1].map(|axis| self.centre[axis] - other.centre[axis]);
        let length = raw[0].hypot(raw[1]);
        if length == 0.0 {
            return 0.0;
        }
        let [dx, dy] = [0, 1].map(|axis| {
            let slack = BOX_SLACK * (self.size[axis] + other.size[axis]);
            (raw[axis].abs() - slack).max(0.0).copysign(raw[axis]) / length
        });
        match relation {
            Relation::LeftOf => -dx,
            Relation::RightOf => dx,
            Relation::Above => -dy,
            Relation::Below => dy,
        }
    }
}

impl Prompt {
    /// Whether a picture holding these objects satisfies the prompt.
    ///
    /// Every include entry must hold and no exclude entry may (GenEval's `evaluate`): of each
    /// included class the `count` most confident objects are taken, fewer is wrong; at least
    /// `count` of them have the asked colour; each stands in the asked relation to each object of
    /// the entry referred to. An entry of any class means objects of a class no entry names.
    pub fn is_satisfied(&self, objects: &[Found]) -> bool {
        let mut sorted = objects.to_vec();
        sorted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        let is_named = |shape| self.include.iter().any(|entry| entry.class == Some(shape));
        let matching = |class: Option<Shape>| {
            sorted.iter().filter(move |object| match class {
                Some(shape) => shape == object.shape,
                None => !is_named(object.shape),
            })
        };
        let groups: Vec<Vec<Found>> =
            self.include.iter().map(|entry| matching(entry.class).copied().collect()).collect();
        let included = self.include.iter().zip(&groups).all(|(entry, group)| {
            let Some(taken) = group.get(..entry.count) else {
                return false;
            };
            let coloured =
                |object: &&Found| entry.color.is_none_or(|colour| colour == object.colour);
            let placed = entry.position.as_ref().is_none_or(|position| {
                // The reference is its entry's own `count` best, as GenEval matched them before.
                let Some(wanted) = self.include.get(position.of) else {
                    return false;
                };
                let others = groups[position.of].iter().take(wanted.count);
                let mut pairs = others.flat_map(|other| taken.iter().map(move |own| (own, other)));
                pairs.all(|(own, other)| own.is(position.relation, other))
            });
            taken.iter().filter(coloured).count() >= entry.count && placed
        });
        let excluded =
            self.exclude.iter().any(|entry| matching(entry.class).count() >= entry.count);
        included && !excluded
    }
}

/// GenEval's `POSITION_THRESHOLD` is a tenth of the boxes.
const BOX_SLACK: f32 = 0.1;
/// The share of the offset's length beyond which a direction counts.
const POSITION_THRESHOLD: f32 = 0.5;
