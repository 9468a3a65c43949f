//! Which blobs are here, and which are asked for. Asks again while a blob still matters.
//!
//! A digest claimed with another size is another blob: one that nobody has. It must not stand in the
//! way of the real one.

use std::collections::BTreeMap;

use crate::digest::BlobRef;
use crate::io::{Output, Time};
use crate::member::MemberId;
use crate::outbox::Post;

/// The blobs of the round at hand.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    blobs: BTreeMap<BlobRef, Wanted>,
}

#[derive(Clone, Debug)]
struct Wanted {
    stored: bool,
    holders: Vec<MemberId>,
    asked: Option<Time>,
}

impl Shelf {
    /// Whether a blob is here.
    pub fn has(&self, blob: &BlobRef) -> bool {
        self.blobs.get(blob).is_some_and(|wanted| wanted.stored)
    }

    /// How many blobs are here or asked for.
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// A blob is here.
    pub fn put(&mut self, blob: BlobRef) {
        let holders = Vec::new();
        self.blobs.insert(blob, Wanted { stored: true, holders, asked: None });
    }

    /// A blob asked for is here. False if nobody asked.
    pub fn on_stored(&mut self, blob: &BlobRef) -> bool {
        let Some(wanted) = self.blobs.get_mut(blob) else {
            return false;
        };
        !std::mem::replace(&mut wanted.stored, true)
    }

    /// Wants a blob that `holder` is believed to have; asks at the next [`Shelf::ask`].
    pub fn want(&mut self, blob: BlobRef, holder: MemberId) {
        if self.blobs.len() >= BLOBS_MAX && !self.blobs.contains_key(&blob) {
            return;
        }
        let wanted = Wanted { stored: false, holders: Vec::new(), asked: None };
        let wanted = self.blobs.entry(blob).or_insert(wanted);
        if !wanted.holders.contains(&holder) {
            wanted.holders.push(holder);
        }
    }

    /// Asks for what is missing and was not asked for lately.
    pub fn ask(&mut self, now: Time, post: &mut Post) {
        for (blob, wanted) in self.blobs.iter_mut().filter(|(_, wanted)| !wanted.stored) {
            if wanted.asked.is_some_and(|at| now.0 < at.0 + ASK_AGAIN_MS) {
                continue;
            }
            wanted.asked = Some(now);
            let me = post.member();
            let holders = wanted.holders.iter().copied().filter(|member| *member != me).collect();
            post.push(Output::Fetch { blob: *blob, holders });
        }
    }
}

/// A fetch under way is left alone for so long; the node itself tries other holders meanwhile.
const ASK_AGAIN_MS: u64 = 3000;

/// Deltas of 64 members, a second one of a few liars, and the adapters.
const BLOBS_MAX: usize = 256;
