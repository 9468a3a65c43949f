//! The frame around every journal entry, and how a file of frames is read back.
//!
//! ```text
//! body length u32 LE │ head check 4 bytes │ body check 16 bytes │ body
//! ```
//! Both checks are BLAKE3 and cover the frame's own offset, so a frame that is moved or repeated
//! does not pass. The length has a check of its own: a flipped length must read as damage, never as
//! a frame that was cut short, because a cut frame is dropped and a damaged one is not.

use witan_protocol::digest::Digest;

use crate::error::Damage;

/// Bytes of a frame before its body.
pub const HEAD_BYTES: usize = 24;

/// The longest body accepted; the largest real one, a record of 128 members, is under 128 KiB.
pub const BODY_MAX_BYTES: usize = 16 << 20;

/// What lies at an offset of a file of frames.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A whole frame with this body.
    Frame(&'a [u8]),
    /// Nothing: the file ends here.
    End,
    /// The beginning of a frame whose rest was never written.
    Torn,
    /// Bytes that cannot have been written by [`seal`].
    Damaged(Damage),
}

/// The frame of `body` at `offset`. Panics if the body is longer than [`BODY_MAX_BYTES`].
pub fn seal(offset: u64, body: &[u8]) -> Vec<u8> {
    assert!(body.len() <= BODY_MAX_BYTES, "a journal entry is bounded by its makers");
    let length = u32::try_from(body.len()).expect("the bound above fits u32").to_le_bytes();
    let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&head_check(offset, length));
    frame.extend_from_slice(&body_check(offset, body));
    frame.extend_from_slice(body);
    frame
}

/// Reads what lies at `offset` of `file`, the whole content of a file of frames.
pub fn step(file: &[u8], offset: u64) -> Step<'_> {
    let rest = usize::try_from(offset).ok().and_then(|at| file.get(at..)).unwrap_or_default();
    reread(rest, offset)
}

/// [`step`], when `rest` is only what follows `offset` in the file.
pub fn reread(rest: &[u8], offset: u64) -> Step<'_> {
    let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() else {
        return if rest.is_empty() { Step::End } else { Step::Torn };
    };
    // A crash can leave a file longer than what was written to it; the missing part reads as zeros.
    if rest.iter().all(|&byte| byte == 0) {
        return Step::Torn;
    }
    let length = [head[0], head[1], head[2], head[3]];
    if head[4..8] != head_check(offset, length) {
        return Step::Damaged(Damage::Length);
    }
    let Some(body) = after.get(..u32::from_le_bytes(length) as usize) else {
        return Step::Torn;
    };
    match head[8..] == body_check(offset, body) {
        true => Step::Frame(body),
        false => Step::Damaged(Damage::Bytes),
    }
}

/// Bytes of the whole frame around a body of this length.
pub fn frame_bytes(body: &[u8]) -> u64 {
    (HEAD_BYTES + body.len()) as u64
}

fn head_check(offset: u64, length: [u8; 4]) -> [u8; 4] {
    check("witan journal 1 head", offset, &length)
}

fn body_check(offset: u64, body: &[u8]) -> [u8; 16] {
    check("witan journal 1 body", offset, body)
}

fn check<const N: usize>(domain: &str, offset: u64, bytes: &[u8]) -> [u8; N] {
    let mut content = offset.to_le_bytes().to_vec();
    content.extend_from_slice(bytes);
    let digest = Digest::of_kind(domain, &content);
    *digest.0.first_chunk().expect("a digest is longer than a check")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_then_the_file_ends() {
        let file = seal(0, b"one");
        assert_eq!(step(&file, 0), Step::Frame(b"one"));
        assert_eq!(step(&file, frame_bytes(b"one")), Step::End);
    }

    #[test]
    fn every_cut_of_a_frame_is_torn_and_never_damage() {
        let file = seal(0, b"a body of some length");
        for length in 1..file.len() {
            assert_eq!(step(&file[..length], 0), Step::Torn, "cut to {length}");
        }
        assert_eq!(step(&[0; 100], 0), Step::Torn);
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_damage_and_never_torn() {
        let whole = seal(7, b"a body");
        for bit in 0..whole.len() * 8 {
            let mut file = vec![0xff; 7];
            file.extend_from_slice(&whole);
            file[7 + bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(step(&file, 7), Step::Damaged(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_does_not_pass_at_another_offset() {
        assert!(matches!(step(&seal(8, b"moved"), 0), Step::Damaged(_)));
    }
}
