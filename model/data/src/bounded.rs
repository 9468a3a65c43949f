//! Files read whole, and never more of them than a bound; JSON of one value, and of one a line.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::DataError;
use super::error::Problem;

/// A file's bytes; the limit holds even if the file grows while it is read.
pub(super) fn bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, DataError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Problem::Missing { path: path.to_owned() },
        _ => Problem::Unreadable { path: path.to_owned(), source },
    };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    let mut bytes = Vec::with_capacity(length.min(bytes_max) as usize);
    let mut file = File::open(path).map_err(unreadable)?.take(bytes_max + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Problem::TooLarge { path: path.to_owned(), bytes_max }.into());
    }
    Ok(bytes)
}

/// A file that is one JSON value.
pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<T, DataError> {
    let bytes = bytes(path, JSON_BYTES_MAX)?;
    let value = serde_json::from_slice(&bytes);
    Ok(value.map_err(|source| Problem::Json { path: path.to_owned(), source })?)
}

/// A file of JSON values, one a line, each with its line's number from 1; skips empty lines.
pub(super) fn json_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<(usize, T)>, DataError> {
    let bytes = bytes(path, JSON_BYTES_MAX)?;
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    let lines = lines.filter(|(text, _)| !text.trim_ascii().is_empty());
    let value = |(text, line)| match serde_json::from_slice(text) {
        Ok(value) => Ok((line, value)),
        Err(source) => Err(Problem::Line { path: path.to_owned(), line, source }.into()),
    };
    lines.map(value).collect()
}

/// The same of a file that must have a line.
pub(super) fn some_json_lines<T: DeserializeOwned>(
    path: &Path,
) -> Result<Vec<(usize, T)>, DataError> {
    match json_lines(path)? {
        lines if lines.is_empty() => Err(Problem::NoLine { path: path.to_owned() }.into()),
        lines => Ok(lines),
    }
}

/// The largest official file, the training annotations, has some 400 MB.
const JSON_BYTES_MAX: u64 = 1 << 30;
