//! Outputs made part by part: on one thread in a part that stays cached, on many in parallel.

use rayon::prelude::*;

/// A buffer of `length` values, of which `fill` writes part `index`, every value of it.
///
/// `part` is the length of each part but the last. On one thread no value is written before its
/// time: zeroing large outputs first took a tenth of a training step.
pub(crate) fn assembled(
    length: usize,
    part: usize,
    fill: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    if length > part && rayon::current_num_threads() > 1 {
        let mut out = vec![0.0; length];
        let parts = out.par_chunks_mut(part).enumerate();
        parts.for_each(|(index, part)| fill(index, part));
        return out;
    }
    let mut out = Vec::with_capacity(length);
    let mut held = vec![0.0; part.min(length)];
    for (index, start) in (0..length).step_by(part).enumerate() {
        let held = &mut held[..part.min(length - start)];
        fill(index, held);
        out.extend_from_slice(held);
    }
    out
}

/// Multiplications below which threads cost more than they bring.
pub(crate) const PARALLEL: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_lands_in_its_place_on_any_number_of_threads() {
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let fill = |index: usize, part: &mut [f32]| part.fill(index as f32);
            let out = pool.install(|| assembled(7, 3, fill));
            assert_eq!(out, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0]);
        }
    }
}
