//! Canonical CBOR: one value, one encoding. What does not re-encode to itself is refused.
//!
//! The encoding is RFC 8949 with shortest-form numbers, definite lengths and fields in the order of
//! their declaration. Must never accept trailing bytes, nor nest deeper than [`DEPTH_MAX`].

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How deep a message may nest; ours need 6.
pub const DEPTH_MAX: usize = 16;

/// Bytes that are not the canonical encoding of what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than this kind of thing may have.
    #[error("{found} bytes, at most {max} allowed")]
    TooLong {
        /// Bytes received.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not CBOR, or not of the expected shape.
    #[error("malformed CBOR")]
    Malformed,
    /// Decodes, but is not the one canonical encoding, or has bytes left over.
    #[error("not canonical CBOR")]
    NotCanonical,
}

/// The canonical bytes of `value`.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("plain data always encodes into memory");
    bytes
}

/// Reads exactly one canonical value of at most `max` bytes.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { found: bytes.len(), max });
    }
    let value: T = ciborium::de::from_reader_with_recursion_limit(bytes, DEPTH_MAX)
        .map_err(|_| DecodeError::Malformed)?;
    if encode(&value) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_and_non_canonical_bytes_are_refused() {
        let bytes = encode(&7u64);
        assert_eq!(decode::<u64>(&bytes, 10), Ok(7));
        assert_eq!(decode::<u64>(&[7, 0], 10), Err(DecodeError::NotCanonical));
        assert_eq!(decode::<u64>(&[0x18, 7], 10), Err(DecodeError::NotCanonical));
        assert_eq!(decode::<u64>(&[7; 11], 10), Err(DecodeError::TooLong { found: 11, max: 10 }));
        assert_eq!(decode::<u64>(&[0xff], 10), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        // A byte string that claims 2^62 bytes, and an array that claims as many elements.
        let claims = [0x5b, 0x40, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode::<serde_bytes::ByteBuf>(&claims, 64), Err(DecodeError::Malformed));
        let claims = [0x9b, 0x40, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode::<Vec<u64>>(&claims, 64), Err(DecodeError::Malformed));
    }
}
