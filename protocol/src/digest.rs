//! BLAKE3 digests, and the reference by which a blob is named. Must never read a file or a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A 32-byte BLAKE3 digest, shown as lower-case hexadecimal.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(#[serde(with = "bytes32")] pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of `bytes` under a domain, so that two kinds of content never share one.
    pub fn of_kind(domain: &str, bytes: &[u8]) -> Self {
        Self(*blake3::Hasher::new_derive_key(domain).update(bytes).finalize().as_bytes())
    }

    /// The first 8 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Names a blob: content-addressed bytes (an adapter or an adapter delta), by digest and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// [`Digest::of`] the bytes.
    pub digest: Digest,
    /// Their exact number; a fetch asks for no more.
    pub size_bytes: u64,
}

impl BlobRef {
    /// The reference to `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), size_bytes: bytes.len() as u64 }
    }
}

/// 32 bytes as a byte string in CBOR, as 64 hexadecimal digits in formats that people read.
pub(crate) mod bytes32 {
    use std::fmt;

    use serde::de::{Error, Unexpected, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_str(&data_encoding::HEXLOWER.encode(bytes))
        } else {
            to.serialize_bytes(bytes)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        if from.is_human_readable() {
            from.deserialize_str(Bytes)
        } else {
            from.deserialize_bytes(Bytes)
        }
    }

    /// Takes both forms: inside a tagged enum, serde calls every format human-readable.
    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = [u8; 32];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("32 bytes, or 64 hexadecimal digits")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<[u8; 32], E> {
            bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<[u8; 32], E> {
            data_encoding::HEXLOWER_PERMISSIVE
                .decode(text.as_bytes())
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "tag")]
    enum Tagged {
        One { digest: Digest },
    }

    #[test]
    fn a_digest_survives_cbor_and_json_also_inside_a_tagged_enum() {
        let digest = Digest::of(b"x");
        let one = Tagged::One { digest };
        let mut cbor = Vec::new();
        ciborium::into_writer(&one, &mut cbor).unwrap();
        assert_eq!(ciborium::from_reader::<Tagged, _>(cbor.as_slice()).unwrap(), one);
        let mut cbor = Vec::new();
        ciborium::into_writer(&digest, &mut cbor).unwrap();
        assert_eq!(cbor[..2], [0x58, 32], "a byte string");
        assert_eq!(ciborium::from_reader::<Digest, _>(cbor.as_slice()).unwrap(), digest);
    }
}
