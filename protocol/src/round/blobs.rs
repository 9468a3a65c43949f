//! Which blobs are stored, and which are being fetched. Asks again while a blob is missing.
//!
//! A digest claimed with another size is another blob: one that nobody has. It must not block the
//! real one.

use std::collections::BTreeMap;

use crate::digest::BlobRef;
use crate::io::{Output, Time};
use crate::member::MemberId;
use crate::outbox::Outbox;

/// The blobs of the current round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blobs {
    blobs: BTreeMap<BlobRef, Wanted>,
}

#[derive(Clone, Debug)]
struct Wanted {
    stored: bool,
    holders: Vec<MemberId>,
    asked: Option<Time>,
}

impl Blobs {
    /// Whether a blob is stored.
    pub(crate) fn has(&self, blob: &BlobRef) -> bool {
        self.blobs.get(blob).is_some_and(|wanted| wanted.stored)
    }

    /// How many blobs are stored or wanted.
    pub(crate) fn len(&self) -> usize {
        self.blobs.len()
    }

    /// A blob is stored.
    pub(crate) fn put(&mut self, blob: BlobRef) {
        let holders = Vec::new();
        self.blobs.insert(blob, Wanted { stored: true, holders, asked: None });
    }

    /// A wanted blob is stored.
    pub(crate) fn on_stored(&mut self, blob: &BlobRef) -> bool {
        let Some(wanted) = self.blobs.get_mut(blob) else {
            return false;
        };
        !std::mem::replace(&mut wanted.stored, true)
    }

    /// Wants a blob that `holder` is believed to have; asks at the next [`Blobs::ask`].
    pub(crate) fn want(&mut self, blob: BlobRef, holder: MemberId) {
        if self.blobs.len() >= BLOBS_MAX && !self.blobs.contains_key(&blob) {
            return;
        }
        let wanted = Wanted { stored: false, holders: Vec::new(), asked: None };
        let wanted = self.blobs.entry(blob).or_insert(wanted);
        if !wanted.holders.contains(&holder) {
            wanted.holders.push(holder);
        }
    }

    /// Asks for blobs that are missing and were not asked for recently.
    pub(crate) fn ask(&mut self, now: Time, outbox: &mut Outbox) {
        for (blob, wanted) in self.blobs.iter_mut().filter(|(_, wanted)| !wanted.stored) {
            if wanted.asked.is_some_and(|at| now.0 < at.0 + ASK_AGAIN_MS) {
                continue;
            }
            wanted.asked = Some(now);
            let me = outbox.member();
            let holders = wanted.holders.iter().copied().filter(|member| *member != me).collect();
            outbox.push(Output::Fetch { blob: *blob, holders });
        }
    }
}

/// A fetch has so much time before it is asked for again; the node tries other holders meanwhile.
const ASK_AGAIN_MS: u64 = 3000;

/// The deltas of 64 members, second ones of a few liars, and the adapters.
const BLOBS_MAX: usize = 256;
