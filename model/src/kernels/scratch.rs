//! Buffers that a thread uses again and again.
//!
//! A step of training packs every matrix anew, a gigabyte and a half for 135 million numbers. An
//! allocator that gives such memory back between two uses has the system make it zero each time
//! (`docs/LOG.md` has what that took).

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};

/// Values that go back to their thread when they are dropped.
pub(crate) struct Scratch(Vec<f32>);

impl Scratch {
    /// `length` values: whatever they held before.
    pub(crate) fn of_any(length: usize) -> Scratch {
        let mut values = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
        values.resize(length, 0.0);
        Scratch(values)
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.0.capacity() <= LENGTH_MAX {
            let values = mem::take(&mut self.0);
            // A thread that ends has nothing to keep them for.
            let _ = FREE.try_with(|free| {
                let mut free = free.borrow_mut();
                if free.len() < COUNT_MAX {
                    free.push(values);
                }
            });
        }
    }
}

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers that a thread keeps: a layer packs a weight and both halves of its adapter.
const COUNT_MAX: usize = 4;
/// Values of one that is kept, 16 MiB: the largest matrix of 135 million numbers has 0.9 million.
const LENGTH_MAX: usize = 1 << 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_to_its_thread_and_a_large_one_does_not() {
        let address = |values: &Scratch| values.as_ptr();
        let mut first = Scratch::of_any(100);
        first[99] = 7.0;
        let before = address(&first);
        drop(first);
        let again = Scratch::of_any(100);
        assert_eq!((address(&again), again[99]), (before, 7.0));
        let other = Scratch::of_any(100);
        assert_ne!(address(&other), before);
        drop((again, other));
        drop(Scratch::of_any(LENGTH_MAX + 1));
        assert!(FREE.with_borrow(|free| free.iter().all(|it| it.capacity() <= LENGTH_MAX)));
        for _ in 0..2 * COUNT_MAX {
            drop([(); COUNT_MAX + 1].map(|()| Scratch::of_any(1)));
        }
        assert_eq!(FREE.with_borrow(Vec::len), COUNT_MAX);
    }
}
