//! What is said on the blob protocol: "these bytes of that blob, please", and the answer.
//!
//! Fixed layouts, big-endian, with no length that is not checked against what is there:
//! a question is digest (32), offset (8), length (4); an answer is one byte (0 data, 1 not found,
//! 2 busy) followed by the data, nothing, or milliseconds to wait (4).

use std::time::Duration;

use witan_protocol::digest::Digest;

use super::limits;

/// "These bytes of that blob, please."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Which blob.
    pub digest: Digest,
    /// From where.
    pub offset: u64,
    /// How many, at most [`limits::CHUNK_BYTES_MAX`]; a blob that ends earlier gives fewer.
    pub len: u32,
}

/// What a holder answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The bytes; never empty.
    Data(Vec<u8>),
    /// It has no such blob, or not that far.
    NotFound,
    /// It serves as many as it can; ask again after this time, or ask another.
    Busy(Duration),
}

impl Question {
    /// Bytes of a question.
    pub(crate) const BYTES: usize = 44;

    /// As it travels.
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.digest.0[..], &self.offset.to_be_bytes(), &self.len.to_be_bytes()].concat()
    }

    /// Reads a question; `None` if it is none, or asks for more than may be asked.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (digest, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let len = u32::from_be_bytes(rest.try_into().ok()?);
        let question = Self { digest: Digest(*digest), offset: u64::from_be_bytes(*offset), len };
        (len <= limits::CHUNK_BYTES_MAX).then_some(question)
    }
}

impl Answer {
    /// Bytes an answer may have.
    pub(crate) const BYTES_MAX: usize = 1 + limits::CHUNK_BYTES_MAX as usize;

    /// As it travels.
    pub(crate) fn encode(self) -> Vec<u8> {
        match self {
            Self::Data(mut bytes) => {
                bytes.insert(0, DATA);
                bytes
            }
            Self::NotFound => vec![NOT_FOUND],
            Self::Busy(wait) => {
                let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
                [&[BUSY][..], &wait_ms.to_be_bytes()].concat()
            }
        }
    }

    /// Reads an answer; `None` if it is none.
    pub(crate) fn decode(mut bytes: Vec<u8>) -> Option<Self> {
        match (*bytes.first()?, bytes.len()) {
            (DATA, 2..) => {
                bytes.remove(0);
                Some(Self::Data(bytes))
            }
            (NOT_FOUND, 1) => Some(Self::NotFound),
            (BUSY, 5) => {
                let wait_ms = u32::from_be_bytes(bytes[1..].try_into().ok()?);
                let wait = Duration::from_millis(u64::from(wait_ms));
                Some(Self::Busy(wait.min(limits::BUSY_WAIT_MAX)))
            }
            _ => None,
        }
    }
}

const DATA: u8 = 0;
const NOT_FOUND: u8 = 1;
const BUSY: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_read_back_as_written() {
        let question = Question { digest: Digest::of(b"x"), offset: 1 << 40, len: 7 };
        assert_eq!(question.encode().len(), Question::BYTES);
        assert_eq!(Question::decode(&question.encode()), Some(question));
        for answer in [Answer::Data(vec![9; 3]), Answer::NotFound, Answer::Busy(limits::BUSY_WAIT)]
        {
            assert_eq!(Answer::decode(answer.clone().encode()), Some(answer));
        }
    }

    #[test]
    fn what_is_too_much_or_nonsense_is_not_read() {
        let greedy =
            Question { digest: Digest::of(b"x"), offset: 0, len: limits::CHUNK_BYTES_MAX + 1 };
        assert_eq!(Question::decode(&greedy.encode()), None);
        assert_eq!(Question::decode(&[0; 43]), None);
        assert_eq!(Question::decode(&[0; 45]), None);
        for bytes in [vec![], vec![DATA], vec![NOT_FOUND, 0], vec![BUSY, 0], vec![9, 9]] {
            assert_eq!(Answer::decode(bytes), None);
        }
        let forever = Answer::Busy(Duration::from_secs(1 << 20)).encode();
        assert_eq!(Answer::decode(forever), Some(Answer::Busy(limits::BUSY_WAIT_MAX)));
    }
}
