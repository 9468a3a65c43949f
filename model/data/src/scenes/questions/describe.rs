//! How questions speak of objects: by what is named, and only as "the" where one object fits.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Asker, Object};
use crate::vocabulary::{Colour, Shape, plural};

/// What a phrase says of an object: "red circle", "circle", "red shape", "shape".
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Description {
    pub shape: Option<Shape>,
    pub colour: Option<Colour>,
}

impl Description {
    pub(super) fn fits(self, object: &Object) -> bool {
        self.shape.is_none_or(|shape| shape == object.shape)
            && self.colour.is_none_or(|colour| colour == object.colour)
    }
}

impl Asker<'_> {
    pub(super) fn named_shape(&self, object: &Object) -> Option<Shape> {
        Some(object.shape).filter(|shape| self.concepts.shapes.contains(shape))
    }

    pub(super) fn named_colour(&self, object: &Object) -> Option<Colour> {
        Some(object.colour).filter(|colour| self.concepts.colours.contains(colour))
    }

    /// Some of what can be said of an object by name; none where nothing can.
    pub(super) fn describe(&self, rng: &mut ChaCha8Rng, object: &Object) -> Option<Description> {
        let (shape, colour) = (self.named_shape(object), self.named_colour(object));
        match (shape, colour, rng.random_range(0..3)) {
            (None, None, _) => None,
            (Some(_), Some(_), 0) => Some(Description { shape, colour: None }),
            (Some(_), Some(_), 1) => Some(Description { shape: None, colour }),
            _ => Some(Description { shape, colour }),
        }
    }

    /// A description that fits no object; half of the time near to one that does.
    pub(super) fn absent(&self, rng: &mut ChaCha8Rng) -> Option<Description> {
        let near = self.objects.choose(rng).filter(|_| rng.random_bool(0.5));
        let shape = near.and_then(|object| self.named_shape(object));
        let colour = near.and_then(|object| self.named_colour(object));
        let shape = shape.or(self.concepts.shapes.choose(rng).copied());
        let colour = colour.or(self.concepts.colours.choose(rng).copied());
        let any_shape = self.concepts.shapes.choose(rng).copied();
        let any_colour = self.concepts.colours.choose(rng).copied();
        let described = match rng.random_range(0..4) {
            0 => Description { shape: any_shape, colour: None },
            1 => Description { shape: None, colour: any_colour },
            2 => Description { shape: any_shape, colour },
            _ => Description { shape, colour: any_colour },
        };
        let is_absent = !self.objects.iter().any(|object| described.fits(object));
        is_absent.then_some(described)
    }

    /// A shortest description that fits this object alone.
    pub(super) fn unique(&self, rng: &mut ChaCha8Rng, object: &Object) -> Option<Description> {
        let (shape, colour) = (self.named_shape(object), self.named_colour(object));
        let by_shape = shape.map(|_| Description { shape, colour: None });
        let by_colour = colour.map(|_| Description { shape: None, colour });
        let by_both = shape.and(colour).map(|_| Description { shape, colour });
        let mut short = [by_shape, by_colour];
        if rng.random_bool(0.25) {
            short.swap(0, 1);
        }
        let [first, second] = short;
        [first, second, by_both]
            .into_iter()
            .flatten()
            .find(|described| self.only(*described).is_some())
    }

    pub(super) fn only(&self, described: Description) -> Option<&Object> {
        let mut fitting = self.objects.iter().filter(|object| described.fits(object));
        fitting.next().filter(|_| fitting.next().is_none())
    }

    pub(super) fn pair(&self, rng: &mut ChaCha8Rng) -> Option<[&Object; 2]> {
        let pair: Vec<&Object> = self.objects.sample(rng, 2).collect();
        let [one, other] = pair[..] else { return None };
        Some(if rng.random_bool(0.5) { [one, other] } else { [other, one] })
    }

    pub(super) fn noun(&self, described: Description, count: usize) -> String {
        let shape = described.shape.and_then(|shape| self.vocabulary.shape(shape));
        let shape = shape.unwrap_or("shape");
        let noun = if count > 1 { plural(shape) } else { shape.to_owned() };
        match described.colour.and_then(|colour| self.vocabulary.colour(colour)) {
            Some(colour) => format!("{colour} {noun}"),
            None => noun,
        }
    }
}
