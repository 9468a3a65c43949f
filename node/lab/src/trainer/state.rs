//! A paused training in a file: what `witan train --resume` goes on from.
//!
//! ```text
//! "witan training 1"  16 bytes
//! digest              32 bytes, of everything behind it
//! terms               32 bytes: what is trained, from what, on what and how
//! steps done, bits of the losses' sum, length of the adapter    3 × 8 bytes
//! adapter             canonical bytes
//! moments             AdamW's, to the end
//! ```
//!
//! A file that is longer than such a training can be is not read; one that is cut, altered, or of
//! another training is refused by name.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use witan_adapter::Adapter;
use witan_home::Failure;
use witan_model::TrainingState;
use witan_protocol::digest::Digest;

/// The bytes of the file.
pub fn to_bytes(paused: &TrainingState, terms: Digest) -> Vec<u8> {
    let adapter = paused.adapter.to_bytes();
    let mut body = terms.0.to_vec();
    for number in [paused.done as u64, u64::from(paused.loss.to_bits()), adapter.len() as u64] {
        body.extend(number.to_le_bytes());
    }
    body.extend(adapter);
    body.extend(&paused.moments);
    [&MAGIC[..], &Digest::of_kind(KIND, &body).0, &body].concat()
}

/// Reads the file, if there is one.
///
/// # Errors
/// If it is not what [`to_bytes`] wrote for a training of these terms and this adapter's shapes.
pub fn read(path: &Path, terms: Digest, like: &Adapter) -> Result<Option<TrainingState>, Failure> {
    let refused = |what: &str| {
        Failure::input(format!("{} {what}", path.display()))
            .hint("remove it, and this training begins anew with --resume")
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(&format!("cannot be read: {error}"))),
    };
    let adapter_len = like.to_bytes().len();
    let bytes_max = HEAD_BYTES + 4 * adapter_len + MOMENT_NAMES_MAX;
    let mut bytes = Vec::new();
    let read = file.take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| refused(&format!("cannot be read: {error}")))?;
    if bytes.len() > bytes_max {
        return Err(refused("is larger than this training's state can be"));
    }
    let Some((magic, rest)) = bytes.split_first_chunk::<16>() else {
        return Err(refused("is cut"));
    };
    if magic != MAGIC {
        return Err(refused("is no paused training"));
    }
    let whole = rest.split_first_chunk::<32>();
    let whole = whole.filter(|(digest, body)| Digest::of_kind(KIND, body).0 == **digest);
    let Some((_, body)) = whole else { return Err(refused("is cut or was altered")) };
    if body.get(..32) != Some(&terms.0[..]) {
        return Err(refused("is of another training: other data, settings or base"));
    }
    let [done, loss, length] = [32, 40, 48].map(|at| {
        let number = body.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        number.map_or(u64::MAX, u64::from_le_bytes)
    });
    let parts = (usize::try_from(done).ok(), u32::try_from(loss).ok(), body.get(56..));
    let (Some(done), Some(loss), Some(rest)) = parts else { return Err(refused("is cut")) };
    if length != adapter_len as u64 || rest.len() < adapter_len {
        return Err(refused("is of another adapter"));
    }
    let (adapter, moments) = rest.split_at(adapter_len);
    let adapter = Adapter::from_bytes(adapter, like);
    let adapter = adapter.map_err(|error| refused(&format!("cannot be used: {error}")))?;
    Ok(Some(TrainingState { adapter, moments: moments.to_vec(), done, loss: f32::from_bits(loss) }))
}

const MAGIC: &[u8; 16] = b"witan training 1";
const KIND: &str = "witan paused training";
const HEAD_BYTES: usize = 16 + 32 + 32 + 3 * 8;
/// Room for what Burn's record says beside the moments' numbers.
const MOMENT_NAMES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_and_a_cut_altered_large_or_foreign_one_is_named() {
        let base = witan_model::trainable::open(None).unwrap();
        let adapter = base.initial_adapter(&base.lora(), 1);
        let paused = TrainingState { adapter, moments: vec![7; 99], done: 5, loss: 1.5 };
        let terms = Digest::of_kind("test", b"terms");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.state");
        let found = |bytes: &[u8], terms| {
            std::fs::write(&path, bytes).unwrap();
            read(&path, terms, &paused.adapter)
        };
        assert!(read(&path, terms, &paused.adapter).unwrap().is_none());
        let bytes = to_bytes(&paused, terms);
        let back = found(&bytes, terms).unwrap().unwrap();
        assert_eq!(back.adapter, paused.adapter);
        assert_eq!((back.moments, back.done, back.loss), (vec![7; 99], 5, 1.5));
        let mut altered = bytes.clone();
        altered[1000] ^= 1;
        let large = [&bytes[..], &vec![0; 4 * bytes.len() + MOMENT_NAMES_MAX]].concat();
        let other = Digest::of_kind("test", b"others");
        for (bytes, terms, what) in [
            (&bytes[..bytes.len() - 1], terms, "is cut or was altered"),
            (&bytes[..10], terms, "is cut"),
            (&altered, terms, "is cut or was altered"),
            (&large, terms, "is larger"),
            (&bytes, other, "is of another training"),
            (&[b'x'; 500], terms, "is no paused training"),
        ] {
            let refused = found(bytes, terms).unwrap_err();
            assert!(refused.message.contains(what), "{what:?} in {refused}");
            assert!(refused.message.contains("it.state"), "{refused}");
        }
    }
}
