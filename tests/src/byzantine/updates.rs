//! Lies of a member that trains.

use rand::RngExt;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::wire::{Message, Update};

use super::{Liar, Mail, Workshop, copies};
use crate::lies::Lie;
use witan_protocol::wire::envelope::Opened;

/// What becomes of an update.
pub(super) fn rewrite(
    liar: &Liar,
    shop: &mut Workshop<'_>,
    update: &Update,
    envelope: &Opened,
    to: &[usize],
) -> Mail {
    if liar.tells(Lie::AbsurdUpdate) && shop.random.random_bool(0.5) {
        shop.saw(Lie::AbsurdUpdate);
        let absurd = Message::Update(absurd(shop, update));
        return copies(&shop.seal(&absurd), to);
    }
    if liar.tells(Lie::TwoUpdates) {
        shop.saw(Lie::TwoUpdates);
        let delta = BlobRef::of(&update.delta.digest.0);
        shop.blobs.push(delta);
        return shop.split(
            envelope.bytes(),
            &Message::Update(Update { delta, ..update.clone() }),
            to,
        );
    }
    copies(envelope.bytes(), to)
}

fn absurd(shop: &mut Workshop<'_>, update: &Update) -> Update {
    let mut update = update.clone();
    match shop.random.random_range(0..7) {
        0 => update.scores.loss = f32::NAN,
        1 => update.steps = u64::MAX,
        2 => update.steps = 0,
        3 => update.delta.size_bytes = 1 << 50,
        4 => update.start = Digest([2; 32]),
        5 => update.round.0 += 1,
        _ => update.delta.size_bytes += 1,
    }
    update
}
